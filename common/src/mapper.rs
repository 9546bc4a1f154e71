//! Device-mapper devices as the kernel knows them, without a tool: which logical volumes are active.
//!
//! One ioctl (DM_LIST_DEVICES, linux/dm-ioctl.h) gives all of them. /sys/block/dm-* says the same where the control
//! device cannot be opened, and in a directory that stands for a machine.

use crate::state::mountinfo::Device;
use crate::{Call, Context, Error, Result, sys};
use std::fs::File;
use std::path::Path;

/// Length of `struct dm_ioctl`.
const HEADER: usize = 312;
/// DM_BUFFER_FULL_FLAG: the answer needs a bigger buffer.
const BUFFER_FULL: u32 = 1 << 8;
/// DM_UUID_FLAG: asks for UUIDs as well; drivers before 4.45 do not know it here.
const AND_UUIDS: u32 = 1 << 14;
/// DM_NAME_LIST_FLAG_HAS_UUID and _DOESNT_HAVE_UUID, which drivers since 4.45 (Linux 5.13) give.
const HAS_UUID: u32 = 1;
const HAS_NO_UUID: u32 = 2;
const WITH_UUIDS: u32 = 45;

/// One device-mapper device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its name, as below /dev/mapper.
    pub name: String,
    /// Its UUID, empty if it has none. None: this list does not say.
    pub uuid: Option<String>,
    /// Its number.
    pub device: Device,
}

/// A logical volume, or a part of one, that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The volume group.
    pub group: String,
    /// The logical volume.
    pub name: String,
    /// Which part of it, such as `real`, `cow` or `tpool`; empty for the volume itself.
    pub layer: String,
    /// The device's UUID: `LVM-`, that of the group, that of the volume, and for some parts a word.
    pub uuid: String,
    /// The device's number.
    pub device: Device,
}

impl Volume {
    /// `vg1/lv1`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// True for what users read and write; false for the parts that LVM makes it of.
    pub fn is_whole(&self) -> bool {
        // Names with one of these are LVM's own: it refuses them to users.
        const PARTS: [&str; 17] = [
            "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_wcorig", "_mimage", "_mlog", "_pmspare",
            "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin", "_imeta", "_iorig",
        ];
        self.layer.is_empty()
            && !self.name.starts_with("pvmove")
            && !PARTS.iter().any(|part| self.name.contains(part))
    }
}

/// The active logical volumes of the group, and their parts. What cannot be read is an error, never an empty list.
pub fn volumes(call: &Call, group: &str) -> Result<Vec<Volume>> {
    let mut found = Vec::new();
    for mapped in devices(call)? {
        let Some((of, name, layer)) = split_name(&mapped.name).filter(|(of, ..)| of == group) else {
            continue;
        };
        // Other users of device-mapper may have a name of that form.
        let uuid = match mapped.uuid {
            Some(uuid) => uuid,
            None => uuid_of(call, mapped.device)?,
        };
        if uuid.starts_with("LVM-") {
            found.push(Volume { group: of, name, layer, uuid, device: mapped.device });
        }
    }
    Ok(found)
}

/// All device-mapper devices.
pub fn devices(call: &Call) -> Result<Vec<Mapped>> {
    const MISC: &str = "/proc/misc";
    let misc = call.host.read(MISC).or_generic(format_args!("{MISC} cannot be read"))?;
    let loaded = misc.split(|&byte| byte == b'\n').any(|line| line.trim_ascii().ends_with(b" device-mapper"));
    if !loaded {
        call.log.trace("the kernel has no device-mapper: nothing is mapped");
        return Ok(Vec::new());
    }
    let found = match control(call) {
        Some(control) => from_kernel(&control)?,
        None => from_sysfs(call)?,
    };
    call.log.trace(format_args!("device-mapper: {} devices", found.len()));
    Ok(found)
}

/// The control device. None: it cannot be opened, or belongs to another machine.
fn control(call: &Call) -> Option<File> {
    if !call.host.is_real() {
        return None;
    }
    File::options().read(true).write(true).open("/dev/mapper/control").ok()
}

