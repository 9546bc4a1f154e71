//! The access modes: who may activate, and what has to be right before anybody does.

use crate::config::Config;
use crate::group::{self, Group, Logical};
use crate::{LvmActivate, Target, lvm};
use ocf::{Call, Error, Result};
use serde::Deserialize;
use std::path::Path;

/// How a group is kept from being active on two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// lvmlockd holds a lock for each active volume.
    Lvmlockd,
    /// What LVM had before 2.03.
    Clvmd,
    /// The metadata names the owner, and LVM on other nodes keeps away.
    SystemId,
    /// A tag lets a node activate what its configuration keeps inactive.
    Tagging,
    /// The cluster alone.
    Plain,
}

impl Mode {
    /// The word in the parameter.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lvmlockd => "lvmlockd",
            Self::Clvmd => "clvmd",
            Self::SystemId => "system_id",
            Self::Tagging => "tagging",
            Self::Plain => "plain",
        }
    }

    /// The mode that the metadata speaks of, if it does.
    fn of(group: &Group) -> Option<Self> {
        match group.lock_type.as_str() {
            "dlm" | "sanlock" | "idm" => Some(Self::Lvmlockd),
            _ if group.is_clustered => Some(Self::Clvmd),
            _ if !group.system_id.is_empty() => Some(Self::SystemId),
            _ if !group.tags.is_empty() => Some(Self::Tagging),
            _ => None,
        }
    }
}

/// The mode, if it is one that can be, whatever the node.
pub fn acceptable(mode: Option<Mode>, clone_max: Option<&str>, agent: &LvmActivate) -> Result<Mode> {
    let mode = mode.ok_or_else(|| {
        Error::configured("parameter vg_access_mode is not set: lvmlockd, system_id, tagging or plain")
    })?;
    if mode == Mode::Clvmd {
        return Err(Error::configured(
            "LVM has no clvmd since 2.03: set vg_access_mode to lvmlockd or system_id",
        ));
    }
    if mode == Mode::Tagging {
        agent.tag()?;
    }
    let cloned = clone_max.is_some_and(|count| count != "1");
    if cloned && matches!(mode, Mode::SystemId | Mode::Tagging) {
        return Err(Error::configured(format_args!(
            "{} must be active on one node only: do not clone it",
            agent.vgname
        )));
    }
    Ok(mode)
}

/// Looks at the group, and whether this node may activate it.
pub fn examine(agent: &LvmActivate, target: &Target, mode: Mode, call: &Call) -> Result<Group> {
    let mut group = find(&target.group, call)?;
    if group.missing_disks > 0 && (agent.partial_activation || agent.majority_pvs) {
        call.log.warn(format_args!("{} lacks {} of its disks", target.group, group.missing_disks));
    }
    suitable(agent, target, mode, &group)?;
    let config = if mode == Mode::Plain && group.system_id.is_empty() {
        Config::default()
    } else {
        Config::read(call)?
    };
    match mode {
        Mode::SystemId => {
            let own = own_system_id(&config, call)?;
            group.owned = Some(group.system_id == own);
            group.own_system_id = own;
        }
        Mode::Tagging => {
            let tag = agent.tag()?;
            let volumes = group.volumes.iter().filter(|volume| is_meant(target, volume));
            // LVM asks for the tags of the volume and of its group.
            let tags: Vec<&String> =
                group.tags.iter().chain(volumes.flat_map(|volume| &volume.tags)).collect();
            configured_for_tags(&config, &target.group, tag, &tags)?;
            foreign_tags(&group, &target.group, tag, &agent.ignored_tags)?;
            group.owned = Some(group.tags.iter().any(|found| found == tag));
        }
        Mode::Lvmlockd => configured_for_locks(&config, call)?,
        Mode::Plain if group.system_id.is_empty() => {}
        Mode::Plain => not_foreign(&group, target, &config, call)?,
        Mode::Clvmd => {}
    }
    group.wanted = wanted(agent, target, &group);
    Ok(group)
}

fn find(name: &str, call: &Call) -> Result<Group> {
    // LVM before 2.03 may answer from the memory of a daemon that has not heard of a disk yet.
    const DAEMON: &str = "/run/lvm/lvmetad.socket";
    let mut found = group::read(name, call)?;
    if found.is_none() && call.host.exists(DAEMON) {
        let output = lvm::read(&["pvscan", "--cache"], call)?;
        call.log.debug(format_args!("pvscan --cache: {}", output.complaint()));
        found = group::read(name, call)?;
    }
    found.ok_or_else(|| {
        Error::generic(format_args!(
            "volume group {name} is not visible here: check its disks, and LVM's filter and devices file"
        ))
    })
}

/// What the metadata alone rules out. The codes are those of ocf:heartbeat:LVM-activate: 1 for what may pass, 6 for
/// what is wrong on every node.
fn suitable(agent: &LvmActivate, target: &Target, mode: Mode, group: &Group) -> Result<()> {
    let name = &target.group;
    if group.is_exported {
        return Err(Error::generic(format_args!("volume group {name} is exported: vgimport {name} first")));
    }
    if group.missing_disks > 0 && !agent.partial_activation && !agent.majority_pvs {
        return Err(Error::generic(format_args!(
            "volume group {name} lacks {} of its disks: repair it, or set partial_activation",
            group.missing_disks
        )));
    }
    let found = Mode::of(group);
    let fits = match mode {
        Mode::Tagging => true,
        Mode::Plain => !matches!(found, Some(Mode::Lvmlockd | Mode::Clvmd)),
        _ => found == Some(mode),
    };
    if !fits {
        let found = found.map_or("no access mode", Mode::word);
        return Err(Error::configured(format_args!(
            "volume group {name} is set up for {found}, not for vg_access_mode {}",
            mode.word()
        )));
    }
    if group.volumes.is_empty() {
        return Err(Error::configured(format_args!("volume group {name} has no logical volume")));
    }
    match &target.volume {
        Some(volume) if group.volume(volume).is_none() => {
            Err(Error::configured(format_args!("volume group {name} has no logical volume {volume}")))
        }
        _ => Ok(()),
    }
}

