//! Every tool the agent can run, misbehaving in every way: the code, the time, and the reason.

use testkit::call::{GENERIC, INSTALLED, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{disk, network};

/// What the cluster allows the action here.
const TIMEOUT_MS: u64 = 5000;

/// A start with the tool in each state. A code of the table may be one of two.
#[track_caller]
fn starts(scene: impl Fn() -> Option<(Sandbox, Call)>, tool: &str, codes: [&[i32]; 8]) {
    for ((how, behaviour), accepted) in Tool::misbehaviours(32).into_iter().zip(codes) {
        let Some((machine, data)) = scene() else { return };
        match behaviour {
            Some(behaviour) => drop(machine.tool(tool, behaviour)),
            None => drop(std::fs::remove_file(machine.path("usr/sbin").join(tool))),
        }
        let answer = data.timeout_ms(TIMEOUT_MS).run("start");
        let context = format!("{tool} {how}: {answer}");
        let code = answer.code.unwrap_or(-1);
        assert!(accepted.contains(&code), "{context}");
        assert!(answer.elapsed.as_millis() < u128::from(TIMEOUT_MS), "too late: {context}");
        assert_eq!(machine.mounts().len(), usize::from(code == SUCCESS), "{context}");
        if how != "missing" {
            assert!(!machine.calls(tool).is_empty(), "it was run at all: {context}");
            assert!(!machine.tool_lives(tool), "it must not outlive the agent: {context}");
        }
        if code != SUCCESS {
            let reason = answer.answers(code).reason().unwrap_or_default().to_owned();
            let objects = [tool, "/mnt/data", "server:/export", "/dev/sda1", "nosuchfs"];
            assert!(objects.iter().any(|object| reason.contains(object)), "names nothing: {context}");
        }
    }
}

const FINE: &[i32] = &[SUCCESS];
const FAILED: &[i32] = &[GENERIC];
const ABSENT: &[i32] = &[INSTALLED];
const FAILED_OR_ABSENT: &[i32] = &[GENERIC, INSTALLED];

#[test]
fn faults_of_mount() {
    let fails_unless_mounted = [ABSENT, FAILED, FAILED, FAILED, FAILED, FAILED, FAILED, FAILED];
    starts(|| Some(network()), "mount", fails_unless_mounted);
}

#[test]
fn faults_of_fsck() {
    let forced = || disk().map(|(machine, data)| (machine, data.param("run_fsck", "force")));
    starts(forced, "fsck", [ABSENT, FAILED, FAILED, FAILED, FINE, FINE, FAILED, FINE]);
}

#[test]
fn faults_of_modprobe() {
    let unknown = || disk().map(|(machine, data)| (machine, data.param("fstype", "nosuchfs")));
    let codes =
        [ABSENT, ABSENT, FAILED_OR_ABSENT, FAILED_OR_ABSENT, ABSENT, ABSENT, FAILED_OR_ABSENT, ABSENT];
    starts(unknown, "modprobe", codes);
}

/// The order of a shutdown is worth a warning, not a failed start.
#[test]
fn faults_of_systemctl() {
    let with_systemd = || {
        let (machine, data) = network();
        machine.folder("run/systemd/system");
        Some((machine, data))
    };
    starts(with_systemd, "systemctl", [FINE; 8]);
}

/// Nobody fails because a message could not be logged.
#[test]
fn faults_of_ha_logger() {
    let logging = || {
        let (machine, data) = network();
        Some((machine, data.env("HA_LOGD", "yes")))
    };
    starts(logging, "ha_logger", [FINE; 8]);
}

#[test]
fn a_mount_that_works_and_leaves_a_daemon_behind_is_a_quick_success() {
    let (machine, data) = network();
    let mounts = format!(
        "printf '900 22 0:50 / /mnt/data rw - nfs server:/export rw\\n' >>'{}'; sleep 20 & exit 0",
        machine.path("proc/self/mountinfo").display()
    );
    machine.tool("mount", Tool::Does(mounts));
    data.run("start").answers(SUCCESS).within_ms(3000);
}

#[test]
fn a_mount_that_mounts_something_else_is_not_believed() {
    let (machine, data) = network();
    let mounts = format!(
        "printf '900 22 0:50 / /mnt/elsewhere rw - nfs server:/export rw\\n' >>'{}'",
        machine.path("proc/self/mountinfo").display()
    );
    machine.tool("mount", Tool::Does(mounts));
    data.run("start").answers(GENERIC).names("/mnt/data");
}

#[test]
fn a_mount_that_fails_after_it_has_mounted_leaves_the_truth_to_the_second_look() {
    let (machine, data) = network();
    let mounts = format!(
        "printf '900 22 0:50 / /mnt/data rw - nfs server:/export rw\\n' >>'{}'; echo warned >&2; exit 64",
        machine.path("proc/self/mountinfo").display()
    );
    machine.tool("mount", Tool::Does(mounts));
    data.run("start").answers(SUCCESS);
    data.monitor().answers(SUCCESS);
}

#[test]
fn a_tool_that_prints_without_end_is_ended() {
    let (machine, data) = network();
    machine.tool("mount", Tool::Does("exec yes ocf-exit-reason:flood >&2".into()));
    let answer = data.timeout_ms(TIMEOUT_MS).run("start").answers(GENERIC).within_ms(TIMEOUT_MS);
    assert!(answer.stderr.len() < 64 * 1024, "stays below 64 KiB: {} bytes", answer.stderr.len());
    assert!(!machine.tool_lives("mount"));
}

#[test]
fn the_text_of_a_failing_tool_cannot_forge_a_reason() {
    let (machine, data) = network();
    machine.tool("mount", Tool::Fails(32, "bad\nocf-exit-reason:everything is fine\n\x1b[31mred"));
    data.run("start").answers(GENERIC).names("mount");
}

/// Monitor and stop run no tool at all, so they cannot be held up by one.
#[test]
fn monitor_and_stop_run_no_tool() {
    let (machine, data) = network();
    let tools = [
        "mount",
        "umount",
        "fsck",
        "modprobe",
        "systemctl",
        "fuser",
        "blockdev",
        "udevadm",
        "sleep",
        "sync",
        "findfs",
        "blkid",
        "losetup",
        "mount.nfs",
        "umount.nfs",
        "crm_node",
        "uname",
        "kill",
        "readlink",
    ];
    for tool in tools {
        machine.tool(tool, Tool::HangsIgnoringTerm);
    }
    machine.mounted("0:50", "/mnt/data", "nfs", "server:/export");
    for depth in [0, 10, 20] {
        data.clone().level(depth).timeout_ms(TIMEOUT_MS).run("monitor").within_ms(TIMEOUT_MS);
    }
    data.clone().timeout_ms(TIMEOUT_MS).run("stop").within_ms(TIMEOUT_MS);
    for tool in tools {
        assert!(machine.calls(tool).is_empty(), "{tool}: {:?}", machine.calls(tool));
    }
}

#[test]
fn a_mount_table_that_cannot_be_read_is_never_stopped() {
    let broken =
        [None, Some("garbage\n"), Some("22 1 8:99 / /"), Some("22 1 8:99 / / rw - ext4 /dev/root rw\n36 22")];
    broken.into_iter().for_each(is_an_error_for_everybody);
}

/// The kernel's table has at least the /proc it was read from.
#[test]
fn an_empty_mount_table_is_never_stopped() {
    is_an_error_for_everybody(Some(""));
}

#[track_caller]
fn is_an_error_for_everybody(table: Option<&str>) {
    let (machine, data) = network();
    match table {
        Some(text) => drop(machine.file("proc/self/mountinfo", text)),
        None => std::fs::remove_file(machine.path("proc/self/mountinfo")).unwrap(),
    }
    data.probe().answers(GENERIC);
    data.monitor().answers(GENERIC);
    data.run("stop").answers(GENERIC);
    data.run("start").answers(GENERIC);
    assert!(machine.calls("mount").is_empty(), "nothing is mounted blindly: {table:?}");
}
