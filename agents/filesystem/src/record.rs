//! What start mounted, written down: a mount keeps its number even when every name of its device has gone.
//!
//! Below /run, which is empty after a boot, like the mount table. One file for each directory.

use crate::Filesystem;
use ocf::state::mountinfo::{Device, Mount, lexical};
use ocf::{Call, Result, holders, mounts, record};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A mount of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    id: u64,
    unique_id: Option<u64>,
    /// st_dev of what is mounted.
    pub device: Device,
    /// The block device that is in use while it is mounted, if there is one.
    pub block: Option<Device>,
    /// Its sequence number, which tells it from another that gets its device number later.
    pub sequence: Option<u64>,
    /// The parameters that were mounted.
    source: String,
    fstype: String,
}

impl Record {
    fn new(filesystem: &Filesystem, mount: &Mount, block: Option<Device>, sequence: Option<u64>) -> Self {
        Self {
            id: mount.id,
            unique_id: mount.unique_id,
            device: mount.device,
            block,
            sequence,
            source: filesystem.device.to_string(),
            fstype: mount.fstype.clone(),
        }
    }

    /// True if `mount` is the very mount that was recorded, wherever it is now.
    pub fn is_of(&self, mount: &Mount) -> bool {
        let same = match (self.unique_id, mount.unique_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            // The kernel may use this number again, but hardly with all the rest equal.
            _ => self.id == mount.id && self.fstype == mount.fstype,
        };
        same && self.device == mount.device
    }

    /// The mount that was recorded, if it is still there.
    pub fn find(&self, call: &Call) -> Result<Option<Mount>> {
        if let Some(mount) = self.unique_id.and_then(mounts::by_number) {
            return Ok(Some(mount));
        }
        Ok(mounts::table(call)?.into_iter().find(|mount| self.is_of(mount)))
    }

    /// True if the mount was made for the same device parameter.
    pub fn is_for(&self, filesystem: &Filesystem) -> bool {
        self.source == filesystem.device.to_string()
    }

    fn render(&self) -> String {
        let unique = self.unique_id.map(|id| id.to_string()).unwrap_or_default();
        let block = self.block.map(|device| device.to_string()).unwrap_or_default();
        let sequence = self.sequence.map(|number| number.to_string()).unwrap_or_default();
        format!(
            "mount_id={}\nunique_id={unique}\ndevice_number={}\nblock_device={block}\ndisk_sequence={sequence}\nfstype={}\n\
             device={}\n",
            self.id, self.device, self.fstype, self.source
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            id: field("mount_id")?.parse().ok()?,
            unique_id: field("unique_id").and_then(|id| id.parse().ok()),
            device: Device::parse(field("device_number")?)?,
            block: field("block_device").and_then(Device::parse),
            sequence: field("disk_sequence").and_then(|number| number.parse().ok()),
            source: field("device")?.to_string(),
            fstype: field("fstype")?.to_string(),
        })
    }
}

/// The record of what was mounted with these parameters, if there is a whole one that only root can have written.
pub fn read(call: &Call, filesystem: &Filesystem) -> Option<Record> {
    Record::parse(&record::read(&path(call, filesystem))?).filter(|record| record.is_for(filesystem))
}

/// Writes down `mount`.
pub fn write(call: &Call, filesystem: &Filesystem, mount: &Mount, block: Option<Device>) -> Result<()> {
    let sequence = block.and_then(|device| holders::disk_sequence(call, device));
    let text = Record::new(filesystem, mount, block, sequence).render();
    record::write(&path(call, filesystem), text.as_bytes())
}

/// Forgets the mount.
pub fn remove(call: &Call, filesystem: &Filesystem) {
    record::remove(&path(call, filesystem));
}

/// One name for each directory parameter: HALO gives no instance name, and what the parameter leads to may change.
fn path(call: &Call, filesystem: &Filesystem) -> PathBuf {
    let directory = lexical(filesystem.directory.as_path());
    let bytes = directory.as_os_str().as_bytes();
    let readable: String = bytes
        .iter()
        .take(80)
        .map(
            |&byte| {
                if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) { char::from(byte) } else { '-' }
            },
        )
        .collect();
    let name = format!("{}-{:016x}", readable.trim_start_matches(['-', '.']), fnv1a(bytes));
    record::directory(call, "Filesystem").join(name)
}

/// The 64-bit FNV-1a hash: the next version of this program must find the same name.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record = Record {
            id: 42,
            unique_id: Some(0x8000_0001),
            device: Device { major: 0, minor: 43 },
            block: Some(Device { major: 7, minor: 3 }),
            sequence: Some(39),
            source: "/dev/x\\n".into(),
            fstype: "btrfs".into(),
        };
        assert_eq!(Record::parse(&record.render()), Some(record.clone()));
        let old_kernel = Record { unique_id: None, ..record };
        assert_eq!(Record::parse(&old_kernel.render()), Some(old_kernel));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn half_a_record_is_no_record() {
        assert_eq!(Record::parse("mount_id=42\nunique_id="), None);
        assert_eq!(Record::parse(""), None);
    }
}
