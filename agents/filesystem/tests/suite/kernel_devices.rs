//! The many ways to say which device.

use std::fs;
use std::io::Write;

use testkit::Call;
use testkit::call::{CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{Machine, is_mounted, mount_here, mounts_on, tool};

use crate::scenes::{every_device_answers, resource, scene};

/// Start, monitor, a depth that reads the device, stop.
#[track_caller]
fn lives(data: &Call, dir: &std::path::Path) {
    let _quiet = every_device_answers();
    data.probe().answers(NOT_RUNNING);
    data.run("start").answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    assert_eq!(mounts_on(dir).len(), 1);
    data.monitor().answers(SUCCESS);
    data.clone().level(10).monitor().answers(SUCCESS);
    data.clone().level(20).monitor().answers(SUCCESS);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(dir));
    data.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_device_by_its_uuid_in_every_spelling() {
    let Some(here) = scene(Format::Ext4) else { return };
    let uuid = here.disk.uuid();
    for device in [
        format!("-U {uuid}"),
        format!("-U{uuid}"),
        format!("--uuid={uuid}"),
        format!("--uuid {uuid}"),
        format!("UUID={uuid}"),
    ] {
        lives(&here.data.clone().param("device", device), &here.dir);
    }
}

#[test]
fn kernel_a_device_by_its_label_in_every_spelling() {
    let Some(here) = scene(Format::Ext4) else { return };
    let label = here.disk.label();
    for device in [
        format!("-L {label}"),
        format!("-L{label}"),
        format!("--label={label}"),
        format!("--label {label}"),
        format!("LABEL={label}"),
    ] {
        lives(&here.data.clone().param("device", device), &here.dir);
    }
}

#[test]
fn kernel_xfs_and_btrfs_by_uuid_and_label() {
    for format in [Format::Xfs, Format::Btrfs] {
        let Some(here) = scene(format) else { return };
        let data = here.data.clone().param("run_fsck", "no");
        lives(&data.clone().param("device", format!("UUID={}", here.disk.uuid())), &here.dir);
        lives(&data.param("device", format!("LABEL={}", here.disk.label())), &here.dir);
    }
}

#[test]
fn kernel_a_partition_by_its_partuuid() {
    let Some(machine) = Machine::private() else { return };
    let disk = partitioned(&machine);
    let partition = format!("{}p1", disk.device().display());
    tool("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), partition.as_ref()]);
    let dir = machine.dir("data");
    lives(&resource("PARTUUID=7be1fc4a-01", &dir, "ext4"), &dir);
    lives(&resource(&partition, &dir, "ext4"), &dir);
    // Another test may be looking into it.
    testkit::kernel::wait_until("the partition is removed", || {
        std::process::Command::new("delpart").arg(disk.device()).arg("1").output().unwrap().status.success()
    });
}

/// A disk with one partition. The kernel is told of it directly: not every kernel reads partition tables.
fn partitioned(machine: &Machine) -> Disk {
    let disk = machine.disk(Format::Blank);
    let mut sector = [0u8; 512];
    sector[440..444].copy_from_slice(&0x7be1_fc4a_u32.to_le_bytes());
    let (start, sectors) = (2048u32, 28_672u32);
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&start.to_le_bytes());
    sector[458..462].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::File::options().write(true).open(disk.device()).unwrap().write_all(&sector).unwrap();
    let known = fs::exists(format!("{}p1", disk.device().display())).unwrap();
    if !known {
        let (start, sectors) = (start.to_string(), sectors.to_string());
        tool("addpart", &[disk.device().as_ref(), "1".as_ref(), start.as_ref(), sectors.as_ref()]);
    }
    disk
}

#[test]
fn kernel_a_tag_that_nobody_has() {
    let Some(here) = scene(Format::Ext4) else { return };
    let _quiet = every_device_answers();
    for device in ["-U 00000000-0000-4000-8000-000000000000", "UUID=no-such", "-L nobody", "LABEL=nobody"] {
        let data = here.data.clone().param("device", device).timeout_ms(3000);
        data.probe().answers(NOT_RUNNING);
        data.run("stop").answers(SUCCESS);
        let start = data.run("start");
        assert!(matches!(start.code, Some(1 | 5)), "{start}");
        assert!(start.reason().is_some(), "{start}");
    }
    assert!(!is_mounted(&here.dir));
}

/// The shell agent took any mount on the directory for its own when the device was a tag.
#[test]
fn kernel_a_tag_of_another_disk_is_foreign() {
    let Some(here) = scene(Format::Ext4) else { return };
    let foreign = here.machine.disk(Format::Ext4);
    mount_here(&foreign, &here.dir, "ext4", "");
    for device in [format!("-U {}", here.disk.uuid()), format!("LABEL={}", here.disk.label())] {
        let data = here.data.clone().param("device", device);
        data.monitor().answers(GENERIC);
        data.probe().answers(NOT_RUNNING);
        data.run("start").answers(GENERIC);
        data.run("stop").answers(SUCCESS);
    }
    assert_eq!(mounts_on(&here.dir)[0].source, foreign.device());
}

#[test]
fn kernel_an_image_file_with_the_loop_option() {
    let Some(here) = scene(Format::Ext4) else { return };
    let image = here.machine.path("copy.img");
    fs::copy(here.disk.image(), &image).unwrap();
    let data = here.data.clone().param("device", &image).param("options", "loop");
    lives(&data, &here.dir);
    wait_for_detach(&image);
    data.clone().param("options", "loop,ro").run("start").answers(SUCCESS);
    data.clone().param("device", here.disk.image()).monitor().answers(GENERIC);
    data.clone().param("options", "loop,ro").run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

fn wait_for_detach(image: &std::path::Path) {
    let _quiet = every_device_answers();
    testkit::kernel::wait_until("the loop device is free", || {
        tool("losetup", &["-j".as_ref(), image.as_os_str()]).is_empty()
    });
}

#[test]
fn kernel_an_alias_of_the_device_is_the_device() {
    let Some(here) = scene(Format::Ext4) else { return };
    let alias = here.disk.alias(here.machine.base(), "by-id");
    here.data.run("start").answers(SUCCESS);
    let by_alias = here.data.clone().param("device", alias);
    by_alias.monitor().answers(SUCCESS);
    by_alias.run("start").answers(SUCCESS);
    by_alias.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

/// A path was lost, a link of udev went: the shell agent answered 0 to stop and left the disk mounted.
#[test]
fn kernel_an_alias_that_vanishes_while_mounted_is_still_ours() {
    let Some(here) = scene(Format::Ext4) else { return };
    let alias = here.disk.alias(here.machine.base(), "by-id");
    let data = here.data.clone().param("device", &alias).timeout_ms(5000);
    data.run("start").answers(SUCCESS);
    fs::remove_file(&alias).unwrap();
    data.monitor().answers(SUCCESS);
    data.probe().answers(SUCCESS);
    data.run("start").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dir).len(), 1);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    data.probe().answers(NOT_RUNNING);
    data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_an_alias_that_vanished_from_a_mount_that_is_not_ours() {
    let Some(here) = scene(Format::Ext4) else { return };
    mount_here(&here.disk, &here.dir, "ext4", "");
    let data = here.data.clone().param("device", here.machine.path("vanished")).timeout_ms(5000);
    data.monitor().answers(GENERIC);
    data.probe().answers(GENERIC);
    data.run("stop").answers(GENERIC);
    assert!(is_mounted(&here.dir), "unknown is never stopped");
}

/// The alias now leads to another disk, as after a reused name.
#[test]
fn kernel_an_alias_that_moved_to_another_disk() {
    let Some(here) = scene(Format::Ext4) else { return };
    let other = here.machine.disk(Format::Ext4);
    let alias = here.disk.alias(here.machine.base(), "by-id");
    let data = here.data.clone().param("device", &alias);
    data.run("start").answers(SUCCESS);
    fs::remove_file(&alias).unwrap();
    other.alias(here.machine.base(), "by-id");
    let stop = data.run("stop");
    assert!(matches!(stop.code, Some(SUCCESS | GENERIC)), "{stop}");
    assert!(
        stop.code != Some(SUCCESS) || !is_mounted(&here.dir),
        "0 means that what we mounted is gone: {stop}"
    );
}

#[test]
fn kernel_the_same_disk_mounted_twice_keeps_the_second_place_for_itself() {
    let Some(here) = scene(Format::Ext4) else { return };
    let elsewhere = here.machine.dir("elsewhere");
    mount_here(&here.disk, &elsewhere, "ext4", "");
    here.data.probe().answers(NOT_RUNNING);
    here.data.run("stop").answers(SUCCESS);
    assert!(is_mounted(&elsewhere), "not running here: nothing to stop");
}

#[test]
fn kernel_lazy_unmount_is_refused_for_a_disk() {
    let Some(here) = scene(Format::Ext4) else { return };
    let lazy = here.data.clone().param("lazy_unmount", "true");
    lazy.run("validate-all").answers(CONFIGURED).names("lazy_unmount");
    lazy.run("start").answers(CONFIGURED).names("lazy_unmount");
    assert!(!is_mounted(&here.dir));
}

/// Ignored signals are inherited; one that nobody expects makes wait(2) forget how a child ended.
#[test]
fn kernel_a_caller_that_ignores_sigchld_changes_nothing() {
    let Some(here) = scene(Format::Ext4) else { return };
    let image = here.machine.path("copy.img");
    fs::copy(here.disk.image(), &image).unwrap();
    let data = here.data.clone().param("device", &image).param("options", "loop").program("/usr/bin/env");
    let run = |action: &str| data.run_args(["--ignore-signal=CHLD", crate::scenes::BINARY, action]);
    run("start").answers(SUCCESS);
    assert!(is_mounted(&here.dir));
    run("monitor").answers(SUCCESS);
    let mut user = testkit::users::User::with_cwd(&here.dir);
    run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir) && !user.is_alive());
    wait_for_detach(&image);
}

