//! Every tool the agent can run, misbehaving in every way: the code, the time, and the reason.

use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{container, ct101, node, openvz_node, running, virtuozzo_node};

/// What the cluster allows the action here.
const TIMEOUT_MS: u64 = 5000;

fn break_tool(machine: &Sandbox, tool: &str, behaviour: Option<Tool>) {
    match behaviour {
        Some(behaviour) => drop(machine.tool(tool, behaviour)),
        None => std::fs::remove_file(machine.path("usr/sbin").join(tool)).unwrap(),
    }
}

/// Runs the action with the tool in each state. What is missing is `missing`, all else a failure.
#[track_caller]
fn fails(
    scene: impl Fn() -> Sandbox,
    call: impl Fn(&Sandbox) -> Call,
    tool: &str,
    action: &str,
    missing: i32,
) {
    for (how, behaviour) in Tool::misbehaviours(7) {
        let machine = scene();
        break_tool(&machine, tool, behaviour);
        let answer = call(&machine).timeout_ms(TIMEOUT_MS).run(action);
        let context = format!("{tool} {how}: {answer}");
        let code = if how == "missing" { missing } else { GENERIC };
        assert_eq!(answer.code, Some(code), "{context}");
        if how != "missing" {
            assert!(!machine.tool_lives(tool), "it must not outlive the agent: {context}");
        }
        let reason = answer.within_ms(TIMEOUT_MS).answers(code).reason().unwrap_or_default().to_owned();
        assert!(
            reason.contains("101") || reason.contains("vm1") || reason.contains(tool),
            "names nothing: {context}"
        );
    }
}

fn recurring(machine: &Sandbox) -> Call {
    ct101(machine).meta("interval", "10000")
}

#[test]
fn faults_of_vzctl_in_monitor_are_never_stopped() {
    fails(node, recurring, "vzctl", "monitor", INSTALLED);
    fails(|| running(node()), recurring, "vzctl", "monitor", INSTALLED);
}

#[test]
fn faults_of_vzctl_in_a_probe_are_never_stopped_unless_it_is_missing() {
    for (how, behaviour) in Tool::misbehaviours(7) {
        let machine = node();
        break_tool(&machine, "vzctl", behaviour);
        // A kernel of OpenVZ's that does not tell: something may run.
        ct101(&machine).timeout_ms(TIMEOUT_MS).probe().within_ms(TIMEOUT_MS).answers(GENERIC);
        std::fs::remove_dir(machine.path("proc/vz")).unwrap();
        let code = if how == "missing" { NOT_RUNNING } else { GENERIC };
        ct101(&machine).timeout_ms(TIMEOUT_MS).probe().within_ms(TIMEOUT_MS).answers(code);
    }
}

#[test]
fn with_a_table_of_the_kernel_s_no_broken_vzctl_matters_to_monitor() {
    for (how, behaviour) in Tool::misbehaviours(7) {
        for (machine, code) in [(running(openvz_node()), SUCCESS), (openvz_node(), NOT_RUNNING)] {
            break_tool(&machine, "vzctl", behaviour.clone());
            let answer = recurring(&machine).run("monitor");
            assert_eq!(answer.code, Some(code), "{how}: {answer}");
        }
    }
}

#[test]
fn faults_of_vzctl_in_depth_10() {
    for (how, behaviour) in Tool::misbehaviours(7) {
        let machine = running(openvz_node());
        break_tool(&machine, "vzctl", behaviour);
        let answer =
            recurring(&machine).level(10).timeout_ms(TIMEOUT_MS).run("monitor").within_ms(TIMEOUT_MS);
        // A command that succeeds has no output, so that only the exit code counts.
        let succeeds = matches!(how, "babbling" | "breaking off" | "leaving a daemon that holds its pipes");
        let missing = how == "missing";
        let code = if succeeds {
            SUCCESS
        } else if missing {
            INSTALLED
        } else {
            GENERIC
        };
        assert_eq!(answer.code, Some(code), "{how}: {answer}");
    }
}

#[test]
fn faults_of_vzctl_in_start() {
    fails(node, ct101, "vzctl", "start", INSTALLED);
    fails(openvz_node, ct101, "vzctl", "start", INSTALLED);
}

#[test]
fn faults_of_vzctl_in_stop() {
    fails(|| running(node()), ct101, "vzctl", "stop", INSTALLED);
    fails(|| running(openvz_node()), ct101, "vzctl", "stop", INSTALLED);
}

#[test]
fn faults_of_vzctl_in_migrations() {
    let by_dump = |machine: &Sandbox| ct101(machine).param("migrate_mode", "chkpnt");
    fails(|| running(openvz_node()), by_dump, "vzctl", "migrate_to", INSTALLED);
    let arrived = || {
        let machine = running(openvz_node());
        by_dump(&machine).run("migrate_to").answers(SUCCESS);
        machine.file("proc/sys/kernel/hostname", "node2\n");
        machine
    };
    fails(arrived, by_dump, "vzctl", "migrate_from", INSTALLED);
}

#[test]
fn faults_of_vzmigrate() {
    let scene = || {
        let machine = running(openvz_node());
        machine.tool("vzmigrate", Tool::Succeeds);
        machine
    };
    let by_ssh =
        |machine: &Sandbox| ct101(machine).param("migrate_mode", "vzmigrate").meta("migrate_target", "node2");
    fails(scene, by_ssh, "vzmigrate", "migrate_to", INSTALLED);
}

#[test]
fn faults_of_prlctl() {
    let vm = |machine: &Sandbox| container(machine, "vm1").param("tool", "prlctl").meta("interval", "10000");
    let scene = || virtuozzo_node("VM", "running");
    fails(scene, vm, "prlctl", "monitor", INSTALLED);
    fails(|| virtuozzo_node("VM", "stopped"), vm, "prlctl", "start", INSTALLED);
    fails(scene, vm, "prlctl", "stop", INSTALLED);
}

#[test]
fn a_vzctl_that_floods_its_outputs_is_not_believed_and_does_not_hang_the_agent() {
    let machine = node();
    let flood =
        "yes 'CTID 101' | head -c 5000000; yes x | head -c 5000000 >&2; echo CTID 101 exist unmounted down";
    machine.tool("vzctl", Tool::Does(flood.into()));
    recurring(&machine).run("monitor").within_ms(5000).answers(GENERIC).names("101");
}

/// The table of the kernel cut at any byte is never a smaller table.
#[test]
fn a_table_that_is_cut_off_is_never_stopped() {
    let table =
        "         0     0   120\n       102     0     9  10.0.0.2\n       101     0    21  10.0.0.1\n";
    for end in 0..table.len() {
        let machine = node();
        machine.file("proc/vz/veinfo", &table[..end]).tool("vzctl", Tool::Fails(3, "no"));
        let answer = recurring(&machine).run("monitor");
        let whole_lines = table[..end].ends_with('\n') && end > 0;
        if !whole_lines && !table[..end].contains(" 101 ") {
            assert_eq!(answer.code, Some(GENERIC), "{end}: {answer}");
        }
    }
}
