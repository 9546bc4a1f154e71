//! Mounts by their numbers: listmount(2) and statmount(2) of Linux 6.8, which cost the same however many mounts there
//! are. Nothing here is an error: what such a kernel does not tell is asked elsewhere.

use super::Seen;
use crate::state::mountinfo::{Device, Mount};
use crate::sys;
use rustix::fs::{AtFlags, StatxFlags};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// STATX_MNT_ID_UNIQUE of Linux 6.8.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// The mounts that cover each other where `seen` is, by statmount(2) alone. None: this kernel does not tell enough.
pub(super) fn stack_by_id(seen: &Seen) -> Option<Vec<Mount>> {
    let (top, mut parent) = by_unique_id(unique_id(seen)?)?;
    let mut stack = vec![top];
    while let Some(last) = stack.last()
        && Some(parent) != last.unique_id
    {
        let (below, next) = by_unique_id(parent)?;
        if below.point != last.point {
            break;
        }
        parent = next;
        stack.push(below);
    }
    Some(stack)
}

/// The unique number of the mount that a path is on (Linux 6.8).
pub(super) fn unique_id(seen: &Seen) -> Option<u64> {
    let mask = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let stat = rustix::fs::statx(&seen.fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, mask).ok()?;
    (stat.stx_mask & STATX_MNT_ID_UNIQUE != 0).then_some(stat.stx_mnt_id)
}

/// One mount, and the unique number of its parent, by statmount(2) as in Linux's include/uapi/linux/mount.h.
pub(super) fn by_unique_id(id: u64) -> Option<(Mount, u64)> {
    const SB_BASIC: u64 = 0x1;
    const MNT_BASIC: u64 = 0x2;
    const MNT_ROOT: u64 = 0x8;
    const MNT_POINT: u64 = 0x10;
    const FS_TYPE: u64 = 0x20;
    const MNT_OPTS: u64 = 0x80;
    const FS_SUBTYPE: u64 = 0x100;
    const SB_SOURCE: u64 = 0x200;
    const STRINGS: usize = 512; // offset of str[] in struct statmount
    const SB_RDONLY: u64 = 1;
    // Everything but the options, which a file system may leave empty, has to be there.
    const NEEDED: u64 = SB_BASIC | MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | SB_SOURCE;

    let mut buffer = vec![0_u64; 256];
    if !sys::statmount(id, NEEDED | FS_SUBTYPE | MNT_OPTS, &mut buffer) {
        // Long options or paths: overlay with many layers, say.
        buffer.resize(32 * 1024, 0);
        if !sys::statmount(id, NEEDED | FS_SUBTYPE | MNT_OPTS, &mut buffer) {
            return None;
        }
    }
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let u64_at = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let text_at = |at: usize| -> Option<&[u8]> {
        let tail = bytes.get(STRINGS + usize::try_from(u32_at(at)?).ok()?..)?;
        tail.split(|&byte| byte == 0).next()
    };
    let path_at = |at: usize| text_at(at).map(|text| PathBuf::from(OsString::from_vec(text.to_vec())));
    let mask = u64_at(8)?;
    if mask & NEEDED != NEEDED {
        return None;
    }
    let attributes = u64_at(64)?;
    let super_read_only = u64::from(u32_at(32)?) & SB_RDONLY != 0;
    let own = if mask & MNT_OPTS == 0 { &[][..] } else { text_at(4)? };
    let mut super_options = String::from(if super_read_only { "ro" } else { "rw" });
    if !own.is_empty() {
        super_options.push(',');
        super_options.push_str(&String::from_utf8_lossy(own));
    }
    let mut fstype = String::from_utf8_lossy(text_at(36)?).into_owned();
    if mask & FS_SUBTYPE != 0 {
        let subtype = text_at(120).filter(|subtype| !subtype.is_empty())?;
        fstype.push('.');
        fstype.push_str(&String::from_utf8_lossy(subtype));
    }
    let mount = Mount {
        id: u64::from(u32_at(56)?),
        unique_id: Some(id),
        parent: u64::from(u32_at(60)?),
        device: Device { major: u32_at(16)?, minor: u32_at(20)? },
        root: path_at(104)?,
        point: path_at(108)?,
        options: attribute_options(attributes),
        fstype,
        source: OsStr::from_bytes(text_at(124)?).to_os_string(),
        super_options,
    };
    Some((mount, u64_at(48)?))
}

