//! The ordinary life of a resource on the real kernel.

use std::fs;

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{self, Machine, is_mounted, mount_here, mounts_on};

use crate::scenes::{filesystem, resource, running, scene};

/// Start, the monitors of every depth, stop; each twice where twice must not matter.
fn life(format: Format) {
    let Some(machine) = Machine::private() else { return };
    let disk = machine.disk(format);
    let dir = machine.path("made by start");
    let data = resource(&disk, &dir, format.fstype());
    data.run("validate-all").answers(SUCCESS);
    data.probe().answers(NOT_RUNNING);
    data.run("stop").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    let mounted = mounts_on(&dir);
    assert_eq!(mounted.len(), 1, "mounted once: {mounted:?}");
    assert_eq!(mounted[0].source, disk.device());
    assert_eq!(mounted[0].fstype, format.fstype());
    for depth in [0, 10, 20] {
        data.clone().level(depth).monitor().answers(SUCCESS);
        data.clone().level(depth).probe().answers(SUCCESS);
        data.clone().level(depth).run("status").answers(SUCCESS);
    }
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&dir));
    data.run("stop").answers(SUCCESS);
    for depth in [0, 10, 20] {
        data.clone().level(depth).monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn kernel_life_of_ext4() {
    life(Format::Ext4);
}

#[test]
fn kernel_life_of_xfs() {
    life(Format::Xfs);
}

#[test]
fn kernel_life_of_btrfs() {
    life(Format::Btrfs);
}

#[test]
fn kernel_an_empty_fstype_is_recognised() {
    for format in [Format::Ext4, Format::Xfs, Format::Btrfs] {
        let Some(machine) = Machine::private() else { return };
        let disk = machine.disk(format);
        let dir = machine.dir("data");
        let data = resource(&disk, &dir, "").param("run_fsck", "no");
        data.run("start").answers(SUCCESS);
        assert_eq!(mounts_on(&dir)[0].fstype, format.fstype());
        data.run("stop").answers(SUCCESS);
    }
}

#[test]
fn kernel_a_wrong_fstype_fails_and_leaves_nothing() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data
        .param("fstype", "xfs")
        .run("start")
        .answers(GENERIC)
        .names(here.disk.device().to_str().unwrap());
    assert!(!is_mounted(&here.dir));
    let blank = here.machine.disk(Format::Blank);
    resource(&blank, &here.dir, "ext4").run("start").answers(GENERIC);
    resource(&blank, &here.dir, "").param("run_fsck", "no").run("start").answers(GENERIC);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_bad_mount_option_fails_and_leaves_nothing() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.param("options", "no_such_option=1").run("start").answers(GENERIC);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_options_reach_the_mount_and_the_file_system() {
    let Some(here) = scene(Format::Ext4) else { return };
    let options = "noatime,nosuid,nodev,noexec,data=ordered,errors=remount-ro";
    here.data.param("options", options).run("start").answers(SUCCESS);
    let mounted = &mounts_on(&here.dir)[0];
    for option in ["noatime", "nosuid", "nodev", "noexec", "rw"] {
        assert!(mounted.options.split(',').any(|it| it == option), "{option}: {mounted:?}");
    }
    assert!(mounted.super_options.contains("errors=remount-ro"), "{mounted:?}");
    assert!(mounted.super_options.starts_with("rw"), "errors=remount-ro is not ro: {mounted:?}");
}

#[test]
fn kernel_read_only_on_purpose_is_running() {
    let Some(here) = scene(Format::Xfs) else { return };
    let data = here.data.param("options", "ro").param("check_readonly", "true");
    data.run("start").answers(SUCCESS);
    assert!(mounts_on(&here.dir)[0].options.starts_with("ro"));
    data.monitor().answers(SUCCESS);
    data.clone().level(10).monitor().answers(SUCCESS);
    data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_a_device_that_is_no_device_is_not_installed() {
    let Some(machine) = Machine::private() else { return };
    let image = machine.disk(Format::Ext4).image().to_owned();
    let dir = machine.dir("data");
    resource(&image, &dir, "ext4").run("start").answers(INSTALLED);
    resource("/dev/zero", &dir, "ext4").run("start").answers(INSTALLED);
    assert!(!is_mounted(&dir));
}

#[test]
fn kernel_a_loop_node_without_backing_fails_at_start() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.disk.detach();
    here.data.run("start").answers(GENERIC).names(here.disk.device().to_str().unwrap());
    here.data.probe().answers(NOT_RUNNING);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_foreign_device_is_left_alone() {
    let Some(here) = scene(Format::Ext4) else { return };
    let foreign = here.machine.disk(Format::Ext4);
    mount_here(&foreign, &here.dir, "ext4", "");
    here.data.run("start").answers(GENERIC).names(here.dir.to_str().unwrap());
    here.data.monitor().answers(GENERIC);
    here.data.probe().answers(NOT_RUNNING);
    here.data.run("stop").answers(SUCCESS);
    let left = mounts_on(&here.dir);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].source, foreign.device());
}

