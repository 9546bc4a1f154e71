//! Is the mounted file system well: what monitor asks beyond "is it mounted".

use crate::source::{self, Identity, Source};
use crate::{Filesystem, fstype, options};
use ocf::state::mountinfo::Mount;
use ocf::{Call, Context, Error, Result, block, holders, printable};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Size of the status file, in bytes.
const STATUS_FILE: usize = 4096;

/// Checks `mount` at the call's level. `shut_down`: its root could not be described.
pub fn health(filesystem: &Filesystem, mount: &Mount, shut_down: bool, call: &Call) -> Result<()> {
    let level = call.check_level;
    if !matches!(level, 0 | 10 | 20) {
        return Err(Error::configured(format_args!("check level {level} does not exist: 0, 10 and 20 do")));
    }
    if let Some(trouble) = trouble(filesystem, mount, shut_down) {
        let sentence = format!("the file system on {} {}", show(&mount.point), trouble.words());
        let fails = filesystem.check_readonly || (level > 0 && trouble != Trouble::ReadOnly);
        if fails {
            return Err(Error::generic(sentence));
        }
        call.log.warn(sentence);
    }
    match level {
        10 => readable(filesystem, mount, call),
        20 => writable(filesystem, mount, call),
        _ => Ok(()),
    }
}

/// What the kernel did to a mounted file system, as far as the mount table shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    ShutDown,
    EmergencyReadOnly,
    ReadOnly,
}

impl Trouble {
    fn words(self) -> &'static str {
        match self {
            Self::ShutDown => "was shut down after an error",
            Self::EmergencyReadOnly => "was made read-only after an error",
            Self::ReadOnly => "is read-only although it was not mounted so",
        }
    }
}

fn trouble(filesystem: &Filesystem, mount: &Mount, shut_down: bool) -> Option<Trouble> {
    let wanted_read_only = options::has_word(&filesystem.options.to_string_lossy(), "ro");
    let read_only = mount.has_option("ro") || mount.has_super_option("ro");
    if shut_down || mount.has_super_option("shutdown") {
        Some(Trouble::ShutDown)
    } else if mount.has_super_option("emergency_ro") {
        Some(Trouble::EmergencyReadOnly)
    } else if read_only && !wanted_read_only && !fstype::is_always_read_only(&mount.fstype) {
        Some(Trouble::ReadOnly)
    } else {
        None
    }
}

/// Level 10: the device can be read, or the server answers. Done by a helper process, for it may hang.
fn readable(filesystem: &Filesystem, mount: &Mount, call: &Call) -> Result<()> {
    let source = Source::new(filesystem, call);
    if let Some(node) = node(&source, mount, call) {
        call.step(&format!("reading {}", show(&node)));
        let path = call.host.path(&node).into_owned();
        block::read_past_cache(&path, 4096).or_generic(format_args!("{} cannot be read", show(&node)))?;
    }
    call.step(&format!("waiting for the file system on {}", show(&mount.point)));
    let path = call.host.path(&mount.point).into_owned();
    let answer =
        rustix::fs::statx(rustix::fs::CWD, &path, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)
            .and_then(|_| rustix::fs::statfs(&path));
    answer.map(drop).or_generic(format_args!("the file system on {} does not answer", show(&mount.point)))
}

/// The node to read from: of the device that is mounted, whatever link the parameter names.
fn node(source: &Source, mount: &Mount, call: &Call) -> Option<PathBuf> {
    if matches!(source, Source::Named(_) | Source::Bind(_)) {
        return None;
    }
    let device = if mount.device.is_anonymous() {
        // btrfs: one of its devices
        match source::identify(source, call) {
            Ok(Identity::Block(device)) => Some(device),
            _ => None,
        }
    } else {
        Some(mount.device)
    };
    device.and_then(|device| holders::node_of(call, device)).or_else(|| {
        let source = PathBuf::from(&mount.source);
        source.is_absolute().then_some(source)
    })
}

/// Level 20: a status file can be written to the medium and read back.
fn writable(filesystem: &Filesystem, mount: &Mount, call: &Call) -> Result<()> {
    let root = call.host.path(&mount.point).into_owned();
    let file = status_file(filesystem, call)?;
    let name = show(&mount.point.join(&file));
    if !call.change(format_args!("write {name} and read it back")) {
        return Ok(());
    }
    let mut content = call.instance.clone().into_bytes();
    content.push(b'\n');
    content.resize(STATUS_FILE, 0);
    call.step(&format!("writing {name}"));
    let direct = !matches!(Source::new(filesystem, call), Source::Named(_) | Source::Bind(_));
    write_status(&root, &file, &content, direct).or_generic(format_args!("{name} cannot be written"))?;
    call.step(&format!("reading {name}"));
    let read = read_status(&root, &file, direct).or_generic(format_args!("{name} cannot be read back"))?;
    if read == content {
        Ok(())
    } else {
        Err(Error::generic(format_args!("{name} holds something else than was written")))
    }
}

