//! What LVM knows of a volume group: one report, read without locks so that nobody's stuck lock holds it up.

use crate::lvm;
use ocf::mapper::Volume;
use ocf::{Call, Error, Output, Result, printable};
use serde::Deserialize;

/// The fields that are needed, of the group and of each volume. `vg_all` because older versions do not have every
/// field and refuse those that they do not know; of the segments nothing.
const REPORT: [&str; 26] = [
    "fullreport",
    "--foreign",
    "--shared",
    "--nolocking",
    "--reportformat",
    "json",
    "--configreport",
    "vg",
    "-o",
    "vg_all",
    "--configreport",
    "lv",
    "-o",
    "lv_name,lv_uuid,lv_attr,lv_layout,lv_tags",
    "--configreport",
    "pv",
    "-o",
    "pv_name,pv_missing",
    "--configreport",
    "seg",
    "-S",
    "lv_name=",
    "--configreport",
    "pvseg",
    "-S",
    "pv_name=",
];

/// A volume group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Without hyphens, as in the UUIDs of its devices.
    pub uuid: String,
    /// The owner's system ID, empty if it has none.
    pub system_id: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// How many of its disks are missing.
    pub missing_disks: u32,
    /// `none`, `dlm`, `sanlock`, `idm`, or empty.
    pub lock_type: String,
    /// For clvmd.
    pub is_clustered: bool,
    /// Not to be used by anybody.
    pub is_exported: bool,
    /// Whether the machine activates it at boot; none if this LVM has no switch for it.
    pub autoactivation: Option<bool>,
    /// Its visible volumes.
    pub volumes: Vec<Logical>,
    /// Whether this node is the owner; what that means is the access mode's.
    pub owned: Option<bool>,
    /// This node's system ID, in the access mode that needs it.
    pub own_system_id: String,
    /// Device UUIDs and names of what start shall activate.
    pub wanted: Vec<(String, String)>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    /// Its name.
    pub name: String,
    /// Without hyphens.
    pub uuid: String,
    /// Its own tags.
    pub tags: Vec<String>,
    attributes: Vec<u8>,
    layout: String,
}

impl Logical {
    /// Some of its data is on a disk that is missing.
    pub fn is_partial(&self) -> bool {
        self.attributes.get(8) == Some(&b'p')
    }

    /// LVM activates it although it is partial (activation mode degraded): of mirrors, only those of RAID.
    pub fn is_redundant(&self) -> bool {
        self.layout.split(',').any(|word| word == "raid")
    }

    /// It stays inactive unless somebody insists.
    pub fn is_skipped(&self) -> bool {
        self.attributes.get(9) == Some(&b'k')
    }

    /// Activating the group activates it, and a device of its own shows that. Pools are active with what is in them, a
    /// merging snapshot has gone into its origin, and what moves data is no volume.
    pub fn is_ordinary(&self) -> bool {
        let kind = self.attributes.first().copied().unwrap_or(b'?');
        b"-CmMoOgrRsVcv".contains(&kind) && !self.layout.split(',').any(|word| word == "pool")
    }
}

/// A name that LVM can have given to a group or volume (lvm(8), "VALID NAMES").
pub fn is_name(text: &str) -> bool {
    let characters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte));
    characters && (1..=127).contains(&text.len()) && !text.starts_with('-') && !matches!(text, "." | "..")
}

/// A tag that LVM takes (lvm(8), "TAGS").
pub fn is_tag(text: &str) -> bool {
    let characters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-/=!:&#".contains(&byte));
    characters && (1..=1024).contains(&text.len()) && !text.starts_with('-')
}

/// A system ID that can stand in LVM's configuration language.
pub fn is_system_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
}

impl Group {
    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Option<&Logical> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// The beginning of the UUIDs of a volume's devices.
    pub fn device_uuid(&self, volume: &Logical) -> String {
        format!("LVM-{}{}", self.uuid, volume.uuid)
    }

    /// Names of what start shall activate and what is not active.
    pub fn inactive(&self, active: &[Volume]) -> Vec<&str> {
        let missing =
            self.wanted.iter().filter(|(uuid, _)| !active.iter().any(|found| is_device_of(found, uuid)));
        missing.map(|(_, name)| name.as_str()).collect()
    }

    /// All that start shall activate is active.
    pub fn is_active(&self, active: &[Volume]) -> bool {
        !active.is_empty() && self.inactive(active).is_empty()
    }

    /// True unless somebody else is the owner, or nobody yet.
    pub fn is_owned(&self) -> bool {
        self.owned != Some(false)
    }
}

/// Whether this is the device of the volume, and not a part that others use too: what lies below a snapshot's origin
/// stays mapped without the origin. A pool has only a part.
pub fn is_device_of(found: &Volume, uuid: &str) -> bool {
    let rest = found.uuid.strip_prefix(uuid);
    rest.is_some_and(|part| matches!(part, "" | "-pool" | "-tpool" | "-vpool"))
}

