//! stop: until nothing is mapped, or with the name of who holds it.

use std::time::Duration;

use testkit::call::{GENERIC, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{commands, forget_commands, get, map, mapped, mode, owned_by, set, tagged, vg};

fn started(machine: &Sandbox, access: &str) {
    mode(machine, access).run("start").answers(SUCCESS);
    forget_commands(machine);
}

#[test]
fn stop_deactivates_and_a_second_one_runs_no_tool() {
    let machine = vg(&["lv1", "lv2"]);
    started(&machine, "plain");
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
    assert_eq!(commands(&machine), ["vgchange -an"]);
    assert!(!machine.path("run/holdfast/lvm-activate/vg1").exists(), "nothing is expected any more");
    forget_commands(&machine);
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_named_volume_is_deactivated_alone() {
    let machine = vg(&["lv1", "lv2"]);
    started(&machine, "plain");
    mode(&machine, "plain").param("lvname", "lv1").run("stop").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv2"]);
}

#[test]
fn a_group_that_is_not_visible_and_not_active_is_stopped() {
    let machine = vg(&["lv1"]);
    set(&machine, "name", "other");
    for access in ["plain", "system_id", "tagging", "lvmlockd", "clvmd", "unheard-of", ""] {
        mode(&machine, access).run("stop").answers(SUCCESS);
    }
}

#[test]
fn a_volume_that_is_open_for_a_moment_is_tried_again() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    machine.file("busy/lv1", "3\n");
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert_eq!(commands(&machine).iter().filter(|words| *words == "vgchange -an").count(), 4);
}

#[test]
fn pauses_grow_until_the_deadline_and_then_the_holder_is_named() {
    let machine = vg(&["lv1", "lv2"]);
    started(&machine, "plain");
    machine.file("busy/lv2", "*\n").mounted("253:2", "/mnt/data", "ext4", "/dev/mapper/vg1-lv2");
    let stop = mode(&machine, "plain").timeout_ms(6000).run("stop").answers(GENERIC).within_ms(6000);
    assert!(stop.elapsed > Duration::from_secs(3), "{stop}");
    assert!(stop.reason().unwrap().contains("lv2 by mount on /mnt/data"), "{stop}");
    let tries = commands(&machine).iter().filter(|words| *words == "vgchange -an").count();
    assert!((4..=8).contains(&tries), "growing pauses, not {tries} tries");
    assert_eq!(mapped(&machine), ["vg1-lv2"], "what is free is deactivated");
}

#[test]
fn every_kind_of_holder_is_named() {
    type Scene = fn(&Sandbox);
    let scenes: [(&str, Scene); 4] = [
        ("swap on /dev/dm-1", |machine| {
            machine.file("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 1 0 -2\n");
        }),
        ("block device drbd0", |machine| {
            machine.folder("sys/block/dm-1/holders/drbd0");
        }),
        ("loop device loop3", |machine| {
            machine
                .file("sys/block/loop3/loop/backing_file", "/dev/dm-1\n")
                .file("sys/block/loop3/dm/name", "x\n");
        }),
        ("process", |machine| {
            machine.file("proc/77/comm", "dd\n").folder("proc/77/fd");
            std::os::unix::fs::symlink("/dev/dm-1", machine.path("proc/77/fd/3")).unwrap();
        }),
    ];
    for (name, scene) in scenes {
        let machine = vg(&["lv1"]);
        started(&machine, "plain");
        machine.file("busy/lv1", "*\n");
        scene(&machine);
        mode(&machine, "plain").timeout_ms(5000).run("stop").answers(GENERIC).names(name);
    }
}

#[test]
fn parts_of_the_volume_itself_do_not_hold_it() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    map(&machine, 5, "vg1-lv1-real", &format!("LVM-{}lv1uuid-real", crate::scenes::VG_UUID));
    machine
        .file("busy/lv1", "*\n")
        .folder("sys/block/dm-5/holders/dm-1")
        .folder("sys/block/dm-1/holders/dm-5");
    let stop = mode(&machine, "plain").timeout_ms(5000).run("stop").answers(GENERIC);
    assert!(!stop.reason().unwrap().contains("held"), "{stop}");
}

#[test]
fn a_success_of_lvm_with_the_volume_still_active_is_none() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    machine.tool("lvm", Tool::Succeeds);
    mode(&machine, "plain").timeout_ms(5000).run("stop").answers(GENERIC).names("still active");
}

