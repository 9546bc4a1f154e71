//! What each parameter does, where no kernel is needed to see it.

use testkit::call::SUCCESS;
use testkit::{Sandbox, Tool};

use crate::scenes::{disk, filesystem, network, resource};

const DROP_IN: &str = "run/systemd/system/resource-agents-deps.target.d/99-Filesystem-remote.conf";

/// The default of a parameter in the meta-data of a machine with this system.
fn default_on(id: &str, version: &str, parameter: &str) -> String {
    let machine = Sandbox::new();
    machine.os_release(id, version);
    let xml = machine.host(filesystem()).run("meta-data").exits(SUCCESS).stdout;
    let element =
        xml.split("<parameter ").find(|text| text.starts_with(&format!("name=\"{parameter}\""))).unwrap();
    let default = element.split_once("default=\"").map(|(_, rest)| rest.split('"').next().unwrap());
    default.unwrap_or_default().to_owned()
}

#[test]
fn defaults_depend_on_the_distribution_and_versions_are_compared_as_numbers() {
    let systems = [
        ("debian", "12", "no", "true"),
        ("ubuntu", "24.04", "no", "true"),
        ("opensuse-leap", "15.6", "no", "true"),
        ("rhel", "8.6", "yes", "true"),
        ("rhel", "8", "yes", "true"),
        ("centos", "7", "yes", "true"),
        ("centos", "9", "no", "safe"),
        ("rhel", "9.0", "no", "safe"),
        ("rhel", "9.4", "no", "safe"),
        ("rocky", "10.1", "no", "safe"),
        ("almalinux", "9", "no", "safe"),
        ("ol", "10", "no", "safe"),
        ("fedora", "41", "no", "safe"),
    ];
    for (id, version, fast_stop, force_unmount) in systems {
        assert_eq!(default_on(id, version, "fast_stop"), fast_stop, "{id} {version}");
        assert_eq!(default_on(id, version, "force_unmount"), force_unmount, "{id} {version}");
    }
}

#[test]
fn the_other_defaults_are_those_of_the_shell_agent() {
    let expected = [
        ("statusfile_prefix", ".Filesystem_status/"),
        ("run_fsck", "auto"),
        ("term_signals", "TERM"),
        ("kill_signals", "KILL"),
        ("signal_delay", "1"),
    ];
    for (parameter, default) in expected {
        assert_eq!(default_on("debian", "12", parameter), default, "{parameter}");
    }
    for parameter in ["force_clones", "check_readonly", "lazy_unmount"] {
        assert!(["false", "no"].contains(&default_on("debian", "12", parameter).as_str()), "{parameter}");
    }
}

#[test]
fn run_fsck_decides_which_file_systems_are_checked() {
    let rows = [
        ("ext4", "auto", 0),
        ("ext3", "auto", 0),
        ("xfs", "auto", 0),
        ("vfat", "auto", 0),
        ("ext2", "auto", 1),
        ("btrfs", "auto", 1),
        ("ext2", "", 1),
        ("ext2", "no", 0),
        ("btrfs", "no", 0),
        ("ext4", "force", 1),
        ("xfs", "force", 1),
    ];
    for (fstype, run_fsck, times) in rows {
        let Some((machine, data)) = disk() else { return };
        data.param("fstype", fstype).param("run_fsck", run_fsck).run("start").answers(SUCCESS);
        assert_eq!(machine.calls("fsck").len(), times, "{fstype} {run_fsck}");
    }
}

#[test]
fn a_network_file_system_is_never_checked() {
    let (machine, data) = network();
    machine.tool("fsck", Tool::Fails(8, "no"));
    data.param("run_fsck", "force").run("start").answers(SUCCESS);
    assert!(machine.calls("fsck").is_empty());
}

#[test]
fn remote_file_systems_order_the_shutdown() {
    let (machine, data) = network();
    machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
    data.run("start").answers(SUCCESS);
    let text = std::fs::read_to_string(machine.path(DROP_IN)).unwrap();
    assert_eq!(text, "[Unit]\nAfter=remote-fs.target\n");
    assert_eq!(machine.calls("systemctl"), [["daemon-reload"]]);
    let second = resource("server:/second", "/mnt/second".as_ref(), "nfs");
    machine.host(second).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("systemctl").len(), 1, "only when the line is missing");
}

#[test]
fn systemd_that_did_not_listen_is_told_again_by_the_next_start() {
    let (machine, data) = network();
    let once = "[ -e $OCF_TEST_ROOT/heard ] || { : >$OCF_TEST_ROOT/heard; exit 1; }";
    machine.folder("run/systemd/system").tool("systemctl", Tool::Does(once.into()));
    let start = data.run("start").answers(SUCCESS);
    assert!(start.stderr.contains("the order at shutdown is not set"), "{start}");
    let second = machine.host(resource("server:/second", "/mnt/second".as_ref(), "nfs"));
    let start = second.run("start").answers(SUCCESS);
    assert!(!start.stderr.contains("shutdown"), "{start}");
    assert_eq!(machine.calls("systemctl"), [["daemon-reload"], ["daemon-reload"]]);
}

