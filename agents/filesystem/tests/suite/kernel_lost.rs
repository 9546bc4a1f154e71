//! Mounts that are not where they were, or not seen from where they were: none of them is "stopped".

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::Format;
use testkit::kernel::{bind_here, is_mounted, mount_here, tool, unmount_here, wait_until};
use testkit::users::User;

use crate::scenes::{Scene, resource, running, scene};

fn set_propagation(directory: &Path, how: &str) {
    tool("mount", &[OsStr::new(how), directory.as_os_str()]);
}

/// The started mount is at `now`: everybody says so, and stop unmounts it there.
#[track_caller]
fn is_stopped_at(here: &Scene, now: &Path) {
    here.data.probe().answers(GENERIC).names(now.to_str().unwrap());
    here.data.monitor().answers(GENERIC);
    here.data.run("start").answers(GENERIC);
    assert!(is_mounted(now));
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(now));
    here.data.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_mount_that_somebody_moved_is_not_stopped() {
    let Some(here) = running(Format::Ext4) else { return };
    let there = here.machine.dir("there");
    tool("mount", &["--move".as_ref(), here.dir.as_os_str(), there.as_os_str()]);
    is_stopped_at(&here, &there);
}

#[test]
fn kernel_a_mount_below_a_renamed_directory_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let (before, after) = (here.machine.path("before"), here.machine.path("after"));
    let data = resource(&here.disk, &before.join("data"), "ext4");
    data.run("start").answers(SUCCESS);
    fs::rename(&before, &after).unwrap();
    is_stopped_at(&Scene { data, ..here }, &after.join("data"));
}

#[test]
fn kernel_a_mount_whose_path_lost_its_link_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let (real, link) = (here.machine.dir("real"), here.machine.path("link"));
    symlink(&real, &link).unwrap();
    let data = resource(&here.disk, &link.join("data"), "ext4");
    data.run("start").answers(SUCCESS);
    fs::remove_file(&link).unwrap();
    is_stopped_at(&Scene { data, ..here }, &real.join("data"));
}

#[test]
fn kernel_ours_hidden_while_another_is_visible_under_its_name_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let above = here.machine.dir("above");
    let dir = above.join("data");
    let data = resource(&here.disk, &dir, "ext4");
    data.run("start").answers(SUCCESS);
    mount_here("cover", &above, "tmpfs", "");
    fs::create_dir(&dir).unwrap();
    let other = here.machine.disk(Format::Ext4);
    mount_here(&other, &dir, "ext4", "");
    for answer in [data.probe(), data.monitor(), data.run("stop")] {
        answer.answers(GENERIC);
    }
    unmount_here(&dir);
    unmount_here(&above);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&dir));
}

#[test]
fn kernel_an_image_that_another_namespace_still_has_mounted_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let image = here.machine.path("image");
    fs::copy(here.disk.image(), &image).unwrap();
    let data = resource(&image, &here.dir, "ext4").param("options", "loop");
    data.run("start").answers(SUCCESS);
    let holder = User::namespace_holder(&here.dir);
    data.clone().timeout_ms(6000).run("stop").answers(GENERIC).names("sleep");
    drop(holder);
    data.run("stop").answers(SUCCESS);
}

/// The disk was unmounted by hand and is gone; another one has its number, and is used where nothing of it is to be seen.
#[test]
fn kernel_a_stop_leaves_alone_whoever_has_got_the_number_of_a_disk_that_is_gone() {
    let Some(here) = scene(Format::Ext4) else { return };
    let next = here.machine.disk(Format::Ext4);
    // Far from those that other tests get.
    let node = PathBuf::from(format!("/dev/loop{}", 200 + std::process::id() % 50));
    let attach = |image: &Path| tool("losetup", &[node.as_os_str(), image.as_os_str()]);
    let used = PathBuf::from("/sys/block").join(node.file_name().unwrap()).join("loop");
    let detach = || {
        tool("losetup", &["-d".as_ref(), node.as_os_str()]);
        // Another test may be looking into it.
        wait_until("the device is free", || !used.exists());
    };
    let [ours, theirs] = [&here.disk, &next].map(|disk| {
        let copy = disk.image().with_extension("copy");
        fs::copy(disk.image(), &copy).unwrap();
        copy
    });
    attach(&ours);
    let data = resource(&node, &here.dir, "ext4");
    data.run("start").answers(SUCCESS);
    unmount_here(&here.dir);
    detach();
    attach(&theirs);
    let other = here.machine.dir("other");
    mount_here(&node, &other, "ext4", "");
    let mut user = User::in_other_namespace(&other);
    unmount_here(&other);
    data.run("stop").answers(SUCCESS);
    assert!(user.is_alive());
    drop(user);
    detach();
}

