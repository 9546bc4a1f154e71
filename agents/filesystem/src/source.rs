//! What the parameter `device` means, and whether a mount is of it.
//!
//! A mount is recognised by numbers: of the block device, of the file behind a loop device, of the directory behind a
//! bind mount. Only what has no number (a server's export, say) is recognised by its text.

use crate::{Filesystem, fstype, options, superblock};
use ocf::mounts::{self, Seen};
use ocf::state::mountinfo::{Device, Mount, udev_name};
use ocf::{Call, Context, Result, block, holders, printable};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a device is named by, other than by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// UUID of the file system.
    Uuid,
    /// Label of the file system.
    Label,
    /// UUID of the partition.
    PartUuid,
    /// Label of the partition.
    PartLabel,
}

impl Tag {
    fn udev_directory(self) -> &'static Path {
        Path::new(match self {
            Self::Uuid => "/dev/disk/by-uuid",
            Self::Label => "/dev/disk/by-label",
            Self::PartUuid => "/dev/disk/by-partuuid",
            Self::PartLabel => "/dev/disk/by-partlabel",
        })
    }

    /// The word that mount(8) takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "UUID",
            Self::Label => "LABEL",
            Self::PartUuid => "PARTUUID",
            Self::PartLabel => "PARTLABEL",
        }
    }
}

/// What to mount, as the parameters say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path that should lead to a block device. A directory there is taken as what the file system calls its source.
    Path(PathBuf),
    /// A block device by what is on it.
    Tag(Tag, OsString),
    /// An image file on a loop device.
    Image(PathBuf),
    /// A directory to be seen in a second place.
    Bind(PathBuf),
    /// Whatever the file system takes as its source.
    Named(OsString),
}

impl Source {
    /// Reads the parameters `device`, `fstype` and `options`.
    pub fn new(filesystem: &Filesystem, call: &Call) -> Self {
        let device = &filesystem.device;
        let fstype = filesystem.fstype.to_string_lossy();
        let words = filesystem.options.to_string_lossy();
        if options::has_word(&words, "bind") || options::has_word(&words, "rbind") {
            return Self::Bind(device.as_path().into());
        }
        if fstype::is_without_device(&fstype, &call.host) {
            return Self::Named(device.to_os_string());
        }
        if options::has_word(&words, "loop") || options::value(&words, "loop").is_some() {
            return Self::Image(device.as_path().into());
        }
        match parse_tag(device.bytes()) {
            Some((tag, value)) => Self::Tag(tag, value),
            None => Self::Path(device.as_path().into()),
        }
    }

    /// True if a block device of its own is behind it, which has to be free after a stop.
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Path(_) | Self::Tag(..))
    }
}

/// `-U X`, `-UX`, `--uuid X`, `--uuid=X`, `UUID=X` and the same for labels and partitions.
fn parse_tag(device: &[u8]) -> Option<(Tag, OsString)> {
    const FORMS: [(&[u8], Tag); 8] = [
        (b"--uuid", Tag::Uuid),
        (b"--label", Tag::Label),
        (b"-U", Tag::Uuid),
        (b"-L", Tag::Label),
        (b"UUID=", Tag::Uuid),
        (b"LABEL=", Tag::Label),
        (b"PARTUUID=", Tag::PartUuid),
        (b"PARTLABEL=", Tag::PartLabel),
    ];
    let (form, tag) = FORMS.into_iter().find(|(form, _)| device.starts_with(form))?;
    let mut value = device.strip_prefix(form)?;
    if form.starts_with(b"--") {
        value = value.strip_prefix(b"=").or_else(|| value.first()?.is_ascii_whitespace().then_some(value))?;
    }
    value = value.trim_ascii_start();
    if form.ends_with(b"=") {
        value = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value);
    }
    (!value.is_empty()).then(|| (tag, OsString::from_vec(value.to_vec())))
}

