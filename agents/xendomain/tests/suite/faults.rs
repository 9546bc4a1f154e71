//! Every tool and xenstored itself, misbehaving in every way: the code, the time, the reason, and what is left.

use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{bare, block, changes, config, domains, node, only_xm, peer, put, web};
use crate::xenstored::{Manner, serve};

/// What the cluster allows the action here.
const TIMEOUT_MS: u64 = 6000;

pub(crate) fn break_tool(machine: &Sandbox, tool: &str, behaviour: Option<Tool>) {
    match behaviour {
        Some(behaviour) => drop(machine.tool(tool, behaviour)),
        None => std::fs::remove_file(machine.path("usr/sbin").join(tool)).unwrap(),
    }
}

/// A guest that runs is never stopped because its tool is broken.
#[test]
fn faults_of_xl_in_monitor_are_never_stopped_and_never_running() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        for machine in [node(), bare()] {
            put(&machine, 3, "web", "-b----");
            break_tool(&machine, "xl", behaviour.clone());
            let call = web(&machine).timeout_ms(TIMEOUT_MS);
            for answer in [call.monitor(), call.probe()] {
                assert_eq!(answer.code, Some(GENERIC), "{how}: {answer}");
                answer.answers(GENERIC).names("unknown").within_ms(TIMEOUT_MS);
            }
            assert!(how == "missing" || !machine.tool_lives("xl"), "{how}: it must not outlive the agent");
        }
    }
}

#[test]
fn an_absent_guest_is_stopped_whatever_becomes_of_xl_while_xenstored_answers() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = node();
        break_tool(&machine, "xl", behaviour);
        let call = web(&machine).timeout_ms(TIMEOUT_MS);
        assert_eq!(call.monitor().code, Some(NOT_RUNNING), "{how}");
        assert_eq!(call.run("stop").code, Some(SUCCESS), "{how}");
    }
}

#[test]
fn faults_of_xl_in_start() {
    for (how, behaviour) in Tool::misbehaviours(3) {
        let machine = node();
        break_tool(&machine, "xl", behaviour);
        let answer = web(&machine).timeout_ms(TIMEOUT_MS).run("start").within_ms(TIMEOUT_MS);
        let code = if how == "missing" { INSTALLED } else { GENERIC };
        assert_eq!(answer.code, Some(code), "{how}: {answer}");
        answer.answers(code);
        assert!(domains(&machine).is_empty(), "{how}");
    }
}

#[test]
fn faults_of_xl_in_stop() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = node();
        put(&machine, 3, "web", "-b----");
        break_tool(&machine, "xl", behaviour);
        let answer = web(&machine).timeout_ms(TIMEOUT_MS).run("stop").within_ms(TIMEOUT_MS);
        assert_eq!(answer.code, Some(GENERIC), "{how}: {answer}");
        answer.answers(GENERIC).names("web");
    }
}

/// The old tool is no better.
#[test]
fn faults_of_xm_are_those_of_xl() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        // Without either tool it is the same as without xl.
        if behaviour.is_none() {
            continue;
        }
        for socket in [true, false] {
            let machine = if socket { node() } else { bare() };
            only_xm(&machine);
            put(&machine, 3, "web", "-b----");
            break_tool(&machine, "xm", behaviour.clone());
            let call = web(&machine).timeout_ms(TIMEOUT_MS);
            for answer in [call.monitor(), call.probe(), call.run("stop")] {
                assert_eq!(answer.code, Some(GENERIC), "{how}: {answer}");
                answer.answers(GENERIC).names("web").within_ms(TIMEOUT_MS);
            }
        }
        let machine = node();
        only_xm(&machine);
        break_tool(&machine, "xm", behaviour);
        web(&machine).timeout_ms(TIMEOUT_MS).run("start").answers(GENERIC).within_ms(TIMEOUT_MS);
        assert!(domains(&machine).is_empty(), "{how}");
    }
}