fn from_kernel(control: &File) -> Result<Vec<Mapped>> {
    const WHAT: &str = "the list of device-mapper devices cannot be read";
    let mut length = 16 * 1024;
    loop {
        let mut buffer = request(length);
        sys::list_mapped_devices(control, &mut buffer).or_generic(WHAT)?;
        match parse_list(&buffer) {
            Answer::List(list) => return Ok(list),
            Answer::Full if length < 64 * 1024 * 1024 => length *= 4,
            Answer::Full | Answer::Garbage => return Err(Error::generic(WHAT)),
        }
    }
}

/// A `struct dm_ioctl` that asks for a list: version 4.0.0, the buffer's length, where the answer begins, and after
/// two fields that are not for requests, the flags.
fn request(length: usize) -> Vec<u8> {
    let mut buffer = vec![0_u8; length];
    let words = [4, 0, 0, u32::try_from(length).unwrap_or(u32::MAX), HEADER as u32, 0, 0, AND_UUIDS];
    for (bytes, word) in buffer.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    buffer
}

/// What the kernel put into a buffer.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    List(Vec<Mapped>),
    /// It was too small.
    Full,
    /// It is not what linux/dm-ioctl.h says.
    Garbage,
}

fn parse_list(buffer: &[u8]) -> Answer {
    let header = |index: usize| number(buffer, index * 4);
    let (Some(4), Some(minor), Some(size), Some(start), Some(flags)) =
        (header(0), header(1), header(3), header(4), header(7))
    else {
        return Answer::Garbage;
    };
    if flags & BUFFER_FULL != 0 {
        return Answer::Full;
    }
    let list = usize::try_from(size).ok().zip(usize::try_from(start).ok());
    match list.and_then(|(size, start)| records(buffer.get(start..size)?, minor)) {
        Some(list) => Answer::List(list),
        None => Answer::Garbage,
    }
}

/// The chain of `struct dm_name_list`: device u64, offset of the next record u32, name; then, aligned to 8 bytes, the
/// number of events u32, flags u32, UUID.
fn records(mut rest: &[u8], minor: u32) -> Option<Vec<Mapped>> {
    let mut found = Vec::new();
    // The list is empty.
    if rest.is_empty() {
        return Some(found);
    }
    loop {
        let device = u64::from_ne_bytes(*rest.first_chunk::<8>()?);
        if device == 0 && found.is_empty() {
            return Some(found);
        }
        let next = usize::try_from(number(rest, 8)?).ok()?;
        let name = text(rest.get(12..)?)?;
        let after = (12 + name.len() + 1).next_multiple_of(8);
        let uuid = match number(rest, after + 4).filter(|_| minor >= WITH_UUIDS) {
            Some(flags) if flags & HAS_UUID != 0 => Some(text(rest.get(after + 8..)?)?.to_string()),
            Some(flags) if flags & HAS_NO_UUID != 0 => Some(String::new()),
            _ => None,
        };
        let device = Device { major: rustix::fs::major(device), minor: rustix::fs::minor(device) };
        found.push(Mapped { name: name.to_string(), uuid, device });
        if next == 0 {
            return Some(found);
        }
        // Forward only, so that the chain ends.
        rest = rest.get(next.max(12)..)?;
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|word| u32::from_ne_bytes(*word))
}

fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(bytes.get(..end)?).ok()
}

fn from_sysfs(call: &Call) -> Result<Vec<Mapped>> {
    const BLOCK: &str = "/sys/block";
    let mut found = Vec::new();
    let folder = call.host.path(Path::new(BLOCK)).into_owned();
    for entry in std::fs::read_dir(folder).or_generic(format_args!("{BLOCK} cannot be read"))? {
        let entry = entry.or_generic(format_args!("{BLOCK} cannot be read"))?;
        let Some(kernel) =
            entry.file_name().to_str().filter(|name| name.starts_with("dm-")).map(str::to_string)
        else {
            continue;
        };
        let line = |file: &str| call.host.read_line(format!("{BLOCK}/{kernel}/{file}"));
        let number = line("dev").as_deref().and_then(Device::parse);
        match (line("dm/name"), number) {
            (Some(name), Some(device)) => found.push(Mapped { name, uuid: line("dm/uuid"), device }),
            // It went while we looked.
            _ if !call.host.exists(format!("{BLOCK}/{kernel}")) => {}
            _ => return Err(Error::generic(format_args!("{BLOCK}/{kernel} cannot be understood"))),
        }
    }
    Ok(found)
}