/// What the source is on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A block device.
    Block(Device),
    /// An image file, by the device and inode that it is on.
    Image(Device, u64),
    /// A directory, by its st_dev and inode.
    Directory(Device, u64),
    /// Known by text alone.
    Named,
    /// It is not there, or it is no block device: the words say which.
    Missing(String),
}

/// Finds out what the source is now, without waiting for a file system that does not answer.
pub fn identify(source: &Source, call: &Call) -> Result<Identity> {
    let limit = Duration::from_secs(5).min(call.remaining() / 3);
    let see = |path: &Path| mounts::see(call, path, limit);
    let missing = |path: &Path| Identity::Missing(format!("{} does not exist", show(path)));
    let file = |seen: &Seen, path: &Path, make: fn(Device, u64) -> Identity| match seen.file() {
        Some((device, inode)) => make(device, inode),
        None => Identity::Missing(format!("{} cannot be looked at", show(path))),
    };
    Ok(match source {
        Source::Named(_) => Identity::Named,
        Source::Path(path) => match see(path)? {
            None => missing(path),
            Some(seen) if seen.is_directory() => Identity::Named,
            Some(seen) => match seen.block_device() {
                Some(device) => Identity::Block(device),
                None => Identity::Missing(format!("{} is not a block device", show(path))),
            },
        },
        Source::Tag(tag, value) => {
            let link = tag.udev_directory().join(udev_name(value));
            match see(&link)?.and_then(|seen| seen.block_device()) {
                Some(device) => Identity::Block(device),
                None => Identity::Missing(format!(
                    "no device with {}={} is known",
                    tag.name(),
                    printable(value.as_bytes())
                )),
            }
        }
        Source::Image(path) => match see(path)? {
            None => missing(path),
            Some(seen) => file(&seen, path, Identity::Image),
        },
        Source::Bind(path) => match see(path)? {
            None => missing(path),
            Some(seen) => file(&seen, path, Identity::Directory),
        },
    })
}

/// Whether a mount is of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It is.
    Ours,
    /// It is of something else.
    Foreign,
    /// It cannot be told, and this is why.
    Unknown(String),
}

/// Compares `mount`, which is on the resource's directory, with the source.
pub fn compare(
    filesystem: &Filesystem,
    source: &Source,
    identity: &Identity,
    mount: &Mount,
    call: &Call,
) -> Match {
    match (identity, source) {
        (Identity::Block(device), _) => compare_block(filesystem, *device, mount, call),
        (Identity::Image(device, inode), _) if mount.device.major == LOOP_MAJOR => {
            match backing_file(filesystem, (*device, *inode), mount, call) {
                Some(true) => Match::Ours,
                Some(false) => Match::Foreign,
                None => {
                    Match::Unknown(format!("the file behind loop device {} cannot be read", mount.device))
                }
            }
        }
        (Identity::Image(..), _) => Match::Foreign,
        (Identity::Directory(device, inode), _) => match root_of(mount, call) {
            Some(root) if root == (*device, *inode) => Match::Ours,
            // The path may lead to another directory since: its file system was unmounted, say. What is mounted then
            // still shows a directory with the last names of the path.
            Some(_) if shows_end_of(filesystem.device.as_path(), &mount.root) => Match::Unknown(format!(
                "the mount shows {} of a file system that is not there",
                show(&mount.root)
            )),
            Some(_) => Match::Foreign,
            None => Match::Unknown("the root of the mount cannot be looked at".into()),
        },
        // What has a block device of its own was not mounted from a name.
        (Identity::Named, _) if !mount.device.is_anonymous() => Match::Foreign,
        (Identity::Named, _) => compare_named(filesystem, source, mount),
        (Identity::Missing(_), Source::Tag(..) | Source::Path(_))
            if !fstype::may_be(&filesystem.fstype.to_string_lossy(), &mount.fstype) =>
        {
            Match::Foreign
        }
        (Identity::Missing(why), Source::Tag(tag, value)) => compare_tag(*tag, value, why, mount, call),
        (Identity::Missing(why), Source::Path(path)) => {
            // The node has gone, but the kernel still says how it called the device.
            let mapper =
                holders::mapper_name_of(call, mount.device).map(|name| Path::new("/dev/mapper").join(name));
            if holders::node_of(call, mount.device).as_ref() == Some(path) || mapper.as_ref() == Some(path) {
                Match::Ours
            } else {
                Match::Unknown(why.clone())
            }
        }
        (Identity::Missing(why), _) => Match::Unknown(why.clone()),
    }
}

