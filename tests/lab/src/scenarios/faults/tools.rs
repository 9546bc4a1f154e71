//! Tools that are killed with SIGKILL before they did their work or when they had done it, and tools that hang.

use super::{
    AMPLE, CONTAINER, DATA, DISK, DONE, FAILED, GROUP, IMAGE, INSTANCE, PROMOTED, Resources, SHORT, STOPPED,
};
use crate::setup::agents::expect;
use crate::{Lab, Node, Output, Result, failed};

const VZCTL: &[u8] = include_bytes!("../../../standin/vzctl");

/// What an action comes to: its code, and whether the resource is active then.
type End = (i32, bool);

/// A resource, the tool that its agent runs, the words by which the call that changes something is known, and how to see that
/// the resource is active.
struct Subject {
    resource: Resources,
    tool: &'static str,
    active: &'static str,
    /// The word, and the ends with a tool that is killed before its work, killed after it, and hangs.
    start: (&'static str, [End; 3]),
    /// The same, unless stop runs no tool.
    stop: Option<(&'static str, [End; 3])>,
}

const OFF: End = (FAILED, false);
const ON: End = (FAILED, true);

const SUBJECTS: [Subject; 4] = [
    Subject {
        resource: GROUP,
        tool: "lvm",
        active: "test -b /dev/second/lv",
        // The kernel has the volumes, whatever became of the tool.
        start: ("vgchange", [OFF, (DONE, true), OFF]),
        stop: Some(("vgchange", [ON, (DONE, false), ON])),
    },
    Subject {
        resource: DISK,
        tool: "drbdadm",
        active: "grep -q '^ 0: .* ro:Primary/' /proc/drbd",
        start: ("primary", [OFF, ON, OFF]),
        // There is another way to Secondary, by drbdsetup.
        stop: Some(("secondary", [(DONE, false); 3])),
    },
    Subject {
        resource: IMAGE,
        tool: "mount",
        active: "mountpoint -q /mnt/image",
        // The mount table has the answer.
        start: ("/mnt/image", [OFF, (DONE, true), OFF]),
        stop: None,
    },
    Subject {
        resource: DATA,
        tool: "fsck",
        active: "mountpoint -q /data",
        start: ("/dev/drbd0", [OFF; 3]),
        stop: None,
    },
];

const VZ: Subject = Subject {
    resource: CONTAINER,
    tool: "vzctl",
    active: "vzctl status 101 | grep -q ' running$'",
    start: ("start", [OFF, ON, OFF]),
    stop: Some(("stop", [ON, (DONE, false), ON])),
};

/// Stands in front of a tool: /run/fault has the tool that fails, how, and a word of the calls that fail.
const WRAPPER: &str = r#"#!/bin/bash
real() { exec -a "${0##*/}" /usr/lib/lab-real/TOOL "$@"; }
tool= how= word=
[[ ! -e /run/fault ]] || read -r tool how word </run/fault
[[ $tool == TOOL && ($word == any || " $* " == *" $word "*) ]] || how=
case $how in
before) kill -9 $$ ;;
after) (real "$@"); kill -9 $$ ;;
hang) exec -a lab-hung sleep 1000 ;;
*) real "$@" ;;
esac
"#;

/// Puts the wrappers before the tools, and makes what the resources need beside DRBD.
pub fn prepare(node: &Node) -> Result {
    node.put("/usr/sbin/vzctl", 0o755, VZCTL)?;
    node.put("/etc/vz/vz.conf", 0o644, b"LOCKDIR=/vz/lock\nDUMPDIR=/vz/dump\nVE_ROOT=/vz/root/$VEID\n")?;
    node.put(
        "/etc/vz/conf/101.conf",
        0o644,
        b"ONBOOT=\"no\"\nVE_PRIVATE=\"/data/vm\"\nVE_ROOT=\"/vz/root/$VEID\"\n",
    )?;
    node.must(
        "set -e; modprobe loop; truncate -s 33M /var/tmp/second /var/tmp/image; mkfs.ext4 -q -F /var/tmp/image
         vgcreate -q --setautoactivation n second $(losetup -f --show /var/tmp/second) >&2
         lvcreate -q -y -n lv -L 24M second >&2; mkfs.ext4 -q /dev/second/lv; vgchange -q -an second >&2
         mkdir -p /usr/lib/lab-real /vz/root/101 /mnt/image /mnt/hidden",
    )?;
    for tool in ["drbdadm", "mount", "fsck", "lvm", "vzctl", "/usr/lib/drbd/drbdsetup-84"] {
        let path = node.must(&format!("readlink -f $(command -v {tool})"))?;
        let name = tool.rsplit('/').next().unwrap_or(tool);
        node.must(&format!("mv {path} /usr/lib/lab-real/{name}"))?;
        node.put(&path, 0o755, WRAPPER.replace("TOOL", name).as_bytes())?;
    }
    Ok(())
}

/// One after the other, from a node where nothing is active to one where r0 is Primary and mounted on /data.
pub fn faults(lab: &Lab, node: &Node) -> Result {
    for subject in &SUBJECTS {
        if subject.tool == "fsck" {
            DISK.does(lab, node, "start")?;
        }
        of_one(lab, node, subject)?;
    }
    lab.check("no loop device is left over", !node.says("losetup -a | grep /var/tmp/image"))?;
    hung_drbdsetup(lab, node)?;
    of_an_instance(lab, node)?;

    DATA.does(lab, node, "start")?;
    node.must("mkdir -p /data/vm && vzctl standin-create 101 >&2")?;
    of_one(lab, node, &VZ)?;
    let boots = node.must("wc -l </data/vm/var/log/boots")?;
    // With the tool that was killed when it had done its work, and twice without a fault: a stop that fails leaves it running.
    lab.check(&format!("the container was never started twice: {boots} boots"), boots.trim() == "3")
}

