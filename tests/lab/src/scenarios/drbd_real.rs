//! drbddisk on real DRBD 8.4, in the states that nobody wants to see: what it answers, that nothing is given up, and that a
//! stop is never reported while somebody holds the device.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::agents::{PROVIDER, THEIR_SCRIPT, call, expect};
use crate::setup::codes::{DEGRADED, FAILED, RUNNING, STOPPED};
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::setup::{agents, cost, drbd};
use crate::{Lab, Node, Output, Result};

/// drbddisk by hand, without a cluster.
pub const SCENARIO: Scenario = Scenario {
    name: "drbd-real",
    about: "drbddisk on real DRBD: peer Primary, lost link, split brain, Outdated, Diskless, holders; CPU of a monitor",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

/// Seconds for an action that has to succeed, on a busy machine, and for one that has to give up by itself.
const AMPLE: u32 = 90;
const SHORT: u32 = 15;

fn story(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let disk = Resource::new("r0", 0);
    agents::install(lab)?;
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    for node in [one, two] {
        expect(
            lab,
            &format!("Secondary on {} is stopped", node.name()),
            &ask(node, "monitor")?,
            STOPPED,
            &[],
        )?;
    }
    expect(lab, "start makes node1 Primary", &act(one, "start", AMPLE)?, RUNNING, &[])?;
    lab.check("as /proc/drbd says", disk.is(one, &["ro:Primary/Secondary"]))?;
    expect(lab, "monitor says running", &ask(one, "monitor")?, RUNNING, &[])?;
    let answer = act(two, "start", SHORT)?;
    expect(
        lab,
        "start on node2 gives up by itself and says why",
        &answer,
        FAILED,
        &["Primary on another node"],
    )?;
    lab.check("node2 is Secondary", disk.is(two, &["ro:Secondary/Primary"]))?;
    one.must("mkdir -p /data && mount /dev/drbd0 /data")?;
    let data = Written::to(one, "/data/first", 256)?;

    split_brain(lab, &disk)?;
    outdated(lab, &disk)?;
    diskless(lab, &disk)?;
    lab.step("what was written is there", || data.is_on(one))?;
    one.must("umount /data")?;
    holders(lab, &disk)?;
    not_up(lab, &disk)?;
    processor_time(lab)
}

fn ask(node: &Node, action: &str) -> Result<Output> {
    call(node, "drbddisk", action, &[("drbd_resource", "r0")], AMPLE)
}

fn act(node: &Node, action: &str, seconds: u32) -> Result<Output> {
    call(node, "drbddisk", action, &[("drbd_resource", "r0")], seconds)
}

fn strict(node: &Node) -> Result<Output> {
    call(node, "drbddisk", "monitor", &[("drbd_resource", "r0"), ("report_degraded", "yes")], AMPLE)
}

fn split_brain(lab: &Lab, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    lab.hub().cut(1, 2);
    lab.eventually("the link is lost, DRBD has noticed", 120, || {
        [one, two].iter().all(|node| disk.is(node, &["cs:WFConnection"]))
    })?;
    expect(lab, "a lost peer is running", &ask(one, "monitor")?, RUNNING, &[])?;
    expect(lab, "and degraded for who asks for it", &strict(one)?, DEGRADED, &["has lost its peer"])?;
    expect(lab, "without fencing node2 becomes Primary too", &act(two, "start", AMPLE)?, RUNNING, &[])?;
    let here = Written::to(one, "/data/here", 64)?;
    two.must("mkdir -p /data && mount /dev/drbd0 /data")?;
    let there = Written::to(two, "/data/there", 64)?;
    lab.hub().mend(1, 2);
    lab.eventually("the link is back, DRBD has found the split brain", 120, || {
        [one, two].iter().any(|node| disk.is(node, &["cs:StandAlone"]))
    })?;
    let apart = if disk.is(one, &["cs:StandAlone"]) { one } else { two };
    expect(lab, "monitor names the split brain", &strict(apart)?, DEGRADED, &["StandAlone", "split brain"])?;
    lab.step("nothing was given up", || here.is_on(one).and_then(|()| there.is_on(two)))?;
    two.must("umount /data")?;
    expect(lab, "stop on node2", &act(two, "stop", AMPLE)?, RUNNING, &[])?;
    lab.step("an administrator gives up node2's data", || {
        two.must("drbdadm disconnect r0; drbdadm connect --discard-my-data r0")?;
        one.must("drbdadm connect r0 || true")
    })?;
    lab.eventually("both are in step again", 120, || {
        disk.is(one, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    expect(lab, "monitor is content", &strict(one)?, RUNNING, &[])?;
    lab.step("node1's data were kept", || here.is_on(one))
}

fn outdated(lab: &Lab, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    two.must("drbdadm disconnect r0 && drbdadm outdate r0")?;
    lab.check("node2 is Outdated", disk.line(two).contains("ds:Outdated/"))?;
    expect(lab, "Secondary and Outdated is stopped", &ask(two, "monitor")?, STOPPED, &[])?;
    expect(lab, "start on old data is refused", &act(two, "start", AMPLE)?, FAILED, &["no UpToDate data"])?;
    lab.check("node2 is not Primary", disk.line(two).contains("ro:Secondary/"))?;
    two.must("drbdadm adjust r0")?;
    one.must("drbdadm adjust r0")?;
    lab.eventually("both are in step again", 120, || {
        disk.is(one, &["cs:Connected", "ds:UpToDate/UpToDate"])
    })?;
    Ok(())
}

fn diskless(lab: &Lab, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    one.must("drbdadm detach --force r0")?;
    lab.eventually("node1 has lost its disk", 60, || disk.is(one, &["ds:Diskless/UpToDate"]))?;
    expect(lab, "Primary without a disk goes on", &ask(one, "monitor")?, RUNNING, &[])?;
    expect(lab, "and is degraded for who asks for it", &strict(one)?, DEGRADED, &["Diskless"])?;
    let written = lab.step("it still writes, through the peer", || Written::to(one, "/data/remote", 64))?;
    one.must("drbdadm attach r0")?;
    lab.eventually("the disk is back and up to date", 120, || disk.is(one, &["ds:UpToDate/UpToDate"]))?;
    written.is_on(one)?;

    two.must("drbdadm disconnect r0 && drbdadm detach r0")?;
    // DRBD 8.4 shows what has neither disk nor peer as if it had never been brought up.
    lab.eventually("node2 has neither disk nor peer", 60, || disk.is(two, &["cs:Unconfigured"]))?;
    expect(lab, "there it is stopped", &ask(two, "monitor")?, STOPPED, &[])?;
    expect(lab, "and start is refused", &act(two, "start", AMPLE)?, FAILED, &["ocf-exit-reason:r0 "])?;
    lab.check("node2 is not Primary", !disk.line(two).contains("ro:Primary/"))?;
    two.must("drbdadm adjust r0")?;
    one.must("drbdadm adjust r0")?;
    lab.eventually("both are in step again", 120, || {
        disk.is(one, &["cs:Connected", "ds:UpToDate/UpToDate"])
    })?;
    Ok(())
}

/// Who keeps the device, how he is made, how he goes, and the word by which stop has to name him.
const HOLDERS: [(&str, &str, &str, &str); 3] = [
    (
        "a mount in another namespace",
        "mkdir -p /mnt/hidden; setsid unshare -m bash -c 'mount --make-rprivate / && mount /dev/drbd0 /mnt/hidden && \
         touch /run/held && exec sleep 1000' </dev/null >/dev/null 2>&1 & echo $! >/run/holder",
        "kill $(pgrep -x sleep)",
        "/mnt/hidden",
    ),
    (
        "a device-mapper device on top",
        "dmsetup create ontop --table \"0 $(blockdev --getsz /dev/drbd0) linear /dev/drbd0 0\" && touch /run/held",
        "dmsetup remove --retry ontop",
        "dm-",
    ),
    (
        "a process that has it open",
        "setsid bash -c 'exec 9</dev/drbd0; touch /run/held; exec -a keeper sleep 1000' </dev/null >/dev/null 2>&1 &",
        "kill $(pgrep -x sleep)",
        "sleep",
    ),
];

fn holders(lab: &Lab, disk: &Resource) -> Result {
    let one = lab.node(1);
    for (who, come, go, word) in HOLDERS {
        one.must(&format!("rm -f /run/held; {come}"))?;
        lab.eventually(&format!("held by {who}"), 60, || one.says("test -e /run/held"))?;
        expect(lab, "stop gives up by itself and names it", &act(one, "stop", SHORT)?, FAILED, &[word])?;
        lab.check("still Primary", disk.is(one, &["ro:Primary/Secondary"]))?;
        expect(lab, "and monitor says so", &ask(one, "monitor")?, RUNNING, &[])?;
        one.must(go)?;
        expect(lab, "gone; stop succeeds", &act(one, "stop", AMPLE)?, RUNNING, &[])?;
        lab.check("Secondary", disk.is(one, &["ro:Secondary/Secondary"]))?;
        expect(lab, "start", &act(one, "start", AMPLE)?, RUNNING, &[])?;
    }
    expect(lab, "stop", &act(one, "stop", AMPLE)?, RUNNING, &[])?;
    expect(lab, "a second stop is content", &act(one, "stop", AMPLE)?, RUNNING, &[])
}

fn not_up(lab: &Lab, disk: &Resource) -> Result {
    let two = lab.node(2);
    two.must("drbdadm down r0")?;
    expect(lab, "a resource that is not up is stopped", &ask(two, "monitor")?, STOPPED, &[])?;
    expect(lab, "stop of it is content", &act(two, "stop", AMPLE)?, RUNNING, &[])?;
    expect(lab, "start says what to do", &act(two, "start", AMPLE)?, FAILED, &["not up"])?;
    let adjust = [("drbd_resource", "r0"), ("adjust", "yes")];
    let answer = call(two, "drbddisk", "start", &adjust, AMPLE)?;
    expect(lab, "with adjust=yes start brings it up", &answer, RUNNING, &[])?;
    lab.check("node2 is Primary", disk.line(two).contains("ro:Primary/"))?;
    let unknown = call(two, "drbddisk", "monitor", &[("drbd_resource", "nosuch")], AMPLE)?;
    expect(lab, "a resource that no configuration names is not running", &unknown, STOPPED, &[])?;
    expect(lab, "stop", &act(two, "stop", AMPLE)?, RUNNING, &[])
}

/// A monitor and a status of ours, beside the tool, the script that runs it, and a program that does nothing. The goal is
/// that a status costs twenty times less than the script's; `true` alone takes an eighth of that.
fn processor_time(lab: &Lab) -> Result {
    let one = lab.node(1);
    expect(lab, "start on node1", &act(one, "start", AMPLE)?, RUNNING, &[])?;
    let env = [
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "lab"),
        ("OCF_RESKEY_drbd_resource", "r0"),
    ];
    let monitor = format!("{PROVIDER}/drbddisk monitor");
    let [ours, role] = cost::of(one, 40, RUNNING, &env, [&monitor, "/usr/sbin/drbdadm role r0"])?;
    let script = format!("{THEIR_SCRIPT} r0 status");
    let [status, theirs, nothing] =
        cost::of(one, 40, RUNNING, &[], ["/etc/ha.d/resource.d/drbddisk r0 status", &script, cost::NOTHING])?;
    lab.done(&format!(
        "processor time of a call: our monitor {ours:.1} ms, drbdadm role {role:.1} ms ({:.1} times); our status \
         {status:.1} ms, the script's {theirs:.1} ms ({:.1} times), true's {nothing:.1} ms",
        role / ours,
        theirs / status
    ));
    lab.check("a status of ours costs a fifth of the script's at most", theirs / status >= 5.0)?;
    lab.check("and no more than half again what true does", status <= nothing * 1.5)
}