#[test]
fn kernel_clones_of_a_local_file_system_are_refused() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.clone().meta("clone_max", "2").run("start").answers(CONFIGURED);
    assert!(!is_mounted(&here.dir));
    here.data.meta("clone_max", "2").param("force_clones", "yes").run("start").answers(SUCCESS);
    assert!(is_mounted(&here.dir));
}

#[test]
fn kernel_start_with_submounts_is_refused_when_stopped_and_fine_when_running() {
    for name in ["sub", ".hidden", "with space"] {
        let Some(here) = scene(Format::Ext4) else { return };
        let sub = here.machine.dir(format!("data/{name}"));
        mount_here("tmpfs", &sub, "tmpfs", "");
        here.data.run("start").answers(CONFIGURED).names(name);
        assert!(!is_mounted(&here.dir));
        kernel::unmount_here(&sub);
        here.data.run("start").answers(SUCCESS);
        mount_here("tmpfs", &here.machine.dir(format!("data/{name}")), "tmpfs", "");
        here.data.run("start").answers(SUCCESS);
        here.data.monitor().answers(SUCCESS);
        here.data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&here.dir) && !is_mounted(&sub), "stop takes {name} down too");
        drop(here.disk);
    }
}

#[test]
fn kernel_fsck_mends_what_it_can_and_refuses_the_rest() {
    let Some(here) = scene(Format::Ext4) else { return };
    let forced = here.data.param("run_fsck", "force");
    forced.run("start").answers(SUCCESS);
    forced.run("stop").answers(SUCCESS);
    here.disk.damage();
    forced.run("start").answers(GENERIC).names("fsck");
    assert!(!is_mounted(&here.dir));
    forced.clone().param("run_fsck", "no").run("stop").answers(SUCCESS);
}

#[test]
fn kernel_a_status_file_is_written_compared_and_removed_on_request() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    let node = nix::sys::utsname::uname().unwrap().nodename().to_string_lossy().into_owned();
    let file = here.dir.join(format!(".Filesystem_status/data_{node}"));
    assert!(!file.exists());
    here.data.clone().level(20).monitor().answers(SUCCESS);
    let mut expected = b"data\n".to_vec();
    expected.resize(4096, 0);
    assert_eq!(fs::read(&file).unwrap(), expected);
    let other = here.data.clone().param("statusfile_prefix", "state-").meta("clone", "3").level(20);
    other.monitor().answers(SUCCESS);
    assert!(here.dir.join(format!("state-data_3_{node}")).exists());
    here.data.clone().level(20).run("stop").answers(SUCCESS);
    kernel::mount_here(&here.disk, &here.dir, "ext4", "");
    assert!(!file.exists(), "stop with depth 20 removes the status file");
    assert!(here.dir.join(format!("state-data_3_{node}")).exists(), "of this resource only");
}

#[test]
fn kernel_a_status_file_survives_an_ordinary_stop() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    here.data.clone().level(20).monitor().answers(SUCCESS);
    here.data.run("stop").answers(SUCCESS);
    mount_here(&here.disk, &here.dir, "ext4", "");
    assert_eq!(fs::read_dir(here.dir.join(".Filesystem_status")).unwrap().count(), 1);
}

#[test]
fn kernel_the_record_of_a_start_goes_with_the_stop() {
    let Some(here) = scene(Format::Ext4) else { return };
    let records = || fs::read_dir("/run/holdfast/Filesystem").map_or(0, Iterator::count);
    here.data.run("start").answers(SUCCESS);
    assert_eq!(records(), 1);
    here.data.run("stop").answers(SUCCESS);
    assert_eq!(records(), 0);
}

/// A record left by a crash or a reboot names a mount that is no longer ours.
#[test]
fn kernel_a_record_without_a_mount_is_no_evidence() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    kernel::unmount_here(&here.dir);
    here.data.monitor().answers(NOT_RUNNING);
    let foreign = here.machine.disk(Format::Ext4);
    mount_here(&foreign, &here.dir, "ext4", "");
    here.data.monitor().answers(GENERIC);
    here.data.run("stop").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dir)[0].source, foreign.device(), "left alone in spite of the record");
}

