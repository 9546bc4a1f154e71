//! The same story twice, with the shell agents and with ours, in the same cluster on the same disks: DRBD as a promotable
//! clone, a volume group that belongs to one node at a time, a file system. What each step took stands side by side at the
//! end, and what the monitors cost.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::codes::{PROMOTED, RUNNING};
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::setup::{agents, cost, drbd, pacemaker};
use crate::{Lab, Node, Result, failed};
use std::cell::Cell;
use std::time::Duration;

/// Pacemaker, theirs and ours.
pub const SCENARIO: Scenario = Scenario {
    name: "promotable",
    about: "Pacemaker: DRBD as a promotable clone, LVM, file system; the shell agents and ours side by side",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

/// Provider and name of the agents of one telling.
struct Cast {
    name: &'static str,
    disk: (&'static str, &'static str),
    group: (&'static str, &'static str),
    data: (&'static str, &'static str),
}

const THEIRS: Cast = Cast {
    name: "theirs",
    disk: ("linbit", "drbd"),
    group: ("heartbeat", "LVM-activate"),
    data: ("heartbeat", "Filesystem"),
};
const OURS: Cast = Cast {
    name: "ours",
    disk: ("holdfast", "drbddisk"),
    group: ("holdfast", "lvm-activate"),
    data: ("holdfast", "Filesystem"),
};

/// What each step took.
struct Times {
    start: Duration,
    switch: Duration,
    failover: Duration,
    back: Duration,
    stop: Duration,
}

/// One step of the cluster's, with room for emulation on a busy machine.
const STEP: u64 = 300;
/// Longer than the interval of each monitor.
const MONITORS: u64 = 13;
const CALLS: u32 = 10;
const PORT: u16 = 7788;

fn story(lab: &Lab) -> Result {
    agents::install(lab)?;
    let disk = Resource::new("r0", 0);
    prepare(lab, &disk)?;
    pacemaker::start(lab, &pacemaker::cib("", "").replace("pacemaker-3.0", "pacemaker-3.8"))?;
    let mut written = Vec::new();
    let mut their = tell(lab, &disk, &THEIRS, &mut written)?;
    their.stop = stop_all(lab, &disk, THEIRS.name)?;
    let mut our = tell(lab, &disk, &OURS, &mut written)?;
    let monitors = monitors(lab)?;
    fenced(lab, &disk, &mut written)?;
    our.stop = stop_all(lab, &disk, OURS.name)?;
    show(
        "seconds",
        &[
            ("start", their.start.as_secs_f64(), our.start.as_secs_f64()),
            ("planned switch", their.switch.as_secs_f64(), our.switch.as_secs_f64()),
            ("failover after a power failure", their.failover.as_secs_f64(), our.failover.as_secs_f64()),
            ("back in step after the return", their.back.as_secs_f64(), our.back.as_secs_f64()),
            ("stop of all", their.stop.as_secs_f64(), our.stop.as_secs_f64()),
        ],
    );
    show("ms of processor time, a monitor", &monitors);
    // A monitor every ten seconds: 360 an hour, and a second has a thousand milliseconds.
    let hour = monitors.map(|(what, their, our)| (what, their * 0.36, our * 0.36));
    show("s of processor time, an hour", &hour);
    lab.check("ours cost less", monitors.iter().all(|(_, their, our)| our < their))
}

fn show(unit: &str, rows: &[(&str, f64, f64)]) {
    println!("  {unit:<40} {:>9} {:>9} {:>9}", "theirs", "ours", "ratio");
    for (what, their, our) in rows {
        println!("  {what:<40} {their:>9.1} {our:>9.1} {:>9.1}", their / our);
    }
}

/// A group on DRBD that belongs to whoever has it active.
fn prepare(lab: &Lab, disk: &Resource) -> Result {
    for node in lab.nodes() {
        node.put("/etc/lvm/lvmlocal.conf", 0o644, b"global { system_id_source = \"uname\" }\n")?;
        node.must("mkdir -p /data")?;
    }
    drbd::create(lab, std::slice::from_ref(disk), "ext4")?;
    lab.step("a volume group on DRBD; then DRBD is down", || {
        lab.node(1).must(
            "set -e; drbdadm primary r0; wipefs -qa /dev/drbd0; vgcreate -q --setautoactivation n shared /dev/drbd0 >&2
             lvcreate -q -y -n lv -L 64M shared >&2; mkfs.ext4 -q -F /dev/shared/lv; vgchange -q -an shared >&2
             drbdadm secondary r0",
        )?;
        lab.nodes().iter().try_for_each(|node| node.must("drbdadm down r0").map(|_| ()))
    })
}

/// The resources, with these agents.
fn resources(cast: &Cast) -> String {
    let disk = pacemaker::primitive(
        "disk",
        cast.disk,
        &[("drbd_resource", "r0")],
        &[("start", "0", "240s"), ("stop", "0", "100s"), ("promote", "0", "90s"), ("demote", "0", "90s")],
    );
    // The primitives of the lab have no roles.
    let monitors: String = [("10s", "Promoted"), ("11s", "Unpromoted")]
        .map(|(interval, role)| {
            format!("<op id=\"disk-{role}\" name=\"monitor\" interval=\"{interval}\" timeout=\"60s\" role=\"{role}\"/>")
        })
        .concat();
    let disk = disk.replace("</operations>", &format!("{monitors}</operations>"));
    let meta: String = [
        ("promotable", "true"),
        ("promoted-max", "1"),
        ("promoted-node-max", "1"),
        ("clone-max", "2"),
        ("clone-node-max", "1"),
        ("notify", "true"),
    ]
    .map(|(name, value)| format!("<nvpair id=\"clone-{name}\" name=\"{name}\" value=\"{value}\"/>"))
    .concat();
    let times = [("start", "0", "90s"), ("stop", "0", "90s"), ("monitor", "10s", "60s")];
    let group = pacemaker::primitive(
        "group",
        cast.group,
        &[("vgname", "shared"), ("vg_access_mode", "system_id")],
        &times,
    );
    let data = pacemaker::primitive(
        "data",
        cast.data,
        &[("device", "/dev/shared/lv"), ("directory", "/data"), ("fstype", "ext4")],
        &times,
    );
    format!(
        "<clone id=\"clone\"><meta_attributes id=\"clone-meta\">{meta}</meta_attributes>{disk}</clone>\
         <group id=\"on-top\">{group}{data}</group>"
    )
}

const CONSTRAINTS: &str = "<rsc_colocation id=\"with\" rsc=\"on-top\" with-rsc=\"clone\" with-rsc-role=\"Promoted\" \
     score=\"INFINITY\"/><rsc_order id=\"after\" first=\"clone\" first-action=\"promote\" then=\"on-top\" \
     then-action=\"start\"/>";

/// The node where the file system is mounted, and the other one.
fn active(lab: &Lab) -> Result<(&Node, &Node)> {
    match [lab.node(1), lab.node(2)].map(|node| node.mounted("/data")) {
        [true, false] => Ok((lab.node(1), lab.node(2))),
        [false, true] => Ok((lab.node(2), lab.node(1))),
        both => Err(failed(format!("mounted on node1 and node2: {both:?}"))),
    }
}

fn tell(lab: &Lab, disk: &Resource, cast: &Cast, written: &mut Vec<Written>) -> Result<Times> {
    let all_there = |node: &Node, written: &[Written]| written.iter().try_for_each(|data| data.is_on(node));
    let mut write = |node: &Node, what: &str| -> Result<Vec<Written>> {
        written.push(Written::to(node, &format!("/data/{}/{what}", cast.name), 512)?);
        Ok(written.clone())
    };
    let Cast { name, .. } = cast;
    let one = lab.node(1);
    pacemaker::option(one, "stop-all-resources", "true")?;
    pacemaker::replace(one, "constraints", "")?;
    pacemaker::replace(one, "resources", &resources(cast))?;
    pacemaker::replace(one, "constraints", CONSTRAINTS)?;
    pacemaker::option(one, "stop-all-resources", "false")?;
    lab.done(&format!("{name}: configured"));
    let start = lab.eventually(&format!("{name}: started"), STEP, || active(lab).is_ok())?;
    let (first, second) = active(lab)?;
    lab.eventually("one is Primary, the other Secondary", STEP, || {
        disk.is(first, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    let data = write(first, "first")?;
    lab.step("data written", || all_there(first, &data))?;

    lost_link(lab, disk)?;
    let data = write(first, "link")?;
    lab.hub().mend(1, 2);
    lab.eventually("the link is back, both are in step", STEP, || {
        disk.is(first, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;

    pacemaker::standby(one, first.name(), true)?;
    let switch = lab.eventually(&format!("{name}: switched to {}", second.name()), STEP, || {
        active(lab).is_ok_and(|(node, _)| node.number() == second.number())
    })?;
    lab.step("all data are there", || all_there(second, &data))?;
    pacemaker::standby(one, first.name(), false)?;
    lab.eventually("the other is back, both are in step", STEP, || {
        disk.is(second, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    let data = write(second, "second")?;
    no_failure(lab, first)?;

    second.kill();
    lab.done(&format!("{} has lost power", second.name()));
    let failover =
        lab.eventually(&format!("{name}: {} has taken over", first.name()), STEP, || first.mounted("/data"))?;
    lab.step("all data are there", || all_there(first, &data))?;
    let data = write(first, "third")?;
    let back = returns(lab, disk, first, second)?;
    lab.eventually("both are members", STEP, || pacemaker::online(first) == 2)?;
    no_failure(lab, first)?;
    lab.step("all data are there", || all_there(first, &data))?;
    Ok(Times { start, switch, failover, back, stop: Duration::ZERO })
}

/// Replication stops, the cluster goes on: nobody may be promoted a second time, nothing may fail.
fn lost_link(lab: &Lab, disk: &Resource) -> Result {
    let (first, second) = active(lab)?;
    lab.hub().cut_ports(1, 2, PORT..=PORT);
    lab.eventually("the replication link is lost, DRBD has noticed", STEP, || {
        [first, second].iter().all(|node| disk.is(node, &["cs:WFConnection"]))
    })?;
    lab.throughout("nothing moves", MONITORS, || {
        first.mounted("/data")
            && disk.line(first).contains("ro:Primary/")
            && disk.line(second).contains("ro:Secondary/")
    })?;
    no_failure(lab, first)
}

fn no_failure(lab: &Lab, node: &Node) -> Result {
    match pacemaker::failures(node)?.as_slice() {
        [] => lab.check("the cluster knows of no failure", true),
        failures => Err(failed(failures.join("\n"))),
    }
}

/// The killed node comes back, catches up, and is not promoted meanwhile.
fn returns(lab: &Lab, disk: &Resource, first: &Node, second: &Node) -> Result<Duration> {
    lab.step("it has power again", || {
        second.boot()?;
        // Not DRBD: the agent does that.
        second.must("vgchange -q -ay vg >/dev/null")?;
        pacemaker::start_on(second)
    })?;
    let promoted_twice = Cell::new(false);
    let back = lab.eventually("it has caught up", STEP, || {
        promoted_twice.set(promoted_twice.get() || disk.line(second).contains("ro:Primary/"));
        disk.is(first, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    lab.check("it was not promoted, nothing moved", !promoted_twice.get() && first.mounted("/data"))?;
    Ok(back)
}

/// As the published handlers have it, but that the constraint is lifted by the agent alone.
const FENCING: &str = "\tdisk {\n\t\tfencing resource-only;\n\t}\n\thandlers {\n\
     \t\tfence-peer \"/usr/lib/drbd/crm-fence-peer.sh\";\n\t\tunfence-peer \"/usr/lib/drbd/crm-unfence-peer.sh\";\n\t}\n";

/// DRBD's own fencing with ours: without the link, the node that has the data of the past is not promoted even when the
/// other one leaves; when all is well again, the agent has the constraint lifted.
fn fenced(lab: &Lab, disk: &Resource, written: &mut Vec<Written>) -> Result {
    let one = lab.node(1);
    let whole = |node: &Node| {
        node.mounted("/data")
            && disk.is(node, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    };
    let fence = |node: &Node| node.says("cibadmin -Q --scope constraints | grep -q drbd-fence-by-handler-r0");
    let fencing = Resource { sections: FENCING.into(), ..disk.clone() };
    let names: Vec<(&str, &str)> = lab.nodes().iter().map(|node| (node.name(), node.address())).collect();
    for node in lab.nodes() {
        node.put("/etc/drbd.d/r0.res", 0o644, fencing.config(&names).as_bytes())?;
        node.must("drbdadm adjust r0")?;
    }
    one.must(
        "crm_resource --resource disk --set-parameter unfence_if_all_uptodate --parameter-value true 2>&1",
    )?;
    one.must("crm_resource --wait --timeout=170s 2>&1")?;
    lab.eventually("DRBD fences by constraint", STEP, || active(lab).is_ok_and(|(node, _)| whole(node)))?;
    let (first, second) = active(lab)?;
    lab.check("there is no constraint yet", !fence(first))?;

    lab.hub().cut_ports(1, 2, PORT..=PORT);
    lab.eventually("the link is lost, the handler has set a constraint", STEP, || fence(first))?;
    written.push(lab.step("data written", || Written::to(first, "/data/fenced", 512))?);
    pacemaker::standby(one, first.name(), true)?;
    lab.eventually(&format!("{} has left", first.name()), STEP, || {
        disk.line(first).is_empty() || disk.is(first, &["cs:Unconfigured"])
    })?;
    lab.throughout("the data of the past are not offered", MONITORS, || {
        !second.mounted("/data") && disk.line(second).contains("ro:Secondary/")
    })?;

    lab.hub().mend(1, 2);
    pacemaker::standby(one, first.name(), false)?;
    lab.eventually(&format!("link and {} are back, both are in step", first.name()), STEP, || whole(first))?;
    lab.step("all data are there", || written.iter().try_for_each(|data| data.is_on(first)))?;
    lab.eventually("the agent has had the constraint lifted", STEP, || !fence(first))?;
    no_failure(lab, first)
}

fn stop_all(lab: &Lab, disk: &Resource, name: &str) -> Result<Duration> {
    let down = |node: &Node| {
        let line = disk.line(node);
        !node.mounted("/data") && (line.is_empty() || line.contains("cs:Unconfigured"))
    };
    pacemaker::option(lab.node(1), "stop-all-resources", "true")?;
    let stop = lab.eventually(&format!("{name}: all is stopped on both nodes"), STEP, || {
        lab.nodes().iter().all(down)
    })?;
    lab.eventually("the cluster knows", STEP, || {
        lab.node(1).says("! crm_resource --locate --resource clone 2>&1 | grep -q 'running on'")
    })?;
    no_failure(lab, lab.node(1))?;
    Ok(stop)
}

/// Ten monitors of each agent, theirs and ours in turns, on what runs in this moment.
fn monitors(lab: &Lab) -> Result<[(&'static str, f64, f64); 4]> {
    let (first, second) = active(lab)?;
    let r0 = [
        ("OCF_RESKEY_drbd_resource", "r0"),
        ("OCF_RESKEY_CRM_meta_clone_max", "2"),
        ("OCF_RESKEY_CRM_meta_clone_node_max", "1"),
        ("OCF_RESKEY_CRM_meta_promoted_max", "1"),
        ("OCF_RESKEY_CRM_meta_promoted_node_max", "1"),
        ("OCF_RESKEY_CRM_meta_master_max", "1"),
        ("OCF_RESKEY_CRM_meta_master_node_max", "1"),
        ("OCF_RESKEY_CRM_meta_notify", "true"),
    ];
    let lvm = [("OCF_RESKEY_vgname", "shared"), ("OCF_RESKEY_vg_access_mode", "system_id")];
    let fs = [
        ("OCF_RESKEY_device", "/dev/shared/lv"),
        ("OCF_RESKEY_directory", "/data"),
        ("OCF_RESKEY_fstype", "ext4"),
    ];
    let rows = [
        ("DRBD, promoted", monitor(first, PROMOTED, "disk", &r0, [THEIRS.disk, OURS.disk])?),
        ("DRBD, unpromoted", monitor(second, RUNNING, "disk", &r0, [THEIRS.disk, OURS.disk])?),
        ("LVM", monitor(first, RUNNING, "group", &lvm, [THEIRS.group, OURS.group])?),
        ("file system", monitor(first, RUNNING, "data", &fs, [THEIRS.data, OURS.data])?),
    ];
    // Both tell the cluster the promotion score with every monitor.
    let score = ["/usr/sbin/crm_attribute --promotion --lifetime=reboot --update=10000"];
    let [score] = cost::of(first, CALLS, 0, &[("OCF_RESOURCE_INSTANCE", "disk")], score)?;
    lab.done(&format!("monitors measured; crm_attribute alone takes {score:.1} ms"));
    Ok(rows.map(|(what, [their, our])| (what, their, our)))
}

/// Processor time of a recurring monitor as Pacemaker 2.1.5 calls it.
fn monitor(
    node: &Node,
    code: i32,
    instance: &str,
    parameters: &[(&str, &str)],
    agents: [(&str, &str); 2],
) -> Result<[f64; 2]> {
    let mut env = vec![
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", instance),
        ("OCF_RESKEY_crm_feature_set", "3.16.1"),
        ("OCF_RESKEY_CRM_meta_name", "monitor"),
        ("OCF_RESKEY_CRM_meta_interval", "10000"),
        ("OCF_RESKEY_CRM_meta_timeout", "60000"),
    ];
    env.extend(parameters);
    let [their, our] =
        agents.map(|(provider, name)| format!("/usr/lib/ocf/resource.d/{provider}/{name} monitor"));
    cost::of(node, CALLS, code, &env, [&their, &our])
}