#[test]
fn a_drop_in_of_an_administrator_keeps_its_lines() {
    let (machine, data) = network();
    machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
    machine.file(DROP_IN, "[Unit]\nAfter=mine.service\n");
    data.run("start").answers(SUCCESS);
    let text = std::fs::read_to_string(machine.path(DROP_IN)).unwrap();
    assert_eq!(text, "[Unit]\nAfter=mine.service\n[Unit]\nAfter=remote-fs.target\n");
    assert_eq!(machine.calls("systemctl").len(), 1);
    // Also if systemd does not listen.
    machine.tool("systemctl", Tool::Fails(1, "no"));
    machine.file(DROP_IN, "[Unit]\nAfter=mine.service\n");
    let second = machine.host(resource("server:/second", "/mnt/second".as_ref(), "nfs"));
    second.run("start").answers(SUCCESS);
    assert_eq!(std::fs::read_to_string(machine.path(DROP_IN)).unwrap(), "[Unit]\nAfter=mine.service\n");
}

#[test]
fn local_file_systems_order_it_only_when_clones_are_forced() {
    for (forced, written) in [("false", false), ("true", true)] {
        let Some((machine, data)) = disk() else { return };
        machine.folder("run/systemd/system").tool("systemctl", Tool::Succeeds);
        data.param("force_clones", forced).run("start").answers(SUCCESS);
        assert_eq!(machine.path(DROP_IN).exists(), written, "force_clones={forced}");
    }
}

#[test]
fn without_systemd_nothing_is_written_for_it() {
    let (machine, data) = network();
    machine.tool("systemctl", Tool::Succeeds);
    data.run("start").answers(SUCCESS);
    assert!(!machine.path(DROP_IN).exists() && machine.calls("systemctl").is_empty());
}

#[test]
fn a_device_that_is_a_tag_is_handed_to_mount_as_one() {
    let tags = [("-U abc-1", "-U", "abc-1"), ("-Uabc-1", "-U", "abc-1"), ("-L my label", "-L", "my label")];
    for (device, flag, value) in tags {
        let (machine, data) = network();
        data.param("device", device).param("fstype", "ext4").run("start");
        let calls = machine.calls("mount");
        let words = calls.first().unwrap_or_else(|| panic!("{device}: mount(8) was not run"));
        let as_flag = words.windows(2).any(|pair| pair == [flag, value]);
        let name = if flag == "-U" { "UUID" } else { "LABEL" };
        let as_tag = words.contains(&format!("{name}={value}"));
        assert!(as_flag || as_tag, "{device}: {words:?}");
    }
}

#[test]
fn fuse_and_other_modern_types_are_no_block_devices() {
    let types = ["fuse.sshfs", "fuse.glusterfs", "virtiofs", "9p", "smb3", "beegfs", "ceph", "cifs", "nfs4"];
    for fstype in types {
        let (machine, data) = network();
        let known = format!("nodev\tfuse\nnodev\t{fstype}\n");
        machine.file("proc/filesystems", known).tool("fsck", Tool::Fails(8, "never"));
        let kind = fstype.rsplit('.').next().unwrap();
        for helper in [fstype, kind] {
            machine.tool(&format!("mount.{helper}"), Tool::Succeeds);
        }
        machine.tool("mount.fuse", Tool::Succeeds);
        data.param("fstype", fstype).run("start").answers(SUCCESS);
        assert_eq!(machine.mounts(), ["/mnt/data"], "{fstype}");
        assert!(machine.calls("fsck").is_empty(), "{fstype}");
    }
}

#[test]
fn a_trace_is_written_where_the_cluster_shells_look() {
    let (machine, data) = network();
    let data = data.param("trace_ra", "1").param("trace_dir", "/tmp/trace");
    data.run("monitor").answers(testkit::call::NOT_RUNNING);
    let traces = machine.snapshot();
    let traces: Vec<_> =
        traces.iter().filter(|entry| entry.starts_with("tmp/trace/Filesystem/data.monitor.")).collect();
    assert_eq!(traces.len(), 1, "{traces:?}");
}

/// Nothing of a server in the kernel is to be seen among the processes.
#[test]
fn people_are_told_of_an_nfs_export_and_of_swap() {
    let (machine, _) = crate::scenes::mounted_network();
    machine.file(
        "proc/net/rpc/nfsd.export/content",
        "#path domain(flags)\n/mnt/data/share\t*(rw)\n/mnt/other\t*(rw)\n",
    );
    machine.file("proc/swaps", "Filename Type Size Used Priority\n/mnt/data/swap file 1020 0 -3\n");
    let by_hand = machine.host(testkit::Call::bare(crate::scenes::BINARY));
    let words = ["--device", "server:/export", "--directory", "/mnt/data", "--fstype", "nfs", "users"];
    let answer = by_hand.run_args(words).exits(SUCCESS);
    assert!(answer.stdout.contains("NFS export of /mnt/data/share"), "{answer}");
    assert!(answer.stdout.contains("swap file /mnt/data/swap"), "{answer}");
    assert!(!answer.stdout.contains("/mnt/other"), "{answer}");
}
