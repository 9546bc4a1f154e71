//! Corosync and Pacemaker, configured before they start: a cluster with a CIB forms in a third of the time.

use crate::{Lab, Node, Result};
use std::fmt::Write;
use std::time::Duration;

/// The configuration of Corosync for these nodes.
#[must_use]
pub fn corosync_conf(nodes: &[(&str, &str)]) -> String {
    // Corosync wants the opening bracket as the last thing on its line.
    let mut text = "totem {\n\tversion: 2\n\tcluster_name: lab\n\ttransport: udpu\n\ttoken: 5000\n\
                    \tcrypto_cipher: none\n\tcrypto_hash: none\n}\nnodelist {\n"
        .to_owned();
    for (index, (name, address)) in nodes.iter().enumerate() {
        let id = index + 1;
        let _ =
            writeln!(text, "\tnode {{\n\t\tring0_addr: {address}\n\t\tname: {name}\n\t\tnodeid: {id}\n\t}}");
    }
    let two = u8::from(nodes.len() == 2);
    let _ = write!(
        text,
        "}}\nquorum {{\n\tprovider: corosync_votequorum\n\ttwo_node: {two}\n\twait_for_all: 0\n}}\n\
         logging {{\n\tto_logfile: yes\n\tlogfile: /var/log/corosync.log\n\tto_syslog: no\n}}\n"
    );
    text
}

/// A CIB with these resources and constraints. No fencing: the lab's power switch is the scenario's.
#[must_use]
pub fn cib(resources: &str, constraints: &str) -> String {
    let property =
        |name: &str, value: &str| format!("<nvpair id=\"p-{name}\" name=\"{name}\" value=\"{value}\"/>");
    let properties = [
        property("stonith-enabled", "false"),
        property("no-quorum-policy", "ignore"),
        property("dc-deadtime", "2s"),
        property("cluster-recheck-interval", "60s"),
    ]
    .concat();
    format!(
        "<cib crm_feature_set=\"3.16.1\" validate-with=\"pacemaker-3.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"1\">\
         <configuration><crm_config><cluster_property_set id=\"options\">{properties}</cluster_property_set></crm_config>\
         <nodes/><resources>{resources}</resources><constraints>{constraints}</constraints>\
         <rsc_defaults><meta_attributes id=\"defaults\"><nvpair id=\"stick\" name=\"resource-stickiness\" value=\"100\"/>\
         </meta_attributes></rsc_defaults></configuration><status/></cib>"
    )
}

/// A primitive with parameters and operations: `("monitor", "10s", "20s")` is name, interval, time-out. Our agents leave a
/// trace of each call.
#[must_use]
pub fn primitive(
    id: &str,
    agent: (&str, &str),
    parameters: &[(&str, &str)],
    operations: &[(&str, &str, &str)],
) -> String {
    let (provider, kind) = agent;
    let mut text = format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"{provider}\" type=\"{kind}\"><instance_attributes id=\"{id}-a\">"
    );
    for (name, value) in parameters {
        let _ = write!(text, "<nvpair id=\"{id}-a-{name}\" name=\"{name}\" value=\"{value}\"/>");
    }
    if provider == "holdfast" {
        let _ = write!(text, "<nvpair id=\"{id}-a-trace_ra\" name=\"trace_ra\" value=\"1\"/>");
    }
    text.push_str("</instance_attributes><operations>");
    for (name, interval, timeout) in operations {
        let _ = write!(
            text,
            "<op id=\"{id}-{name}-{interval}\" name=\"{name}\" interval=\"{interval}\" timeout=\"{timeout}\"/>"
        );
    }
    text.push_str("</operations></primitive>");
    text
}

/// Puts the configuration on all nodes and starts the cluster.
///
/// # Errors
/// When the nodes do not all come online.
pub fn start(lab: &Lab, cib: &str) -> Result {
    let all: Vec<&Node> = lab.nodes().iter().collect();
    start_among(lab, &all, cib)
}

/// As [`start`], with a cluster of these nodes alone.
///
/// # Errors
/// When they do not all come online.
pub fn start_among(lab: &Lab, members: &[&Node], cib: &str) -> Result {
    let names: Vec<(&str, &str)> = members.iter().map(|node| (node.name(), node.address())).collect();
    let conf = corosync_conf(&names);
    for node in members {
        node.put("/etc/corosync/corosync.conf", 0o644, conf.as_bytes())?;
        node.put("/var/lib/pacemaker/cib/cib.xml", 0o600, cib.as_bytes())?;
        node.must("chown hacluster:haclient /var/lib/pacemaker/cib/cib.xml; rm -f /var/lib/pacemaker/cib/cib.xml.sig")?;
    }
    for node in members {
        start_on(node)?;
    }
    lab.eventually("Pacemaker runs on all nodes", 180, || {
        members.iter().all(|node| online(node) == members.len())
    })?;
    Ok(())
}

