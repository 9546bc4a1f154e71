//! stop: from a mounted file system to a free device.
//!
//! Each mount is unmounted as soon as nobody uses it. In the first half of the time its users get the term_signals, in
//! the second the kill_signals. The agent sleeps on the processes themselves and on nothing else.

use crate::force_unmount::{self, ForceUnmount};
use crate::pressure::{Pressure, describe};
use crate::source::{self, Identity, Source};
use crate::users::{self, Depth, Target};
use crate::verdict::Verdict;
use crate::{Filesystem, check, fstype, metadata, record};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use ocf::helper::Helper;
use ocf::state::mountinfo::{Device, Mount, is_at_or_below};
use ocf::{Call, Context, Error, Result, block, holders, mounts, printable};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What fast_stop leaves for each mount.
const FAST_STOP: Duration = Duration::from_secs(6);
/// How long an unmount that gets no answer from a server may take before the kernel is told to give up on it.
const BEFORE_FORCE: Duration = Duration::from_secs(3);
/// How long a device may stay in use after the last unmount before that is a failure.
const RELEASE: Duration = Duration::from_secs(3);

/// Unmounts the file system. Called when it is not known to be unmounted.
pub fn stop(filesystem: &Filesystem, call: &Call) -> Result<()> {
    if filesystem.names_nothing(call)? {
        return Ok(());
    }
    call.log.info(format_args!("stop of {} on {}", filesystem.device, filesystem.directory));
    // Below a mount of ours there may be another one, which can be recognised only when it is visible.
    while uncover(filesystem, call)? && !call.dry_run {}
    Ok(())
}

/// Unmounts what of the resource is visible. False: there was nothing.
fn uncover(filesystem: &Filesystem, call: &Call) -> Result<bool> {
    let force = ForceUnmount::new(filesystem, call);
    let (verdict, stack) = filesystem.verdict(call)?;
    let directory = stack.directory;
    let left_aside = filesystem.left_aside(&directory, call)?;
    let ours = match verdict {
        Verdict::Absent if left_aside.is_empty() => {
            return forget(filesystem, &directory, call).map(|()| false);
        }
        Verdict::Absent => left_aside,
        Verdict::Foreign(_) => return Ok(false),
        Verdict::Mounted(mount) | Verdict::Elsewhere(mount) => vec![mount],
        // Ours below a foreign mount cannot be reached, and the foreign one is not ours to unmount.
        Verdict::Several(ref mounts) => {
            let ours: Vec<Mount> =
                mounts.iter().take_while(|(_, ours)| *ours).map(|(mount, _)| mount.clone()).collect();
            if mounts.iter().skip(ours.len()).any(|(_, ours)| *ours) {
                return Err(filesystem.trouble(&verdict));
            }
            ours
        }
        Verdict::Hidden(_) | Verdict::Unknown(_) => return Err(filesystem.trouble(&verdict)),
    };
    let Some(top) = ours.first().cloned() else {
        return Ok(false);
    };
    if call.check_level == 20 {
        check::remove_status_file(filesystem, &top, call);
    }
    let source = Source::new(filesystem, call);
    let disk = device_of(&source, &top, call).map(|device| Disk::now(call, device));
    let stopping = Stopping { filesystem, call, force };
    let worklist = stopping.worklist(&source, &ours)?;
    if matches!(source, Source::Bind(_)) && !worklist.is_empty() {
        stopping.keep_from_source(&top);
    }
    for mount in worklist {
        stopping.unmount(&mount)?;
    }
    let aside = stopping.move_aside(&top, &directory);
    let result = ours.iter().try_for_each(|mount| {
        let mut mount = mount.clone();
        if let Some(aside) = &aside {
            mount.point.clone_from(aside);
        }
        stopping.unmount(&mount)
    });
    if let Some(aside) = &aside {
        stopping.clear_aside(aside, &directory);
    }
    result?;
    if call.dry_run {
        return Ok(true);
    }
    if let Some(disk) = disk {
        stopping.released(&disk, top.device, &directory)?;
    }
    record::remove(call, filesystem);
    Ok(true)
}