/// Major number of loop devices (Linux Documentation/admin-guide/devices.txt).
const LOOP_MAJOR: u32 = 7;

fn compare_block(filesystem: &Filesystem, device: Device, mount: &Mount, call: &Call) -> Match {
    let subvolume = |text: &str| text.trim_matches('/').to_string();
    let options = filesystem.options.to_string_lossy();
    if mount.fstype == "btrfs"
        && let (Some(wanted), Some(mounted)) =
            (options::value(&options, "subvol"), mount.super_option("subvol"))
        && subvolume(wanted) != subvolume(mounted)
    {
        return Match::Foreign;
    }
    if mount.fstype == "btrfs"
        && let (Some(wanted), Some(mounted)) = (options::value(&options, "subvolid"), mount.super_option("subvolid"))
        // 0 means the top, which shows as 5.
        && !matches!((wanted, mounted), ("0", "5"))
        && wanted != mounted
    {
        return Match::Foreign;
    }
    if mount.device == device {
        return Match::Ours;
    }
    if !mount.device.is_anonymous() {
        return Match::Foreign;
    }
    // btrfs and bcachefs have a made-up number; what they were mounted from says more.
    let limit = Duration::from_secs(2).min(call.remaining() / 4);
    let source = Path::new(&mount.source);
    let mounted = if source.is_absolute() { mounts::see(call, source, limit).ok().flatten() } else { None };
    let mounted = mounted.and_then(|seen| seen.block_device());
    if mounted == Some(device) {
        return Match::Ours;
    }
    if mount.fstype != "btrfs" {
        return match mounted {
            Some(_) => Match::Foreign,
            None => Match::Unknown(format!(
                "{} cannot be compared with device {device}",
                printable(mount.source.as_bytes())
            )),
        };
    }
    match (btrfs_of(device, call), mounted.map(|mounted| btrfs_of(mounted, call))) {
        // The device belongs to no mounted btrfs at all.
        (None, _) => Match::Foreign,
        (Some(ours), Some(Some(theirs))) if ours == theirs => Match::Ours,
        (Some(_), Some(_)) => Match::Foreign,
        (Some(ours), None) => {
            let name = source.file_name().unwrap_or_default();
            if call.host.exists(ours.join("devices").join(name)) {
                Match::Ours
            } else {
                Match::Unknown(format!("{} does not exist any more", show(source)))
            }
        }
    }
}

/// The directory below /sys/fs/btrfs of the mounted file system that has `device` as a member.
fn btrfs_of(device: Device, call: &Call) -> Option<PathBuf> {
    let link = std::fs::read_link(call.host.path(Path::new(&format!("/sys/dev/block/{device}")))).ok()?;
    let name = link.file_name()?;
    let base = Path::new("/sys/fs/btrfs");
    let entries = std::fs::read_dir(call.host.path(base)).ok()?.flatten();
    let mut directories = entries.map(|entry| base.join(entry.file_name()));
    directories.find(|directory| call.host.exists(directory.join("devices").join(name)))
}

/// Whether the file behind a loop device is the image. The path that the kernel shows costs nothing; the numbers are
/// asked of the file system that the image is on, which may not answer.
fn backing_file(filesystem: &Filesystem, image: (Device, u64), mount: &Mount, call: &Call) -> Option<bool> {
    let shown = call.host.read(format!("/sys/dev/block/{}/loop/backing_file", mount.device)).ok()?;
    if shown.trim_ascii_end() == filesystem.device.bytes() {
        return Some(true);
    }
    let node = call.host.path(&holders::node_of(call, mount.device)?).into_owned();
    let limit = Duration::from_secs(2).min(call.remaining() / 4);
    let same = call.bounded(call.within(limit), || {
        let file = block::loop_file(&node).or_generic("no answer")?;
        Ok(if file == image { "same" } else { "other" }.into())
    });
    match same.ok()?.as_deref() {
        Some("same") => Some(true),
        Some(_) => Some(false),
        None => None,
    }
}

