//! migrate_to and migrate_from: the tool's word is a claim, and both ends are looked at before it is believed.

use crate::checks::{self, GuestDisk};
use crate::dual::Dual;
use crate::guest::{self, Guest};
use crate::monitor::{PAUSE, is_receiving};
use crate::name::Description;
use crate::peers::{self, Answer};
use crate::record::{self, Record};
use crate::toolstack::{Toolstack, complaint};
use crate::unfinished::{self, Note};
use crate::{XenDomain, disks, machine, memory, shared, stop};
use ocf::cluster::attributes;
use ocf::state::xen::disk::Source;
use ocf::state::xen::list::Reason;
use ocf::state::xen::migration::{self, Claim};
use ocf::{Call, Error, Result, printable};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What has to be left for looking at both ends and taking DRBD's two Primaries back.
const RESERVE: Duration = Duration::from_secs(20);
/// How long an end may take to become what it will be.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Where the guest is after a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// On the other node, and nowhere else.
    Moved,
    /// On this node, and nowhere else.
    StayedHere,
    /// That is not sure: a person has to look at both.
    CheckBothEnds,
}

/// Decides by what the tool claims and by what is seen; none stands for an end that cannot be seen.
pub fn outcome(name: &str, claim: Claim, here: Option<&Guest>, there: &Answer) -> Outcome {
    let arrived = matches!(there, Answer::Running(found, _) if found == name);
    match here {
        Some(Guest::Live(_)) => match there {
            Answer::Absent | Answer::Incoming(_) => Outcome::StayedHere,
            Answer::Unknown(_) if claim == Claim::StayedHere => Outcome::StayedHere,
            Answer::Unknown(_) | Answer::Running(..) => Outcome::CheckBothEnds,
        },
        // What is left here has no guest in it any more.
        Some(Guest::Absent(_) | Guest::Away(_) | Guest::Dying(_) | Guest::ShutDown(_, Reason::Suspend)) => {
            match there {
                _ if arrived => Outcome::Moved,
                Answer::Unknown(_) if claim == Claim::Moved => Outcome::Moved,
                _ => Outcome::CheckBothEnds,
            }
        }
        None if arrived && claim == Claim::Moved => Outcome::Moved,
        _ => Outcome::CheckBothEnds,
    }
}

/// Moves the guest to the node that the cluster names.
pub fn migrate_to(agent: &XenDomain, call: &Call) -> Result<()> {
    let name = agent.domain(call)?;
    let node = call
        .meta("migrate_target")
        .ok_or_else(|| Error::args("no target: the cluster gives it as CRM_meta_migrate_target"))?;
    let key = agent.key(call);
    let record = record::read(call, &key);
    let id = match guest::look(&name, record.as_ref(), call)? {
        Guest::Live(id) => id,
        other => {
            return Err(Error::generic(format_args!(
                "guest {name} does not run here, so it cannot move: {other:?}"
            )));
        }
    };
    // By hand, or an earlier one: its copy over there would look stale.
    if machine::tool_is_at(call, &["migrate", "save"], Some((&name, id))) {
        return Err(Error::generic(format_args!("guest {name} is being migrated or saved already")));
    }
    unfinished::finish(agent, &name, &Guest::Live(id), call);
    let address = agent.address_of(&node, call)?;
    let tool = Toolstack::find(call)?;
    let disks = disks_of(agent, &name, id, call)?;
    can_all_move(agent, &name, &disks, call)?;
    target_is_free(&name, &address, tool, call)?;
    if !call.change(format_args!("run {} migrate {id} {address}", tool.name())) {
        return Ok(());
    }
    let note = Note::new(&name, id, &address, call);
    let dual = Dual::open(agent.drbd_dual_primary, &disks, note, &key, call)?;
    let (claim, why) = run(tool, id, &address, call);
    call.log.info(format_args!("migration of guest {name} to {node}: {claim:?}, {why}"));
    match settle(&name, claim, record.as_ref(), &address, tool, call) {
        Outcome::Moved => {
            if let Ok(Guest::Away(left) | Guest::ShutDown(left, Reason::Suspend)) =
                guest::look(&name, None, call)
                && let Err(error) = stop::destroy(&name, left, call)
            {
                call.log.error(format_args!("after the migration of guest {name}: {error}"));
            }
            dual.close_here(call);
            record::remove(call, &key);
            memory::balance(agent, call);
            Ok(())
        }
        Outcome::StayedHere => {
            dual.close_there(call);
            Err(Error::generic(format_args!(
                "guest {name} stays on this node, {} migrate: {why}",
                tool.name()
            )))
        }
        // The one code after which the cluster does not start it again by itself.
        Outcome::CheckBothEnds => {
            // Whichever end gave its role back might be the one that writes.
            dual.stays(call);
            Err(Error::configured(format_args!(
                "CHECK BOTH ENDS: guest {name} may run here or on {node}; stop it on one, then clean up the resource: {why}"
            )))
        }
    }
}

