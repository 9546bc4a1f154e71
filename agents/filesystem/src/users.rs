//! Which processes use a mount: by its number, not by the text of a path, and so in any mount namespace.
//!
//! Each of a process's links in /proc/PID (root, cwd, exe, fd/*) and each of its mappings (map_files/*) is looked at
//! with statx(2), which follows the link to the very mount that the process has and asks the file system nothing.

mod assembler;
mod btf;
mod in_kernel;

use ocf::Call;
use ocf::helper::Helper;
use ocf::mounts::{self, has_mount_id};
use ocf::process;
use ocf::state::mountinfo::{Device, Mount};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, Statx, StatxFlags};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Target {
    /// The numbers of the mount and of its copies in other mount namespaces: no two mounts have the same.
    pub mount_ids: BTreeSet<u64>,
    /// st_dev of a file system, any use of which counts, also by a mount that is to be seen nowhere.
    pub device: Option<Device>,
    /// The mount whose copies have not been looked up yet.
    pub copies_of: Option<Mount>,
    /// The number that the kernel has for the file system, where each use of the mount is a use of that: then the kernel
    /// can be asked who may be a user.
    pub superblock: Option<Device>,
}

impl Target {
    /// The users of one mount.
    pub fn of(mount: &Mount) -> Self {
        Self {
            mount_ids: BTreeSet::from([mount.id]),
            device: None,
            copies_of: Some(mount.clone()),
            superblock: MAPS_ITS_OWN_FILES.contains(&mount.fstype.as_str()).then_some(mount.device),
        }
    }

    /// Takes in the copies that other mount namespaces have of the mount: while one of them is in use, and it gets our
    /// unmounts, ours is busy.
    pub fn with_copies(&mut self) {
        if let Some(ours) = self.copies_of.take() {
            let mounts = mounts::other_namespaces().into_iter().flat_map(|(_, mounts)| mounts);
            let copies = mounts.filter(|mount| {
                mount.device == ours.device
                    && mount.fstype == ours.fstype
                    && mount.root.starts_with(&ours.root)
            });
            self.mount_ids.extend(copies.map(|mount| mount.id));
        }
    }
}

/// With these file systems a process that maps a file has that very file mapped. A stacked one, or FUSE, may have handed
/// it a file of another.
const MAPS_ITS_OWN_FILES: [&str; 19] = [
    "bcachefs", "btrfs", "ceph", "cifs", "exfat", "ext2", "ext3", "ext4", "f2fs", "gfs2", "iso9660", "nfs",
    "nfs4", "ntfs3", "ocfs2", "smb3", "tmpfs", "vfat", "xfs",
];

/// How closely each process is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What it has as a whole, without asking for anything that a process which waits for a dead server holds up.
    Quick,
    /// Its mappings and each of its threads too.
    Full,
}

/// One process that uses the mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: i32,
    /// The program's name.
    pub name: String,
    /// How it uses the mount, in words of [`WORDS`].
    pub how: Vec<&'static str>,
    /// Why it must not be signalled.
    pub protected: Option<&'static str>,
}

/// From so many processes on, the search is shared between processors.
const WORTH_SHARING: usize = 300;

/// The users of `target`, other than this process.
pub fn find(target: &Target, depth: Depth, call: &Call) -> Vec<User> {
    find_among(process::pids(), target, depth, call)
}

/// The same, among the processes that the kernel names. That is ten times as quick, and exact for whoever is named; but
/// nobody may rely on everybody being named. None: the kernel cannot be asked.
pub fn find_quickly(target: &Target, depth: Depth, call: &Call) -> Option<Vec<User>> {
    match in_kernel::candidates(target, depth, call) {
        Ok(pids) => {
            call.log.debug(format_args!("{} processes may be users, says the kernel", pids.len()));
            Some(find_among(pids, target, depth, call))
        }
        Err(error) => {
            call.log.debug(format_args!("users are looked for in /proc: {}", error.reason()));
            None
        }
    }
}

fn find_among(mut pids: Vec<i32>, target: &Target, depth: Depth, call: &Call) -> Vec<User> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    pids.retain(|pid| *pid != me);
    let sharers = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    let uses = if pids.len() < WORTH_SHARING || sharers == 1 {
        uses_of(target, depth, &pids)
    } else {
        shared(target, depth, &pids, sharers, call)
    };
    let ancestors = process::with_ancestors(me);
    // /proc of another pid namespace numbers its processes differently: a signal would go to somebody else.
    let foreign = std::fs::read_link("/proc/self").ok().as_deref() != Some(Path::new(&me.to_string()));
    let found: Vec<User> = uses
        .into_iter()
        .map(|(pid, how)| {
            let name = process::name(pid);
            let protected =
                if foreign { Some("of another pid namespace") } else { protection(pid, &name, &ancestors) };
            User { pid, name, how, protected }
        })
        .collect();
    call.log.trace(format_args!("users of {target:?} among {} processes: {found:?}", pids.len()));
    found
}