/// systemd gives services such namespaces: their copy of the mount is unmounted with ours, unless it is in use.
#[test]
fn kernel_a_user_in_a_namespace_that_follows_ours_is_ended() {
    let Some(here) = scene(Format::Ext4) else { return };
    set_propagation(here.machine.base(), "--make-shared");
    here.data.run("start").answers(SUCCESS);
    let mut user = User::in_following_namespace(&here.dir);
    here.data.run("stop").answers(SUCCESS).within_ms(8000);
    wait_until("the user has ended", || !user.is_alive());
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_stop_of_a_bind_leaves_what_is_mounted_on_its_shared_source() {
    let Some(here) = scene(Format::Ext4) else { return };
    let source = here.machine.dir("source");
    mount_here("source", &source, "tmpfs", "");
    set_propagation(&source, "--make-shared");
    let data = resource(&source, &here.dir, "none").param("options", "bind");
    data.run("start").answers(SUCCESS);
    let sub = source.join("sub");
    fs::create_dir(&sub).unwrap();
    mount_here(&here.disk, &sub, "ext4", "");
    assert!(is_mounted(here.dir.join("sub")), "the source is shared with the bind mount");
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    assert!(is_mounted(&sub), "the mount of another resource stays");
}

#[test]
fn kernel_a_subvolume_is_told_apart_by_its_number() {
    let Some(here) = scene(Format::Btrfs) else { return };
    let top = here.machine.dir("top");
    mount_here(&here.disk, &top, "btrfs", "");
    for name in ["one", "two"] {
        tool("btrfs", &["subvolume".as_ref(), "create".as_ref(), top.join(name).as_os_str()]);
    }
    unmount_here(&top);
    mount_here(&here.disk, &here.dir, "btrfs", "subvolid=257");
    let by_number = |number: &str| here.data.clone().param("options", format!("subvolid={number}"));
    by_number("256").probe().answers(NOT_RUNNING);
    by_number("256").run("stop").answers(SUCCESS);
    assert!(is_mounted(&here.dir), "the mount of another subvolume stays");
    by_number("257").probe().answers(SUCCESS);
    by_number("257").run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_record_of_a_mount_that_has_gone_points_at_nobody() {
    let Some(here) = running(Format::Btrfs) else { return };
    unmount_here(&here.dir);
    // The kernel gives the made-up device number away again.
    let other = here.machine.dir("other");
    mount_here("other", &other, "tmpfs", "");
    let mut bystander = User::with_cwd(&other);
    here.data.run("stop").answers(SUCCESS);
    assert!(bystander.is_alive() && is_mounted(&other));
    here.data.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_thread_that_works_in_the_mount_is_a_user() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::with_thread_in(&here.dir);
    here.data.run("stop").answers(SUCCESS).within_ms(8000);
    wait_until("the user has ended", || !user.is_alive());
}

#[test]
fn kernel_a_program_that_calls_itself_systemd_is_a_user_like_any_other() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::named("systemd", here.machine.base(), &here.dir);
    here.data.run("stop").answers(SUCCESS);
    wait_until("the user has ended", || !user.is_alive());
}

#[test]
fn kernel_processes_are_not_signalled_by_numbers_of_another_pid_namespace() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::with_cwd(&here.dir);
    let answer = here.data.clone().timeout_ms(4000).program("/usr/bin/unshare");
    let answer = answer.run_args(["--pid", "--fork", crate::scenes::BINARY, "stop"]);
    assert_eq!(answer.code, Some(GENERIC), "{answer:?}");
    assert!(answer.reason().unwrap().contains("pid namespace"), "{answer:?}");
    assert!(user.is_alive() && is_mounted(&here.dir));
}

#[test]
fn kernel_a_bind_of_the_resource_itself_on_its_own_directory_is_uncovered() {
    let Some(here) = running(Format::Ext4) else { return };
    bind_here(&here.dir, &here.dir);
    here.data.monitor().answers(GENERIC);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_foreign_mount_aside_is_left_alone() {
    let Some(here) = scene(Format::Ext4) else { return };
    let aside = here.machine.dir(".data");
    let other = here.machine.disk(Format::Ext4);
    mount_here(&other, &aside, "ext4", "");
    let mut user = User::with_cwd(&aside);
    let data = here.data.clone().param("force_unmount", "true,move");
    data.probe().answers(NOT_RUNNING);
    data.run("stop").answers(SUCCESS);
    assert!(user.is_alive() && is_mounted(&aside));
    data.run("start").answers(GENERIC).names(aside.to_str().unwrap());
    assert!(!is_mounted(&here.dir));
}
