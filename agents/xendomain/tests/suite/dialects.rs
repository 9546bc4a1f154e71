//! Heartbeat, init scripts, by hand, and the names of the agents that this one replaces.

use testkit::{Call, Sandbox};

use crate::scenes::{BINARY, bare, changes, domains, node, on, put, with};
use crate::xenstored::leave_dead_socket;

fn heartbeat(machine: &Sandbox, script: &str) -> Call {
    let path = machine.path(format!("etc/ha.d/resource.d/{script}"));
    if !path.exists() {
        machine.installed(BINARY, &format!("etc/ha.d/resource.d/{script}"));
    }
    machine.host(Call::bare(path))
}

#[test]
fn the_haresources_form_starts_asks_and_stops_a_guest_by_its_name() {
    for script in ["xendomain", "haxendomains"] {
        let machine = node();
        machine.file("etc/xen/domain1", "name = \"domain1\"\ndisk = [ 'phy:/dev/vg0/web,sda1,w' ]\n");
        let call = heartbeat(&machine, script);
        let status = |wanted: &str, code: i32| {
            let answer = call.run_args(["domain1", "status"]);
            assert_eq!((answer.stdout.as_str(), answer.code), (wanted, Some(code)), "{answer}");
        };
        status("stopped\n", 3);
        call.run_args(["domain1", "start"]).exits(0);
        status("running\n", 0);
        call.run_args(["domain1", "start"]).exits(0);
        call.run_args(["domain1", "stop"]).exits(0);
        call.run_args(["domain1", "stop"]).exits(0);
        status("stopped\n", 3);
        assert_eq!(changes(&machine).len(), 2);
    }
}

/// Heartbeat must neither start a second copy nor give up the disk.
#[test]
fn what_is_unknown_reads_as_running() {
    let machine = with("web", "-b----");
    leave_dead_socket(machine.root());
    let answer = heartbeat(&machine, "xendomain").run_args(["web", "status"]);
    assert_eq!((answer.stdout.as_str(), answer.code), ("running (unverified)\n", Some(4)), "{answer}");
    let machine = with("web", "---sc-");
    let answer = heartbeat(&machine, "xendomain").run_args(["web", "status"]);
    assert_eq!(answer.stdout, "running (unverified)\n", "a crashed guest still holds its disk: {answer}");
    let machine = bare();
    std::fs::remove_dir_all(machine.path("proc/xen")).unwrap();
    let answer = heartbeat(&machine, "xendomain").run_args(["web", "status"]);
    assert_eq!((answer.stdout.as_str(), answer.code), ("stopped\n", Some(3)), "{answer}");
}

#[test]
fn a_failed_start_or_stop_is_1() {
    let machine = node();
    on(&machine, "create", "refuse no");
    heartbeat(&machine, "xendomain").run_args(["web", "start"]).exits(1);
}

#[test]
fn an_init_script_s_link_names_the_guest() {
    let machine = node();
    let script = machine.installed(BINARY, "etc/init.d/xendomain-web");
    let call = machine.host(Call::bare(script));
    call.run("start").exits(0);
    call.run("status").exits(0);
    call.run("restart").exits(0);
    assert_eq!(domains(&machine), ["6 web -b----"]);
    call.run("stop").exits(0);
    call.run("status").exits(3);
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = node();
    let by_hand = |action: &str| {
        machine.host(Call::bare(BINARY)).run_args(["--name", "web", "--dry-run", action]).exits(0)
    };
    let answer = by_hand("start");
    assert!(answer.stdout.contains("would run xl create /etc/xen/web.cfg"), "{answer}");
    put(&machine, 3, "web", "-b----");
    by_hand("stop");
    machine.file("domains", "0 Domain-0 r-----\n3 web ---sc-\n");
    by_hand("stop");
    by_hand("start");
    assert!(changes(&machine).is_empty());
    assert!(!machine.path("run/holdfast").exists());
    on(&machine, "list", "dead");
    machine.host(Call::bare(BINARY)).run_args(["--name", "web", "--dry-run", "stop"]).exits(1);
}

#[test]
fn people_are_told_why() {
    for (state, why) in [
        ("", "no domain on this node is called web"),
        ("-b----", "guest web as domain [3]"),
        ("--p---", "guest web is paused"),
        ("---sc-", "crashed"),
    ] {
        let machine = if state.is_empty() { node() } else { with("web", state) };
        let answer = machine.host(Call::bare(BINARY)).run_args(["--name", "web", "--verbose", "status"]);
        assert!(answer.stderr.contains(why), "{state}: {answer}");
    }
}

#[test]
fn the_old_agent_s_name_shows_in_the_meta_data() {
    let machine = node();
    let path = machine.installed(BINARY, "usr/lib/ocf/resource.d/heartbeat/Xen");
    let answer = machine.host(Call::ocf(path)).run("meta-data").exits(0);
    assert!(answer.stdout.contains("<resource-agent name=\"Xen\""), "{answer}");
    for name in ["xmfile", "shutdown_timeout", "reserved_Dom0_memory", "node_ip_attribute"] {
        assert!(answer.stdout.contains(&format!("<parameter name=\"{name}\"")), "{name}");
    }
}

#[test]
fn json_tells_scripts_the_same() {
    for (machine, state, code) in [(with("web", "-b----"), "running", 0), (node(), "stopped", 7)] {
        let by_hand = machine.host(Call::bare(BINARY));
        testkit::json::tells(&crate::scenes::web(&machine), &by_hand, &["--name", "web"], state, code);
    }
    let silent = with("web", "-b----");
    on(&silent, "list", "dead");
    let by_hand = silent.host(Call::bare(BINARY));
    testkit::json::tells(&crate::scenes::web(&silent), &by_hand, &["--name", "web"], "unknown", 1);
}