/// One process and how it uses the target.
type Use = (i32, Vec<&'static str>);

fn uses_of(target: &Target, depth: Depth, pids: &[i32]) -> Vec<Use> {
    let Ok(proc) =
        rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return Vec::new();
    };
    let mut scan = Scan { target, depth, buffer: Vec::with_capacity(64 * 1024) };
    let uses = pids.iter().map(|pid| (*pid, scan.uses(proc.as_fd(), *pid)));
    uses.filter(|(_, how)| !how.is_empty()).collect()
}

/// The same by several processes at once. What a helper that does not come back had found is lost; the next round
/// asks again.
fn shared(target: &Target, depth: Depth, pids: &[i32], sharers: usize, call: &Call) -> Vec<Use> {
    let parts = pids.chunks(pids.len().div_ceil(sharers));
    let helpers: Vec<Helper> = parts
        .filter_map(|part| {
            Helper::spawn(|_| {
                let lines = uses_of(target, depth, part).into_iter().map(|(pid, how)| {
                    let words = how.iter().filter_map(|word| WORDS.iter().position(|known| known == word));
                    format!("{pid}{}\n", words.map(|index| format!(" {index}")).collect::<String>())
                });
                Ok(lines.collect())
            })
            .ok()
        })
        .collect();
    let mut uses = Vec::new();
    for mut helper in helpers {
        let Some(answer) = helper.wait(call.deadline()) else {
            helper.abandon();
            continue;
        };
        for line in answer.unwrap_or_default().lines() {
            let mut numbers = line.split(' ');
            if let Some(pid) = numbers.next().and_then(|pid| pid.parse().ok()) {
                let words = numbers.filter_map(|index| WORDS.get(index.parse::<usize>().ok()?).copied());
                uses.push((pid, words.collect()));
            }
        }
    }
    uses
}

/// The ways to use a mount.
const WORDS: [&str; 6] = ["cwd", "root", "exe", "fd", "mmap", "thread"];

/// True if process `pid` still uses `target`: asked again with a pidfd in hand, before it is signalled.
pub fn is_user(target: &Target, depth: Depth, pid: i32) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open("/proc", flags, Mode::empty())
        .is_ok_and(|proc| !Scan { target, depth, buffer: Vec::new() }.uses(proc.as_fd(), pid).is_empty())
}

/// Daemons that a cluster needs to recover from anything. A stop that kills them is a stop of the node. Names as the
/// kernel cuts them, to 15 bytes.
const CLUSTER_DAEMONS: [&str; 31] = [
    "pacemakerd",
    "pacemaker-based",
    "pacemaker-contr",
    "pacemaker-execd",
    "pacemaker-fence",
    "pacemaker-attrd",
    "pacemaker-sched",
    "pacemaker_remot",
    "pacemaker-remot",
    "cib",
    "stonithd",
    "lrmd",
    "attrd",
    "pengine",
    "crmd",
    "corosync",
    "corosync-qdevic",
    "corosync-qnetd",
    "heartbeat",
    "ccm",
    "ipfail",
    "ha_logd",
    "sbd",
    "pcsd",
    "dlm_controld",
    "sanlock",
    "lvmlockd",
    "drbd-reactor",
    "boothd",
    "drbdd",
    "wdmd",
];

fn protection(pid: i32, name: &str, ancestors: &[i32]) -> Option<&'static str> {
    if pid == 1 {
        return Some("the first process");
    }
    if ancestors.contains(&pid) {
        return Some("started this agent");
    }
    // Anybody can call a program anything; only the system's own accounts run these daemons.
    let is_daemon = CLUSTER_DAEMONS.contains(&name) && is_system_account(pid);
    is_daemon.then_some("a daemon of the cluster or the system")
}

fn is_system_account(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|found| found.uid() < 1000)
}

struct Scan<'a> {
    target: &'a Target,
    depth: Depth,
    buffer: Vec<u8>,
}

