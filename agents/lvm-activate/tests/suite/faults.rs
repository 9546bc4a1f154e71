//! Every tool the agent can run, misbehaving in every way: the code, the time, and the reason.

use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{get, mapped, mode, owned_by, tagged, vg};

/// What the cluster allows the action here.
const TIMEOUT_MS: u64 = 5000;

fn broken(machine: &Sandbox, tool: &str, behaviour: Option<Tool>) {
    match behaviour {
        Some(behaviour) => drop(machine.tool(tool, behaviour)),
        None => drop(std::fs::remove_file(machine.path("usr/sbin").join(tool))),
    }
}

/// Breaks one command of lvm: the others still work.
fn break_command(machine: &Sandbox, word: &str, behaviour: &str) {
    let tool = std::fs::read_to_string(machine.path("usr/sbin/lvm")).unwrap();
    let body = tool.lines().skip(5).collect::<Vec<_>>().join("\n");
    machine.tool("lvm", Tool::Does(format!("case \" $* \" in *\" {word} \"*) {behaviour} ;; esac\n{body}")));
}

/// What one command may do, in the shell's words.
const BEHAVIOURS: [(&str, &str); 8] = [
    ("failing", "echo '  it did not work' >&2; exit 5"),
    ("hanging", "exec sleep 600"),
    ("hanging and ignoring TERM", "trap '' TERM; exec sleep 600"),
    ("babbling", r"printf '\001\377\033[31mocf-exit-reason:\000\n\n%%s' | tee /dev/stderr; exit 0"),
    ("breaking off", "printf '{ \"report\": [ { \"vg\": ['; exit 0"),
    ("killed", "kill -SEGV $$; sleep 5"),
    ("flooding", "head -c 20000000 /dev/zero | tr '\\0' x; exit 0"),
    ("silent", "exit 0"),
];

#[track_caller]
fn in_time(call: &Call, action: &str, how: &str) -> testkit::Answer {
    let answer = call.clone().timeout_ms(TIMEOUT_MS).run(action);
    assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "{how}: too late: {answer}");
    answer
}

#[test]
fn a_broken_lvm_fails_the_start() {
    for (how, behaviour) in Tool::misbehaviours(5) {
        let machine = vg(&["lv1"]);
        broken(&machine, "lvm", behaviour);
        let code = if how == "missing" { INSTALLED } else { GENERIC };
        let answer = in_time(&mode(&machine, "plain"), "start", how).answers(code);
        assert!(
            answer.reason().unwrap().contains(if how == "missing" { "lvm" } else { "vg1" }),
            "{how}: {answer}"
        );
        assert!(how == "missing" || !machine.tool_lives("lvm"), "{how}");
    }
}

#[test]
fn a_broken_report_is_never_read_as_a_group_that_is_not_there() {
    for (how, behaviour) in BEHAVIOURS {
        let machine = vg(&["lv1"]);
        break_command(&machine, "fullreport", behaviour);
        let start = in_time(&mode(&machine, "plain"), "start", how).answers(GENERIC);
        assert!(!start.reason().unwrap().contains("not visible"), "{how}: {start}");
        assert!(mapped(&machine).is_empty());
        let monitor =
            in_time(&mode(&machine, "plain").meta("interval", "10000"), "monitor", how).answers(GENERIC);
        assert!(!monitor.reason().unwrap().contains("vanished"), "{how}: {monitor}");
        mode(&machine, "plain").probe().answers(NOT_RUNNING);
        mode(&machine, "plain").run("stop").answers(SUCCESS);
    }
}

#[test]
fn a_broken_activation_fails_the_start() {
    for (how, behaviour) in BEHAVIOURS {
        for lvname in ["", "lv1"] {
            let machine = vg(&["lv1"]);
            break_command(&machine, "-ay", behaviour);
            in_time(&mode(&machine, "plain").param("lvname", lvname), "start", how).answers(GENERIC);
        }
    }
}

#[test]
fn a_broken_takeover_fails_the_start() {
    for (how, behaviour) in BEHAVIOURS {
        // What says it succeeded is found out by the activation.
        let machine = owned_by("node2");
        break_command(&machine, "--systemid", behaviour);
        in_time(&mode(&machine, "system_id"), "start", how).answers(GENERIC);
        assert_eq!((mapped(&machine).len(), get(&machine, "system_id")), (0, "node2".into()), "{how}");
    }
}

/// The volume is not what it is about until the group is ours.
#[test]
fn a_hanging_script_is_named_for_all_that_it_does() {
    for word in ["--systemid", "--setautoactivation", "-ay"] {
        let machine = owned_by("node2");
        break_command(&machine, word, "trap '' TERM; exec sleep 600");
        let start = in_time(&mode(&machine, "system_id").param("lvname", "lv1"), "start", word);
        start.answers(GENERIC).names("takeover and activation of vg1/lv1: lvm did not end");
        assert!(mapped(&machine).is_empty() && !machine.tool_lives("lvm"), "{word}");
    }
}

