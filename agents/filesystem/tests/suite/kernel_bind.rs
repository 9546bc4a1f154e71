//! Bind mounts only ever touch themselves.

use std::fs::{self, File};
use std::path::PathBuf;

use testkit::Call;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{self, Machine, bind_here, is_mounted, mount_here, mounts_on};
use testkit::users::User;

use crate::scenes::resource;

/// A source directory on a disk of its own, bound to another directory.
struct Bound {
    data: Call,
    dir: PathBuf,
    source: PathBuf,
    disk: Disk,
    machine: Machine,
}

fn bound(fstype: &str, options: &str) -> Option<Bound> {
    let machine = Machine::private()?;
    let disk = machine.disk(Format::Ext4);
    let source = machine.dir("source");
    mount_here(&disk, &source, "ext4", "");
    fs::create_dir_all(source.join("exported/sub")).unwrap();
    let dir = machine.dir("data");
    let data = resource(source.join("exported"), &dir, fstype).param("options", options);
    Some(Bound { data, dir, source, disk, machine })
}

fn is_writable(directory: &std::path::Path) -> bool {
    File::create(directory.join("written")).is_ok()
}

#[test]
fn kernel_a_bind_mount_starts_and_stops_and_leaves_its_source() {
    for (fstype, options) in [("none", "bind"), ("", "bind"), ("ext4", "bind"), ("none", "rw,bind")] {
        let Some(here) = bound(fstype, options) else {
            return;
        };
        here.data.probe().answers(NOT_RUNNING);
        here.data.run("start").answers(SUCCESS);
        here.data.run("start").answers(SUCCESS);
        assert!(here.dir.join("sub").is_dir());
        assert_eq!(mounts_on(&here.dir).len(), 1);
        here.data.monitor().answers(SUCCESS);
        here.data.clone().level(10).monitor().answers(SUCCESS);
        here.data.clone().level(20).monitor().answers(SUCCESS);
        here.data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&here.dir));
        assert!(is_mounted(&here.source), "{options}: stop of a bind mount never unmounts its source");
        here.data.run("stop").answers(SUCCESS);
    }
}

#[test]
fn kernel_a_read_only_bind_leaves_the_source_writable() {
    let Some(here) = bound("none", "bind,ro") else {
        return;
    };
    let _writer = User::with_open_file(&here.source.join("log"));
    here.data.run("start").answers(SUCCESS);
    assert!(!is_writable(&here.dir));
    assert!(is_writable(&here.source), "the source file system must not become read-only");
    here.data.monitor().answers(SUCCESS);
    here.data.run("stop").answers(SUCCESS);
    assert!(is_writable(&here.source));
}

#[test]
fn kernel_bind_options_apply_to_the_bind_alone() {
    let Some(here) = bound("none", "bind,noexec,nosuid,nodev,noatime") else {
        return;
    };
    here.data.run("start").answers(SUCCESS);
    let (bind, source) = (&mounts_on(&here.dir)[0], &mounts_on(&here.source)[0]);
    for option in ["noexec", "nosuid", "nodev", "noatime"] {
        assert!(bind.options.contains(option), "{option}: {bind:?}");
        assert!(!source.options.contains(option), "{option}: {source:?}");
    }
}

#[test]
fn kernel_a_bind_that_fails_leaves_nothing() {
    let Some(here) = bound("none", "bind") else { return };
    let gone = here.data.clone().param("device", here.source.join("missing"));
    assert_ne!(gone.run("start").code, Some(SUCCESS));
    assert!(!is_mounted(&here.dir));
    gone.probe().answers(NOT_RUNNING);
    gone.run("stop").answers(SUCCESS);
}

