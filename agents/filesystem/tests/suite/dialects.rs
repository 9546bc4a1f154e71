//! Every caller that is not Pacemaker.

use testkit::call::{CONFIGURED, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Answer, Call, Sandbox, Tool};

use crate::scenes::{BINARY, disk, mounted_network, network};

const EXPORT: [&str; 3] = ["server:/export", "/mnt/data", "nfs"];

/// Heartbeat's environment, the agent linked into its folder.
fn heartbeat(machine: &Sandbox) -> Call {
    let installed = machine.installed(BINARY, "etc/ha.d/resource.d/Filesystem");
    let call = Call::bare(installed).env("HA_DIR", "/etc/ha.d").env("HA_CURHOST", "node1").env("LC_ALL", "C");
    machine.host(call.env("OCF_AGENTS", "/usr/lib/ocf/resource.d/heartbeat/"))
}

fn with_action<'a>(words: &[&'a str], action: &'a str) -> Vec<&'a str> {
    words.iter().copied().chain([action]).collect()
}

#[test]
fn heartbeat_starts_and_asks_and_stops() {
    let (machine, _) = network();
    let agent = heartbeat(&machine);
    assert_eq!(agent.run_args(with_action(&EXPORT, "status")).exits(3).stdout, "stopped\n");
    agent.run_args(with_action(&EXPORT, "stop")).exits(0);
    agent.run_args(with_action(&EXPORT, "start")).exits(0);
    assert_eq!(machine.mounts(), ["/mnt/data"]);
    for action in ["status", "monitor"] {
        assert_eq!(agent.run_args(with_action(&EXPORT, action)).exits(0).stdout, "running\n");
    }
}

#[test]
fn heartbeat_options_are_the_fourth_word() {
    let (machine, _) = network();
    let words = ["server:/export", "/mnt/data", "nfs", "soft,ro", "start"];
    heartbeat(&machine).run_args(words).exits(0);
    assert_eq!(machine.calls("mount")[0][..4], ["-t", "nfs", "-o", "soft,ro"]);
}

#[test]
fn heartbeat_needs_no_fstype() {
    let Some((machine, _)) = disk() else { return };
    machine.mounted("8:1", "/mnt/data", "ext4", "/dev/sda1");
    let agent = heartbeat(&machine);
    assert_eq!(agent.run_args(["/dev/sda1", "/mnt/data", "status"]).exits(0).stdout, "running\n");
    agent.run_args(["/dev/sda1", "/mnt/data", "start"]).exits(0);
}

