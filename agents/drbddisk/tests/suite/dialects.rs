//! Heartbeat, init scripts and people: the old script's words and exit codes.

use testkit::{Call, Sandbox};

use crate::scenes::{
    BINARY, PRIMARY, SECONDARY, instance, list_9, new, new_not_up, new_with, old, scores, without_module,
};

fn heartbeat(machine: &Sandbox) -> Call {
    let installed = machine.installed(BINARY, "etc/ha.d/resource.d/drbddisk");
    machine
        .host(Call::bare(installed).env("HA_DIR", "/etc/ha.d").env("HA_CURHOST", "node1").env("LC_ALL", "C"))
}

fn init_script(machine: &Sandbox, name: &str) -> Call {
    machine.host(Call::bare(machine.installed(BINARY, &format!("etc/init.d/{name}"))))
}

#[test]
fn the_status_line_is_the_old_script_s() {
    for (machine, code, line) in [
        (old(PRIMARY), 0, "running (Primary)\n"),
        (old(SECONDARY), 3, "stopped (Secondary)\n"),
        (new("Primary"), 0, "running (Primary)\n"),
        (new("Secondary"), 3, "stopped (Secondary)\n"),
        (new_not_up(), 3, "stopped (Unconfigured)\n"),
        (without_module(), 3, "stopped (Unconfigured)\n"),
    ] {
        let answer = heartbeat(&machine).run_args(["r0", "status"]).exits(code);
        assert_eq!(answer.stdout, line);
        assert_eq!(answer.stderr, "", "{answer}");
    }
}

#[test]
fn a_role_that_cannot_be_told_reads_as_running_to_both_parsers_and_is_4() {
    let machine = new("Primary");
    machine.file("refusals/events2", "20 not running\n").file("refusals/role", "*20 not running\n");
    let answer = heartbeat(&machine).run_args(["r0", "status"]).exits(4);
    assert_eq!(answer.stdout, "running (unverified)\n");
    assert!(answer.stderr.contains("r0"), "{answer}");
}

#[test]
fn the_status_of_no_or_all_resources_is_10() {
    // The line is for Heartbeat, which reads no codes: with a wrong one it would skip the start, or give up the disk.
    for (machine, line) in [(old(PRIMARY), "running (Primary)\n"), (old(SECONDARY), "stopped (Secondary)\n")]
    {
        let agent = heartbeat(&machine);
        for words in [&["status"][..], &["all", "status"]] {
            let answer = agent.run_args(words).exits(10);
            assert!(answer.stderr.contains("A resource name is required for status inquiries."), "{answer}");
            assert_eq!(answer.stdout, line);
        }
    }
}

/// Codes of Pacemaker's and words about trouble would be read as something else.
#[test]
fn trouble_does_not_change_the_status_line() {
    let machine = old("StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----");
    let agent = heartbeat(&machine).env("HA_LOGFILE", machine.path("tmp/log"));
    for call in [agent.clone(), agent.env("OCF_RESKEY_report_degraded", "yes")] {
        let answer = call.run_args(["r0", "status"]).exits(0);
        assert_eq!(answer.stdout, "running (Primary)\n", "{answer}");
    }
}

#[test]
fn heartbeat_starts_and_asks_and_stops() {
    let machine = old(SECONDARY);
    let agent = heartbeat(&machine);
    agent.run_args(["r0", "stop"]).exits(0);
    agent.run_args(["r0", "start"]).exits(0);
    agent.run_args(["r0", "start"]).exits(0);
    assert_eq!(agent.run_args(["r0", "status"]).exits(0).stdout, "running (Primary)\n");
    agent.run_args(["r0", "stop"]).exits(0);
    assert_eq!(agent.run_args(["r0", "status"]).exits(3).stdout, "stopped (Secondary)\n");
}

#[test]
fn the_disk_of_an_old_haresources_line_is_understood() {
    let machine = old(SECONDARY);
    crate::scenes::link(&machine, "by-disk/lvm/domain1", 0);
    machine.file("dev/lvm/domain1", "");
    let agent = heartbeat(&machine);
    agent.run_args(["/dev/lvm/domain1", "start"]).exits(0);
    assert_eq!(agent.run_args(["/dev/lvm/domain1", "status"]).exits(0).stdout, "running (Primary)\n");
}

#[test]
fn wrong_arguments_get_the_usage_and_1() {
    let machine = old(SECONDARY);
    let agent = heartbeat(&machine);
    for words in [&[][..], &["a", "b", "start"], &["r0", "begin"], &["r0", "restart"], &["r0"]] {
        let answer = agent.run_args(words).exits(1);
        assert!(answer.stderr.to_lowercase().contains("usage"), "{answer}");
        assert_eq!(answer.stdout, "", "{answer}");
    }
    assert!(machine.calls("drbdadm").is_empty());
}