/// An action while the tool fails like this in the calls with that word.
fn with_fault(
    node: &Node,
    (tool, how, word): (&str, &str, &str),
    action: impl FnOnce() -> Result<Output>,
) -> Result<Output> {
    node.must(&format!("echo {tool} {how} {word} >/run/fault"))?;
    let result = action()?;
    node.must("rm /run/fault")?;
    Ok(result)
}

const HOW: [&str; 3] = ["before", "after", "hang"];
/// What a reason says of a tool; the last try of several may have been too late to end.
const REASONS: [&str; 2] = ["killed by signal 9", "did not end within"];

fn of_one(lab: &Lab, node: &Node, subject: &Subject) -> Result {
    let Subject { resource, tool, start, stop, .. } = subject;
    let (word, ends) = start;
    for (how, end) in HOW.iter().zip(ends) {
        let answer = with_fault(node, (tool, how, word), || resource.call(node, "start", SHORT))?;
        comes_to(lab, node, subject, &format!("start, {tool} {how}"), &answer, *end)?;
        if end.1 {
            // What is there is not started a second time.
            quietly(resource, node, "start")?;
        }
        quietly(resource, node, "stop")?;
    }
    let Some((word, ends)) = stop else { return Ok(()) };
    for (how, end) in HOW.iter().zip(ends) {
        quietly(resource, node, "start")?;
        let answer = with_fault(node, (tool, how, word), || resource.call(node, "stop", SHORT))?;
        comes_to(lab, node, subject, &format!("stop, {tool} {how}"), &answer, *end)?;
    }
    quietly(resource, node, "start")?;
    quietly(resource, node, "stop")
}

/// Code and reason are these, monitor tells what is, and no process is left over.
fn comes_to(
    lab: &Lab,
    node: &Node,
    subject: &Subject,
    what: &str,
    answer: &Output,
    (code, active): End,
) -> Result {
    let agent = subject.resource.agent;
    let is = if active { "active" } else { "not active" };
    if answer.code == FAILED && !REASONS.iter().any(|reason| answer.err.contains(reason)) {
        return Err(failed(format!("{agent} {what}: no reason: {} {}", answer.code, answer.err)));
    }
    if node.says(subject.active) != active {
        return Err(failed(format!("{agent} {what}: not {is} ({}): {}", answer.code, answer.err)));
    }
    let monitor = subject.resource.call(node, "monitor", AMPLE)?;
    if monitor.code != if active { DONE } else { STOPPED } {
        return Err(failed(format!("{agent} {what}: {is}, monitor says {}: {}", monitor.code, monitor.err)));
    }
    if node.says("pgrep -f '[l]ab-hung'") {
        return Err(failed(format!("{agent} {what}: the tool still runs")));
    }
    expect(lab, &format!("{agent} {what}: {code}, {is}, and monitor says so"), answer, code, &[])
}

fn quietly(resource: &Resources, node: &Node, action: &str) -> Result {
    let answer = resource.call(node, action, AMPLE)?;
    if answer.code == DONE {
        return Ok(());
    }
    Err(failed(format!("{} {action}: {}: {}", resource.agent, answer.code, answer.err)))
}

/// promote and demote of a promotable clone's instance, which are actions of their own. r0 is Primary before and after.
fn of_an_instance(lab: &Lab, node: &Node) -> Result {
    let is = |what: &str, action, role: &str, monitor| {
        let here = node.says(&format!("grep -q '^ 0: .* ro:{role}/' /proc/drbd"));
        lab.check(&format!("{what}: {role}"), here)?;
        expect(lab, action, &INSTANCE.call(node, "monitor", AMPLE)?, monitor, &[])
    };
    let killed =
        |action, how, word| with_fault(node, ("drbdadm", how, word), || INSTANCE.call(node, action, SHORT));
    // There is another way to Secondary, by drbdsetup.
    expect(lab, "demote, drbdadm before", &killed("demote", "before", "secondary")?, DONE, &[])?;
    is("demote, drbdadm before", "monitor of the instance", "Secondary", DONE)?;
    let answer = killed("promote", "before", "primary")?;
    expect(lab, "promote, drbdadm before", &answer, FAILED, &["killed by signal 9"])?;
    is("promote, drbdadm before", "monitor of the instance", "Secondary", DONE)?;
    quietly(&INSTANCE, node, "promote")?;
    is("promote", "monitor of the instance", "Primary", PROMOTED)
}

/// What drbdadm runs hangs, below a drbdadm that waits for it.
fn hung_drbdsetup(lab: &Lab, node: &Node) -> Result {
    let call = |action, word, seconds| {
        with_fault(node, ("drbdsetup-84", "hang", word), || DISK.call(node, action, seconds))
    };
    let left = || node.says("pgrep -f '[l]ab-hung'");
    expect(lab, "a hung drbdsetup: stop gives up", &call("stop", "secondary", SHORT)?, FAILED, &["r0"])?;
    lab.check("still Primary, nothing left running", node.says("grep -q ro:Primary/ /proc/drbd") && !left())?;
    expect(lab, "monitor does not ask it", &call("monitor", "any", SHORT)?, DONE, &[])?;
    DISK.does(lab, node, "stop")?;
    let answer = call("start", "primary", SHORT)?;
    expect(lab, "a hung drbdsetup: start gives up", &answer, FAILED, &["did not end within"])?;
    lab.check(
        "still Secondary, nothing left running",
        node.says("grep -q ro:Secondary/ /proc/drbd") && !left(),
    )?;
    DISK.does(lab, node, "start")
}
