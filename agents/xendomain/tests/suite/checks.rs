//! What has to be true before a guest is created. Each refusal is one sentence, and nothing has been created then.

use testkit::Sandbox;
use testkit::call::{GENERIC, SUCCESS};

use crate::scenes::{
    ALONE, PRIMARY, SECONDARY, block, changes, config, drbd, no_peer, node, on_drbd, only_xm, peer, web,
};

#[track_caller]
fn refused(machine: &Sandbox, names: &str) {
    web(machine).run("start").answers(GENERIC).names(names);
    assert!(changes(machine).is_empty(), "nothing may have been created");
}

#[track_caller]
fn refused_with_peer(machine: &Sandbox, names: &str) {
    web(machine).param("peers", "node2").run("start").answers(GENERIC).names(names);
    assert!(changes(machine).is_empty(), "nothing may have been created");
}

#[test]
fn a_disk_that_does_not_exist_is_named() {
    let machine = node();
    config(&machine, "phy:/dev/vg0/nosuch,xvda,w");
    refused(&machine, "/dev/vg0/nosuch");
    config(&machine, "file:/srv/nosuch.img,xvda,w");
    refused(&machine, "/srv/nosuch.img");
}

#[test]
fn a_primary_may_be_used_and_nothing_else_of_drbd() {
    web(&on_drbd(PRIMARY)).run("start").answers(SUCCESS);
    refused(&on_drbd(SECONDARY), "Secondary on this node");
    refused(&on_drbd("Unconfigured"), "not up");
    let garbled = on_drbd(PRIMARY);
    garbled.file("proc/drbd", "moun");
    refused(&garbled, "drbd");
}

#[test]
fn links_to_drbd_are_drbd() {
    for path in ["/dev/drbd/by-res/r0", "/dev/guests/web"] {
        let machine = on_drbd(SECONDARY);
        machine.folder("dev/guests");
        std::os::unix::fs::symlink("../drbd0", machine.path("dev/guests/web")).unwrap();
        config(&machine, &format!("phy:{path},xvda,w"));
        refused(&machine, "Secondary on this node");
        drbd(&machine, PRIMARY);
        config(&machine, &format!("phy:{path},xvda,w"));
        web(&machine).run("start").answers(SUCCESS);
    }
}

#[test]
fn the_disk_below_a_drbd_resource_is_refused() {
    let machine = on_drbd(PRIMARY);
    machine.folder("dev/drbd/by-disk/vg0");
    std::os::unix::fs::symlink("../../../drbd0", machine.path("dev/drbd/by-disk/vg0/web")).unwrap();
    config(&machine, "phy:/dev/vg0/web,xvda,w");
    machine.tool("drbdadm", testkit::Tool::Does("exit 0".into()));
    refused(&machine, "below DRBD resource r0");
}

#[test]
fn the_disk_below_a_drbd_resource_that_is_down_is_found_in_the_configuration() {
    let machine = node();
    let script = "case $1 in sh-resources) echo r0 ;; sh-ll-dev) echo /dev/vg0/web ;; *) exit 1 ;; esac";
    machine.tool("drbdadm", testkit::Tool::Does(script.into()));
    refused(&machine, "below DRBD resource r0");
    machine.tool("drbdadm", testkit::Tool::Fails(1, "no"));
    refused(&machine, "unknown");
    machine.tool(
        "drbdadm",
        testkit::Tool::Does("case $1 in sh-resources) echo r0 ;; *) echo /dev/vg0/x ;; esac".into()),
    );
    web(&machine).run("start").answers(SUCCESS);
}

#[test]
fn a_disk_that_is_mounted_here_is_refused() {
    let machine = node();
    block(&machine, "dev/vg0/web", 8, 7);
    machine.mounted("8:7", "/mnt/web", "ext4", "/dev/vg0/web");
    refused(&machine, "/mnt/web");
    let machine = on_drbd(PRIMARY);
    machine.mounted("147:0", "/mnt/web", "xfs", "/dev/drbd0");
    refused(&machine, "/mnt/web");
}

#[test]
fn a_disk_that_another_guest_has_is_refused() {
    let machine = node();
    block(&machine, "dev/vg0/web", 8, 7);
    machine.file("sys/bus/xen-backend/devices/vbd-9-51712/physical_device", "8:7\n");
    refused(&machine, "Xen domain 9");
    config(&machine, "phy:/dev/vg0/web,xvda,r");
    web(&machine).run("start").answers(SUCCESS);
}

