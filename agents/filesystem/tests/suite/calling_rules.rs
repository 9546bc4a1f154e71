//! The twenty rules of calling, one test each. Other files go deeper into some of them.

use std::time::{Duration, Instant};

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, REASON_PREFIX, SUCCESS, UNIMPLEMENTED};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{BINARY, disk, filesystem, mounted_network, network};

/// How an agent at this path, with this environment, was understood: only LSB prints a word for `status`, and
/// only OCF answers it with 7.
#[track_caller]
fn dialect(machine: &Sandbox, path: &str, env: &[(&str, &str)]) -> &'static str {
    let program = machine.installed(BINARY, path);
    let call =
        env.iter().fold(machine.host(Call::bare(&program)), |call, (name, value)| call.env(name, value));
    let alone = call.run("status");
    let positional = call.run_args(["server:/export", "/mnt/data", "status"]);
    std::fs::remove_file(&program).unwrap();
    match (alone.code, alone.stdout.as_str(), positional.code, positional.stdout.as_str()) {
        (Some(3), "stopped\n", Some(3), "stopped\n") => "arguments decide",
        (Some(3), "stopped\n", ..) => "LSB",
        (Some(1), "", Some(3), "stopped\n") => "heartbeat",
        (Some(6), "", Some(2), "") => "OCF",
        _ => panic!("{path} {env:?}: {alone}\n{positional}"),
    }
}

#[test]
fn rule_01_the_executed_path_decides_the_dialect_then_the_environment() {
    let (machine, _) = network();
    machine.file("etc/default/Filesystem-data", "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n");
    let ocf = [("OCF_ROOT", "/usr/lib/ocf"), ("OCF_RESKEY_fstype", "nfs")];
    assert_eq!(dialect(&machine, "etc/init.d/Filesystem-data", &ocf), "LSB");
    assert_eq!(dialect(&machine, "etc/ha.d/resource.d/Filesystem", &ocf), "heartbeat");
    assert_eq!(dialect(&machine, "usr/lib/ocf/resource.d/holdfast/Filesystem", &[]), "OCF");
    for variable in ["OCF_ROOT", "OCF_RA_VERSION_MAJOR", "OCF_RESOURCE_INSTANCE", "OCF_RESKEY_fstype"] {
        assert_eq!(dialect(&machine, "opt/Filesystem", &[(variable, "1")]), "OCF", "{variable}");
        // Set but empty is unset.
        assert_ne!(dialect(&machine, "opt/Filesystem-data", &[(variable, "")]), "OCF", "{variable}");
    }
    let leaked = [
        "OCF_AGENTS",
        "OCF_OUTPUT_FORMAT",
        "OCF_TRACE_FILE",
        "OCF_CHECK_LEVEL",
        "OCF_RESKEY_CRM_meta_timeout",
    ];
    let leaked = leaked.map(|name| (name, "1000"));
    assert_eq!(dialect(&machine, "opt/Filesystem-data", &leaked), "arguments decide");
    let crm_only = [("OCF_RESKEY_crm_feature_set", "3.16.1")];
    assert_eq!(dialect(&machine, "opt/Filesystem-data", &crm_only), "arguments decide");
}

/// The LRM's heartbeat class gives the bare type name as argv[0], and may find the agent anywhere.
#[test]
fn rule_01_a_bare_argv0_is_no_path() {
    let (machine, _) = network();
    let installed = machine.installed(BINARY, "etc/ha.d/resource.d/Filesystem");
    let call = machine.host(Call::bare(installed).arg0("Filesystem"));
    assert_eq!(call.run_args(["server:/export", "/mnt/data", "nfs", "status"]).exits(3).stdout, "stopped\n");
}

#[test]
fn rule_02_missing_instance_type_version_timeout_and_interval_are_normal() {
    let (machine, _) = network();
    let halo = machine.host(Call::bare(BINARY).env("OCF_ROOT", "/usr/lib/ocf"));
    let data = halo.param("device", "server:/export").param("directory", "/mnt/data").param("fstype", "nfs");
    data.probe().answers(NOT_RUNNING);
    data.run("start").answers(SUCCESS);
    data.probe().answers(SUCCESS);
    data.run("validate-all").answers(SUCCESS);
    let empty =
        ["OCF_RA_VERSION_MAJOR", "OCF_RESOURCE_INSTANCE", "OCF_RESOURCE_TYPE", "OCF_RESKEY_CRM_meta_timeout"];
    empty.iter().fold(data, |call, name| call.env(name, "")).probe().answers(SUCCESS);
}

