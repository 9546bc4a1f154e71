//! btrfs: several mounts and several devices of one file system.

use std::path::PathBuf;

use testkit::Call;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{Machine, is_mounted, mount_here, mounts_on, tool, unmount_here};
use testkit::users::User;

use crate::scenes::resource;

/// A file system with the subvolumes `one` and `two`, and a directory for each.
struct Subvolumes {
    one: Call,
    two: Call,
    dirs: [PathBuf; 2],
    disk: Disk,
    machine: Machine,
}

fn subvolumes() -> Option<Subvolumes> {
    let machine = Machine::private()?;
    let disk = machine.disk(Format::Btrfs);
    let top = machine.dir("top");
    mount_here(&disk, &top, "btrfs", "");
    for name in ["one", "two"] {
        tool("btrfs", &["subvolume".as_ref(), "create".as_ref(), top.join(name).as_os_str()]);
    }
    unmount_here(&top);
    let dirs = [machine.dir("one"), machine.dir("two")];
    let volume = |dir, name| {
        resource(&disk, dir, "btrfs").param("options", format!("subvol={name}")).param("run_fsck", "no")
    };
    let (one, two) = (volume(&dirs[0], "one"), volume(&dirs[1], "/two"));
    Some(Subvolumes { one, two, dirs, disk, machine })
}

#[test]
fn kernel_stop_of_one_subvolume_leaves_the_other() {
    let Some(here) = subvolumes() else { return };
    here.one.run("start").answers(SUCCESS);
    here.two.probe().answers(NOT_RUNNING);
    here.two.run("start").answers(SUCCESS);
    here.one.monitor().answers(SUCCESS);
    here.two.monitor().answers(SUCCESS);
    let mut user_of_one = User::with_cwd(&here.dirs[0]);
    let mut user_of_two = User::with_cwd(&here.dirs[1]);
    here.one.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dirs[0]) && is_mounted(&here.dirs[1]));
    assert!(!user_of_one.is_alive() && user_of_two.is_alive());
    here.two.monitor().answers(SUCCESS);
    here.two.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dirs[1]));
}

#[test]
fn kernel_another_subvolume_on_the_directory_is_foreign() {
    let Some(here) = subvolumes() else { return };
    mount_here(&here.disk, &here.dirs[0], "btrfs", "subvol=two");
    here.one.run("start").answers(GENERIC);
    here.one.monitor().answers(GENERIC);
    here.one.probe().answers(NOT_RUNNING);
    here.one.run("stop").answers(SUCCESS);
    assert!(is_mounted(&here.dirs[0]));
}

#[test]
fn kernel_a_subvolume_by_its_number() {
    let Some(here) = subvolumes() else { return };
    let one = here.one.clone().param("options", "subvolid=256");
    one.run("start").answers(SUCCESS);
    one.monitor().answers(SUCCESS);
    one.run("start").answers(SUCCESS);
    assert_eq!(mounts_on(&here.dirs[0]).len(), 1);
    one.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dirs[0]));
    drop(here.machine);
}

/// The kernel shows one member as the source, whichever was named.
#[test]
fn kernel_a_second_member_is_the_same_file_system() {
    let Some(machine) = Machine::private() else { return };
    let (first, second) = (machine.disk(Format::Btrfs), machine.disk(Format::Blank));
    std::fs::File::options().write(true).open(second.image()).unwrap().set_len(112 << 20).unwrap();
    tool("losetup", &["--set-capacity".as_ref(), second.device().as_os_str()]);
    let dir = machine.dir("data");
    mount_here(&first, &dir, "btrfs", "");
    tool(
        "btrfs",
        &["device".as_ref(), "add".as_ref(), "-f".as_ref(), second.device().as_ref(), dir.as_ref()],
    );
    unmount_here(&dir);
    for member in [&second, &first] {
        let data = resource(member, &dir, "btrfs").param("run_fsck", "no");
        data.run("start").answers(SUCCESS);
        for other in [&first, &second] {
            let data = resource(other, &dir, "btrfs").param("run_fsck", "no");
            data.monitor().answers(SUCCESS);
            data.run("start").answers(SUCCESS);
        }
        assert_eq!(mounts_on(&dir).len(), 1);
        data.run("stop").answers(SUCCESS);
        assert!(!is_mounted(&dir));
        data.probe().answers(NOT_RUNNING);
    }
    for member in [&first, &second] {
        tool("btrfs", &["device".as_ref(), "scan".as_ref(), "--forget".as_ref(), member.device().as_ref()]);
    }
}