/// Somebody else unmounted what start had mounted, perhaps lazily (umount -l): then the device is still in use.
fn forget(filesystem: &Filesystem, directory: &Path, call: &Call) -> Result<()> {
    if let Some(record) = record::read(call, filesystem)
        && let Some(device) = record.block
    {
        let stopping = Stopping { filesystem, call, force: ForceUnmount::new(filesystem, call) };
        stopping.released(&Disk { device, sequence: record.sequence }, record.device, directory)?;
    }
    record::remove(call, filesystem);
    Ok(())
}

/// Prints who uses what is mounted on the directory: a line for each process.
pub fn show_users(filesystem: &Filesystem, call: &Call) -> Result<()> {
    let stack = mounts::at(call, filesystem.directory.as_path())?;
    let Some(mount) = stack.visible.first() else {
        return Err(Error::generic(format_args!("nothing is mounted on {}", filesystem.directory)));
    };
    let target = Target::of(mount);
    let mut text = String::new();
    let quickly = users::find_quickly(&target, Depth::Full, call).filter(|users| !users.is_empty());
    for user in quickly.unwrap_or_else(|| users::find(&target, Depth::Full, call)) {
        text.push_str(&format!("{} {} {}\n", user.pid, user.how.join(","), user.name));
    }
    for holder in holders::of_mount(call, &mount.point) {
        text.push_str(&format!("kernel - {holder}\n"));
    }
    ocf::log::to_stdout(text);
    Ok(())
}

/// The block device that has to be free afterwards.
fn device_of(source: &Source, mount: &Mount, call: &Call) -> Option<Device> {
    if !source.is_device() && !matches!(source, Source::Image(_)) {
        return None;
    }
    if !mount.device.is_anonymous() {
        return Some(mount.device);
    }
    match source::identify(source, call) {
        Ok(Identity::Block(device)) => Some(device),
        _ => None,
    }
}

/// What one attempt to unmount came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Unmounted,
    Busy,
    /// Nothing is mounted there, any more or by this path.
    NotThere,
    /// The server does not answer.
    Hung,
}

struct Stopping<'a> {
    filesystem: &'a Filesystem,
    call: &'a Call,
    force: ForceUnmount,
}

