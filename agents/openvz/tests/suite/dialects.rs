//! Heartbeat, init scripts, people, and the name of the agent that is replaced.

use testkit::{Call, Sandbox};

use crate::scenes::{BINARY, changes, ct101, node, openvz_node, running};

fn heartbeat(machine: &Sandbox) -> Call {
    let installed = machine.path("etc/ha.d/resource.d/openvz");
    if !installed.exists() {
        machine.installed(BINARY, "etc/ha.d/resource.d/openvz");
    }
    machine.host(Call::bare(installed).env("HA_DIR", "/etc/ha.d").env("LC_ALL", "C"))
}

#[test]
fn a_line_of_haresources_starts_looks_and_stops() {
    for machine in [node(), openvz_node()] {
        let agent = heartbeat(&machine);
        assert_eq!(agent.run_args(["101", "status"]).exits(3).stdout, "stopped\n");
        agent.run_args(["101", "start"]).exits(0);
        agent.run_args(["101", "start"]).exits(0);
        assert_eq!(agent.run_args(["101", "status"]).exits(0).stdout, "running\n");
        agent.run_args(["101", "stop"]).exits(0);
        agent.run_args(["101", "stop"]).exits(0);
        assert_eq!(changes(&machine), [["start", "101"], ["stop", "101"]]);
    }
}

/// The script took 101 when nobody said which.
#[test]
fn without_a_container_there_is_usage_and_no_default() {
    let machine = node();
    let agent = heartbeat(&machine);
    for words in [&["start"][..], &["stop"], &["status"], &["101", "102", "start"], &["101", "go"]] {
        let answer = agent.run_args(words).exits(1);
        assert!(answer.stderr.contains("usage"), "{answer}");
        assert_eq!(answer.stdout, "", "{answer}");
    }
    let script = machine.host(Call::bare(machine.installed(BINARY, "etc/init.d/openvz")));
    for action in ["start", "stop"] {
        let answer = script.run(action).exits(1);
        assert!(answer.stderr.contains("usage"), "{answer}");
    }
    assert!(machine.calls("vzctl").is_empty());
}

#[test]
fn the_status_line_says_more_only_in_words_that_no_reader_mistakes() {
    let machine = node();
    machine.file("ct/exists", "deleted\n");
    assert_eq!(heartbeat(&machine).run_args(["101", "status"]).exits(3).stdout, "stopped (deleted)\n");
    let machine = node();
    machine.file("vz/dump/Dump.101", "memory");
    assert_eq!(heartbeat(&machine).run_args(["101", "status"]).exits(3).stdout, "stopped (suspended)\n");
    let machine = running(node());
    machine.file("ct/run", "paused\n");
    assert_eq!(heartbeat(&machine).run_args(["101", "status"]).exits(0).stdout, "running (paused)\n");
    machine.file("ct/run", "down\n");
    assert_eq!(heartbeat(&machine).run_args(["101", "status"]).exits(3).stdout, "stopped (mounted)\n");
}

#[test]
fn a_state_that_cannot_be_told_reads_as_running_and_is_4() {
    let machine = node();
    machine.file("refusals/status", "*3 stopped\n");
    let answer = heartbeat(&machine).run_args(["101", "status"]).exits(4);
    assert_eq!(answer.stdout, "running (unverified)\n");
    assert!(answer.stderr.contains("101"), "{answer}");
}

/// The script's start was 0 whatever happened, and its peer never took over.
#[test]
fn a_failed_start_or_stop_is_1_for_old_callers() {
    let machine = node();
    machine.file("refusals/start", "*43 no private area\n");
    let answer = heartbeat(&machine).run_args(["101", "start"]).exits(1);
    assert!(answer.stderr.contains("code 43"), "{answer}");
    ct101(&machine).run("start").answers(5);
    let machine = running(node());
    machine.file("refusals/stop", "*33 timed out\n").file("refusals/fast", "*33 timed out\n");
    let answer = heartbeat(&machine).run_args(["101", "stop"]).exits(1);
    assert!(answer.stderr.contains("still runs"), "{answer}");
}

#[test]
fn a_link_s_name_is_the_container_of_an_init_script() {
    let machine = node();
    let script = machine.host(Call::bare(machine.installed(BINARY, "etc/init.d/openvz-101")));
    assert_eq!(script.run("status").exits(3).stdout, "stopped\n");
    script.run("start").exits(0);
    assert_eq!(script.run("status").exits(0).stdout, "running\n");
    script.run("restart").exits(0);
    script.run("stop").exits(0);
    let actions: Vec<String> = changes(&machine).iter().map(|call| call[0].clone()).collect();
    assert_eq!(actions, ["start", "stop", "start", "stop"]);
}

#[test]
fn by_hand_a_person_gets_words() {
    let machine = node();
    let agent = machine.host(Call::bare(BINARY));
    agent.run_args(["--ctid", "101", "monitor"]).exits(7);
    agent.run_args(["101", "start"]).exits(0);
    assert_eq!(agent.run_args(["--ctid", "101", "status"]).exits(0).stdout, "running\n");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let stopped = openvz_node();
    stopped.file("vz/dump/Dump.101", "memory");
    for (machine, action, changes) in [
        (stopped, "start", &["rename /vz/dump/Dump.101", "vzctl start 101"][..]),
        (running(openvz_node()), "stop", &["vzctl stop 101"]),
    ] {
        let before = machine.snapshot();
        let agent = machine.host(Call::bare(BINARY));
        let answer = agent.run_args(["--ctid", "101", "--dry-run", action]).exits(0);
        for change in changes {
            assert!(answer.stdout.contains(change), "{answer}");
        }
        assert_eq!(machine.snapshot(), before);
    }
}

#[test]
fn under_the_name_of_manageve_it_is_that_agent() {
    let machine = openvz_node();
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/heartbeat/ManageVE");
    let agent = machine.host(Call::ocf(installed).param("veid", "101"));
    let xml = agent.run("meta-data").exits(0).stdout;
    assert!(xml.contains("<resource-agent name=\"ManageVE\""), "{xml}");
    // pcs takes only the parameters that are shown.
    assert!(xml.contains("<parameter name=\"veid\"") && !xml.contains("name=\"ctid\""), "{xml}");
    agent.run("usage").exits(0);
    agent.probe().answers(7);
    agent.run("start").answers(0);
    agent.run("status").answers(0);
    agent.run("validate-all").answers(0);
    agent.run("stop").answers(0);
    agent.run("promote").answers(3);
}

#[test]
fn json_tells_scripts_the_same() {
    for (machine, state, code) in [(running(openvz_node()), "running", 0), (node(), "stopped", 7)] {
        let by_hand = machine.host(Call::bare(BINARY));
        testkit::json::tells(&ct101(&machine), &by_hand, &["--ctid", "101"], state, code);
    }
}