/// Whether `path` may have led to the directory `root` of a file system. A whole file system, `/`, tells nothing.
fn shows_end_of(path: &Path, root: &Path) -> bool {
    root.strip_prefix("/").is_ok_and(|names| !names.as_os_str().is_empty() && path.ends_with(names))
}

/// st_dev and inode of the directory that a mount shows. Its mount point leads to it, if nothing covers it.
fn root_of(mount: &Mount, call: &Call) -> Option<(Device, u64)> {
    let seen = mounts::see(call, &mount.point, Duration::from_secs(2).min(call.remaining() / 4)).ok()??;
    seen.file().filter(|_| seen.mount_id() == Some(mount.id))
}

fn compare_named(filesystem: &Filesystem, source: &Source, mount: &Mount) -> Match {
    /// Types whose source is the server's or the tag's own name, which the kernel shows as it was given.
    const SHOWN_AS_GIVEN: [&str; 12] =
        ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "lustre", "ceph", "zfs", "beegfs", "gpfs", "cvfs"];
    let family = |name: &str| match name {
        "nfs4" | "efs" | "aznfs" => "nfs".to_string(),
        "overlayfs" => "overlay".to_string(),
        "smbfs" | "smb3" => "cifs".to_string(),
        "glusterfs" | "rozofs" => "fuse".to_string(),
        other if fstype::is_fuse(other) => "fuse".to_string(),
        other => other.to_string(),
    };
    let wanted = filesystem.fstype.to_string_lossy();
    if !wanted.is_empty() && wanted != "none" && family(&wanted) != family(&mount.fstype) {
        return Match::Foreign;
    }
    let (given, shown) =
        (plain(filesystem.device.bytes(), &mount.fstype), plain(mount.source.as_bytes(), &mount.fstype));
    let as_given = SHOWN_AS_GIVEN.contains(&mount.fstype.as_str()) && !matches!(&*wanted, "efs" | "aznfs");
    let mounted = || printable(mount.source.as_bytes());
    if given == shown {
        Match::Ours
    } else if matches!(source, Source::Path(_)) || (as_given && export(&given) != export(&shown)) {
        Match::Foreign
    } else if as_given {
        Match::Unknown(format!("a server may have several names, and {} is mounted", mounted()))
    } else if fstype::is_fuse(&mount.fstype) {
        Match::Unknown(format!("its server calls the source {}", mounted()))
    } else {
        // What tmpfs, overlay and their like show as their source is a word without meaning.
        Match::Ours
    }
}

/// What a server exports, without the server: after the last colon, or after the host of `//host/share`.
fn export(source: &[u8]) -> &[u8] {
    if let Some(rest) = source.strip_prefix(b"/") {
        return rest
            .iter()
            .position(|&byte| byte == b'/')
            .and_then(|slash| rest.get(slash..))
            .unwrap_or(source);
    }
    source.iter().rposition(|&byte| byte == b':').and_then(|colon| source.get(colon + 1..)).unwrap_or(source)
}

/// Without what mount helpers and the kernel change: slashes at the end and repeated ones, the brackets of an IPv6
/// address, and for Windows shares the kind of slash and the case.
fn plain(text: &[u8], fstype: &str) -> Vec<u8> {
    let windows = matches!(fstype, "cifs" | "smb3");
    let mut out: Vec<u8> = Vec::new();
    for &byte in text {
        let byte = match byte {
            b'\\' if windows => b'/',
            b'[' | b']' => continue,
            other if windows => other.to_ascii_lowercase(),
            other => other,
        };
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
    }
    while out.len() > 1 && out.last() == Some(&b'/') {
        out.pop();
    }
    out
}