impl Stopping<'_> {
    /// What is unmounted before the mounts of the resource themselves: everything on them, the deepest first, and
    /// then other mounts in this namespace that show a part of what they show. A bind mount touches only itself.
    fn worklist(&self, source: &Source, ours: &[Mount]) -> Result<Vec<Mount>> {
        let table = mounts::table(self.call)?;
        let mut roots: Vec<&Mount> = Vec::new();
        if !matches!(source, Source::Bind(_) | Source::Named(_)) {
            roots.extend(table.iter().filter(|mount| ours.iter().any(|ours| shows_part_of(mount, ours))));
        }
        let is_ours = |mount: &Mount| ours.iter().any(|ours| ours.id == mount.id);
        roots.retain(|mount| !is_ours(mount));
        let mut list: Vec<Mount> = Vec::new();
        for root in ours.iter().chain(roots.iter().copied()) {
            for mount in below(&table, root) {
                add(&mut list, mount);
            }
        }
        for root in roots {
            add(&mut list, root);
        }
        list.retain(|mount| !is_ours(mount));
        Ok(list)
    }

    fn budget(&self) -> Duration {
        // To find out who holds the mount takes a while, too, on a busy machine.
        let left = self.call.remaining();
        let left = left.saturating_sub((left / 5).min(Duration::from_secs(1)));
        let by_default = || {
            self.filesystem.fstype.bytes() != b"gfs2" && metadata::default_fast_stop(&self.call.host) == "yes"
        };
        let fast = self.filesystem.fast_stop.unwrap_or_else(by_default);
        if fast { left.min(FAST_STOP) } else { left }
    }

    /// Unmounts one mount, whoever has to leave it first.
    fn unmount(&self, mount: &Mount) -> Result<()> {
        let point = show(&mount.point);
        if !self.call.change(format_args!("unmount {point}")) {
            return Ok(());
        }
        self.call.step(&format!("unmounting {point}"));
        let network = fstype::is_network(&mount.fstype);
        let began = Instant::now();
        let budget = self.budget();
        let (half, until) = (began + budget / 2, began + budget);
        let target = Target::of(mount);
        let mut pressure =
            Pressure::new(self.filesystem, self.call, self.force.signal, target, (half, until));
        let mut told = false;
        while self.is_there(mount)? {
            let second_half = Instant::now() >= half;
            let flags = if network && second_half { MntFlags::MNT_FORCE } else { MntFlags::empty() };
            match self.attempt(&mount.point, flags, network, until)? {
                Attempt::Unmounted => {}
                Attempt::NotThere if !self.is_there(mount)? => {}
                Attempt::NotThere => {
                    return Err(Error::generic(format_args!(
                        "{point} is mounted, but its path does not lead there"
                    )));
                }
                _ if Instant::now() >= until => return self.give_up(mount, network, &pressure),
                Attempt::Hung => return self.give_up(mount, network, &pressure),
                Attempt::Busy => {
                    pressure.apply(&|| self.is_there(mount).unwrap_or(false));
                    if pressure.last.is_empty() && !told {
                        told = true;
                        let holders = holders::of_mount(self.call, &mount.point);
                        self.call
                            .obstacle(holders.first().map_or(String::new(), |by| format!("held by {by}")));
                    }
                }
            }
        }
        self.call.log.info(format_args!("unmounted {point}"));
        Ok(())
    }

    /// What is mounted below a bind mount came there from its source, if that is shared: unmounted here, it would be
    /// unmounted there too.
    fn keep_from_source(&self, mount: &Mount) {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let point = show(&mount.point);
        if self.call.change(format_args!("make the mounts on {point} private"))
            && let Err(errno) =
                nix::mount::mount(None::<&str>, &mount.point, None::<&str>, private, None::<&str>)
        {
            self.call.log.warn(format_args!("the mounts on {point} cannot be made private: {errno}"));
        }
    }

    /// True while `mount` is the visible one on its mount point: by its path nothing else may be unmounted.
    fn is_there(&self, mount: &Mount) -> Result<bool> {
        let stack = mounts::all_at(self.call, &mount.point)?;
        if stack.visible.first().is_some_and(|top| same_mount(top, mount)) {
            return Ok(true);
        }
        let hidden = mounts::hidden(self.call, &stack, Some(mount.device))?;
        if stack.unreadable || stack.visible.iter().chain(&hidden).any(|other| same_mount(other, mount)) {
            return Err(Error::generic(format_args!(
                "{} is covered by another mount: unmount that first",
                show(&mount.point)
            )));
        }
        Ok(false)
    }

    fn attempt(&self, point: &Path, flags: MntFlags, network: bool, until: Instant) -> Result<Attempt> {
        let path = self.call.host.path(point).into_owned();
        let flags = flags | MntFlags::UMOUNT_NOFOLLOW;
        if !network {
            return answer(umount2(&path, flags), point);
        }
        let unmount = |flags: MntFlags| {
            let path = path.clone();
            Helper::spawn(move |_| match umount2(&path, flags) {
                Ok(()) => Ok("unmounted".into()),
                Err(errno) => Ok((errno as i32).to_string()),
            })
        };
        let read = |text: String| match text.parse() {
            Ok(number) => answer(Err(Errno::from_raw(number)), point),
            Err(_) => Ok(Attempt::Unmounted),
        };
        let mut helper = unmount(flags)?;
        if let Some(result) = helper
            .wait(Instant::now() + BEFORE_FORCE.min(until.saturating_duration_since(Instant::now()) / 4))
        {
            return read(result?);
        }
        self.call.log.warn(format_args!("{} does not answer: the kernel is told to give it up", show(point)));
        let forced = unmount(flags | MntFlags::MNT_FORCE)?.wait(until);
        // The first attempt has an answer now, or never.
        let first = helper.wait(Instant::now() + Duration::from_millis(50));
        if first.is_none() {
            helper.abandon();
        }
        match forced.or(first) {
            Some(result) => read(result?),
            None => Ok(Attempt::Hung),
        }
    }

    fn give_up(&self, mount: &Mount, network: bool, pressure: &Pressure<'_>) -> Result<()> {
        let point = show(&mount.point);
        // An unmount that got no answer in time may have been done meanwhile.
        if !self.is_there(mount)? {
            self.call.log.info(format_args!("unmounted {point}"));
            return Ok(());
        }
        if network && self.filesystem.lazy_unmount {
            self.call.log.warn(format_args!("{point} cannot be unmounted and is detached"));
            let path = self.call.host.path(&mount.point).into_owned();
            let detached = umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
            return detached.or_generic(format_args!("{point} cannot be detached"));
        }
        let mut held: Vec<String> = pressure.last.iter().map(describe).collect();
        held.extend(holders::of_mount(self.call, &mount.point));
        let by = match held.len() {
            0 => "something in the kernel".to_string(),
            1..=2 => held.join(", "),
            more => format!(
                "{} and {} more",
                held.iter().take(2).cloned().collect::<Vec<_>>().join(", "),
                more - 2
            ),
        };
        for holder in &held {
            self.call.log.error(format_args!("{point} is held by {holder}"));
        }
        Err(Error::generic(format_args!("{point} cannot be unmounted, held by {by}")))
    }

    /// With the word move: moves the mount to a directory that nobody knows, so that nobody comes back to it.
    fn move_aside(&self, mount: &Mount, directory: &Path) -> Option<PathBuf> {
        let aside = self.force.aside(directory).filter(|aside| mount.point != *aside)?;
        if !self.call.change(format_args!("move {} to {}", show(directory), show(&aside))) {
            return None;
        }
        let made =
            std::fs::create_dir(&aside).or_else(|error| if aside.is_dir() { Ok(()) } else { Err(error) });
        let moved = made.or_generic("it cannot be made").and_then(|()| {
            mount_move(directory, &aside)
                .or_generic("the mount cannot be moved (is the one above it shared?)")
        });
        match moved {
            Ok(()) => Some(aside),
            Err(error) => {
                self.call.log.warn(format_args!("{}: {error}; going on without", show(&aside)));
                let _ = std::fs::remove_dir(&aside);
                None
            }
        }
    }

    /// Leaves nothing behind beside the mount point. What could not be unmounted goes back to where monitor finds it.
    fn clear_aside(&self, aside: &Path, directory: &Path) {
        if force_unmount::is_mounted(aside, self.call).unwrap_or(true)
            && let Err(errno) = mount_move(aside, directory)
        {
            self.call.log.error(format_args!("{} stays mounted: {errno}", show(aside)));
            return;
        }
        let _ = std::fs::remove_dir(aside);
    }

    /// The layer below can only be stopped when the device is free: a mount in another namespace keeps the file system
    /// alive, although nothing of it is to be seen here.
    fn released(&self, disk: &Disk, file_system: Device, directory: &Path) -> Result<()> {
        let (call, device) = (self.call, disk.device);
        let elsewhere = |mount: &Mount| -> bool {
            let source = Path::new(&mount.source);
            mount.device == device
                || (mount.device.is_anonymous() && holders::node_of(call, device).as_deref() == Some(source))
        };
        if mounts::table(call)?.iter().any(elsewhere) {
            call.log.debug("the device has other mounts, which are not this resource's");
            return Ok(());
        }
        let Some(node) = holders::node_of(call, device) else {
            return Ok(());
        };
        let path = call.host.path(&node).into_owned();
        let began = Instant::now();
        let budget = self.budget();
        let (half, until) = (began + budget / 2, began + budget);
        // Whoever still uses the file system has it through a mount that is not to be seen here, or one that was
        // detached. A number that the kernel made up may belong to another file system by now.
        let others = mounts::other_namespaces().into_iter().flat_map(|(_, mounts)| mounts).filter(elsewhere);
        let target = Target {
            mount_ids: others.map(|mount| mount.id).collect(),
            device: Some(file_system).filter(|device| !device.is_anonymous()),
            copies_of: None,
            superblock: None,
        };
        let mut pressure = Pressure::new(self.filesystem, call, self.force.signal, target, (half, until));
        call.step(&format!("waiting for {} to be free", show(&node)));
        let holders_now = || {
            let mut held = holders::of_device(call, device);
            held.extend(holders::of_mount(call, directory));
            held
        };
        let (mut was_claimed, mut told) = (false, false);
        while disk.may_be_there(call) {
            let claimed = call.bounded(call.within(RELEASE), || {
                let _ = block::flush_buffers(&path);
                let claimed = block::is_claimed(&path).or_generic("it cannot be opened")?;
                Ok(if claimed { "claimed" } else { "free" }.to_string())
            });
            match claimed.map(|answer| answer.unwrap_or_default()).as_deref() {
                Ok("free") => return Ok(()),
                Ok("claimed") => was_claimed = true,
                _ => {
                    let held = holders::of_device(call, device);
                    if held.is_empty() && !was_claimed {
                        // It is unmounted everywhere; that its disk does not answer is another matter.
                        call.log.warn(format_args!("{} cannot be asked whether it is free", show(&node)));
                        return Ok(());
                    }
                    return Err(not_released(directory, &node, &held));
                }
            }
            let limit = if pressure.last.is_empty() { RELEASE.min(budget) } else { budget };
            if began.elapsed() >= limit {
                let mut held: Vec<String> = pressure.last.iter().map(describe).collect();
                held.extend(holders_now());
                return Err(not_released(directory, &node, &held));
            }
            pressure.apply(&|| disk.may_be_there(call));
            if pressure.last.is_empty() && !told {
                told = true;
                call.obstacle(not_released(directory, &node, &holders_now()).reason());
            }
        }
        call.log
            .info(format_args!("{} is another disk by now: the one that was mounted is gone", show(&node)));
        Ok(())
    }
}

