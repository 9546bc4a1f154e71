//! The system calls that no library wraps safely: the only `unsafe` code of the suite.
#![allow(unsafe_code)] // each use says why it is sound

use nix::unistd::{ForkResult, Pid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Forks this process.
///
/// The agents have a single thread, so the child may go on with anything that the parent could do.
pub(crate) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: no other thread exists that could hold a lock (the allocator's, stdio's) at this moment.
    unsafe { nix::unistd::fork() }
}

/// Asks the kernel to kill this process with SIGKILL when its parent `parent` dies.
pub(crate) fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have died before the request was made.
    if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Makes the kernel kill the tool when this process dies, however it dies.
pub(crate) fn kill_with_us(command: &mut Command) {
    let parent = Pid::this();
    // SAFETY: the closure makes two system calls and touches no memory that is shared with the parent.
    unsafe { command.pre_exec(move || die_with(parent)) };
}

/// Local time, broken down as in localtime(3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalTime {
    pub(crate) year: i32,
    pub(crate) month: i32,
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
}

/// The local time now.
pub(crate) fn local_time() -> LocalTime {
    // SAFETY: time(NULL) has no memory effect; localtime_r writes only to `parts`, for which zero is a valid value.
    let parts = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const now, &raw mut parts);
        parts
    };
    LocalTime {
        year: parts.tm_year + 1900,
        month: parts.tm_mon + 1,
        day: parts.tm_mday,
        hour: parts.tm_hour,
        minute: parts.tm_min,
        second: parts.tm_sec,
    }
}

/// True in a test that asks for a kernel of old: the calls that came after Linux 5.2 are not made then.
pub(crate) fn is_old_kernel() -> bool {
    cfg!(debug_assertions) && std::env::var_os("OCF_TEST_OLD_KERNEL").is_some()
}

/// statmount(2), Linux 6.8: fills `buffer` with a `struct statmount` about the mount `id`. False if the kernel or its
/// security policy does not answer.
pub(crate) fn statmount(id: u64, mask: u64, buffer: &mut [u64]) -> bool {
    const STATMOUNT: libc::c_long = 457;
    if is_old_kernel() {
        return false;
    }
    let request: [u64; 3] = [24, id, mask]; // struct mnt_id_req, first version: size u32, spare u32, mnt_id, param
    // SAFETY: the request is as long as it says, and the kernel writes at most the buffer's length into the buffer,
    // whose alignment is that of the u64 fields of struct statmount.
    let answer = unsafe {
        libc::syscall(STATMOUNT, request.as_ptr(), buffer.as_mut_ptr(), size_of_val(buffer), 0_usize)
    };
    answer == 0
}

/// BLKFLSBUF (linux/fs.h): writes a block device's dirty pages and forgets its clean ones.
pub(crate) fn flush_buffers(device: &std::fs::File) -> nix::Result<()> {
    nix::ioctl_none!(blkflsbuf, 0x12, 97);
    // SAFETY: the request takes no argument.
    unsafe { blkflsbuf(std::os::fd::AsRawFd::as_raw_fd(device)) }.map(drop)
}

/// BLKRRPART (linux/fs.h): reads the partition table of a disk again.
pub(crate) fn reread_partitions(disk: &std::fs::File) -> nix::Result<()> {
    nix::ioctl_none!(blkrrpart, 0x12, 95);
    // SAFETY: the request takes no argument.
    unsafe { blkrrpart(std::os::fd::AsRawFd::as_raw_fd(disk)) }.map(drop)
}

/// LOOP_GET_STATUS64 (linux/loop.h): st_dev, as makedev(3) packs it, and inode number of a loop device's file.
pub(crate) fn loop_file(device: &std::fs::File) -> nix::Result<(u64, u64)> {
    const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
    let mut info = [0_u64; 29]; // struct loop_info64 is 232 bytes: lo_device, lo_inode, ...
    // SAFETY: the buffer is as long as the structure that the kernel fills, and any bytes are valid numbers.
    let answer =
        unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(device), LOOP_GET_STATUS64, info.as_mut_ptr()) };
    nix::errno::Errno::result(answer)?;
    let [device, inode, ..] = info;
    Ok((device, inode))
}

/// Takes back what a caller may have done to our signals: a write to a reader that has gone is an error and not the end
/// of the process, children can be waited for, and no signal is held back.
pub(crate) fn own_signals() {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    // SAFETY: neither disposition installs a handler.
    unsafe {
        let _ = signal(Signal::SIGPIPE, SigHandler::SigIgn);
        let _ = signal(Signal::SIGCHLD, SigHandler::SigDfl);
    }
    let _ = SigSet::empty().thread_set_mask();
}

/// listmount(2), Linux 6.8: the unique numbers of all mounts of this namespace that come after `last`, as many as
/// `ids` can hold. None if the kernel or its security policy does not answer.
pub(crate) fn listmount(last: u64, ids: &mut [u64]) -> Option<usize> {
    const LISTMOUNT: libc::c_long = 458;
    if is_old_kernel() {
        return None;
    }
    const LSMT_ROOT: u64 = u64::MAX;
    let request: [u64; 3] = [24, LSMT_ROOT, last];
    // SAFETY: the request is as long as it says, and the kernel writes at most as many numbers as there is room for.
    let answer = unsafe { libc::syscall(LISTMOUNT, request.as_ptr(), ids.as_mut_ptr(), ids.len(), 0_usize) };
    usize::try_from(answer).ok()
}

