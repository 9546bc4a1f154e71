//! What is mounted, read so that a dead server or disk cannot hold the reader up.
//!
//! A path is opened with O_PATH and RESOLVE_CACHED (openat2(2)): that takes what the kernel knows already and never
//! asks the file system. What it gives is described by statx(2) without synchronisation and by statmount(2), which
//! cost the same however many mounts there are. Where the kernel cannot do that, /proc/self/mountinfo is read.

mod by_id;

use crate::state::mountinfo::{self, Device, Mount, lexical};
use crate::{Call, Context, Error, Result, sys};
use by_id::{all_by_id_on, by_unique_id, stack_by_id, unique_id};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What statx may be asked that no file system needs to look up.
const CHEAP: StatxFlags = StatxFlags::TYPE.union(StatxFlags::INO).union(StatxFlags::MNT_ID);

/// What is known about an existing path without asking its file system.
#[derive(Debug)]
pub struct Seen {
    /// O_PATH descriptor of what the path leads to, mounts and symbolic links followed.
    pub fd: OwnedFd,
    stat: Option<Statx>,
    shut_down: bool,
}

impl Seen {
    fn new(fd: OwnedFd) -> Self {
        // AT_STATX_DONT_SYNC: FUSE, NFS and their like answer from what they have.
        let stat = rustix::fs::statx(&fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, CHEAP);
        let shut_down = matches!(stat, Err(rustix::io::Errno::IO));
        let stat = stat.ok().map(|mut stat| {
            if sys::is_old_kernel() {
                stat.stx_mask &= !StatxFlags::MNT_ID.bits();
                stat.stx_attributes_mask = StatxAttributes::empty();
                stat.stx_attributes = StatxAttributes::empty();
            }
            stat
        });
        Self { fd, stat, shut_down }
    }

    /// st_dev and st_ino. None: the file system has been shut down.
    pub fn file(&self) -> Option<(Device, u64)> {
        let stat = self.stat?;
        Some((Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor }, stat.stx_ino))
    }

    fn is(&self, kind: u32) -> bool {
        self.stat.is_some_and(|stat| u32::from(stat.stx_mode) & libc::S_IFMT == kind)
    }

    /// The number of the block device that the path leads to.
    pub fn block_device(&self) -> Option<Device> {
        let stat = self.stat.filter(|_| self.is(libc::S_IFBLK))?;
        Some(Device { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor })
    }

    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// True if the file system does not even know what it has itself: it was shut down after an error.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// True if the path surely leads to where something is mounted (Linux 5.8).
    fn is_mount_root(&self) -> bool {
        self.stat.is_some_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
    }

    /// True if the path surely leads to a place where nothing is mounted (Linux 5.8).
    fn is_surely_no_mount_root(&self) -> bool {
        self.stat.is_some_and(|stat| stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT))
            && !self.is_mount_root()
    }

    /// The number, in mountinfo, of the mount that the path is on.
    pub fn mount_id(&self) -> Option<u64> {
        if let Some(stat) = self.stat.filter(has_mount_id) {
            return Some(stat.stx_mnt_id);
        }
        mount_id_by_fdinfo(&self.fd)
    }

    /// The path without symbolic links, as the kernel knows it.
    fn canonical(&self) -> Option<PathBuf> {
        let link = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        std::fs::read_link(link).ok().filter(|path| path.is_absolute())
    }
}

/// The number of the mount that `fd` is on. Before Linux 5.8 only this file tells, and no file system is asked for it.
pub fn mount_id_by_fdinfo(fd: &OwnedFd) -> Option<u64> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// Whether `stat` holds the number of the mount (Linux 5.8).
pub fn has_mount_id(stat: &Statx) -> bool {
    !sys::is_old_kernel() && StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID)
}