/// A disk by its number, which another one may get when it has gone.
struct Disk {
    device: Device,
    sequence: Option<u64>,
}

impl Disk {
    fn now(call: &Call, device: Device) -> Self {
        Self { device, sequence: holders::disk_sequence(call, device) }
    }

    fn may_be_there(&self, call: &Call) -> bool {
        !is_another(self.sequence, holders::disk_sequence(call, self.device))
    }
}

/// Only two numbers that were read prove it: one that cannot be read says nothing.
fn is_another(before: Option<u64>, now: Option<u64>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

fn not_released(directory: &Path, node: &Path, held: &[String]) -> Error {
    let by = held.first().map_or("something in the kernel", String::as_str);
    Error::generic(format_args!("{} is unmounted, but {} is held by {by}", show(directory), show(node)))
}

fn mount_move(from: &Path, to: &Path) -> nix::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
}

/// Two readings of one mount. Its mount point may have been moved meanwhile.
fn same_mount(one: &Mount, other: &Mount) -> bool {
    match (one.unique_id, other.unique_id) {
        (Some(one), Some(other)) => one == other,
        _ => one.id == other.id && one.device == other.device,
    }
}

/// True if `mount` shows the same file system as `ours`, and a part of what `ours` shows.
fn shows_part_of(mount: &Mount, ours: &Mount) -> bool {
    let same_subvolume =
        ours.fstype != "btrfs" || mount.super_option("subvolid") == ours.super_option("subvolid");
    mount.device == ours.device && is_at_or_below(&mount.root, &ours.root) && same_subvolume
}

