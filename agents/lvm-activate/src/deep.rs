//! monitor at level 10: the kernel keeps a volume mapped when its disks have gone. Only a read tells.

use ocf::mapper::Volume;
use ocf::state::mountinfo::Device;
use ocf::{Call, Error, Result, block, holders};
use std::path::Path;

/// The check level.
pub const LEVEL: u32 = 10;

/// How much is read of each volume, in bytes.
const READ: usize = 4096;
/// Deeper than devices can be stacked.
const DEPTH: u32 = 16;

/// Reads from every volume, past the page cache, and looks for the devices below.
pub fn look(active: &[Volume], call: &Call) -> Result<()> {
    for volume in active.iter().filter(|volume| volume.is_whole()) {
        let name = volume.full_name();
        let device = volume.device;
        let suspended = call.host.read_line(format!("/sys/dev/block/{device}/dm/suspended"));
        if suspended.as_deref() == Some("1") {
            return Err(Error::generic(format_args!(
                "{name} is suspended: dmsetup resume it, or find out who did"
            )));
        }
        if let Some(lost) = lost_below(device, DEPTH, call) {
            return Err(Error::generic(format_args!("{name} has lost the device {lost} below it")));
        }
        let node = holders::node_of(call, device)
            .ok_or_else(|| Error::generic(format_args!("{name} has no device node (number {device})")))?;
        call.step(&format!("reading from {name}"));
        if let Err(error) = block::read_past_cache(&call.host.path(&node), READ) {
            return Err(Error::generic(format_args!("{name} cannot be read: {error}")));
        }
    }
    Ok(())
}

/// A device below that is gone. Copies that can be lost one at a time are not looked into: what is read tells of them.
fn lost_below(device: Device, depth: u32, call: &Call) -> Option<String> {
    let redundant = |name: &str, uuid: &str| {
        uuid.starts_with("mpath-")
            || ["_rimage_", "_rmeta_", "_mimage_"].iter().any(|part| name.contains(part))
    };
    let slaves = format!("/sys/dev/block/{device}/slaves");
    let folder = call.host.path(Path::new(&slaves)).into_owned();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A link to a device that has gone leads nowhere.
        let Some(below) =
            call.host.read_line(format!("{slaves}/{name}/dev")).as_deref().and_then(Device::parse)
        else {
            return Some(name);
        };
        let line =
            |file: &str| call.host.read_line(format!("/sys/dev/block/{below}/dm/{file}")).unwrap_or_default();
        if depth > 0
            && !redundant(&line("name"), &line("uuid"))
            && let Some(lost) = lost_below(below, depth - 1, call)
        {
            return Some(lost);
        }
    }
    None
}
