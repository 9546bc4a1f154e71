//! Every cell of the table of states, on a machine: what monitor answers, what start does, what stop does.

use std::time::Duration;

use testkit::Sandbox;
use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::scenes::{PRIMARY, bare, changes, domains, node, on, on_drbd, put, web, with};
use crate::xenstored::leave_dead_socket;

#[track_caller]
fn monitor(machine: &Sandbox, code: i32) {
    web(machine).monitor().answers(code);
    web(machine).probe().answers(code);
}

#[test]
fn a_running_a_blocked_and_a_waiting_guest_run() {
    for state in ["r-----", "-b----", "------"] {
        let machine = with("web", state);
        monitor(&machine, SUCCESS);
        web(&machine).run("start").answers(SUCCESS);
        assert!(changes(&machine).is_empty(), "{state}: start had nothing to do");
        web(&machine).run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), [["shutdown", "-F", "3"]], "{state}");
        monitor(&machine, NOT_RUNNING);
    }
}

#[test]
fn an_absent_guest_is_stopped_and_no_tool_is_asked() {
    let machine = node();
    monitor(&machine, NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
    assert!(machine.calls("xl").is_empty());
}

#[test]
fn a_paused_guest_runs_with_a_warning_unless_the_administrator_says_otherwise() {
    let machine = with("web", "--p---");
    let log = machine.path("log");
    web(&machine).env("HA_LOGFILE", &log).monitor().answers(SUCCESS);
    assert!(std::fs::read_to_string(&log).unwrap().contains("paused"));
    web(&machine).param("paused", "fail").monitor().answers(GENERIC).names("paused");
    web(&machine).param("paused", "unpause").monitor().answers(SUCCESS);
    assert_eq!(domains(&machine), ["3 web -b----"]);
    let machine = with("web", "--p---");
    on(&machine, "unpause", "ignore");
    web(&machine).param("paused", "unpause").monitor().answers(GENERIC).names("stays so");
}

#[test]
fn start_lets_a_paused_guest_go_on() {
    let machine = with("web", "--p---");
    web(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), [["unpause", "3"]]);
}

#[test]
fn stop_lets_a_paused_guest_go_on_before_it_asks_it_to_shut_down() {
    let machine = with("web", "--p---");
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["unpause", "3"].as_slice(), &["shutdown", "-F", "3"]]);
    let machine = with("web", "--p---");
    on(&machine, "unpause", "ignore");
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["unpause", "3"], ["destroy", "3"]]);
}

#[test]
fn a_copy_that_comes_in_is_not_running_and_stop_destroys_it() {
    let machine = with("web--incoming", "--p---");
    monitor(&machine, NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["destroy", "3"]]);
}

#[test]
fn start_refuses_while_a_migration_comes_in_and_destroys_a_stale_copy() {
    let machine = with("web--incoming", "--p---");
    machine.file("proc/77/cmdline", "xl\0migrate-receive\0");
    web(&machine).run("start").answers(GENERIC).names("being migrated");
    assert!(changes(&machine).is_empty());
    std::fs::remove_dir_all(machine.path("proc/77")).unwrap();
    web(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine)[0], ["destroy", "3"]);
    assert_eq!(domains(&machine), ["5 web -b----"]);
}

#[test]
fn what_a_migration_left_behind_is_a_failure_and_stop_destroys_it() {
    for name in ["web--migratedaway", "migrating-web"] {
        let machine = with(name, "---ss-");
        web(&machine).monitor().answers(GENERIC).names("left its old copy");
        web(&machine).probe().answers(GENERIC);
        web(&machine).run("start").answers(GENERIC);
        machine.file("proc/77/cmdline", "/usr/sbin/xl\0migrate\x003\0node2\0");
        web(&machine).monitor().answers(SUCCESS);
        web(&machine).run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), [["destroy", "3"]], "{name}");
    }
}

