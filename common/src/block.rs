//! Block devices: what can be asked of them and done to them without a tool. All of it may hang on a lost disk.

use crate::state::mountinfo::Device;
use crate::sys;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

fn open(node: &Path, flags: i32) -> io::Result<File> {
    File::options().read(true).custom_flags(flags | libc::O_NONBLOCK | libc::O_CLOEXEC).open(node)
}

/// Writes what is dirty in the cache of the device and forgets the rest: another node may have written to it since.
pub fn flush_buffers(node: &Path) -> io::Result<()> {
    Ok(sys::flush_buffers(&open(node, 0)?)?)
}

/// Makes the kernel read the partition table of `disk` again.
pub fn reread_partitions(disk: &Path) -> io::Result<()> {
    Ok(sys::reread_partitions(&open(disk, 0)?)?)
}

/// Whether something has claimed the device for itself: opened with O_EXCL, it answers EBUSY then (open(2)).
pub fn is_claimed(node: &Path) -> io::Result<bool> {
    match open(node, libc::O_EXCL) {
        Ok(_) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(true),
        Err(error) => Err(error),
    }
}

/// st_dev and inode of the file behind a loop device.
pub fn loop_file(node: &Path) -> io::Result<(Device, u64)> {
    let (device, inode) = sys::loop_file(&open(node, 0)?)?;
    Ok((Device { major: rustix::fs::major(device), minor: rustix::fs::minor(device) }, inode))
}

/// Reads the first `length` bytes of the device itself, past the page cache.
pub fn read_past_cache(node: &Path, length: usize) -> io::Result<()> {
    // O_DIRECT wants memory, offset and length aligned to the logical block, which is at most a page.
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; length + PAGE];
    let start = memory.as_ptr().align_offset(PAGE);
    let aligned = memory.get_mut(start..start + length).ok_or(io::ErrorKind::InvalidInput)?;
    open(node, libc::O_DIRECT)?.read_exact(aligned)
}
