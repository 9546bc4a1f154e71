//! lvmlockd: the daemon, the lockspace, and siblings that share it.

use testkit::Sandbox;
use testkit::call::{ARGS, GENERIC, SUCCESS};

use crate::scenes::{commands, forget_commands, get, mapped, mode, set, vg};

fn shared(lock_type: &str) -> Sandbox {
    let machine = vg(&["lv1", "lv2"]);
    set(&machine, "lock_type", lock_type);
    machine.file("etc/lvm/lvm.conf", "global { use_lvmlockd = 1 }\n");
    machine.file("proc/501/comm", "lvmlockd\n");
    machine
}

#[test]
fn shared_groups_of_every_lock_manager_are_started_and_stopped() {
    for lock_type in ["dlm", "sanlock", "idm"] {
        let machine = shared(lock_type);
        mode(&machine, "lvmlockd").run("start").answers(SUCCESS);
        assert_eq!(commands(&machine), ["fullreport", "vgchange --lockstart", "vgchange -aey"]);
        mode(&machine, "lvmlockd").monitor().answers(SUCCESS);
        forget_commands(&machine);
        mode(&machine, "lvmlockd").run("stop").answers(SUCCESS);
        assert_eq!(commands(&machine), ["vgchange -an", "vgchange --lockstop"]);
        assert!(!machine.path("lvm/lockspace").exists());
    }
}

#[test]
fn shared_activation_asks_for_a_shared_lock() {
    let machine = shared("dlm");
    let call = mode(&machine, "lvmlockd").param("activation_mode", "shared").param("lvname", "lv1");
    call.meta("clone_max", "2").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine).last().unwrap(), "lvchange -asy");
}

#[test]
fn a_configuration_without_lvmlockd_is_2() {
    let machine = shared("dlm");
    for config in ["", "global { use_lvmlockd = 0 }\n"] {
        machine.file("etc/lvm/lvm.conf", config);
        mode(&machine, "lvmlockd").run("start").answers(ARGS).names("use_lvmlockd");
    }
}

#[test]
fn a_daemon_that_does_not_run_is_1_whatever_others_are_called() {
    let machine = shared("dlm");
    machine.file("proc/501/comm", "lvmlockd-helper\n").file("proc/502/comm", "lvmlockctl\n");
    mode(&machine, "lvmlockd").run("start").answers(GENERIC).names("lvmlockd does not run");
    machine.file("proc/501/comm", "lvmlockd\n").file("proc/503/comm", "clvmd\n");
    mode(&machine, "lvmlockd").run("start").answers(GENERIC).names("clvmd");
}

#[test]
fn a_dead_daemon_does_not_make_a_stopped_group_an_error() {
    let machine = shared("dlm");
    std::fs::remove_file(machine.path("proc/501/comm")).unwrap();
    mode(&machine, "lvmlockd").run("stop").answers(SUCCESS);
    mode(&machine, "lvmlockd").monitor().answers(7);
}

#[test]
fn a_lockspace_that_cannot_be_started_fails_the_start() {
    let machine = shared("sanlock");
    machine.file("refusals/lockstart", "*5 VG vg1 start failed: lock manager sanlock is not running\n");
    mode(&machine, "lvmlockd").run("start").answers(GENERIC).names("sanlock");
    assert!(mapped(&machine).is_empty());
}

#[test]
fn a_lockspace_that_a_sibling_stops_during_start_is_started_again() {
    let machine = shared("dlm");
    machine.file("refusals/-aey", "5 LV locked by other host: vg1/lv1\n");
    mode(&machine, "lvmlockd").param("lvname", "lv1").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine).iter().filter(|words| *words == "vgchange --lockstart").count(), 2);
}

#[test]
fn the_lockspace_stays_while_another_volume_is_active() {
    let machine = shared("dlm");
    mode(&machine, "lvmlockd").run("start").answers(SUCCESS);
    mode(&machine, "lvmlockd").param("lvname", "lv1").run("stop").answers(SUCCESS);
    assert!(machine.path("lvm/lockspace").exists(), "{}", get(&machine, "tags"));
    mode(&machine, "lvmlockd").param("lvname", "lv2").run("stop").answers(SUCCESS);
    assert!(!machine.path("lvm/lockspace").exists());
}

#[test]
fn a_lockspace_that_cannot_be_stopped_fails_the_stop() {
    let machine = shared("dlm");
    mode(&machine, "lvmlockd").run("start").answers(SUCCESS);
    machine.file("refusals/lockstop", "*5 VG vg1 stop failed: LVs must first be deactivated\n");
    mode(&machine, "lvmlockd").run("stop").answers(GENERIC).names("stop failed");
}

/// Active says nothing of the lock: LVM has it already, takes it, or says who does.
#[test]
fn the_locks_of_what_is_active_already_are_verified() {
    let machine = shared("dlm");
    mode(&machine, "lvmlockd").run("start").answers(SUCCESS);
    std::fs::remove_file(machine.path("lvm/lockspace")).unwrap();
    forget_commands(&machine);
    mode(&machine, "lvmlockd").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport", "vgchange --lockstart", "vgchange -aey"]);
    machine.file("refusals/-aey", "*5 LV locked by other host: vg1/lv1\n");
    let start = mode(&machine, "lvmlockd").run("start").answers(GENERIC);
    start.names("locked by other host");
    assert_eq!(mapped(&machine).len(), 2);
}