/// What the running guest has for disks: its configuration says it, or else its back ends.
fn disks_of(agent: &XenDomain, name: &str, id: u32, call: &Call) -> Result<Vec<GuestDisk>> {
    if let Ok(Some(Description { config: Ok(config), .. })) = agent.describe(call) {
        return checks::disks(&config, call);
    }
    let back_ends = disks::of(call, id)?;
    if back_ends.iter().any(|disk| disk.path.is_empty()) {
        return Err(Error::generic(format_args!("the disks of guest {name} are unknown: give it xmfile")));
    }
    let texts = back_ends.into_iter().map(|disk| format!("phy:{},{},w", disk.path, disk.disk));
    let config = ocf::state::xen::config::Config { disks: texts.collect(), ..Default::default() };
    checks::disks(&config, call)
}

/// Every disk has to be on the other node too.
fn can_all_move(agent: &XenDomain, name: &str, disks: &[GuestDisk], call: &Call) -> Result<()> {
    for disk in disks.iter().filter(|disk| disk.drbd.is_none() && !agent.shared_disks) {
        let (path, shared) = match &disk.disk.source {
            Source::Device(path) => (path, shared::is_shared_device(call, path)),
            Source::File(path) => (path, shared::is_shared_file(call, path)),
            Source::Drbd(_) | Source::Other(_) | Source::Empty => continue,
        };
        if !shared {
            return Err(Error::generic(format_args!(
                "guest {name} cannot move: disk {} is local (if it is not, set shared_disks=yes)",
                printable(path.as_bytes())
            )));
        }
    }
    Ok(())
}

/// The other node must not have the guest, nor a copy that an earlier migration left there.
fn target_is_free(name: &str, address: &str, tool: Toolstack, call: &Call) -> Result<()> {
    match peers::ask(call, address, name, tool.name()) {
        Answer::Absent => Ok(()),
        Answer::Running(found, id) => Err(Error::generic(format_args!(
            "guest {name} cannot move: {address} has it already ({found}, domain {id})"
        ))),
        // Only this node can send it, and it does not.
        Answer::Incoming(id) if call.dry_run => {
            call.change(format_args!("destroy domain {id} on {address}"));
            Ok(())
        }
        Answer::Incoming(id) => {
            call.log.warn(format_args!("an earlier migration left domain {id} of guest {name} on {address}"));
            let limit = call.remaining() / 6;
            let output = peers::ssh(call, address, limit, &[tool.name(), "destroy", &id.to_string()])?;
            if output.succeeded() {
                return Ok(());
            }
            Err(Error::generic(format_args!(
                "a stale copy of guest {name} on {address} cannot be destroyed: {}",
                complaint(&output)
            )))
        }
        // xend has a way of its own to the other node.
        Answer::Unknown(why) if tool == Toolstack::Xm => {
            call.log.warn(format_args!("{address} cannot be asked for guest {name}: {why}"));
            Ok(())
        }
        Answer::Unknown(why) => {
            Err(Error::generic(format_args!("guest {name} cannot move to {address}: {why}")))
        }
    }
}

fn run(tool: Toolstack, id: u32, address: &str, call: &Call) -> (Claim, String) {
    call.step("migrating");
    let limit = call.remaining().saturating_sub(RESERVE.min(call.remaining() / 3));
    let ssh = format!("ssh {}", peers::SSH_OPTIONS.join(" "));
    let result = match tool {
        // Address and options are plain words: xl hands them to a shell.
        Toolstack::Xl => tool.on(call, limit, &["migrate", "-s", &ssh], id, &[address]),
        Toolstack::Xm => tool.on(call, limit, &["migrate", "--live"], id, &[address]),
    };
    match result {
        Ok(output) => {
            let claim = match tool {
                Toolstack::Xl => migration::claim(output.code, &output.stderr),
                Toolstack::Xm if output.succeeded() => Claim::Moved,
                Toolstack::Xm => Claim::Nothing,
            };
            (claim, if output.succeeded() { "it says that it has moved".into() } else { complaint(&output) })
        }
        Err(error) => (Claim::Nothing, error.reason().to_string()),
    }
}

/// Looks at both ends until they say something definite, or for a moment.
fn settle(
    name: &str,
    claim: Claim,
    record: Option<&Record>,
    address: &str,
    tool: Toolstack,
    call: &Call,
) -> Outcome {
    let until = call.within(SETTLED_WITHIN.min(call.remaining() / 3));
    loop {
        let here = guest::look(name, record, call);
        let there = peers::ask(call, address, name, tool.name());
        let outcome = outcome(name, claim, here.as_ref().ok(), &there);
        call.log.trace(format_args!("after {claim:?}: here {here:?}, there {there:?}: {outcome:?}"));
        if outcome != Outcome::CheckBothEnds || Instant::now() + PAUSE >= until {
            return outcome;
        }
        sleep(PAUSE);
    }
}

