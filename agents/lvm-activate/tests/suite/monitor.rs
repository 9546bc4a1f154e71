//! What is active, what is not, and what has vanished.

use std::os::unix::fs::symlink;

use testkit::call::{CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox};

use crate::scenes::{BINARY, VG_UUID, commands, map, mapped, mode, set, unmap, vg, vg_called};

fn active(machine: &Sandbox) {
    mode(machine, "plain").run("start").answers(SUCCESS);
    crate::scenes::forget_commands(machine);
}

#[test]
fn an_active_group_is_running_and_no_tool_is_run_for_that() {
    let machine = vg(&["lv1", "lv2"]);
    active(&machine);
    mode(&machine, "plain").monitor().answers(SUCCESS);
    mode(&machine, "plain").probe().answers(SUCCESS);
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_cleanly_inactive_group_is_7_and_one_that_vanished_is_1() {
    let machine = vg(&["lv1"]);
    mode(&machine, "plain").monitor().answers(NOT_RUNNING);
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
    set(&machine, "name", "other");
    mode(&machine, "plain").monitor().answers(GENERIC).names("vg1 has vanished");
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
}

#[test]
fn a_group_of_another_node_is_there_and_cleanly_inactive() {
    let machine = crate::scenes::owned_by("node2");
    mode(&machine, "system_id").monitor().answers(NOT_RUNNING);
}

#[test]
fn a_probe_of_an_inactive_group_runs_no_tool() {
    let machine = vg(&["lv1"]);
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_volume_that_vanished_from_its_group_is_1() {
    let machine = vg(&["lv1", "lv2"]);
    let lv2 = mode(&machine, "plain").param("lvname", "lv2");
    lv2.monitor().answers(NOT_RUNNING);
    machine.file("lvm/lvs", "lv1 -wi------- linear\n");
    lv2.monitor().answers(GENERIC).names("vg1/lv2 has vanished");
}

#[test]
fn only_the_named_volume_counts() {
    let machine = vg(&["lv1", "lv2"]);
    let lv = |name: &str| mode(&machine, "plain").param("lvname", name);
    lv("lv1").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1"]);
    lv("lv1").monitor().answers(SUCCESS);
    lv("lv2").monitor().answers(NOT_RUNNING);
    mode(&machine, "plain").monitor().answers(SUCCESS);
}

#[test]
fn a_kernel_without_device_mapper_has_nothing_active() {
    let machine = vg(&["lv1"]);
    machine.file("proc/misc", "237 loop-control\n");
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_kernel_that_cannot_be_asked_is_never_stopped() {
    for lost in ["proc/misc", "sys/block"] {
        let machine = vg(&["lv1"]);
        let path = machine.path(lost);
        if path.is_dir() {
            std::fs::remove_dir(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
        mode(&machine, "plain").probe().answers(GENERIC);
        mode(&machine, "plain").monitor().answers(GENERIC);
        mode(&machine, "plain").run("stop").answers(GENERIC);
        mode(&machine, "plain").run("start").answers(GENERIC);
    }
}

#[test]
fn a_device_that_cannot_be_told_is_never_stopped() {
    for file in ["dm/name", "dm/uuid", "dev"] {
        let machine = vg(&["lv1"]);
        active(&machine);
        std::fs::remove_file(machine.path("sys/block/dm-1").join(file)).unwrap();
        mode(&machine, "plain").probe().answers(GENERIC);
        mode(&machine, "plain").monitor().answers(GENERIC);
    }
}

#[test]
fn hyphens_in_names_are_not_mixed_up_with_those_between_them() {
    let machine = vg_called("my-vg", &["a-lv", "b"]);
    let call = |vgname: &str, lvname: &str| {
        let call = machine.host(Call::ocf(BINARY).param("vgname", vgname).param("vg_access_mode", "plain"));
        call.param("lvname", lvname)
    };
    call("my-vg", "").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["my--vg-a--lv", "my--vg-b"]);
    call("my-vg", "").monitor().answers(SUCCESS);
    call("my-vg", "a-lv").monitor().answers(SUCCESS);
    for (group, volume) in [("my", ""), ("my--vg", ""), ("my-vg-a", ""), ("my-vg", "a"), ("my-vg", "lv")] {
        call(group, volume).probe().answers(NOT_RUNNING);
    }
    call("my-vg", "").run("stop").answers(SUCCESS);
    assert!(mapped(&machine).is_empty());
}

#[test]
fn a_device_of_others_with_such_a_name_is_no_volume() {
    let machine = vg(&["lv1"]);
    map(&machine, 7, "vg1-part1", "mpath-3600508b400105e21");
    map(&machine, 8, "vg1-luks", "");
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
    mode(&machine, "plain").run("stop").answers(SUCCESS);
}

#[test]
fn a_volume_that_somebody_deactivated_is_degraded_and_one_that_was_removed_is_not_missed() {
    let machine = vg(&["lv1", "lv2"]);
    active(&machine);
    unmap(&machine, 2);
    let answer = mode(&machine, "plain").monitor();
    assert_eq!(answer.code, Some(190), "{answer}");
    answer.names("vg1 is active without lv2");
    mode(&machine, "plain").env("OCF_RESKEY_crm_feature_set", "3.0.14").monitor().answers(SUCCESS);
    machine.file("lvm/lvs", "lv1 -wi------- linear\n");
    mode(&machine, "plain").monitor().answers(SUCCESS);
}

#[test]
fn parts_of_a_volume_keep_the_group_from_being_stopped() {
    let machine = vg(&["lv1"]);
    map(&machine, 9, "vg1-lv1-real", &format!("LVM-{VG_UUID}lv1uuid-real"));
    mode(&machine, "plain").probe().answers(SUCCESS);
}

#[test]
fn a_missing_name_is_answered_as_the_replaced_agent_did() {
    let machine = vg(&["lv1"]);
    let call = machine.host(Call::ocf(BINARY).param("vg_access_mode", "plain"));
    call.monitor().answers(GENERIC).names("vgname");
    call.probe().answers(NOT_RUNNING);
    for action in ["start", "stop", "validate-all"] {
        call.run(action).answers(CONFIGURED).names("vgname");
    }
}

#[test]
fn a_name_that_cannot_be_has_nothing_active_and_reaches_no_tool() {
    let machine = vg(&["lv1"]);
    for name in ["-ay", "--config=x", "a b", "vg1\n", "../vg1", "/dev/vg1", ".", "..", "vg1/lv1", "v\u{e4}"] {
        let call = machine.host(Call::ocf(BINARY).param("vgname", name).param("vg_access_mode", "plain"));
        call.probe().answers(NOT_RUNNING);
        call.run("stop").answers(SUCCESS);
        call.run("start").answers(CONFIGURED).names("vgname");
        mode(&machine, "plain").param("lvname", name).run("start").answers(CONFIGURED).names("lvname");
    }
    assert!(commands(&machine).is_empty());
}

#[test]
fn at_level_10_every_active_volume_is_read() {
    let machine = vg(&["lv1", "lv2"]);
    active(&machine);
    let deep = mode(&machine, "plain").level(10);
    deep.monitor().answers(SUCCESS);
    machine.file("dev/dm-2", "short");
    deep.monitor().answers(GENERIC).names("vg1/lv2 cannot be read");
    mode(&machine, "plain").monitor().answers(SUCCESS);
    std::fs::remove_file(machine.path("dev/dm-2")).unwrap();
    deep.monitor().answers(GENERIC).names("vg1/lv2");
}

#[test]
fn a_level_between_means_the_next_lower() {
    let machine = vg(&["lv1"]);
    active(&machine);
    machine.file("dev/dm-1", "short");
    mode(&machine, "plain").level(5).monitor().answers(SUCCESS);
    mode(&machine, "plain").level(20).monitor().answers(GENERIC);
}

#[test]
fn at_level_10_a_device_below_that_is_gone_is_noticed() {
    let machine = vg(&["lv1"]);
    active(&machine);
    let slaves = machine.path("sys/block/dm-1/slaves");
    machine.file("sys/block/vdb/dev", "254:16\n").file("sys/block/vdb/dm/name", "\n");
    symlink("../../vdb", slaves.join("vdb")).unwrap();
    let deep = mode(&machine, "plain").level(10);
    deep.monitor().answers(SUCCESS);
    std::fs::remove_dir_all(machine.path("sys/block/vdb")).unwrap();
    deep.monitor().answers(GENERIC).names("vdb");
}

#[test]
fn at_level_10_a_lost_copy_of_a_raid_is_left_to_the_read() {
    let machine = vg(&["lv1"]);
    active(&machine);
    map(&machine, 9, "vg1-lv1_rimage_0", &format!("LVM-{VG_UUID}rimage"));
    symlink("../../dm-9", machine.path("sys/block/dm-1/slaves/dm-9")).unwrap();
    symlink("../../gone", machine.path("sys/block/dm-9/slaves/vdb")).unwrap();
    mode(&machine, "plain").level(10).monitor().answers(SUCCESS);
    // The same below a volume that has only one copy.
    machine.file("sys/block/dm-9/dm/name", "luks\n").file("sys/block/dm-9/dm/uuid", "CRYPT-x\n");
    mode(&machine, "plain").level(10).monitor().answers(GENERIC).names("vdb");
}

#[test]
fn at_level_10_a_suspended_volume_is_not_waited_for() {
    let machine = vg(&["lv1"]);
    active(&machine);
    machine.file("sys/block/dm-1/dm/suspended", "1\n");
    mode(&machine, "plain").level(10).monitor().answers(GENERIC).names("suspended");
}

#[test]
fn at_level_10_a_read_that_never_ends_is_left_behind_in_time() {
    let machine = vg(&["lv1"]);
    active(&machine);
    let node = machine.path("dev/dm-1");
    std::fs::remove_file(&node).unwrap();
    nix_fifo(&node);
    let answer =
        mode(&machine, "plain").level(10).timeout_ms(2000).monitor().answers(GENERIC).within_ms(2000);
    assert!(answer.reason().unwrap().contains("vg1"), "{answer}");
}

fn nix_fifo(path: &std::path::Path) {
    testkit::kernel::tool("mkfifo", &[path.as_os_str()]);
}

/// What strace saw of a monitor; none, with a reason, where there is no strace.
fn traced(machine: &Sandbox, level: u32, what: &str) -> Option<String> {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        eprintln!("test skipped: no strace");
        return None;
    }
    let mut strace = std::process::Command::new("/usr/bin/strace");
    strace.args(["-f", "-qq", "-e", what, BINARY, "monitor"]).env("OCF_TEST_ROOT", machine.root());
    for (name, value) in
        [("OCF_ROOT", "/usr/lib/ocf"), ("OCF_RESKEY_vgname", "vg1"), ("OCF_RESKEY_vg_access_mode", "plain")]
    {
        strace.env(name, value);
    }
    let output = strace.env("OCF_CHECK_LEVEL", level.to_string()).output().unwrap();
    let calls = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{calls}");
    Some(calls)
}

#[test]
fn a_monitor_of_what_is_active_is_one_process() {
    let machine = vg(&["lv1", "lv2"]);
    active(&machine);
    let Some(calls) = traced(&machine, 0, "trace=process") else { return };
    assert_eq!(calls.matches("execve(").count(), 1, "{calls}");
    assert!(!["clone(", "clone3(", "fork("].iter().any(|name| calls.contains(name)), "{calls}");
}

#[test]
fn what_the_cache_remembers_says_nothing_of_the_disk() {
    let machine = vg(&["lv1", "lv2"]);
    active(&machine);
    let Some(calls) = traced(&machine, 10, "trace=openat") else { return };
    for node in ["dev/dm-1", "dev/dm-2"] {
        assert!(
            calls.lines().any(|line| line.contains(node) && line.contains("O_DIRECT")),
            "{node}: {calls}"
        );
    }
}
