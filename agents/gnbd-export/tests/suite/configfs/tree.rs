//! The items of a configfs, and the rules that all of them share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::errno::Errno;

/// One entry of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory. `made`: by mkdir, and not with its parent.
    Dir { made: bool },
    /// An attribute with its text.
    Attribute(String),
    /// A link to the item at that path.
    Link(String),
}

/// What the kernel finds when it opens a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceIs {
    Good,
    Secondary,
    ReadOnly,
    InUse,
}

/// A change that was granted, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Made(String),
    Removed(String),
    Linked(String),
    Unlinked(String),
    Wrote(String, String),
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Tree {
    mounted_on: String,
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Devices by their nodes; others do not exist.
    pub(crate) devices: BTreeMap<String, DeviceIs>,
    /// Addresses of this node, beside those that mean all.
    pub(crate) addresses: BTreeSet<String>,
    /// `address:port` that another program listens on.
    pub(crate) taken: BTreeSet<String>,
    pub(crate) deeds: Vec<Deed>,
    /// What would have cost clients their disk, in words.
    pub(crate) harm: Vec<String>,
    /// A write to an attribute with this name is never answered.
    pub(crate) hangs: Option<String>,
    /// A deed at a path that ends so is refused, once for each entry.
    pub(crate) refusals: Vec<(String, Errno)>,
}

pub(crate) type Answer<T = ()> = Result<T, Errno>;

impl Tree {
    pub(crate) fn new(mounted_on: &Path) -> Tree {
        let mut tree = Tree {
            mounted_on: format!("{}/", mounted_on.display()),
            entries: BTreeMap::new(),
            devices: [("/dev/drbd0".to_owned(), DeviceIs::Good)].into(),
            addresses: BTreeSet::new(),
            taken: BTreeSet::new(),
            deeds: Vec::new(),
            harm: Vec::new(),
            hangs: None,
            refusals: Vec::new(),
        };
        tree.grow("", &["nvmet/", "nvmet/subsystems/", "nvmet/ports/", "nvmet/hosts/"]);
        tree.grow("", &["target/", "target/core/", "target/core/alua/", "target/version=Target Engine Core"]);
        tree
    }

    /// Adds default entries below `base`: `name/` is a directory, `name=text` an attribute.
    pub(crate) fn grow(&mut self, base: &str, defaults: &[&str]) {
        for default in defaults {
            let (name, entry) = match default.split_once('=') {
                Some((name, text)) => (name, Entry::Attribute(text.into())),
                None => (default.trim_end_matches('/'), Entry::Dir { made: false }),
            };
            let path = if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") };
            self.entries.insert(path, entry);
        }
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.entries.contains_key(path)
    }

    pub(crate) fn text(&self, path: &str) -> String {
        match self.entries.get(path) {
            Some(Entry::Attribute(text)) => text.clone(),
            other => panic!("{path} is no attribute: {other:?}"),
        }
    }

    pub(crate) fn set(&mut self, path: &str, text: &str) {
        assert!(self.entries.contains_key(path), "{path}");
        self.entries.insert(path.to_owned(), Entry::Attribute(text.to_owned()));
    }

