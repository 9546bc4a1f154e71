//! Two Primaries for the time of a migration: the other node has to open the disk before this one has closed it.

use crate::DualPrimary;
use crate::checks::GuestDisk;
use crate::peers;
use crate::toolstack::complaint;
use crate::unfinished::{self, Note};
use ocf::drbd::{self, Observed, target::Target};
use ocf::state::drbd::{Connection, Disk, Role};
use ocf::{Call, Error, Result, Text};
use std::thread::sleep;
use std::time::Duration;

/// Between two tries to make a resource Secondary, while its last user lets go of it.
const PAUSE: Duration = Duration::from_millis(500);
const TRIES: u32 = 8;

/// What was allowed and has to be taken back.
#[derive(Debug)]
pub struct Dual {
    note: Note,
    key: String,
    /// It was left by another call, and much may have happened since.
    is_left: bool,
}

/// Why a command on the other node has not done what it should.
#[derive(Debug)]
enum Refused {
    /// The node was not reached, and will not be in a moment.
    Unreachable(Error),
    /// The command itself failed, or had no time left.
    There(Error),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreachable(why) | Refused::There(why) => why,
        }
    }
}

/// What has to be done for a disk before its guest can move.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// The other node may use it already.
    Nothing,
    /// It has to become Primary there too.
    Promote,
    /// It cannot.
    Refuse(String),
}

fn need(observed: &Observed) -> Need {
    let Observed::Parts(parts) = observed else {
        return Need::Refuse("what DRBD does with it is not known".into());
    };
    if parts.is_empty() || parts.iter().any(|part| part.role != Role::Primary) {
        return Need::Refuse("it is not Primary on this node".into());
    }
    let peers = || parts.iter().flat_map(|part| &part.peers);
    let volumes = || peers().flat_map(|peer| &peer.volumes);
    if peers().next().is_none() || peers().any(|peer| peer.connection != Connection::Connected) {
        return Need::Refuse("DRBD is not connected to the other node".into());
    }
    if volumes().any(|volume| volume.disk != Disk::UpToDate && !volume.client) {
        return Need::Refuse("its data are not UpToDate on the other node".into());
    }
    if peers().all(|peer| peer.role == Role::Primary) { Need::Nothing } else { Need::Promote }
}

impl Dual {
    /// Makes every DRBD disk Primary on the node of the note too. On failure nothing stays allowed.
    pub fn open(mode: DualPrimary, disks: &[GuestDisk], note: Note, key: &str, call: &Call) -> Result<Self> {
        let mut dual = Self { note, key: key.into(), is_left: false };
        if let Err(error) = dual.open_all(mode, disks, call) {
            dual.close_there(call);
            return Err(error);
        }
        Ok(dual)
    }

    /// What another call has left.
    pub fn left(note: Note, key: &str) -> Self {
        Self { note, key: key.into(), is_left: true }
    }

    fn open_all(&mut self, mode: DualPrimary, disks: &[GuestDisk], call: &Call) -> Result<()> {
        for target in disks.iter().filter_map(|disk| disk.drbd.as_ref()) {
            let name = drbd::name_of(target, call)?;
            // It goes through a shell over there.
            if !matches!(Target::parse(&Text::from(name.as_str())), Ok(Target::Name(_))) {
                return Err(Error::generic(format_args!("DRBD resource '{name}' has no plain name")));
            }
            let refused = |why: &str| {
                Error::generic(format_args!("the guest cannot move, its DRBD resource {name}: {why}"))
            };
            match need(&drbd::observe(target, call)?) {
                Need::Nothing => continue,
                Need::Refuse(why) => return Err(refused(&why)),
                Need::Promote if mode == DualPrimary::No => {
                    return Err(refused("Secondary on the target, and drbd_dual_primary=no"));
                }
                Need::Promote => {}
            }
            if self.note.resources.contains(&name) {
                continue;
            }
            self.note.resources.push(name.clone());
            unfinished::write(call, &self.key, &self.note);
            allow(call, &name, true)
                .and_then(|()| Ok(self.there(call, &allowance(&name, true))?))
                .and_then(|()| Ok(self.there(call, &["drbdadm", "primary", &name])?))
                .map_err(|error| refused(error.reason()))?;
        }
        Ok(())
    }