/// Takes the guest in: it is here once it runs under its own name with all its disks.
pub fn migrate_from(agent: &XenDomain, call: &Call) -> Result<()> {
    let name = agent.domain(call)?;
    let key = agent.key(call);
    let until = call.within(call.remaining() * 2 / 3);
    let described = agent.describe(call).ok().flatten().and_then(|found| found.config.ok());
    let wanted = described
        .and_then(|config| checks::disks(&config, call).ok())
        .map_or(0, |disks| checks::attached(&disks));
    loop {
        let guest = guest::look(&name, None, call)?;
        match guest {
            Guest::Live(id) => {
                disks::wait_connected(call, &name, id, wanted, call.within(call.remaining() * 3 / 4))
                    .map_err(|error| Error::generic(format_args!("guest {name} came, but {error}")))?;
                if !call.change(format_args!("write down that guest {name} is domain {id}")) {
                    return Ok(());
                }
                record::write(
                    call,
                    &key,
                    &Record { name: name.clone(), id, memory_managed: agent.allow_mem_management },
                )?;
                memory::balance(agent, call);
                return Ok(());
            }
            _ if Instant::now() + PAUSE < until => sleep(PAUSE),
            Guest::Incoming(id) if !is_receiving(&name, &guest, call) => {
                if call.change(format_args!("destroy what is left of guest {name} (domain {id})")) {
                    stop::destroy(&name, id, call)?;
                }
                return Err(Error::generic(format_args!(
                    "guest {name} never arrived: what its migration left here is destroyed"
                )));
            }
            _ => {
                return Err(Error::generic(format_args!(
                    "guest {name} has not arrived on this node: {guest:?}"
                )));
            }
        }
    }
}

impl XenDomain {
    /// Under which address the node takes guests in.
    fn address_of(&self, node: &str, call: &Call) -> Result<String> {
        let attribute = self.node_ip_attribute.to_str().unwrap_or_default();
        let mut address = node.to_string();
        if !attribute.is_empty() {
            match attributes::of_node(call, node, attribute) {
                Ok(Some(found)) => address = found,
                Ok(None) => call.log.warn(format_args!("node {node} has no attribute {attribute}")),
                Err(error) => {
                    call.log.warn(format_args!("attribute {attribute} of node {node} is unknown: {error}"))
                }
            }
        }
        if peers::is_host(&address) && !address.contains('@') {
            return Ok(address);
        }
        Err(Error::args(format_args!("'{}' is no address to migrate to", printable(address.as_bytes()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_ends() {
        use Claim::{Moved, Nothing, StayedHere};
        let live = Guest::Live(3);
        let absent = Guest::Absent(vec![]);
        let away = Guest::Away(3);
        let suspended = Guest::ShutDown(3, Reason::Suspend);
        let there = Answer::Running("web".into(), 7);
        let there_away = Answer::Running("web--migratedaway".into(), 7);
        let unknown = Answer::Unknown("no route".into());
        for (claim, here, there, wanted) in [
            (Moved, Some(&absent), &there, Outcome::Moved),
            (Nothing, Some(&absent), &there, Outcome::Moved),
            (Claim::CheckBothEnds, Some(&absent), &there, Outcome::Moved),
            (Moved, Some(&away), &there, Outcome::Moved),
            (Nothing, Some(&suspended), &there, Outcome::Moved),
            (Moved, Some(&absent), &unknown, Outcome::Moved),
            (Moved, None, &there, Outcome::Moved),
            (StayedHere, Some(&live), &Answer::Absent, Outcome::StayedHere),
            (Nothing, Some(&live), &Answer::Absent, Outcome::StayedHere),
            (Claim::CheckBothEnds, Some(&live), &Answer::Absent, Outcome::StayedHere),
            (Moved, Some(&live), &Answer::Absent, Outcome::StayedHere),
            (Nothing, Some(&live), &Answer::Incoming(7), Outcome::StayedHere),
            (StayedHere, Some(&live), &unknown, Outcome::StayedHere),
            (Moved, Some(&live), &there, Outcome::CheckBothEnds),
            (StayedHere, Some(&live), &there, Outcome::CheckBothEnds),
            (Nothing, Some(&live), &unknown, Outcome::CheckBothEnds),
            (Nothing, Some(&absent), &unknown, Outcome::CheckBothEnds),
            (Moved, Some(&absent), &Answer::Absent, Outcome::CheckBothEnds),
            (Moved, Some(&absent), &there_away, Outcome::CheckBothEnds),
            (Nothing, Some(&suspended), &Answer::Absent, Outcome::CheckBothEnds),
            (Nothing, Some(&away), &Answer::Incoming(7), Outcome::CheckBothEnds),
            (Nothing, None, &there, Outcome::CheckBothEnds),
            (Nothing, Some(&Guest::Several(vec![3, 4])), &there, Outcome::CheckBothEnds),
        ] {
            assert_eq!(outcome("web", claim, here, there), wanted, "{claim:?} {here:?} {there:?}");
        }
    }
}
