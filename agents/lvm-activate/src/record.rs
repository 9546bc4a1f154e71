//! Which volumes start activated, written down: monitor runs no LVM command to know them.
//!
//! Below /run, which is empty after a boot, like the kernel's list of mapped devices. One file for each group.

use crate::Target;
use crate::group::{Group, is_device_of};
use ocf::mapper::Volume;
use ocf::{Call, record};
use std::path::PathBuf;

fn path(target: &Target, call: &Call) -> PathBuf {
    record::directory(call, "lvm-activate").join(&target.group)
}

/// Writes down what has been activated. Without the record, one active volume is enough for monitor.
pub fn write(target: &Target, group: &Group, call: &Call) {
    if target.volume.is_some() || call.dry_run {
        return;
    }
    let text: String = group.wanted.iter().map(|(uuid, name)| format!("{uuid} {name}\n")).collect();
    if let Err(error) = record::write(&path(target, call), text.as_bytes()) {
        call.log.warn(error);
    }
}

/// Forgets it.
pub fn remove(target: &Target, call: &Call) {
    if target.volume.is_none() {
        record::remove(&path(target, call));
    }
}

/// Names of the volumes in the record that are not active. Without a record that only root can have written, none.
pub fn missing(target: &Target, active: &[Volume], call: &Call) -> Vec<String> {
    let text = record::read(&path(target, call)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let inactive = lines.filter(|(uuid, _)| !active.iter().any(|volume| is_device_of(volume, uuid)));
    inactive.map(|(_, name)| name.to_string()).collect()
}