    /// Nobody knows where the guest is: it is taken back once one node alone has it.
    pub fn stays(&self, call: &Call) {
        for name in &self.note.resources {
            call.log.error(format_args!(
                "DRBD resource {name} keeps two Primaries until one node alone has guest {}",
                self.note.guest
            ));
        }
    }

    /// The guest has gone: this node gives its role back, and then nobody may have two.
    pub fn close_here(&self, call: &Call) {
        self.close(call, &|name| here(call, &["secondary", name]).map_err(Refused::There));
    }

    /// The guest has stayed: the other node gives its role back.
    pub fn close_there(&self, call: &Call) {
        self.close(call, &|name| self.there(call, &["drbdadm", "secondary", name]));
    }

    fn close(&self, call: &Call, secondary: &dyn Fn(&str) -> Result<(), Refused>) {
        let mut is_closed = true;
        for name in &self.note.resources {
            is_closed &= self.is_taken_back(call, name, secondary);
        }
        // What could not be taken back is tried again by a later call.
        if is_closed && !self.note.resources.is_empty() {
            unfinished::remove(call, &self.key);
        }
    }

    fn is_taken_back(
        &self,
        call: &Call,
        name: &str,
        secondary: &dyn Fn(&str) -> Result<(), Refused>,
    ) -> bool {
        call.step(&format!("taking back the second Primary of {name}"));
        let mut result = Ok(());
        for attempt in 0..TRIES {
            if self.is_left && !unfinished::is_both(name, call) {
                result = Ok(());
                break;
            }
            result = secondary(name);
            let is_final = matches!(result, Ok(()) | Err(Refused::Unreachable(_)));
            if is_final || call.remaining() < Duration::from_secs(3) || attempt + 1 == TRIES {
                break;
            }
            sleep(PAUSE);
        }
        let here = allow(call, name, false);
        // Who could not be reached just now is not tried again: each try takes seconds.
        let there = match result {
            Err(Refused::Unreachable(_)) => Ok(()),
            _ => self.there(call, &allowance(name, false)),
        };
        let results = [result.map_err(Error::from), here, there.map_err(Error::from)];
        let errors: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        for error in &errors {
            call.log.error(format_args!("DRBD resource {name} may still have two Primaries: {error}"));
        }
        errors.is_empty()
    }

    fn there(&self, call: &Call, words: &[&str]) -> Result<(), Refused> {
        let output =
            peers::ssh(call, &self.note.address, call.remaining() / 6, words).map_err(Refused::There)?;
        if output.succeeded() {
            return Ok(());
        }
        let command = words.join(" ");
        let why = Error::generic(format_args!("{command} on {}: {}", self.note.address, complaint(&output)));
        // ssh itself.
        Err(if output.code == Some(255) { Refused::Unreachable(why) } else { Refused::There(why) })
    }
}

/// drbdadm's words for the temporary permission (DRBD User's Guide, temporary dual-primary mode).
fn allowance(name: &str, two: bool) -> [&str; 5] {
    let option = if two { "--allow-two-primaries" } else { "--allow-two-primaries=no" };
    ["drbdadm", "net-options", "--protocol=C", option, name]
}

fn allow(call: &Call, name: &str, two: bool) -> Result<()> {
    let [_, words @ ..] = allowance(name, two);
    here(call, &words)
}

fn here(call: &Call, words: &[&str]) -> Result<()> {
    let mut tool = call.tool("drbdadm")?;
    for word in words {
        tool = tool.arg(word);
    }
    let output = tool.within(call.remaining() / 6).run()?;
    if output.succeeded() {
        return Ok(());
    }
    Err(Error::generic(format_args!("drbdadm {}: {}", words.join(" "), output.complaint())))
}
