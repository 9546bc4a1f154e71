//! Memory dumps. vzctl resumes what it finds, however old it is.

use std::fs;

use testkit::Sandbox;
use testkit::call::{GENERIC, SUCCESS};

use crate::scenes::{changes, configure, container, ct101, logged, node, openvz_node, virtuozzo_node};

fn suspended(machine: Sandbox) -> Sandbox {
    machine.file("vz/dump/Dump.101", "memory");
    machine
}

fn was_resumed(machine: &Sandbox) -> bool {
    machine.path("ct/resumed").exists()
}

fn text(machine: &Sandbox, inside: &str) -> String {
    fs::read_to_string(machine.path(inside)).unwrap_or_default()
}

#[test]
fn by_default_a_dump_is_moved_aside_and_the_container_boots() {
    for machine in [suspended(node()), suspended(openvz_node())] {
        machine.file("vz/dump/Dump.101.discarded", "older memory");
        let (answer, log) = logged(&machine, ct101(&machine), "start");
        answer.answers(SUCCESS);
        assert!(!was_resumed(&machine));
        assert!(log.contains("/vz/dump/Dump.101.discarded"), "{log}");
        assert_eq!(text(&machine, "vz/dump/Dump.101.discarded"), "memory");
    }
}

#[test]
fn with_resume_vzctl_may_use_it() {
    let machine = suspended(node());
    let (answer, log) = logged(&machine, ct101(&machine).param("dump_policy", "resume"), "start");
    answer.answers(SUCCESS);
    assert!(was_resumed(&machine));
    assert!(log.contains("resumed"), "{log}");
}

#[test]
fn with_fail_the_start_fails_and_nothing_is_touched() {
    let machine = suspended(openvz_node());
    let before = text(&machine, "vz/dump/Dump.101");
    let answer = ct101(&machine).param("dump_policy", "fail").run("start");
    answer.answers(GENERIC).names("/vz/dump/Dump.101").names("dump_policy");
    assert_eq!(text(&machine, "vz/dump/Dump.101"), before);
    assert!(changes(&machine).is_empty());
}

#[test]
fn a_dump_that_cannot_be_moved_aside_is_never_resumed() {
    let machine = suspended(openvz_node());
    machine.folder("vz/dump/Dump.101.discarded/full");
    ct101(&machine).run("start").answers(GENERIC).names("Dump.101");
    assert!(!was_resumed(&machine) && changes(&machine).is_empty());
}

/// vzctl knows of a dump where the configuration does not say.
#[test]
fn a_suspended_container_whose_dump_is_not_found_is_not_started() {
    let machine = suspended(openvz_node());
    machine.file("etc/vz/vz.conf", "DUMPDIR=/elsewhere\nVE_ROOT=/vz/root/$VEID\n");
    ct101(&machine).run("start").answers(GENERIC).names("suspended");
    assert!(changes(&machine).is_empty());
    ct101(&machine).param("dump_policy", "resume").run("start").answers(SUCCESS);
    let machine = virtuozzo_node("VM", "suspended");
    container(&machine, "vm1").run("start").answers(GENERIC).names("suspended");
    container(&machine, "vm1").param("dump_policy", "resume").run("start").answers(SUCCESS);
}

#[test]
fn the_container_s_own_dump_directory_counts() {
    let machine = openvz_node();
    configure(&machine, "VE_PRIVATE=\"/Data/db/vm\"\nDUMPDIR=\"/Data/db/dump\"\n");
    machine.file("Data/db/dump/Dump.101", "memory");
    ct101(&machine).run("start").answers(SUCCESS);
    assert_eq!(text(&machine, "Data/db/dump/Dump.101.discarded"), "memory");
}

/// Virtuozzo's dump lies beside the disk image.
#[test]
fn a_dump_in_the_private_area_of_virtuozzo_is_moved_aside_too() {
    let machine = openvz_node();
    machine.folder("Data/db/vm/root.hdd").file("Data/db/vm/dump/Dump", "memory");
    ct101(&machine).run("start").answers(SUCCESS);
    assert_eq!(text(&machine, "Data/db/vm/dump/Dump.discarded"), "memory");
}

/// Without a disk image, the private area is the guest's root directory.
#[test]
fn files_of_the_guest_s_are_no_dumps() {
    let machine = openvz_node();
    machine.file("Data/db/vm/dump/Dump", "the guest's");
    ct101(&machine).run("start").answers(SUCCESS);
    assert_eq!(text(&machine, "Data/db/vm/dump/Dump"), "the guest's");
    // Nor is what the guest made to look like it.
    let machine = openvz_node();
    machine.folder("Data/db/vm/root.hdd").file("srv/Dump", "the node's");
    std::os::unix::fs::symlink(machine.path("srv"), machine.path("Data/db/vm/dump")).unwrap();
    ct101(&machine).run("start").answers(SUCCESS);
    assert_eq!(text(&machine, "srv/Dump"), "the node's");
}
