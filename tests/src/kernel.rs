//! A private mount namespace for one test: the real kernel, without touching the machine's mounts.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::disk::{Disk, Format};

/// The mounts and files of one test; everything goes when it is dropped.
#[derive(Debug)]
pub struct Machine {
    base: tempfile::TempDir,
}

impl Machine {
    /// A mount namespace for the calling thread and the processes it starts, with its own /run and a temporary
    /// directory in memory. Without root there is none: the test says so and returns.
    pub fn private() -> Option<Machine> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("kernel test skipped: not root");
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have its own mount namespace");
        let none = None::<&Path>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        // Short, so that paths fit into an exit reason of 128 bytes.
        let base = tempfile::Builder::new().prefix("hf").rand_bytes(4).tempdir().unwrap();
        mount_tmpfs(base.path());
        mount_tmpfs(Path::new("/run"));
        Some(Machine { base })
    }

    pub fn base(&self) -> &Path {
        self.base.path()
    }

    /// A path that need not exist.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.base().join(name)
    }

    /// A directory, created.
    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A loop device with a new file system on it.
    pub fn disk(&self, format: Format) -> Disk {
        Disk::new(self.base(), format)
    }

    /// A directory with `files` in it.
    pub fn tree(&self, name: &str, files: &[&str]) -> PathBuf {
        let dir = self.dir(name);
        for file in files {
            fs::write(dir.join(file), "content\n").unwrap();
        }
        dir
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        unmount_below(self.base());
        let _ = umount2("/run", MntFlags::MNT_DETACH);
    }
}

/// Detaches every mount at or below a directory, the newest first.
pub fn unmount_below(directory: &Path) {
    for entry in mounts().iter().rev().filter(|entry| entry.point.starts_with(directory)) {
        let _ = umount2(&entry.point, MntFlags::MNT_DETACH);
    }
}

/// One line of the mount table of this thread.
#[derive(Clone, Debug)]
pub struct Mount {
    pub id: u64,
    pub point: PathBuf,
    pub options: String,
    pub fstype: String,
    pub source: OsString,
    pub super_options: String,
}

/// The mount table of the calling thread: `/proc/self` is the main thread, which lives elsewhere.
pub fn mounts() -> Vec<Mount> {
    let table = fs::read("/proc/thread-self/mountinfo").unwrap();
    table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse_mount).collect()
}

fn parse_mount(line: &[u8]) -> Mount {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-").unwrap();
    let text = |at: usize| String::from_utf8_lossy(fields[at]).into_owned();
    Mount {
        id: text(0).parse().unwrap(),
        point: unescape(fields[4]).into(),
        options: text(5),
        fstype: text(dash + 1),
        source: unescape(fields[dash + 2]),
        super_options: text(dash + 3),
    }
}

/// `\040` and its like.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// The mounts on exactly this directory, the lowest first.
pub fn mounts_on(directory: impl AsRef<Path>) -> Vec<Mount> {
    mounts().into_iter().filter(|entry| entry.point == directory.as_ref()).collect()
}

pub fn is_mounted(directory: impl AsRef<Path>) -> bool {
    !mounts_on(directory).is_empty()
}

/// mount(2), for what a test sets up itself.
#[track_caller]
pub fn mount_here(source: impl AsRef<OsStr>, directory: &Path, fstype: &str, data: &str) {
    let source = Path::new(source.as_ref());
    mount(Some(source), directory, Some(fstype), MsFlags::empty(), Some(data)).unwrap();
}

/// `mount --bind`, for what a test sets up itself.
#[track_caller]
pub fn bind_here(source: &Path, directory: &Path) {
    let none = None::<&Path>;
    mount(Some(source), directory, none, MsFlags::MS_BIND, none).unwrap();
}

/// A test beside this one that forks has a copy of every open file for a moment, so that a mount may be busy.
#[track_caller]
pub fn unmount_here(directory: &Path) {
    wait_until("the directory is unmounted", || match umount2(directory, MntFlags::empty()) {
        Err(nix::errno::Errno::EBUSY) => false,
        result => {
            result.unwrap();
            true
        }
    });
}

fn mount_tmpfs(directory: &Path) {
    mount_here("holdfast-test", directory, "tmpfs", "mode=0755");
}

/// Runs a tool that the test itself needs, and fails the test if the tool does.
#[track_caller]
pub fn tool(name: &str, args: &[&OsStr]) -> String {
    let output = Command::new(name).args(args).stdin(Stdio::null()).output().unwrap();
    let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg.as_bytes())).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {words:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits for something that happens soon; fails the test if it does not.
#[track_caller]
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