#[test]
fn a_guest_that_switched_itself_off_is_destroyed_when_nobody_does_it_and_is_stopped() {
    let machine = with("web", "---s--");
    let answer = web(&machine).monitor().answers(NOT_RUNNING);
    assert!((5..9).contains(&answer.elapsed.as_secs()), "{answer}");
    assert_eq!(changes(&machine), [["destroy", "3"]]);
    let machine = with("web", "---s--");
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["destroy", "3"]]);
    let machine = with("web", "---s--");
    web(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine)[0], ["destroy", "3"]);
    assert_eq!(changes(&machine)[1][0], "create");
}

#[test]
fn a_guest_that_reboots_runs_until_it_takes_too_long() {
    let machine = with("web", "---sr-");
    let path = machine.root().to_owned();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        std::fs::write(path.join("domains"), "0 Domain-0 r-----\n3 web -b----\n").unwrap();
    });
    web(&machine).monitor().answers(SUCCESS);
    later.join().unwrap();
    for state in ["---sr-", "---sS-"] {
        let machine = with("web", state);
        let call = web(&machine).param("reboot_wait", "1");
        let answer = call.monitor().answers(GENERIC).names("reboot");
        assert!(answer.elapsed < Duration::from_secs(5), "{answer}");
        call.run("start").answers(GENERIC).names("reboot");
        call.run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), [["destroy", "3"]]);
    }
}

#[test]
fn a_suspended_guest_is_a_failure_outside_a_migration() {
    let machine = with("web", "---ss-");
    web(&machine).monitor().answers(GENERIC).names("suspended");
    web(&machine).run("start").answers(GENERIC).names("suspended");
    for guest in ["3", "web"] {
        machine.file("proc/77/cmdline", format!("xl\0migrate\0{guest}\0node2\0"));
        monitor(&machine, SUCCESS);
    }
    machine.file("proc/77/cmdline", "xl\0migrate\0other\0node2\0");
    web(&machine).monitor().answers(GENERIC);
    web(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["destroy", "3"]]);
}

#[test]
fn a_crashed_preserved_guest_is_a_failure_not_stopped() {
    for state in ["---sc-", "---sw-", "----c-"] {
        let machine = with("web", state);
        web(&machine).monitor().answers(GENERIC).names("crashed");
        web(&machine).probe().answers(GENERIC);
        let dumps = machine.path("dumps");
        std::fs::create_dir(&dumps).unwrap();
        web(&machine).param("crash_dump_directory", "/dumps").run("stop").answers(SUCCESS);
        assert!(dumps.join("web-3.core").exists());
        assert_eq!(changes(&machine).last().unwrap(), &["destroy", "3"]);
        let machine = with("web", state);
        web(&machine).run("start").answers(SUCCESS);
        assert_eq!(changes(&machine)[0], ["destroy", "3"]);
    }
}

#[test]
fn a_crash_dump_that_fails_or_hangs_does_not_hold_up_stop() {
    for how in ["refuse", "hang"] {
        let machine = with("web", "---sc-");
        on(&machine, "dump-core", how);
        let call = web(&machine).param("crash_dump_directory", "/dumps").timeout_ms(8000);
        call.run("stop").answers(SUCCESS).within_ms(8000);
        assert!(domains(&machine).is_empty(), "{how}");
    }
}

#[test]
fn an_unknown_reason_is_a_failure_and_stop_destroys() {
    let machine = with("web", "---s?-");
    monitor_fails(&machine, "unknown reason");
    web(&machine).run("start").answers(GENERIC);
    web(&machine).run("stop").answers(SUCCESS);
}

#[track_caller]
fn monitor_fails(machine: &Sandbox, what: &str) {
    web(machine).monitor().answers(GENERIC).names(what);
    web(machine).probe().answers(GENERIC).names(what);
}

#[test]
fn a_dying_guest_is_neither_running_nor_stopped() {
    let machine = with("web", "--ps-d");
    monitor_fails(&machine, "dying");
    web(&machine).timeout_ms(6000).run("start").answers(GENERIC).within_ms(6000);
    web(&machine).timeout_ms(6000).run("stop").answers(GENERIC).names("dying").within_ms(6000);
    assert!(changes(&machine).is_empty(), "there is nothing to do but to wait");
}

