//! start: tries, and what the exit codes of drbdadm mean.

use std::time::Duration;

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, SUCCESS};

use crate::scenes::{
    PRIMARY, SECONDARY, configure, link, list_9, never_ran_a_tool, new, new_not_up, old, proc_84, r0,
    resource, without_module,
};

const PEER: &str = "11 0: State change failed: (-1) Multiple primaries not allowed by config\n";
const PRIMARY_CALL: [&str; 2] = ["primary", "r0"];

#[test]
fn secondary_becomes_primary() {
    for machine in [old(SECONDARY), new("Secondary")] {
        r0(&machine).run("start").answers(SUCCESS).within(Duration::from_secs(3));
        assert_eq!(machine.calls("drbdadm"), [PRIMARY_CALL]);
        r0(&machine).monitor().answers(SUCCESS);
    }
}

#[test]
fn already_primary_answers_at_once_and_changes_nothing() {
    let machine = old(PRIMARY);
    r0(&machine).run("start").answers(SUCCESS);
    assert!(never_ran_a_tool(&machine));
}

/// Up to 8.4 each volume has a role of its own, and an earlier try may have got half way.
#[test]
fn a_volume_that_is_still_secondary_is_made_primary_too() {
    let machine = old(SECONDARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    let half = proc_84(&[(10, PRIMARY), (11, SECONDARY)]);
    machine.file("proc/drbd", &half);
    resource(&machine, "r1").run("start").answers(SUCCESS);
    assert_eq!(machine.calls("drbdadm"), [["primary", "r1"]]);
    // A success that was half of one, in both directions.
    machine.tool("drbdadm", testkit::Tool::Succeeds).file("proc/drbd", &half);
    resource(&machine, "r1").run("start").answers(GENERIC).names("r1");
    resource(&machine, "r1").timeout_ms(2000).run("stop").answers(GENERIC).names("r1");
}

#[test]
fn a_peer_that_is_still_primary_is_waited_for_beyond_the_six_tries() {
    let machine = old(SECONDARY);
    machine.file("refusals/primary", PEER.repeat(7));
    r0(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("drbdadm").len(), 8);
}

#[test]
fn a_peer_that_stays_primary_ends_with_its_reason_before_the_deadline() {
    for machine in [old(SECONDARY), new("Secondary")] {
        machine.file("refusals/primary", format!("*{PEER}"));
        let answer =
            r0(&machine).timeout_ms(4000).run("start").answers(GENERIC).names("Primary on another node");
        assert!(answer.elapsed < Duration::from_millis(3900), "{answer}");
        assert!(machine.calls("drbdadm").len() >= 2, "{answer}");
    }
}

#[test]
fn other_refusals_are_tried_as_often_as_tries_says() {
    for (tries, calls) in [("1", 1), ("2", 2), ("3", 3)] {
        let machine = new("Secondary");
        machine.file("refusals/primary", "*11 r0: State change failed: (-25) No quorum\n");
        r0(&machine).param("tries", tries).run("start").answers(GENERIC).names("(-25)");
        assert_eq!(machine.calls("drbdadm").len(), calls);
    }
}

#[test]
fn by_default_there_are_six_tries_a_second_apart() {
    let machine = old(SECONDARY);
    machine.file(
        "refusals/primary",
        "*11 0: State change failed: (-10) State change was refused by peer node\n",
    );
    let answer = r0(&machine).run("start").answers(GENERIC);
    assert_eq!(machine.calls("drbdadm").len(), 6);
    assert!((5..8).contains(&answer.elapsed.as_secs()), "{answer}");
}

#[test]
fn no_good_copy_stops_at_once() {
    let machine = old("WFConnection ro:Secondary/Unknown ds:Inconsistent/DUnknown C r-----");
    machine.file("refusals/primary", "*17 0: State change failed: (-2) Need access to UpToDate data\n");
    r0(&machine).run("start").answers(GENERIC).names("no UpToDate data").within(Duration::from_secs(3));
    assert_eq!(machine.calls("drbdadm").iter().filter(|call| call[0] == "primary").count(), 1);
}

#[test]
fn a_disk_below_that_does_not_exist_is_named() {
    let machine = old("WFConnection ro:Secondary/Unknown ds:Diskless/DUnknown C r-----");
    configure(&machine, &[("r0", "/dev/drbd0\n", "/dev/mapper/root100\n")]);
    machine.file("refusals/primary", "*17 0: State change failed: (-2) Need access to UpToDate data\n");
    r0(&machine).run("start").answers(GENERIC).names("/dev/mapper/root100");
}

#[test]
fn an_unknown_resource_stops_at_once_and_is_not_installed() {
    let machine = new_not_up();
    machine.file("refusals/primary", "*1 'r0' not defined in your config (for this host).\n");
    r0(&machine).run("start").answers(INSTALLED).names("r0").within(Duration::from_secs(3));
}

#[test]
fn a_module_that_cannot_be_loaded_stops_at_once_and_is_not_installed() {
    let machine = without_module();
    r0(&machine).run("start").answers(INSTALLED).names("module").within(Duration::from_secs(3));
}

#[test]
fn a_resource_that_is_not_up_is_tried_for_a_while_and_then_named() {
    let machine = new_not_up();
    r0(&machine).param("tries", "2").run("start").answers(GENERIC).names("drbdadm up r0");
    assert_eq!(machine.calls("drbdadm").iter().filter(|call| call[0] == "primary").count(), 2);
}

#[test]
fn adjust_brings_a_resource_up_first() {
    let machine = new_not_up();
    machine.file("up", list_9("Secondary", &[]));
    std::fs::remove_file(machine.path("refusals/primary")).unwrap();
    r0(&machine).param("adjust", "yes").run("start").answers(SUCCESS);
    assert_eq!(machine.calls("drbdadm"), [["adjust", "r0"], PRIMARY_CALL]);
}

#[test]
fn an_adjust_that_fails_is_named() {
    let machine = new_not_up();
    machine.file("refusals/adjust", "1 No valid meta data found\n");
    r0(&machine)
        .param("adjust", "yes")
        .param("tries", "1")
        .run("start")
        .answers(GENERIC)
        .names("No valid meta");
}

#[test]
fn a_tool_that_claims_success_is_not_believed() {
    let machine = old(SECONDARY);
    machine.tool("drbdadm", testkit::Tool::Succeeds);
    r0(&machine).run("start").answers(GENERIC).names("r0");
}

#[test]
fn wrong_parameters_are_named_at_start_and_forgiven_by_monitor_and_stop() {
    let machine = old(PRIMARY);
    for (name, value) in [("tries", "0"), ("tries", "-1"), ("tries", "many"), ("adjust", "perhaps")] {
        let call = r0(&machine).param(name, value);
        call.run("start").answers(CONFIGURED).names(name);
        call.run("validate-all").answers(CONFIGURED);
        call.env("HA_LOGFILE", "/dev/null").monitor().answers(SUCCESS);
    }
}

#[test]
fn a_validation_in_depth_asks_for_the_configuration() {
    let machine = old(SECONDARY);
    r0(&machine).level(10).run("validate-all").answers(SUCCESS);
    crate::scenes::resource(&machine, "nosuch")
        .level(10)
        .run("validate-all")
        .answers(INSTALLED)
        .names("nosuch");
    crate::scenes::resource(&machine, "nosuch").run("validate-all").answers(SUCCESS);
}
