//! lvm-activate: a volume group, or one logical volume of it, active on this node.
//!
//! - **start** looks at the group's metadata, makes this node its owner where the access mode has one, activates what is
//!   not active yet, and believes device-mapper alone that it is.
//! - **stop** deactivates until nothing of it is mapped any more, or names who holds it; then it gives up what shows
//!   this node as the owner to others (tag, lockspace).
//! - **monitor** reads the kernel's list of mapped devices. Only when nothing, or not all, of the resource is there does
//!   it ask LVM why. At level 10 it reads from every volume and looks for the disks below.

#![cfg_attr(not(test), no_main)]

mod access;
mod config;
mod deep;
mod group;
mod lvm;
mod metadata;
mod record;
mod start;
mod stop;

use access::Mode;
use group::Group;
use ocf::mapper::{self, Volume};
use ocf::{Agent, Call, Dialect, Error, Metadata, Result, State, Text};
use serde::Deserialize;
use std::cell::OnceCell;

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct LvmActivate {
    #[serde(alias = "volgrpname")]
    vgname: Text,
    #[serde(default)]
    lvname: Text,
    #[serde(default)]
    vg_access_mode: Option<Mode>,
    #[serde(default)]
    activation_mode: ActivationMode,
    tag: Text,
    #[serde(default)]
    ignored_tags: String,
    partial_activation: bool,
    #[serde(default)]
    degraded_activation: bool,
    #[serde(default)]
    majority_pvs: bool,
    #[serde(default)]
    ignore_activation_skip: bool,
    #[serde(default)]
    require_owner_dead: bool,
    /// Only the table of the agent LVM has it.
    #[serde(default)]
    exclusive: Option<bool>,
    /// What start found when it looked at the metadata.
    #[serde(skip)]
    seen: OnceCell<Group>,
}

/// How many nodes may activate a volume of a shared group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ActivationMode {
    #[default]
    Exclusive,
    Shared,
}

/// What the resource is: names that LVM can have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    group: String,
    volume: Option<String>,
}

impl Target {
    /// As LVM's commands take it: `vg1` or `vg1/lv1`.
    fn words(&self) -> String {
        match &self.volume {
            Some(volume) => format!("{}/{volume}", self.group),
            None => self.group.clone(),
        }
    }

    /// What of it is active.
    fn active(&self, call: &Call) -> Result<Vec<Volume>> {
        let mut volumes = mapper::volumes(call, &self.group)?;
        volumes.retain(|found| self.volume.as_ref().is_none_or(|name| *name == found.name));
        Ok(volumes)
    }
}

impl Agent for LvmActivate {
    const METADATA: Metadata = metadata::METADATA;
    const OTHER_TABLES: &'static [Metadata] = &[metadata::LVM];

    fn object(&self) -> String {
        if self.lvname.is_empty() {
            self.vgname.to_string()
        } else {
            format!("{}/{}", self.vgname, self.lvname)
        }
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        let target = match self.target() {
            Ok(target) => target,
            // The replaced agents' answers to a missing name. A name that cannot be has nothing that is active.
            Err(error) if self.vgname.is_empty() && (self.is_agent_lvm() || call.action == "stop") => {
                return Err(error);
            }
            Err(error) if self.vgname.is_empty() && !call.probe => return Err(Error::generic(error)),
            Err(_) => return Ok(State::Stopped),
        };
        let active = target.active(call)?;
        call.because(match active.as_slice() {
            [] => format!("device-mapper has no volume of {}", target.words()),
            [one] => format!("device-mapper has {} of {}", one.name, target.words()),
            [one, ..] => {
                format!("device-mapper has {} and {} more of {}", one.name, active.len() - 1, target.words())
            }
        });
        match call.action.as_str() {
            "start" => {
                let all = self.seen.get().is_some_and(|group| group.is_active(&active));
                Ok(if all { State::Running } else { State::Stopped })
            }
            "stop" if active.is_empty() => Ok(State::Stopped),
            "stop" => Ok(State::Running),
            _ if active.is_empty() => self.inactive(&target, call),
            _ => self.active(&target, &active, call),
        }
    }

    /// The kernel's list is there at once, and a tool has a deadline of its own. A read from a lost disk may never end.
    fn monitor_may_hang(&self, call: &Call) -> bool {
        call.check_level >= deep::LEVEL
    }

