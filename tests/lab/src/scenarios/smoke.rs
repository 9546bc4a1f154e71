//! The shortest story with everything in it, and part of the test command.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd, pacemaker};
use crate::{Lab, Result};

/// Pacemaker, drbddisk and Filesystem; one node loses power.
pub const SCENARIO: Scenario = Scenario {
    name: "smoke",
    about: "Pacemaker with our drbddisk and Filesystem; one node loses power, the data are on the other",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

fn story(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let disk = Resource::new("r0", 0);
    agents::install(lab)?;
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    pacemaker::start(lab, &configuration())?;
    lab.eventually("mounted on node1", 180, || one.mounted("/data"))?;
    lab.check("and not on node2", !two.mounted("/data"))?;
    // A failure is explained by them.
    lab.check(
        "our agents leave traces",
        one.says("cd /var/lib/heartbeat/trace_ra && ls drbddisk/disk.start.* Filesystem/fs.start.*"),
    )?;
    let first = lab.step("data written on node1", || Written::to(one, "/data/first", 4096))?;

    one.kill();
    lab.done("node1 has lost power");
    lab.eventually("mounted on node2", 240, || two.mounted("/data"))?;
    lab.step("the data are there", || first.is_on(two))?;
    let second = lab.step("more data written on node2", || Written::to(two, "/data/second", 1024))?;

    lab.step("node1 has power again", || {
        one.boot()?;
        drbd::up(one)?;
        pacemaker::start_on(one)
    })?;
    lab.eventually("node1 has caught up and is a member", 240, || {
        disk.is(two, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
            && pacemaker::online(two) == 2
    })?;
    lab.check("mounted on node2 still, and only there", two.mounted("/data") && !one.mounted("/data"))?;
    lab.step("node2 leaves the cluster in good order", || pacemaker::stop_on(two))?;
    lab.eventually("mounted on node1", 180, || one.mounted("/data"))?;
    lab.step("all data are there", || first.is_on(one).and_then(|()| second.is_on(one)))
}

fn configuration() -> String {
    let times = [("start", "0", "60s"), ("stop", "0", "60s"), ("monitor", "10s", "40s")];
    let disk = pacemaker::primitive("disk", ("holdfast", "drbddisk"), &[("drbd_resource", "r0")], &times);
    let parameters = [("device", "/dev/drbd0"), ("directory", "/data"), ("fstype", "ext4")];
    let fs = pacemaker::primitive("fs", ("holdfast", "Filesystem"), &parameters, &times);
    let resources = format!("<group id=\"g\">{disk}{fs}</group>");
    pacemaker::cib(&resources, "<rsc_location id=\"home\" rsc=\"g\" node=\"node1\" score=\"50\"/>")
}
