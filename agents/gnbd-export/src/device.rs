//! The device: what it must be before it is offered, and which one a kernel's word means.

use crate::export::{DEVICE_WORDS, Export, is_device};
use nix::errno::Errno;
use ocf::drbd::target::{Target, minor_on, same_disk};
use ocf::drbd::verdict::Verdict;
use ocf::state::mountinfo::Device;
use ocf::{Call, Context, Error, Result, drbd, holders};
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Fails unless the device exists, is a block device, can be opened for writing here, and nobody else uses it.
pub fn check(export: &Export, call: &Call) -> Result<()> {
    let device = export.device()?;
    let shown = device.display();
    call.step("looking at the device");
    let metadata = match std::fs::metadata(call.host.path(device)) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::installed(format_args!("device {shown} does not exist: bring it up first")));
        }
        Err(error) => return Err(error).or_generic(format_args!("device {shown} cannot be looked at")),
    };
    if !metadata.file_type().is_block_device() {
        return Err(Error::generic(format_args!("{shown} is not a block device: name one to be offered")));
    }
    is_primary(device, call)?;
    let open = |flags| {
        let mut options = File::options();
        options.read(true).write(!export.readonly).custom_flags(flags | nix::libc::O_NONBLOCK);
        options.open(call.host.path(device))
    };
    if let Err(error) = open(0) {
        return Err(refused(device, &error));
    }
    // open(2) alone does not mind.
    let number = number(metadata.rdev());
    if !export.readonly
        && call.host.read_line(format!("/sys/dev/block/{number}/ro")).is_some_and(|ro| ro == "1")
    {
        return Err(Error::generic(format_args!("{shown} cannot be written here: it is write-protected")));
    }
    // The kernel's NVMe target and the NBD servers would take a device that is mounted, or the disk below DRBD.
    if let Err(error) = open(nix::libc::O_EXCL) {
        if error.raw_os_error() != Some(Errno::EBUSY as i32) {
            return Err(refused(device, &error));
        }
        return Err(in_use(device, number, call));
    }
    // Nor does it mind another export of the same device.
    if !holders::storage_targets(call, &node(export, call)?).is_empty() {
        return Err(in_use(device, number, call));
    }
    Ok(())
}

/// DRBD says by itself what its device may be used for. One that does not say is left to the opening of the device.
fn is_primary(device: &Path, call: &Call) -> Result<()> {
    // A path below DRBD has the same minor, so only the device's own node counts.
    let Some(minor) = minor_on(&call.host, device).filter(|_| !device.starts_with("/dev/drbd/by-disk"))
    else {
        return Ok(());
    };
    let node = PathBuf::from(format!("/dev/drbd{minor}"));
    if !same_disk(&call.host, device, &node) {
        return Ok(());
    }
    let shown = device.display();
    match drbd::verdict(&Target::Minor(minor), call) {
        Ok(Verdict::Secondary) => Err(Error::generic(format_args!(
            "{shown} is DRBD Secondary here: make it Primary first (drbddisk)"
        ))),
        Ok(Verdict::Unconfigured) => Err(Error::generic(format_args!(
            "{shown} is DRBD that is not up here: drbdadm up, then make it Primary"
        ))),
        Ok(_) => Ok(()),
        Err(error) => {
            call.log.warn(format_args!("the role of {shown} is unknown: {error}"));
            Ok(())
        }
    }
}

fn refused(device: &Path, error: &std::io::Error) -> Error {
    let shown = device.display();
    let read_only = [Errno::EROFS, Errno::EACCES, Errno::EMEDIUMTYPE, Errno::EPERM];
    if read_only.iter().any(|errno| error.raw_os_error() == Some(*errno as i32)) {
        return Error::generic(format_args!(
            "{shown} cannot be written here ({error}): a Secondary or write-protected?"
        ));
    }
    Error::generic(format_args!("{shown} cannot be opened: {error}"))
}

fn number(rdev: u64) -> Device {
    let half = |number| u32::try_from(number).unwrap_or(0);
    Device { major: half(nix::sys::stat::major(rdev)), minor: half(nix::sys::stat::minor(rdev)) }
}

fn in_use(device: &Path, number: Device, call: &Call) -> Error {
    let node = holders::node_of(call, number).unwrap_or_else(|| device.to_path_buf());
    let holders = holders::of_whole_device(call, number, &node);
    let by = if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(", ")) };
    Error::generic(format_args!("{} is in use here{by}: free it first", device.display()))
}

/// The device's own node, past all links: what the kernel is given, and what others compare with.
pub fn node(export: &Export, call: &Call) -> Result<PathBuf> {
    let device = export.device()?;
    let path = std::fs::canonicalize(call.host.path(device))
        .or_generic(format_args!("device {} cannot be resolved", device.display()))?;
    let root = call.host.path(Path::new("/")).into_owned();
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| PathBuf::from("/"));
    let node = path.strip_prefix(root).map_or(path.clone(), |inside| Path::new("/").join(inside));
    // It is written into lists of options and files of lines.
    if !node.to_str().is_some_and(is_device) {
        return Err(Error::generic(format_args!(
            "{} leads to '{}': accepted is {DEVICE_WORDS}",
            device.display(),
            ocf::printable(node.as_os_str().as_encoded_bytes())
        )));
    }
    Ok(node)
}

/// Whether the kernel's or a tool's word for a device is the export's. Nothing is asked that may hang.
pub fn is_it(export: &Export, word: &str, call: &Call) -> Result<bool> {
    Ok(same_disk(&call.host, export.device()?, Path::new(word)))
}

/// The device's own node by links alone: nothing is asked that may hang.
pub fn own_node(export: &Export, call: &Call) -> Option<PathBuf> {
    let mut path = export.device().ok()?.to_path_buf();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = std::fs::read_link(call.host.path(&path)) else { break };
        path = ocf::state::mountinfo::lexical(&path.parent()?.join(target));
    }
    Some(path)
}

/// The size of the device in sectors of 512 bytes, by the kernel's list; none if it does not say.
pub fn sectors(export: &Export, call: &Call) -> Option<u64> {
    let node = own_node(export, call)?;
    let name = node.strip_prefix("/dev").ok()?.to_str()?.replace('/', "!");
    call.host.read_line(format!("/sys/class/block/{name}/size"))?.parse().ok()
}
