//! gnbd: its tools' arguments, its list, clients that hold on, and what is stopped with the last export.

use testkit::Tool;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::gnbd_suite::{CHILD, SERVER, connect_client, machine, r0};

#[test]
fn an_export_is_started_seen_and_stopped_with_its_server() {
    let Some(here) = machine() else { return };
    let (r0, sandbox) = (r0(&here), &here.sandbox);
    r0.probe().answers(NOT_RUNNING);
    assert!(
        sandbox.calls("gnbd_export").is_empty(),
        "without a server nothing is exported, and nobody need be asked"
    );
    r0.run("start").answers(SUCCESS);
    assert_eq!(sandbox.calls("gnbd_serv"), [["-n"]]);
    assert!(
        sandbox
            .calls("gnbd_export")
            .contains(&["-e", "r0", "-d", "/dev/drbd0", "-c"].map(String::from).to_vec())
    );
    r0.monitor().answers(SUCCESS);
    r0.clone().level(10).monitor().answers(SUCCESS);
    r0.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    assert_eq!(sandbox.calls("gnbd_serv").last().unwrap(), &["-k"]);
    r0.monitor().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
}

#[test]
fn every_parameter_reaches_the_tools() {
    let Some(here) = machine() else { return };
    here.sandbox.file("gnbd/cman", "");
    let uncached = r0(&here).param("cached", "no").param("gnbd_timeout", "30").param("readonly", "yes");
    let uncached = uncached.param("port", "14568");
    uncached.run("start").answers(SUCCESS);
    assert_eq!(here.sandbox.calls("gnbd_serv"), [["-p", "14568"]]);
    let words = ["-e", "r0", "-d", "/dev/drbd0", "-o", "-t", "30"].map(String::from).to_vec();
    assert!(here.sandbox.calls("gnbd_export").contains(&words), "{:?}", here.sandbox.calls("gnbd_export"));
    uncached.monitor().answers(SUCCESS);
}

/// Recorded: an export without -c wants the cluster manager of its time.
#[test]
fn a_server_that_does_not_start_is_told_and_nothing_stays() {
    let Some(here) = machine() else { return };
    r0(&here).param("cached", "no").run("start").answers(GENERIC).names("cluster manager");
}

#[test]
fn device_size_and_mode_are_compared_with_the_list() {
    for (from, to, word) in [
        ("/dev/drbd0", "/dev/sdz", "/dev/sdz"),
        ("32768", "16", "16 sectors"),
        ("readonly : no", "readonly : yes", "reading only"),
        ("cached : yes", "cached : no", "cached"),
    ] {
        let Some(here) = machine() else { return };
        let r0 = r0(&here);
        r0.run("start").answers(SUCCESS);
        let file = here.sandbox.path("gnbd/exports/r0");
        let text = std::fs::read_to_string(&file).unwrap().replace(from, to);
        std::fs::write(&file, text).unwrap();
        r0.monitor().answers(GENERIC).names(word);
        r0.run("start").answers(GENERIC).names(word);
        r0.run("stop").answers(SUCCESS);
        assert!(!file.exists());
    }
}

#[test]
fn clients_that_hold_on_are_cut_off_after_the_drain_or_fail_the_stop() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    connect_client(&here.sandbox, "r0");
    r0.clone().param("force_stop", "no").run("stop").answers(GENERIC).names("without force");
    r0.monitor().answers(SUCCESS);
    let began = std::time::Instant::now();
    r0.clone().param("drain_timeout", "1").run("stop").answers(SUCCESS);
    assert!(began.elapsed().as_millis() >= 500, "clients have their time");
    let calls = here.sandbox.calls("gnbd_export");
    let polite = calls.iter().position(|call| call == &["-r", "r0"]).unwrap();
    let force = calls.iter().position(|call| call == &["-O", "-r", "r0"]).unwrap();
    assert!(polite < force);
}

/// What keeps DRBD from being demoted is not the list, but the child that has the device open.
#[test]
fn a_child_that_keeps_the_device_open_is_never_a_stop() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here).timeout_ms(4000);
    r0.run("start").answers(SUCCESS);
    connect_client(&here.sandbox, "r0");
    here.sandbox.file("gnbd/stubborn", "");
    r0.run("stop").answers(GENERIC).within_ms(4000).names(format!("gnbd_serv[{CHILD}] still holds"));
    r0.monitor().answers(GENERIC).names(CHILD.to_string());
    std::fs::remove_dir_all(here.sandbox.path(format!("proc/{CHILD}"))).unwrap();
    r0.run("stop").answers(SUCCESS);
    r0.monitor().answers(NOT_RUNNING);
}

#[test]
fn children_without_their_server_are_neither_running_nor_stopped() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here).timeout_ms(4000);
    r0.run("start").answers(SUCCESS);
    connect_client(&here.sandbox, "r0");
    std::fs::remove_dir_all(here.sandbox.path(format!("proc/{SERVER}"))).unwrap();
    r0.monitor().answers(GENERIC).names("holds the device");
    r0.run("stop").answers(GENERIC).names("still holds");
    std::fs::remove_dir_all(here.sandbox.path(format!("proc/{CHILD}"))).unwrap();
    r0.monitor().answers(NOT_RUNNING);
}

