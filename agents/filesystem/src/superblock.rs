//! What is on a block device: type, UUID and label of the common file systems, from their superblocks.
//!
//! Sources: Linux Documentation/filesystems/ext4/super.rst, the XFS Filesystem Structure document (xfs_dsb), and
//! btrfs' on-disk format (struct btrfs_super_block).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A recognised superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The type as mount(2) takes it.
    pub fstype: &'static str,
    /// The UUID in its usual form, in lower case.
    pub uuid: String,
    /// The label; empty if there is none.
    pub label: Vec<u8>,
}

/// What `node` holds. None: nothing that is known here. May hang on a lost disk.
pub fn read(node: &Path) -> io::Result<Option<Superblock>> {
    let device = File::options().read(true).custom_flags(libc_nonblock()).open(node)?;
    let mut start = vec![0_u8; 2048];
    let start_length = read_up_to(&device, &mut start, 0)?;
    start.truncate(start_length);
    if let Some(found) = xfs(&start).or_else(|| ext(start.get(1024..).unwrap_or_default())) {
        return Ok(Some(found));
    }
    let mut block = vec![0_u8; 1024];
    let length = read_up_to(&device, &mut block, 64 * 1024)?;
    block.truncate(length);
    Ok(btrfs(&block))
}

fn libc_nonblock() -> i32 {
    nix::fcntl::OFlag::O_NONBLOCK.bits()
}

fn read_up_to(device: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match device.read_at(rest, offset + done as u64)? {
            0 => break,
            length => done += length,
        }
    }
    Ok(done)
}

fn ext(block: &[u8]) -> Option<Superblock> {
    const HAS_JOURNAL: u32 = 0x4; // compatible features
    const EXT4_INCOMPAT: u32 = !0x1f; // all but compression, filetype, recover, journal_dev, meta_bg
    const EXT4_RO_COMPAT: u32 = !0x7; // all but sparse_super, large_file, btree_dir
    const JOURNAL_DEVICE: u32 = 0x8;
    if block.get(56..58)? != [0x53, 0xef] {
        return None;
    }
    let (compatible, incompatible, read_only) = (word(block, 92)?, word(block, 96)?, word(block, 100)?);
    if incompatible & JOURNAL_DEVICE != 0 {
        return None;
    }
    let fstype = if incompatible & EXT4_INCOMPAT != 0 || read_only & EXT4_RO_COMPAT != 0 {
        "ext4"
    } else if compatible & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    Some(Superblock { fstype, uuid: uuid(block.get(104..120)?), label: label(block.get(120..136)?) })
}

fn xfs(block: &[u8]) -> Option<Superblock> {
    let found = block.get(..4)? == b"XFSB";
    found.then_some(())?;
    Some(Superblock { fstype: "xfs", uuid: uuid(block.get(32..48)?), label: label(block.get(108..120)?) })
}

fn btrfs(block: &[u8]) -> Option<Superblock> {
    let found = block.get(64..72)? == b"_BHRfS_M";
    found.then_some(())?;
    Some(Superblock { fstype: "btrfs", uuid: uuid(block.get(32..48)?), label: label(block.get(299..555)?) })
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn label(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|&byte| byte != 0).collect()
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn made_by(mkfs: &str, args: &[&str], megabytes: u64) -> Option<Superblock> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(megabytes << 20).unwrap();
        let made = Command::new(mkfs).args(args).arg(file.path()).output();
        if !made.as_ref().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: {mkfs} is not here: {made:?}");
            return None;
        }
        Some(read(file.path()).unwrap().expect("a known superblock"))
    }

    const UUID: &str = "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f9";

    #[test]
    fn ext_file_systems_are_told_apart() {
        for fstype in ["ext2", "ext3", "ext4"] {
            let mkfs = format!("/sbin/mkfs.{fstype}");
            if let Some(found) = made_by(&mkfs, &["-q", "-U", UUID, "-L", "a label"], 4) {
                assert_eq!((found.fstype, found.uuid.as_str()), (fstype, UUID));
                assert_eq!(found.label, b"a label");
            }
        }
    }

    #[test]
    fn xfs_and_btrfs_are_recognised() {
        if let Some(found) =
            made_by("/sbin/mkfs.xfs", &["-q", "-m", &format!("uuid={UUID}"), "-L", "xl"], 300)
        {
            assert_eq!(
                (found.fstype, found.uuid.as_str(), found.label.as_slice()),
                ("xfs", UUID, &b"xl"[..])
            );
        }
        if let Some(found) = made_by("/sbin/mkfs.btrfs", &["-q", "-U", UUID, "-L", "bl"], 120) {
            assert_eq!(
                (found.fstype, found.uuid.as_str(), found.label.as_slice()),
                ("btrfs", UUID, &b"bl"[..])
            );
        }
    }

    #[test]
    fn an_empty_or_tiny_device_holds_nothing_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for length in [0, 100, 1025, 1 << 20] {
            file.as_file().set_len(length).unwrap();
            assert_eq!(read(file.path()).unwrap(), None, "{length}");
        }
    }
}
