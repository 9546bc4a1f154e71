//! What a configuration leans on: files of one node, below a root directory.

use crate::drbd_conf::{self, DrbdResource};
use crate::words;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The files of one node.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    pub drbd: Vec<DrbdResource>,
    /// The nodes that ha.cf names; none without ha.cf.
    pub nodes: Vec<String>,
}

/// What one disk of a guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestDisk {
    /// A block device by path.
    Device(String),
    /// A DRBD resource by name, with Xen's `drbd:` prefix.
    Drbd(String),
}

impl Machine {
    pub fn read(root: &Path) -> Self {
        let mut files = vec![root.join("etc/drbd.conf")];
        files.extend(listed(&root.join("etc/drbd.d")));
        let drbd = files.iter().filter_map(|file| fs::read_to_string(file).ok());
        let drbd = drbd.flat_map(|text| drbd_conf::parse(&text)).collect();
        let ha_cf = fs::read_to_string(root.join("etc/ha.d/ha.cf")).unwrap_or_default();
        let nodes = ha_cf
            .lines()
            .filter_map(|line| line.trim().strip_prefix("node"))
            .filter(|rest| rest.starts_with([' ', '\t']));
        let nodes = nodes.flat_map(str::split_whitespace).map(str::to_string).collect();
        Self { root: root.into(), drbd, nodes }
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    pub fn text(&self, inside: &str) -> Option<String> {
        fs::read_to_string(self.path(inside)).ok()
    }

    /// Whether Heartbeat finds a script of that name; none where there is no Heartbeat.
    pub fn has_script(&self, name: &str) -> Option<bool> {
        let folder = self.path("etc/ha.d/resource.d");
        folder
            .is_dir()
            .then(|| [folder, self.path("etc/init.d")].iter().any(|folder| is_executable(&folder.join(name))))
    }

    /// Whether a cluster finds the agent; none where there are no agents at all.
    pub fn has_agent(&self, provider: &str, name: &str) -> Option<bool> {
        let folder = self.path("usr/lib/ocf/resource.d");
        folder.is_dir().then(|| is_executable(&folder.join(provider).join(name)))
    }

    /// The DRBD resource that a name or device of it names.
    pub fn drbd_of(&self, name: &str) -> Option<&DrbdResource> {
        let by_res = name.strip_prefix("/dev/drbd/by-res/").and_then(|rest| rest.split('/').next());
        self.drbd.iter().find(|found| {
            found.name == name
                || by_res == Some(found.name.as_str())
                || found.devices.iter().any(|device| self.same(device, name))
        })
    }

    /// The DRBD resource that a device lies below.
    pub fn drbd_above(&self, disk: &str) -> Option<&DrbdResource> {
        self.drbd.iter().find(|found| found.disks.iter().any(|below| self.same(below, disk)))
    }

    /// Two names of one device. Links are followed where they are there.
    fn same(&self, one: &str, other: &str) -> bool {
        let real = |name: &str| fs::canonicalize(self.path(name)).ok();
        one == other
            || (one.starts_with('/')
                && other.starts_with('/')
                && real(one).is_some_and(|path| Some(path) == real(other)))
    }

    /// The configuration of a container.
    pub fn container(&self, id: &str) -> Option<String> {
        self.text(&format!("etc/vz/conf/{id}.conf"))
    }

    /// Where Xen's tools look for a guest's configuration, and what stands there.
    pub fn guest(&self, name: &str) -> Option<(String, String)> {
        let places = if name.starts_with('/') {
            vec![name.to_string()]
        } else {
            ["", "auto/", "vm/"]
                .iter()
                .flat_map(|folder| {
                    [format!("/etc/xen/{folder}{name}"), format!("/etc/xen/{folder}{name}.cfg")]
                })
                .collect()
        };
        places.into_iter().find_map(|place| self.text(&place).map(|text| (place, text)))
    }

    /// Whether something that runs at boot makes a device-mapper device of that name.
    pub fn makes_at_boot(&self, name: &str) -> bool {
        let folders = ["etc/init.d", "etc/rc.boot", "etc/systemd/system"];
        let scripts = folders.iter().flat_map(|folder| listed(&self.path(folder)));
        let mut files = scripts.chain([self.path("etc/rc.local"), self.path("etc/rc.d/rc.local")]);
        let makes = |line: &str| {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            words.windows(2).any(|pair| *pair == ["create", name]) && line.contains("dmsetup")
        };
        files.any(|file| fs::read_to_string(file).is_ok_and(|text| text.lines().any(makes)))
    }

    /// Whether a yes-or-no option of a kernel module is set when it is loaded.
    pub fn has_module_option(&self, module: &str, option: &str) -> bool {
        let is_yes = |word: &str| {
            word.split_once('=')
                .is_some_and(|(name, value)| name == option && matches!(value, "1" | "y" | "Y"))
        };
        listed(&self.path("etc/modprobe.d")).iter().filter_map(|file| fs::read_to_string(file).ok()).any(
            |text| {
                text.lines().any(|line| {
                    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
                    words.next() == Some("options") && words.next() == Some(module) && words.any(is_yes)
                })
            },
        )
    }

    /// The files of a folder that have to do with starting at boot.
    pub fn names_in(&self, inside: &str) -> Vec<String> {
        let files = listed(&self.path(inside));
        files.iter().filter_map(|file| Some(file.file_name()?.to_str()?.to_string())).collect()
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// `NAME=value` of a file that a shell would source; comments and quotes are understood.
pub fn assignment(text: &str, name: &str) -> Option<String> {
    let mut found = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            found = words::split(value).into_iter().next();
        }
    }
    found
}

/// The disks in the configuration of a Xen guest.
pub fn guest_disks(text: &str) -> Vec<GuestDisk> {
    let text: String =
        text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let list = text.split_once("disk").and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
    let list = list.and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let mut disks = Vec::new();
    for quote in ['\'', '"'] {
        for entry in list.split(quote).skip(1).step_by(2) {
            disks.extend(guest_disk(entry));
        }
    }
    disks
}

fn guest_disk(entry: &str) -> Option<GuestDisk> {
    let target = entry.split(',').find_map(|part| part.trim().strip_prefix("target="));
    let first = target.unwrap_or_else(|| entry.split(',').next().unwrap_or_default()).trim();
    if let Some(name) = first.strip_prefix("drbd:") {
        return Some(GuestDisk::Drbd(name.into()));
    }
    let phy = first.strip_prefix("phy:");
    let path = phy.unwrap_or(first);
    match path.strip_prefix('/') {
        Some(_) if phy.is_some() || path.starts_with("/dev/") => Some(GuestDisk::Device(path.into())),
        Some(_) => None,
        None => phy.map(|name| GuestDisk::Device(format!("/dev/{name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_of_a_guest_are_found_in_both_notations() {
        let old = "name = 'a'\ndisk = [ 'phy:/dev/drbd0,sda1,w',\n  'phy:vg/swap,sda2,w', 'file:/srv/x.img,sda3,w' ] # 'no'\n";
        let device = |path: &str| GuestDisk::Device(path.into());
        assert_eq!(guest_disks(old), [device("/dev/drbd0"), device("/dev/vg/swap")]);
        let new = "disk = [ \"format=raw, vdev=xvda, target=/dev/vg/a\", \"drbd:r0,xvdb,w\" ]";
        assert_eq!(guest_disks(new), [device("/dev/vg/a"), GuestDisk::Drbd("r0".into())]);
    }

    #[test]
    fn the_last_assignment_counts() {
        assert_eq!(
            assignment("ONBOOT=\"no\"\n ONBOOT=yes # now\n#ONBOOT=no\n", "ONBOOT"),
            Some("yes".into())
        );
        assert_eq!(assignment("", "ONBOOT"), None);
    }
}
