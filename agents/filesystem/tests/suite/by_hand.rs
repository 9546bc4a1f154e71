//! What a person and a script see: the reasons behind an answer, JSON, the page.

use testkit::call::{CONFIGURED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox};

use crate::scenes::{BINARY, mounted_disk, mounted_network, network};

const POSITIONS: [&str; 3] = ["server:/export", "/mnt/data", "nfs"];

fn words<'a>(words: &[&'a str]) -> Vec<&'a str> {
    POSITIONS.iter().copied().chain(words.iter().copied()).collect()
}

fn by_hand(machine: &Sandbox) -> Call {
    machine.host(Call::bare(BINARY))
}

#[test]
fn verbose_says_what_was_read_and_why_the_answer_is_what_it_is() {
    let (machine, _) = mounted_network();
    let answer = by_hand(&machine).run_args(words(&["status", "--verbose"])).exits(0);
    assert_eq!(answer.stdout, "running\n", "the answer itself stays one word");
    for part in ["parameter directory='/mnt/data'", "mount table: 2 mounts", "exit code 0"] {
        assert!(answer.stderr.contains(part), "{part}: {answer}");
    }
    assert!(answer.stderr.ends_with("because server:/export is mounted on /mnt/data\n"), "{answer}");

    let (machine, _) = network();
    let answer = by_hand(&machine).run_args(words(&["monitor", "--verbose"])).exits(NOT_RUNNING);
    assert!(answer.stderr.ends_with("because nothing is mounted on /mnt/data\n"), "{answer}");
}

#[test]
fn verbose_gives_the_reason_of_a_failure_once() {
    let (machine, _) = network();
    machine.mounted("0:50", "/mnt/data", "nfs", "other:/export");
    let answer = by_hand(&machine).run_args(words(&["status", "--verbose"])).exits(4);
    assert_eq!(answer.stdout, "running (unverified)\n");
    let sentence = "cannot tell whether /mnt/data has server:/export mounted";
    assert_eq!(answer.stderr.matches(sentence).count(), 1, "{answer}");
    assert!(answer.stderr.lines().last().unwrap().starts_with(&format!("ERROR: {sentence}")), "{answer}");
}

/// What a helper process reads is told as well: level 10 needs one.
#[test]
fn verbose_tells_what_a_helper_did() {
    let Some((machine, _)) = mounted_disk() else { return };
    let options = ["/dev/sda1", "/mnt/data", "ext4", "start", "--verbose"];
    let answer = by_hand(&machine).run_args(options).exits(SUCCESS);
    assert!(answer.stderr.contains("start: it runs already"), "{answer}");
    assert!(answer.stderr.contains("because /dev/sda1 is mounted on /mnt/data"), "{answer}");
}