/// Reads the group. None: LVM does not see a group of that name.
pub fn read(name: &str, call: &Call) -> Result<Option<Group>> {
    let mut words = REPORT.to_vec();
    words.extend(["--", name]);
    let output = lvm::read(&words, call)?;
    understand(&output, name)
        .map_err(|why| Error::generic(format_args!("volume group {name} cannot be read: {why}")))
}

fn understand(output: &Output, name: &str) -> Result<Option<Group>, String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let not_found = format!("Volume group \"{name}\" not found");
    if output.code == Some(5) && stderr.contains(&not_found) {
        return Ok(None);
    }
    if !output.succeeded() {
        return Err(lvm::complaint(output));
    }
    let report: Report = serde_json::from_slice(&output.stdout).map_err(|error| {
        format!("the report of lvm is no JSON that fits: {}", printable(error.to_string().as_bytes()))
    })?;
    // Two groups of one name are not to be told apart.
    match <[Part; 1]>::try_from(report.report) {
        Ok([part]) => part.group(name).map(Some),
        Err(parts) => Err(format!("the report of lvm has {} groups, where one was asked for", parts.len())),
    }
}

#[derive(Deserialize)]
struct Report {
    report: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    vg: Vec<Vg>,
    lv: Vec<Lv>,
}

#[derive(Deserialize)]
struct Vg {
    vg_name: String,
    vg_uuid: String,
    vg_systemid: String,
    vg_tags: String,
    vg_missing_pv_count: String,
    vg_attr: String,
    #[serde(default)]
    vg_lock_type: String,
    vg_autoactivation: Option<String>,
}

#[derive(Deserialize)]
struct Lv {
    lv_name: String,
    lv_uuid: String,
    lv_attr: String,
    #[serde(default)]
    lv_layout: String,
    #[serde(default)]
    lv_tags: String,
}

fn tags(list: &str) -> Vec<String> {
    list.split(',').filter(|tag| !tag.is_empty()).map(str::to_string).collect()
}

impl Part {
    fn group(self, name: &str) -> Result<Group, String> {
        let no_sense = || format!("the report of lvm is not about {name}");
        let [vg] = <[Vg; 1]>::try_from(self.vg).map_err(|_| no_sense())?;
        if vg.vg_name != name {
            return Err(no_sense());
        }
        let attribute = |index: usize, letter: u8| vg.vg_attr.as_bytes().get(index) == Some(&letter);
        let mut volumes: Vec<Logical> = Vec::new();
        for lv in self.lv {
            // A volume with several segments may have several lines.
            if volumes.iter().all(|known| known.name != lv.lv_name) {
                volumes.push(Logical {
                    name: lv.lv_name,
                    uuid: lv.lv_uuid.replace('-', ""),
                    attributes: lv.lv_attr.into_bytes(),
                    layout: lv.lv_layout,
                    tags: tags(&lv.lv_tags),
                });
            }
        }
        Ok(Group {
            uuid: vg.vg_uuid.replace('-', ""),
            system_id: vg.vg_systemid,
            tags: tags(&vg.vg_tags),
            missing_disks: vg.vg_missing_pv_count.parse().map_err(|_| no_sense())?,
            lock_type: vg.vg_lock_type,
            is_clustered: attribute(5, b'c'),
            is_exported: attribute(2, b'x'),
            // lvm.conf may want numbers (report/binary_values_as_numeric).
            autoactivation: vg.vg_autoactivation.map(|word| !matches!(word.as_str(), "" | "0")),
            volumes,
            owned: None,
            own_system_id: String::new(),
            wanted: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As lvm2 2.03.16 reports them.
    #[test]
    fn what_activates_with_the_group_is_told_by_attributes_and_layout() {
        for (attributes, layout, expected) in [
            ("-wi-------", "linear", true),
            ("Vwi---tz--", "thin,sparse", true),
            ("twi---tz--", "thin,pool", false),
            ("owi---s---", "linear", true),
            ("swi---s---", "linear", true),
            ("Owi---s---", "linear", true),
            ("rwi---r---", "raid,raid1", true),
            ("Rwi---r---", "raid,raid1", true),
            ("gwi---r---", "raid,raid1", true),
            ("mwi---m---", "mirror", true),
            ("Mwi---m---", "mirror", true),
            ("Cwi---C---", "cache", true),
            ("Cwi---C---", "writecache", true),
            ("Cwi---C---", "cache,pool", false),
            ("vwi---v---", "vdo,sparse", true),
            ("dwi-------", "vdo,pool", false),
            ("Swi---s---", "linear", false),
            ("pwi---m---", "mirror", false),
            ("iwi---r---", "linear", false),
            ("ewi-------", "linear", false),
            ("", "", false),
        ] {
            let volume = Logical {
                name: "lv1".into(),
                uuid: String::new(),
                tags: Vec::new(),
                attributes: attributes.into(),
                layout: layout.into(),
            };
            assert_eq!(volume.is_ordinary(), expected, "{attributes} {layout}");
        }
    }
}