/// Looks at `path` with what the kernel knows already. WouldBlock: it knows too little.
fn see_cached(path: &Path) -> io::Result<Seen> {
    if sys::is_old_kernel() {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?;
    Ok(Seen::new(fd))
}

fn see_waiting(path: &Path) -> io::Result<Seen> {
    Ok(Seen::new(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
}

/// Looks at `path`, which may be on a file system that does not answer. None: there is nothing.
///
/// The quick way never waits. If it knows too little, a helper process goes first, with at most `limit`: when it comes
/// back, so will we.
pub fn see(call: &Call, path: &Path, limit: Duration) -> Result<Option<Seen>> {
    let path = &*call.host.path(path);
    match see_cached(path) {
        Ok(seen) => return Ok(Some(seen)),
        Err(error) if is_absent(&error) => return Ok(None),
        // WouldBlock, or a kernel without openat2 (before 5.6), or without RESOLVE_CACHED (before 5.12).
        Err(_) => {}
    }
    let name = || crate::printable(path.as_os_str().as_bytes());
    let found = call.bounded(call.within(limit), || match see_waiting(path) {
        Ok(_) => Ok("there".into()),
        Err(error) if is_absent(&error) => Ok("absent".into()),
        Err(error) => Err(error).or_generic(format_args!("{} cannot be looked at", name())),
    })?;
    match found.as_deref() {
        None => Err(Error::generic(format_args!("{} does not answer", name()))),
        Some("absent") => Ok(None),
        // What the helper has just looked up is known to the kernel now; only a race leads to waiting here.
        Some(_) => match see_cached(path).or_else(|_| see_waiting(path)) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error).or_generic(format_args!("{} cannot be looked at", name())),
        },
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG))
}

/// What is mounted on one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stack {
    /// The mounts on it, the visible one first. Automount points (autofs) are not among them.
    pub visible: Vec<Mount>,
    /// The directory without symbolic links.
    pub directory: PathBuf,
    /// The visible file system answers that it has been shut down after an error.
    pub shut_down: bool,
    /// The directory does not answer: nothing visible does not mean that nothing is there.
    pub unreadable: bool,
    /// Mounts on a directory of this name may be hidden: see [`hidden`].
    may_hide: bool,
}

impl Stack {
    /// Whether [`hidden`] would have to look.
    pub fn may_hide(&self) -> bool {
        self.may_hide
    }
}

/// What a path leads to.
enum Found {
    There(Box<Seen>),
    Absent,
    /// Nobody answers, or the answer is an error.
    Unreadable,
}

fn find(call: &Call, directory: &Path) -> Found {
    match see_cached(directory) {
        Ok(seen) => Found::There(Box::new(seen)),
        Err(error) if is_absent(&error) => Found::Absent,
        Err(_) => match see(call, directory, call.remaining() / 2) {
            Ok(Some(seen)) => Found::There(Box::new(seen)),
            Ok(None) => Found::Absent,
            Err(error) => {
                // The table needs no answer from it.
                call.log.debug(error);
                Found::Unreadable
            }
        },
    }
}

/// What is mounted on `directory`. On kernels with statmount(2) the cost does not depend on the number of mounts.
pub fn at(call: &Call, directory: &Path) -> Result<Stack> {
    all_at(call, directory).map(without_autofs)
}

/// The same with automount points.
pub fn all_at(call: &Call, directory: &Path) -> Result<Stack> {
    if !call.host.is_real() {
        return by_table(call, lexical(directory));
    }
    match find(call, directory) {
        Found::There(seen) => on(call, &seen),
        Found::Absent => {
            let (directory, may_hide) = as_far_as_there(directory);
            Ok(Stack { directory, may_hide, ..Stack::default() })
        }
        Found::Unreadable => {
            let stack = by_table(call, lexical(directory))?;
            Ok(Stack { unreadable: true, ..stack })
        }
    }
}

/// What is mounted on the directory that a path leads to.
fn on(call: &Call, seen: &Seen) -> Result<Stack> {
    let may_hide = !is_on_root_mount(seen);
    let shut_down = seen.is_shut_down();
    let by_id = if seen.is_mount_root() { stack_by_id(seen) } else { None };
    if let Some(visible) = by_id
        && let Some(directory) = visible.first().map(|top| top.point.clone())
    {
        return Ok(Stack { visible, directory, shut_down, may_hide, unreadable: false });
    }
    let directory = seen.canonical().ok_or_else(|| Error::generic("/proc is not mounted"))?;
    let visible = if seen.is_surely_no_mount_root() {
        Vec::new()
    } else {
        chain(by_table(call, directory.clone())?.visible, seen.mount_id())
    };
    Ok(Stack { visible, directory, shut_down, may_hide, unreadable: false })
}

/// Of the mounts with one mount point, those that the mount `top` covers, it first: all others are hidden.
fn chain(mut mounts: Vec<Mount>, top: Option<u64>) -> Vec<Mount> {
    let mut found = Vec::new();
    let mut next = top;
    while let Some(index) = mounts.iter().position(|mount| Some(mount.id) == next) {
        let mount = mounts.swap_remove(index);
        next = Some(mount.parent);
        found.push(mount);
    }
    found
}

