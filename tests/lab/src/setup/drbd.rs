//! DRBD resources on logical volumes of /dev/vdc.

use crate::{Lab, Node, Result};
use std::fmt::Write;

/// A resource of two nodes.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// N of /dev/drbdN.
    pub minor: u32,
    /// The volume group below it, which [`create`] makes on /dev/vdc.
    pub group: String,
    /// Size of the logical volume; its name is the resource's.
    pub megabytes: u32,
    /// More lines for its `net` section, of which there may be one.
    pub net: String,
    /// More sections.
    pub sections: String,
}

impl Resource {
    /// /dev/drbd`minor` over the LV `name` of the VG `vg`.
    #[must_use]
    pub fn new(name: &str, minor: u32) -> Self {
        Self {
            name: name.to_owned(),
            minor,
            group: "vg".into(),
            megabytes: 128,
            net: String::new(),
            sections: String::new(),
        }
    }

    /// /dev/drbdN.
    #[must_use]
    pub fn device(&self) -> String {
        format!("/dev/drbd{}", self.minor)
    }

    /// The resource's file below /etc/drbd.d.
    #[must_use]
    pub fn config(&self, nodes: &[(&str, &str)]) -> String {
        let Self { name, minor, group, net, sections, .. } = self;
        let mut text = format!(
            "resource {name} {{\n\tprotocol C;\n\tdevice /dev/drbd{minor};\n\tdisk /dev/{group}/{name};\n\
             \tmeta-disk internal;\n\tnet {{\n\t\tping-int 2;\n\t\tconnect-int 3;\n{net}\t}}\n{sections}"
        );
        for (node, address) in nodes {
            let port = 7788 + minor;
            let _ = writeln!(text, "\ton {node} {{\n\t\taddress {address}:{port};\n\t}}");
        }
        text.push_str("}\n");
        text
    }

    /// Its line in /proc/drbd and no more, or nothing.
    #[must_use]
    pub fn line(&self, node: &Node) -> String {
        let text = node.get("/proc/drbd").unwrap_or_default();
        let start = format!("{}:", self.minor);
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::trim_start).find(|line| line.starts_with(&start)).unwrap_or_default().to_owned()
    }

    /// True if its line in /proc/drbd contains all of these, as in `cs:Connected`.
    #[must_use]
    pub fn is(&self, node: &Node, states: &[&str]) -> bool {
        let line = self.line(node);
        states.iter().all(|state| line.split_whitespace().any(|word| word == *state))
    }
}

/// As the guide to DRBD has it for a link of its own. Of itself DRBD 8.4 brings disks up to date as slowly as 250 kB a second
/// while it sees them used, which is minutes for 128 MB.
const COMMON: &[u8] =
    b"global {\n\tusage-count no;\n}\ncommon {\n\tdisk {\n\t\tc-plan-ahead 0;\n\t\tc-min-rate 0;\n\
                        \t\tresync-rate 20M;\n\t}\n}\n";

/// Makes the resources on the first two nodes: volumes, meta-data, no initial synchronisation (all of it is empty), and a
/// file system of `fstype` on each. They are up and Secondary on both nodes afterwards.
///
/// # Errors
/// When a node cannot.
pub fn create(lab: &Lab, resources: &[Resource], fstype: &str) -> Result {
    let pair: Vec<&Node> = lab.nodes().iter().take(2).collect();
    let names: Vec<(&str, &str)> = pair.iter().map(|node| (node.name(), node.address())).collect();
    lab.on_all(|node| {
        if node.number() > pair.len() {
            return Ok(());
        }
        node.put("/etc/drbd.d/global_common.conf", 0o644, COMMON)?;
        let mut line = "set -e\n".to_owned();
        let mut groups: Vec<&str> = resources.iter().map(|resource| resource.group.as_str()).collect();
        groups.dedup();
        for group in groups {
            let _ = writeln!(line, "vgs {group} >/dev/null 2>&1 || vgcreate -q {group} /dev/vdc >/dev/null");
        }
        for resource in resources {
            let Resource { name, group, megabytes, .. } = resource;
            node.put(&format!("/etc/drbd.d/{name}.res"), 0o644, resource.config(&names).as_bytes())?;
            let _ = writeln!(line, "lvcreate -q -y -Wn -Zn -n {name} -L {megabytes}M {group} >/dev/null");
            let _ = writeln!(line, "drbdadm create-md --force {name} >/dev/null");
            let _ = writeln!(line, "drbdadm up {name}");
        }
        node.must(&line).map(|_| ())
    })?;
    for resource in resources {
        lab.eventually(&format!("{} is connected", resource.name), 60, || {
            pair.iter().all(|node| resource.is(node, &["cs:Connected", "ds:Inconsistent/Inconsistent"]))
        })?;
        let Resource { name, .. } = resource;
        let device = resource.device();
        let mkfs = if fstype == "xfs" { "mkfs.xfs -q -f".to_owned() } else { format!("mkfs.{fstype} -q -F") };
        lab.node(1).must(&format!(
            "set -e; drbdadm new-current-uuid --clear-bitmap {name}; drbdadm primary {name}; {mkfs} {device}; \
             drbdadm secondary {name}"
        ))?;
        lab.eventually(&format!("{name} has a file system and is Secondary on both nodes"), 60, || {
            pair.iter().all(|node| resource.is(node, &["ro:Secondary/Secondary", "ds:UpToDate/UpToDate"]))
        })?;
    }
    Ok(())
}

/// What a node's boot does for DRBD: activate the volumes and bring all resources up.
///
/// # Errors
/// When it cannot.
pub fn up(node: &Node) -> Result {
    node.must("vgchange -q -ay >/dev/null && drbdadm adjust all").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_a_port_of_its_own_and_both_nodes() {
        let text = Resource::new("apps", 1).config(&[("deimos", "10.9.0.1"), ("phobos", "10.9.0.2")]);
        assert!(text.starts_with("resource apps {\n"), "{text}");
        assert!(text.contains("disk /dev/vg/apps;"), "{text}");
        assert!(text.contains("on deimos {\n\t\taddress 10.9.0.1:7789;"), "{text}");
        assert!(text.contains("on phobos {\n\t\taddress 10.9.0.2:7789;"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