#[test]
fn rule_03_a_probe_is_a_monitor_without_an_interval() {
    let (_machine, data) = mounted_network();
    let foreign = data.param("device", "server:/other");
    foreign.run("monitor").answers(NOT_RUNNING);
    foreign.clone().meta("interval", "0").run("monitor").answers(NOT_RUNNING);
    foreign.clone().meta("interval", "").run("monitor").answers(NOT_RUNNING);
    foreign.clone().meta("interval", "10000").run("monitor").answers(GENERIC);
    foreign.run("status").answers(GENERIC);
}

#[test]
fn rule_04_the_answer_comes_before_the_cluster_kills() {
    for timeout_ms in [1000, 2500] {
        let (machine, data) = network();
        machine.tool("mount", Tool::HangsIgnoringTerm);
        data.timeout_ms(timeout_ms).run("start").answers(GENERIC).names("mount").within_ms(timeout_ms);
    }
}

#[test]
fn rule_04_nobody_who_does_not_read_delays_the_answer() {
    const TIMEOUT_MS: u64 = 3000;
    let (machine, data) = network();
    machine.tool("mount", Tool::Fails(32, "access denied"));
    let data = data.timeout_ms(TIMEOUT_MS);
    for (action, code) in
        [("validate-all", SUCCESS), ("monitor", NOT_RUNNING), ("start", GENERIC), ("stop", SUCCESS)]
    {
        let (answer, elapsed) = data.run_unread(action);
        assert_eq!(answer, Some(code), "{action} after {elapsed:?}");
        assert!(elapsed.as_millis() < u128::from(TIMEOUT_MS), "{action}: {elapsed:?}");
    }
}

#[test]
fn rule_05_children_are_killed_and_reaped_by_us() {
    let (machine, data) = network();
    let family = "trap '' TERM; sleep 600 & echo $! >\"$0.child\"; exec sleep 600";
    machine.tool("mount", Tool::Does(family.into()));
    data.timeout_ms(3000).run("start").answers(GENERIC);
    assert!(!machine.tool_lives("mount"));
    assert!(!machine.process_lives("usr/sbin/mount.child"), "its children go with it");
}

/// With on-fail=block, and by crm_resource, only the agent's own pid is killed.
#[test]
fn rule_05_a_tool_does_not_outlive_a_killed_agent() {
    let (machine, data) = network();
    machine.tool("mount", Tool::HangsIgnoringTerm);
    let mut agent = data.spawn("start");
    testkit::kernel::wait_until("the tool runs", || machine.has_text("calls/mount.pid"));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(!machine.tool_lives("mount"));
}