/// What the mount table has on the directory of this very name.
fn by_table(call: &Call, directory: PathBuf) -> Result<Stack> {
    let on_it = table(call)?.into_iter().filter(|mount| mount.point == directory).collect();
    Ok(Stack { visible: top_first(on_it), directory, ..Stack::default() })
}

/// `directory`, which does not exist, without the symbolic links of the part that does; and whether mounts may be
/// hidden there.
fn as_far_as_there(directory: &Path) -> (PathBuf, bool) {
    for ancestor in directory.ancestors().skip(1) {
        match see_cached(ancestor) {
            Ok(seen) => {
                let rest = directory.strip_prefix(ancestor).unwrap_or(directory);
                let there = seen.canonical().unwrap_or_else(|| ancestor.to_path_buf());
                return (lexical(&there.join(rest)), !is_on_root_mount(&seen));
            }
            Err(error) if is_absent(&error) => {}
            Err(_) => break,
        }
    }
    (lexical(directory), true)
}

/// Nothing can cover a directory on the root mount but a mount on its way there, and then it is on that one.
fn is_on_root_mount(seen: &Seen) -> bool {
    let root = see_cached(Path::new("/")).ok().and_then(|root| root.mount_id());
    root.is_some() && root == seen.mount_id()
}

/// Mounts on a directory of the stack's name to which its path does not lead, because another mount covers the way.
/// With `device`, only those of that device are looked for, which costs less.
pub fn hidden(call: &Call, stack: &Stack, device: Option<Device>) -> Result<Vec<Mount>> {
    if !stack.may_hide {
        return Ok(Vec::new());
    }
    let mut found = match all_by_id_on(&stack.directory, device) {
        Some(mounts) => mounts,
        None => by_table(call, stack.directory.clone())?.visible,
    };
    let is_visible = |mount: &Mount| stack.visible.iter().any(|visible| visible.id == mount.id);
    found.retain(|mount| !is_visible(mount) && mount.fstype != "autofs");
    found.retain(|mount| device.is_none_or(|device| mount.device == device));
    Ok(found)
}

/// An automount point waits for the first use of what is mounted on it: below the others it is no file system of
/// anybody's. Above one, it covers it.
fn without_autofs(mut stack: Stack) -> Stack {
    while stack.visible.last().is_some_and(|mount| mount.fstype == "autofs") {
        stack.visible.pop();
    }
    stack
}

/// Whether the file `path` surely is on a local disk or in memory. Asks nobody who may not answer.
pub(crate) fn is_on_local_disk(path: &Path) -> bool {
    const LOCAL: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "devtmpfs"];
    let seen = see_cached(path).or_else(|_| see_cached(path.parent().unwrap_or(path)));
    let mount = seen.ok().and_then(|seen| unique_id(&seen)).and_then(by_number);
    mount.is_some_and(|mount| LOCAL.contains(&mount.fstype.as_str()))
}

/// The mount with this unique number, if it is in this namespace. None too where the kernel has no statmount(2).
pub fn by_number(unique_id: u64) -> Option<Mount> {
    by_unique_id(unique_id).map(|(mount, _)| mount)
}

/// Mounts of one mount point in the order in which they cover each other, the uppermost first.
fn top_first(mut mounts: Vec<Mount>) -> Vec<Mount> {
    let mut ordered = Vec::with_capacity(mounts.len());
    while !mounts.is_empty() {
        let uppermost = (0..mounts.len())
            .rev()
            .find(|&index| {
                mounts.get(index).is_some_and(|mount| !mounts.iter().any(|other| other.parent == mount.id))
            })
            .unwrap_or(0);
        ordered.push(mounts.swap_remove(uppermost));
    }
    ordered
}

/// All mounts of this namespace.
pub fn table(call: &Call) -> Result<Vec<Mount>> {
    let path = call.host.path(Path::new("/proc/self/mountinfo"));
    let text = read_table(&path).or_generic("the mount table cannot be read")?;
    // It was read from a mounted /proc, so it cannot be empty.
    let mounts = mountinfo::parse(&text).filter(|mounts| !mounts.is_empty());
    let mounts = mounts.ok_or_else(|| Error::generic("the mount table cannot be understood"))?;
    call.log.trace(format_args!("mount table: {} mounts", mounts.len()));
    Ok(mounts)
}

