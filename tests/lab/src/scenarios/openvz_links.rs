//! The pair of `openvz-pair` loses its links. What its administrator is owed: while one way between the nodes is left, no
//! container runs twice, and none on old data; when none is left, each container runs on two copies that go apart, and when
//! the links are back it runs once, the split brain has a name, and both copies are there for a person to choose.
//!
//! The system of 2010 had its peer outdated by Heartbeat (drbd-peer-outdater), which Heartbeat 3 does not bring any more: a
//! stand-in by that name does it over ssh. Its policies for a split brain would have DRBD give up the data of whoever became
//! Primary last; here DRBD leaves that to people.

use super::Scenario;
use super::openvz_pair::{HARESOURCES, Line, SWITCH, at_home, lines, make_container, power_on, runs, start};
use crate::lab::Wish;
use crate::setup::agents::{call, expect};
use crate::setup::codes::{DEGRADED, FAILED, RUNNING};
use crate::setup::data::Written;
use crate::setup::{agents, drbd, heartbeat};
use crate::{Lab, Node, Output, Result};

/// First DRBD's link is lost, then all links.
pub const SCENARIO: Scenario = Scenario {
    name: "openvz-links",
    about: "The same pair loses DRBD's link, then all links: nothing runs twice, split brain is named, nothing is given up",
    wish: || Wish::of(&["deimos", "phobos"]),
    story,
};

const OUTDATER: &[u8] = include_bytes!("../../standin/drbd-peer-outdater");
const FENCING: &str = "\tdisk {\n\t\tfencing resource-only;\n\t}\n\
                       \thandlers {\n\t\tfence-peer \"/usr/lib/heartbeat/drbd-peer-outdater -t 5\";\n\t}\n";
const POLICIES: &str = "\t\tcram-hmac-alg sha1;\n\t\tshared-secret lab;\n\t\tafter-sb-0pri disconnect;\n\
                        \t\tafter-sb-1pri disconnect;\n\t\tafter-sb-2pri disconnect;\n\t\trr-conflict disconnect;\n";
/// Where DRBD listens for its resources.
const PORTS: std::ops::RangeInclusive<u16> = 7788..=7799;
/// Seconds for an action on a busy machine.
const AMPLE: u32 = 90;

fn story(lab: &Lab) -> Result {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let mut lines = lines();
    for line in &mut lines {
        line.disk.net = POLICIES.into();
        line.disk.sections = FENCING.into();
    }
    let [db, apps] = &lines;
    agents::install(lab)?;
    for node in [deimos, phobos] {
        node.put("/usr/lib/heartbeat/drbd-peer-outdater", 0o755, OUTDATER)?;
        second_way(node)?;
    }
    drbd::create(lab, &[db.disk.clone(), apps.disk.clone()], "ext3")?;
    lab.step("containers are made", || lines.iter().try_for_each(|line| make_container(lab, line)))?;
    heartbeat::configure(lab, HARESOURCES, heartbeat::Settings::default())?;
    start(lab, &[deimos, phobos])?;
    at_home(lab, &lines, "both nodes are up")?;
    let first = write(lab, &lines, "first")?;

    replication_lost(lab, &lines)?;
    lab.step("the first data are there", || both_there(lab, &first))?;
    all_lost(lab, &lines)?;
    lab.step("the first data are there", || both_there(lab, &first))
}

/// The way to the peer that Heartbeat's own messages stand for.
fn second_way(node: &Node) -> Result {
    node.must("mkdir -p /run/sshd && { pgrep -x sshd >/dev/null || /usr/sbin/sshd; }").map(|_| ())
}

/// Data in each container, on its home node.
fn write(lab: &Lab, lines: &[Line; 2], name: &str) -> Result<Vec<Written>> {
    lab.step(&format!("{name} data written into both containers"), || {
        let homes = [lab.node(1), lab.node(2)];
        let pairs = homes.iter().zip(lines);
        pairs.map(|(node, line)| Written::to(node, &format!("{}/vm/{name}", line.directory), 256)).collect()
    })
}

