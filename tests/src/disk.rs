//! Loop devices with small file systems.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ioctls;
use crate::kernel::tool;

/// What is put on a disk, at the smallest size its mkfs takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Ext4,
    Xfs,
    Btrfs,
    /// No file system.
    Blank,
}

impl Format {
    pub fn fstype(self) -> &'static str {
        match self {
            Format::Ext4 => "ext4",
            Format::Xfs => "xfs",
            Format::Btrfs => "btrfs",
            Format::Blank => "",
        }
    }

    fn bytes(self) -> u64 {
        const MIB: u64 = 1 << 20;
        match self {
            Format::Ext4 | Format::Blank => 16 * MIB,
            Format::Xfs => 300 * MIB,
            Format::Btrfs => 112 * MIB,
        }
    }
}

/// A loop device and its image file. It is detached when it is dropped and unmounted.
#[derive(Debug)]
pub struct Disk {
    device: PathBuf,
    image: PathBuf,
    uuid: String,
    label: String,
    /// Kept open: the device detaches by itself with its last holder, even if the test is killed.
    held: File,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Disk {
    pub(crate) fn new(folder: &Path, format: Format) -> Disk {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let label = format!("hf{}-{number}", std::process::id());
        let image = folder.join(format!("disk{number}.img"));
        File::create(&image).unwrap().set_len(format.bytes()).unwrap();
        let uuid = make_file_system(&image, format, &label);
        Disk::attach(image, uuid, label, true)
    }

    /// A loop device for an image that exists.
    pub fn of_image(image: &Path) -> Disk {
        Disk::attach(image.to_owned(), String::new(), String::new(), true)
    }

    /// The same, write-protected.
    pub fn read_only_of_image(image: &Path) -> Disk {
        Disk::attach(image.to_owned(), String::new(), String::new(), false)
    }

    /// The kernel protects a device whose backing is not open for writing.
    fn attach(image: PathBuf, uuid: String, label: String, writable: bool) -> Disk {
        let backing = OpenOptions::new().read(true).write(writable).open(&image).unwrap();
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control").unwrap();
        // Another test may take the free device first.
        for _ in 0..100 {
            let number = ioctls::free_loop_number(&control).unwrap();
            let device = PathBuf::from(format!("/dev/loop{number}"));
            let Ok(held) = OpenOptions::new().read(true).write(true).open(&device) else {
                continue;
            };
            if ioctls::attach_loop(&held, &backing).is_ok() {
                return Disk { device, image, uuid, label, held };
            }
        }
        panic!("no free loop device");
    }

    pub fn device(&self) -> &Path {
        &self.device
    }

    pub fn image(&self) -> &Path {
        &self.image
    }

    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    pub fn label(&self) -> &str {
        &self.label
    }

    /// Another name of the device, as udev makes them.
    pub fn alias(&self, folder: &Path, name: &str) -> PathBuf {
        let alias = folder.join(name);
        symlink(&self.device, &alias).unwrap();
        alias
    }

    /// Takes the image away from the device: at once when nothing is mounted, else with the last user.
    pub fn detach(&self) {
        ioctls::detach_loop(&self.held).unwrap();
    }

    /// Cuts the image off, so that every read of the device fails.
    pub fn lose_content(&self) {
        OpenOptions::new().write(true).open(&self.image).unwrap().set_len(0).unwrap();
        // What was read before must not answer from memory.
        tool("blockdev", &["--flushbufs".as_ref(), self.device.as_os_str()]);
    }

    /// Wipes the root directory of an ext4, so that `fsck -p` gives up (exit 4).
    pub fn damage(&self) {
        for request in ["clri <2>", "set_super_value state 0"] {
            let args: [&OsStr; 4] = ["-w".as_ref(), "-R".as_ref(), request.as_ref(), self.device.as_os_str()];
            tool("debugfs", &args);
        }
    }
}

impl AsRef<OsStr> for Disk {
    fn as_ref(&self) -> &OsStr {
        self.device.as_os_str()
    }
}

/// Runs mkfs; answers the UUID.
fn make_file_system(image: &Path, format: Format, label: &str) -> String {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned();
    let in_xfs_words = format!("uuid={uuid}");
    let mkfs = format!("mkfs.{}", format.fstype());
    let options: &[&str] = match format {
        Format::Ext4 => &["-q", "-F", "-L", label, "-U", &uuid],
        Format::Xfs => &["-q", "-L", label, "-m", &in_xfs_words],
        Format::Btrfs => &["-q", "-L", label, "-U", &uuid],
        Format::Blank => return uuid,
    };
    let mut args: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    args.push(image.as_os_str());
    tool(&mkfs, &args);
    uuid
}

/// Shuts a mounted ext4 or XFS file system down, as the kernel does after a lost disk.
pub fn shut_down(directory: &Path) {
    ioctls::shut_down(&File::open(directory).unwrap()).unwrap();
}
