//! What the parameter names: a resource, one of its devices, or the disk below it.

use crate::state::mountinfo::lexical;
use crate::{Error, Host, Result, Text};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links that udev makes: `by-res/r0` or `by-res/r1/0` to `../../drbd0`.
const BY_RES: &str = "/dev/drbd/by-res";
/// The same for the disks below: `by-disk/vg0/lv0`.
const BY_DISK: &str = "/dev/drbd/by-disk";

/// What the parameter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource by its name.
    Name(String),
    /// The resource that has this device.
    Minor(u32),
    /// The resource whose data is on this block device.
    Backing(PathBuf),
    /// Every resource, because somebody said so.
    All,
    /// Every resource, because nobody said anything: so the old script takes it.
    Unnamed,
}

impl Target {
    /// Reads the parameter, by its text alone.
    pub fn parse(text: &Text) -> Result<Self> {
        let refused = || {
            Error::configured(format_args!(
                "parameter drbd_resource is '{text}': accepted is a resource, /dev/drbdN or a block device's path"
            ))
        };
        let Some(word) = text.to_str() else { return Err(refused()) };
        match word {
            "" => return Ok(Self::Unnamed),
            "all" => return Ok(Self::All),
            _ => {}
        }
        // drbdadm's own rule for names; a dash would make it an option.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"%+./:=@_-".contains(&byte);
        if !word.bytes().all(plain) || word.starts_with('-') {
            return Err(refused());
        }
        if !word.starts_with('/') {
            return if word.contains('/') { Err(refused()) } else { Ok(Self::Name(word.into())) };
        }
        let path = lexical(Path::new(word));
        if let Ok(rest) = path.strip_prefix(BY_RES) {
            let name = rest.iter().next().and_then(OsStr::to_str).ok_or_else(refused)?;
            // A link is of one resource: to drbdadm these would be an option and every resource.
            if name.starts_with('-') || name == "all" {
                return Err(refused());
            }
            return Ok(Self::Name(name.into()));
        }
        if let Ok(rest) = path.strip_prefix(BY_DISK) {
            // The disk keeps its name when the link has gone with the resource.
            return Ok(Self::Backing(Path::new("/dev").join(rest)));
        }
        Ok(minor_in(&path).map_or(Self::Backing(path), Self::Minor))
    }

    /// Whether it may stand for more than one resource.
    pub fn is_several(&self) -> bool {
        matches!(self, Self::All | Self::Unnamed)
    }
}