/// The name goes first, then the disks' entries, and then the disks: such a domain is only known by the record of its start.
#[test]
fn a_dying_guest_that_has_lost_its_name_still_holds_its_disks() {
    let machine = node();
    web(&machine).run("start").answers(SUCCESS);
    on(&machine, "destroy", "dying");
    web(&machine).timeout_ms(4000).run("stop").answers(SUCCESS);
    let machine = node();
    web(&machine).run("start").answers(SUCCESS);
    on(&machine, "destroy", "dying");
    on(&machine, "shutdown", "ignore");
    let call = web(&machine).param("shutdown_timeout", "0").timeout_ms(4000);
    call.run("stop").answers(GENERIC).names("vbd-5-51712").within_ms(4000);
    web(&machine).monitor().answers(GENERIC).names("vbd-5-51712");
    web(&machine).timeout_ms(4000).run("start").answers(GENERIC).names("vbd-5-51712");
    std::fs::remove_dir_all(machine.path("sys/bus/xen-backend/devices/vbd-5-51712")).unwrap();
    std::fs::remove_dir_all(machine.path("store/local/domain/0/backend/vbd/5")).unwrap();
    monitor_fails(&machine, "dying");
    web(&machine).timeout_ms(4000).run("stop").answers(GENERIC).names("dying").within_ms(4000);
    machine.file("domains", "0 Domain-0 r-----\n");
    monitor(&machine, NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
}

/// Seen with DRBD 8.4 under Linux 6.1: its socket keeps a page of the guest until the node is booted.
#[test]
fn a_guest_that_a_lost_link_of_drbd_may_keep_is_explained_and_warned_of_before() {
    for (option, says) in [("N", true), ("Y", false)] {
        let machine = on_drbd(PRIMARY);
        machine.file("sys/module/drbd/parameters/disable_sendpage", format!("{option}\n"));
        let answer = web(&machine).run("start").answers(SUCCESS);
        assert_eq!(answer.stderr.contains("disable_sendpage=1"), says, "{answer}");
        on(&machine, "destroy", "dying");
        on(&machine, "shutdown", "ignore");
        let call = web(&machine).param("shutdown_timeout", "0").timeout_ms(4000);
        let first = call.run("stop").answers(GENERIC).within_ms(4000);
        std::fs::remove_dir_all(machine.path("sys/bus/xen-backend/devices/vbd-5-51712")).unwrap();
        std::fs::remove_dir_all(machine.path("store/local/domain/0/backend/vbd/5")).unwrap();
        assert!(first.reason().unwrap().contains("vbd-5-51712"), "{first}");
        let again = web(&machine).timeout_ms(4000).run("stop").answers(GENERIC).names("dying");
        assert_eq!(again.reason().unwrap().contains("boot this node"), says, "{again}");
    }
}

#[test]
fn a_copy_that_a_crash_left_under_another_name_does_not_run() {
    let machine = with("web-20261120T1045Z", "---sc-");
    let log = machine.path("log");
    web(&machine).env("HA_LOGFILE", &log).monitor().answers(NOT_RUNNING);
    assert!(std::fs::read_to_string(&log).unwrap().contains("web-20261120T1045Z"));
    web(&machine).run("start").answers(SUCCESS);
    assert_eq!(domains(&machine), ["3 web-20261120T1045Z ---sc-", "5 web -b----"]);
}

#[test]
fn two_domains_of_one_name_are_a_failure_and_stop_destroys_both() {
    let machine = with("web", "-b----");
    put(&machine, 4, "web", "r-----");
    monitor_fails(&machine, "2 domains are called web");
    web(&machine).run("start").answers(GENERIC).names("2 domains");
    web(&machine).run("stop").answers(SUCCESS);
    assert!(domains(&machine).is_empty());
}

#[test]
fn a_reboot_s_gap_is_waited_for_only_while_somebody_can_start_the_guest_again() {
    let machine = node();
    let answer = web(&machine).monitor().answers(NOT_RUNNING);
    assert!(answer.elapsed < Duration::from_secs(2), "{answer}");
    machine.file("proc/76/cmdline", "/usr/sbin/xl\0create\0/etc/xen/mail.cfg\0name=\"mail\"\0");
    let answer = web(&machine).monitor().answers(NOT_RUNNING);
    assert!(answer.elapsed < Duration::from_secs(2), "another guest's process: {answer}");
    machine.file("proc/77/cmdline", "xl\0create\0/etc/xen/web.cfg\0");
    let answer = web(&machine).param("reboot_wait", "2").monitor().answers(NOT_RUNNING);
    assert!((2..4).contains(&answer.elapsed.as_secs()), "{answer}");
    let answer = web(&machine).probe().answers(NOT_RUNNING);
    assert!(answer.elapsed < Duration::from_secs(2), "a probe has nothing to wait for: {answer}");
    let path = machine.root().to_owned();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        std::fs::write(path.join("domains"), "0 Domain-0 r-----\n9 web -b----\n").unwrap();
        std::fs::create_dir_all(path.join("store/local/domain/9")).unwrap();
        std::fs::write(path.join("store/local/domain/9/name"), "web").unwrap();
    });
    let answer = web(&machine).monitor().answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
    later.join().unwrap();
}