/// A directory as the device is how some file systems name their source; a disk is not one of them.
#[test]
fn kernel_a_directory_as_the_device_never_matches_a_disk() {
    for fstype in ["", "ext4"] {
        let Some(here) = scene(Format::Ext4) else { return };
        let named = here.machine.dir("named");
        mount_here(&here.disk, &here.dir, "ext4", "");
        let data = here.data.clone().param("device", &named).param("fstype", fstype);
        data.probe().answers(NOT_RUNNING);
        data.monitor().answers(GENERIC);
        data.run("start").answers(GENERIC).names(here.dir.to_str().unwrap());
        data.run("stop").answers(SUCCESS);
        assert_eq!(mounts_on(&here.dir)[0].source, here.disk.device(), "{fstype:?}: left alone");
    }
}

#[test]
fn kernel_a_write_protected_device_is_mounted_read_only() {
    let Some(here) = scene(Format::Ext4) else { return };
    let image = here.machine.path("copy.img");
    fs::copy(here.disk.image(), &image).unwrap();
    let disk = Disk::read_only_of_image(&image);
    let data = here.data.clone().param("device", &disk);
    data.run("start").answers(SUCCESS);
    let mount = mounts_on(&here.dir).remove(0);
    assert_eq!(mount.source, disk.device());
    assert!(mount.super_options.split(',').any(|word| word == "ro"), "{mount:?}");
    data.monitor().answers(SUCCESS);
    data.clone().level(10).monitor().answers(SUCCESS);
    data.clone().level(20).monitor().answers(GENERIC);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

/// A type with a program of its own in /sbin is mounted by mount(8), which runs it.
#[test]
fn kernel_a_mount_helper_is_run_where_there_is_one() {
    let Some(machine) = Machine::private() else { return };
    let tools = std::path::Path::new("/usr/sbin");
    let (upper, work, record) = (machine.dir("upper"), machine.dir("work"), machine.path("record"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>'{}'\nexec /usr/bin/mount -i -t tmpfs \"$1\" \"$2\"",
        record.display()
    );
    let helper = upper.join("mount.tmpfs");
    let write = "printf '%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\"";
    tool("/bin/sh", &["-c".as_ref(), write.as_ref(), helper.as_os_str(), script.as_ref()]);
    let layers = format!("lowerdir=/usr/sbin,upperdir={},workdir={}", upper.display(), work.display());
    let dir = machine.dir("data");
    let data = resource("scratch", &dir, "tmpfs");
    let lives = || {
        data.run("start").answers(SUCCESS);
        data.monitor().answers(SUCCESS);
        data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&dir));
    };
    lives();
    assert!(!record.exists(), "there is no helper yet");
    mount_here("helpers", tools, "overlay", &layers);
    lives();
    testkit::kernel::unmount_here(tools);
    let called = fs::read_to_string(&record).unwrap();
    assert!(called.starts_with(&format!("scratch {}", dir.display())), "{called}");
}