/// Removes the status file, if there is one.
pub fn remove_status_file(filesystem: &Filesystem, mount: &Mount, call: &Call) {
    let removed = status_file(filesystem, call).and_then(|file| {
        let root = open_root(&call.host.path(&mount.point)).or_generic("it cannot be opened")?;
        let parent = match file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => {
                open_beneath(&root, parent, OFlags::PATH | OFlags::DIRECTORY).or_generic("no directory")?
            }
            None => root,
        };
        let name = file.file_name().unwrap_or_default();
        rustix::fs::unlinkat(parent, name, AtFlags::empty()).or_generic("it cannot be removed")
    });
    if let Err(error) = removed {
        call.log.warn(format_args!("the status file on {} stays: {error}", show(&mount.point)));
    }
}

/// The status file below the mount point: prefix, instance, clone number and node.
fn status_file(filesystem: &Filesystem, call: &Call) -> Result<PathBuf> {
    let node = call
        .host
        .read_line("/proc/sys/kernel/hostname")
        .ok_or_else(|| Error::generic("this node has no name"))?;
    let mut name = filesystem.statusfile_prefix.bytes().to_vec();
    // A name that Heartbeat made of a device holds slashes.
    name.extend(call.instance.bytes().map(|byte| if byte == b'/' { b'_' } else { byte }));
    if let Some(clone) = call.meta("clone") {
        name.push(b'_');
        name.extend(clone.bytes());
    }
    name.push(b'_');
    name.extend(node.bytes());
    let path = Path::new(std::ffi::OsStr::from_bytes(&name));
    Ok(path.strip_prefix("/").unwrap_or(path).to_path_buf())
}

/// The file system belongs to its users, who may put a symbolic link where the status file belongs: nothing outside
/// the mount is ever followed.
fn open_beneath(root: impl std::os::fd::AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_bits_retain(0o600) } else { Mode::empty() };
    match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, resolve) {
        Err(rustix::io::Errno::NOSYS) => {}
        opened => return Ok(opened?.into()),
    }
    // Before Linux 5.6, one directory after another. The path has no `..`: validate refuses it.
    let mut directory: File =
        rustix::fs::openat(root, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.into();
    for part in path.parent().into_iter().flat_map(Path::components) {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = rustix::fs::openat(&directory, part.as_os_str(), step, Mode::empty())?.into();
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::fs::openat(&directory, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode)?.into())
}

fn open_root(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into())
}

fn write_status(root: &Path, file: &Path, content: &[u8], direct: bool) -> io::Result<()> {
    let root = open_root(root)?;
    let mut made = PathBuf::new();
    for part in file.parent().into_iter().flat_map(Path::components) {
        let parent = if made.as_os_str().is_empty() {
            root.try_clone()?
        } else {
            open_beneath(&root, &made, OFlags::PATH | OFlags::DIRECTORY)?
        };
        match rustix::fs::mkdirat(parent, part.as_os_str(), Mode::from_bits_retain(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        made.push(part);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::SYNC | OFlags::NONBLOCK;
    let mut out = open_direct(&root, file, flags, direct)?;
    with_aligned(content, |aligned| out.write_all(aligned))??;
    out.sync_all()
}

fn read_status(root: &Path, file: &Path, direct: bool) -> io::Result<Vec<u8>> {
    let root = open_root(root)?;
    let mut file = open_direct(&root, file, OFlags::RDONLY | OFlags::NONBLOCK, direct)?;
    file.rewind()?;
    let mut memory = vec![0_u8; 2 * STATUS_FILE];
    let start = memory.as_ptr().align_offset(STATUS_FILE);
    let aligned = memory.get_mut(start..start + STATUS_FILE).ok_or(io::ErrorKind::InvalidInput)?;
    let length = file.read(aligned)?;
    Ok(aligned.get(..length).unwrap_or_default().to_vec())
}

/// With O_DIRECT where it is wanted and the file system can do it.
fn open_direct(root: &File, file: &Path, flags: OFlags, direct: bool) -> io::Result<File> {
    if direct {
        match open_beneath(root, file, flags | OFlags::DIRECT) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {}
            other => return other,
        }
    }
    open_beneath(root, file, flags)
}

/// Calls `work` with a copy of `content` that lies as O_DIRECT wants it.
fn with_aligned<T>(content: &[u8], work: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    let mut memory = vec![0_u8; content.len() + STATUS_FILE];
    let start = memory.as_ptr().align_offset(STATUS_FILE);
    let aligned = memory.get_mut(start..start + content.len()).ok_or(io::ErrorKind::InvalidInput)?;
    aligned.copy_from_slice(content);
    Ok(work(aligned))
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}
