//! A directory that stands for a machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::{Call, Tool};

/// What a machine with a Debian kernel has: enough for every file system of the tests.
const FILE_SYSTEMS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\toverlay\nnodev\tfuse\nnodev\tnfs\nnodev\tnfs4\n\
                            nodev\tcifs\n\text3\n\text2\n\text4\n\txfs\n\tbtrfs\n\tvfat\n";

/// The name of every sandbox's machine.
pub const NODE: &str = "node1";

/// One line: the root file system.
const ROOT_MOUNT: &str = "22 1 8:99 / / rw,relatime - ext4 /dev/root rw\n";

/// The device number of [`Sandbox::block_device`] `n` is 8:n.
const DISK_MAJOR: u64 = 8;

/// A machine: proc, sys, dev, etc, run and tools, below one temporary directory.
#[derive(Debug)]
pub struct Sandbox {
    directory: tempfile::TempDir,
}

impl Default for Sandbox {
    fn default() -> Self {
        Sandbox::new()
    }
}

impl Sandbox {
    /// A Debian machine with the root file system mounted, no disk and no tool.
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("holdfast-sandbox-").tempdir().unwrap();
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), permissions).unwrap();
        let sandbox = Sandbox { directory };
        for folder in ["sys/class/block", "dev", "run", "usr/sbin", "usr/bin", "mnt", "calls", "tmp"] {
            fs::create_dir_all(sandbox.path(folder)).unwrap();
        }
        symlink("usr/sbin", sandbox.path("sbin")).unwrap();
        symlink("usr/bin", sandbox.path("bin")).unwrap();
        sandbox.file("proc/self/mountinfo", ROOT_MOUNT);
        sandbox.file("proc/filesystems", FILE_SYSTEMS);
        sandbox.file("proc/sys/kernel/hostname", NODE.to_owned() + "\n");
        sandbox.os_release("debian", "12");
        sandbox
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The real path of a path inside the machine.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        self.root().join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Writes a file, with the folders above it.
    pub fn file(&self, inside: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub fn folder(&self, inside: &str) -> &Self {
        fs::create_dir_all(self.path(inside)).unwrap();
        self
    }

    pub fn os_release(&self, id: &str, version: &str) -> &Self {
        self.file("etc/os-release", format!("NAME=x\nID={id}\nVERSION_ID=\"{version}\"\n"))
    }

    /// A mount in the table, for instance `mounted("8:1", "/mnt/a", "ext4", "/dev/sda1")`.
    pub fn mounted(&self, number: &str, directory: &str, fstype: &str, source: &str) -> &Self {
        let table = fs::read_to_string(self.path("proc/self/mountinfo")).unwrap();
        let id = 30 + table.lines().count();
        let line = format!("{id} 22 {number} / {directory} rw,relatime - {fstype} {source} rw\n");
        self.file("proc/self/mountinfo", table + &line)
    }

    /// The mount points in the table, top last, without `/`.
    pub fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string(self.path("proc/self/mountinfo")).unwrap();
        let point = |line: &str| line.split(' ').nth(4).unwrap().to_owned();
        table.lines().map(point).filter(|point| point != "/").collect()
    }

    /// A block special file with the number 8:`minor`. Needs root.
    pub fn block_device(&self, inside: &str, minor: u64) -> &Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = Mode::from_bits_truncate(0o600);
        mknod(&path, SFlag::S_IFBLK, mode, makedev(DISK_MAJOR, minor)).unwrap();
        self
    }

    /// A fake tool in /usr/sbin.
    pub fn tool(&self, name: &str, tool: Tool) -> &Self {
        self.tool_at(&format!("usr/sbin/{name}"), tool)
    }

    /// A fake tool anywhere.
    pub fn tool_at(&self, inside: &str, tool: Tool) -> &Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        tool.install(self.root(), &path);
        self
    }

    /// Every call of a tool so far, as its arguments.
    pub fn calls(&self, tool: &str) -> Vec<Vec<String>> {
        let Ok(record) = fs::read(self.path("calls").join(tool)) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&record).replace(self.root().to_str().unwrap(), "");
        let mut calls: Vec<&str> = text.split("\0\0").collect();
        calls.pop();
        let words =
            |call: &&str| call.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        calls.iter().map(words).collect()
    }

    /// The environment of the last call of a tool.
    pub fn tool_environment(&self, tool: &str) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path("calls").join(format!("{tool}.env"))).unwrap_or_default();
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// The descriptors of the last call of a tool, as `ls -l` shows them.
    pub fn tool_descriptors(&self, tool: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls").join(format!("{tool}.fds"))).unwrap_or_default();
        text.lines().filter_map(|line| Some(line.rsplit_once(':')?.1.to_owned())).collect()
    }

    /// Whether a file is there and not empty.
    pub fn has_text(&self, inside: &str) -> bool {
        fs::metadata(self.path(inside)).is_ok_and(|meta| meta.len() > 0)
    }

    /// Whether the process of the last call of a tool still exists.
    pub fn tool_lives(&self, tool: &str) -> bool {
        self.process_lives(&format!("calls/{tool}.pid"))
    }

    /// Whether the process whose pid this file holds still exists. One that was killed has a moment to go.
    pub fn process_lives(&self, pid_file: &str) -> bool {
        let pid = fs::read_to_string(self.path(pid_file)).unwrap();
        let descriptors = Path::new("/proc").join(pid.trim()).join("fd/0");
        let moment = Instant::now() + Duration::from_millis(500);
        while descriptors.exists() && Instant::now() < moment {
            std::thread::sleep(Duration::from_millis(10));
        }
        descriptors.exists()
    }

    /// Puts the binary under a path of the machine (a link), and returns the real path to execute.
    pub fn installed(&self, binary: &str, inside: &str) -> PathBuf {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(binary, &path).unwrap();
        path
    }

    /// Makes the agent of this call live on this machine.
    pub fn host(&self, call: Call) -> Call {
        call.env("OCF_TEST_ROOT", self.root())
    }

    /// Everything on the machine: path, kind, mode, size and content. Equal snapshots: nothing was changed.
    pub fn snapshot(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.root(), self.root(), &mut found);
        found.sort();
        found
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let content = if kind.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if kind.is_block_device() {
            format!("{:x}", meta.rdev())
        } else {
            String::new()
        };
        found.push(format!("{} {:o} {content}", path.strip_prefix(root).unwrap().display(), meta.mode()));
        if kind.is_dir() {
            list(root, &path, found);
        }
    }
}