/// `/dev/drbd7` is 7.
fn minor_in(path: &Path) -> Option<u32> {
    let name = path.strip_prefix("/dev").ok()?.to_str()?;
    let digits = name.strip_prefix("drbd").filter(|digits| digits.bytes().all(|d| d.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The device that a link of udev's, or an administrator's own link in /dev, leads to.
fn minor_of_link(host: &Host, link: &Path) -> Option<u32> {
    let mut path = link.to_path_buf();
    // As many as the kernel follows, so that a circle ends.
    for _ in 0..40 {
        if let Some(minor) = minor_in(&path) {
            return Some(minor);
        }
        if !path.starts_with("/dev") {
            // Elsewhere a look may hang on a dead server.
            return None;
        }
        let target = std::fs::read_link(host.path(&path)).ok()?;
        path = lexical(&path.parent()?.join(target));
    }
    None
}

/// The device on top of the disk `path`, by links alone: nothing is asked that may hang.
pub fn minor_on(host: &Host, path: &Path) -> Option<u32> {
    minor_of_link(host, path).or_else(|| {
        let below = path.strip_prefix("/dev").ok()?;
        minor_of_link(host, &Path::new(BY_DISK).join(below))
    })
}

/// The devices of all resources as udev's links have them: name, device.
pub fn links(host: &Host) -> Vec<(String, u32)> {
    let list = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(host.path(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut found = Vec::new();
    for name in list(Path::new(BY_RES)) {
        let path = Path::new(BY_RES).join(&name);
        match minor_of_link(host, &path) {
            Some(minor) => found.push((name, minor)),
            None => {
                let volumes = list(&path).into_iter();
                found.extend(
                    volumes
                        .filter_map(|volume| minor_of_link(host, &path.join(volume)))
                        .map(|minor| (name.clone(), minor)),
                );
            }
        }
    }
    found
}

/// True if `left` and `right` are the same block device: by text, or by what their links in /dev lead to.
pub fn same_disk(host: &Host, left: &Path, right: &Path) -> bool {
    let end = |path: &Path| {
        let mut path = lexical(path);
        for _ in 0..40 {
            if !path.starts_with("/dev") {
                break;
            }
            match (std::fs::read_link(host.path(&path)), path.parent()) {
                (Ok(target), Some(parent)) => path = lexical(&parent.join(target)),
                _ => break,
            }
        }
        path
    };
    left.as_os_str().as_bytes() == right.as_os_str().as_bytes() || end(left) == end(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Target> {
        Target::parse(&Text::from(text)).ok()
    }

    #[test]
    fn every_form_of_the_argument_is_understood() {
        let name = |name: &str| Some(Target::Name(name.into()));
        assert_eq!(parse("r0"), name("r0"));
        assert_eq!(parse("db.main-1"), name("db.main-1"));
        assert_eq!(parse("/dev/drbd7"), Some(Target::Minor(7)));
        assert_eq!(parse("/dev/./drbd10"), Some(Target::Minor(10)));
        assert_eq!(parse("/dev/drbd/by-res/r0"), name("r0"));
        assert_eq!(parse("/dev/drbd/by-res/r1/0"), name("r1"));
        assert_eq!(parse("/dev/lvm/domain1"), Some(Target::Backing("/dev/lvm/domain1".into())));
        assert_eq!(parse("/dev/drbd/by-disk/vg0/lv0"), Some(Target::Backing("/dev/vg0/lv0".into())));
        assert_eq!(parse("all"), Some(Target::All));
        assert_eq!(parse(""), Some(Target::Unnamed));
    }

    #[test]
    fn what_no_resource_can_be_called_is_refused() {
        for text in
            ["-r0", "--force", "r0 r1", "r0;reboot", "r0/0", "r\n", "$(id)", "/dev/drbd/by-res", " r0"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for name in ["--force", "-f", "-f/0", "./--force", "all", "all/0", "x/../all"] {
            let link = format!("/dev/drbd/by-res/{name}");
            assert_eq!(parse(&link), None, "{link}");
        }
    }

    #[test]
    fn links_lead_to_devices_and_circles_to_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["dev/drbd/by-res/r1", "dev/drbd/by-disk/vg0", "dev/lvm", "dev/mapper"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, root.join(at)).unwrap();
        link("../../drbd0", "dev/drbd/by-res/r0");
        link("../../../drbd10", "dev/drbd/by-res/r1/0");
        link("../../../drbd11", "dev/drbd/by-res/r1/1");
        link("../../../drbd0", "dev/drbd/by-disk/vg0/lv0");
        link("../dm-3", "dev/lvm/domain1");
        link("../dm-3", "dev/mapper/lvm-domain1");
        link("loop", "dev/loop");
        std::fs::write(root.join("dev/dm-3"), "").unwrap();
        let host = Host::sandbox(root);
        let mut found = links(&host);
        found.sort();
        assert_eq!(found, [("r0".into(), 0), ("r1".into(), 10), ("r1".into(), 11)]);
        assert_eq!(minor_on(&host, Path::new("/dev/vg0/lv0")), Some(0));
        assert_eq!(minor_on(&host, Path::new("/dev/drbd/by-disk/vg0/lv0")), Some(0));
        assert_eq!(minor_on(&host, Path::new("/dev/loop")), None);
        assert_eq!(minor_on(&host, Path::new("/srv/image")), None);
        let same = |left: &str, right: &str| same_disk(&host, Path::new(left), Path::new(right));
        assert!(same("/dev/lvm/domain1", "/dev/mapper/lvm-domain1"));
        assert!(same("/dev/loop", "/dev/loop"));
        assert!(!same("/dev/lvm/domain1", "/dev/vg0/lv0"));
    }
}
