//! The exit-code table of the specification, row by row, with the unsafe cells as decided.

use testkit::call::{ARGS, CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS, UNIMPLEMENTED};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{disk, filesystem, mounted_disk, mounted_network, network};

/// A cell that the row leaves open, or that has a test of its own.
const OPEN: i32 = -1;

/// One row: start, stop, monitor, probe, validate-all. What changes nothing goes first.
#[track_caller]
fn row(data: &Call, [start, stop, monitor, probe, validate]: [i32; 5]) {
    let interval = data.clone().meta("interval", "20000");
    let cells = [(data, "validate-all", validate), (data, "monitor", probe), (&interval, "monitor", monitor)];
    for (call, action, code) in cells.into_iter().chain([(data, "start", start), (data, "stop", stop)]) {
        if code != OPEN {
            call.run(action).answers(code);
        }
    }
}

#[test]
fn row_no_or_too_many_arguments() {
    let (_machine, data) = network();
    data.run_args::<_, &str>([]).answers(ARGS);
    for action in ["start", "stop", "monitor", "validate-all"] {
        data.run_args([action, "one-too-many"]).answers(ARGS);
    }
}

#[test]
fn row_device_unset() {
    let machine = Sandbox::new();
    let unset = machine.host(filesystem().param("directory", "/mnt/data").param("fstype", "ext4"));
    row(&unset, [CONFIGURED; 5]);
    row(&unset.clone().param("device", ""), [CONFIGURED; 5]);
    unset.probe().answers(CONFIGURED).names("device");
}

#[test]
fn row_device_with_white_space_at_an_edge() {
    let (_machine, data) = network();
    for device in [" server:/export", "server:/export ", "\tserver:/export", "server:/export\n"] {
        let data = data.clone().param("device", device);
        row(&data, [CONFIGURED, SUCCESS, CONFIGURED, CONFIGURED, CONFIGURED]);
        data.probe().answers(CONFIGURED).names("device");
    }
}

#[test]
fn row_directory_with_white_space_at_an_edge() {
    let (_machine, data) = network();
    for directory in [" /mnt/data", "/mnt/data ", "/mnt/data\n"] {
        let data = data.clone().param("directory", directory);
        row(&data, [CONFIGURED, SUCCESS, CONFIGURED, CONFIGURED, CONFIGURED]);
        data.probe().answers(CONFIGURED).names("directory");
    }
}