/// MOUNT_ATTR_* of mount_setattr(2) in the words of mountinfo.
fn attribute_options(attributes: u64) -> String {
    let mut options = String::from(if attributes & 0x1 == 0 { "rw" } else { "ro" });
    let mut add = |given: bool, word: &str| {
        if given {
            options.push(',');
            options.push_str(word);
        }
    };
    let has = |bit: u64| attributes & bit != 0;
    add(has(0x2), "nosuid");
    add(has(0x4), "nodev");
    add(has(0x8), "noexec");
    // MOUNT_ATTR__ATIME is a field of values, of which 0 is relatime and 0x20 strictatime, which has no word.
    add(attributes & 0x70 == 0x10, "noatime");
    add(has(0x80), "nodiratime");
    add(attributes & 0x70 == 0, "relatime");
    add(has(0x20_0000), "nosymfollow");
    options
}

/// All mounts with the mount point `point`, hidden ones too, by listmount(2) and statmount(2): half the cost of
/// mountinfo, and little memory. None: this kernel does not tell enough, or the mounts changed meanwhile.
pub(super) fn all_by_id_on(point: &Path, device: Option<Device>) -> Option<Vec<Mount>> {
    const SB_BASIC: u64 = 0x1;
    const DEVICE_AT: usize = 16; // offsets of sb_dev_major and sb_dev_minor
    const MNT_POINT: u64 = 0x10;
    const POINT_AT: usize = 108; // offset of mnt_point in struct statmount
    const STRINGS: usize = 512;
    let mut found = Vec::new();
    let mut ids = [0; 512];
    let mut buffer = [0_u64; 64 + 512]; // the structure, and PATH_MAX bytes of text
    let mut last = 0;
    let mut any = false;
    loop {
        let count = sys::listmount(last, &mut ids)?;
        for &id in ids.get(..count)? {
            last = id;
            any = true;
            if let Some(device) = device {
                if !sys::statmount(id, SB_BASIC, &mut buffer) {
                    return None;
                }
                let number = |at: usize| bytes_at(&buffer, at).map(u32::from_le_bytes);
                if (number(DEVICE_AT), number(DEVICE_AT + 4)) != (Some(device.major), Some(device.minor)) {
                    continue;
                }
            }
            if !sys::statmount(id, MNT_POINT, &mut buffer) {
                return None;
            }
            let at = u32::from_le_bytes(bytes_at(&buffer, POINT_AT)?);
            let from = STRINGS + usize::try_from(at).ok()?;
            if text_equals(&buffer, from, point.as_os_str().as_bytes()) {
                found.push(by_unique_id(id)?.0);
            }
        }
        if count < ids.len() {
            // The root is mounted at the least.
            return any.then_some(found);
        }
    }
}

/// Four bytes of `words` as memory has them.
fn bytes_at(words: &[u64], at: usize) -> Option<[u8; 4]> {
    let word = words.get(at / 8)?.to_le_bytes();
    word.get(at % 8..at % 8 + 4)?.try_into().ok()
}

/// Whether the text that begins at byte `from` of `words` and ends with a zero is `text`.
fn text_equals(words: &[u64], from: usize, text: &[u8]) -> bool {
    let byte = |at: usize| words.get(at / 8).and_then(|word| word.to_le_bytes().get(at % 8).copied());
    text.iter().enumerate().all(|(index, wanted)| byte(from + index) == Some(*wanted))
        && byte(from + text.len()) == Some(0)
}
