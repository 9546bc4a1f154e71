//! One Xen guest on DRBD that moves between two nodes while it runs. DRBD has two Primaries for that time only. First the
//! agent is called by hand, as Pacemaker calls it, and the link is lost where it hurts; then Pacemaker does it.

use super::Scenario;
use crate::lab::Wish;
use crate::qemu::Kind;
use crate::setup::agents::{call, expect};
use crate::setup::codes::{BLOCKED, DONE, FAILED, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::xen::{Guest, REAL, SWITCH};
use crate::setup::{agents, drbd, fencing, pacemaker, xen};
use crate::{Lab, Node, Output, Result, failed};
use std::thread;

/// Live migration.
pub const SCENARIO: Scenario = Scenario {
    name: "xen-drbd",
    about: "a Xen guest on DRBD moves while it runs: two Primaries for that time, link lost in the middle; then by Pacemaker",
    wish: || Wish { kind: Kind::Xen, ..Wish::of(&["one", "two"]) },
    story,
};

/// In xl's place: what is said after the guest has got its name is never sent.
const LATE: &str = r#"#!/usr/bin/python3
import os, subprocess, sys, time
if sys.argv[1] != "migrate-receive":
    os.execv(REAL, [REAL] + sys.argv[1:])
receiver = subprocess.Popen([REAL] + sys.argv[1:], stdout=subprocess.PIPE)
while said := os.read(receiver.stdout.fileno(), 4096):
    if subprocess.run([REAL, "domid", "web"], capture_output=True).returncode == 0:
        time.sleep(600)
    os.write(1, said)
"#;
/// As an administrator loads it.
const EXAMPLE: &str = "/usr/share/doc/holdfast/examples/xen-drbd-live/crm";
/// Seconds that an action has.
const AMPLE: u32 = 170;

fn story(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let disk = Resource::new("web", 0);
    let guest = Guest::new("web", &disk.device());
    xen::drbd_option(lab)?;
    agents::install(lab)?;
    agents::require(one, "xendomain")?;
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    one.must("drbdadm primary web")?;
    xen::empty(one, &disk.device())?;
    guest.configure(one)?;
    guest.configure(two)?;
    xen::prepare(lab)?;

    unknown_peer(lab, &guest, &disk)?;
    moves(lab, &guest, &disk)?;
    killed(lab, &guest, &disk)?;
    stays(lab, &guest, &disk)?;
    both_ends(lab, &guest, &disk)?;
    by_pacemaker(lab, &guest, &disk)
}

fn act(node: &Node, action: &str, more: &[(&str, &str)]) -> Result<Output> {
    let parameters = [&[("name", "web"), ("peers", "one two")], more].concat();
    call(node, "xendomain", action, &parameters, AMPLE)
}

/// Nobody may have two Primaries now.
fn one_primary(lab: &Lab, disk: &Resource, primary: &Node) -> Result {
    lab.check(
        &format!("only {} is Primary", primary.name()),
        disk.is(primary, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"]),
    )?;
    for node in lab.nodes() {
        let said = node.must("drbdsetup show web | grep -i two-primaries || true")?;
        lab.check(&format!("{} allows no second one", node.name()), !said.contains("yes"))?;
    }
    Ok(())
}

fn unknown_peer(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    expect(lab, "nothing runs", &act(one, "monitor", &[])?, STOPPED, &[])?;
    expect(lab, "start over a Secondary is refused", &act(two, "start", &[])?, FAILED, &["Secondary"])?;
    lab.hub().cut(1, 2);
    lab.eventually("the link is lost, DRBD has noticed", 120, || disk.is(one, &["cs:WFConnection"]))?;
    expect(
        lab,
        "start refuses while the peer is unknown",
        &act(one, "start", &[])?,
        FAILED,
        &["two", "unknown"],
    )?;
    lab.check("and nothing runs", guest.places(lab)? == 0)?;
    lab.hub().mend(1, 2);
    lab.eventually("the link is back", 120, || {
        disk.is(one, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    expect(lab, "start", &act(one, "start", &[])?, DONE, &[])?;
    guest.boots_on(lab, one)?;
    expect(lab, "monitor", &act(one, "monitor", &[])?, DONE, &[])?;
    expect(lab, "it does not run on two", &act(two, "monitor", &[])?, STOPPED, &[])?;
    one_primary(lab, disk, one)
}

/// By hand and undisturbed, as Pacemaker calls it: two Primaries are there for that time only.
fn moves(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (from, to) = (lab.node(1), lab.node(2));
    let target = [("CRM_meta_migrate_target", to.name())];
    expect(lab, "migrate_to, from one to two", &act(from, "migrate_to", &target)?, DONE, &[])?;
    let source = [("CRM_meta_migrate_source", from.name())];
    expect(lab, "migrate_from", &act(to, "migrate_from", &source)?, DONE, &[])?;
    expect(lab, "stop of what is not there any more", &act(from, "stop", &[])?, DONE, &[])?;
    guest.goes_on(lab, to)?;
    lab.check("it runs once", guest.places(lab)? == 1)?;
    one_primary(lab, disk, to)
}

/// Starts moving the guest from two to one, and does what is in the way once the list of guests on one has this sign.
fn interrupted(lab: &Lab, sign: fn(&str) -> bool, what: &str, in_the_way: impl Fn()) -> Result<Output> {
    let (from, to) = (lab.node(2), lab.node(1));
    thread::scope(|scope| {
        let target = [("CRM_meta_migrate_target", to.name())];
        let moving = scope.spawn(move || act(from, "migrate_to", &target));
        let seen = lab.eventually(&format!("the guest is on its way, {what}"), SWITCH, || {
            let seen = xen::list(to).is_some_and(|list| sign(&list));
            if seen {
                in_the_way();
            }
            seen || moving.is_finished()
        });
        let answer = moving.join().map_err(|_| failed("migrate_to cannot be called"))??;
        seen.map(|_| answer)
    })
}

/// True while its memory is copied to here.
fn is_incoming(list: &str) -> bool {
    list.lines().any(|line| line.starts_with("web--incoming"))
}

/// xl is killed while the memory is copied: the guest goes on where it was, and one Primary is enough again.
fn killed(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (from, to) = (lab.node(2), lab.node(1));
    let answer = interrupted(lab, is_incoming, "xl is killed", || {
        let _ = from.sh("pkill -9 -f '[x]l migrate '");
    })?;
    expect(lab, "migrate_to: the guest stays", &answer, FAILED, &["web", "stays", "signal 9"])?;
    expect(lab, "monitor", &act(from, "monitor", &[])?, DONE, &[])?;
    guest.goes_on(lab, from)?;
    lab.check("it runs once", guest.places(lab)? == 1)?;
    expect(lab, "stop on one", &act(to, "stop", &[])?, DONE, &[])?;
    lab.check("nothing is left there", guest.is_absent(to))?;
    lab.check("it runs on two", guest.runs(from))?;
    one_primary(lab, disk, from)
}

/// The link is lost while the memory is copied: the guest goes on where it was.
fn stays(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (from, to) = (lab.node(2), lab.node(1));
    let answer = interrupted(lab, is_incoming, "the link is lost", || lab.hub().cut(1, 2))?;
    expect(lab, "migrate_to: the guest stays", &answer, FAILED, &["stays"])?;
    expect(lab, "monitor", &act(from, "monitor", &[])?, DONE, &[])?;
    guest.goes_on(lab, from)?;
    lab.check("it runs once", guest.places(lab)? == 1)?;
    expect(lab, "on one it does not run", &act(to, "monitor", &[])?, STOPPED, &[])?;
    expect(lab, "stop on one", &act(to, "stop", &[])?, DONE, &[])?;
    lab.check("nothing is left there", guest.is_absent(to))?;
    lab.check("it runs on two", guest.runs(from))?;
    again(lab, disk, from, to)?;
    guest.goes_on(lab, from)
}

/// The link is lost after the guest was handed over and before one has said so: nobody can tell, and both ends are
/// looked at.
fn both_ends(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (from, to) = (lab.node(2), lab.node(1));
    xen::replace_xl(to, Some(&LATE.replace("REAL", &format!("'{REAL}'"))))?;
    let answer =
        interrupted(lab, |list| list.contains("\nweb "), "the link is lost", || lab.hub().cut(1, 2))?;
    xen::replace_xl(to, None)?;
    expect(lab, "migrate_to: check both ends", &answer, BLOCKED, &["CHECK BOTH ENDS"])?;
    expect(lab, "what is left on two is a failure", &act(from, "monitor", &[])?, FAILED, &["old copy"])?;
    expect(lab, "on one it runs", &act(to, "monitor", &[])?, DONE, &[])?;
    guest.goes_on(lab, to)?;
    lab.check("it runs once", guest.places(lab)? == 1)?;
    expect(lab, "stop on two", &act(from, "stop", &[])?, DONE, &[])?;
    lab.check("nothing is left there", guest.is_absent(from))?;
    again(lab, disk, to, from)?;
    guest.goes_on(lab, to)?;
    expect(lab, "stop on one", &act(to, "stop", &[])?, DONE, &[])?;
    guest.all_is_at(lab, to, &disk.device())?;
    to.must("drbdadm secondary web").map(|_| ())
}

/// An administrator puts DRBD right after the link was lost: `good` has the guest's data.
fn again(lab: &Lab, disk: &Resource, good: &Node, other: &Node) -> Result {
    lab.done(&format!(
        "DRBD on {}: {}; on {}: {}",
        good.name(),
        disk.line(good),
        other.name(),
        disk.line(other)
    ));
    // Both were Primary when they lost each other, so to DRBD this is a split brain, though only one was written to. They
    // must not meet before it has been said whose data count.
    good.must("drbdadm disconnect web")?;
    other.must("drbdadm disconnect web")?;
    lab.eventually(&format!("{} is Secondary", other.name()), 60, || {
        other.says("drbdadm secondary web 2>/dev/null") && disk.is(other, &["ro:Secondary/Unknown"])
    })?;
    lab.hub().mend(1, 2);
    other.must("drbdadm connect --discard-my-data web")?;
    good.must("drbdadm connect web")?;
    lab.eventually("DRBD is in step again", 120, || {
        disk.is(good, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    one_primary(lab, disk, good)
}

/// As the example wants it, with the handlers as they were published.
const SECTIONS: &str = "\tdisk {\n\t\tfencing resource-and-stonith;\n\t}\n\thandlers {\n\
     \t\tfence-peer \"/usr/lib/drbd/crm-fence-peer.sh\";\n\t\tunfence-peer \"/usr/lib/drbd/crm-unfence-peer.sh\";\n\t}\n";

/// Pacemaker starts the guest and moves it while both nodes are Primary; then the second Primary is taken away, and the
/// guest is started again after a power failure. No action fails.
fn by_pacemaker(lab: &Lab, guest: &Guest, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let net = "\t\tallow-two-primaries yes;\n".to_owned();
    let dual = Resource { net, sections: SECTIONS.into(), ..disk.clone() };
    let names: Vec<(&str, &str)> = lab.nodes().iter().map(|node| (node.name(), node.address())).collect();
    let config = dual.config(&names);
    lab.on_all(|node| {
        node.put("/etc/drbd.d/web.res", 0o644, config.as_bytes())?;
        node.must("drbdadm adjust web").map(|_| ())
    })?;
    let cib = pacemaker::cib(&fencing::device(lab)?, "").replace("pacemaker-3.0", "pacemaker-3.8");
    pacemaker::start(lab, &cib)?;
    pacemaker::option(one, "stonith-enabled", "true")?;
    lab.step("the example is loaded with crm", || {
        one.must(&format!("crm configure load update {EXAMPLE} 2>&1"))
    })?;
    guest.boots_on(lab, one)?;
    lab.eventually("both nodes are Primary", SWITCH, || {
        disk.is(one, &["cs:Connected", "ro:Primary/Primary"])
    })?;
    lab.step("Pacemaker is asked to move it", || {
        one.must("crm_resource --resource web --move --node two 2>&1")
    })?;
    lab.eventually("it has come to two", SWITCH, || guest.runs(two) && guest.is_absent(one))?;
    guest.goes_on(lab, two)?;
    lab.step("one Primary is enough now", || {
        one.must(
            "crm_resource --resource disks_web --meta --set-parameter promoted-max --parameter-value 1 2>&1",
        )
    })?;
    lab.eventually("only two is Primary", SWITCH, || {
        disk.is(two, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    one.must("crm_resource --resource web --clear 2>&1")?;
    guest.goes_on(lab, two)?;
    lab.check("it runs once", guest.places(lab)? == 1)?;
    no_failure(lab, one)?;
    fencing::kill(two, one)?;
    lab.done("two has lost power");
    // The boots are counted: on two there was none.
    guest.boots_on(lab, one)?;
    no_failure(lab, one)
}

fn no_failure(lab: &Lab, node: &Node) -> Result {
    match pacemaker::failures(node)?.as_slice() {
        [] => lab.check("the cluster knows of no failure", true),
        failures => Err(failed(failures.join("\n"))),
    }
}
