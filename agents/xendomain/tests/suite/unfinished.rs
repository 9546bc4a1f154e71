//! Two Primaries that a migration has left: taken back by a later action, once one node alone has the guest.

use std::time::{Duration, Instant};

use testkit::call::{CONFIGURED, NOT_RUNNING, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::migrate::{ALLOW, DRBDADM, FORBID, here, pair, there, to};
use crate::scenes::{PRIMARY, domains, on, peer, web};

/// Where the agent has it written down.
fn notes(machine: &Sandbox) -> Vec<String> {
    let found = std::fs::read_dir(machine.path("run/holdfast/xendomain")).into_iter().flatten().flatten();
    let names = found.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.ends_with("+two-primaries")).collect()
}

fn roles(machine: &Sandbox) -> String {
    let text = std::fs::read_to_string(machine.path("proc/drbd")).unwrap();
    text.split("ro:").nth(1).unwrap().split(' ').next().unwrap().into()
}

/// What was done on either node after the migration.
fn since(machine: &Sandbox, before: &(usize, usize)) -> (Vec<String>, Vec<String>) {
    (here(machine)[before.0..].to_vec(), there(machine)[before.1..].to_vec())
}

/// A migration that ended nobody knew how: the guest is suspended here and not there.
fn unknown_end() -> (Sandbox, (usize, usize)) {
    let machine = pair(PRIMARY);
    on(&machine, "migrate", "both");
    to(&machine).run("migrate_to").answers(CONFIGURED).names("CHECK BOTH ENDS");
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Primary", 1));
    let done = (here(&machine).len(), there(&machine).len());
    (machine, done)
}

fn away(machine: &Sandbox) {
    machine.file("domains", "0 Domain-0 r-----\n");
    std::fs::remove_dir_all(machine.path("store/local/domain/3")).unwrap();
}

#[test]
fn what_a_migration_takes_back_is_not_written_down_any_more() {
    for how in ["moved", "resumed"] {
        let machine = pair(PRIMARY);
        on(&machine, "migrate", how);
        to(&machine).run("migrate_to");
        assert!(notes(&machine).is_empty(), "{how}");
    }
}

/// A person has looked and destroyed the copy here; then the cluster probes.
#[test]
fn this_node_gives_its_role_back_once_the_guest_is_on_the_other_alone() {
    let (machine, before) = unknown_end();
    peer(&machine, &[(9, "web")]);
    web(&machine).monitor();
    assert_eq!(since(&machine, &before), (vec![], vec![]), "the suspended copy may be the one that goes on");
    away(&machine);
    web(&machine).probe().answers(NOT_RUNNING);
    let (here, there) = since(&machine, &before);
    assert_eq!(here, ["secondary r0", FORBID]);
    assert_eq!(there, [format!("drbdadm {FORBID}")]);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Secondary/Primary", 0));
}

#[test]
fn the_other_node_gives_its_role_back_once_the_guest_is_here_alone() {
    let (machine, before) = unknown_end();
    machine.file("domains", "0 Domain-0 r-----\n3 web -b----\n");
    web(&machine).probe().answers(SUCCESS);
    let (here, there) = since(&machine, &before);
    assert_eq!(here, [FORBID]);
    assert_eq!(there, ["drbdadm secondary r0".to_owned(), format!("drbdadm {FORBID}")]);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Secondary", 0));
}

/// Where the cluster will start it is not known to a probe. A stop comes from the failed migration.
#[test]
fn with_no_guest_anywhere_a_stop_brings_back_what_was_before_and_a_probe_does_nothing() {
    let (machine, before) = unknown_end();
    away(&machine);
    web(&machine).probe().answers(NOT_RUNNING);
    assert_eq!(since(&machine, &before), (vec![], vec![]));
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Secondary", 0));
}

/// The cluster has stopped the guest here meanwhile, demoted this node and promoted the other.
#[test]
fn a_role_that_the_cluster_has_moved_since_is_left_alone() {
    let (machine, before) = unknown_end();
    away(&machine);
    crate::scenes::drbd(&machine, crate::scenes::SECONDARY);
    web(&machine).run("stop").answers(SUCCESS);
    let (here, there) = since(&machine, &before);
    assert_eq!((here, there), (vec![FORBID.to_owned()], vec![format!("drbdadm {FORBID}")]));
    assert_eq!(roles(&machine), "Secondary/Primary");
}

