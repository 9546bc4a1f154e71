//! What the three kinds of configuration have in common.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a resource is to the others: each layer stands on those above it in this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    Disk,
    Volume,
    FileSystem,
    /// Of a device or a directory, to other machines.
    Export,
    Guest,
    Address,
    Other,
}

impl Layer {
    /// The layer of an agent, whatever its provider.
    pub fn of(agent: &str) -> Self {
        match agent.to_ascii_lowercase().as_str() {
            "drbddisk" | "drbdupper" | "drbd" => Self::Disk,
            "lvm" | "lvm-activate" | "clvm" | "mdraid" | "mdadm" => Self::Volume,
            "filesystem" | "zfs" => Self::FileSystem,
            "gnbd-export" | "exportfs" | "nfsserver" | "nfs-kernel-server" | "iscsitarget"
            | "iscsilogicalunit" | "nvmet-subsystem" | "nvmet-namespace" | "nvmet-port" => Self::Export,
            "xen" | "xendomain" | "xendomains" | "haxendomains" | "manageve" | "openvz" | "virtualdomain"
            | "lxc" => Self::Guest,
            "ipaddr" | "ipaddr2" | "ipv6addr" => Self::Address,
            _ => Self::Other,
        }
    }

    /// True if the agent is one that makes no sense without an argument.
    pub fn needs_an_argument(self) -> bool {
        !matches!(self, Self::Other)
    }

    /// True if what is on this layer holds data that `upper` stands on, when both are in one line or group. Volumes are
    /// found below and above a replicated disk.
    pub fn carries(self, upper: Self) -> bool {
        match self {
            Self::Disk => matches!(upper, Self::FileSystem | Self::Export | Self::Guest),
            Self::Volume => matches!(upper, Self::FileSystem | Self::Export | Self::Guest),
            Self::FileSystem => matches!(upper, Self::Guest | Self::Export),
            _ => false,
        }
    }
}

/// One resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// As the file has it: `drbddisk::db`, or its id.
    pub name: String,
    /// The agent without class and provider.
    pub agent: String,
    /// `holdfast`, `heartbeat`; none in a haresources file.
    pub provider: Option<String>,
    pub layer: Layer,
    values: Vec<(String, String)>,
    /// The line or group that it is in.
    pub chain: Option<usize>,
    pub line: usize,
}

impl Resource {
    pub fn new(name: &str, provider: Option<&str>, agent: &str, line: usize) -> Self {
        Self {
            name: name.into(),
            agent: agent.into(),
            provider: provider.map(str::to_string),
            layer: Layer::of(agent),
            values: Vec::new(),
            chain: None,
            line,
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.values.push((name.into(), value.into()));
    }

    pub fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| {
            let found = self.values.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        })
    }

    /// The name or a device of the DRBD resource.
    pub fn drbd(&self) -> Option<&str> {
        if self.layer == Layer::Disk { self.get(&["drbd_resource", "resource"]) } else { None }
    }

    /// The device that it uses.
    pub fn device(&self) -> Option<&str> {
        match self.layer {
            Layer::FileSystem | Layer::Export => self.get(&["device", "path"]),
            _ => None,
        }
    }

    /// The address without prefix and interface.
    pub fn address(&self) -> Option<&str> {
        if self.layer != Layer::Address {
            return None;
        }
        self.get(&["ip", "ipv6addr"])?.split('/').next()
    }

    /// The guest's name or the path of its configuration.
    pub fn guest(&self) -> Option<&str> {
        if self.layer != Layer::Guest {
            None
        } else {
            self.get(&["ctid", "veid", "xmfile", "config", "name", "domain"])
        }
    }

    pub fn is_container(&self) -> bool {
        matches!(self.agent.to_ascii_lowercase().as_str(), "openvz" | "manageve")
    }
}

/// What one file says.
#[derive(Debug)]
pub struct Configuration {
    pub file: PathBuf,
    pub resources: Vec<Resource>,
    /// The first starts before the second: pairs of indices, with all that follow from others.
    before: BTreeSet<(usize, usize)>,
    /// What was wrong with the file itself.
    pub findings: Vec<Finding>,
    /// True where the scripts are those of Heartbeat.
    pub by_heartbeat: bool,
}

impl Configuration {
    pub fn new(file: &Path, by_heartbeat: bool) -> Self {
        Self {
            file: file.into(),
            resources: Vec::new(),
            before: BTreeSet::new(),
            findings: Vec::new(),
            by_heartbeat,
        }
    }

    /// Says that `first` starts before `then`.
    pub fn order(&mut self, first: usize, then: usize) {
        let mut new = vec![(first, then)];
        for &(a, b) in &self.before {
            if b == first {
                new.push((a, then));
            }
            if a == then {
                new.push((first, b));
            }
        }
        let through: Vec<(usize, usize)> =
            new.iter().flat_map(|&(a, _)| new.iter().map(move |&(_, b)| (a, b))).collect();
        self.before.extend(new);
        self.before.extend(through);
    }

    /// Puts resources into a line or group, one after the other.
    pub fn chain(&mut self, number: usize, members: &[usize]) {
        for &member in members {
            if let Some(resource) = self.resources.get_mut(member) {
                resource.chain = Some(number);
            }
        }
        for pair in members.windows(2) {
            if let [first, then] = *pair {
                self.order(first, then);
            }
        }
    }

    pub fn is_before(&self, first: usize, then: usize) -> bool {
        self.before.contains(&(first, then))
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        self.resources.iter().position(|resource| resource.name == id)
    }

    pub fn each(&self) -> impl Iterator<Item = (usize, &Resource)> {
        self.resources.iter().enumerate()
    }

    pub fn error(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding { file: self.file.clone(), line, severity: Severity::Error, text: text.into() }
    }

    pub fn warning(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding { file: self.file.clone(), line, severity: Severity::Warning, text: text.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// Something wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: PathBuf,
    /// 0 where there is none.
    pub line: usize,
    pub severity: Severity,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        let severity = if self.severity == Severity::Error { "error" } else { "warning" };
        write!(f, " {severity}: {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_through_others_in_whatever_sequence_they_are_said() {
        let mut configuration = Configuration::new(Path::new("x"), false);
        configuration.order(0, 1);
        configuration.order(2, 3);
        configuration.order(1, 2);
        assert!(configuration.is_before(0, 3) && configuration.is_before(1, 3));
        assert!(!configuration.is_before(3, 0));
    }
}