#[test]
fn kernel_tmpfs_and_overlay() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let scratch = resource("tmpfs", &dir, "tmpfs").param("options", "size=1m,mode=0700");
    scratch.run("start").answers(SUCCESS);
    scratch.run("start").answers(SUCCESS);
    assert!(mounts_on(&dir)[0].super_options.contains("size=1024k"));
    scratch.clone().level(20).monitor().answers(SUCCESS);
    scratch.clone().level(10).monitor().answers(SUCCESS);
    scratch.run("stop").answers(SUCCESS);
    scratch.probe().answers(NOT_RUNNING);

    let (lower, upper, work) = (machine.tree("lower", &["below"]), machine.dir("upper"), machine.dir("work"));
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let overlay = resource("overlay", &dir, "overlay").param("options", &layers);
    overlay.run("start").answers(SUCCESS);
    assert!(dir.join("below").exists());
    overlay.monitor().answers(SUCCESS);
    overlay.run("stop").answers(SUCCESS);
    overlay.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_killed_start_or_stop_leaves_no_broken_state() {
    let Some(here) = scene(Format::Ext4) else { return };
    for delay_us in (0..24).map(|step| step * 250) {
        for action in ["start", "stop"] {
            let mut agent = here.data.spawn(action);
            std::thread::sleep(std::time::Duration::from_micros(delay_us));
            agent.kill().unwrap();
            agent.wait().unwrap();
            let probe = here.data.probe();
            assert!(matches!(probe.code, Some(SUCCESS | NOT_RUNNING)), "{probe}");
            here.data.run(action).answers(SUCCESS);
            assert_eq!(mounts_on(&here.dir).len(), usize::from(action == "start"));
        }
    }
}

#[test]
fn kernel_ten_stops_at_once() {
    let Some(machine) = Machine::private() else { return };
    let pairs: Vec<(Disk, _)> =
        (0..10).map(|number| (machine.disk(Format::Ext4), machine.dir(format!("data{number}")))).collect();
    let resources: Vec<_> = pairs.iter().map(|(disk, dir)| resource(disk, dir, "ext4")).collect();
    for data in &resources {
        data.run("start").answers(SUCCESS);
    }
    let mut agents: Vec<_> = resources.iter().map(|data| data.spawn("stop")).collect();
    for agent in &mut agents {
        assert_eq!(agent.wait().unwrap().code(), Some(SUCCESS));
    }
    assert!(pairs.iter().all(|(_, dir)| !is_mounted(dir)));
}

#[test]
fn kernel_ten_starts_at_once_mount_once() {
    let Some(here) = scene(Format::Ext4) else { return };
    let mut agents: Vec<_> = (0..10).map(|_| here.data.spawn("start")).collect();
    let codes: Vec<_> = agents.iter_mut().map(|agent| agent.wait().unwrap().code()).collect();
    assert!(codes.contains(&Some(SUCCESS)), "{codes:?}");
    assert_eq!(mounts_on(&here.dir).len(), 1, "never stacked: {codes:?}");
    here.data.monitor().answers(SUCCESS);
}

#[test]
fn kernel_the_root_of_the_machine_by_another_name_is_refused() {
    let Some(machine) = Machine::private() else { return };
    let alias = machine.path("root");
    std::os::unix::fs::symlink("/", &alias).unwrap();
    let root = filesystem().param("device", "/dev/no_such").param("fstype", "ext4");
    for directory in [alias.as_path(), std::path::Path::new("/proc/..")] {
        let root = root.clone().param("directory", directory);
        root.run("start").answers(CONFIGURED);
        root.monitor().answers(CONFIGURED);
        root.probe().answers(NOT_RUNNING);
        root.run("stop").answers(SUCCESS);
    }
    assert!(is_mounted("/"));
}

/// An administrator's umount is no reason to fence the node.
#[test]
fn kernel_a_mount_that_somebody_else_unmounted_is_stopped() {
    let Some(here) = running(Format::Ext4) else { return };
    kernel::unmount_here(&here.dir);
    here.data.monitor().answers(NOT_RUNNING);
    here.data.probe().answers(NOT_RUNNING);
    here.data.run("stop").answers(SUCCESS);
    here.data.run("start").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dir).len(), 1);
}