#[test]
fn heartbeat_with_wrong_arguments_gets_the_usage_and_1() {
    let (machine, _) = network();
    let agent = heartbeat(&machine);
    let wrong: [&[&str]; 6] = [
        &["start"],
        &["meta-data"],
        &["server:/export", "start"],
        &["server:/export", "/mnt/data", "restart"],
        &["server:/export", "/mnt/data", "nfs", "ro"],
        &["server:/export", "/mnt/data", "nfs", "ro", "more", "start"],
    ];
    for words in wrong {
        let answer = agent.run_args(words).exits(1);
        assert!(answer.stderr.to_lowercase().contains("usage"), "{answer}");
        assert_eq!(answer.stdout, "", "a status line is read from stdout: {answer}");
    }
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn heartbeat_a_failed_start_is_not_0_and_says_why() {
    let (machine, _) = network();
    machine.tool("mount", Tool::Fails(32, "access denied"));
    let answer = heartbeat(&machine).run_args(with_action(&EXPORT, "start"));
    assert!(answer.code.is_some_and(|code| code != 0), "{answer}");
    assert!(answer.stderr.contains("access denied"), "{answer}");
}

/// Neither parser may find its word in something that came from outside.
#[test]
fn heartbeat_status_prints_nothing_from_outside() {
    let (machine, _) = network();
    let agent = heartbeat(&machine);
    let words = ["server:/not running OK", "/mnt/running", "nfs", "status"];
    assert_eq!(agent.run_args(words).exits(3).stdout, "stopped\n");
    machine.mounted("0:50", "/mnt/not_running", "nfs", "server:/stopped");
    let words = ["server:/stopped", "/mnt/not_running", "nfs", "status"];
    assert_eq!(agent.run_args(words).exits(0).stdout, "running\n");
}

/// `/etc/ha.d/resource.d/Filesystem /dev/drbd0 /dir jfs noatime start`, typed by people and scripts elsewhere.
#[test]
fn positional_arguments_are_understood_without_the_path() {
    let (machine, _) = mounted_network();
    let agent = machine.host(Call::bare(BINARY));
    assert_eq!(agent.run_args(with_action(&EXPORT, "status")).exits(0).stdout, "running\n");
    let dashed = ["-Uabc", "/mnt/other", "ext4", "status"];
    assert_eq!(agent.run_args(dashed).exits(3).stdout, "stopped\n");
}

/// An init script: a link whose name tells the file with the values.
fn init_script(machine: &Sandbox, values: &str) -> Call {
    machine.file("etc/default/Filesystem-data", values);
    let link = machine.path("etc/init.d/Filesystem-data");
    let link = if link.exists() { link } else { machine.installed(BINARY, "etc/init.d/Filesystem-data") };
    machine.host(Call::bare(link))
}

#[test]
fn lsb_reads_its_values_from_etc_default() {
    let (machine, _) = network();
    let values = "# the data\n\nexport device='server:/export'\nOCF_RESKEY_directory=\"/mnt/data\"\nfstype=nfs # v4\n\
                  options=soft\nunknown_word=1\n";
    let script = init_script(&machine, values);
    assert_eq!(script.run("status").exits(3).stdout, "stopped\n");
    script.run("start").exits(0);
    script.run("start").exits(0);
    let expected = ["-t", "nfs", "-o", "soft", "--", "server:/export", "/mnt/data"];
    assert_eq!(machine.calls("mount"), [expected]);
    assert_eq!(script.run("status").exits(0).stdout, "running\n");
}

#[test]
fn lsb_values_are_parsed_and_never_run() {
    let (machine, _) = network();
    let hit = machine.path("tmp/hit");
    let hit = hit.display();
    let values = format!(
        "touch {hit}\ndevice=$(touch {hit})\ndirectory=\"/mnt/`touch {hit}`\"\nfstype=nfs; touch {hit}\n\
         options=x && touch {hit}\n. /etc/evil\nPATH=/evil\n"
    );
    machine.file("etc/evil", format!("touch {hit}\n"));
    let script = init_script(&machine, &values);
    for action in ["status", "start", "stop", "validate-all"] {
        script.run(action);
    }
    assert!(!machine.path("tmp/hit").exists());
}

#[test]
fn lsb_without_values_is_a_failure_and_not_a_crash() {
    let (machine, _) = network();
    let plain = machine.installed(BINARY, "etc/init.d/Filesystem");
    let script = machine.host(Call::bare(plain));
    for action in ["start", "stop"] {
        let answer = script.run(action);
        assert!(matches!(answer.code, Some(1..=7)), "{answer}");
        assert!(!answer.stderr.is_empty(), "{answer}");
    }
    let status = script.run("status");
    assert!(matches!(status.code, Some(3 | 4)), "{status}");
}

#[test]
fn lsb_an_unknown_action_is_refused() {
    let (machine, _) = network();
    let script = init_script(&machine, "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n");
    for action in ["no-such-action", "promote"] {
        let answer = script.run(action);
        assert!(matches!(answer.code, Some(1..=3)), "{answer}");
    }
}

#[test]
fn lsb_ignores_what_an_ocf_caller_left_in_the_environment() {
    let (machine, _) = network();
    let script = init_script(&machine, "device=server:/export\ndirectory=/mnt/data\nfstype=nfs\n");
    let script = script.env("OCF_OUTPUT_FORMAT", "text").env("OCF_TRACE_FILE", "/dev/stderr");
    assert_eq!(script.run("status").exits(3).stdout, "stopped\n");
}

/// By hand: long options.
fn by_hand(machine: &Sandbox, words: &[&str]) -> Answer {
    let options = ["--device", "server:/export", "--directory", "/mnt/data", "--fstype", "nfs"];
    machine.host(Call::bare(BINARY)).run_args(options.iter().chain(words))
}

#[test]
fn by_hand_a_person_gets_words() {
    let (machine, _) = network();
    let stopped = by_hand(&machine, &["status"]).exits(3);
    assert!(stopped.stdout.contains("stopped"), "{stopped}");
    let monitored = by_hand(&machine, &["monitor"]).exits(NOT_RUNNING);
    assert!(!monitored.stdout.is_empty(), "{monitored}");
    let started = by_hand(&machine, &["start"]).exits(SUCCESS);
    assert!(!started.stdout.is_empty(), "{started}");
    let running = by_hand(&machine, &["status"]).exits(0);
    assert!(running.stdout.contains("running"), "{running}");
    by_hand(&machine, &["--check-level", "15", "monitor"]).exits(CONFIGURED);
    by_hand(&machine, &["--timeout", "5", "monitor"]).exits(SUCCESS);
}

#[test]
fn by_hand_a_failure_says_why() {
    let (machine, _) = network();
    machine.tool("mount", Tool::Fails(32, "access denied"));
    let answer = by_hand(&machine, &["start"]).exits(1);
    assert!(answer.stderr.contains("access denied"), "{answer}");
    std::fs::remove_file(machine.path("usr/sbin/mount")).unwrap();
    by_hand(&machine, &["start"]).exits(INSTALLED);
}

#[test]
fn by_hand_help_names_every_parameter() {
    let help = Call::bare(BINARY).run_args(["--help"]).exits(0);
    let parameters = [
        "device",
        "directory",
        "fstype",
        "options",
        "statusfile_prefix",
        "run_fsck",
        "fast_stop",
        "force_clones",
        "force_unmount",
        "term_signals",
        "kill_signals",
        "signal_delay",
        "check_readonly",
        "lazy_unmount",
    ];
    for name in parameters {
        let dashed = name.replace('_', "-");
        assert!(
            help.stdout.contains(&format!("--{name}")) || help.stdout.contains(&format!("--{dashed}")),
            "{name}"
        );
    }
    assert!(help.stdout.contains("--dry-run") && help.stdout.contains("start"), "{help}");
    assert_eq!(help.stderr, "");
}

#[test]
fn by_hand_an_unknown_option_is_explained_on_stderr() {
    let (machine, _) = network();
    let answer = by_hand(&machine, &["--no-such-option", "start"]);
    assert!(answer.code.is_some_and(|code| code != 0), "{answer}");
    assert!(answer.stderr.contains("--no-such-option"), "{answer}");
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn a_dry_run_prints_what_it_would_do_and_changes_nothing() {
    let (machine, _) = network();
    machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
    let before = machine.snapshot();
    let options = ["--device", "server:/export", "--directory", "/mnt/new", "--fstype", "nfs", "--dry-run"];
    let agent = machine.host(Call::bare(BINARY));
    let start = agent.run_args(options.iter().chain(&["start"])).exits(0);
    assert!(start.stdout.contains("mount") && start.stdout.contains("/mnt/new"), "{start}");
    assert_eq!(machine.snapshot(), before, "{start}");

    machine.mounted("0:50", "/mnt/new", "nfs", "server:/export");
    let before = machine.snapshot();
    let stop = agent.run_args(options.iter().chain(&["stop"])).exits(0);
    assert!(stop.stdout.contains("umount") || stop.stdout.contains("unmount"), "{stop}");
    assert_eq!(machine.snapshot(), before, "{stop}");
}

/// One thread serves all of HALO's requests; it sets OCF_ROOT, the parameters and nothing else.
#[test]
fn halo_sets_no_instance_and_no_version() {
    let (machine, _) = network();
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/holdfast/Filesystem");
    let call = Call::bare(installed).env("OCF_ROOT", "/usr/lib/ocf").env("HALO_TEST_ID", "1");
    let data = machine
        .host(call)
        .param("device", EXPORT[0])
        .param("directory", EXPORT[1])
        .param("fstype", EXPORT[2]);
    data.run("monitor").answers(NOT_RUNNING);
    data.run("start").answers(SUCCESS);
    data.run("monitor").answers(SUCCESS);
    data.clone().level(20).run("monitor").answers(SUCCESS);
    let written = machine.snapshot();
    let written: Vec<_> =
        written.iter().filter(|entry| entry.contains(".Filesystem_status/default")).collect();
    assert_eq!(written.len(), 1, "the instance is `default`: {written:?}");
}

/// The instance arrives as systemd escaped it.
#[test]
fn drbd_reactor_gives_an_escaped_instance_and_empty_values() {
    let (machine, _) = network();
    let installed = machine.installed(BINARY, "usr/lib/ocf/resource.d/holdfast/Filesystem");
    let call = Call::bare(&installed)
        .env("OCF_ROOT", "/usr/lib/ocf")
        .env("OCF_RESOURCE_INSTANCE", r"p_fs\x2d1_res\x2d1")
        .env("AGENT", &installed)
        .env("monitor_inverval", "30");
    let data = machine
        .host(call)
        .param("device", EXPORT[0])
        .param("directory", EXPORT[1])
        .param("fstype", EXPORT[2]);
    let data = data.param("options", "").param("run_fsck", "").param("fast_stop", "");
    data.run("start").answers(SUCCESS);
    data.run("monitor").answers(SUCCESS);
    // ExecStopPost stops a second time, with systemd's variables.
    let gone =
        data.clone().param("directory", "/mnt/other").env("EXIT_CODE", "exited").env("SERVICE_RESULT", "x");
    gone.run("stop").answers(SUCCESS);
    gone.run("stop").answers(SUCCESS);
}

/// crmsh's `ra validate` sets OCF_ROOT and the parameters, and reads both outputs.
#[test]
fn crmsh_validates_with_parameters_alone() {
    let (machine, _) = network();
    let call = machine.host(Call::bare(BINARY).env("OCF_ROOT", "/usr/lib/ocf"));
    let data = call.param("device", EXPORT[0]).param("directory", EXPORT[1]).param("fstype", EXPORT[2]);
    data.run("validate-all").answers(SUCCESS);
    data.param("run_fsck", "maybe").run("validate-all").answers(CONFIGURED).names("run_fsck");
}

/// pcs runs without PATH, and shows whatever is on stderr as a warning even when all is well.
#[test]
fn pcs_validates_without_path_tools_or_devices() {
    let machine = Sandbox::new();
    let call = Call::ocf(BINARY).without("PATH").env("CIB_file", "/x").env("OCF_OUTPUT_FORMAT", "xml");
    let call = machine.host(call.env("OCF_TRACE_FILE", "/dev/stderr").env("OCF_RESOURCE_INSTANCE", "test"));
    for (device, fstype) in
        [("/dev/drbd0", "ext4"), ("server:/x", "nfs"), ("UUID=abc", "xfs"), ("/srv", "none")]
    {
        let data =
            call.clone().param("device", device).param("directory", "/mnt/data").param("fstype", fstype);
        data.run("validate-all").answers(SUCCESS);
    }
}