    /// The names directly below a directory.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = self.entries.keys().filter_map(|key| key.strip_prefix(&prefix));
        below.filter(|rest| !rest.is_empty() && !rest.contains('/')).map(str::to_owned).collect()
    }

    /// The links that lead to an item.
    pub(crate) fn links_to(&self, path: &str) -> Vec<String> {
        let leads = |entry: &Entry| matches!(entry, Entry::Link(target) if target == path);
        self.entries.iter().filter(|(_, entry)| leads(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// The links directly below a directory.
    pub(crate) fn links_in(&self, path: &str) -> Vec<(String, String)> {
        let link = |name: String| match self.entries.get(&format!("{path}/{name}")) {
            Some(Entry::Link(target)) => Some((name, target.clone())),
            _ => None,
        };
        self.names(path).into_iter().filter_map(link).collect()
    }

    fn refusal(&mut self, path: &str) -> Answer {
        match self.refusals.iter().position(|(end, _)| path.ends_with(end.as_str())) {
            Some(at) => Err(self.refusals.remove(at).1),
            None => Ok(()),
        }
    }

    /// What the kernel would find on opening `device` for writing.
    pub(crate) fn open(&self, device: &str) -> Answer {
        match self.devices.get(device) {
            None => Err(Errno::ENOENT),
            Some(DeviceIs::Secondary) => Err(Errno::EROFS),
            Some(DeviceIs::ReadOnly) => Err(Errno::EACCES),
            Some(DeviceIs::Good | DeviceIs::InUse) => Ok(()),
        }
    }

    pub(crate) fn mkdir(&mut self, path: &str) -> Answer {
        self.refusal(path)?;
        if self.has(path) {
            return Err(Errno::EEXIST);
        }
        let parts: Vec<&str> = path.split('/').collect();
        self.entries.insert(path.to_owned(), Entry::Dir { made: true });
        let made = match parts.first() {
            Some(&"nvmet") => self.make_nvmet(path, &parts),
            Some(&"target") => self.make_lio(path, &parts),
            _ => Err(Errno::EPERM),
        };
        if made.is_err() {
            self.entries.retain(|key, _| key != path && !key.starts_with(&format!("{path}/")));
        } else {
            self.deeds.push(Deed::Made(path.to_owned()));
        }
        made
    }

    pub(crate) fn rmdir(&mut self, path: &str) -> Answer {
        self.refusal(path)?;
        match self.entries.get(path) {
            None => return Err(Errno::ENOENT),
            Some(Entry::Dir { made: true }) => {}
            Some(Entry::Dir { made: false }) => return Err(Errno::EPERM),
            Some(_) => return Err(Errno::ENOTDIR),
        }
        let prefix = format!("{path}/");
        // Whatever was made or linked below, at any depth.
        let below = self.entries.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        if below.clone().any(|(_, entry)| matches!(entry, Entry::Dir { made: true } | Entry::Link(_))) {
            return Err(Errno::ENOTEMPTY);
        }
        if !self.links_to(path).is_empty() {
            return Err(Errno::EBUSY);
        }
        self.entries.retain(|key, _| key != path && !key.starts_with(&prefix));
        self.deeds.push(Deed::Removed(path.to_owned()));
        Ok(())
    }

    /// `target` as the caller wrote it.
    pub(crate) fn symlink(&mut self, target: &str, path: &str) -> Answer {
        self.refusal(path)?;
        if self.has(path) {
            return Err(Errno::EEXIST);
        }
        let target = target.strip_prefix(&self.mounted_on).ok_or(Errno::EPERM)?.to_owned();
        if !self.has(&target) {
            return Err(Errno::ENOENT);
        }
        let parts: Vec<&str> = path.split('/').collect();
        match parts.first() {
            Some(&"nvmet") => self.link_nvmet(&target, &parts)?,
            Some(&"target") => self.link_lio(&target, &parts)?,
            _ => return Err(Errno::EPERM),
        }
        self.entries.insert(path.to_owned(), Entry::Link(target));
        self.deeds.push(Deed::Linked(path.to_owned()));
        Ok(())
    }

    pub(crate) fn unlink(&mut self, path: &str) -> Answer {
        self.refusal(path)?;
        match self.entries.get(path) {
            None => Err(Errno::ENOENT),
            Some(Entry::Link(_)) => {
                self.before_unlink_lio(path);
                self.entries.remove(path);
                self.deeds.push(Deed::Unlinked(path.to_owned()));
                Ok(())
            }
            Some(_) => Err(Errno::EPERM),
        }
    }

    pub(crate) fn write(&mut self, path: &str, text: &str) -> Answer {
        self.refusal(path)?;
        let parts: Vec<&str> = path.split('/').collect();
        let text = text.trim_end_matches('\n');
        match parts.first() {
            Some(&"nvmet") => self.write_nvmet(path, &parts, text)?,
            _ => self.write_lio(path, &parts, text)?,
        }
        self.deeds.push(Deed::Wrote(path.to_owned(), text.to_owned()));
        Ok(())
    }

    /// The position of the first deed that is `deed`.
    pub(crate) fn when(&self, deed: &Deed) -> usize {
        let found = self.deeds.iter().position(|done| done == deed);
        found.unwrap_or_else(|| panic!("{deed:?} is not among {:#?}", self.deeds))
    }

    /// The devices that a target holds open.
    pub(crate) fn held(&self) -> Vec<String> {
        let mut held = self.held_by_nvmet();
        held.extend(self.held_by_lio());
        held
    }

    /// What somebody made and has not removed.
    pub(crate) fn left(&self) -> Vec<String> {
        let made = |entry: &Entry| matches!(entry, Entry::Dir { made: true } | Entry::Link(_));
        self.entries.iter().filter(|(_, entry)| made(entry)).map(|(key, _)| key.clone()).collect()
    }
}

/// As kstrtobool of the kernel.
pub(crate) fn boolean(text: &str) -> Answer<bool> {
    match text {
        "1" | "y" | "Y" | "on" => Ok(true),
        "0" | "n" | "N" | "off" => Ok(false),
        _ => Err(Errno::EINVAL),
    }
}