/// Its number in the file is old, or half written: it is dead only if it does not answer either.
#[test]
fn a_server_with_another_number_in_its_file_is_asked_all_the_same() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    here.sandbox.file("var/run/gnbd/gnbd_serv.pid", "419\n");
    r0.monitor().answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    assert!(!here.sandbox.path("gnbd/exports/r0").exists());
}

/// The kernel takes a process's arguments and its list of files away before it closes them.
#[test]
fn a_child_that_is_dying_is_waited_for_and_never_a_stop() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here).timeout_ms(4000);
    for (state, code) in [("D", GENERIC), ("Z", SUCCESS)] {
        r0.run("start").answers(SUCCESS);
        here.sandbox
            .file(&format!("proc/{CHILD}/comm"), "gnbd_serv\n")
            .file(&format!("proc/{CHILD}/cmdline"), "");
        here.sandbox.file(&format!("proc/{CHILD}/stat"), format!("{CHILD} (gnbd_serv) {state} 1 1 1\n"));
        r0.run("stop").within_ms(4000).answers(code);
        std::fs::remove_dir_all(here.sandbox.path(format!("proc/{CHILD}"))).unwrap();
    }
}

#[test]
fn a_list_with_a_failure_behind_it_is_not_believed() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    here.sandbox.tool("gnbd_export", Tool::Does("echo 'no exported GNBDs'; exit 1".into()));
    r0.monitor().answers(GENERIC);
    r0.probe().answers(GENERIC);
    r0.run("stop").answers(GENERIC);
}

#[test]
fn a_list_too_long_to_be_kept_is_never_a_shorter_list() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    let body = "for n in $(seq 2600); do printf 'Server[%s] : e%s\\n      file : /dev/sda\\n   sectors : 8\\n  readonly : no\\n    cached : yes\\n   timeout : no\\n\\n' $n $n; done";
    here.sandbox.tool("gnbd_export", Tool::Does(body.into()));
    r0.monitor().answers(GENERIC).names("too long");
}

#[test]
fn an_export_that_was_withdrawn_by_force_is_cleared_by_start() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    here.sandbox.file("gnbd/invalid", "");
    r0.monitor().answers(GENERIC).names("not gone yet");
    std::fs::remove_file(here.sandbox.path("gnbd/invalid")).unwrap();
    r0.run("stop").answers(SUCCESS);
}

#[test]
fn tools_that_are_missing_mean_stopped_only_without_a_server() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    std::fs::remove_file(here.sandbox.path("usr/sbin/gnbd_export")).unwrap();
    r0.monitor().answers(GENERIC).names("gnbd_export");
    r0.probe().answers(GENERIC).names("gnbd_serv runs");
    r0.run("stop").answers(GENERIC).names("gnbd_export");
    std::fs::remove_dir_all(here.sandbox.path(format!("proc/{SERVER}"))).unwrap();
    r0.probe().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
    r0.run("start").answers(INSTALLED).names("gnbd_export");
}

#[test]
fn whom_gnbd_cannot_refuse_it_does_not_serve() {
    let Some(here) = machine() else { return };
    here.bare("gnbd").param("allow", "10.0.0.1").run("start").answers(CONFIGURED).names("allow");
    here.bare("gnbd").param("listen", "10.0.0.1").run("start").answers(CONFIGURED).names("listen");
    here.bare("gnbd").param("allow", "any").run("start").answers(SUCCESS);
}

/// Runs the action with the tool in each state; `good` are the states that do not matter to it.
#[track_caller]
fn fails(tool: &str, action: &str, running: bool, good: &[&str]) {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let Some(here) = machine() else { return };
        let r0 = r0(&here).timeout_ms(3000);
        if running {
            r0.run("start").answers(SUCCESS);
        }
        match behaviour {
            Some(behaviour) => drop(here.sandbox.tool(tool, behaviour)),
            None => std::fs::remove_file(here.sandbox.path("usr/sbin").join(tool)).unwrap(),
        }
        let answer = if action == "monitor" { r0.monitor() } else { r0.run(action) };
        let context = format!("{tool} {how}: {answer}");
        let answer = answer.within_ms(3000);
        if how != "missing" {
            assert!(!here.sandbox.tool_lives(tool), "it must not outlive the agent: {context}");
        }
        if good.contains(&how) {
            assert_eq!(answer.code, Some(SUCCESS), "{context}");
        } else {
            let code = if how == "missing" && action == "start" { INSTALLED } else { GENERIC };
            answer.answers(code);
        }
    }
}

#[test]
fn faults_of_gnbd_export_in_monitor_are_never_stopped() {
    fails("gnbd_export", "monitor", true, &[]);
}

#[test]
fn faults_of_gnbd_export_in_start() {
    fails("gnbd_export", "start", false, &[]);
}

#[test]
fn faults_of_gnbd_export_in_stop() {
    fails("gnbd_export", "stop", true, &[]);
}

#[test]
fn faults_of_gnbd_serv_in_start() {
    fails("gnbd_serv", "start", false, &[]);
}

/// The export is gone and nothing holds the device: that its server stays is worth a line, and no more.
#[test]
fn a_server_that_does_not_end_does_not_fail_the_stop() {
    let Some(here) = machine() else { return };
    let r0 = r0(&here);
    r0.run("start").answers(SUCCESS);
    here.sandbox.tool("gnbd_serv", Tool::Fails(1, "cannot stop"));
    let answer = r0.run("stop").answers(SUCCESS);
    assert!(answer.stderr.contains("stays"), "{answer}");
    r0.monitor().answers(NOT_RUNNING);
}
