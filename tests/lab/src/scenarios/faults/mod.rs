//! What goes wrong below an agent: its tool is killed before and after it did its work, or hangs; disks are full, read-only,
//! cut off or silent; something holds on. In each: the code, the reason, that nothing is active twice and nothing lost.

mod disks;
mod tools;

use super::Scenario;
use crate::lab::Wish;
use crate::setup::agents::{call_at_level, expect};
use crate::setup::codes::{DEGRADED, DONE, FAILED, PROMOTED, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd};
use crate::{Lab, Node, Output, Result};

/// drbddisk, Filesystem, lvm-activate and openvz by hand.
pub const SCENARIO: Scenario = Scenario {
    name: "faults",
    about: "Tools that are killed or hang in the middle of start and stop; disks full, read-only, cut off, silent; holders",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

/// Seconds for an action that has to succeed, on a busy machine, and for one that has to give up by itself.
const AMPLE: u32 = 90;
const SHORT: u32 = 15;

/// An agent with its parameters.
struct Resources {
    agent: &'static str,
    parameters: &'static [(&'static str, &'static str)],
}

const DISK: Resources = Resources { agent: "drbddisk", parameters: &[("drbd_resource", "r0")] };
/// The same as an instance of a promotable clone.
const INSTANCE: Resources = Resources {
    agent: "drbddisk",
    parameters: &[
        ("drbd_resource", "r0"),
        ("CRM_meta_promoted_max", "1"),
        ("CRM_meta_clone_max", "2"),
        ("CRM_meta_clone", "0"),
        ("CRM_meta_notify", "true"),
    ],
};
const DATA: Resources = Resources {
    agent: "Filesystem",
    parameters: &[
        ("device", "/dev/drbd0"),
        ("directory", "/data"),
        ("fstype", "ext4"),
        ("run_fsck", "force"),
    ],
};
const IMAGE: Resources = Resources {
    agent: "Filesystem",
    parameters: &[
        ("device", "/var/tmp/image"),
        ("directory", "/mnt/image"),
        ("fstype", "ext4"),
        ("options", "loop"),
    ],
};
const GROUP: Resources =
    Resources { agent: "lvm-activate", parameters: &[("vgname", "second"), ("vg_access_mode", "plain")] };
const CONTAINER: Resources = Resources { agent: "openvz", parameters: &[("ctid", "101")] };

impl Resources {
    fn call(&self, node: &Node, action: &str, seconds: u32) -> Result<Output> {
        call_at_level(node, self.agent, action, self.parameters, "0", seconds)
    }

    /// The action succeeds.
    fn does(&self, lab: &Lab, node: &Node, action: &str) -> Result {
        let what = format!("{} {action} on {}", self.agent, node.name());
        expect(lab, &what, &self.call(node, action, AMPLE)?, DONE, &[])
    }

    /// A monitor with more parameters and a check level.
    fn monitor(&self, node: &Node, more: &[(&str, &str)], level: &str, seconds: u32) -> Result<Output> {
        let parameters: Vec<_> = self.parameters.iter().chain(more).copied().collect();
        call_at_level(node, self.agent, "monitor", &parameters, level, seconds)
    }
}

fn story(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let disk = Resource::new("r0", 0);
    agents::install(lab)?;
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    lab.step("tools that can be killed, a volume group, an image, a container", || tools::prepare(one))?;
    tools::faults(lab, one)?;
    disks::faults(lab, &disk)?;
    lab.check("nothing is left on node2", disk.is(two, &["ro:Secondary/Secondary"]) && !two.mounted("/data"))
}
