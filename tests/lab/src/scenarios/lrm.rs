//! heartbeat 2 with its CRM called agents through cluster-glue's LRM, in three classes. That daemon drives ours here, as
//! `heartbeat`, `lsb` and `ocf`: with each of them what it believes is what is. xendomain has its turn in `xen-ha`.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::agents::PROVIDER;
use crate::setup::codes::{DONE, FAILED, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd, lrm};
use crate::{Lab, Node, Result, failed};

/// lrmd alone, one agent after the other.
pub const SCENARIO: Scenario = Scenario {
    name: "lrm",
    about: "cluster-glue's LRM (the CRM of heartbeat 2) drives our agents as heartbeat, lsb and ocf resources",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

const VZCTL: &[u8] = include_bytes!("../../standin/vzctl");
/// The only one there is.
const ENABLED: &str = "grep -qsx 1 /sys/kernel/config/nvmet/subsystems/*/namespaces/1/enable";
/// Seconds for an action that has to succeed, on a busy machine, and for one that has to give up by itself.
const AMPLE: u32 = 90;
const SHORT: u32 = 20;

/// An agent, its parameters in the order of Heartbeat's, and a line of shell that is true while the resource is active.
pub(super) struct Subject {
    pub agent: &'static str,
    pub parameters: &'static [(&'static str, &'static str)],
    pub active: &'static str,
}

const SUBJECTS: [Subject; 5] = [
    Subject {
        agent: "drbddisk",
        parameters: &[("drbd_resource", "r0")],
        active: "grep -q '^ 0: cs:Connected ro:Primary/Secondary' /proc/drbd",
    },
    Subject {
        agent: "Filesystem",
        parameters: &[("device", "/dev/vg/plain"), ("directory", "/data"), ("fstype", "ext4")],
        active: "mountpoint -q /data",
    },
    Subject {
        agent: "lvm-activate",
        parameters: &[("vgname", "second"), ("vg_access_mode", "plain")],
        active: "test -b /dev/second/lv",
    },
    Subject {
        agent: "openvz",
        parameters: &[("ctid", "101")],
        active: "vzctl status 101 | grep -q ' running$'",
    },
    Subject {
        agent: "gnbd-export",
        parameters: &[
            ("name", "lab"),
            ("device", "/dev/vg/export"),
            ("options", "backend=nvmet,allow=nqn.2014-08.org.example:client"),
        ],
        active: ENABLED,
    },
];

fn story(lab: &Lab) -> Result {
    let node = lab.node(1);
    agents::install(lab)?;
    drbd::create(lab, &[Resource::new("r0", 0)], "ext4")?;
    lab.step("a file system, a volume group, a container, a disk to export", || prepare(node))?;
    lab.step("lrmd runs", || lrm::start_on(lab, node))?;
    let types = node.must("lrmadmin -T heartbeat; lrmadmin -T ocf; lrmadmin -P ocf Filesystem")?;
    let listed = |name: &str| types.lines().any(|line| line.trim() == name);
    lab.check(
        "it lists our agents",
        SUBJECTS.iter().all(|subject| listed(subject.agent)) && listed("holdfast"),
    )?;
    let described = node.must("lrmadmin -M ocf drbddisk holdfast")?;
    lab.check("it has our meta-data", described.contains("<parameter name=\"drbd_resource\""))?;
    for subject in &SUBJECTS {
        for class in ["heartbeat", "lsb", "ocf"] {
            let id = add(node, subject, class)?;
            lab.step(&format!("{} as {class}", subject.agent), || there_and_back(node, subject, &id))?;
        }
    }
    held(lab, node)?;
    elsewhere(lab, node)?;
    lab.check("lrmd has lived through it", node.says("pgrep -x lrmd && lrmadmin -C >/dev/null"))
}

fn prepare(node: &Node) -> Result {
    node.put("/usr/sbin/vzctl", 0o755, VZCTL)?;
    node.put("/etc/vz/vz.conf", 0o644, b"LOCKDIR=/vz/lock\nDUMPDIR=/vz/dump\nVE_ROOT=/vz/root/$VEID\n")?;
    node.put(
        "/etc/vz/conf/101.conf",
        0o644,
        b"ONBOOT=\"no\"\nVE_PRIVATE=\"/vz/private/101\"\nVE_ROOT=\"/vz/root/$VEID\"\n",
    )?;
    node.must(
        "set -e; modprobe -a loop configfs; mkdir -p /data /vz/root/101 /vz/private
         mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
         for name in plain export vz; do lvcreate -q -y -Wn -Zn -n $name -L 32M vg >&2; mkfs.ext4 -q -F /dev/vg/$name; done
         mount /dev/vg/vz /vz/private; mkdir /vz/private/101; vzctl standin-create 101 >&2
         truncate -s 33M /var/tmp/second; vgcreate -q second $(losetup -f --show /var/tmp/second) >&2
         lvcreate -q -y -n lv -L 24M second >&2; vgchange -q -an second >&2",
    )
    .map(|_| ())
}

/// Makes a resource of this class known, and gives its id.
pub(super) fn add(node: &Node, subject: &Subject, class: &str) -> Result<String> {
    let Subject { agent, parameters, .. } = subject;
    let id = format!("{agent}-{class}");
    let mut words: Vec<String> = Vec::new();
    match class {
        "heartbeat" => {
            words.extend([class, agent, "NULL"].map(str::to_owned));
            words.extend(parameters.iter().map(|(_, value)| (*value).to_owned()));
        }
        "lsb" => {
            let script = format!("{agent}-lab");
            let lines: String = parameters.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            node.put(&format!("/etc/default/{script}"), 0o644, lines.as_bytes())?;
            node.must(&format!("ln -sf {PROVIDER}/{agent} /etc/init.d/{script}"))?;
            words.extend([class, &script, "NULL"].map(str::to_owned));
        }
        _ => {
            words.extend([class, agent, "holdfast"].map(str::to_owned));
            words.extend(parameters.iter().map(|(name, value)| format!("{name}={value}")));
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lrm::add(node, &id, &words)?;
    Ok(id)
}

/// Each action, what the LRM has to make of the answer, and whether the resource is active then.
const WAY: [(&str, i32, bool); 7] = [
    ("monitor", STOPPED, false),
    ("start", DONE, true),
    ("monitor", DONE, true),
    ("start", DONE, true),
    ("stop", DONE, false),
    ("monitor", STOPPED, false),
    ("stop", DONE, false),
];

fn there_and_back(node: &Node, subject: &Subject, id: &str) -> Result {
    for (action, code, active) in WAY {
        let said = lrm::execute(node, id, action, AMPLE)?;
        if said != code {
            return Err(failed(format!("{action} is {said} instead of {code}")));
        }
        if node.says(subject.active) != active {
            return Err(failed(format!("after {action} it is {}active", if active { "not " } else { "" })));
        }
    }
    Ok(())
}

/// Does an action of the resource with this id, and fails unless the LRM understands this code.
pub(super) fn does(lab: &Lab, node: &Node, id: &str, action: &str, code: i32) -> Result {
    is_code(lab, &format!("{id}: {action}"), lrm::execute(node, id, action, AMPLE)?, code)
}

fn is_code(lab: &Lab, what: &str, said: i32, code: i32) -> Result {
    if said == code {
        lab.done(&format!("{what} is {code}"));
        return Ok(());
    }
    Err(failed(format!("{what} is {said} instead of {code}")))
}

/// A stop that cannot be done is a failure in each class, and the resource is still active for the next monitor.
fn held(lab: &Lab, node: &Node) -> Result {
    // heartbeat's crmd, which is not here, adds the time-out to the parameters.
    let limit = format!("CRM_meta_timeout={SHORT}000");
    lrm::add(node, "drbddisk-crm", &["ocf", "drbddisk", "holdfast", "drbd_resource=r0", &limit])?;
    for id in ["drbddisk-heartbeat", "drbddisk-crm"] {
        let is = |action, code| does(lab, node, id, action, code);
        is("start", DONE)?;
        node.must("setsid sleep 1000 </dev/drbd0 >/dev/null 2>&1 & echo $! >/run/sleep.pid")?;
        is("stop", FAILED)?;
        is("monitor", DONE)?;
        node.must("kill $(cat /run/sleep.pid)")?;
        is("stop", DONE)?;
    }
    Ok(())
}

/// A disk that the other node has is not started twice.
fn elsewhere(lab: &Lab, node: &Node) -> Result {
    lab.node(2).must("drbdadm primary r0")?;
    let said = lrm::execute(node, "drbddisk-crm", "start", AMPLE)?;
    is_code(lab, "drbddisk-crm: start of what node2 has", said, FAILED)?;
    lab.check("node1 is Secondary", node.says("grep -q '^ 0: .* ro:Secondary/Primary ' /proc/drbd"))?;
    for class in ["heartbeat", "lsb", "ocf"] {
        let said = lrm::execute(node, &format!("drbddisk-{class}"), "monitor", AMPLE)?;
        is_code(lab, &format!("drbddisk-{class}: monitor"), said, STOPPED)?;
    }
    lab.node(2).must("drbdadm secondary r0").map(|_| ())
}
