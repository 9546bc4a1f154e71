//! Every text and every file of the kernel, and what monitor answers.

use std::fs;
use std::time::Duration;

use testkit::Tool;
use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::scenes::{UUID, actions, container, ct101, logged, node, openvz_node, running, virtuozzo_node};

/// A vzctl that says exactly this.
fn says(text: &str) -> Tool {
    Tool::Does(format!("printf '%b' '{text}'"))
}

#[test]
fn the_texts_of_every_version_of_vzctl_are_answered() {
    for (text, code) in [
        ("VPSID 101 exist mounted running\\n", SUCCESS),
        ("VPSID 101 exist unmounted down\\n", NOT_RUNNING),
        ("VPSID 101 deleted unmounted down\\n", NOT_RUNNING),
        ("VEID 101 exist mounted running\\n", SUCCESS),
        ("VEID 101 exist unmounted down\\n", NOT_RUNNING),
        ("CTID 101 exist mounted running\\n", SUCCESS),
        ("CTID 101 exist unmounted down\\n", NOT_RUNNING),
        ("CTID 101 exist mounted down\\n", NOT_RUNNING),
        ("CTID 101 exist unmounted down suspended\\n", NOT_RUNNING),
        ("CTID 101 deleted unmounted down\\n", NOT_RUNNING),
        // The private area has gone under its feet.
        ("CTID 101 deleted unmounted running\\n", SUCCESS),
        ("VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist mounted running\\n", SUCCESS),
        ("VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist mounted paused\\n", SUCCESS),
        ("VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist unmounted suspended\\n", NOT_RUNNING),
        // Half a line, another word, nothing.
        ("CTID 101 exist unmounted dow\\n", GENERIC),
        ("CTID 101 exist\\n", GENERIC),
        ("CTID 101 exist unmounted unknown\\n", GENERIC),
        ("down\\n", GENERIC),
        ("", GENERIC),
    ] {
        let machine = node();
        machine.tool("vzctl", says(text));
        ct101(&machine).monitor().answers(code);
        ct101(&machine).probe().answers(code);
        assert_eq!(machine.calls("vzctl"), [["status", "101"], ["status", "101"]], "one vzctl each: {text}");
    }
}

#[test]
fn every_state_of_prlctl_is_answered() {
    for (state, code) in [
        ("running", SUCCESS),
        ("paused", SUCCESS),
        ("starting", SUCCESS),
        ("restoring", SUCCESS),
        ("resuming", SUCCESS),
        ("continuing", SUCCESS),
        ("stopping", SUCCESS),
        ("suspending", SUCCESS),
        ("pausing", SUCCESS),
        ("snapshoting", SUCCESS),
        ("migrating", SUCCESS),
        ("compacting", SUCCESS),
        ("stopped", NOT_RUNNING),
        ("suspended", NOT_RUNNING),
        ("mounted", NOT_RUNNING),
        ("unknown", GENERIC),
        ("absent", NOT_RUNNING),
    ] {
        for kind in ["CT", "VM"] {
            let machine = virtuozzo_node(kind, state);
            container(&machine, "vm1").monitor().answers(code);
            assert_eq!(machine.calls("prlctl"), [["status", "vm1"]], "{state}");
        }
    }
}

#[test]
fn a_state_that_is_changing_is_nothing_to_start_upon() {
    for state in ["stopping", "suspending", "compacting"] {
        let machine = virtuozzo_node("VM", state);
        container(&machine, "vm1").run("start").answers(GENERIC).names("vm1");
    }
}

#[test]
fn standard_error_is_never_taken_for_the_state() {
    let machine = node();
    machine
        .file("ct/noise", "stat(/vz/root/101): No such file or directory\nCTID 101 exist mounted running\n");
    ct101(&machine).monitor().answers(NOT_RUNNING);
    let machine = running(node());
    machine.file("ct/noise", "Warning: CTID 101 exist unmounted down\n");
    ct101(&machine).monitor().answers(SUCCESS);
}

#[test]
fn where_the_kernel_has_a_table_no_tool_is_run() {
    for (table, code) in [
        ("       101     0    21  192.168.5.103\n         0     0   120\n", SUCCESS),
        ("       101     2     1\n         0     0   120\n", SUCCESS),
        ("       102     0     9  192.168.5.104\n         0     0   120\n", NOT_RUNNING),
        ("      1010     0     9  10.0.1.101 101\n         0     0   120\n", NOT_RUNNING),
        ("         0     0   120\n", NOT_RUNNING),
    ] {
        let machine = node();
        machine.file("proc/vz/veinfo", table);
        ct101(&machine).monitor().answers(code);
        ct101(&machine).probe().answers(code);
        assert!(machine.calls("vzctl").is_empty(), "{table}");
    }
}

/// Cut off, empty, garbage, or the table that a container sees of itself: vzctl has to be asked.
#[test]
fn a_table_that_is_not_whole_decides_nothing() {
    for table in [
        "",
        "       102     0     9  192.168.5.104\n         0     0   1",
        "102 0 9\n",
        "a b c\n0 0 1\n",
        "\n",
    ] {
        let machine = running(node());
        machine.file("proc/vz/veinfo", table);
        ct101(&machine).monitor().answers(SUCCESS);
        assert_eq!(actions(&machine), ["status"], "{table:?}");
    }
}

