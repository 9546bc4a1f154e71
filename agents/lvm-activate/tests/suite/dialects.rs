//! Heartbeat, init scripts, people, and the names of the replaced agents.

use testkit::call::{CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{BINARY, commands, get, mapped, mode, owned_by, set, tagged, vg};

fn heartbeat(machine: &Sandbox, name: &str) -> Call {
    let installed = machine.path("etc/ha.d/resource.d").join(name);
    if !installed.exists() {
        machine.installed(BINARY, &format!("etc/ha.d/resource.d/{name}"));
    }
    machine.host(Call::bare(installed).env("HA_CURHOST", "node1").env("LC_ALL", "C"))
}

#[test]
fn in_haresources_a_group_alone_is_activated_as_it_is() {
    for name in ["lvm-activate", "LVM"] {
        let machine = vg(&["lv1", "lv2"]);
        let agent = heartbeat(&machine, name);
        assert_eq!(agent.run_args(["vg1", "status"]).exits(3).stdout, "stopped\n");
        agent.run_args(["vg1", "start"]).exits(0);
        agent.run_args(["vg1", "start"]).exits(0);
        assert_eq!(agent.run_args(["vg1", "status"]).exits(0).stdout, "running\n");
        assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-lv2"]);
        agent.run_args(["vg1", "stop"]).exits(0);
        agent.run_args(["vg1", "stop"]).exits(0);
        assert_eq!(agent.run_args(["vg1", "status"]).exits(3).stdout, "stopped\n");
    }
}

#[test]
fn in_haresources_the_access_mode_may_follow() {
    let machine = owned_by("node2");
    heartbeat(&machine, "lvm-activate").run_args(["vg1", "system_id", "start"]).exits(0);
    assert_eq!(get(&machine, "system_id"), "node1");
}

/// On the secondary of DRBD below the group nobody sees it: Heartbeat must not take that for running.
#[test]
fn a_group_that_is_not_visible_is_stopped_to_heartbeat() {
    let machine = vg(&["lv1"]);
    set(&machine, "name", "other");
    let agent = heartbeat(&machine, "lvm-activate");
    assert_eq!(agent.run_args(["vg1", "status"]).exits(3).stdout, "stopped\n");
    agent.run_args(["vg1", "stop"]).exits(0);
    agent.run_args(["vg1", "start"]).exits(1);
}

#[test]
fn a_state_that_cannot_be_read_is_running_to_heartbeat() {
    let machine = vg(&["lv1"]);
    std::fs::remove_file(machine.path("proc/misc")).unwrap();
    let answer = heartbeat(&machine, "lvm-activate").run_args(["vg1", "status"]).exits(4);
    assert_eq!(answer.stdout, "running (unverified)\n");
}

#[test]
fn a_group_is_always_named() {
    let machine = vg(&["lv1"]);
    let answer = heartbeat(&machine, "lvm-activate").run_args(["start"]).exits(1);
    assert!(answer.stderr.contains("usage"), "{answer}");
    heartbeat(&machine, "LVM").run_args(["vg1", "plain", "start"]).exits(1);
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_link_s_name_is_the_group_of_an_init_script() {
    let machine = vg(&["lv1"]);
    let script = machine.host(Call::bare(machine.installed(BINARY, "etc/init.d/lvm-activate-vg1")));
    script.run("start").exits(0);
    assert_eq!(script.run("status").exits(0).stdout, "running\n");
    script.run("stop").exits(0);
    script.run("status").exits(3);
}

#[test]
fn by_hand_a_dry_run_says_what_it_would_do_and_does_nothing() {
    let machine = owned_by("node2");
    let before = mapped(&machine);
    let agent = machine.host(Call::bare(BINARY));
    let words = ["--vgname", "vg1", "--vg_access_mode", "system_id", "--dry-run", "start"];
    let answer = agent.run_args(words).exits(0);
    for change in ["--systemid node1", "--setautoactivation n", "vgchange -ay -- vg1"] {
        assert!(answer.stdout.contains(change), "{change}: {answer}");
    }
    assert_eq!((mapped(&machine), get(&machine, "system_id")), (before, "node2".into()));
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    let record = machine.path("run/holdfast/lvm-activate/vg1");
    std::fs::remove_file(&record).unwrap();
    agent.run_args(words).exits(0);
    assert!(!record.exists(), "an active group is looked at only");
    let answer = agent.run_args(["--vgname", "vg1", "--dry-run", "stop"]).exits(0);
    assert!(answer.stdout.contains("vgchange -an"), "{answer}");
    assert_eq!(mapped(&machine).len(), 2);
}

fn old_lvm(machine: &Sandbox) -> Call {
    let installed = machine.path("usr/lib/ocf/resource.d/heartbeat/LVM");
    if !installed.exists() {
        machine.installed(BINARY, "usr/lib/ocf/resource.d/heartbeat/LVM");
    }
    machine.host(Call::ocf(installed).param("volgrpname", "vg1"))
}

#[test]
fn the_agent_lvm_activates_the_group_as_it_is() {
    let machine = vg(&["lv1"]);
    machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
    old_lvm(&machine).monitor().answers(NOT_RUNNING);
    old_lvm(&machine).run("start").answers(SUCCESS);
    old_lvm(&machine).monitor().answers(SUCCESS);
    old_lvm(&machine).run("status").answers(SUCCESS);
    old_lvm(&machine).run("stop").answers(SUCCESS);
    assert!(machine.has_text("run/systemd/system/resource-agents-deps.target.d/99-LVM.conf"));
    assert_eq!(machine.calls("systemctl"), [["daemon-reload"]], "it never started blk-availability");
}

#[test]
fn the_agent_lvm_s_exclusive_means_a_tag() {
    let machine = tagged("");
    let call = old_lvm(&machine).param("exclusive", "true").param("tag", "ours");
    call.run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "ours");
    call.run("stop").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "");
    set(&machine, "tags", "othernode");
    call.run("start").answers(GENERIC).names("othernode");
    set(&machine, "tags", "");
    call.meta("clone_max", "2").run("start").answers(CONFIGURED);
}