/// Starts the cluster on a node that has its configuration.
///
/// # Errors
/// When the daemons cannot be started.
pub fn start_on(node: &Node) -> Result {
    node.must(
        "corosync && { setsid pacemakerd >/var/log/pacemaker/pacemakerd.out 2>&1 </dev/null & }
         for try in $(seq 100); do [ ! -S /run/crm/x ] || break; pgrep -x pacemakerd >/dev/null && break; sleep 0.1; done",
    )
    .map(|_| ())
}

/// How many nodes this one sees online.
#[must_use]
pub fn online(node: &Node) -> usize {
    node.run_with(&["crm_mon", "-1", "--output-as=xml"], &[], &[], Duration::from_secs(20)).map_or(
        0,
        |output| {
            output
                .out
                .lines()
                .filter(|line| line.contains("<node name=") && line.contains("online=\"true\""))
                .count()
        },
    )
}

/// Replaces a part of the running configuration, such as `resources`.
///
/// # Errors
/// When the cluster refuses it.
pub fn replace(node: &Node, scope: &str, content: &str) -> Result {
    node.put("/run/lab-cib.xml", 0o644, format!("<{scope}>{content}</{scope}>").as_bytes())?;
    node.must(&format!("cibadmin --replace --scope {scope} --xml-file /run/lab-cib.xml 2>&1")).map(|_| ())
}

/// Sets an option of the cluster, such as `stop-all-resources`.
///
/// # Errors
/// When the cluster refuses it.
pub fn option(node: &Node, name: &str, value: &str) -> Result {
    node.must(&format!("crm_attribute --type crm_config --name {name} --update {value} 2>&1")).map(|_| ())
}

/// Puts node `name` to standby, or back to work.
///
/// # Errors
/// When the cluster refuses it.
pub fn standby(node: &Node, name: &str, on: bool) -> Result {
    let what = if on { "--update=on" } else { "--delete" };
    node.must(&format!("crm_attribute --type nodes --node {name} --name standby {what} 2>&1")).map(|_| ())
}

/// What went wrong with resources, as the cluster tells it; none is no line.
///
/// # Errors
/// When the cluster does not answer.
pub fn failures(node: &Node) -> Result<Vec<String>> {
    let said = node.must("timeout 60 crm_mon -1 --output-as=xml")?;
    Ok(said.lines().filter(|line| line.contains("<failure ")).map(str::to_owned).collect())
}

/// Stops the cluster on a node.
///
/// # Errors
/// When it does not stop.
pub fn stop_on(node: &Node) -> Result {
    node.must(
        "pkill -TERM -x pacemakerd; for try in $(seq 600); do pgrep -x pacemakerd >/dev/null || break; sleep 0.2; done
         ! pgrep -x pacemakerd && pkill -TERM -x corosync; for try in $(seq 100); do pgrep -x corosync >/dev/null || exit 0; \
         sleep 0.1; done; exit 1",
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corosync_gets_the_bracket_at_the_end_of_the_line() {
        let text = corosync_conf(&[("node1", "10.9.0.1"), ("node2", "10.9.0.2")]);
        assert!(text.lines().filter(|line| line.contains('{')).all(|line| line.ends_with(" {")), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert!(text.contains("two_node: 1"));
        assert!(corosync_conf(&[("a", "1"), ("b", "2"), ("c", "3")]).contains("two_node: 0"));
    }

    #[test]
    fn a_primitive_names_its_provider_parameters_and_operations() {
        let text = primitive(
            "disk",
            ("holdfast", "drbddisk"),
            &[("drbd_resource", "r0")],
            &[("monitor", "10s", "20s")],
        );
        assert!(
            text.starts_with("<primitive id=\"disk\" class=\"ocf\" provider=\"holdfast\" type=\"drbddisk\">")
        );
        assert!(
            text.contains("name=\"drbd_resource\" value=\"r0\"") && text.contains("interval=\"10s\""),
            "{text}"
        );
    }
}