/// Everything that is mounted on `root`, the deepest first.
fn below<'a>(table: &'a [Mount], root: &Mount) -> Vec<&'a Mount> {
    let mut found: Vec<&Mount> = Vec::new();
    let mut open = vec![root.id];
    while let Some(parent) = open.pop() {
        for mount in
            table.iter().filter(|mount| mount.parent == parent && mount.id != parent && mount.id != root.id)
        {
            found.push(mount);
            open.push(mount.id);
        }
    }
    // Parents were found before their children.
    found.reverse();
    found
}

fn add(list: &mut Vec<Mount>, mount: &Mount) {
    if !list.iter().any(|known| known.id == mount.id) {
        list.push(mount.clone());
    }
}

fn answer(result: nix::Result<()>, point: &Path) -> Result<Attempt> {
    match result {
        Ok(()) => Ok(Attempt::Unmounted),
        Err(Errno::EBUSY) => Ok(Attempt::Busy),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(Attempt::NotThere),
        Err(errno) => {
            Err(Error::generic(format_args!("{} cannot be unmounted: {}", show(point), errno.desc())))
        }
    }
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocf::state::mountinfo;

    fn table(text: &str) -> Vec<Mount> {
        mountinfo::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_mounted_on_a_mount_comes_before_it_the_deepest_first() {
        let table = table(
            "10 1 8:1 / /m rw - ext4 /dev/a rw\n11 10 8:2 / /m/a rw - ext4 /dev/b rw\n\
             12 11 8:3 / /m/a/b rw - ext4 /dev/c rw\n13 10 8:4 / /m/.x rw - ext4 /dev/d rw\n\
             14 1 8:5 / /mm rw - ext4 /dev/e rw\n",
        );
        let ids: Vec<u64> = below(&table, &table[0]).iter().map(|mount| mount.id).collect();
        assert_eq!(ids.len(), 3);
        let at = |id: u64| ids.iter().position(|found| *found == id).unwrap();
        assert!(at(12) < at(11));
        assert!(ids.contains(&13) && !ids.contains(&14));
    }

    #[test]
    fn a_disk_counts_as_gone_only_if_both_numbers_were_read_and_differ() {
        assert!(is_another(Some(7), Some(8)));
        for (before, now) in [(Some(7), Some(7)), (Some(7), None), (None, Some(8)), (None, None)] {
            assert!(!is_another(before, now), "{before:?} {now:?}");
        }
    }

    #[test]
    fn only_mounts_of_the_same_subvolume_and_below_the_same_root_are_parts() {
        let table = table(
            "1 0 0:40 /@a /a rw - btrfs /dev/a rw,subvolid=256,subvol=/@a\n\
             2 0 0:40 /@b /b rw - btrfs /dev/a rw,subvolid=257,subvol=/@b\n\
             3 0 0:40 / /top rw - btrfs /dev/a rw,subvolid=5,subvol=/\n\
             4 0 0:40 /@a/x /bind rw - btrfs /dev/a rw,subvolid=256,subvol=/@a/x\n\
             5 0 8:1 / /e rw - ext4 /dev/b rw\n6 0 8:1 /d /f rw - ext4 /dev/b rw\n7 0 8:16 / /g rw - ext4 /dev/c rw\n",
        );
        assert!(shows_part_of(&table[3], &table[0]));
        assert!(!shows_part_of(&table[1], &table[0]), "another subvolume");
        assert!(!shows_part_of(&table[1], &table[2]), "a subvolume of its own below the top");
        assert!(shows_part_of(&table[5], &table[4]));
        assert!(!shows_part_of(&table[4], &table[5]), "the whole is not a part of its part");
        assert!(!shows_part_of(&table[6], &table[4]), "a device with a similar number");
    }
}
