//! start: the private area, locks, exit codes, warnings.

use std::fs;

use testkit::Tool;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, SUCCESS};

use crate::scenes::{
    changes, configure, container, ct101, is_running, logged, node, openvz_node, running, virtuozzo_node,
};

#[test]
fn a_start_is_one_vzctl_start_and_a_second_one_none() {
    for machine in [node(), openvz_node()] {
        ct101(&machine).run("start").answers(SUCCESS);
        assert!(is_running(&machine));
        ct101(&machine).run("start").answers(SUCCESS);
        assert_eq!(changes(&machine), [["start", "101"]]);
    }
}

#[test]
fn wait_is_passed_on_when_asked_for() {
    let machine = node();
    ct101(&machine).param("wait", "yes").run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), [["start", "101", "--wait"]]);
}

#[test]
fn a_private_area_that_is_not_here_is_5_and_vzctl_is_not_asked_to_start() {
    let machine = node();
    fs::remove_dir_all(machine.path("Data/db/vm")).unwrap();
    ct101(&machine).run("start").answers(INSTALLED).names("/Data/db/vm").names("mount");
    assert!(changes(&machine).is_empty());
}

#[test]
fn a_private_area_on_the_root_file_system_is_refused_unless_it_is_meant_so() {
    for own in ["/Data/db/vm", "/srv/vm"] {
        let machine = node();
        configure(&machine, &format!("VE_PRIVATE=\"{own}\"\n"));
        machine.folder(own).file("proc/self/mountinfo", "22 1 8:99 / / rw,relatime - ext4 /dev/root rw\n");
        ct101(&machine).run("start").answers(INSTALLED).names(own).names("require_mount");
        assert!(changes(&machine).is_empty());
        ct101(&machine).param("require_mount", "no").run("start").answers(SUCCESS);
    }
}

#[test]
fn a_container_without_configuration_here_is_5() {
    let machine = node();
    fs::remove_file(machine.path("etc/vz/conf/101.conf")).unwrap();
    ct101(&machine).run("start").answers(INSTALLED).names("101").names("configuration");
    configure(&machine, "ONBOOT=no\n");
    ct101(&machine).run("start").answers(INSTALLED).names("VE_PRIVATE");
    configure(&machine, "VE_PRIVATE=\"vm\"\n");
    ct101(&machine).run("start").answers(INSTALLED).names("VE_PRIVATE");
    assert!(changes(&machine).is_empty());
}

/// The rows of the table of exit codes, each as a start meets it.
#[test]
fn every_exit_code_of_a_failed_start_is_answered_with_its_sentence() {
    for code in [
        1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 27, 28, 29, 31, 33, 40, 41,
        43, 44, 46, 50, 51, 60, 66, 78, 79, 85, 89, 99, 100, 104, 105, 106, 107, 109, 129, 130, 131, 133,
        139, 141, 144, 148, 150, 167, 200, 214, 250,
    ] {
        let machine = openvz_node();
        machine.file("refusals/start", format!("*{code} vzctl's own words\n"));
        let expected = match code {
            5 | 10 | 14 | 22 | 23 | 24 | 43 => INSTALLED,
            105 => CONFIGURED,
            _ => GENERIC,
        };
        ct101(&machine).run("start").answers(expected).names("101").names(format!("code {code}"));
        assert_eq!(changes(&machine).len(), 1, "no second try for {code}");
    }
}

#[test]
fn code_32_is_success_only_if_the_container_runs() {
    // Somebody else was faster.
    let machine = node();
    let body = fs::read_to_string(machine.path("usr/sbin/vzctl")).unwrap();
    let body = body.lines().skip(5).collect::<Vec<_>>().join("\n");
    let faster =
        format!("[ \"$1\" != start ] || {{ echo running >\"$OCF_TEST_ROOT/ct/run\"; exit 32; }}\n{body}");
    machine.tool("vzctl", Tool::Does(faster));
    ct101(&machine).run("start").answers(SUCCESS);
    // Nobody was.
    let machine = openvz_node();
    machine.file("refusals/start", "*32 Container is already running\n");
    ct101(&machine).run("start").answers(GENERIC).names("code 32");
}

#[test]
fn a_success_that_is_none_is_found_out() {
    let machine = openvz_node();
    machine.tool("vzctl", Tool::Does("[ \"$1\" != status ] || echo CTID 101 exist unmounted down".into()));
    ct101(&machine).run("start").answers(GENERIC).names("101");
}

#[test]
fn a_lock_is_waited_for() {
    let machine = openvz_node();
    machine.file("refusals/start", "9 Container already locked\n9 Container already locked\n");
    ct101(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine).len(), 3);
}