#[test]
fn row_directory_unset_for_a_block_device() {
    let Some((_machine, data)) = disk() else { return };
    row(
        &data.clone().without("OCF_RESKEY_directory"),
        [CONFIGURED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS],
    );
    row(&data.param("directory", ""), [CONFIGURED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
}

#[test]
fn row_directory_unset_for_a_network_file_system() {
    let (_machine, data) = network();
    row(&data.clone().without("OCF_RESKEY_directory"), [CONFIGURED; 5]);
    row(&data.clone().param("directory", ""), [CONFIGURED; 5]);
    data.param("directory", "").probe().answers(CONFIGURED).names("directory");
}

#[test]
fn row_directory_is_the_root_of_the_machine() {
    let (machine, data) = network();
    for directory in ["/", "//", "/./"] {
        row(
            &data.clone().param("directory", directory),
            [CONFIGURED, SUCCESS, CONFIGURED, NOT_RUNNING, SUCCESS],
        );
    }
    assert!(machine.calls("mount").is_empty());
    let Some((_machine, data)) = disk() else { return };
    row(&data.param("directory", "/"), [CONFIGURED, SUCCESS, CONFIGURED, NOT_RUNNING, SUCCESS]);
}

#[test]
fn row_device_node_missing_and_not_mounted() {
    let Some((_machine, data)) = disk() else { return };
    let data = data.param("device", "/dev/no_such_device").timeout_ms(4000);
    row(&data, [INSTALLED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    data.run("start").answers(INSTALLED).names("/dev/no_such_device");
}

/// Mounted by us is a kernel test; here there is no record, so nobody knows whose it is.
/// udevd keeps /run/udev/queue while it has events to work on: the node may still come.
#[test]
fn row_device_node_that_udev_has_not_made_yet() {
    let Some((machine, data)) = disk() else { return };
    let data = data.param("device", "/dev/late").timeout_ms(3000);
    data.run("start").answers(INSTALLED).names("/dev/late").within_ms(300);
    machine.file("run/udev/queue", "");
    let in_vain = data.run("start").answers(INSTALLED).names("/dev/late").within_ms(3000);
    assert!(in_vain.elapsed.as_millis() > 700, "it was waited for: {in_vain}");
    assert!(machine.calls("mount").is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            machine.block_device("dev/late", 1);
        });
        data.run("start").answers(SUCCESS);
    });
    assert_eq!(machine.mounts(), ["/mnt/data"]);
}

#[test]
fn row_device_alias_vanished_while_mounted_by_somebody() {
    let Some((machine, data)) = mounted_disk() else {
        return;
    };
    let data = data.param("device", "/dev/disk/by-id/gone").timeout_ms(4000);
    row(&data, [OPEN, GENERIC, GENERIC, GENERIC, SUCCESS]);
    assert_eq!(machine.mounts(), ["/mnt/data"], "unknown is never stopped");
}

#[test]
fn row_another_device_is_mounted_there() {
    let Some((machine, data)) = mounted_disk() else {
        return;
    };
    let data = data.param("device", "/dev/sdb1");
    row(&data, [GENERIC, SUCCESS, GENERIC, NOT_RUNNING, SUCCESS]);
    assert_eq!(machine.mounts(), ["/mnt/data"], "it is left alone, and nothing is stacked on it");
    data.monitor().answers(GENERIC).names("/mnt/data");
}

#[test]
fn row_another_export_is_mounted_there() {
    let (machine, data) = mounted_network();
    let data = data.param("device", "server:/other");
    row(&data, [GENERIC, SUCCESS, GENERIC, NOT_RUNNING, SUCCESS]);
    assert_eq!(machine.mounts(), ["/mnt/data"]);
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn row_fstype_unknown_and_its_module_missing() {
    let Some((machine, data)) = disk() else { return };
    machine.tool("modprobe", Tool::Fails(1, "modprobe: FATAL: Module nosuchfs not found."));
    let data = data.param("fstype", "nosuchfs");
    row(&data, [INSTALLED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    data.run("start").answers(INSTALLED).names("nosuchfs");
    let asked = machine.calls("modprobe");
    assert!(asked[0].last().unwrap().ends_with("nosuchfs"), "{asked:?}");
    data.param("fstype", "auto").run("start").answers(INSTALLED).names("auto");
}

#[test]
fn row_a_module_that_modprobe_loads_is_enough() {
    let Some((machine, data)) = disk() else { return };
    let loads = format!("printf '\\tlatefs\\n' >>'{}'", machine.path("proc/filesystems").display());
    machine.tool("modprobe", Tool::Does(loads));
    data.param("fstype", "latefs").run("start").answers(SUCCESS);
    assert_eq!(machine.mounts(), ["/mnt/data"]);
}

#[test]
fn row_mount_fails() {
    let (machine, data) = network();
    machine.tool("mount", Tool::Fails(32, "mount.nfs: access denied by server while mounting"));
    row(&data, [GENERIC, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    data.run("start").answers(GENERIC).names("access denied");
}

#[test]
fn row_fsck_finds_errors_it_cannot_mend() {
    let Some((machine, data)) = disk() else { return };
    let data = data.param("run_fsck", "force");
    for code in [4, 8, 12, 16, 32, 128] {
        machine.tool("fsck", Tool::Fails(code, "UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."));
        data.run("start").answers(GENERIC).names("fsck");
        assert!(machine.mounts().is_empty(), "a file system with errors is not mounted");
    }
}

#[test]
fn row_fsck_that_mended_something_does_not_stop_a_start() {
    for code in [0, 1, 2, 3] {
        let Some((machine, data)) = disk() else { return };
        machine.tool("fsck", Tool::Fails(code, "/dev/sda1: recovering journal"));
        data.param("run_fsck", "force").run("start").answers(SUCCESS);
        assert_eq!(machine.calls("fsck"), [["-t", "ext4", "-p", "/dev/sda1"]]);
    }
}

#[test]
fn row_mount_point_cannot_be_created() {
    let (machine, data) = network();
    machine.file("mnt/file", "not a directory");
    let below = data.clone().param("directory", "/mnt/file/data");
    row(&below, [INSTALLED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    below.run("start").answers(INSTALLED).names("/mnt/file");
    data.param("directory", "/mnt/file").run("start").answers(INSTALLED).names("/mnt/file");
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn row_mount_point_is_created_when_it_can_be() {
    let (machine, data) = network();
    data.param("directory", "/mnt/new/deep").run("start").answers(SUCCESS);
    assert!(machine.path("mnt/new/deep").is_dir());
    assert_eq!(machine.mounts(), ["/mnt/new/deep"]);
}

#[test]
fn row_clone_of_an_unsafe_file_system() {
    let Some((machine, data)) = disk() else { return };
    let clone = data.meta("clone_max", "2").meta("clone", "0");
    for fstype in ["ext4", "xfs", "btrfs", "ext2", ""] {
        let clone = clone.clone().param("fstype", fstype);
        row(&clone, [CONFIGURED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    }
    clone.run("start").answers(CONFIGURED).names("clone");
    assert!(machine.mounts().is_empty());
}

#[test]
fn row_clone_read_only_or_forced() {
    let clones = [
        ("ext4", "ro", "false", CONFIGURED),
        ("ext4", "", "true", SUCCESS),
        ("xfs", "", "true", SUCCESS),
        ("btrfs", "ro", "false", SUCCESS),
        ("btrfs", "", "true", CONFIGURED),
        ("ext4", "errors=remount-ro", "false", CONFIGURED),
        ("btrfs", "errors=remount-ro", "false", CONFIGURED),
    ];
    for (fstype, options, forced, code) in clones {
        let Some((_machine, data)) = disk() else { return };
        let clone = data.meta("clone_max", "2").meta("clone", "0").param("fstype", fstype);
        clone.param("options", options).param("force_clones", forced).run("start").answers(code);
    }
}

#[test]
fn row_clone_of_a_network_file_system_is_safe() {
    let (_machine, data) = network();
    data.meta("clone_max", "2").meta("clone", "1").run("start").answers(SUCCESS);
}

#[test]
fn row_submount_below_while_running() {
    let (machine, data) = mounted_network();
    machine.mounted("0:51", "/mnt/data/sub", "tmpfs", "tmpfs").mounted(
        "0:52",
        "/mnt/data/.hidden",
        "tmpfs",
        "tmpfs",
    );
    row(&data, [SUCCESS, OPEN, SUCCESS, SUCCESS, SUCCESS]);
    assert!(machine.calls("mount").is_empty(), "start is idempotent with submounts");
}

#[test]
fn row_submount_below_while_stopped() {
    for sub in ["/mnt/data/sub", "/mnt/data/.hidden"] {
        let (machine, data) = network();
        machine.mounted("0:51", sub, "tmpfs", "tmpfs");
        row(&data, [CONFIGURED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
        data.run("start").answers(CONFIGURED).names(sub);
    }
}

#[test]
fn row_a_neighbour_with_a_longer_name_is_no_submount() {
    let (machine, data) = network();
    machine.mounted("0:51", "/mnt/data2", "tmpfs", "tmpfs").mounted(
        "0:52",
        "/mnt/data-old/x",
        "tmpfs",
        "tmpfs",
    );
    row(&data, [SUCCESS, OPEN, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
}

/// The shell agent answers 5 everywhere; ours needs a tool only where it runs it.
#[test]
fn row_required_binary_missing() {
    let (machine, data) = network();
    std::fs::remove_file(machine.path("usr/sbin/mount")).unwrap();
    row(&data, [INSTALLED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    data.run("start").answers(INSTALLED).names("mount");
    machine.mounted("0:50", "/mnt/data", "nfs", "server:/export");
    row(&data, [SUCCESS, OPEN, SUCCESS, SUCCESS, SUCCESS]);
}

/// Their mount.<type> is all there is to them: the kernel knows them as NFS.
#[test]
fn row_mount_helper_of_a_cloud_file_system_missing() {
    for fstype in ["efs", "aznfs"] {
        let (machine, data) = network();
        let data = data.param("fstype", fstype);
        data.run("start").answers(INSTALLED).names(format!("mount.{fstype}"));
        assert!(machine.calls("mount").is_empty(), "{fstype}");
        machine.tool(&format!("mount.{fstype}"), Tool::Succeeds);
        data.run("start").answers(SUCCESS);
    }
}

#[test]
fn row_fsck_binary_missing() {
    let Some((machine, data)) = disk() else { return };
    std::fs::remove_file(machine.path("usr/sbin/fsck")).unwrap();
    row(&data.param("run_fsck", "force"), [INSTALLED, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
}

#[test]
fn row_unsupported_depth() {
    let (_machine, running) = mounted_network();
    let (_empty_machine, stopped) = network();
    for depth in [1, 5, 11, 15, 21, 30] {
        running.clone().level(depth).monitor().answers(CONFIGURED).names(depth.to_string());
        running.clone().level(depth).probe().answers(CONFIGURED);
        stopped.clone().level(depth).monitor().answers(NOT_RUNNING);
        stopped.clone().level(depth).probe().answers(NOT_RUNNING);
    }
    for depth in ["0", "-1", "-20", "garbage", "", "10x"] {
        running.clone().level(depth).monitor().answers(SUCCESS);
        stopped.clone().level(depth).monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn row_depth_given_as_a_parameter() {
    let (_machine, running) = mounted_network();
    running.clone().param("OCF_CHECK_LEVEL", "5").monitor().answers(CONFIGURED);
    running.param("OCF_CHECK_LEVEL", "5").level(0).monitor().answers(SUCCESS);
}

#[test]
fn row_unknown_action() {
    let (machine, data) = network();
    let before = machine.snapshot();
    data.run("promote").answers(UNIMPLEMENTED).names("promote");
    data.param("device", " ").meta("clone_max", "2").run("no-such-action").answers(UNIMPLEMENTED);
    assert_eq!(machine.snapshot(), before);
}

#[test]
fn row_start_and_stop_of_a_network_file_system() {
    let (machine, data) = network();
    data.monitor().answers(NOT_RUNNING);
    data.run("start").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    data.monitor().answers(SUCCESS);
    data.probe().answers(SUCCESS);
    data.run("status").answers(SUCCESS);
    assert_eq!(machine.calls("mount"), [["-t", "nfs", "--", "server:/export", "/mnt/data"]], "mounted once");
}

#[test]
fn row_an_automount_trap_below_the_mount_is_ignored() {
    let (machine, data) = network();
    machine.mounted("0:40", "/mnt/data", "autofs", "systemd-1");
    row(&data, [OPEN, SUCCESS, NOT_RUNNING, NOT_RUNNING, SUCCESS]);
    machine.mounted("0:50", "/mnt/data", "nfs", "server:/export");
    row(&data, [SUCCESS, OPEN, SUCCESS, SUCCESS, SUCCESS]);
    assert!(machine.calls("mount").is_empty());
}

#[test]
fn row_a_tag_is_resolved_by_the_links_of_udev() {
    for (tag, folder) in
        [("UUID=ab-1", "by-uuid"), ("LABEL=ab-1", "by-label"), ("PARTUUID=ab-1", "by-partuuid")]
    {
        let Some((machine, data)) = mounted_disk() else { return };
        machine.folder(&format!("dev/disk/{folder}"));
        let link = machine.path(format!("dev/disk/{folder}/ab-1"));
        std::os::unix::fs::symlink("../../sda1", &link).unwrap();
        let data = data.param("device", tag);
        row(&data, [SUCCESS, OPEN, SUCCESS, SUCCESS, SUCCESS]);
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("../../sdb1", &link).unwrap();
        row(&data, [GENERIC, SUCCESS, GENERIC, NOT_RUNNING, SUCCESS]);
        assert_eq!(machine.mounts(), ["/mnt/data"], "{tag}");
    }
}
