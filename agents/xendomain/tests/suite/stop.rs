//! stop: the budget of an orderly shutdown, destroy, and what may be left.

use std::time::Duration;

use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};

use crate::scenes::{changes, domains, node, on, web, with};

const RUNS: &str = "-b----";

#[test]
fn a_guest_that_ignores_the_request_is_destroyed_when_its_budget_is_over() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "ignore");
    let answer = web(&machine).param("shutdown_timeout", "2").run("stop").answers(SUCCESS);
    assert!((2..5).contains(&answer.elapsed.as_secs()), "{answer}");
    assert_eq!(changes(&machine), [["shutdown", "-F", "3"].as_slice(), &["destroy", "3"]]);
}

#[test]
fn by_default_the_budget_is_two_thirds_of_the_action_s_time() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "ignore");
    let answer = web(&machine).timeout_ms(9000).run("stop").answers(SUCCESS).within_ms(9000);
    assert!((4..8).contains(&answer.elapsed.as_secs()), "{answer}");
}

#[test]
fn a_budget_longer_than_the_action_leaves_time_for_the_destroy() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "ignore");
    web(&machine)
        .param("shutdown_timeout", "600")
        .timeout_ms(6000)
        .run("stop")
        .answers(SUCCESS)
        .within_ms(6000);
}

#[test]
fn a_budget_of_zero_destroys_at_once() {
    let machine = with("web", RUNS);
    let answer = web(&machine).param("shutdown_timeout", "0").run("stop").answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(2), "{answer}");
    assert_eq!(changes(&machine), [["destroy", "3"]]);
}

/// xl shutdown waits a minute for a guest that does not answer.
#[test]
fn a_shutdown_that_blocks_is_ended_when_the_budget_is_over() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "hang");
    web(&machine).param("shutdown_timeout", "1").run("stop").answers(SUCCESS).within(Duration::from_secs(5));
    assert!(domains(&machine).is_empty());
}

#[test]
fn a_shutdown_that_is_refused_is_not_waited_for() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "refuse");
    let answer = web(&machine).run("stop").answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(3), "{answer}");
}

#[test]
fn a_guest_that_takes_its_time_is_waited_for() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "slow");
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine).len(), 1, "no destroy");
}

#[test]
fn an_xl_without_the_option_for_the_power_button_is_asked_without() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown.once", "usage");
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["shutdown", "-F", "3"].as_slice(), &["shutdown", "3"]]);
}

#[test]
fn acpi_presses_the_power_button() {
    let machine = with("web", RUNS);
    web(&machine).param("shutdown_acpi", "true").run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["trigger", "3", "power"]]);
}

#[test]
fn a_guest_that_is_preserved_after_its_shutdown_is_destroyed() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "preserve");
    let answer = web(&machine).run("stop").answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
    assert_eq!(changes(&machine).last().unwrap(), &["destroy", "3"]);
}

/// on_poweroff=restart: it comes back with another number.
#[test]
fn a_guest_that_comes_back_after_its_shutdown_is_destroyed() {
    let machine = with("web", RUNS);
    on(&machine, "shutdown", "restart");
    let answer = web(&machine).run("stop").answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
    assert_eq!(changes(&machine).last().unwrap(), &["destroy", "5"]);
    assert!(domains(&machine).is_empty());
}

#[test]
fn a_destroy_that_does_nothing_is_tried_again_and_is_no_success() {
    for how in ["ignore", "refuse", "hang"] {
        let machine = with("web", RUNS);
        on(&machine, "destroy", how);
        let call = web(&machine).param("shutdown_timeout", "0").timeout_ms(5000);
        let answer = call.run("stop").answers(GENERIC).names("web").within_ms(5000);
        assert!(machine.calls("xl").iter().filter(|call| call[0] == "destroy").count() >= 1, "{answer}");
        assert_eq!(domains(&machine).len(), 1);
    }
}

#[test]
fn a_destroy_that_fails_once_is_tried_again() {
    let machine = with("web", RUNS);
    on(&machine, "destroy.once", "refuse");
    web(&machine).param("shutdown_timeout", "0").run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine).len(), 2);
}

/// xenopsd#134: destroy answers before the disks are free, and the layer below could not let go of them.
#[test]
fn a_disk_that_is_still_held_is_not_stopped() {
    let machine = node();
    web(&machine).run("start").answers(SUCCESS);
    on(&machine, "destroy", "leaves-disk");
    let call = web(&machine).param("shutdown_timeout", "0").timeout_ms(4000);
    call.run("stop").answers(GENERIC).names("vbd-5-51712").within_ms(4000);
    let path = machine.root().to_owned();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        std::fs::remove_dir_all(path.join("sys/bus/xen-backend/devices/vbd-5-51712")).unwrap();
        std::fs::remove_dir_all(path.join("store/local/domain/0/backend/vbd/5")).unwrap();
    });
    let answer = web(&machine).run("stop").answers(SUCCESS);
    assert!(answer.elapsed >= Duration::from_millis(700), "{answer}");
    later.join().unwrap();
    web(&machine).monitor().answers(NOT_RUNNING);
}