#[test]
fn rule_06_a_monitor_may_be_killed_at_any_point() {
    let (machine, data) = mounted_network();
    let before = machine.snapshot();
    for delay_us in (0..40).map(|step| step * 100) {
        let mut agent = data.clone().meta("interval", "10000").spawn("monitor");
        std::thread::sleep(Duration::from_micros(delay_us));
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    assert_eq!(machine.snapshot(), before, "no locks, no half-written state");
    data.monitor().answers(SUCCESS);
}

#[test]
fn rule_07_children_inherit_none_of_our_descriptors() {
    let (machine, data) = network();
    let script = "exec \"$0\" start 7</dev/zero 8</etc/passwd";
    let output = data.program("/bin/sh").command().args(["-c", script, BINARY]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let open = machine.tool_descriptors("mount");
    let target = |fd: &str| {
        let line = open.iter().find(|line| line.contains(&format!(" {fd} -> ")));
        line.map(|line| line.rsplit_once("-> ").unwrap().1.to_owned())
    };
    assert_eq!(target("0").as_deref(), Some("/dev/null"), "{open:?}");
    for fd in ["3", "4", "5", "6", "7", "8", "9"] {
        assert_eq!(target(fd), None, "{open:?}");
    }
}

/// A daemon that a tool leaves behind must not keep the caller waiting for the end of our output.
#[test]
fn rule_07_nobody_waits_for_a_daemon_of_a_tool() {
    let (machine, data) = network();
    machine.tool("mount", Tool::LeavesDaemon);
    data.run("start").answers(GENERIC).within_ms(5000);
}

#[test]
fn rule_08_one_reason_last_short_and_printable() {
    let (_machine, data) = network();
    let hostile =
        ["two\nlines", "\x1b[31mred\x07\r\u{0b}", "\u{e9}\u{1F600}\u{202e}", "<&\"'>", &"long ".repeat(400)];
    for value in hostile {
        data.clone().param("run_fsck", value).run("start").answers(CONFIGURED).names("run_fsck");
        let below_a_file = data.clone().param("directory", format!("/proc/self/mountinfo/{value}x"));
        below_a_file.run("start").answers(INSTALLED);
    }
    let other_prefix = data.param("run_fsck", "x").env("OCF_EXIT_REASON_PREFIX", "why:").run("start");
    assert!(other_prefix.stderr.lines().last().unwrap().starts_with("why:"), "{other_prefix}");
    assert_eq!(other_prefix.reason(), None, "{other_prefix}");
}

/// Pacemaker shows what follows the last prefix, wherever it stands.
#[test]
fn rule_08_a_parameter_cannot_forge_a_reason() {
    let (_machine, data) = network();
    for value in ["a\nocf-exit-reason:forged", "ocf-exit-reason:forged"] {
        data.clone().param("run_fsck", value).run("start").answers(CONFIGURED).names("run_fsck");
    }
}

#[test]
fn rule_08_without_a_prefix_the_default_is_used() {
    let (_machine, data) = network();
    let answer =
        data.without("OCF_EXIT_REASON_PREFIX").param("run_fsck", "x").run("start").answers(CONFIGURED);
    assert!(answer.stderr.contains(REASON_PREFIX));
}

#[test]
fn rule_09_normal_results_are_silent() {
    let (machine, stopped) = network();
    let (_machine, running) = mounted_network();
    stopped.run("validate-all").answers(SUCCESS);
    stopped.probe().answers(NOT_RUNNING);
    stopped.monitor().answers(NOT_RUNNING);
    running.monitor().answers(SUCCESS);
    running.clone().level(10).monitor().answers(SUCCESS);
    // What start and stop say goes to the log when there is one.
    let log = machine.path("tmp/log");
    running.env("HA_LOGFILE", &log).run("start").answers(SUCCESS);
    let logged = stopped.env("HA_LOGFILE", &log).env("HA_debug", "0");
    logged.run("stop").answers(SUCCESS);
    logged.run("start").answers(SUCCESS);
}

#[test]
fn rule_10_tools_are_run_by_absolute_path_in_a_plain_locale() {
    let (machine, data) = network();
    machine.tool_at("evil/mount", Tool::Fails(1, "from PATH"));
    let data = data.env("PATH", machine.path("evil")).env("LC_ALL", "de_DE.UTF-8").env("LANGUAGE", "de:fr");
    data.env("LANG", "de_DE.UTF-8").env("LC_MESSAGES", "de_DE.UTF-8").run("start").answers(SUCCESS);
    let environment = machine.tool_environment("mount");
    assert_eq!(environment.get("LC_ALL").map(String::as_str), Some("C"), "{environment:?}");
    assert!(!environment.contains_key("LANGUAGE"), "{environment:?}");
}

#[test]
fn rule_10_no_path_at_all_is_fine() {
    let (_machine, data) = network();
    data.without("PATH").run("start").answers(SUCCESS);
}

#[test]
fn rule_11_modes_do_not_depend_on_the_umask_nor_anything_on_the_directory() {
    for umask in ["0", "0077", "0026"] {
        let (machine, data) = network();
        machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
        let data = data.param("directory", "/mnt/new").program("/bin/sh").from_directory("/proc/self/fdinfo");
        let script = format!("umask {umask}; exec \"$0\" start");
        let output = data.command().args(["-c", &script, BINARY]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mode = |path: &str| {
            let meta = std::fs::metadata(machine.path(path)).unwrap();
            std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777
        };
        assert_eq!(mode("mnt/new"), 0o755, "umask {umask}");
        assert_eq!(mode("run/systemd/system/resource-agents-deps.target.d/99-Filesystem-remote.conf"), 0o644);
        assert_eq!(mode("run/systemd/system/resource-agents-deps.target.d"), 0o755);
    }
}

#[test]
fn rule_12_only_codes_0_to_9() {
    let (machine, data) = network();
    machine.tool("mount", Tool::Fails(190, "odd"));
    let odd = [("device", ""), ("directory", "/"), ("options", "a b"), ("run_fsck", "x"), ("fstype", "\n")];
    for (name, value) in odd {
        let data = data.clone().param(name, value).level(7);
        for action in ["start", "stop", "monitor", "status", "validate-all", "promote", "notify", "x"] {
            let answer = data.run(action);
            assert!(matches!(answer.code, Some(0..=9)), "{answer}");
            assert_eq!(answer.signal, None, "{answer}");
        }
    }
}

#[test]
fn rule_13_nothing_about_this_node_alone_is_answered_with_6() {
    let (machine, data) = network();
    std::fs::remove_file(machine.path("usr/sbin/mount")).unwrap();
    data.run("start").answers(INSTALLED);
    machine.file("proc/filesystems", "nodev\tproc\n");
    data.run("start").answers(INSTALLED);
    data.run("validate-all").answers(SUCCESS);
    machine.file("mnt/file", "");
    data.clone().param("directory", "/mnt/file/x").run("start").answers(INSTALLED);
    let Some((_machine, data)) = disk() else { return };
    data.clone().param("device", "/dev/gone").timeout_ms(3000).run("start").answers(INSTALLED);
    data.param("device", "/dev/gone").run("validate-all").answers(SUCCESS);
}

#[test]
fn rule_14_a_probe_on_a_node_without_anything_answers_7() {
    let machine = Sandbox::new();
    for folder in ["usr", "dev", "mnt", "etc", "sys"] {
        std::fs::remove_dir_all(machine.path(folder)).unwrap();
    }
    machine.file("proc/filesystems", "nodev\tproc\n");
    for (device, fstype) in [("/dev/sda1", "ext4"), ("server:/x", "nfs"), ("-U abc", ""), ("x", "fuse.sshfs")]
    {
        let call = machine.host(crate::scenes::resource(device, "/mnt/data".as_ref(), fstype));
        call.probe().answers(NOT_RUNNING);
        call.clone().env("OCF_TESTER_FAIL_HAVE_BINARY", "1").probe().answers(NOT_RUNNING);
        call.run("stop").answers(SUCCESS);
        call.monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn rule_15_stop_is_0_when_it_never_was_here_and_never_7() {
    let (machine, data) = network();
    data.run("stop").answers(SUCCESS);
    data.run("stop").answers(SUCCESS);
    data.clone().param("directory", "/never/made").run("stop").answers(SUCCESS);
    data.clone().param("fstype", "nosuchfs").run("stop").answers(SUCCESS);
    data.clone().param("run_fsck", "garbage").run("stop").exits(SUCCESS);
    std::fs::remove_file(machine.path("proc/self/mountinfo")).unwrap();
    data.run("stop").answers(GENERIC);
}

#[test]
fn rule_16_start_on_running_and_stop_on_stopped_are_0() {
    let (machine, data) = network();
    data.run("stop").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    assert_eq!(machine.calls("mount").len(), 1);
    data.probe().answers(SUCCESS);
}

#[test]
fn rule_17_an_unknown_action_is_3_and_a_listed_one_never() {
    let data = filesystem();
    for action in
        ["promote", "demote", "notify", "migrate_to", "migrate_from", "reload", "reload-agent", "recover"]
    {
        data.run(action).answers(UNIMPLEMENTED).names(action);
    }
    for action in ["monitor", "validate-all", "start", "stop"] {
        data.run(action).answers(CONFIGURED);
    }
}

#[test]
fn rule_18_meta_data_needs_nothing_and_is_always_the_same() {
    let (machine, data) = network();
    for tool in ["crm_node", "crm_attribute", "mount", "uname", "modprobe"] {
        machine.tool(tool, Tool::Hangs);
    }
    let here = data.run("meta-data").exits(SUCCESS).within_ms(2000).stdout;
    assert_eq!(here, filesystem().run("meta-data").exits(SUCCESS).stdout);
    assert!(!here.lines().next().unwrap().contains("encoding"));
}

/// This agent asks no cluster tool at all, so none of them can hold it up.
#[test]
fn rule_19_no_cluster_tool_is_asked() {
    let (machine, data) = network();
    let tools = ["crm_node", "crm_attribute", "crm_master", "crm_resource", "attrd_updater", "cibadmin"];
    for tool in tools {
        machine.tool(tool, Tool::HangsIgnoringTerm);
    }
    let data = data.env("HA_SBIN_DIR", machine.path("usr/sbin")).meta("on_node", "node1");
    let began = Instant::now();
    for action in ["validate-all", "start", "monitor", "status", "stop"] {
        data.run(action);
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(tools.iter().all(|tool| machine.calls(tool).is_empty()));
}

#[test]
fn rule_20_status_is_one_of_three_words_and_unknown_reads_as_running() {
    let words = |machine: &Sandbox| {
        machine
            .file("etc/default/Filesystem-data", "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n");
        let lsb = machine.installed(BINARY, "etc/init.d/Filesystem-data");
        let heartbeat = machine.installed(BINARY, "etc/ha.d/resource.d/Filesystem");
        let lsb = machine.host(Call::bare(lsb)).run("status");
        let heartbeat = machine.host(Call::bare(heartbeat));
        let heartbeat = heartbeat.run_args(["server:/export", "/mnt/data", "nfs", "status"]);
        assert_eq!((lsb.code, &lsb.stdout), (heartbeat.code, &heartbeat.stdout), "{lsb}\n{heartbeat}");
        (lsb.code.unwrap(), lsb.stdout)
    };
    let (running, _) = mounted_network();
    assert_eq!(words(&running), (0, "running\n".into()));
    let (stopped, _) = network();
    assert_eq!(words(&stopped), (3, "stopped\n".into()));
    let (unknown, _) = network();
    std::fs::remove_file(unknown.path("proc/self/mountinfo")).unwrap();
    assert_eq!(words(&unknown), (4, "running (unverified)\n".into()));
}
