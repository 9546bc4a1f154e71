//! What of the guest is on this node: its domain, and the copies that a migration or a crash leaves under other names.

use crate::disks;
use crate::machine;
use crate::record::Record;
use crate::store::Store;
use crate::toolstack::Toolstack;
use ocf::state::xen::list::{Domain, Reason, Run};
use ocf::{Call, Error, Result};
use std::thread::sleep;
use std::time::Duration;

/// What is there, the most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// Several domains have the name, which libxl does not allow and xenstored does.
    Several(Vec<u32>),
    /// It runs.
    Live(u32),
    /// It was paused, or its start was never finished.
    Paused(u32),
    /// It has ended and is still there.
    ShutDown(u32, Reason),
    /// It is being destroyed, or something holds what is left of it.
    Dying(u32),
    /// What a migration away has left here.
    Away(u32),
    /// What a migration to this node brings, or has left behind.
    Incoming(u32),
    /// Nothing; and copies of crashes that xl has renamed.
    Absent(Vec<String>),
}

impl Guest {
    /// The domains that it is.
    pub fn ids(&self) -> Vec<u32> {
        match self {
            Self::Several(ids) => ids.clone(),
            Self::Live(id)
            | Self::Paused(id)
            | Self::ShutDown(id, _)
            | Self::Dying(id)
            | Self::Away(id)
            | Self::Incoming(id) => vec![*id],
            Self::Absent(_) => Vec::new(),
        }
    }
}

/// What the name of a domain makes of it, for the guest `guest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Own,
    Incoming,
    Away,
    Preserved,
}

/// xl puts a mark behind the name, xend before it.
fn part(name: &str, guest: &str) -> Option<Part> {
    if name.strip_prefix("migrating-") == Some(guest) {
        return Some(Part::Away);
    }
    match name.strip_prefix(guest)? {
        "" => Some(Part::Own),
        "--incoming" => Some(Part::Incoming),
        "--migratedaway" => Some(Part::Away),
        rest => is_time(rest).then_some(Part::Preserved),
    }
}

