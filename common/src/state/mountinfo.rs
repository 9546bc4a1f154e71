//! /proc/PID/mountinfo, as in the kernel's Documentation/filesystems/proc.rst, section 3.5.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// Which driver; 0 for a file system without a block device of its own.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

impl Device {
    /// Parses `8:1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim_end().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// True for a number that the kernel made up for a file system without a block device, or with several.
    pub fn is_anonymous(self) -> bool {
        self.major == 0
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Number in this table. The kernel uses it again once the mount has gone.
    pub id: u64,
    /// Number that is never used again; where the kernel has it (Linux 6.8).
    pub unique_id: Option<u64>,
    /// `id` of the mount that this one is on.
    pub parent: u64,
    /// st_dev of what is on it.
    pub device: Device,
    /// Which directory of the file system is the root of this mount.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Options of this mount.
    pub options: String,
    /// Type of the file system.
    pub fstype: String,
    /// What is mounted, in the words of whoever mounted it.
    pub source: OsString,
    /// Options of the file system.
    pub super_options: String,
}

impl Mount {
    /// An option of this mount, such as `ro`.
    pub fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }

    /// An option of the file system, such as `emergency_ro`.
    pub fn has_super_option(&self, name: &str) -> bool {
        self.super_options.split(',').any(|option| option == name)
    }

    /// The value of an option of the file system, such as `subvol=/home`.
    pub fn super_option(&self, name: &str) -> Option<&str> {
        self.super_options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }
}

/// All mounts in the text of a mountinfo file. A line that is not as documented makes the whole text unreadable.
pub fn parse(text: &[u8]) -> Option<Vec<Mount>> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = Device::parse(std::str::from_utf8(fields.next()?).ok()?)?;
    let root = path(fields.next()?);
    let point = path(fields.next()?);
    let options = text(fields.next()?);
    // Any number of optional fields, up to a single dash.
    fields.find(|field| *field == b"-")?;
    let fstype = text(fields.next()?);
    let source = unescape(fields.next()?);
    let super_options = text(fields.next().unwrap_or_default());
    Some(Mount {
        id,
        unique_id: None,
        parent,
        device,
        root,
        point,
        options,
        fstype,
        source: OsString::from_vec(source),
        super_options,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

/// Undoes the kernel's `\040` and its like (mangle_path, seq_escape).
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = |digits: &[u8; 3]| {
            digits.iter().try_fold(0_u16, |sum, digit| match digit {
                b'0'..=b'7' => Some(sum * 8 + u16::from(digit - b'0')),
                _ => None,
            })
        };
        let escaped = (byte == b'\\').then(|| tail.first_chunk::<3>().and_then(octal)).flatten();
        match escaped.and_then(|value| u8::try_from(value).ok()) {
            Some(value) => {
                out.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// True if `path` is `base` or below it.
pub fn is_at_or_below(path: &Path, base: &Path) -> bool {
    path.starts_with(base)
}

/// `path` without `.`, `..` and double slashes, by its text alone. For paths that cannot be asked.
pub fn lexical(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// The name that udev gives to a link below /dev/disk/by-label and its like: bytes that are neither safe in a path
/// nor UTF-8 become `\x20` (systemd, encode_devnode_name).
pub fn udev_name(value: &OsStr) -> OsString {
    const SAFE: &[u8] = b"#+-.:=@_";
    let mut out = Vec::new();
    let text = value.to_str();
    for &byte in value.as_bytes() {
        if byte.is_ascii_alphanumeric() || SAFE.contains(&byte) || (byte >= 0x80 && text.is_some()) {
            out.push(byte);
        } else {
            out.extend(format!("\\x{byte:02x}").into_bytes());
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_s_documentation_is_understood() {
        let text = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n";
        let mounts = parse(text).unwrap();
        let mount = &mounts[0];
        assert_eq!((mount.id, mount.parent), (36, 35));
        assert_eq!(mount.device, Device { major: 98, minor: 0 });
        assert_eq!((mount.root.as_path(), mount.point.as_path()), (Path::new("/mnt1"), Path::new("/mnt2")));
        assert_eq!((mount.fstype.as_str(), mount.source.as_os_str()), ("ext3", OsStr::new("/dev/root")));
        assert!(mount.has_option("noatime") && !mount.has_option("ro"));
        assert_eq!(mount.super_option("errors"), Some("continue"));
    }

    #[test]
    fn no_and_several_optional_fields_are_skipped() {
        let text =
            b"1 0 0:1 / /a rw - tmpfs none rw\n2 1 0:2 / /b rw shared:7 master:3 unbindable - tmpfs - rw\n";
        let mounts = parse(text).unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[1].source, "-");
    }

    #[test]
    fn escaped_blanks_tabs_newlines_and_backslashes_come_back() {
        let line = b"1 0 0:1 / /a\\040b\\011c\\012d\\134e\\043 rw - tmpfs \\040x rw\n";
        let mounts = parse(line).unwrap();
        assert_eq!(mounts[0].point, Path::new("/a b\tc\nd\\e#"));
        assert_eq!(mounts[0].source, " x");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept_in_paths() {
        let mounts = parse(b"1 0 0:1 / /mnt/\xff rw - tmpfs none rw\n").unwrap();
        assert_eq!(mounts[0].point.as_os_str().as_bytes(), b"/mnt/\xff");
    }

    #[test]
    fn a_truncated_table_is_unreadable_and_not_a_shorter_one() {
        assert_eq!(parse(b"1 0 0:1 / /a rw - tmpfs none rw\n2 1 0:2 / /b"), None);
        assert_eq!(parse(b"garbage\n"), None);
    }

    #[test]
    fn only_emergency_ro_as_a_whole_word_is_emergency_ro() {
        let mounts = parse(b"1 0 8:1 / /a rw - ext4 /dev/sda1 rw,errors=remount-ro,emergency_ro\n").unwrap();
        assert!(mounts[0].has_super_option("emergency_ro"));
        assert!(!mounts[0].has_super_option("remount-ro") && !mounts[0].has_super_option("ro"));
    }

    #[test]
    fn a_path_is_cleaned_by_its_text() {
        assert_eq!(lexical(Path::new("/a/./b//../c/")), Path::new("/a/c"));
        assert_eq!(lexical(Path::new("/../..")), Path::new("/"));
    }

    #[test]
    fn udev_escapes_what_does_not_belong_in_a_link_name() {
        assert_eq!(udev_name(OsStr::new("my disk/1")), "my\\x20disk\\x2f1");
    }
}
