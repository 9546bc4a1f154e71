//! The system calls that have no safe wrapper, each with one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `struct loop_config` of linux/loop.h: fd, block size, `struct loop_info64`, eight reserved words.
const LOOP_CONFIG_BYTES: usize = 304;
/// Where `lo_flags` sits in it: after fd and block size, 52 bytes into `struct loop_info64`.
const LO_FLAGS_AT: usize = 60;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_PARTSCAN: u32 = 8;

nix::ioctl_none_bad!(loop_control_get_free, 0x4C82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, [u8; LOOP_CONFIG_BYTES]);
nix::ioctl_none_bad!(loop_clear, 0x4C01);
// EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number.
nix::ioctl_read!(fs_shutdown, b'X', 125, u32);

/// The number of a loop device that is free at this moment.
pub(crate) fn free_loop_number(control: &File) -> io::Result<i32> {
    // SAFETY: takes no argument.
    unsafe { Ok(loop_control_get_free(control.as_raw_fd())?) }
}

/// Gives a loop device its backing file; it detaches by itself when nobody holds it any more.
pub(crate) fn attach_loop(device: &File, backing: impl AsFd) -> io::Result<()> {
    let mut config = [0u8; LOOP_CONFIG_BYTES];
    let backing = u32::try_from(backing.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    config[..4].copy_from_slice(&backing.to_ne_bytes());
    let flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN;
    config[LO_FLAGS_AT..LO_FLAGS_AT + 4].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the kernel reads LOOP_CONFIG_BYTES bytes, which the buffer has.
    unsafe { loop_configure(device.as_raw_fd(), &config) }?;
    Ok(())
}

/// Takes the backing file away; a device that is in use keeps it until the last user has gone.
pub(crate) fn detach_loop(device: &File) -> io::Result<()> {
    // SAFETY: takes no argument.
    unsafe { loop_clear(device.as_raw_fd()) }?;
    Ok(())
}

/// Shuts an ext4 or XFS file system down, without writing its log, as after a lost disk.
pub(crate) fn shut_down(directory: &File) -> io::Result<()> {
    let mut no_log_flush = 2u32;
    // SAFETY: the kernel reads one word.
    unsafe { fs_shutdown(directory.as_raw_fd(), &mut no_log_flush) }?;
    Ok(())
}
