//! The guest's disks once it is there: a tool that answers 0 has not looked at them.

use crate::machine;
use crate::store::Store;
use crate::toolstack::{Toolstack, complaint};
use ocf::state::xen::tables::{self, CONNECTED};
use ocf::{Call, Error, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// States of a back end (xen/include/public/io/xenbus.h).
const INITIALISING: u32 = 1;
const CLOSING: u32 = 5;
/// A back end that cannot open its disk never gets further than its first state, and one whose disk has gone never
/// leaves its last. A boot loader with drivers of its own passes through both.
const STUCK_AFTER: Duration = Duration::from_secs(8);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// A disk of the domain, as its back end has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackEnd {
    /// The disk's number in the guest.
    pub disk: String,
    /// What it is on this node, if that is known.
    pub path: String,
    /// Its state.
    pub state: u32,
}

/// What the states of all disks mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All are connected.
    Connected,
    /// Some are not yet.
    Waiting(String),
    /// One is dead: nothing revives it.
    Dead(String),
}

/// Whether the back end can serve nothing in this state.
fn is_bad(disk: &BackEnd) -> bool {
    disk.state <= INITIALISING || disk.state >= CLOSING
}

/// Decides for the disks that were found, of the `wanted` ones that the configuration has. `bad_for` is how long one of
/// them has been in a bad state.
pub fn verdict(found: &[BackEnd], wanted: usize, bad_for: Duration) -> Verdict {
    let what = |disk: &BackEnd| {
        let on = if disk.path.is_empty() {
            String::new()
        } else {
            format!(" ({})", ocf::printable(disk.path.as_bytes()))
        };
        format!("disk {}{on}", disk.disk)
    };
    if let Some(bad) = found.iter().find(|disk| is_bad(disk)) {
        let why = match bad.state {
            INITIALISING => format!("{} could not be opened, its back end stays in state 1", what(bad)),
            state => format!("{} is dead, its back end is in state {state}", what(bad)),
        };
        return if bad_for < STUCK_AFTER { Verdict::Waiting(why) } else { Verdict::Dead(why) };
    }
    if let Some(late) = found.iter().find(|disk| disk.state != CONNECTED) {
        return Verdict::Waiting(format!(
            "the guest has not connected to {}, state {}",
            what(late),
            late.state
        ));
    }
    if found.len() < wanted {
        return Verdict::Waiting(format!("only {} of {wanted} disks are attached", found.len()));
    }
    Verdict::Connected
}

/// Waits until every disk of the domain is connected, at most until `until`. A guest without drivers of Xen's own
/// never connects: then it has to be enough that its disks are open.
pub fn wait_connected(call: &Call, name: &str, id: u32, wanted: usize, until: Instant) -> Result<()> {
    call.step(&format!("waiting for the disks of {name}"));
    let mut good = Instant::now();
    loop {
        let found = of(call, id)?;
        if !found.iter().any(is_bad) {
            good = Instant::now();
        }
        let verdict = verdict(&found, wanted, good.elapsed());
        call.log.trace(format_args!("disks of {name}: {found:?}: {verdict:?}"));
        match verdict {
            Verdict::Connected => return Ok(()),
            Verdict::Dead(why) => {
                return Err(Error::generic(format_args!("{why}: look at DRBD's role and the disk")));
            }
            Verdict::Waiting(why) if Instant::now() + PAUSE >= until => {
                let open = found.len() >= wanted && found.iter().all(|disk| disk.state > INITIALISING);
                if open && is_hvm(call, id) {
                    call.log.warn(format_args!("{why}: it seems to have no drivers of Xen's own"));
                    return Ok(());
                }
                return Err(Error::generic(why));
            }
            Verdict::Waiting(why) => {
                call.obstacle(why);
                sleep(PAUSE);
            }
        }
    }
}