fn both_there(lab: &Lab, data: &[Written]) -> Result {
    data.iter().zip([lab.node(1), lab.node(2)]).try_for_each(|(data, node)| data.is_on(node))
}

fn monitor(node: &Node, line: &Line) -> Result<Output> {
    let parameters = [("drbd_resource", line.disk.name.as_str()), ("report_degraded", "yes")];
    call(node, "drbddisk", "monitor", &parameters, AMPLE)
}

/// Each container runs at home, and DRBD is Primary nowhere else.
fn once(lab: &Lab, lines: &[Line; 2]) -> bool {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let [db, apps] = lines;
    runs(db, deimos)
        && runs(apps, phobos)
        && [(db, phobos), (apps, deimos)].iter().all(|(line, node)| {
            !node.mounted(line.directory) && line.disk.line(node).contains("ro:Secondary/")
        })
}

/// Heartbeat hears the peer, DRBD does not.
fn replication_lost(lab: &Lab, lines: &[Line; 2]) -> Result {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let [db, apps] = lines;
    lab.hub().cut_ports(1, 2, PORTS);
    lab.eventually("DRBD's link is lost, each node has outdated the other's copy of its disk", 120, || {
        [(db, deimos, phobos), (apps, phobos, deimos)].iter().all(|(line, home, other)| {
            line.disk.is(home, &["ro:Primary/Unknown", "ds:UpToDate/Outdated"])
                && line.disk.line(other).contains("ds:Outdated/")
        })
    })?;
    lab.check("each container runs at home and nowhere else", once(lab, lines))?;
    expect(
        lab,
        "the loss has a name",
        &monitor(deimos, db)?,
        DEGRADED,
        &["db has lost its peer", "only copy"],
    )?;
    let alone = write(lab, lines, "alone")?;
    let parameters = [("drbd_resource", "db")];
    let refused = call(phobos, "drbddisk", "start", &parameters, AMPLE)?;
    expect(lab, "phobos is refused the old copy", &refused, FAILED, &["db has no UpToDate data here"])?;

    deimos.kill();
    lab.done("deimos loses power as well");
    lab.eventually("Heartbeat on phobos has tried to take over, and was refused", SWITCH, || {
        !heartbeat::said(phobos, &["Giving up resources due to failure of drbddisk::db"]).is_empty()
    })?;
    lab.check("container 101 does not run on old data", !runs(db, phobos) && !phobos.mounted(db.directory))?;
    lab.check("container 102 runs", runs(apps, phobos))?;
    lab.hub().mend(1, 2);
    lab.step("deimos has power again, and the link is back", || {
        power_on(deimos)?;
        second_way(deimos)
    })?;
    at_home(lab, lines, "each container is at home, DRBD has caught up")?;
    lab.step("what was written alone is there", || both_there(lab, &alone))
}