    /// Start verifies the owner of what is active. A tag can be left where nothing is.
    fn acts_anyway(&self, call: &Call) -> bool {
        call.action == "start" || (self.vg_access_mode(call) == Some(Mode::Tagging) && self.target().is_ok())
    }

    fn start(&self, call: &Call) -> Result<()> {
        start::start(self, &self.target()?, call)
    }

    fn stop(&self, call: &Call) -> Result<()> {
        stop::stop(self, &self.target()?, call)
    }

    fn validate(&self, call: &Call) -> Result<()> {
        let target = self.target().map_err(|error| {
            // ocf:heartbeat:LVM took a name that cannot be for one that is not there.
            if self.is_agent_lvm() && !self.vgname.is_empty() { Error::generic(error) } else { error }
        })?;
        let mode = access::acceptable(self.vg_access_mode(call), call.meta("clone_max").as_deref(), self)?;
        if call.action != "validate-all" || call.check_level >= 10 {
            let group = access::examine(self, &target, mode, call)?;
            // Nobody has looked before.
            let _ = self.seen.set(group);
        }
        Ok(())
    }
}

impl LvmActivate {
    /// Called under the name of ocf:heartbeat:LVM.
    fn is_agent_lvm(&self) -> bool {
        self.exclusive.is_some()
    }

    /// The access mode. Who is no cluster manager and names none wants the group as it is.
    fn vg_access_mode(&self, call: &Call) -> Option<Mode> {
        match self.exclusive {
            Some(true) => Some(Mode::Tagging),
            Some(false) => Some(Mode::Plain),
            None if call.dialect == Dialect::Ocf => self.vg_access_mode,
            None => Some(self.vg_access_mode.unwrap_or(Mode::Plain)),
        }
    }

    fn target(&self) -> Result<Target> {
        let name = |parameter: &str, text: &Text| match text.to_str().filter(|text| group::is_name(text)) {
            Some(name) => Ok(name.to_string()),
            None if text.is_empty() => {
                Err(Error::configured(format_args!("parameter {parameter} is not set")))
            }
            None => Err(Error::configured(format_args!(
                "parameter {parameter} is '{text}': accepted are letters, digits and + _ . -"
            ))),
        };
        let group = name(if self.is_agent_lvm() { "volgrpname" } else { "vgname" }, &self.vgname)?;
        let volume = if self.lvname.is_empty() { None } else { Some(name("lvname", &self.lvname)?) };
        Ok(Target { group, volume })
    }

    /// The tag, if LVM can have it.
    fn tag(&self) -> Result<&str> {
        self.tag.to_str().filter(|tag| group::is_tag(tag)).ok_or_else(|| {
            Error::configured(format_args!(
                "parameter tag is '{}': accepted are letters, digits and + _ . - / = ! : & #",
                self.tag
            ))
        })
    }

    /// Nothing is mapped. Cleanly so, or because the group has gone: only who believes that it runs has to know.
    fn inactive(&self, target: &Target, call: &Call) -> Result<State> {
        if call.probe || call.dialect != Dialect::Ocf || self.is_agent_lvm() {
            return Ok(State::Stopped);
        }
        // Also without LVM: the code for "not installed" would ban the node.
        match group::read(&target.group, call).map_err(Error::generic)? {
            None => Err(Error::generic(format_args!(
                "volume group {} has vanished: look for its disks (pvs, dmesg)",
                target.group
            ))),
            Some(group) if target.volume.as_ref().is_some_and(|name| group.volume(name).is_none()) => {
                Err(Error::generic(format_args!("logical volume {} has vanished", target.words())))
            }
            Some(_) => Ok(State::Stopped),
        }
    }

    /// Something is mapped. What start activated should be, unless it has been removed since.
    fn active(&self, target: &Target, active: &[Volume], call: &Call) -> Result<State> {
        let missing =
            if target.volume.is_none() { record::missing(target, active, call) } else { Vec::new() };
        if !missing.is_empty()
            && let Some(group) = group::read(&target.group, call)?
        {
            let inactive: Vec<&str> =
                missing.iter().map(String::as_str).filter(|name| group.volume(name).is_some()).collect();
            if !inactive.is_empty() {
                let sentence = format!("{} is active without {}", target.group, inactive.join(", "));
                return Ok(State::Degraded(sentence));
            }
        }
        if call.check_level >= deep::LEVEL {
            deep::look(active, call)?;
        }
        Ok(State::Running)
    }
}

ocf::main!(LvmActivate);