#[test]
fn a_dead_xenstored_is_an_error_in_every_action_and_no_tool_is_tried() {
    let machine = with("web", "-b----");
    leave_dead_socket(machine.root());
    on(&machine, "all", "hang");
    monitor_fails(&machine, "xenstored is dead");
    web(&machine).run("start").answers(GENERIC).names("xenstored");
    let call = web(&machine).timeout_ms(6000);
    call.run("stop").answers(GENERIC).names("xenstored").within_ms(6000);
}

#[test]
fn without_a_hypervisor_nothing_can_run() {
    let machine = with("web", "-b----");
    std::fs::remove_dir_all(machine.path("proc/xen")).unwrap();
    web(&machine).probe().answers(NOT_RUNNING);
    web(&machine).monitor().answers(GENERIC).names("Xen");
    web(&machine).run("start").answers(INSTALLED).names("Xen");
    web(&machine).run("stop").answers(SUCCESS);
    machine.file("proc/xen/capabilities", "");
    web(&machine).probe().answers(NOT_RUNNING);
    web(&machine).run("start").answers(INSTALLED).names("guest of Xen");
}

#[test]
fn without_xenstored_s_socket_the_list_alone_decides() {
    let machine = bare();
    monitor(&machine, NOT_RUNNING);
    put(&machine, 3, "web", "-b----");
    monitor(&machine, SUCCESS);
    on(&machine, "list", "dead");
    monitor_fails(&machine, "unknown");
}

#[test]
fn a_domain_zero_of_that_name_is_never_touched() {
    let machine = node();
    machine.file("store/local/domain/0/name", "web\n").file("domains", "0 web r-----\n");
    monitor(&machine, NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
    assert!(changes(&machine).is_empty());
}

/// xl's process that watches over a guest after its arrival has the words of the one that received it.
#[test]
fn the_process_of_a_guest_that_has_come_receives_nothing() {
    let machine = with("web--incoming", "--p---");
    machine.file("proc/77/cmdline", "xl\0migrate-receive\0").folder("proc/77/fd");
    std::os::unix::fs::symlink("/dev/null", machine.path("proc/77/fd/0")).unwrap();
    web(&machine).run("start").answers(SUCCESS);
    assert_eq!(domains(&machine), ["5 web -b----"]);
}

/// It is renamed and let go, and its receiver ends, between two looks: then it is no stale copy.
#[test]
fn a_copy_that_arrives_while_it_is_looked_at_is_not_destroyed() {
    for looks in 1..=3 {
        let machine = with("web--incoming", "--p---");
        let xl = std::fs::read_to_string(machine.path("usr/sbin/xl")).unwrap();
        let body = xl.lines().skip(5).collect::<Vec<_>>().join("\n");
        let arrives = format!(
            "[ \"$command\" = list ] && echo x >>$root/looks && [ $(wc -l <$root/looks) = {looks} ] && \
             {{ sed -i 's/^3 .*/3 web -b----/' $list; echo web >$store/3/name; }}\ntrue"
        );
        machine.tool("xl", testkit::Tool::Does(format!("{body}\n{arrives}")));
        web(&machine).run("start");
        assert_eq!(domains(&machine), ["3 web -b----"], "{looks}");
    }
}
