//! Which volumes start activated, written down: monitor runs no LVM command to know them.
//!
//! Below /run, which is empty after a boot, like the kernel's list of mapped devices. One file for each group.

use crate::Target;
use crate::group::Group;
use ocf::mapper::Volume;
use ocf::{Call, Context};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/run/holdfast/lvm-activate";

fn path(target: &Target, call: &Call) -> PathBuf {
    call.host.path(&Path::new(DIRECTORY).join(&target.group)).into_owned()
}

/// Writes down what has been activated. Without the record, one active volume is enough for monitor.
pub fn write(target: &Target, group: &Group, call: &Call) {
    if target.volume.is_some() || call.dry_run {
        return;
    }
    let path = path(target, call);
    let text: String = group.wanted.iter().map(|(uuid, name)| format!("{uuid} {name}\n")).collect();
    let written = (|| {
        let folder = path.parent().unwrap_or(&path);
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        // Never half a record: a new file takes the place of the old one.
        let new = folder.join(format!("{}~", target.group));
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o644).open(&new)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&new, &path)
    })();
    if let Err(error) = written.or_generic("the record of active volumes cannot be written") {
        call.log.warn(error);
    }
}

/// Forgets it.
pub fn remove(target: &Target, call: &Call) {
    if target.volume.is_none() {
        let _ = std::fs::remove_file(path(target, call));
    }
}

/// Names of the volumes in the record that are not active. Without a record that only root can have written, none.
pub fn missing(target: &Target, active: &[Volume], call: &Call) -> Vec<String> {
    let path = path(target, call);
    let is_ours = std::fs::symlink_metadata(&path).is_ok_and(|found| {
        found.is_file() && found.mode() & 0o022 == 0 && (found.uid() == 0 || !call.host.is_real())
    });
    let text = if is_ours { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let inactive = lines.filter(|(uuid, _)| !active.iter().any(|volume| volume.uuid.starts_with(uuid)));
    inactive.map(|(_, name)| name.to_string()).collect()
}