#[test]
fn a_disk_that_is_part_of_another_device_is_refused() {
    let machine = node();
    block(&machine, "dev/vg0/web", 8, 7);
    machine.folder("sys/dev/block/8:7/holders/dm-3");
    refused(&machine, "dm-3");
}

#[test]
fn one_bad_disk_of_several_is_enough() {
    let machine = on_drbd(PRIMARY);
    config(&machine, "phy:/dev/drbd0,xvda,w\", \"phy:/dev/vg0/nosuch,xvdb,w");
    refused(&machine, "/dev/vg0/nosuch");
    config(&machine, "phy:/dev/drbd0,xvda,w\", \"phy:/dev/drbd0,xvdb,w");
    refused(&machine, "twice");
}

#[test]
fn a_guest_that_a_peer_runs_is_refused() {
    for name in ["web", "web--incoming", "web--migratedaway"] {
        let machine = node();
        peer(&machine, &[(4, "other"), (7, name)]);
        web(&machine).param("peers", "node2").run("start").answers(GENERIC).names("node2");
        web(&machine).param("peers", "node2").param("peer_unknown", "allow").run("start").answers(GENERIC);
        assert!(changes(&machine).is_empty());
    }
}

#[test]
fn a_guest_that_no_peer_runs_is_created() {
    let machine = node();
    peer(&machine, &[(4, "other"), (5, "web2")]);
    web(&machine).param("peers", "node2 node3").run("start").answers(SUCCESS);
    let calls = machine.calls("ssh");
    assert_eq!(calls.len(), 2);
    let call = &calls[0];
    assert!(call.contains(&"-oBatchMode=yes".to_owned()), "{call:?}");
    assert_eq!(call[call.len() - 4..], ["--", "node2", "xl", "list"]);
}

#[test]
fn without_peers_nobody_is_asked() {
    let machine = node();
    no_peer(&machine);
    web(&machine).run("start").answers(SUCCESS);
    assert!(machine.calls("ssh").is_empty());
}

#[test]
fn a_peer_that_does_not_answer_is_a_refusal_unless_it_is_allowed() {
    let machine = node();
    no_peer(&machine);
    web(&machine).param("peers", "node2").run("start").answers(GENERIC).names("peer_unknown=allow");
    assert!(changes(&machine).is_empty());
    web(&machine).param("peers", "node2").param("peer_unknown", "allow").run("start").answers(SUCCESS);
}

#[test]
fn drbd_is_the_second_witness_of_a_peer_that_does_not_answer() {
    let both = "Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----";
    for (line, allow, code) in [
        (PRIMARY, "refuse", SUCCESS),
        (ALONE, "refuse", GENERIC),
        (ALONE, "allow", SUCCESS),
        ("NetworkFailure ro:Primary/Secondary ds:UpToDate/UpToDate C r-----", "refuse", GENERIC),
        (both, "refuse", GENERIC),
        (both, "allow", GENERIC),
    ] {
        let machine = on_drbd(line);
        no_peer(&machine);
        web(&machine).param("peers", "node2").param("peer_unknown", allow).run("start").answers(code);
    }
}

/// A disk that is not on DRBD could be written to from there all the same.
#[test]
fn a_disk_beside_drbd_has_no_witness() {
    let machine = on_drbd(PRIMARY);
    no_peer(&machine);
    config(&machine, "phy:/dev/drbd0,xvda,w\", \"phy:/dev/vg0/web,xvdb,w");
    machine.tool(
        "drbdadm",
        testkit::Tool::Does("case $1 in sh-resources) echo r0 ;; *) echo /dev/x ;; esac".into()),
    );
    refused_with_peer(&machine, "runs on node2 is unknown");
}

/// A cluster has one list for all its nodes.
#[test]
fn this_node_is_not_asked() {
    let machine = node();
    peer(&machine, &[]);
    machine.file("proc/sys/kernel/hostname", "node1\n");
    web(&machine).param("peers", "node1 node2").run("start").answers(SUCCESS);
    let asked = machine.calls("ssh");
    assert!(asked.len() == 1 && asked[0].contains(&"node2".to_owned()), "{asked:?}");
}

#[test]
fn a_peer_of_a_node_with_xm_is_asked_with_xm() {
    let machine = node();
    only_xm(&machine);
    peer(&machine, &[(3, "web")]);
    web(&machine).param("peers", "node2").run("start").answers(GENERIC).names("runs on node2");
    assert!(machine.calls("ssh")[0].ends_with(&["xm".to_owned(), "list".to_owned()]));
}