/// Only under the parameter of compatibility, and never for a cluster.
#[test]
fn a_failed_start_is_1_or_20_as_the_script_of_0_7_had_it() {
    let machine = old(SECONDARY);
    machine.file("refusals/primary", "*17 0: State change failed: (-2) Need access to UpToDate data\n");
    heartbeat(&machine).run_args(["r0", "start"]).exits(1);
    let old_codes = heartbeat_again(&machine).env("OCF_RESKEY_exit_codes_of_0_7", "yes");
    let answer = old_codes.run_args(["r0", "start"]).exits(20);
    assert!(answer.stderr.contains("UpToDate"), "{answer}");
    crate::scenes::r0(&machine).param("exit_codes_of_0_7", "yes").run("start").answers(1);
}

fn heartbeat_again(machine: &Sandbox) -> Call {
    machine.host(Call::bare(machine.path("etc/ha.d/resource.d/drbddisk")))
}

/// 5 would be success for an init script under systemd.
#[test]
fn a_failure_is_1_for_old_callers_whatever_its_cause() {
    let machine = old(SECONDARY);
    std::fs::remove_file(machine.path("usr/sbin/drbdadm")).unwrap();
    heartbeat(&machine).run_args(["r0", "start"]).exits(1);
    crate::scenes::r0(&machine).run("start").answers(5).names("drbdadm");
}

#[test]
fn a_link_s_name_is_the_resource_of_an_init_script() {
    let machine = old(SECONDARY);
    let script = init_script(&machine, "drbddisk-r0");
    assert_eq!(script.run("status").exits(3).stdout, "stopped (Secondary)\n");
    script.run("start").exits(0);
    assert_eq!(machine.calls("drbdadm"), [["primary", "r0"]]);
    assert_eq!(script.run("status").exits(0).stdout, "running (Primary)\n");
    script.run("stop").exits(0);
    script.run("stop").exits(0);
}

#[test]
fn a_file_for_the_link_wins_over_its_name() {
    let machine = old(PRIMARY);
    machine.file("etc/default/drbddisk-database", "drbd_resource=r0\n");
    let script = init_script(&machine, "drbddisk-database");
    assert_eq!(script.run("status").exits(0).stdout, "running (Primary)\n");
}

#[test]
fn an_init_script_without_a_name_means_the_only_resource() {
    let machine = old(SECONDARY);
    let script = init_script(&machine, "drbddisk");
    script.run("status").exits(10);
    script.run("start").exits(0);
    assert_eq!(machine.calls("drbdadm").last().unwrap(), &["primary", "r0"]);
}

#[test]
fn by_hand_a_person_gets_words() {
    let machine = old(SECONDARY);
    let agent = machine.host(Call::bare(BINARY));
    let stopped = agent.run_args(["--drbd-resource", "r0", "status"]).exits(3);
    assert_eq!(stopped.stdout, "stopped (Secondary)\n");
    agent.run_args(["--drbd_resource", "r0", "monitor"]).exits(7);
    agent.run_args(["--drbd_resource", "r0", "start"]).exits(0);
    assert_eq!(agent.run_args(["r0", "status"]).exits(0).stdout, "running (Primary)\n");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    for (machine, action, change) in
        [(old(SECONDARY), "start", "drbdadm primary r0"), (old(PRIMARY), "stop", "drbdadm secondary r0")]
    {
        let before = machine.snapshot();
        let agent = machine.host(Call::bare(BINARY));
        let answer = agent.run_args(["--drbd_resource", "r0", "--dry-run", action]).exits(0);
        assert!(answer.stdout.contains(change), "{answer}");
        assert_eq!(machine.snapshot(), before);
    }
}

/// promote, demote, notify and reload are a clone's; start and stop of one need its meta attributes.
#[test]
fn a_dry_run_of_every_action_of_the_clone_says_what_it_would_do_and_does_nothing() {
    let lost = [
        ("Connected role:Secondary", "Connecting role:Unknown"),
        ("peer-disk:UpToDate", "peer-disk:DUnknown"),
    ];
    let scenes = [
        (crate::scenes::new_down(), "start", "bring r0 up as Secondary"),
        (new("Secondary"), "stop", "take r0 down"),
        (new("Secondary"), "promote", "run drbdadm primary r0"),
        (old(SECONDARY), "promote", "run drbdadm primary r0"),
        (new("Primary"), "demote", "run drbdadm secondary r0"),
        (old(PRIMARY), "demote", "run drbdadm secondary r0"),
        (new("Secondary"), "reload", "run drbdadm adjust r0"),
        (new("Secondary"), "notify", "run drbdadm adjust r0"),
        (new("Secondary"), "notify", "set the promotion score to 10000"),
        (new_with(&list_9("Secondary", &lost)), "notify", "run drbdsetup outdate 0"),
        (new("Primary"), "monitor", "set the promotion score to 10000"),
        (new("Primary"), "monitor", "run drbdadm unfence-peer r0"),
    ];
    // Without what the tools were asked.
    let state = |machine: &Sandbox| -> Vec<String> {
        machine.snapshot().into_iter().filter(|line| !line.starts_with("calls")).collect()
    };
    for (machine, action, change) in scenes {
        // The name under which it is nothing but the clone.
        let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/linbit/drbd");
        machine.tool("modprobe", testkit::Tool::Succeeds);
        let before = state(&machine);
        let call = [
            ("promoted_max", "1"),
            ("notify", "true"),
            ("notify_type", "post"),
            ("notify_operation", "start"),
            ("notify_promoted_uname", "there"),
            ("on_node", "here"),
        ];
        let call = call.iter().fold(Call::bare(BINARY), |call, (name, value)| call.meta(name, value));
        let mut words = vec!["--drbd_resource", "r0", "--stop_outdates_secondary", "yes"];
        words.extend(["--unfence_if_all_uptodate", "yes", "--dry-run", action]);
        let answer = machine.host(call.program(installed)).run_args(words);
        assert!(answer.stdout.contains(change), "{action}: {answer}");
        assert!(
            crate::scenes::changes(&machine).is_empty() && scores(&machine).is_empty(),
            "{action}: {answer}"
        );
        assert!(
            machine.calls("modprobe").is_empty()
                && machine.calls("drbdsetup").iter().all(|call| call[0] != "outdate")
        );
        assert_eq!(state(&machine), before, "{action}");
    }
}