/// Neither hears the other, so each takes the other for dead, and the handler cannot tell that it is not: each side goes on
/// with a copy of its own. Only a power switch (STONITH) could prevent that; Heartbeat had none here.
fn all_lost(lab: &Lab, lines: &[Line; 2]) -> Result {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let [db, apps] = lines;
    lab.hub().cut(1, 2);
    lab.eventually(
        "all links are lost: both nodes run both containers, each on its own copies",
        SWITCH,
        || [deimos, phobos].iter().all(|node| lines.iter().all(|line| runs(line, node))),
    )?;
    expect(lab, "the loss has a name", &monitor(phobos, apps)?, DEGRADED, &["apps has lost its peer"])?;
    let here = write(lab, lines, "here")?;
    let there = [
        Written::to(phobos, &format!("{}/vm/there", db.directory), 64)?,
        Written::to(deimos, &format!("{}/vm/there", apps.directory), 64)?,
    ];
    lab.hub().mend(1, 2);
    lab.eventually("the links are back; DRBD has found the split brain in both", SWITCH, || {
        lines.iter().all(|line| [deimos, phobos].iter().any(|node| line.disk.is(node, &["cs:StandAlone"])))
    })?;
    lab.eventually("Heartbeat has restarted itself; each container runs once", SWITCH, || {
        lines.iter().all(|line| [deimos, phobos].iter().filter(|node| is_active(line, node)).count() == 1)
    })?;
    for line in lines {
        let (here, other) = if is_active(line, deimos) { (deimos, phobos) } else { (phobos, deimos) };
        let (apart, words): (_, &[&str]) = if line.disk.is(here, &["cs:StandAlone"]) {
            ("StandAlone", &["StandAlone", "split brain"])
        } else {
            ("without its peer", &["has lost its peer"])
        };
        let what = format!("{} is named as {apart} on {}", line.disk.name, here.name());
        expect(lab, &what, &monitor(here, line)?, DEGRADED, words)?;
        let read = (heartbeat_status(here, line), heartbeat_status(other, line));
        lab.check(
            "Heartbeat reads the same",
            read == ("running (Primary)".into(), "stopped (Secondary)".into()),
        )?;
    }

    // Which of the two goes on was Heartbeat's accident, so a person stops it and chooses.
    heartbeat::settled(lab, &[deimos, phobos])?;
    lab.step("an administrator stops Heartbeat", || heartbeat::stop_together(&[deimos, phobos]))?;
    let places = [(db, deimos, phobos), (apps, phobos, deimos)];
    for ((line, home, other), (here, there)) in places.iter().zip(here.iter().zip(&there)) {
        lab.step(&format!("both copies of {} are complete", line.disk.name), || {
            below_drbd(home, line, here)?;
            below_drbd(other, line, there)
        })?;
    }
    lab.step("those that are not at home are given up", || {
        for (line, home, other) in places {
            let name = &line.disk.name;
            for (node, connect) in [(other, "connect --discard-my-data"), (home, "connect")] {
                node.must(&format!("{} && drbdadm {connect} {name}", disconnected(name)))?;
            }
        }
        Ok(())
    })?;
    lab.eventually("both copies are the same", 120, || {
        [deimos, phobos].iter().all(|node| {
            lines.iter().all(|line| line.disk.is(node, &["cs:Connected", "ds:UpToDate/UpToDate"]))
        })
    })?;
    start(lab, &[deimos, phobos])?;
    at_home(lab, lines, "each container is at home")?;
    expect(lab, "monitor is content", &monitor(deimos, db)?, RUNNING, &[])?;
    lab.step("what was written at home is there", || both_there(lab, &here))
}

/// True if anything of it is on this node.
fn is_active(line: &Line, node: &Node) -> bool {
    runs(line, node) || node.mounted(line.directory) || line.disk.line(node).contains("ro:Primary/")
}

/// The data are on the disk below DRBD, which is taken down for the look.
fn below_drbd(node: &Node, line: &Line, data: &Written) -> Result {
    let (name, group, directory) = (&line.disk.name, &line.disk.group, line.directory);
    node.must(&format!("drbdadm down {name} && mount -t ext3 -o ro /dev/{group}/{name} {directory}"))?;
    data.is_on(node)?;
    node.must(&format!("umount {directory} && drbdadm up {name}")).map(|_| ())
}

/// Disconnects, also while the two are just meeting: DRBD refuses that for a moment.
fn disconnected(name: &str) -> String {
    format!(
        "for try in {{1..60}}; do drbdadm disconnect {name}; [ \"$(drbdadm cstate {name})\" = StandAlone ] && break; \
         sleep 0.5; done"
    )
}

/// What Heartbeat reads.
fn heartbeat_status(node: &Node, line: &Line) -> String {
    node.sh(&format!("/etc/ha.d/resource.d/drbddisk {} status", line.disk.name))
        .map_or_else(|error| error.to_string(), |output| output.out.trim().to_owned())
}