#[test]
fn a_name_is_looked_up_without_a_tool() {
    let machine = openvz_node();
    machine.folder("etc/vz/names");
    std::os::unix::fs::symlink("/etc/vz/conf/101.conf", machine.path("etc/vz/names/db")).unwrap();
    container(&machine, "db").monitor().answers(NOT_RUNNING);
    machine.file("proc/vz/veinfo", "       101     0    21\n         0     0   120\n");
    container(&machine, "db").monitor().answers(SUCCESS);
    assert!(machine.calls("vzctl").is_empty());
}

/// What runs under another id may be the container of this name.
#[test]
fn a_name_that_nothing_here_knows_is_asked_of_vzctl() {
    let machine = running(openvz_node());
    container(&machine, "db").monitor().answers(SUCCESS);
    assert_eq!(machine.calls("vzctl"), [["status", "db"]]);
}

/// 5 of a probe would be "stopped" to the cluster.
#[test]
fn a_name_that_may_be_what_runs_is_not_stopped_for_want_of_vzctl() {
    let machine = running(openvz_node());
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    container(&machine, "db").probe().answers(GENERIC).names("vzctl");
    machine.file("proc/vz/veinfo", "         0     0   120\n");
    container(&machine, "db").probe().answers(NOT_RUNNING);
}

/// prlctl's word for a machine that is not here, and not for anything else that is missing.
#[test]
fn what_prlctl_itself_misses_is_no_missing_machine() {
    for (words, code) in [
        ("Failed to get VM config: The virtual machine could not be found.", NOT_RUNNING),
        ("The service could not be found.", GENERIC),
        ("libprl_sdk.so could not be found", GENERIC),
    ] {
        let machine = virtuozzo_node("VM", "running");
        machine.tool("prlctl", Tool::Fails(255, words));
        container(&machine, "vm1").monitor().answers(code);
    }
}

#[test]
fn a_uuid_of_virtuozzo_s_is_in_the_kernel_s_table() {
    let machine = node();
    machine.file(&format!("etc/vz/conf/{UUID}.conf"), "VE_PRIVATE=/Data/db/vm\n");
    machine.file("proc/vz/veinfo", format!("{UUID}     0    21\n         0     0   120\n"));
    for spelling in [UUID.to_string(), UUID.to_uppercase(), format!("{{{UUID}}}")] {
        container(&machine, &spelling).monitor().answers(SUCCESS);
    }
    machine.file("proc/vz/veinfo", "         0     0   120\n");
    container(&machine, UUID).monitor().answers(NOT_RUNNING);
    assert!(machine.calls("vzctl").is_empty());
}

/// On the passive node neither the private area nor what its configuration leads to is there.
#[test]
fn deleted_is_stopped_and_silent_on_the_passive_node() {
    let machine = node();
    machine.file("ct/exists", "deleted\n");
    fs::remove_dir_all(machine.path("Data")).unwrap();
    for call in [ct101(&machine), ct101(&machine).env("HA_LOGFILE", machine.path("ha-log"))] {
        call.probe().answers(NOT_RUNNING);
        call.monitor().answers(NOT_RUNNING);
    }
    assert!(!machine.has_text("ha-log"));
}

/// vzctl 4 on a kernel that is not OpenVZ's.
#[test]
fn processes_in_its_control_group_are_a_running_container() {
    let machine = node();
    fs::remove_dir(machine.path("proc/vz")).unwrap();
    machine.mounted("0:30", "/sys/fs/cgroup/memory", "cgroup", "cgroup");
    machine.file("sys/fs/cgroup/memory/vz-101/cgroup.procs", "4711\n");
    ct101(&machine).monitor().answers(SUCCESS);
    assert!(actions(&machine).is_empty());
    // Its init has made groups of its own.
    machine.file("sys/fs/cgroup/memory/vz-101/cgroup.procs", "");
    machine.file("sys/fs/cgroup/memory/vz-101/system.slice/cgroup.procs", "4712\n");
    ct101(&machine).monitor().answers(SUCCESS);
}

/// vzctl calls the container running for ever then.
#[test]
fn an_empty_control_group_is_no_running_container() {
    let machine = node();
    machine.mounted("0:30", "/sys/fs/cgroup/memory", "cgroup", "cgroup").file("ct/run", "running\n");
    machine.file("sys/fs/cgroup/memory/vz-101/cgroup.procs", "");
    ct101(&machine).monitor().answers(NOT_RUNNING);
    // start is told that it runs already, and says why that is wrong.
    machine.file("refusals/start", "*32 Container is already running\n").file("ct/run", "down\n");
    ct101(&machine).run("start").answers(GENERIC).names("control group").names("vz-101");
}