/// Heartbeat calls ten times more by itself, and the peer waits for all of them.
#[test]
fn a_stop_that_fails_takes_heartbeat_ten_seconds_a_call() {
    let machine = old(PRIMARY);
    machine.file("refusals/secondary", "*11 0: State change failed: (-12) Device is held open by someone\n");
    let answer = heartbeat(&machine).run_args(["r0", "stop"]).exits(1);
    assert!((7..12).contains(&answer.elapsed.as_secs()), "{answer}");
    assert!(answer.stderr.contains("r0 is still Primary"), "{answer}");
}

/// Also under the path that Heartbeat uses: its own calls always end with the action.
#[test]
fn verbose_says_what_was_read_and_why() {
    let machine = old(PRIMARY);
    for agent in [machine.host(Call::bare(BINARY)), heartbeat(&machine)] {
        let answer = agent.run_args(["r0", "status", "--verbose"]).exits(0);
        assert_eq!(answer.stdout, "running (Primary)\n");
        assert!(answer.stderr.contains("read /proc/drbd: "), "{answer}");
        assert!(answer.stderr.contains("because r0 is Primary on this node; "), "{answer}");
        let clone =
            "an instance of a clone: promoted, score 10000, because the data here is UpToDate, and Primary\n";
        assert!(answer.stderr.ends_with(clone), "{answer}");
    }
    let answer = machine.host(Call::bare(BINARY)).run_args(["r0", "status", "--format", "json"]).exits(0);
    assert!(answer.stdout.contains(r#""because":"r0 is Primary on this node; an instance"#), "{answer}");
}

/// The score and its row of the table, for each caller that may ask for it.
#[test]
fn verbose_explains_the_clone_too() {
    for (machine, told) in [
        (new("Secondary"), "score 10000, because the data here is UpToDate, and that of all peers known"),
        (
            new_with(&list_9("Secondary", &[("quorum:yes", "quorum:no")])),
            "no score, because it has no quorum",
        ),
        (
            new_with(&list_9("Secondary", &[("disk:UpToDate client", "disk:Outdated client")])),
            "score 10, because only a connected peer has UpToDate data",
        ),
    ] {
        let answer = machine.host(Call::bare(BINARY)).run_args(["r0", "status", "--verbose"]).exits(3);
        assert!(
            answer.stderr.contains(told) && answer.stderr.contains("an instance of a clone: running"),
            "{answer}"
        );
        let answer = instance(&machine).env("OCF_OUTPUT_FORMAT", "json").monitor().exits(0);
        assert!(answer.stdout.contains("r0 is Secondary on this node; promotion: "), "{answer}");
        assert!(answer.stdout.contains(told) && answer.stdout.contains(r#""state":"running""#), "{answer}");
    }
    // Nothing is asked of the cluster's tools for a word to a person.
    let machine = new("Secondary");
    machine.host(Call::bare(BINARY)).run_args(["r0", "status", "--verbose"]).exits(3);
    assert!(machine.calls("crm_attribute").is_empty());
    let down = new_not_up();
    let answer = down.host(Call::bare(BINARY)).run_args(["r0", "status", "--verbose"]).exits(3);
    assert!(answer.stderr.ends_with("because r0 is not up on this node\n"), "{answer}");
}

#[test]
fn json_tells_scripts_the_same() {
    for (machine, state, code) in [(old(PRIMARY), "running", 0), (new("Secondary"), "stopped", 7)] {
        let by_hand = machine.host(Call::bare(BINARY));
        testkit::json::tells(&crate::scenes::r0(&machine), &by_hand, &["--drbd_resource", "r0"], state, code);
    }
}
