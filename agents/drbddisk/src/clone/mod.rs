//! The promotable clone: an instance on each node keeps the resource up, and the cluster promotes one of them.

mod notify;
mod roles;
pub mod rules;
mod start;
mod stop;
mod unfence;

pub use notify::notify;
pub use roles::{demote, promote};
pub use start::{reload, start};
pub use stop::stop;

use crate::DrbdDisk;
use ocf::cluster::promotion::{self, Score};
use ocf::drbd::score::{self, Reasoned, Scores};
use ocf::drbd::verdict::{self, Verdict};
use ocf::drbd::{self, Observed};
use ocf::state::drbd::answers::RoleAnswer;
use ocf::state::drbd::{Resource, Role};
use ocf::{Call, Dialect, Error, Result, State};

/// Whether this call is about an instance of a promotable clone.
///
/// Pacemaker gives the number of promoted instances with every action of such a clone and of nothing else. Its
/// `crm_resource --force-start` and the like give what the configuration has, which need be no more than promotable=true.
/// By hand the same is said by the name drbd, or with one of these variables.
pub fn is_meant(call: &Call) -> bool {
    let clone_only = matches!(call.action.as_str(), "promote" | "demote" | "notify");
    let promotable = call.meta("promoted_max").or_else(|| call.meta("master_max")).is_some()
        || call.meta("promotable").as_deref().and_then(ocf::params::parse_bool) == Some(true);
    let may_be = matches!(call.dialect, Dialect::Ocf | Dialect::ByHand);
    clone_only || (may_be && (call.called == "drbd" || promotable))
}

/// What the instance is. A monitor of the cluster's also says what it would be worth promoted.
pub fn monitor(agent: &DrbdDisk, call: &Call) -> Result<State> {
    let observed = drbd::observe(&agent.target(call)?, call)?;
    call.log.trace(format_args!("observed: {observed:?}"));
    let (role, resource) = match (&observed, observed.whole()) {
        (_, Some(resource)) => (resource.role, Some(resource)),
        (Observed::Roles(roles), None) => match verdict::of_roles(roles).map_err(Error::generic)? {
            Verdict::Unconfigured => return Ok(State::Stopped),
            Verdict::Secondary => (Role::Secondary, None),
            Verdict::Primary(_) | Verdict::Mixed => (Role::Primary, None),
        },
        _ => return Ok(State::Stopped),
    };
    if role == Role::Unknown {
        return Err(Error::generic(format_args!(
            "DRBD does not know this node's role in {}",
            agent.drbd_resource
        )));
    }
    call.because(format_args!("{} is {} on this node", agent.drbd_resource, role.word()));
    let Some(resource) = resource else {
        call.log.warn("only the role is known, nothing of the data: the promotion score stays as it is");
        return Ok(if role == Role::Primary { State::Promoted } else { State::Running });
    };
    if call.action == "monitor" {
        let (score, why) = score(agent, &resource, call);
        call.because(format_args!(
            "{} is {} on this node; promotion: {score}, because {why}",
            agent.drbd_resource,
            role.word()
        ));
        promotion::publish(score, call);
        unfence::when_all_is_well(agent, &resource, call);
    }
    let primary = role == Role::Primary;
    Ok(match verdict::trouble(&resource).or_else(|| missing_node(&resource, call)) {
        Some(why) if agent.report_degraded && primary => State::DegradedPromoted(why),
        Some(why) if agent.report_degraded => State::Degraded(why),
        trouble => {
            if let Some(why) = trouble.filter(|_| call.action == "monitor") {
                call.log.warn(why);
            }
            if primary { State::Promoted } else { State::Running }
        }
    })
}

/// What the instance of a clone would answer, for people who ask by hand: the call does not tell which of the two it is.
pub fn in_words(agent: &DrbdDisk, observed: &Observed, call: &Call) -> String {
    let named = !matches!(agent.drbd_resource.to_str(), None | Some("" | "all"));
    let resource = if named && call.explains() { observed.whole() } else { None };
    let Some(resource) = resource.filter(|resource| resource.role != Role::Unknown) else {
        return String::new();
    };
    let word = if resource.role == Role::Primary { "promoted" } else { "running, unpromoted" };
    let (score, why) = score(agent, &resource, call);
    format!("; an instance of a clone: {word}, {score}, because {why}")
}

/// Whether any part of it is Primary.
fn is_primary(observed: &Observed) -> bool {
    match observed {
        Observed::Parts(parts) => parts.iter().any(|part| part.role == Role::Primary),
        Observed::Roles(roles) => roles.contains(&RoleAnswer::Role(Role::Primary)),
        Observed::NoModule | Observed::NotUp => false,
    }
}

/// A device that the kernel has and nobody can open.
fn missing_node(resource: &Resource, call: &Call) -> Option<String> {
    let mut nodes = resource.volumes.iter().map(|volume| format!("/dev/drbd{}", volume.minor));
    let node = nodes.find(|node| !call.host.exists(node))?;
    Some(format!("{node} of {} is missing although DRBD has it: is udev running?", resource.name))
}

/// What this instance is worth promoted.
pub fn score(agent: &DrbdDisk, resource: &Resource, call: &Call) -> Reasoned {
    let unexpected = || {
        let several = rules::promoted_max(call) > 1;
        // Who cannot be asked does not make a Primary unexpected.
        !several && matches!(promotion::is_somewhere(call), Ok(false))
    };
    if score::is_taken(resource) {
        match agent.remove_master_score_if_peer_primary.as_str() {
            "unexpected" if unexpected() => {
                call.log.warn(format_args!(
                    "{} is Primary on a node that the cluster does not know to be promoted",
                    resource.name
                ));
                return (Score::Remove, "a node is Primary that the cluster does not know to be promoted");
            }
            "unexpected" => {}
            word if ocf::params::parse_bool(word) == Some(true) => {
                return (Score::Remove, "a connected peer is Primary, and a peer has good data");
            }
            _ => {}
        }
    }
    let by_drbd = (agent.score_source == "drbd").then(|| score::by_drbd(resource)).flatten();
    let found = by_drbd.unwrap_or_else(|| score::by_table(resource, scores(agent, call)));
    call.log.trace(format_args!("promotion: {}, because {}", found.0, found.1));
    found
}

fn scores(agent: &DrbdDisk, call: &Call) -> Scores {
    Scores::parse(&agent.adjust_master_score).unwrap_or_else(|| {
        call.log.warn(format_args!(
            "adjust_master_score is '{}', not four numbers of which none is less than the one before it: the default \
             counts",
            ocf::printable(agent.adjust_master_score.as_bytes())
        ));
        Scores::DEFAULT
    })
}

/// The score after a change, if all of the state can be read. Who does not know its role is worth what it was.
fn update_score(agent: &DrbdDisk, call: &Call) -> Option<Resource> {
    let resource = agent.target(call).and_then(|target| drbd::observe(&target, call)).ok()?.whole()?;
    if resource.role == Role::Unknown {
        return None;
    }
    promotion::publish(score(agent, &resource, call).0, call);
    Some(resource)
}
