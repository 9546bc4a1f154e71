//! Every tool that the promotable clone can run, misbehaving in every way.

use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Answer, Sandbox, Tool};

use crate::scenes::{
    PRIMARY, SECONDARY, changes, instance, new, new_down, old, old_down, scores, without_module,
};

const TIMEOUT_MS: u64 = 5000;

fn break_tool(machine: &Sandbox, tool: &str, behaviour: Option<Tool>) {
    match behaviour {
        Some(behaviour) => drop(machine.tool(tool, behaviour)),
        None => std::fs::remove_file(machine.path("usr/sbin").join(tool)).unwrap(),
    }
}

/// Runs the action with the tool in each state, and holds each answer to its time.
#[track_caller]
fn with_faults(
    scene: impl Fn() -> Sandbox,
    tool: &str,
    action: &str,
    judge: impl Fn(&'static str, &Sandbox, Answer),
) {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = scene();
        break_tool(&machine, tool, behaviour);
        let answer = instance(&machine).timeout_ms(TIMEOUT_MS).meta("interval", "20000").run(action);
        let answer = answer.within_ms(TIMEOUT_MS);
        if how != "missing" && machine.has_text(&format!("calls/{tool}.pid")) {
            assert!(!machine.tool_lives(tool), "{tool} {how}: it must not outlive the agent: {answer}");
        }
        judge(how, &machine, answer);
    }
}

#[test]
fn faults_of_crm_attribute_never_fail_an_action() {
    for (action, code) in [("monitor", 8), ("reload", SUCCESS), ("notify", SUCCESS), ("stop", SUCCESS)] {
        with_faults(
            || old(PRIMARY),
            "crm_attribute",
            action,
            |how, _, answer| {
                assert_eq!(answer.code, Some(code), "{action}, crm_attribute {how}: {answer}");
            },
        );
    }
    with_faults(new_down, "crm_attribute", "start", |how, _, answer| {
        assert_eq!(answer.code, Some(SUCCESS), "crm_attribute {how}: {answer}");
    });
}

/// The tool of Pacemaker before 2.1.0.
#[test]
fn faults_of_crm_master_never_fail_an_action() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        for (action, code) in [("monitor", 8), ("stop", SUCCESS)] {
            let machine = old(PRIMARY);
            break_tool(&machine, "crm_master", behaviour.clone());
            let call = instance(&machine).env("OCF_RESKEY_crm_feature_set", "3.0.14").timeout_ms(TIMEOUT_MS);
            let answer = call.meta("interval", "20000").run(action).within_ms(TIMEOUT_MS);
            assert_eq!(answer.code, Some(code), "{action}, crm_master {how}: {answer}");
            assert!(scores(&machine).is_empty(), "{action}, crm_master {how}");
        }
    }
}

/// drbdadm still makes the change and tells the role: a success is true, and a failure ends in time.
#[test]
fn faults_of_drbdsetup_in_start_promote_demote_and_reload_are_never_false_successes() {
    for (action, before, after) in [
        ("start", "", "Secondary"),
        ("promote", "Secondary", "Primary"),
        ("demote", "Primary", "Secondary"),
        ("reload", "Primary", "Primary"),
    ] {
        let scene = || if before.is_empty() { new_down() } else { new(before) };
        with_faults(scene, "drbdsetup", action, |how, machine, answer| {
            if answer.code == Some(SUCCESS) {
                let list = std::fs::read_to_string(machine.path("list")).unwrap();
                assert!(list.contains(&format!("name:r0 role:{after}")), "{action}, drbdsetup {how}: {list}");
            } else {
                answer.answers(GENERIC);
            }
            assert!(scores(machine).is_empty(), "{action}, drbdsetup {how}: nothing is known of the data");
        });
    }
}

#[test]
fn faults_of_drbdadm_in_start_are_failures() {
    for scene in [new_down, old_down] {
        with_faults(scene, "drbdadm", "start", |how, machine, answer| {
            assert_eq!(answer.code, Some(GENERIC), "drbdadm {how}: {answer}");
            let reason = answer.answers(GENERIC).reason().unwrap_or_default().to_owned();
            assert!(reason.contains("r0") || reason.contains("drbdadm"), "drbdadm {how}: {reason}");
            assert!(scores(machine).is_empty(), "drbdadm {how}");
        });
    }
}

#[test]
fn faults_of_drbdadm_in_promote_are_failures() {
    with_faults(
        || new("Secondary"),
        "drbdadm",
        "promote",
        |how, _, answer| {
            answer.answers(if how == "missing" { INSTALLED } else { GENERIC });
        },
    );
}

