//! The resources that the tests talk about.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use testkit::call::SUCCESS;
use testkit::disk::{Disk, Format};
use testkit::kernel::Machine;
use testkit::{Call, Sandbox, Tool};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_Filesystem");

/// The agent, called as Pacemaker does, without any parameter.
pub(crate) fn filesystem() -> Call {
    Call::ocf(BINARY)
}

/// On a real kernel: a resource of this device and directory.
pub(crate) fn resource(device: impl AsRef<std::ffi::OsStr>, directory: &Path, fstype: &str) -> Call {
    filesystem().param("device", device).param("directory", directory).param("fstype", fstype)
}

/// In a sandbox: an NFS export for /mnt/data, with a mount(8) that works.
pub(crate) fn network() -> (Sandbox, Call) {
    let machine = Sandbox::new();
    machine.tool("mount", Tool::Mounts).tool("mount.nfs", Tool::Succeeds).folder("mnt/data");
    let data = resource("server:/export", Path::new("/mnt/data"), "nfs");
    let data = machine.host(data);
    (machine, data)
}

/// The same, mounted.
pub(crate) fn mounted_network() -> (Sandbox, Call) {
    let (machine, data) = network();
    machine.mounted("0:50", "/mnt/data", "nfs", "server:/export");
    (machine, data)
}

/// In a sandbox: an ext4 on /dev/sda1 (8:1) for /mnt/data; beside it the disk /dev/sdb1 (8:17). A node in /dev
/// needs root.
pub(crate) fn disk() -> Option<(Sandbox, Call)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("test skipped: only root can make a device node");
        return None;
    }
    let machine = Sandbox::new();
    machine.tool("mount", Tool::Mounts).tool("fsck", Tool::Succeeds).folder("mnt/data");
    machine.block_device("dev/sda1", 1).block_device("dev/sdb1", 17);
    let data = resource("/dev/sda1", Path::new("/mnt/data"), "ext4");
    let data = machine.host(data);
    Some((machine, data))
}

/// The same, mounted.
pub(crate) fn mounted_disk() -> Option<(Sandbox, Call)> {
    let (machine, data) = disk()?;
    machine.mounted("8:1", "/mnt/data", "ext4", "/dev/sda1");
    Some((machine, data))
}

/// On a real kernel: a disk, a directory, and the resource of the two.
pub(crate) struct Scene {
    pub(crate) data: Call,
    pub(crate) dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) machine: Machine,
}

/// Without root there is none.
pub(crate) fn scene(format: Format) -> Option<Scene> {
    let machine = Machine::private()?;
    let disk = machine.disk(format);
    let dir = machine.dir("data");
    let data = resource(&disk, &dir, format.fstype());
    Some(Scene { data, dir, disk, machine })
}

/// The same, started.
pub(crate) fn running(format: Format) -> Option<Scene> {
    let here = scene(format)?;
    here.data.run("start").answers(SUCCESS);
    Some(here)
}

/// Where udev does not run, mount(8) finds a tag by reading every block device of the machine, and losetup(8) asks
/// every loop device. A test that makes one of them hang therefore keeps out those that look at all.
static DEVICES: RwLock<()> = RwLock::new(());

/// Until it is dropped every block device answers. For two seconds libblkid believes what it last found on one, and the
/// loop devices of other tests come and go faster: it is made to forget that, in the machine's own /run.
pub(crate) fn every_device_answers() -> RwLockReadGuard<'static, ()> {
    let guard = DEVICES.read().unwrap_or_else(PoisonError::into_inner);
    let _ = std::fs::remove_dir_all("/run/blkid");
    guard
}

/// Until it is dropped a block device may hang.
pub(crate) fn a_device_may_hang() -> RwLockWriteGuard<'static, ()> {
    DEVICES.write().unwrap_or_else(PoisonError::into_inner)
}