fn compare_tag(tag: Tag, value: &OsStr, why: &str, mount: &Mount, call: &Call) -> Match {
    let unknown = || Match::Unknown(why.to_string());
    let node = holders::node_of(call, mount.device).or_else(|| {
        let source = Path::new(&mount.source);
        (mount.device.is_anonymous() && source.is_absolute()).then(|| source.to_path_buf())
    });
    let Some(node) = node.filter(|_| matches!(tag, Tag::Uuid | Tag::Label)) else {
        return unknown();
    };
    let path = call.host.path(&node).into_owned();
    // The device may have been lost, and reading it may hang.
    let read = call.bounded(call.within(Duration::from_secs(5).min(call.remaining() / 3)), || {
        let found = superblock::read(&path).ok().flatten();
        Ok(match found {
            None => "unknown",
            Some(found)
                if tag == Tag::Uuid && found.uuid.as_bytes().eq_ignore_ascii_case(value.as_bytes()) =>
            {
                "ours"
            }
            Some(found) if tag == Tag::Label && found.label == value.as_bytes() => "ours",
            Some(_) => "foreign",
        }
        .to_string())
    });
    match read.ok().flatten().as_deref() {
        Some("ours") => Match::Ours,
        Some("foreign") => Match::Foreign,
        _ => unknown(),
    }
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::Image(path) | Self::Bind(path) => f.write_str(&show(path)),
            Self::Tag(tag, value) => write!(f, "{}={}", tag.name(), printable(value.as_bytes())),
            Self::Named(name) => f.write_str(&printable(name.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_tag_are_understood() {
        for spelling in ["-Uabc", "-U abc", "--uuid=abc", "--uuid abc", "UUID=abc", "UUID=\"abc\""] {
            assert_eq!(parse_tag(spelling.as_bytes()), Some((Tag::Uuid, "abc".into())), "{spelling}");
        }
        for spelling in ["-Labc", "-L abc", "--label=abc", "--label abc", "LABEL=abc"] {
            assert_eq!(parse_tag(spelling.as_bytes()), Some((Tag::Label, "abc".into())), "{spelling}");
        }
        assert_eq!(parse_tag(b"PARTUUID=1-2"), Some((Tag::PartUuid, "1-2".into())));
        assert_eq!(parse_tag(b"PARTLABEL=data"), Some((Tag::PartLabel, "data".into())));
        for other in ["/dev/sda1", "--uuidx", "-U", "UUID=", "-oX", "server:/UUID=x"] {
            assert_eq!(parse_tag(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_source_may_differ_in_what_the_kernel_and_helpers_change() {
        let same = |given: &str, shown: &str, fstype: &str| {
            plain(given.as_bytes(), fstype) == plain(shown.as_bytes(), fstype)
        };
        assert!(same("server:/export/", "server:/export", "nfs"));
        assert!(same("fe80::1:/x", "[fe80::1]:/x", "nfs4"));
        assert!(same("\\\\srv\\Share", "//SRV/share", "cifs"));
        assert!(same("server:/", "server:/", "nfs"));
        assert!(!same("server:/export2", "server:/export", "nfs"));
        assert!(!same("server:/Export", "server:/export", "nfs"));
    }

    #[test]
    fn only_a_directory_with_names_can_be_the_end_of_a_path() {
        let shows = |path: &str, root: &str| shows_end_of(Path::new(path), Path::new(root));
        assert!(shows("/srv/source/exported", "/exported") && shows("/srv/a/b", "/a/b"));
        assert!(!shows("/srv/source/exported", "/") && !shows("/srv/exported2", "/exported"));
    }

    #[test]
    fn a_server_s_export_is_known_without_its_name() {
        assert_eq!(export(b"mgs1@tcp:/fs"), b"/fs");
        assert_eq!(export(b"10.0.0.1:/data"), b"/data");
        assert_eq!(export(b"/srv/share"), b"/share");
        assert_eq!(export(b"tag"), b"tag");
    }
}