/// The second step cannot succeed: in a user namespace the times that a mount brought along are locked.
#[test]
fn kernel_a_bind_whose_options_cannot_be_set_leaves_nothing() {
    let Some(here) = bound("none", "bind,strictatime") else {
        return;
    };
    let table = here.machine.path("table");
    let script = "\"$0\" start; code=$?; cat /proc/self/mountinfo >\"$1\"; exit $code";
    let user_namespace = here.data.clone().program("/usr/bin/unshare");
    let run = |options: &str| {
        let words = ["--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, crate::scenes::BINARY];
        let words = words.map(std::ffi::OsStr::new).into_iter().chain([table.as_os_str()]);
        let answer = user_namespace.clone().param("options", options).run_args(words);
        let table = fs::read_to_string(&table).unwrap_or_default();
        assert!(table.contains(here.source.to_str().unwrap()), "{answer}");
        (answer, table.contains(here.dir.to_str().unwrap()))
    };
    let (answer, mounted) = run("bind");
    assert!(mounted, "without the option it works there: {answer}");
    answer.exits(SUCCESS);
    let (answer, mounted) = run("bind,strictatime");
    assert!(!mounted, "what the first step mounted is gone: {answer}");
    answer.exits(GENERIC).names("options of");
}

#[test]
fn kernel_users_of_the_source_outside_the_bind_survive_a_stop() {
    let Some(here) = bound("none", "bind") else { return };
    here.data.run("start").answers(SUCCESS);
    let mut elsewhere = User::with_cwd(&here.source);
    let mut same_folder = User::with_cwd(&here.source.join("exported/sub"));
    let mut writing = User::with_open_file(&here.source.join("exported/file"));
    let mut inside = User::with_cwd(&here.dir.join("sub"));
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    assert!(
        elsewhere.is_alive() && same_folder.is_alive() && writing.is_alive(),
        "they use the source mount"
    );
    assert!(!inside.is_alive(), "it used the bind");
}

#[test]
fn kernel_another_bind_of_the_same_source_is_independent() {
    let Some(here) = bound("none", "bind") else { return };
    let twin_dir = here.machine.dir("twin");
    let twin = here.data.clone().param("directory", &twin_dir);
    here.data.run("start").answers(SUCCESS);
    twin.probe().answers(NOT_RUNNING);
    twin.run("start").answers(SUCCESS);
    here.data.run("stop").answers(SUCCESS);
    assert!(is_mounted(&twin_dir));
    twin.monitor().answers(SUCCESS);
}

/// Same disk, same directory to mount on, another folder of the source.
#[test]
fn kernel_a_bind_of_another_folder_is_foreign() {
    let Some(here) = bound("none", "bind") else { return };
    let other = here.source.join("other");
    fs::create_dir(&other).unwrap();
    bind_here(&other, &here.dir);
    here.data.run("start").answers(GENERIC);
    here.data.monitor().answers(GENERIC);
    here.data.probe().answers(NOT_RUNNING);
    here.data.run("stop").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dir).len(), 1, "left alone");
}

#[test]
fn kernel_rbind_takes_the_submounts_along_and_away_again() {
    let Some(here) = bound("none", "rbind") else {
        return;
    };
    let sub = here.source.join("exported/sub");
    mount_here("tmpfs", &sub, "tmpfs", "");
    here.data.run("start").answers(SUCCESS);
    assert!(is_mounted(here.dir.join("sub")));
    here.data.monitor().answers(SUCCESS);
    here.data.run("start").answers(SUCCESS);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir) && !is_mounted(here.dir.join("sub")));
    assert!(is_mounted(&sub) && is_mounted(&here.source), "the originals stay");
}

/// Stopping the disk takes its binds down too: they would keep the device busy.
#[test]
fn kernel_stop_of_a_disk_takes_the_binds_of_it_along() {
    let Some(here) = bound("none", "bind") else { return };
    here.data.run("start").answers(SUCCESS);
    let whole = resource(&here.disk, &here.source, "ext4");
    let mut user_of_the_bind = User::with_cwd(&here.dir);
    let unrelated = here.machine.disk(Format::Ext4);
    let unrelated_dir = here.machine.dir("unrelated");
    mount_here(&unrelated, &unrelated_dir, "ext4", "");
    whole.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.source) && !is_mounted(&here.dir));
    assert!(!user_of_the_bind.is_alive());
    assert!(is_mounted(&unrelated_dir));
}

#[test]
fn kernel_a_bind_of_a_file() {
    let Some(here) = bound("none", "bind") else { return };
    let (source, target) = (here.source.join("file"), here.machine.path("file"));
    fs::write(&source, "text").unwrap();
    fs::write(&target, "").unwrap();
    let file = here.data.clone().param("device", &source).param("directory", &target);
    let started = file.run("start");
    if started.code == Some(SUCCESS) {
        file.monitor().answers(SUCCESS);
        file.run("stop").answers(SUCCESS);
    } else {
        started.answers(testkit::call::INSTALLED);
    }
    assert!(!is_mounted(&target));
    assert_eq!(kernel::mounts_on(&here.source).len(), 1);
}

/// As when the shell agent started it, and the file system of the source was unmounted before the bind mount.
#[test]
fn kernel_a_bind_without_a_record_whose_source_has_gone_is_not_stopped() {
    let Some(here) = bound("none", "bind") else { return };
    here.data.run("start").answers(SUCCESS);
    fs::remove_dir_all("/run/holdfast").unwrap();
    kernel::unmount_here(&here.source);
    fs::create_dir_all(here.source.join("exported")).unwrap();
    here.data.probe().answers(GENERIC);
    here.data.monitor().answers(GENERIC);
    here.data.run("stop").answers(GENERIC);
    assert!(is_mounted(&here.dir));
}