#[test]
fn the_exit_code_of_vzctl_counts() {
    for (refusal, code, word) in [
        ("*10 Unable to open /etc/vz/vz.conf", INSTALLED, "vz.conf"),
        ("*5 Warning: Unable to open /dev/vzctl", INSTALLED, "kernel"),
        ("*3 Unable to create lock file", GENERIC, "code 3"),
        ("*21 Bad parameter for --veid", GENERIC, "code 21"),
        ("*255 ?", GENERIC, "code 255"),
    ] {
        let machine = node();
        machine.file("refusals/status", format!("{refusal}\n"));
        ct101(&machine).monitor().answers(code).names(word).names("101");
        // A kernel of OpenVZ's that does not tell: something may run.
        ct101(&machine).probe().answers(GENERIC);
        // What is not installed here cannot run here.
        fs::remove_dir(machine.path("proc/vz")).unwrap();
        let probe = if code == INSTALLED { NOT_RUNNING } else { code };
        ct101(&machine).probe().answers(probe);
    }
    let machine = node();
    machine.file("refusals/status", "*14 Container config file does not exist\n");
    ct101(&machine).monitor().answers(NOT_RUNNING);
}

#[test]
fn depth_10_runs_a_command_in_the_container() {
    for machine in [running(node()), running(openvz_node())] {
        ct101(&machine).level(10).monitor().answers(SUCCESS);
        assert_eq!(machine.calls("vzctl").last().unwrap(), &["exec", "101", "true"]);
        machine.file("refusals/exec", "*8 command failed\n");
        ct101(&machine).level(10).monitor().answers(GENERIC).names("101").names("command");
        ct101(&machine).level(9).monitor().answers(SUCCESS);
        ct101(&machine).level(10).run("stop").answers(SUCCESS);
    }
    ct101(&node()).level(10).monitor().answers(NOT_RUNNING);
}

#[test]
fn depth_10_of_a_frozen_container_ends_in_time() {
    let machine = running(openvz_node());
    machine.tool("vzctl", Tool::Hangs);
    let answer = ct101(&machine).level(10).timeout_ms(3000).monitor().within_ms(3000);
    answer.answers(GENERIC).names("101");
    assert!(!machine.tool_lives("vzctl"));
    ct101(&machine).timeout_ms(3000).monitor().within(Duration::from_secs(2)).answers(SUCCESS);
}

/// Somebody has started it by hand, or unmounted below it.
#[test]
fn depth_10_warns_of_a_private_area_that_is_not_the_cluster_s() {
    let machine = running(openvz_node());
    let deep = || ct101(&machine).level(10).meta("interval", "10000");
    let (_, log) = logged(&machine, deep(), "monitor");
    assert_eq!(log, "", "all is well");
    let table = fs::read_to_string(machine.path("proc/self/mountinfo")).unwrap();
    let without: String =
        table.lines().filter(|line| !line.contains("/dev/drbd0")).map(|line| format!("{line}\n")).collect();
    machine.file("proc/self/mountinfo", without);
    let (answer, log) = logged(&machine, deep(), "monitor");
    answer.answers(SUCCESS);
    assert!(
        log.contains("runs, but") && log.contains("/Data/db/vm is on no file system of its own"),
        "{log}"
    );
    fs::remove_dir_all(machine.path("Data/db/vm")).unwrap();
    let (answer, log) = logged(&machine, deep(), "monitor");
    answer.answers(SUCCESS);
    assert!(log.contains("private area /Data/db/vm is not here"), "{log}");
}

const BEANCOUNTERS: &str = "Version: 2.5\n       uid  resource  held  maxheld  barrier  limit  failcnt\n\
    \x20     101:  kmemsize  10  20  30  40  0\n            privvmpages  1  2  3  4  17\n            numfile  1  2  3  4  5\n\
    \x20     102:  kmemsize  10  20  30  40  9\n";

#[test]
fn a_shortage_is_warned_of_once_with_the_counter_s_name() {
    for per_container in [false, true] {
        let machine = running(openvz_node());
        if per_container {
            machine.file("proc/bc/101/resources", "   kmemsize 10 20 30 40 0\n   privvmpages 1 2 3 4 17\n");
        } else {
            machine.file("proc/user_beancounters", BEANCOUNTERS);
        }
        let recurring = || ct101(&machine).meta("interval", "10000");
        let (answer, log) = logged(&machine, recurring(), "monitor");
        answer.answers(SUCCESS);
        assert!(log.contains("privvmpages") && log.contains("17 times"), "{log}");
        assert!(!log.contains("kmemsize"), "{log}");
        let (_, again) = logged(&machine, recurring(), "monitor");
        assert_eq!(again, log, "nothing new");
        if !per_container {
            machine.file("proc/user_beancounters", BEANCOUNTERS.replace("4  17", "4  18"));
            let (_, more) = logged(&machine, recurring(), "monitor");
            assert!(more.contains("18 times"), "{more}");
            assert_eq!(more.matches("numfile").count(), 1, "only what is new: {more}");
        }
        assert!(machine.calls("vzctl").is_empty());
    }
}

#[test]
fn a_probe_writes_nothing() {
    let machine = running(openvz_node());
    machine.file("proc/user_beancounters", BEANCOUNTERS);
    let before = machine.snapshot();
    ct101(&machine).probe().answers(SUCCESS);
    assert_eq!(machine.snapshot(), before);
}
