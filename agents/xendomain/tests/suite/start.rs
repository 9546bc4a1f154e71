//! start: create, and the disks of what was created.

use std::time::Duration;

use testkit::Tool;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::scenes::{BINARY, bare, changes, domains, node, on, put, web};

#[test]
fn a_guest_is_created_from_its_file_under_its_name() {
    let machine = node();
    web(&machine).run("start").answers(SUCCESS).within(Duration::from_secs(3));
    assert_eq!(changes(&machine), [["create", "/etc/xen/web.cfg", "name=\"web\""]]);
    web(&machine).monitor().answers(SUCCESS);
}

#[test]
fn a_tool_that_claims_success_is_not_believed() {
    let machine = node();
    on(&machine, "create", "nothing");
    web(&machine).timeout_ms(4000).run("start").answers(GENERIC).names("does not run").within_ms(4000);
    machine.tool("xl", Tool::Succeeds);
    web(&machine).timeout_ms(4000).run("start").answers(GENERIC);
}

/// xl create answers 0 over a DRBD that is Secondary; the guest's disk is dead for good then.
#[test]
fn a_disk_that_could_not_be_opened_is_a_failed_start_and_the_guest_is_destroyed() {
    for state in ["1", "5", "6"] {
        let machine = node();
        machine.file("disks", format!("51712 {state} /dev/vg0/web\n"));
        let answer = web(&machine).run("start").answers(GENERIC).names("/dev/vg0/web");
        assert!((8..14).contains(&answer.elapsed.as_secs()), "{answer}");
        assert!(domains(&machine).is_empty());
        web(&machine).monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn one_dead_disk_of_two_is_enough() {
    let machine = node();
    machine.file("disks", "51712 4 /dev/vg0/web\n51728 1 /dev/vg0/data\n");
    web(&machine).run("start").answers(GENERIC).names("/dev/vg0/data");
}

#[test]
fn a_disk_that_connects_late_is_waited_for() {
    let machine = node();
    machine.file("disks", "51712 2 /dev/vg0/web\n");
    let path = machine.path("store/local/domain/0/backend/vbd/5/51712/state");
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        std::fs::write(path, "4").unwrap();
    });
    let answer = web(&machine).run("start").answers(SUCCESS);
    assert!(answer.elapsed >= Duration::from_millis(1500), "{answer}");
    later.join().unwrap();
}

#[test]
fn a_disk_that_never_connects_or_is_not_there_is_a_failed_start_within_its_time() {
    for disks in ["51712 2 /dev/vg0/web\n", "51712 3 /dev/vg0/web\n", ""] {
        let machine = node();
        machine.file("disks", disks);
        let answer = web(&machine).timeout_ms(9000).run("start").answers(GENERIC).within_ms(9000);
        assert!(answer.reason().unwrap().contains("web"), "{answer}");
        assert!(domains(&machine).is_empty(), "{disks}");
    }
}

/// A guest without drivers of Xen's own uses its emulated disk.
#[test]
fn a_fully_virtual_guest_need_not_connect() {
    let machine = node();
    machine.file("disks", "51712 2 /dev/vg0/web\n");
    machine.file("store/libxl/5/type", "hvm");
    web(&machine).timeout_ms(9000).run("start").answers(SUCCESS);
    let machine = node();
    machine.file("disks", "51712 1 /dev/vg0/web\n").file("store/libxl/5/type", "hvm");
    web(&machine).run("start").answers(GENERIC);
}

#[test]
fn without_xenstored_s_socket_the_tool_s_list_of_disks_decides() {
    let machine = bare();
    web(&machine).run("start").answers(SUCCESS);
    let machine = bare();
    machine.file("disks", "51712 6 /dev/vg0/web\n");
    web(&machine).run("start").answers(GENERIC).names("51712");
}

#[test]
fn what_xl_refuses_is_said_in_its_words() {
    let machine = node();
    on(&machine, "create", "refuse not enough memory");
    web(&machine).run("start").answers(GENERIC).names("not enough memory");
    assert!(!machine.path("run/holdfast/xendomain/data").exists(), "nothing was started");
}

/// Somebody was faster: that guest is not ours to destroy.
#[test]
fn a_guest_that_appeared_in_the_meantime_is_left_alone() {
    let machine = node();
    let script = "printf '3 web -b----\\n' >>$OCF_TEST_ROOT/domains; mkdir -p $OCF_TEST_ROOT/store/local/domain/3; \
                  echo web >$OCF_TEST_ROOT/store/local/domain/3/name";
    let xl = std::fs::read_to_string(machine.path("usr/sbin/xl")).unwrap();
    let body = xl.lines().skip(5).collect::<Vec<_>>().join("\n");
    machine.tool("xl", Tool::Does(format!("[ \"$1\" = create ] && {{ {script}; }}\n{body}")));
    on(&machine, "create", "exists");
    web(&machine).run("start").answers(GENERIC).names("already exists");
    assert_eq!(domains(&machine), ["3 web -b----"]);
}