/// `-20261120T1045Z`: what xl appends for restart_rename (its rename_restart).
fn is_time(rest: &str) -> bool {
    let pattern = |(index, byte): (usize, u8)| match index {
        0 => byte == b'-',
        9 => byte == b'T',
        14 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    rest.len() == 15 && rest.bytes().enumerate().all(pattern)
}

/// Looks, through xenstored where it can be asked. The run state is known to the hypervisor alone, so that costs one
/// run of the list, if there is anything to know it of.
pub fn look(name: &str, record: Option<&Record>, call: &Call) -> Result<Guest> {
    for _ in 0..5 {
        if let Some(guest) = try_look(name, record, call)? {
            call.log.trace(format_args!("guest {name}: {guest:?}"));
            return Ok(guest);
        }
        sleep(Duration::from_millis(100).min(call.remaining() / 10));
    }
    Err(Error::generic(format_args!(
        "whether {name} runs is unknown: xenstored and the domain list disagree"
    )))
}

/// A copy that a crash left under another name, that has ended, and that still holds disks of this node.
pub fn kept(name: &str, call: &Call) -> Result<Option<u32>> {
    let domains = Toolstack::find(call).and_then(|tool| tool.list(call)).map_err(unknown(name))?;
    for domain in domains {
        let is_copy = domain.name.is_some_and(|found| part(&found, name) == Some(Part::Preserved));
        if is_copy
            && matches!(domain.run, Run::ShutDown(_) | Run::Dying)
            && !disks::left_of(call, domain.id)?.is_empty()
        {
            return Ok(Some(domain.id));
        }
    }
    Ok(None)
}

/// None: a domain came or went while it was looked at.
fn try_look(name: &str, record: Option<&Record>, call: &Call) -> Result<Option<Guest>> {
    // A domain that is dying has no name any more, but may still hold its disks. Their back ends leave sysfs and xenstored
    // before the kernel has closed them, so the domain itself counts.
    let recorded = record.map(|record| record.id).filter(|id| *id != 0);
    let before = |domains: &[Domain]| {
        let dies = |id: u32| domains.iter().any(|domain| domain.id == id && domain.run == Run::Dying);
        recorded.filter(|id| dies(*id) || !machine::disks(call, *id).is_empty())
    };
    let Some(mut store) = Store::open(call)? else {
        let domains = Toolstack::find(call).and_then(|tool| tool.list(call)).map_err(unknown(name))?;
        return Ok(Some(sort(name, before(&domains), &domains, &named(&domains), call)));
    };
    let names = store.domains()?;
    let ours = |name_of: &str| part(name_of, name).is_some_and(|part| part != Part::Preserved);
    if recorded.is_none() && !names.iter().any(|(_, found)| ours(found)) {
        return Ok(Some(sort(name, None, &[], &names, call)));
    }
    let domains = Toolstack::find(call).and_then(|tool| tool.list(call)).map_err(unknown(name))?;
    let listed = |id: u32| domains.iter().any(|domain| domain.id == id);
    if names.iter().any(|(id, found)| ours(found) && !listed(*id)) {
        return Ok(None);
    }
    Ok(Some(sort(name, before(&domains), &domains, &names, call)))
}

/// Code 1: that the tool is missing does not mean that nothing runs.
fn unknown(name: &str) -> impl Fn(Error) -> Error {
    move |error| Error::generic(format_args!("whether {name} runs is unknown: {error}"))
}

fn named(domains: &[Domain]) -> Vec<(u32, String)> {
    domains.iter().filter_map(|domain| Some((domain.id, domain.name.clone()?))).collect()
}

fn sort(guest: &str, before: Option<u32>, domains: &[Domain], names: &[(u32, String)], call: &Call) -> Guest {
    // Domain 0 is never a guest, whatever somebody calls it.
    let of = |wanted: Part| {
        names
            .iter()
            .filter(move |(id, name)| *id != 0 && part(name, guest) == Some(wanted))
            .map(|(id, _)| *id)
    };
    let run = |id: u32| domains.iter().find(|domain| domain.id == id).map_or(Run::Dying, |domain| domain.run);
    let (dying, own): (Vec<u32>, Vec<u32>) = of(Part::Own).partition(|id| run(*id) == Run::Dying);
    if let [id] = own.as_slice() {
        return match run(*id) {
            Run::Live => Guest::Live(*id),
            Run::Paused => Guest::Paused(*id),
            Run::ShutDown(reason) => Guest::ShutDown(*id, reason),
            Run::Dying => Guest::Dying(*id),
        };
    }
    if !own.is_empty() {
        return Guest::Several(own);
    }
    // The recorded number under another name is not this guest any more, whoever renamed it.
    let renamed = |id: u32| domains.iter().any(|domain| domain.id == id && domain.name.is_some());
    if let Some(id) = dying.into_iter().next().or(before.filter(|id| !renamed(*id))) {
        return Guest::Dying(id);
    }
    if let Some(id) = of(Part::Away).next() {
        return Guest::Away(id);
    }
    if let Some(id) = of(Part::Incoming).next() {
        return Guest::Incoming(id);
    }
    let preserved = names.iter().filter(|(_, name)| part(name, guest) == Some(Part::Preserved));
    let preserved: Vec<String> = preserved.map(|(_, name)| name.clone()).collect();
    if !preserved.is_empty() {
        call.log.trace(format_args!("preserved copies: {preserved:?}"));
    }
    Guest::Absent(preserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_part_of_the_guest_a_domain_is() {
        for (name, is) in [
            ("web", Some(Part::Own)),
            ("web--incoming", Some(Part::Incoming)),
            ("web--migratedaway", Some(Part::Away)),
            ("migrating-web", Some(Part::Away)),
            ("web-20261120T1045Z", Some(Part::Preserved)),
            ("web2", None),
            ("we", None),
            ("web-2", None),
            ("web-20261120T1045", None),
            ("web-2026112xT1045Z", None),
            ("web--incoming2", None),
            ("migrating-web2", None),
            ("", None),
        ] {
            assert_eq!(part(name, "web"), is, "{name}");
        }
    }
}