/// The cluster kills the agent in the middle of the script: LVM goes with it, and the next start goes on from there.
#[test]
fn a_start_that_was_killed_in_its_script_is_gone_on_with() {
    let machine = owned_by("node2");
    let whole = std::fs::read_to_string(machine.path("usr/sbin/lvm")).unwrap();
    break_command(&machine, "--setautoactivation", "exec sleep 3");
    let mut killed = mode(&machine, "system_id").spawn("start");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while get(&machine, "system_id") != "node1" && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!((get(&machine, "system_id"), mapped(&machine).len()), ("node1".into(), 0));
    let body = whole.lines().skip(5).collect::<Vec<_>>().join("\n");
    machine.tool("lvm", Tool::Does(body));
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!((get(&machine, "autoactivation").as_str(), mapped(&machine).len()), ("", 2));
}

#[test]
fn a_broken_tag_fails_the_start() {
    for (how, behaviour) in BEHAVIOURS {
        let machine = tagged("");
        break_command(&machine, "--addtag", behaviour);
        in_time(&mode(&machine, "tagging"), "start", how).answers(GENERIC);
        assert!(mapped(&machine).is_empty(), "{how}");
    }
}

fn shared() -> Sandbox {
    let machine = vg(&["lv1"]);
    machine.file("lvm/lock_type", "dlm\n").file("proc/501/comm", "lvmlockd\n");
    machine.file("etc/lvm/lvm.conf", "global { use_lvmlockd = 1 }\n");
    machine
}

fn with_configuration(text: &str) -> Sandbox {
    let machine = owned_by("node2");
    machine.file("etc/lvm/lvm.conf", text);
    machine
}

/// What looks before anything is changed, and what gives up the ownership after all is inactive.
#[test]
fn every_other_command_of_lvm_that_breaks_is_a_failure_in_time() {
    type Scene = fn() -> Sandbox;
    let scenes: [(&str, &str, &str, Scene); 6] = [
        ("start", "systemid", "system_id", || {
            with_configuration("global { system_id_source = \"appmachineid\" }\n")
        }),
        ("start", "lvmconfig", "system_id", || with_configuration("tags { hosttags = 1 }\n")),
        ("start", "pvscan", "plain", || {
            let machine = vg(&["lv1"]);
            machine.file("run/lvm/lvmetad.socket", "").file("lvm/name", "other\n");
            machine
        }),
        ("start", "--lockstart", "lvmlockd", shared),
        ("stop", "--lockstop", "lvmlockd", shared),
        ("stop", "--deltag", "tagging", || tagged("")),
    ];
    for (action, word, access, scene) in scenes {
        // These have no answer but their code. LVM itself activates nothing without its locks.
        let can_tell = |how: &str| {
            !word.starts_with("--") || matches!(how, "failing" | "killed") || how.starts_with("hanging")
        };
        // What hangs until it is killed includes what hangs.
        let which = |how: &str| how != "hanging" && can_tell(how);
        for (how, behaviour) in BEHAVIOURS.into_iter().filter(|(how, _)| which(how)) {
            let machine = scene();
            if action == "stop" {
                mode(&machine, access).run("start").answers(SUCCESS);
            }
            break_command(&machine, word, behaviour);
            let answer = mode(&machine, access).timeout_ms(8000).run(action).within_ms(8000);
            assert!(answer.code.is_some_and(|code| code != SUCCESS), "{word} {how}: {answer}");
            assert!(answer.reason().is_some(), "{word} {how}: {answer}");
            assert!(mapped(&machine).is_empty() && !machine.tool_lives("lvm"), "{word} {how}");
        }
    }
}

#[test]
fn a_broken_deactivation_fails_the_stop_of_what_is_active() {
    for (how, behaviour) in BEHAVIOURS {
        let machine = vg(&["lv1"]);
        mode(&machine, "plain").run("start").answers(SUCCESS);
        break_command(&machine, "-an", behaviour);
        let stop = in_time(&mode(&machine, "plain"), "stop", how).answers(GENERIC);
        assert!(stop.reason().unwrap().contains("vg1 is still active"), "{how}: {stop}");
        assert!(!machine.tool_lives("lvm"), "{how}");
    }
}

#[test]
fn a_missing_lvm_fails_the_stop_of_what_is_active() {
    let machine = vg(&["lv1"]);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    broken(&machine, "lvm", None);
    in_time(&mode(&machine, "plain"), "stop", "missing").answers(GENERIC).names("lvm");
}

#[test]
fn a_broken_lvm_does_not_matter_to_monitor_of_what_is_active() {
    for (how, behaviour) in Tool::misbehaviours(5) {
        let machine = vg(&["lv1"]);
        mode(&machine, "plain").run("start").answers(SUCCESS);
        broken(&machine, "lvm", behaviour);
        let answer = in_time(&mode(&machine, "plain").meta("interval", "10000"), "monitor", how);
        answer.answers(SUCCESS);
    }
}

#[test]
fn a_broken_systemctl_or_dmsetup_does_not_decide_anything() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = vg(&["lv1"]);
        machine.folder("run/systemd/system");
        broken(&machine, "systemctl", behaviour.clone());
        broken(&machine, "dmsetup", behaviour);
        mode(&machine, "plain").timeout_ms(8000).run("start").answers(SUCCESS).within_ms(8000);
        std::fs::write(machine.path("lvm/name"), "other\n").unwrap();
        in_time(&mode(&machine, "plain"), "stop", how).answers(GENERIC).names("vg1 is still active");
    }
}