#[test]
fn an_unknown_access_mode_deactivates_nevertheless() {
    let machine = vg(&["lv1"]);
    for access in ["unheard-of", "clvmd", ""] {
        started(&machine, "plain");
        mode(&machine, access).run("stop").answers(SUCCESS);
        assert!(mapped(&machine).is_empty());
    }
}

#[test]
fn bad_parameters_that_stop_does_not_need_do_not_fail_it() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    let call = mode(&machine, "plain").param("activation_mode", "both").param("majority_pvs", "perhaps");
    call.param("tag", "no tag\n").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
}

#[test]
fn a_group_that_another_node_took_meanwhile_is_still_deactivated_here() {
    let machine = owned_by("node1");
    started(&machine, "system_id");
    set(&machine, "system_id", "node2");
    mode(&machine, "system_id").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
    assert_eq!(get(&machine, "system_id"), "node2");
}

#[test]
fn the_system_id_stays_ours() {
    let machine = owned_by("node1");
    started(&machine, "system_id");
    mode(&machine, "system_id").run("stop").answers(SUCCESS);
    assert_eq!(
        (get(&machine, "system_id"), commands(&machine)),
        ("node1".into(), vec!["vgchange -an".into()])
    );
}

#[test]
fn devices_of_a_group_that_vanished_are_removed_without_lvm() {
    let machine = vg(&["lv1", "lv2"]);
    started(&machine, "plain");
    let remove = "for n in 1 2; do\n\
                  [ \"$(cat \"$OCF_TEST_ROOT/sys/block/dm-$n/dm/name\")\" = \"$3\" ] && rm -r \"$OCF_TEST_ROOT/sys/block/dm-$n\"\n\
                  done; true";
    machine.tool("dmsetup", Tool::Does(remove.into()));
    set(&machine, "name", "other");
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
    assert_eq!(machine.calls("dmsetup").len(), 2);
}

#[test]
fn devices_of_a_group_that_vanished_are_tried_again() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    // What opens it goes after a while: one try makes four.
    let remove = "times=$OCF_TEST_ROOT/times; echo >>\"$times\"\n\
                  [ \"$(wc -l <\"$times\")\" -gt 5 ] && rm -r \"$OCF_TEST_ROOT/sys/block/dm-1\"";
    machine.tool("dmsetup", Tool::Does(remove.into()));
    set(&machine, "name", "other");
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
}

#[test]
fn a_group_that_vanished_in_use_fails_the_stop() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    machine.tool(
        "dmsetup",
        Tool::Fails(1, "device-mapper: remove ioctl on vg1-lv1  failed: Device or resource busy"),
    );
    set(&machine, "name", "other");
    mode(&machine, "plain").timeout_ms(3000).run("stop").answers(GENERIC).names("vg1").within_ms(3000);
}

#[test]
fn only_our_own_tag_is_removed() {
    let machine = tagged("pacemaker");
    started(&machine, "tagging");
    set(&machine, "tags", "othernode,pacemaker,backup-daily");
    mode(&machine, "tagging").run("stop").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "othernode,backup-daily");
    assert_eq!(commands(&machine), ["vgchange -an", "fullreport", "vgchange --deltag"]);
}

#[test]
fn our_tag_is_removed_when_nothing_is_active_too() {
    let machine = tagged("pacemaker,backup-daily");
    mode(&machine, "tagging").run("stop").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "backup-daily");
    forget_commands(&machine);
    mode(&machine, "tagging").run("stop").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport"]);
}

#[test]
fn our_tag_stays_while_another_volume_is_active() {
    let machine = tagged("");
    started(&machine, "tagging");
    mode(&machine, "tagging").param("lvname", "lv1").run("stop").answers(SUCCESS);
    assert_eq!((get(&machine, "tags"), mapped(&machine)), ("pacemaker".into(), vec!["vg1-lv2".into()]));
    mode(&machine, "tagging").param("lvname", "lv2").run("stop").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "");
}

#[test]
fn a_tag_that_cannot_be_removed_fails_the_stop() {
    let machine = tagged("");
    started(&machine, "tagging");
    machine.file("refusals/deltag", "*5 Failed to write VG vg1.\n");
    mode(&machine, "tagging").run("stop").answers(GENERIC).names("Failed to write");
}

#[test]
fn a_check_level_in_the_environment_does_not_matter_to_stop() {
    let machine = vg(&["lv1"]);
    started(&machine, "plain");
    machine.file("dev/dm-1", "cannot be read");
    mode(&machine, "plain").level(10).run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
}