/// Whether the guest has emulated disks, which it may use without any back end.
fn is_hvm(call: &Call, id: u32) -> bool {
    let kind = Store::open(call)
        .ok()
        .flatten()
        .and_then(|mut store| store.read(&format!("/libxl/{id}/type")).ok()?);
    kind.as_deref() == Some("hvm")
}

/// The disks of the domain, as xenstored has them, or else the tool.
pub fn of(call: &Call, id: u32) -> Result<Vec<BackEnd>> {
    if let Some(mut store) = Store::open(call)? {
        return by_store(&mut store, id);
    }
    let tool = Toolstack::find(call)?;
    let name = tool.name();
    let output = tool.on(call, call.remaining() / 4, &["block-list"], id, &[])?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("{name} block-list: {}", complaint(&output))));
    }
    let rows = tables::block_list(&output.stdout)
        .map_err(|why| Error::generic(format_args!("{name} block-list cannot be understood: {why}")))?;
    Ok(rows
        .into_iter()
        .map(|row| BackEnd { disk: row.disk, path: String::new(), state: row.state })
        .collect())
}

fn by_store(store: &mut Store, id: u32) -> Result<Vec<BackEnd>> {
    let mut found = Vec::new();
    // The guest cannot write to the first, which xl has had since 4.2.
    let trees = [format!("/libxl/{id}/device"), format!("/local/domain/{id}/device")];
    for tree in trees {
        for kind in ["vbd", "qdisk", "vbd3"] {
            for disk in store.directory(&format!("{tree}/{kind}"))?.unwrap_or_default() {
                let Some(back) = store.read(&format!("{tree}/{kind}/{disk}/backend"))? else { continue };
                if !back.starts_with('/') {
                    continue;
                }
                let path = store.read(&format!("{back}/params"))?.unwrap_or_default();
                let empty_drive = path.is_empty()
                    && store.read(&format!("{back}/device-type"))?.as_deref() == Some("cdrom");
                if !empty_drive {
                    let state =
                        store.read(&format!("{back}/state"))?.and_then(|state| state.trim().parse().ok());
                    found.push(BackEnd { disk, path, state: state.unwrap_or(0) });
                }
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// What still holds the disks of a domain that has ended: this node's kernel, and what xenstored has of it.
pub fn left_of(call: &Call, id: u32) -> Result<Vec<String>> {
    let mut left = machine::disks(call, id);
    if let Some(mut store) = Store::open(call)? {
        for kind in ["vbd", "qdisk", "vbd3"] {
            let path = format!("/local/domain/0/backend/{kind}/{id}");
            for disk in store.directory(&path)?.unwrap_or_default() {
                let name = format!("{kind}-{id}-{disk}");
                if !left.contains(&name) {
                    left.push(name);
                }
            }
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(state: u32) -> BackEnd {
        BackEnd { disk: "51712".into(), path: "/dev/drbd0".into(), state }
    }

    #[test]
    fn every_state_of_a_back_end() {
        let early = Duration::ZERO;
        let late = STUCK_AFTER;
        let class = |found: &[BackEnd], wanted, waited| match verdict(found, wanted, waited) {
            Verdict::Connected => "connected",
            Verdict::Waiting(_) => "waiting",
            Verdict::Dead(_) => "dead",
        };
        for (state, at_first, at_last) in [
            (0, "waiting", "dead"),
            (1, "waiting", "dead"),
            (2, "waiting", "waiting"),
            (3, "waiting", "waiting"),
            (4, "connected", "connected"),
            (5, "waiting", "dead"),
            (6, "waiting", "dead"),
        ] {
            assert_eq!(class(&[disk(state)], 1, early), at_first, "{state}");
            assert_eq!(class(&[disk(state)], 1, late), at_last, "{state}");
            // One good disk does not make up for it.
            assert_eq!(class(&[disk(4), disk(state)], 2, late), at_last, "{state}");
        }
        assert_eq!(class(&[], 0, early), "connected");
        assert_eq!(class(&[], 1, late), "waiting");
        assert_eq!(class(&[disk(4)], 2, late), "waiting");
    }
}
