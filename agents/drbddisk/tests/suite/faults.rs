//! Every tool the agent can run, misbehaving in every way: the code, the time, and the reason.

use testkit::call::{GENERIC, INSTALLED, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{PRIMARY, SECONDARY, new, old, r0};

/// What the cluster allows the action here.
const TIMEOUT_MS: u64 = 5000;

fn break_tool(machine: &Sandbox, tool: &str, behaviour: Option<Tool>) {
    match behaviour {
        Some(behaviour) => drop(machine.tool(tool, behaviour)),
        None => std::fs::remove_file(machine.path("usr/sbin").join(tool)).unwrap(),
    }
}

/// Runs the action with the tool in each state.
#[track_caller]
fn fails(scene: impl Fn() -> Sandbox, tool: &str, action: &str, missing: i32) {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = scene();
        break_tool(&machine, tool, behaviour);
        let answer = r0(&machine).timeout_ms(TIMEOUT_MS).param("tries", "1").run(action);
        let context = format!("{tool} {how}: {answer}");
        let code = if how == "missing" { missing } else { GENERIC };
        assert_eq!(answer.code, Some(code), "{context}");
        assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "too late: {context}");
        if how != "missing" {
            assert!(!machine.tool_lives(tool), "it must not outlive the agent: {context}");
        }
        let reason = answer.answers(code).reason().unwrap_or_default().to_owned();
        assert!(reason.contains("r0") || reason.contains(tool), "names nothing: {context}");
    }
}

#[test]
fn faults_of_drbdadm_in_start() {
    fails(|| old(SECONDARY), "drbdadm", "start", INSTALLED);
    fails(|| new("Secondary"), "drbdadm", "start", INSTALLED);
}

#[test]
fn faults_of_drbdadm_in_stop_are_got_around_where_the_kernel_s_tool_can() {
    let scenes = [|| old(PRIMARY), || new("Primary")];
    let each =
        scenes.iter().flat_map(|scene| Tool::misbehaviours(20).into_iter().map(move |fault| (scene, fault)));
    for (scene, (how, behaviour)) in each {
        let machine = scene();
        break_tool(&machine, "drbdadm", behaviour);
        let answer = r0(&machine).timeout_ms(TIMEOUT_MS).run("stop");
        // A success that is none is the one thing that is not got around: it is found out.
        let around = !matches!(how, "babbling" | "breaking off" | "leaving a daemon that holds its pipes");
        assert_eq!(answer.code, Some(if around { SUCCESS } else { GENERIC }), "{how}: {answer}");
        assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "{how}: {answer}");
    }
}

/// drbdadm still makes the change and tells the role, and no answer is given that is not true.
#[test]
fn faults_of_drbdsetup_in_start_and_stop_of_9_are_got_around() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        for (action, before, after) in [("start", "Secondary", "Primary"), ("stop", "Primary", "Secondary")] {
            let machine = new(before);
            break_tool(&machine, "drbdsetup", behaviour.clone());
            // Each look at what hangs costs a third of the time that is left.
            let answer = r0(&machine).timeout_ms(8000).run(action);
            assert_eq!(answer.code, Some(SUCCESS), "{action}, drbdsetup {how}: {answer}");
            let list = std::fs::read_to_string(machine.path("list")).unwrap();
            assert!(list.contains(&format!("name:r0 role:{after}")), "{action}, drbdsetup {how}: {list}");
        }
    }
}

/// No attempt is made to use what could not be brought up, and nothing that is left is taken for an answer.
#[test]
fn faults_of_drbdadm_while_the_resource_is_brought_up_are_failures() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = crate::scenes::new_down();
        break_tool(&machine, "drbdadm", behaviour);
        let call = r0(&machine).param("adjust", "yes").param("tries", "1").timeout_ms(TIMEOUT_MS);
        let answer = call.run("start");
        let code = if how == "missing" { INSTALLED } else { GENERIC };
        assert_eq!(answer.code, Some(code), "drbdadm {how}: {answer}");
        assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "drbdadm {how}: {answer}");
    }
}

/// With the list unreadable, drbdadm has the last word; with both broken, nobody knows.
#[test]
fn faults_of_drbdsetup_in_monitor_of_9_are_never_stopped() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = new("Primary");
        break_tool(&machine, "drbdsetup", behaviour.clone());
        let answer = r0(&machine).timeout_ms(TIMEOUT_MS).monitor();
        assert_eq!(answer.code, Some(SUCCESS), "{how}: drbdadm knows: {answer}");
        break_tool(&machine, "drbdadm", behaviour);
        for answer in
            [r0(&machine).timeout_ms(TIMEOUT_MS).monitor(), r0(&machine).timeout_ms(TIMEOUT_MS).probe()]
        {
            assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "{how}: {answer}");
            answer.answers(GENERIC);
        }
    }
}

#[test]
fn up_to_8_4_no_broken_tool_matters_to_monitor() {
    for (how, behaviour) in Tool::misbehaviours(20) {
        let machine = old(PRIMARY);
        break_tool(&machine, "drbdsetup", behaviour.clone());
        break_tool(&machine, "drbdadm", behaviour);
        let answer = r0(&machine).monitor();
        assert_eq!(answer.code, Some(SUCCESS), "{how}: {answer}");
    }
}

/// A list that is cut at any line is never a smaller state.
#[test]
fn a_list_that_is_cut_off_is_never_stopped() {
    let whole = crate::scenes::list_9("Primary", &[]);
    let lines: Vec<&str> = whole.lines().collect();
    for end in 0..lines.len() {
        let machine = new("Primary");
        let part: String = lines[..end].iter().map(|line| format!("{line}\n")).collect();
        machine.file("cut", part).tool("drbdsetup", Tool::Does("cat \"$OCF_TEST_ROOT/cut\"".into()));
        break_tool(&machine, "drbdadm", Some(Tool::Fails(20, "no")));
        r0(&machine).monitor().answers(GENERIC);
    }
}

#[test]
fn a_primary_that_hangs_like_real_drbd_after_a_peer_s_death_is_waited_for() {
    let machine = old(SECONDARY);
    let tool = std::fs::read_to_string(machine.path("usr/sbin/drbdadm")).unwrap();
    let body = tool.lines().skip(5).collect::<Vec<_>>().join("\n");
    machine.tool("drbdadm", Tool::Does(format!("sleep 2.3\n{body}")));
    r0(&machine).run("start").answers(SUCCESS);
}
