//! Names: of directories, of devices, and mounts that a name does not find.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::Format;
use testkit::kernel::{self, Machine, is_mounted, mount_here, mounts_on};

use crate::scenes::{resource, scene};

/// Each broke the shell agent in one way or another.
const NAMES: [&[u8]; 14] = [
    b"per%cent%s",
    b"brack[et]s",
    b"st*r",
    b"back\\slash\\040",
    b"tab\there",
    b"new\nline",
    b"inner space",
    b"d.t",
    b"quo'te\"s",
    b"$(touch x)`id`;&|",
    b"-dash",
    b"comma,equals=",
    b"not-utf8-\xff\xfe",
    "\u{fc}ml\u{e4}ut".as_bytes(),
];

#[test]
fn kernel_special_characters_in_the_directory_just_work() {
    let Some(machine) = Machine::private() else { return };
    let disk = machine.disk(Format::Ext4);
    for name in NAMES {
        let dir = machine.path(OsStr::from_bytes(name));
        let data = resource(&disk, &dir, "ext4");
        data.run("start").answers(SUCCESS);
        assert!(is_mounted(&dir), "{dir:?}");
        data.monitor().answers(SUCCESS);
        data.run("start").answers(SUCCESS);
        data.clone().level(20).monitor().answers(SUCCESS);
        data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&dir), "{dir:?}");
        data.probe().answers(NOT_RUNNING);
    }
    assert_eq!(fs::read_dir("/run/holdfast/Filesystem").map_or(0, Iterator::count), 0);
}

#[test]
fn kernel_special_characters_in_the_device_just_work() {
    let Some(machine) = Machine::private() else { return };
    let disk = machine.disk(Format::Ext4);
    let dir = machine.dir("data");
    for name in NAMES {
        let alias = machine.path(OsStr::from_bytes(name));
        symlink(disk.device(), &alias).unwrap();
        let data = resource(&alias, &dir, "ext4");
        data.run("start").answers(SUCCESS);
        data.monitor().answers(SUCCESS);
        data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&dir), "{alias:?}");
    }
}

/// A tmpfs source is only text; the kernel shows it escaped.
#[test]
fn kernel_special_characters_in_a_source_that_is_text() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    for name in [OsStr::new("back\\slash"), OsStr::new("inner space"), OsStr::new("#hash")] {
        let data = resource(name, &dir, "tmpfs");
        data.run("start").answers(SUCCESS);
        data.monitor().answers(SUCCESS);
        data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&dir), "{name:?}");
    }
}

#[test]
fn kernel_a_dot_is_not_any_character() {
    let Some(machine) = Machine::private() else { return };
    let disk = machine.disk(Format::Ext4);
    let (wanted, similar) = (machine.dir("a.b"), machine.dir("aXb"));
    mount_here(&disk, &similar, "ext4", "");
    resource(&disk, &wanted, "ext4").probe().answers(NOT_RUNNING);
    resource(&disk, &wanted, "ext4").run("stop").answers(SUCCESS);
    assert!(is_mounted(&similar));
}

#[test]
fn kernel_other_spellings_of_the_directory_are_the_same_directory() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.machine.dir("other");
    symlink(&here.dir, here.machine.path("link")).unwrap();
    here.data.run("start").answers(SUCCESS);
    for spelling in ["data/", "data///", "other/../data", "./data", "link", "link/"] {
        let spelt = here.data.clone().param("directory", here.machine.path(spelling));
        spelt.monitor().answers(SUCCESS);
        spelt.run("start").answers(SUCCESS);
    }
    assert_eq!(mounts_on(&here.dir).len(), 1);
    here.data.param("directory", here.machine.path("link/")).run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_start_below_a_symlink_mounts_where_it_points() {
    let Some(here) = scene(Format::Ext4) else { return };
    symlink(&here.dir, here.machine.path("link")).unwrap();
    let linked = here.data.param("directory", here.machine.path("link"));
    linked.run("start").answers(SUCCESS);
    assert!(is_mounted(&here.dir));
    linked.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_mount_point_of_a_vanished_symlink_parent_is_not_running() {
    let Some(here) = scene(Format::Ext4) else { return };
    let gone = here.data.param("directory", here.machine.path("gone/deep/data"));
    gone.probe().answers(NOT_RUNNING);
    gone.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_two_of_ours_stacked_are_wrong_and_stop_clears_both() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    kernel::bind_here(&here.dir, &here.dir);
    assert_eq!(mounts_on(&here.dir).len(), 2);
    here.data.monitor().answers(GENERIC).names(here.dir.to_str().unwrap());
    here.data.probe().answers(GENERIC);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_ours_buried_below_a_foreign_mount_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let foreign = here.machine.disk(Format::Ext4);
    here.data.run("start").answers(SUCCESS);
    mount_here(&foreign, &here.dir, "ext4", "");
    here.data.monitor().answers(GENERIC);
    here.data.probe().answers(GENERIC);
    here.data.run("stop").answers(GENERIC).names(here.dir.to_str().unwrap());
    assert_eq!(mounts_on(&here.dir).len(), 2, "the foreign mount is not ours to take away");
    kernel::unmount_here(&here.dir);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_ours_on_top_of_a_foreign_mount_is_taken_away_alone() {
    let Some(here) = scene(Format::Ext4) else { return };
    let foreign = here.machine.disk(Format::Ext4);
    mount_here(&foreign, &here.dir, "ext4", "");
    mount_here(&here.disk, &here.dir, "ext4", "");
    here.data.monitor().answers(GENERIC);
    here.data.run("stop").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dir).iter().map(|it| &it.source).collect::<Vec<_>>(), [foreign.device()]);
}

/// Something mounted over the parent hides our mount: the path leads elsewhere, the mount is still there.
#[test]
fn kernel_a_hidden_mount_is_a_failure_for_everybody() {
    let Some(machine) = Machine::private() else { return };
    let disk = machine.disk(Format::Ext4);
    let (parent, dir) = (machine.dir("parent"), machine.dir("parent/data"));
    let data = resource(&disk, &dir, "ext4");
    data.run("start").answers(SUCCESS);
    mount_here("tmpfs", &parent, "tmpfs", "");
    fs::create_dir(&dir).unwrap();
    data.monitor().answers(GENERIC).names(dir.to_str().unwrap());
    data.probe().answers(GENERIC);
    data.run("stop").answers(GENERIC);
    kernel::unmount_here(&parent);
    data.monitor().answers(SUCCESS);
    data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_hidden_submounts_do_not_survive_a_stop() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    let deep = here.machine.dir("data/a/b");
    mount_here("tmpfs", &deep, "tmpfs", "");
    mount_here("tmpfs", &here.machine.path("data/a"), "tmpfs", "");
    assert_eq!(mounts_on(&deep).len(), 1, "in the table, though no path leads to it");
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    assert!(kernel::mounts().iter().all(|it| !it.point.starts_with(&here.dir)));
}

#[test]
fn kernel_many_submounts_go_deepest_first() {
    let Some(here) = scene(Format::Ext4) else { return };
    here.data.run("start").answers(SUCCESS);
    for sub in ["a", "a/b", "a/b/c", ".hidden", "with space", "z*[%]"] {
        mount_here("tmpfs", &here.machine.dir(format!("data/{sub}")), "tmpfs", "");
    }
    let neighbour = here.machine.dir("data2");
    mount_here("tmpfs", &neighbour, "tmpfs", "");
    here.data.run("stop").answers(SUCCESS);
    assert!(kernel::mounts().iter().all(|it| !it.point.starts_with(&here.dir)));
    assert!(is_mounted(&neighbour), "a longer name is not a submount");
}