/// Closes all files above stderr that the caller left open, or only keeps the tools that we run from having them.
/// Called before we open any.
pub(crate) fn close_inherited_files(keep: bool) {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4; // Linux 5.11
    let flags = if keep { CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: nothing in this process owns a descriptor above 2 yet.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flags) } == 0;
    if !done {
        for fd in 3..1024 {
            // SAFETY: changes a flag of a descriptor, or fails because there is none.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// DM_LIST_DEVICES (linux/dm-ioctl.h): fills `buffer`, which begins with a `struct dm_ioctl` that is filled in, with all
/// device-mapper devices.
pub(crate) fn list_mapped_devices(control: &std::fs::File, buffer: &mut [u8]) -> nix::Result<()> {
    const DM_LIST_DEVICES: libc::Ioctl = 0xc138_fd02_u32 as libc::Ioctl; // _IOWR(0xfd, 2, struct dm_ioctl), 312 bytes
    debug_assert!(buffer.len() >= 312);
    // SAFETY: the structure says how long the buffer is, and the kernel writes no more than that.
    let answer = unsafe {
        libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(control), DM_LIST_DEVICES, buffer.as_mut_ptr())
    };
    nix::errno::Errno::result(answer).map(drop)
}

/// bpf(2), for the commands that give a file descriptor.
///
/// # Safety
/// What the addresses among the attributes lead to must be as the command wants it.
unsafe fn bpf(command: libc::c_long, attributes: &[u64]) -> io::Result<OwnedFd> {
    #[cfg(debug_assertions)]
    refuse_bpf()?;
    // SAFETY: the attributes are as long as they are said to be; the rest is the caller's promise.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor (with O_CLOEXEC) for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What a security policy may do to a call of bpf(2), in a test that asks for it: `errno NUMBER`, or `kill`.
#[cfg(debug_assertions)]
fn refuse_bpf() -> io::Result<()> {
    let wish = std::env::var("OCF_TEST_BPF").unwrap_or_default();
    if wish == "kill" {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSYS)?;
    }
    match wish.strip_prefix("errno ").and_then(|number| number.parse().ok()) {
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None if is_old_kernel() => Err(io::Error::from_raw_os_error(libc::ENOSYS)),
        None => Ok(()),
    }
}

/// BPF_PROG_LOAD (Linux 5.8): a program that is called for each thing the kernel's function `iterator` walks over.
pub(crate) fn bpf_program(program: &[u64], iterator: u32, licence: &std::ffi::CStr) -> io::Result<OwnedFd> {
    const PROG_LOAD: libc::c_long = 5;
    const TRACING: u64 = 26;
    const TRACE_ITER: u64 = 28;
    let mut attributes = [0; 14];
    attributes[0] = TRACING | (program.len() as u64) << 32;
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = licence.as_ptr() as u64;
    attributes[8] = TRACE_ITER << 32;
    attributes[13] = u64::from(iterator) << 32;
    // SAFETY: both buffers live during the call and are as long as said; the kernel reads them.
    unsafe { bpf(PROG_LOAD, &attributes) }
}

/// BPF_LINK_CREATE and BPF_ITER_CREATE (Linux 5.8): to read the file is to walk, and gives what the program writes.
pub(crate) fn bpf_walk(program: BorrowedFd<'_>) -> io::Result<std::fs::File> {
    const LINK_CREATE: libc::c_long = 28;
    const ITER_CREATE: libc::c_long = 33;
    const TRACE_ITER: u64 = 28;
    let number = |fd: BorrowedFd<'_>| u64::try_from(fd.as_raw_fd()).map_err(io::Error::other);
    // SAFETY: no attribute is an address.
    let link = unsafe { bpf(LINK_CREATE, &[number(program)?, TRACE_ITER, 0, 0]) }?;
    // SAFETY: the same.
    unsafe { bpf(ITER_CREATE, &[number(link.as_fd())?]) }.map(std::fs::File::from)
}

/// Maps a file of a file system that the kernel makes up, and of which nobody can change the content, until this process
/// ends. Linux 6.16 has that for its type information.
pub(crate) fn map_sysfs(file: &std::fs::File) -> io::Result<&'static [u8]> {
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if nix::sys::statfs::fstatfs(file)?.filesystem_type() != nix::sys::statfs::SYSFS_MAGIC {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let place = map(file, size)?;
    // SAFETY: so many bytes are mapped there, nobody takes them away again, and they do not change.
    Ok(unsafe { std::slice::from_raw_parts(place.cast(), size) })
}

/// Maps a file for reading until this process ends.
pub(crate) fn map(file: &std::fs::File, size: usize) -> io::Result<*const libc::c_void> {
    let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: the kernel chooses where, so nothing that is in use is covered.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), size, read, private, file.as_raw_fd(), 0) };
    if place == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(place) }
}
