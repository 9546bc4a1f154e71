//! Bad and hostile parameters: code 6, a sentence that names the parameter, and nothing changed.

use testkit::call::{CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::sandbox::NODE;
use testkit::{Call, Sandbox};

use crate::scenes::{disk, mounted_network, network};

/// Values that a start and a validation refuse, though a monitor or a stop can do without them.
const REFUSED: [(&str, &str); 25] = [
    ("run_fsck", "maybe"),
    ("run_fsck", "yes"),
    ("run_fsck", "-a"),
    ("fast_stop", "perhaps"),
    ("fast_stop", "Yes"),
    ("force_clones", "2"),
    ("force_clones", "true false"),
    ("check_readonly", "y"),
    ("lazy_unmount", "enabled"),
    ("term_signals", "NOSUCH"),
    ("term_signals", "TERM,HUP"),
    ("term_signals", "-9"),
    ("kill_signals", "99"),
    ("kill_signals", "KILL;id"),
    ("signal_delay", "soon"),
    ("signal_delay", "-1"),
    ("signal_delay", "1x"),
    ("signal_delay", "$(touch x)"),
    ("options", "rw noatime"),
    ("options", "rw\n-o suid"),
    ("options", "rw\t--bind"),
    ("device", "-oProxyCommand=x"),
    ("device", "--bind"),
    ("device", "-a"),
    ("device", "-"),
];

#[track_caller]
fn refused(machine: &Sandbox, data: &Call, name: &str, value: &str) {
    let bad = data.clone().param(name, value);
    let before = machine.snapshot();
    for action in ["validate-all", "start"] {
        let answer = bad.run(action).answers(CONFIGURED).names(name);
        let readable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.len() < 40;
        assert!(!readable || answer.reason().unwrap().contains(value), "{name}={value:?}: {answer}");
    }
    assert_eq!(machine.snapshot(), before, "{name}={value:?}");
}

#[test]
fn a_bad_value_is_refused_with_its_name_and_nothing_changes() {
    let (machine, data) = network();
    for (name, value) in REFUSED {
        refused(&machine, &data, name, value);
    }
}

#[test]
fn a_bad_value_is_refused_on_a_disk_too() {
    let Some((machine, data)) = disk() else { return };
    for (name, value) in REFUSED {
        refused(&machine, &data, name, value);
    }
}

#[test]
fn a_running_resource_survives_a_value_that_monitor_and_stop_do_not_need() {
    let (_machine, running) = mounted_network();
    let (_empty, stopped) = network();
    for (name, value) in REFUSED.into_iter().filter(|(name, _)| *name != "device") {
        running.clone().param(name, value).monitor().exits(SUCCESS);
        stopped.clone().param(name, value).monitor().exits(NOT_RUNNING);
        stopped.clone().param(name, value).run("stop").exits(SUCCESS);
    }
}

#[test]
fn the_reason_says_what_would_be_accepted() {
    let (_machine, data) = network();
    let accepted =
        [("run_fsck", "maybe", "force"), ("fast_stop", "perhaps", "yes"), ("check_readonly", "maybe", "yes")];
    for (name, value, word) in accepted {
        data.clone().param(name, value).run("validate-all").answers(CONFIGURED).names(word);
    }
}

#[test]
fn every_spelling_of_a_boolean_that_is_known() {
    let (_machine, data) = network();
    for value in ["yes", "true", "1", "YES", "TRUE", "True", "ja", "on", "ON"] {
        data.clone().param("force_clones", value).run("validate-all").answers(SUCCESS);
    }
    for value in ["no", "false", "0", "NO", "FALSE", "False", "nein", "off", "OFF", ""] {
        data.clone().param("fast_stop", value).run("validate-all").answers(SUCCESS);
    }
}

#[test]
fn unknown_words_of_force_unmount_are_ignored() {
    let (_machine, data) = network();
    for value in ["sometimes", "true,sometimes", "No", ""] {
        data.clone().param("force_unmount", value).run("validate-all").answers(SUCCESS);
    }
}

#[test]
fn unknown_parameters_are_ignored() {
    let (machine, data) = network();
    let before = machine.snapshot();
    let odd = ["no_such", "DEVICE", "device_", "trace_dirt", "pcmk_external_ip", "x-y", "LD_PRELOAD", "PATH"];
    for name in odd {
        data.clone().param(name, "--x; touch /tmp/x").run("validate-all").answers(SUCCESS);
        data.clone().param(name, "").probe().answers(NOT_RUNNING);
    }
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn a_value_of_a_mebibyte_is_answered_quickly() {
    // One variable may have 128 KiB at most in the kernel, so eight of them make the mebibyte.
    let huge = "x".repeat(120 * 1024);
    let (machine, data) = network();
    let before = machine.snapshot();
    for name in ["device", "directory", "fstype", "options", "run_fsck", "statusfile_prefix", "term_signals"]
    {
        let answer = data.clone().param(name, &huge).run("validate-all").within_ms(2000);
        assert!(matches!(answer.code, Some(SUCCESS | CONFIGURED)), "{name}: {}", answer.stderr.len());
        assert!(answer.reason().is_none_or(|reason| reason.len() <= 128), "{name}");
        data.clone().param(name, &huge).probe().within_ms(2000);
    }
    let everything = ["fstype", "options", "run_fsck", "statusfile_prefix", "term_signals", "a", "b", "c"];
    let all = everything.iter().fold(data, |data, name| data.param(name, &huge));
    all.run("start").answers(CONFIGURED).within_ms(2000);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn bytes_that_are_no_text_are_refused_or_taken_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = std::ffi::OsStr::from_bytes(b"\x01\xff\x1b[31m\x7f");
    let (machine, data) = network();
    for name in ["run_fsck", "fast_stop", "term_signals", "signal_delay"] {
        data.clone().param(name, bytes).run("validate-all").answers(CONFIGURED).names(name);
    }
    data.clone().param("device", bytes).probe().answers(NOT_RUNNING);
    data.clone().param("force_unmount", bytes).run("validate-all").answers(SUCCESS);
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn a_directory_must_be_absolute() {
    let (machine, data) = network();
    for directory in ["mnt/data", ".", "..", "-mnt"] {
        refused(&machine, &data, "directory", directory);
    }
}

#[test]
fn nothing_in_a_parameter_is_ever_run_by_a_shell() {
    let (machine, data) = network();
    let trap = format!("$(touch {0}/hit);`touch {0}/hit`|touch {0}/hit;", machine.path("tmp").display());
    let named = trap.replace(' ', "${IFS}");
    for name in ["device", "options", "fstype", "statusfile_prefix", "directory"] {
        let value = if name == "directory" { format!("/mnt/{named}") } else { named.clone() };
        data.clone().param(name, &value).run("start");
        data.clone().param(name, &value).monitor();
        data.clone().param(name, &value).run("stop");
    }
    data.env("OCF_RESOURCE_INSTANCE", &trap).level(20).monitor();
    assert!(!machine.path("tmp/hit").exists());
}

#[test]
fn options_reach_the_tool_as_one_word() {
    let (machine, data) = network();
    data.param("options", "soft,timeo=5,nosuid").run("start").answers(SUCCESS);
    let calls = machine.calls("mount");
    assert_eq!(calls, [["-t", "nfs", "-o", "soft,timeo=5,nosuid", "--", "server:/export", "/mnt/data"]]);
}

#[test]
fn a_status_file_cannot_leave_its_directory() {
    let (machine, running) = mounted_network();
    let before = machine.snapshot();
    for prefix in ["../../etc/", "/../../../etc/x", "a/../../../etc/"] {
        let outside = running.clone().param("statusfile_prefix", prefix);
        outside.run("validate-all").answers(CONFIGURED).names("statusfile_prefix");
    }
    assert_eq!(machine.snapshot(), before);
    let instance = running.env("OCF_RESOURCE_INSTANCE", "../../../etc/evil").level(20);
    instance.monitor();
    assert!(!machine.snapshot().iter().any(|entry| entry.contains("evil") && entry.starts_with("etc")));
}

#[test]
fn a_link_at_the_place_of_the_status_file_is_not_followed_out_of_the_file_system() {
    let (machine, running) = mounted_network();
    machine.file("etc/precious", "keep").folder("mnt/data/.Filesystem_status");
    let link = machine.path(format!("mnt/data/.Filesystem_status/data_{NODE}"));
    std::os::unix::fs::symlink(machine.path("etc/precious"), link).unwrap();
    running.level(20).monitor().answers(GENERIC).names(format!("data_{NODE}"));
    assert_eq!(std::fs::read_to_string(machine.path("etc/precious")).unwrap(), "keep");
}
