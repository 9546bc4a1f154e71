//! Two nodes, each at home for one container on one DRBD device; Heartbeat with the two lines as they were published in 2010.
//! Its own six tests. vzctl is a stand-in (`tests/lab/standin`): no kernel of today runs OpenVZ.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd, heartbeat};
use crate::{Lab, Node, Result};

/// Heartbeat, drbddisk, Filesystem, openvz, active on both nodes.
pub const SCENARIO: Scenario = Scenario {
    name: "openvz-pair",
    about: "Heartbeat with haresources, active on both nodes, containers by a stand-in; its six tests",
    wish: || Wish::of(&["deimos", "phobos"]),
    story,
};

/// The lines as published.
pub(super) const HARESOURCES: &str = include_str!("../../../../packaging/examples/openvz-pair/haresources");
const VZCTL: &[u8] = include_bytes!("../../standin/vzctl");
/// What the system allows for one switch, with room for emulation on a busy machine.
pub(super) const SWITCH: u64 = 240;

/// One container with what lies below it.
pub(super) struct Line {
    pub id: u32,
    pub disk: Resource,
    pub directory: &'static str,
}

pub(super) fn lines() -> [Line; 2] {
    let net = "\t\tcram-hmac-alg sha1;\n\t\tshared-secret lab;\n\t\tafter-sb-0pri discard-younger-primary;\n\
               \t\tafter-sb-1pri consensus;\n\t\tafter-sb-2pri disconnect;\n\t\trr-conflict disconnect;\n";
    let disk =
        |name, minor| Resource { group: "VGroup00".into(), net: net.into(), ..Resource::new(name, minor) };
    [
        Line { id: 101, disk: disk("db", 0), directory: "/Data/db" },
        Line { id: 102, disk: disk("apps", 1), directory: "/Data/apps" },
    ]
}

fn story(lab: &Lab) -> Result {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let lines = lines();
    let [db, apps] = &lines;
    agents::install(lab)?;
    for agent in ["Filesystem", "openvz"] {
        agents::require(deimos, agent)?;
    }
    drbd::create(lab, &[db.disk.clone(), apps.disk.clone()], "ext3")?;
    lab.step("containers are made", || lines.iter().try_for_each(|line| make_container(lab, line)))?;
    heartbeat::configure(lab, HARESOURCES, heartbeat::Settings::default())?;

    start(lab, &[deimos, phobos])?;
    at_home(lab, &lines, "both nodes are up")?;
    let mut data = Data { lab, lines: &lines, written: Vec::new() };
    let (both, first, second) = ([deimos, phobos], [deimos, deimos], [phobos, phobos]);
    data.go_on(both)?;

    // 1 and 2, by power failure.
    deimos.kill();
    lab.done("1. deimos is off, by power failure");
    lab.eventually("both containers run on phobos", SWITCH, || lines.iter().all(|line| runs(line, phobos)))?;
    data.go_on(second)?;
    lab.step("2. deimos is on again", || power_on(deimos))?;
    at_home(lab, &lines, "deimos has its container back")?;
    data.go_on(both)?;

    // 3 and 4, in good order.
    lab.step("3. phobos is shut down", || {
        heartbeat::stop_on(phobos)?;
        phobos.must("drbdadm down all")?;
        phobos.shut_down()
    })?;
    lab.eventually("both containers run on deimos", SWITCH, || lines.iter().all(|line| runs(line, deimos)))?;
    data.go_on(first)?;
    lab.step("4. phobos is on again", || power_on(phobos))?;
    at_home(lab, &lines, "phobos has its container back")?;
    data.go_on(both)?;

    deimos.kill();
    phobos.kill();
    lab.done("5. both lose power and boot at once");
    lab.step("both are up", || {
        deimos.switch_on()?;
        phobos.switch_on()?;
        deimos.boot()?;
        phobos.boot()
    })?;
    start(lab, &[deimos, phobos])?;
    at_home(lab, &lines, "each container is at home")?;
    data.go_on(both)?;

    deimos.kill();
    phobos.kill();
    lab.step("6. both lose power, deimos boots", || power_on(deimos))?;
    lab.eventually("both containers run on deimos", SWITCH, || lines.iter().all(|line| runs(line, deimos)))?;
    data.go_on(first)?;
    lab.step("phobos boots later", || power_on(phobos))?;
    at_home(lab, &lines, "each container is at home")?;
    data.go_on(both)?;
    lab.step("all data of all times are there", || {
        data.written
            .iter()
            .try_for_each(|pair| pair.iter().zip(both).try_for_each(|(data, node)| data.is_on(node)))
    })
}