#[test]
fn stop_needs_no_configuration_for_a_guest_that_it_started() {
    let machine = node();
    let call = machine.host(testkit::Call::ocf(crate::scenes::BINARY).param("xmfile", "/etc/xen/web.cfg"));
    call.run("start").answers(SUCCESS);
    std::fs::remove_file(machine.path("etc/xen/web.cfg")).unwrap();
    call.monitor().answers(SUCCESS);
    call.run("stop").answers(SUCCESS);
    assert!(domains(&machine).is_empty());
    call.monitor().answers(NOT_RUNNING);
}

/// Started by hand, or with another number since a reboot: its disks outlive its name all the same.
#[test]
fn the_disk_of_a_guest_with_another_number_than_the_started_one_is_waited_for_too() {
    for record in ["", "name=web\nid=2\nmemory_managed=false\n"] {
        let machine = with("web", RUNS);
        let back_end = "sys/bus/xen-backend/devices/vbd-3-51712";
        machine.folder(back_end);
        if !record.is_empty() {
            machine.file("run/holdfast/xendomain/data", record);
        }
        on(&machine, "shutdown", "leaves-disk");
        let call = web(&machine).timeout_ms(9000);
        call.run("stop").answers(GENERIC).names("vbd-3-51712").within_ms(9000);
        // Whoever asks again gets no other answer.
        call.run("stop").answers(GENERIC).names("vbd-3-51712").within_ms(9000);
        std::fs::remove_dir_all(machine.path(back_end)).unwrap();
        call.run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine).len(), 1, "one shutdown");
    }
}

/// It reboots, monitor sees it, and then it goes by itself: no name leads to its disk any more.
#[test]
fn the_disk_of_a_guest_that_rebooted_and_vanished_is_waited_for_too() {
    let machine = with("web", RUNS);
    machine.file("run/holdfast/xendomain/data", "name=web\nid=2\nmemory_managed=false\n");
    machine.folder("sys/bus/xen-backend/devices/vbd-3-51712");
    web(&machine).monitor().answers(SUCCESS);
    machine.file("domains", "0 Domain-0 r-----\n");
    std::fs::remove_dir_all(machine.path("store/local/domain/3")).unwrap();
    web(&machine).timeout_ms(5000).monitor().answers(GENERIC).names("domain 3");
    web(&machine).timeout_ms(5000).run("stop").answers(GENERIC).names("vbd-3-51712");
    std::fs::remove_dir_all(machine.path("sys/bus/xen-backend/devices/vbd-3-51712")).unwrap();
    web(&machine).run("stop").answers(SUCCESS);
}

/// qemu serves files; xenstored alone knows of them.
#[test]
fn a_disk_that_only_xenstored_knows_is_waited_for_too() {
    let machine = with("web", RUNS);
    machine.file("store/local/domain/0/backend/qdisk/3/51712/state", "5");
    on(&machine, "shutdown", "leaves-disk");
    web(&machine).timeout_ms(9000).run("stop").answers(GENERIC).names("qdisk-3-51712").within_ms(9000);
}

/// The layer below could not take the disk away.
#[test]
fn a_copy_that_a_crash_left_is_destroyed_if_it_holds_disks_and_has_ended() {
    for (state, disk, destroyed) in [
        ("---sc-", "sys/bus/xen-backend/devices/vbd-3-51712", true),
        ("---sc-", "sys/bus/xen-backend/devices/vbd-4-51712", false),
        ("-b----", "sys/bus/xen-backend/devices/vbd-3-51712", false),
    ] {
        let machine = with("web-20261120T1045Z", state);
        machine.folder(disk);
        web(&machine).run("stop").answers(SUCCESS);
        assert_eq!(domains(&machine).is_empty(), destroyed, "{state} {disk}");
    }
    let machine = with("web-20261120T1045Z", "---sc-");
    machine.folder("sys/bus/xen-backend/devices/vbd-3-51712");
    on(&machine, "destroy", "ignore");
    web(&machine).timeout_ms(6000).run("stop").answers(GENERIC).names("vbd-3-51712").within_ms(6000);
    on(&machine, "list", "dead");
    web(&machine).timeout_ms(6000).run("stop").answers(GENERIC).names("unknown").within_ms(6000);
}

/// Also where somebody else than stop destroys: nothing is gone before its disks are.
#[test]
fn what_is_destroyed_is_not_gone_before_its_disks_are() {
    for action in ["monitor", "start"] {
        let machine = with("web", "---s--");
        machine.folder("sys/bus/xen-backend/devices/vbd-3-51712");
        on(&machine, "destroy", "leaves-disk");
        web(&machine).timeout_ms(15_000).run(action).answers(GENERIC).names("vbd-3-51712").within_ms(15_000);
        assert!(changes(&machine).iter().all(|call| call[0] == "destroy"), "nothing is created beside it");
    }
}