/// Reads a mount table in big pieces, and again if it changed meanwhile: the kernel gives a page at a time, and an
/// entry could be missed between two of them.
fn read_table(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(64 * 1024);
    for _ in 0..20 {
        text.clear();
        let mut file = File::open(path)?;
        changed_since_last_asked(&file);
        file.read_to_end(&mut text)?;
        if !changed_since_last_asked(&file) {
            return Ok(text);
        }
    }
    // Since Linux 5.8 a cursor keeps entries from being missed even then.
    Ok(text)
}

/// The kernel raises POLLPRI once for each change of the table (proc(5), /proc/PID/mounts).
fn changed_since_last_asked(file: &File) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLPRI)))
}

/// The mounts of other mount namespaces, with a process that is in it for each. Namespaces that cannot be read (their
/// last process has just gone) are left out.
pub fn other_namespaces() -> Vec<(i32, Vec<Mount>)> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let mut seen: Vec<PathBuf> = namespace("self").into_iter().collect();
    let mut found = Vec::new();
    for pid in crate::process::pids() {
        let Some(link) = namespace(&pid.to_string()) else {
            continue;
        };
        if !seen.contains(&link)
            && let Ok(text) = read_table(Path::new(&format!("/proc/{pid}/mountinfo")))
            && let Some(mounts) = mountinfo::parse(&text)
            && !mounts.is_empty()
        {
            found.push((pid, mounts));
            seen.push(link);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u64, parent: u64, fstype: &str) -> Mount {
        let line = format!("{id} {parent} 8:1 / /mnt rw - {fstype} /dev/sda1 rw\n");
        mountinfo::parse(line.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn the_uppermost_mount_comes_first_whatever_the_table_s_order() {
        let stack = top_first(vec![mount(50, 40, "ext4"), mount(40, 30, "ext4"), mount(60, 50, "xfs")]);
        assert_eq!(stack.iter().map(|mount| mount.id).collect::<Vec<_>>(), [60, 50, 40]);
    }

    #[test]
    fn an_automount_point_is_nobody_s_file_system() {
        let visible = |mounts| without_autofs(Stack { visible: mounts, ..Stack::default() }).visible.len();
        assert_eq!(visible(vec![mount(2, 1, "ext4"), mount(1, 0, "autofs")]), 1);
        assert_eq!(visible(vec![mount(1, 0, "autofs")]), 0);
        assert_eq!(visible(vec![mount(2, 1, "autofs"), mount(1, 0, "ext4")]), 2, "above, it covers");
    }

    #[test]
    fn listmount_and_mountinfo_know_the_same_mount_points() {
        let table = mountinfo::parse(&std::fs::read("/proc/self/mountinfo").unwrap()).unwrap();
        for point in table.iter().map(|mount| mount.point.as_path()).chain([Path::new("/no/such/point")]) {
            let Some(mounts) = all_by_id_on(point, None) else {
                eprintln!("skipped: this kernel has no listmount(2)");
                return;
            };
            let mut by_id: Vec<u64> = mounts.iter().map(|mount| mount.id).collect();
            let mut listed: Vec<u64> =
                table.iter().filter(|mount| mount.point == point).map(|mount| mount.id).collect();
            by_id.sort_unstable();
            listed.sort_unstable();
            assert_eq!(by_id, listed, "{}", point.display());
        }
    }

    #[test]
    fn statmount_and_mountinfo_say_the_same_of_the_mounts_here() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let table = mountinfo::parse(&text).unwrap();
        let mut compared = 0;
        for listed in &table {
            let Ok(seen) = see_cached(&listed.point) else {
                continue;
            };
            if seen.mount_id() != Some(listed.id) {
                continue; // covered by another
            }
            let Some(stack) = stack_by_id(&seen) else { continue };
            let by_id = &stack[0];
            assert_eq!((by_id.id, by_id.parent, by_id.device), (listed.id, listed.parent, listed.device));
            assert_eq!((&by_id.root, &by_id.point), (&listed.root, &listed.point));
            assert_eq!((&by_id.fstype, &by_id.source), (&listed.fstype, &listed.source));
            assert_eq!(by_id.options, listed.options);
            assert_eq!(by_id.super_options, listed.super_options);
            compared += 1;
        }
        if compared == 0 {
            eprintln!("skipped: this kernel has no statmount(2) with SB_SOURCE");
        }
    }
}