#[test]
fn a_create_that_hangs_is_ended_and_its_half_guest_destroyed() {
    for how in ["hang", "half"] {
        let machine = node();
        on(&machine, "create", how);
        web(&machine).timeout_ms(6000).run("start").answers(GENERIC).names("xl").within_ms(6000);
        assert!(domains(&machine).is_empty(), "{how}");
        assert!(!machine.tool_lives("xl"));
    }
}

/// The agent was killed in the middle of a start: what it left is paused and would not boot.
#[test]
fn the_half_guest_of_a_start_that_was_killed_is_destroyed_and_not_let_go() {
    for action in ["start", "stop"] {
        let machine = node();
        on(&machine, "create", "half");
        let mut agent = web(&machine).spawn("start");
        let begin = std::time::Instant::now();
        let seen = machine.path("store/local/domain/5/name");
        while !(seen.exists() && machine.has_text("store/local/domain/5/name"))
            && begin.elapsed() < Duration::from_secs(10)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        std::fs::remove_file(machine.path("on/create")).unwrap();
        assert_eq!(domains(&machine), ["5 web --p---"]);
        web(&machine).run(action).answers(SUCCESS);
        let done = changes(&machine);
        assert!(!done.iter().any(|call| call[0] == "unpause"), "{done:?}");
        assert!(done.contains(&vec!["destroy".into(), "5".into()]), "{done:?}");
    }
}

#[test]
fn a_guest_that_crashes_at_once_is_a_failed_start() {
    let machine = node();
    on(&machine, "create", "crash");
    web(&machine).run("start").answers(GENERIC).names("ended as soon as it ran");
    assert!(domains(&machine).is_empty());
}

#[test]
fn a_missing_configuration_is_not_installed_here() {
    let machine = node();
    std::fs::remove_file(machine.path("etc/xen/web.cfg")).unwrap();
    web(&machine).run("start").answers(INSTALLED).names("web");
    let call =
        machine.host(testkit::Call::ocf(BINARY).param("xmfile", "/etc/xen/no.cfg").param("name", "web"));
    call.run("start").answers(INSTALLED).names("/etc/xen/no.cfg");
    call.probe().answers(NOT_RUNNING);
    call.run("stop").answers(SUCCESS);
}

#[test]
fn a_configuration_that_xl_would_not_read_is_refused_with_its_line() {
    let machine = node();
    machine.file("etc/xen/web.cfg", "name = \"web\"\nmemory = many\n");
    web(&machine).run("start").answers(GENERIC).names("line 2");
    machine.file("etc/xen/web.cfg", "name = \"web\"\ndisk = [ 'nonsense' ]\n");
    web(&machine).run("start").answers(GENERIC).names("nonsense");
    assert!(changes(&machine).is_empty());
}

#[test]
fn wrong_parameters_are_code_6_in_start_and_forgiven_in_stop() {
    let machine = node();
    put(&machine, 3, "web", "-b----");
    for (name, value) in [
        ("shutdown_timeout", "soon"),
        ("shutdown_timeout", "-1"),
        ("paused", "maybe"),
        ("peer_unknown", "perhaps"),
        ("peers", "-oProxyCommand=reboot"),
        ("peers", "node2 -lroot"),
        ("reboot_wait", "x"),
        ("shutdown_acpi", "perhaps"),
    ] {
        let call = web(&machine).param(name, value).env("HA_LOGFILE", "/dev/null");
        call.run("start").answers(CONFIGURED).names(name);
        call.run("validate-all").answers(CONFIGURED).names(name);
        call.monitor().answers(SUCCESS);
    }
    web(&machine).param("shutdown_timeout", "soon").run("stop").exits(SUCCESS);
}

#[test]
fn what_libvirt_manages_is_left_to_it() {
    let machine = node();
    machine.file("etc/libvirt/libxl/web.xml", "<domain/>");
    web(&machine).run("start").answers(GENERIC).names("libvirt");
}

/// xl leaves a process behind that starts the guest again after a reboot.
#[test]
fn the_guest_s_own_process_of_xl_outlives_the_start() {
    let machine = node();
    on(&machine, "daemon", "yes");
    web(&machine).run("start").answers(SUCCESS);
    let pid = std::fs::read_to_string(machine.path("daemon.pid")).unwrap();
    assert!(std::path::Path::new("/proc").join(pid.trim()).join("fd/0").exists(), "it was killed");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid.trim().parse().unwrap()),
        nix::sys::signal::SIGKILL,
    )
    .unwrap();
}