fn is_meant(target: &Target, volume: &Logical) -> bool {
    target.volume.as_ref().is_none_or(|name| volume.name == *name)
}

/// Device UUIDs and names of what start shall activate.
fn wanted(agent: &LvmActivate, target: &Target, group: &Group) -> Vec<(String, String)> {
    let can_be = |volume: &&Logical| match &target.volume {
        Some(name) => volume.name == *name,
        None => {
            volume.is_ordinary()
                && (agent.ignore_activation_skip || !volume.is_skipped())
                && (!volume.is_partial()
                    || (agent.partial_activation && !agent.degraded_activation)
                    || (agent.degraded_activation && volume.is_redundant()))
        }
    };
    let volumes = group.volumes.iter().filter(can_be);
    volumes.map(|volume| (group.device_uuid(volume), volume.name.clone())).collect()
}

/// This node's system ID. Code 2 without one, or with a configuration that leaves volumes inactive.
fn own_system_id(config: &Config, call: &Call) -> Result<String> {
    if config.word("global/system_id_source").is_none_or(|source| source == "none") {
        return Err(Error::args("global/system_id_source is not set in lvm.conf: system_id needs it"));
    }
    let own = config.system_id(call)?;
    let own = own.ok_or_else(|| Error::args("this node has no LVM system ID: see lvmsystemid(7)"))?;
    if config.get("activation/volume_list").is_some() {
        return Err(Error::args("activation/volume_list is set in lvm.conf: system_id needs it unset"));
    }
    Ok(own)
}

/// A group of another system is not to be activated without being taken over.
fn not_foreign(group: &Group, target: &Target, config: &Config, call: &Call) -> Result<()> {
    let own = config.system_id(call)?;
    let extra = config.get("local/extra_system_ids").unwrap_or_default();
    if own.as_ref() == Some(&group.system_id) || extra.contains(&group.system_id) {
        return Ok(());
    }
    Err(Error::generic(format_args!(
        "volume group {} belongs to system ID {}: use vg_access_mode system_id",
        target.group, group.system_id
    )))
}

/// Volumes must be inactive without the tag: then volume_list is there and lets none of them through.
fn configured_for_tags(config: &Config, group: &str, tag: &str, tags: &[&String]) -> Result<()> {
    let Some(list) = config.get("activation/volume_list") else {
        return Err(Error::args("activation/volume_list is not set in lvm.conf: tagging needs it"));
    };
    // Also by a tag that says nothing of an owner.
    let has = |found: &str| found == "*" || found == tag || tags.iter().any(|own| *own == found);
    let lets_through = |entry: &&String| {
        *entry == "*" || entry.strip_prefix('@').is_some_and(has) || entry.split('/').next() == Some(group)
    };
    match list.iter().find(lets_through) {
        Some(entry) => Err(Error::args(format_args!(
            "activation/volume_list in lvm.conf has {entry}: {group} could be active without its tag"
        ))),
        None => Ok(()),
    }
}

/// A tag that is neither ours nor said to be harmless is another owner's.
fn foreign_tags(group: &Group, name: &str, own: &str, ignored: &str) -> Result<()> {
    let harmless = |tag: &str| tag == own || tags_in(ignored).any(|known| known == tag);
    match group.tags.iter().find(|tag| !harmless(tag)) {
        Some(tag) => Err(Error::generic(format_args!(
            "volume group {name} has the tag {tag} of another owner: remove it, or add it to ignored_tags"
        ))),
        None => Ok(()),
    }
}

/// The tags in a list.
pub fn tags_in(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',']).filter(|tag| !tag.is_empty())
}

/// lvmlockd is to be used, and runs; clvmd does not.
fn configured_for_locks(config: &Config, call: &Call) -> Result<()> {
    if config.word("global/use_lvmlockd") != Some("1") {
        return Err(Error::args("global/use_lvmlockd is not 1 in lvm.conf: lvmlockd needs it"));
    }
    if !is_running("lvmlockd", call)? {
        return Err(Error::generic("lvmlockd does not run: it must be started before, on every node"));
    }
    if is_running("clvmd", call)? {
        return Err(Error::generic("clvmd runs: stop it, lvmlockd cannot work beside it"));
    }
    Ok(())
}

/// Whether a process of exactly that name exists.
fn is_running(name: &str, call: &Call) -> Result<bool> {
    let folder = call.host.path(Path::new("/proc")).into_owned();
    let cannot = |error| Error::generic(format_args!("/proc cannot be read: {error}"));
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let pid = entry.map_err(cannot)?.file_name();
        if let Some(pid) = pid.to_str().filter(|pid| pid.bytes().all(|digit| digit.is_ascii_digit()))
            && call.host.read_line(format!("/proc/{pid}/comm")).as_deref() == Some(name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