fn uuid_of(call: &Call, device: Device) -> Result<String> {
    let file = format!("/sys/dev/block/{device}/dm/uuid");
    call.host.read_line(&file).ok_or_else(|| Error::generic(format_args!("{file} cannot be read")))
}

/// Group, volume and layer of a device's name. LVM doubles the hyphens within names and joins them with single ones; no
/// name begins with a hyphen, so a pair is always read before a separator.
pub fn split_name(mapped: &str) -> Option<(String, String, String)> {
    let mut parts = vec![String::new()];
    let mut bytes = mapped.chars().peekable();
    while let Some(next) = bytes.next() {
        if next == '-' && bytes.next_if_eq(&'-').is_none() && parts.len() < 3 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(next);
        }
    }
    let mut parts = parts.into_iter();
    let (group, name) = (parts.next()?, parts.next()?);
    let is_name = !group.is_empty() && !name.is_empty();
    is_name.then(|| (group, name, parts.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(mapped: &str) -> Option<(String, String, String)> {
        split_name(mapped)
    }

    fn names(group: &str, name: &str, layer: &str) -> Option<(String, String, String)> {
        Some((group.into(), name.into(), layer.into()))
    }

    #[test]
    fn hyphens_in_names_are_told_from_those_between_them() {
        assert_eq!(split("vg1-lv1"), names("vg1", "lv1", ""));
        assert_eq!(split("my--vg-a--lv"), names("my-vg", "a-lv", ""));
        assert_eq!(split("a---b"), names("a-", "b", ""));
        assert_eq!(split("a--b---c--d-real"), names("a-b-", "c-d", "real"));
        assert_eq!(split("vg1-pool-tpool"), names("vg1", "pool", "tpool"));
        assert_eq!(split("vg1-lv1--real"), names("vg1", "lv1-real", ""));
        for no_volume in ["luks", "my--crypt", "-x", "x-", ""] {
            assert_eq!(split(no_volume), None, "{no_volume}");
        }
    }

    /// An answer as the driver `minor` lays it out.
    fn answer(minor: u32, devices: &[(&str, Option<&str>, u64)]) -> Vec<u8> {
        let mut buffer = request(16 * 1024);
        buffer[4..8].copy_from_slice(&minor.to_ne_bytes());
        let mut at = HEADER;
        for (index, (name, uuid, number)) in devices.iter().enumerate() {
            let after = (12 + name.len() + 1).next_multiple_of(8);
            let flags = if minor < WITH_UUIDS { 0 } else { 1 + u32::from(uuid.is_none()) };
            let length = (after + 8 + uuid.map_or(0, |uuid| uuid.len() + 1)).next_multiple_of(8);
            let next = if index + 1 == devices.len() { 0 } else { u32::try_from(length).unwrap() };
            buffer[at..at + 8].copy_from_slice(&number.to_ne_bytes());
            buffer[at + 8..at + 12].copy_from_slice(&next.to_ne_bytes());
            buffer[at + 12..at + 12 + name.len()].copy_from_slice(name.as_bytes());
            buffer[at + after + 4..at + after + 8].copy_from_slice(&flags.to_ne_bytes());
            if let Some(uuid) = uuid.filter(|_| minor >= WITH_UUIDS) {
                buffer[at + after + 8..at + after + 8 + uuid.len()].copy_from_slice(uuid.as_bytes());
            }
            at += length;
        }
        let size = u32::try_from(at.max(HEADER + 16)).unwrap();
        buffer[12..16].copy_from_slice(&size.to_ne_bytes());
        buffer
    }

    fn mapped(name: &str, uuid: Option<&str>, minor: u32) -> Mapped {
        Mapped { name: name.into(), uuid: uuid.map(str::to_string), device: Device { major: 253, minor } }
    }

    const LV1: &str = "LVM-NGItoroSSpLe6u4fkVzX8dEZoNPhu358QApOO3CXZ5rmjB2frT3zeqoCahDSFJgA";

    #[test]
    fn the_kernel_s_list_is_read_with_and_without_uuids() {
        let devices = [("vg1-lv1", Some(LV1), 253 << 8), ("luks", None, 253 << 8 | 1)];
        let with = [mapped("vg1-lv1", Some(LV1), 0), mapped("luks", Some(""), 1)];
        assert_eq!(parse_list(&answer(47, &devices)), Answer::List(with.to_vec()));
        let without = [mapped("vg1-lv1", None, 0), mapped("luks", None, 1)];
        assert_eq!(parse_list(&answer(37, &devices)), Answer::List(without.to_vec()));
        assert_eq!(parse_list(&answer(47, &[])), Answer::List(Vec::new()));
    }

    /// An answer of Linux 6.1 (device-mapper 4.47), byte for byte.
    fn recorded() -> Vec<u8> {
        let text = include_str!("../tests/fixtures/mapper/linux-6.1-three-devices.hex");
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn a_recorded_answer_of_the_kernel_is_read() {
        let device = |name: &str, uuid: &str, minor: u32| Mapped {
            name: name.into(),
            uuid: Some(uuid.into()),
            device: Device { major: 254, minor },
        };
        let expected =
            [device("luks", "", 1), device("my--vg-a--lv", LV1, 0), device("my--vg-foo", "mpath-x", 2)];
        assert_eq!(parse_list(&recorded()), Answer::List(expected.to_vec()));
        // The same kernel with nothing mapped.
        let mut empty = recorded();
        empty[12..16].copy_from_slice(&312_u32.to_ne_bytes());
        assert_eq!(parse_list(&empty), Answer::List(Vec::new()));
        for end in HEADER + 1..recorded().len() {
            assert_eq!(parse_list(&recorded()[..end]), Answer::Garbage, "cut at {end}");
        }
    }

    #[test]
    fn a_high_minor_number_is_put_together() {
        let number = 253 << 8 | 0x2c | 0x1 << 20;
        let Answer::List(list) = parse_list(&answer(47, &[("vg1-lv1", None, number)])) else { panic!() };
        assert_eq!(list[0].device, Device { major: 253, minor: 300 });
    }

    #[test]
    fn a_full_buffer_is_asked_for_again_and_garbage_is_no_list() {
        let mut full = answer(47, &[]);
        full[28..32].copy_from_slice(&BUFFER_FULL.to_ne_bytes());
        assert_eq!(parse_list(&full), Answer::Full);
        assert_eq!(parse_list(&[0; HEADER]), Answer::Garbage);
        assert_eq!(parse_list(b"short"), Answer::Garbage);
        let whole = answer(47, &[("vg1-lv1", Some(LV1), 253 << 8), ("vg1-lv2", Some(LV1), 253 << 8 | 1)]);
        for end in [HEADER + 4, HEADER + 12, HEADER + 60, HEADER + 110] {
            assert_eq!(parse_list(&whole[..end]), Answer::Garbage, "{end}");
        }
    }

    #[test]
    fn parts_that_lvm_makes_a_volume_of_are_not_volumes() {
        let volume = |name: &str, layer: &str| Volume {
            group: "vg1".into(),
            name: name.into(),
            layer: layer.into(),
            uuid: LV1.into(),
            device: Device { major: 253, minor: 0 },
        };
        // LVM lets users have names like those of its layers.
        for name in ["lv1", "data_tpool", "data_vpool"] {
            assert!(volume(name, "").is_whole(), "{name}");
        }
        for (name, layer) in [("lv1", "real"), ("r_rimage_0", ""), ("pvmove0", ""), ("pool_tdata", "")] {
            assert!(!volume(name, layer).is_whole(), "{name} {layer}");
        }
    }
}