#[test]
fn the_agent_lvm_s_codes_are_kept() {
    let machine = vg(&["lv1"]);
    let nameless = old_lvm(&machine).without("OCF_RESKEY_volgrpname");
    for action in ["start", "stop", "monitor", "validate-all"] {
        nameless.run(action).answers(CONFIGURED).names("volgrpname");
    }
    let wrong = old_lvm(&machine).param("volgrpname", "/dev/no_such_device");
    wrong.run("start").answers(GENERIC);
    wrong.run("stop").answers(SUCCESS);
    set(&machine, "name", "other");
    old_lvm(&machine).monitor().answers(NOT_RUNNING);
    old_lvm(&machine).run("start").answers(GENERIC);
    old_lvm(&machine).run("stop").answers(SUCCESS);
}

#[test]
fn parameters_that_the_agent_lvm_never_had_do_not_reach_it() {
    let machine = owned_by("node2");
    old_lvm(&machine).param("vg_access_mode", "system_id").run("start").answers(GENERIC).names("node2");
    assert_eq!(get(&machine, "system_id"), "node2");
}

#[test]
fn under_the_name_of_lvm_activate_it_takes_the_same_parameters() {
    let machine = owned_by("node2");
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/heartbeat/LVM-activate");
    let call = machine.host(Call::ocf(installed).param("vgname", "vg1").param("vg_access_mode", "system_id"));
    call.run("start").answers(SUCCESS);
    call.monitor().answers(SUCCESS);
    call.run("stop").answers(SUCCESS);
}

#[test]
fn json_tells_scripts_the_same() {
    let machine = vg(&["lv1"]);
    let (call, by_hand) = (mode(&machine, "plain"), machine.host(Call::bare(BINARY)));
    let words = ["--vgname", "vg1", "--vg_access_mode", "plain"];
    testkit::json::tells(&call, &by_hand, &words, "stopped", NOT_RUNNING);
    call.run("start").answers(SUCCESS);
    testkit::json::tells(&call, &by_hand, &words, "running", SUCCESS);
}