#[test]
fn two_running_copies_or_an_unreachable_node_are_left_to_a_person() {
    let (machine, before) = unknown_end();
    machine.file("domains", "0 Domain-0 r-----\n3 web -b----\n");
    peer(&machine, &[(9, "web")]);
    web(&machine).probe().answers(SUCCESS);
    std::fs::remove_file(machine.path("peer")).unwrap();
    web(&machine).probe().answers(SUCCESS);
    assert_eq!((since(&machine, &before), notes(&machine).len()), ((vec![], vec![]), 1));
}

#[test]
fn a_recurring_monitor_asks_the_other_node_once_a_minute() {
    let (machine, before) = unknown_end();
    machine.file("domains", "0 Domain-0 r-----\n3 web -b----\n");
    let asked = machine.calls("ssh").len();
    web(&machine).monitor().answers(SUCCESS);
    assert_eq!((machine.calls("ssh").len(), since(&machine, &before)), (asked, (vec![], vec![])));
    let file = machine.path("run/holdfast/xendomain").join(&notes(&machine)[0]);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(61);
    std::fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    web(&machine).monitor().answers(SUCCESS);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Secondary", 0));
}

/// The cluster kills the agent in the middle; it stops the guest, and starts it somewhere.
#[test]
fn a_killed_migration_is_cleared_up_by_the_stop_that_follows() {
    let machine = pair(PRIMARY);
    on(&machine, "migrate", "hang");
    let mut agent = to(&machine).spawn("migrate_to");
    let until = Instant::now() + Duration::from_secs(20);
    while machine.calls("xl").iter().all(|call| call[0] != "migrate") {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Primary", 1));
    agent.kill().unwrap();
    agent.wait().unwrap();
    web(&machine).run("stop").answers(SUCCESS);
    assert!(domains(&machine).is_empty());
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Secondary", 0));
    assert_eq!(here(&machine), [ALLOW, FORBID]);
}

#[test]
fn a_migration_that_goes_on_is_left_alone() {
    let (machine, before) = unknown_end();
    machine.file("domains", "0 Domain-0 r-----\n3 web -b----\n");
    let note = machine.path("run/holdfast/xendomain").join(&notes(&machine)[0]);
    let text = "guest=web\ndomain=3\nprocess=4711 99\naddress=node2\nresources=r0\n";
    std::fs::write(note, text).unwrap();
    let stat = format!("4711 (xen) domain) S {}99 0\n", "0 ".repeat(18));
    machine.file("proc/4711/stat", stat);
    web(&machine).probe().answers(SUCCESS);
    std::fs::remove_file(machine.path("proc/4711/stat")).unwrap();
    for tool in ["/usr/sbin/xl\0migrate\0-s\0ssh\x003\0node2\0", "xl\0migrate-receive\0"] {
        machine.file("proc/4712/cmdline", tool);
        web(&machine).probe().answers(SUCCESS);
    }
    assert_eq!(since(&machine, &before), (vec![], vec![]));
    std::fs::remove_file(machine.path("proc/4712/cmdline")).unwrap();
    // Another process has that number now.
    machine.file("proc/4711/stat", format!("4711 (sh) S {}100 0\n", "0 ".repeat(18)));
    web(&machine).probe().answers(SUCCESS);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Secondary", 0));
}

#[test]
fn a_role_that_cannot_be_given_back_is_tried_again_by_the_next_action() {
    let (machine, _) = unknown_end();
    away(&machine);
    peer(&machine, &[(9, "web")]);
    machine.tool("drbdadm", Tool::Fails(11, "State change failed: (-12) Device is held open by someone"));
    web(&machine).probe().answers(NOT_RUNNING);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Primary/Primary", 1));
    machine.tool("drbdadm", Tool::Does(DRBDADM.into()));
    web(&machine).probe().answers(NOT_RUNNING);
    assert_eq!((roles(&machine).as_str(), notes(&machine).len()), ("Secondary/Primary", 0));
}