#[test]
fn a_dry_run_of_a_deep_monitor_writes_nothing() {
    let (machine, _) = mounted_network();
    let before = machine.snapshot();
    let level = words(&["monitor", "--check-level", "20", "--dry-run"]);
    let answer = by_hand(&machine).run_args(level).exits(SUCCESS);
    assert!(answer.stdout.contains("would write /mnt/data/.Filesystem_status/"), "{answer}");
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn json_tells_state_reason_and_parameters() {
    let (machine, _) = mounted_network();
    let json = |words: Vec<&str>, code| {
        let answer = by_hand(&machine).run_args(words).exits(code);
        serde_json::from_str::<serde_json::Value>(&answer.stdout)
            .unwrap_or_else(|why| panic!("{why}: {answer}"))
    };
    let found = json(words(&["status", "--format", "json"]), 0);
    assert_eq!(found["agent"], "Filesystem");
    assert_eq!(found["resource"], "server:/export on /mnt/data");
    assert_eq!(found["state"], "running");
    assert_eq!(found["exit_code"], 0);
    assert_eq!(found["because"], "server:/export is mounted on /mnt/data");
    assert_eq!(found["parameters"]["fstype"], "nfs");
    assert_eq!(found["parameters"]["run_fsck"], "auto", "defaults stand there too");

    let stopped = ["server:/export", "/mnt/other", "nfs", "status", "--format", "json"].to_vec();
    let found = json(stopped, 3);
    assert_eq!((&found["state"], &found["exit_code"]), (&"stopped".into(), &7.into()));

    let wrong = words(&["--run_fsck", "perhaps", "--format", "json", "validate-all"]);
    let found = json(wrong, CONFIGURED);
    assert_eq!(found["valid"], false);
    assert!(found["because"].as_str().unwrap().contains("run_fsck is 'perhaps'"), "{found}");
    assert_eq!(json(words(&["validate-all", "--format=json"]), SUCCESS)["valid"], true);
}

#[test]
fn json_is_not_for_actions_that_change_something() {
    let (machine, _) = network();
    let answer = by_hand(&machine).run_args(words(&["--format", "json", "start"])).exits(2);
    assert!(answer.stderr.contains("--format json is for status"), "{answer}");
    assert!(machine.mounts().is_empty());
}

/// The word for an unknown state must not be one that a script takes for stopped.
#[test]
fn json_of_an_unknown_state_says_unknown() {
    let (machine, data) = network();
    machine.mounted("0:50", "/mnt/data", "nfs", "other:/export");
    let answer = data.meta("interval", "10000").env("OCF_OUTPUT_FORMAT", "json").run("monitor").exits(1);
    let found: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!((&found["state"], &found["exit_code"]), (&"unknown".into(), &1.into()));
    assert_eq!(answer.reason(), found["because"].as_str(), "the cluster's sentence is the same: {answer}");
}

/// Heartbeat and init read words, whatever is in the environment.
#[test]
fn json_is_never_given_to_heartbeat_or_init() {
    let (machine, _) = mounted_network();
    let agent = machine.host(Call::bare(machine.installed(BINARY, "etc/ha.d/resource.d/Filesystem")));
    let answer = agent.env("OCF_OUTPUT_FORMAT", "json").run_args(words(&["status"])).exits(0);
    assert_eq!(answer.stdout, "running\n");
    let values = "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n";
    machine.file("etc/default/Filesystem-data", values);
    let script = machine.host(Call::bare(machine.installed(BINARY, "etc/init.d/Filesystem-data")));
    assert_eq!(script.env("OCF_OUTPUT_FORMAT", "json").run("status").exits(0).stdout, "running\n");
}

/// The same link explains itself, with the same values.
#[test]
fn an_init_script_explains_itself_with_the_values_of_its_file() {
    let (machine, _) = mounted_network();
    machine.file("etc/default/Filesystem-data", "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n");
    let script = machine.host(Call::bare(machine.installed(BINARY, "etc/init.d/Filesystem-data")));
    let answer = script.run_args(["status", "--verbose"]).exits(0);
    assert!(answer.stderr.contains("because server:/export is mounted on /mnt/data"), "{answer}");
}

#[test]
fn parameters_in_the_environment_count_and_options_win() {
    let (machine, _) = mounted_network();
    let agent = by_hand(&machine).param("device", "server:/export").param("directory", "/mnt/elsewhere");
    let agent = agent.param("fstype", "nfs");
    assert_eq!(agent.run_args(["status", "--verbose"]).exits(3).stdout, "stopped\n");
    let answer = agent.run_args(["--directory", "/mnt/data", "--verbose", "status"]).exits(0);
    assert_eq!(answer.stdout, "running\n");
}

#[test]
fn help_reads_like_a_page() {
    let help = Call::bare(BINARY).run_args(["--help"]).exits(0);
    let sections = ["NAME", "SYNOPSIS", "DESCRIPTION", "PARAMETERS", "ACTIONS", "OPTIONS", "EXIT STATUS"];
    for title in sections.iter().chain(&["FILES", "EXAMPLES"]) {
        assert!(help.stdout.lines().any(|line| line == *title), "{title}: {help}");
    }
    assert!(help.stdout.contains("node1 Filesystem::device::directory[::fstype[::options]]"), "{help}");
    let short = Call::bare(BINARY).run_args(["-h"]).exits(0);
    assert!(short.stdout.lines().count() < 40 && short.stdout.contains("--directory VALUE"), "{short}");
    let version = Call::bare(BINARY).run_args(["--version"]).exits(0);
    assert!(version.stdout.starts_with("Filesystem 0."), "{version}");
}

#[test]
fn a_call_without_an_action_names_the_actions() {
    for words in [&[][..], &["--verbose"]] {
        let answer = Call::bare(BINARY).run_args(words).exits(2);
        assert!(answer.stderr.contains("an action is missing: status, start, stop"), "{answer}");
        assert_eq!(answer.stdout, "");
    }
}