impl Scan<'_> {
    fn uses(&mut self, proc: BorrowedFd<'_>, pid: i32) -> Vec<&'static str> {
        let mut how = Vec::new();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(directory) = rustix::fs::openat(proc, pid.to_string(), flags, Mode::empty()) else {
            return how;
        };
        let [cwd, root, exe, fd, mmap, thread] = WORDS;
        for (link, word) in [(c"cwd", cwd), (c"root", root), (c"exe", exe)] {
            if self.leads_here(&directory, link) {
                how.push(word);
            }
        }
        if self.has_open_file(&directory) {
            how.push(fd);
        }
        if self.depth == Depth::Full {
            if self.has_mapping(&directory) {
                how.push(mmap);
            }
            if how.is_empty() && self.has_thread(&directory) {
                how.push(thread);
            }
        }
        how
    }

    /// A thread may have a working directory and open files of its own, and live on when the first one has ended.
    fn has_thread(&self, directory: &OwnedFd) -> bool {
        // Each thread is a directory in task, beside its `.` and `..`.
        const LINKS_OF_ONE_THREAD: u32 = 3;
        let links = rustix::fs::statx(directory, c"task", AtFlags::empty(), StatxFlags::NLINK);
        if links.is_ok_and(|stat| stat.stx_nlink <= LINKS_OF_ONE_THREAD) {
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(tasks) = rustix::fs::openat(directory, c"task", flags, Mode::empty()) else { return false };
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut entries = RawDir::new(&tasks, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            if entry.file_name().to_bytes().starts_with(b".") {
                continue;
            }
            let Ok(task) = rustix::fs::openat(&tasks, entry.file_name(), flags, Mode::empty()) else {
                continue;
            };
            // When the first thread has ended, the program is to be seen at the others only.
            let links = [c"cwd", c"root", c"exe"];
            if links.iter().any(|link| self.leads_here(&task, link)) || self.has_open_file(&task) {
                return true;
            }
        }
        false
    }

    fn leads_here(&self, directory: &OwnedFd, link: &CStr) -> bool {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        rustix::fs::statx(directory, link, flags, StatxFlags::MNT_ID)
            .is_ok_and(|stat| self.is_target(&stat, directory, link))
    }

    fn is_target(&self, stat: &Statx, directory: &OwnedFd, link: &CStr) -> bool {
        let device = Device { major: stat.stx_dev_major, minor: stat.stx_dev_minor };
        if self.target.device == Some(device) {
            return true;
        }
        let id = if has_mount_id(stat) {
            Some(stat.stx_mnt_id)
        } else {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, link, flags, Mode::empty());
            opened.ok().and_then(|fd| mounts::mount_id_by_fdinfo(&fd))
        };
        id.is_some_and(|id| self.target.mount_ids.contains(&id))
    }

    fn has_open_file(&self, directory: &OwnedFd) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(fds) = rustix::fs::openat(directory, c"fd", flags, Mode::empty()) else {
            return false;
        };
        let mut buffer = [const { MaybeUninit::uninit() }; 8192];
        let mut entries = RawDir::new(&fds, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            if !entry.file_name().to_bytes().starts_with(b".") && self.leads_here(&fds, entry.file_name()) {
                return true;
            }
        }
        false
    }

    /// /proc/PID/maps names the file system of each mapped file; only those on the target's are looked at closely.
    fn has_mapping(&mut self, directory: &OwnedFd) -> bool {
        let Ok(maps) =
            rustix::fs::openat(directory, c"maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        else {
            return false;
        };
        self.buffer.clear();
        if std::io::Read::read_to_end(&mut std::fs::File::from(maps), &mut self.buffer).is_err() {
            return false;
        }
        // Which devices can be meant is known only for a mount whose own device is; else every file is looked at.
        let device = self.target.device.or(self.target.copies_of.as_ref().map(|mount| mount.device));
        let wanted = device.map(|device| format!("{:02x}:{:02x}", device.major, device.minor));
        let mut checked = BTreeSet::new();
        self.buffer.split(|&byte| byte == b'\n').any(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let (Some(range), Some(device), Some(inode)) = (fields.next(), fields.nth(2), fields.next())
            else {
                return false;
            };
            let meant = wanted.as_ref().is_none_or(|wanted| device == wanted.as_bytes()) && inode != b"0";
            // One look for each file is enough.
            meant && checked.insert((device, inode)) && self.maps_here(directory, range)
        })
    }

    fn maps_here(&self, directory: &OwnedFd, range: &[u8]) -> bool {
        let mut path = Vec::with_capacity(64);
        let _ = path.write_all(b"map_files/");
        // maps pads addresses with zeros, map_files does not.
        for (index, address) in range.split(|&byte| byte == b'-').enumerate() {
            if index > 0 {
                path.push(b'-');
            }
            let digits =
                address.iter().position(|&digit| digit != b'0').and_then(|first| address.get(first..));
            path.extend(digits.unwrap_or(b"0"));
        }
        path.push(0);
        match CStr::from_bytes_with_nul(&path) {
            Ok(link) => self.leads_here(directory, link),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_and_the_agent_s_ancestors_are_never_signalled() {
        assert!(protection(1, "bash", &[]).is_some());
        assert!(protection(4711, "bash", &[4712, 4711, 1]).is_some());
        assert!(protection(i32::MAX, "pacemakerd", &[]).is_none(), "a process that has gone is no daemon");
    }

    /// What an overlay maps is a file of the layer below: the kernel would not name that process.
    #[test]
    fn the_kernel_is_asked_only_for_file_systems_whose_mappings_it_knows() {
        let superblock = |fstype: &str| {
            let line = format!("50 1 8:17 / /mnt rw - {fstype} /dev/sdb1 rw\n");
            let mount = ocf::state::mountinfo::parse(line.as_bytes()).unwrap().remove(0);
            Target::of(&mount).superblock
        };
        assert_eq!(superblock("ext4"), Some(Device { major: 8, minor: 17 }));
        assert!(
            ["overlay", "fuse", "fuseblk", "fuse.sshfs", "erofs"].iter().all(|it| superblock(it).is_none())
        );
    }

    #[test]
    fn names_of_daemons_are_as_long_as_the_kernel_shows_them() {
        assert!(CLUSTER_DAEMONS.iter().all(|name| name.len() <= 15));
    }
}