/// What was written into the two containers: a pair of files after each switch.
struct Data<'a> {
    lab: &'a Lab,
    lines: &'a [Line; 2],
    written: Vec<[Written; 2]>,
}

impl Data<'_> {
    /// What was written last is there: on an older copy it would not be. Then more is written. `nodes` is where they run.
    fn go_on(&mut self, nodes: [&Node; 2]) -> Result {
        let (lab, [db, apps]) = (self.lab, self.lines);
        if let Some(last) = self.written.last() {
            lab.step("the last data are there", || {
                last.iter().zip(nodes).try_for_each(|(data, node)| data.is_on(node))
            })?;
        }
        let name = format!("vm/data-{}", self.written.len());
        let [here, there] = nodes;
        let pair = lab.step("data written into both containers", || {
            Ok([
                Written::to(here, &format!("{}/{name}", db.directory), 128)?,
                Written::to(there, &format!("{}/{name}", apps.directory), 128)?,
            ])
        })?;
        self.written.push(pair);
        Ok(())
    }
}

pub(super) fn make_container(lab: &Lab, line: &Line) -> Result {
    let Line { id, directory, .. } = line;
    let name = &line.disk.name;
    for node in lab.nodes() {
        node.put("/usr/sbin/vzctl", 0o755, VZCTL)?;
        node.put("/etc/vz/vz.conf", 0o644, b"LOCKDIR=/vz/lock\nDUMPDIR=/vz/dump\nVE_ROOT=/vz/root/$VEID\n")?;
        let conf = format!("ONBOOT=\"no\"\nVE_PRIVATE=\"{directory}/vm\"\nVE_ROOT=\"/vz/root/$VEID\"\n");
        node.put(&format!("/etc/vz/conf/{id}.conf"), 0o644, conf.as_bytes())?;
        node.must(&format!("mkdir -p {directory} /vz/root/{id}"))?;
    }
    let device = line.disk.device();
    lab.node(1)
        .must(&format!(
            "set -e; drbdadm primary {name}; mount {device} {directory}; vzctl standin-create {id}; umount {directory}; \
             drbdadm secondary {name}"
        ))
        .map(|_| ())
}

pub(super) fn power_on(node: &Node) -> Result {
    node.boot()?;
    drbd::up(node)?;
    heartbeat::start_on(node)
}

pub(super) fn start(lab: &Lab, nodes: &[&Node]) -> Result {
    lab.step("Heartbeat starts", || {
        nodes.iter().try_for_each(|node| {
            drbd::up(node)?;
            heartbeat::start_on(node)
        })
    })
}

/// The container runs there, on its own file system.
pub(super) fn runs(line: &Line, node: &Node) -> bool {
    node.mounted(line.directory) && node.says(&format!("vzctl status {} | grep -q ' running$'", line.id))
}

/// Each container runs at home and nowhere else, and DRBD has caught up.
pub(super) fn at_home(lab: &Lab, lines: &[Line; 2], what: &str) -> Result {
    let (deimos, phobos) = (lab.node(1), lab.node(2));
    let [db, apps] = lines;
    lab.eventually(what, SWITCH, || {
        runs(db, deimos)
            && runs(apps, phobos)
            && !phobos.mounted(db.directory)
            && !deimos.mounted(apps.directory)
            && [deimos, phobos].iter().all(|node| {
                lines.iter().all(|line| line.disk.is(node, &["cs:Connected", "ds:UpToDate/UpToDate"]))
            })
    })
    .map(|_| ())
}