#[test]
fn a_lock_that_stays_is_told_in_time_with_its_holder() {
    let machine = openvz_node();
    machine.file("refusals/start", "*9 Container already locked\n");
    machine.file("vz/lock/101.lck", "4711\nstarting\n").file("proc/4711/comm", "vzmigrate\n");
    let answer = ct101(&machine).timeout_ms(6000).run("start").within_ms(6000);
    answer.answers(GENERIC).names("101").names("vzmigrate[4711]");
    assert!(changes(&machine).len() > 1, "it was tried again");
    fs::remove_file(machine.path("vz/lock/101.lck")).unwrap();
    ct101(&machine).timeout_ms(3000).run("start").answers(GENERIC).names("another vzctl");
}

#[test]
fn a_start_that_hangs_ends_in_time() {
    let machine = openvz_node();
    machine.tool(
        "vzctl",
        Tool::Does("[ \"$1\" != start ] || exec sleep 600; echo CTID 101 exist unmounted down".into()),
    );
    ct101(&machine).timeout_ms(6000).run("start").within_ms(6000).answers(GENERIC).names("vzctl");
    assert!(!machine.tool_lives("vzctl"));
}

#[test]
fn onboot_is_warned_of() {
    for (value, warned) in [("yes", true), ("YES", true), ("no", false), ("", false)] {
        let machine = openvz_node();
        configure(&machine, &format!("ONBOOT=\"{value}\"\nVE_PRIVATE=\"/Data/db/vm\"\n"));
        let (answer, log) = logged(&machine, ct101(&machine), "start");
        answer.answers(SUCCESS);
        assert_eq!(log.contains("ONBOOT"), warned, "{log}");
    }
}

#[test]
fn a_configuration_that_has_drifted_from_the_last_start_s_is_warned_of() {
    let machine = openvz_node();
    let (_, log) = logged(&machine, ct101(&machine), "start");
    assert!(!log.contains("differ"), "the first start knows no other: {log}");
    let record = fs::read_to_string(machine.path("Data/db/.holdfast-openvz-101.conf")).unwrap();
    assert!(record.contains("node1") && record.contains("192.168.5.103"), "{record}");
    ct101(&machine).run("stop").answers(SUCCESS);
    // Here is the other node now.
    machine.file("proc/sys/kernel/hostname", "node2\n");
    configure(
        &machine,
        "ONBOOT=\"no\"\nVE_LAYOUT=\"simfs\"\nVE_PRIVATE=\"/Data/db/vm\"\nIP_ADDRESS=\"10.0.0.9\"\n",
    );
    let (answer, log) = logged(&machine, ct101(&machine), "start");
    answer.answers(SUCCESS);
    assert!(log.contains("IP_ADDRESS differ") && log.contains("node1"), "{log}");
    assert!(!log.contains("VE_LAYOUT") && !log.contains("10.0.0.9"), "{log}");
    ct101(&machine).run("stop").answers(SUCCESS);
    let (_, again) = logged(&machine, ct101(&machine), "start");
    assert_eq!(again.matches("differ").count(), 1, "told once: {again}");
}

/// Where the private area is a mount of its own, what is beside it is not shared.
#[test]
fn nothing_is_written_beside_a_private_area_that_is_a_mount_itself() {
    let machine = openvz_node();
    machine.mounted("147:1", "/Data/db/vm", "ext3", "/dev/drbd1");
    ct101(&machine).run("start").answers(SUCCESS);
    assert!(!machine.path("Data/db/.holdfast-openvz-101.conf").exists());
}

#[test]
fn a_failed_start_leaves_no_record() {
    let machine = openvz_node();
    machine.file("refusals/start", "*79 action script failed\n");
    ct101(&machine).run("start").answers(GENERIC);
    assert!(!machine.path("Data/db/.holdfast-openvz-101.conf").exists());
}

#[test]
fn a_virtual_machine_is_started_and_stopped_by_prlctl() {
    let machine = virtuozzo_node("VM", "stopped");
    let agent = container(&machine, "vm1");
    agent.run("start").answers(SUCCESS);
    agent.monitor().answers(SUCCESS);
    agent.run("stop").answers(SUCCESS);
    agent.monitor().answers(7);
    let changes: Vec<_> = machine.calls("prlctl").into_iter().filter(|call| call[0] != "status").collect();
    assert_eq!(changes, [["start", "vm1"], ["stop", "vm1"]]);
}

#[test]
fn the_tool_can_be_chosen() {
    let machine = node();
    machine.tool("prlctl", Tool::Does("echo CT 101 exist running".into()));
    ct101(&machine).monitor().answers(7);
    ct101(&machine).param("tool", "prlctl").monitor().answers(SUCCESS);
    ct101(&running(node())).param("tool", "vzctl").monitor().answers(SUCCESS);
    ct101(&running(node())).param("tool", "prlctl").monitor().answers(INSTALLED).names("prlctl");
}