#[test]
fn faults_of_ssh_are_an_unknown_peer() {
    for (how, behaviour) in Tool::misbehaviours(255) {
        let machine = node();
        peer(&machine, &[]);
        break_tool(&machine, "ssh", behaviour);
        let call = web(&machine).timeout_ms(TIMEOUT_MS).param("peers", "node2");
        let answer = call.run("start").within_ms(TIMEOUT_MS);
        assert_eq!(answer.code, Some(GENERIC), "{how}: {answer}");
        answer.answers(GENERIC).names("unknown");
        assert!(changes(&machine).is_empty(), "{how}");
        let answer = call.timeout_ms(8000).param("peer_unknown", "allow").run("start");
        assert_eq!(answer.code, Some(SUCCESS), "{how}: {answer}");
    }
}

/// What drbdadm says of the disk below decides, and nothing else knows it.
#[test]
fn faults_of_drbdadm_with_a_disk_that_may_be_below_drbd() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = node();
        block(&machine, "dev/vg0/web", 8, 7);
        config(&machine, "phy:/dev/vg0/web,xvda,w");
        machine.file("proc/drbd", "version: 8.4.11 (api:1/proto:86-101)\n").folder("sys/module/drbd");
        machine.tool("drbdadm", Tool::Succeeds);
        break_tool(&machine, "drbdadm", behaviour);
        let answer = web(&machine).timeout_ms(TIMEOUT_MS).run("start").within_ms(TIMEOUT_MS);
        // No words are an empty configuration: whether the disk is claimed by something is looked at besides, on a
        // real machine.
        let said_nothing = how == "leaving a daemon that holds its pipes";
        assert_eq!(answer.code, Some(if said_nothing { SUCCESS } else { GENERIC }), "{how}: {answer}");
    }
}

#[test]
fn a_script_of_the_administrator_s_fails_monitor_and_a_hung_one_too() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = node();
        put(&machine, 3, "web", "-b----");
        machine.tool_at("opt/look", Tool::Succeeds);
        let call = web(&machine).timeout_ms(TIMEOUT_MS).param("monitor_scripts", "/opt/look");
        call.monitor().answers(SUCCESS);
        match behaviour {
            Some(behaviour) => drop(machine.tool_at("opt/look", behaviour)),
            None => std::fs::remove_file(machine.path("opt/look")).unwrap(),
        }
        let answer = call.monitor().within_ms(TIMEOUT_MS);
        let well = ["babbling", "breaking off", "leaving a daemon that holds its pipes"].contains(&how);
        assert_eq!(answer.code, Some(if well { SUCCESS } else { GENERIC }), "{how}: {answer}");
        // A probe only asks whether the guest is there.
        call.probe().answers(SUCCESS);
    }
}

#[test]
fn faults_of_xenstored_are_errors_in_time() {
    for manner in [
        Manner::Silent,
        Manner::Full,
        Manner::Babbles,
        Manner::Promises,
        Manner::BreaksOff,
        Manner::Dribbles,
        Manner::Confused,
        Manner::Refuses,
    ] {
        let machine = bare();
        put(&machine, 3, "web", "-b----");
        serve(machine.root(), manner);
        for action in ["monitor", "start", "stop"] {
            let answer = web(&machine).timeout_ms(TIMEOUT_MS).run(action).within_ms(TIMEOUT_MS);
            assert_eq!(answer.code, Some(GENERIC), "{manner:?} {action}: {answer}");
            answer.answers(GENERIC).names("xenstored");
        }
        assert!(changes(&machine).is_empty(), "{manner:?}");
    }
}

#[test]
fn more_domains_than_fit_in_an_answer_are_read_in_parts() {
    for present in [false, true] {
        let machine = bare();
        for id in 10..20 {
            put(&machine, id, &format!("guest{id}"), "-b----");
        }
        if present {
            put(&machine, 21, "web", "-b----");
        }
        serve(machine.root(), Manner::InParts);
        web(&machine).monitor().answers(if present { SUCCESS } else { NOT_RUNNING });
    }
}

/// A list that is cut behind a line is a list; but xenstored knows better.
#[test]
fn a_list_without_a_domain_that_xenstored_knows_is_no_answer() {
    let machine = node();
    put(&machine, 3, "web", "-b----");
    machine.file("domains", "0 Domain-0 r-----\n");
    web(&machine).monitor().answers(GENERIC).names("disagree");
}