/// The kernel needs no drbdadm to let go.
#[test]
fn faults_of_drbdadm_in_demote_and_stop_are_got_around_or_failures_and_never_false_successes() {
    for action in ["demote", "stop"] {
        for scene in [|| new("Primary"), || old(PRIMARY)] {
            with_faults(scene, "drbdadm", action, |how, machine, answer| {
                let code = answer.code;
                assert!(matches!(code, Some(SUCCESS | GENERIC)), "{action} {how}: {answer}");
                if !matches!(how, "babbling" | "breaking off" | "leaving a daemon that holds its pipes") {
                    assert!(how.starts_with("hanging") || code == Some(SUCCESS), "{action} {how}: {answer}");
                }
                machine.tool("drbdadm", Tool::Succeeds);
                let state = instance(machine).monitor().code;
                let wanted = if action == "stop" { NOT_RUNNING } else { SUCCESS };
                assert!(code != Some(SUCCESS) || state == Some(wanted), "{action} {how}: {state:?}");
            });
        }
    }
}

#[test]
fn faults_of_drbdsetup_in_monitor_never_make_it_stopped_nor_touch_the_score() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = new("Primary");
        break_tool(&machine, "drbdsetup", behaviour.clone());
        let answer = instance(&machine).timeout_ms(TIMEOUT_MS).monitor();
        assert_eq!(answer.code, Some(8), "{how}: drbdadm knows: {answer}");
        break_tool(&machine, "drbdadm", behaviour);
        for probe in [false, true] {
            let call = instance(&machine).timeout_ms(TIMEOUT_MS);
            let answer = if probe { call.probe() } else { call.monitor() };
            answer.within_ms(TIMEOUT_MS).answers(GENERIC);
        }
        assert!(scores(&machine).is_empty(), "{how}");
    }
}

#[test]
fn faults_of_drbdsetup_in_stop_are_failures_or_true_successes() {
    with_faults(
        || new("Primary"),
        "drbdsetup",
        "stop",
        |how, machine, answer| {
            if answer.code == Some(SUCCESS) {
                let list = std::fs::read_to_string(machine.path("list")).unwrap();
                assert_eq!(list, "exists -\n", "{how}: {answer}");
            } else {
                answer.answers(GENERIC);
            }
        },
    );
}

#[test]
fn faults_of_drbdsetup_in_notify_are_nobody_s_business() {
    let lost = [
        ("Connected role:Secondary", "Connecting role:Unknown"),
        ("peer-disk:UpToDate", "peer-disk:DUnknown"),
    ];
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = crate::scenes::new_with(&crate::scenes::list_9("Secondary", &lost));
        break_tool(&machine, "drbdsetup", behaviour);
        let call = instance(&machine).meta("notify_type", "post").meta("notify_operation", "stop");
        let call = call.meta("notify_promoted_uname", "there").param("stop_outdates_secondary", "true");
        let answer = call.timeout_ms(TIMEOUT_MS).env("HA_LOGFILE", machine.path("tmp/log")).run("notify");
        assert_eq!(answer.code, Some(SUCCESS), "{how}: {answer}");
    }
}

#[test]
fn faults_of_modprobe_are_not_installed() {
    let scene = || {
        let machine = without_module();
        machine.tool("modprobe", Tool::Succeeds);
        machine
    };
    with_faults(scene, "modprobe", "start", |how, machine, answer| {
        answer.answers(INSTALLED).names("kernel module drbd");
        assert!(changes(machine).is_empty(), "{how}");
    });
}

#[test]
fn faults_of_crm_resource_make_no_primary_unexpected() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = old("Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----");
        machine.tool("crm_resource", Tool::Succeeds);
        // What a tool that succeeds without a word says is that nobody is promoted.
        let silent = matches!(how, "breaking off" | "babbling" | "leaving a daemon that holds its pipes");
        break_tool(&machine, "crm_resource", behaviour);
        let call = instance(&machine).param("remove_master_score_if_peer_primary", "unexpected");
        let answer = call.timeout_ms(6000).monitor();
        assert_eq!(answer.code, Some(SUCCESS), "{how}: {answer}");
        if !silent {
            assert_eq!(scores(&machine), ["10000"], "{how}: {answer}");
        }
    }
}

#[test]
fn up_to_8_4_no_broken_tool_of_drbd_s_matters_to_monitor() {
    for tool in ["drbdadm", "drbdsetup"] {
        with_faults(
            || old(SECONDARY),
            tool,
            "monitor",
            |how, machine, answer| {
                assert_eq!(answer.code, Some(SUCCESS), "{tool} {how}: {answer}");
                assert_eq!(scores(machine), ["10000"], "{tool} {how}");
            },
        );
    }
}
