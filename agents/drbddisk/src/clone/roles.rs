//! promote and demote.
//!
//! Just after a peer's death DRBD still shows it as Primary, for ten seconds by default, but the first attempt to promote
//! waits for the ping and succeeds. So promote tries and does not decide from what is shown.

use super::rules;
use crate::DrbdDisk;
use crate::adm::{PAUSE, drbdadm, is_time_for_another};
use crate::refusal::{Refusal, refusal};
use ocf::cluster::notify::{Notice, own_name};
use ocf::cluster::promotion;
use ocf::drbd::target::Target;
use ocf::drbd::verdict::{self, Verdict};
use ocf::drbd::{self, Observed};
use ocf::state::drbd::{Connection, Role};
use ocf::{Call, Error, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A promote that fails takes at least this long: the cluster tries again at once.
const FAILED_PROMOTE: Duration = Duration::from_secs(15);

/// Makes the instance Primary.
pub fn promote(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let began = Instant::now();
    rules::check(agent, call)?;
    let target = agent.target(call)?;
    let name = drbd::name_of(&target, call)?;
    if !call.change(format_args!("run drbdadm primary {name}")) {
        return Ok(());
    }
    let result = rules::check_two_primaries(&name, call).and_then(|()| try_to(agent, &target, &name, call));
    if result.is_err() {
        let rest = FAILED_PROMOTE.saturating_sub(began.elapsed());
        sleep(rest.min(call.remaining().saturating_sub(Duration::from_millis(300))));
    }
    result
}

fn try_to(agent: &DrbdDisk, target: &Target, name: &str, call: &Call) -> Result<()> {
    let mut tried = false;
    loop {
        let began = Instant::now();
        match role(&drbd::observe(target, call)?)? {
            Some(Role::Primary) => {
                if agent.connect_only_after_promote {
                    connect(name, call);
                }
                return Ok(());
            }
            None => {
                return Err(Error::generic(format_args!(
                    "{name} is not up on this node: it must be started first"
                )));
            }
            Some(_) => {}
        }
        if tried && agent.fail_promote_early_if_peer_primary && is_unexpected(target, call) {
            return Err(Error::generic(format_args!(
                "{name} is Primary on a node that the cluster does not know to be promoted: demote it there"
            )));
        }
        tried = true;
        let output = drbdadm(call, &["primary", name])?.run()?;
        let why = if output.succeeded() {
            if role(&drbd::observe(target, call)?)? == Some(Role::Primary) {
                continue;
            }
            format!("drbdadm primary succeeded, but {name} is not Primary")
        } else {
            format!("{name} cannot become Primary, drbdadm: {}", output.complaint())
        };
        call.log.info(&why);
        call.obstacle(&why);
        match refusal(&output) {
            Refusal::NoData => {
                return Err(Error::generic(format_args!(
                    "{name} has no UpToDate data here: connect it to a good copy, or wait until it is up to date"
                )));
            }
            Refusal::NotDefined => {
                return Err(Error::installed(format_args!(
                    "{name} is not in this node's DRBD configuration"
                )));
            }
            Refusal::PeerIsPrimary if !is_time_for_another(call, began.elapsed()) => {
                return Err(Error::generic(format_args!(
                    "{name} is Primary on another node: demote it there first"
                )));
            }
            _ if !is_time_for_another(call, began.elapsed()) => return Err(Error::generic(why)),
            _ => sleep(PAUSE),
        }
    }
}

/// The role of all of the resource: Primary only if every part of it is. None: it is not up.
fn role(observed: &Observed) -> Result<Option<Role>> {
    let all = |primary: bool| Some(if primary { Role::Primary } else { Role::Secondary });
    Ok(match observed {
        Observed::NoModule | Observed::NotUp => None,
        Observed::Parts(parts) => all(parts.iter().all(|part| part.role == Role::Primary)),
        Observed::Roles(roles) => match verdict::of_roles(roles).map_err(Error::generic)? {
            Verdict::Unconfigured => None,
            verdict => all(matches!(verdict, Verdict::Primary(_))),
        },
    })
}

fn connect(name: &str, call: &Call) {
    let run = drbdadm(call, &["adjust", name]).and_then(|tool| tool.within(call.remaining() / 2).run());
    let complaint = match run {
        Ok(output) if output.succeeded() => return,
        Ok(output) => output.complaint(),
        Err(error) => error.reason().to_string(),
    };
    // It is Primary, which was asked for.
    call.log.warn(format_args!("{name} is promoted, but drbdadm adjust: {complaint}"));
}

/// Whether a connected node is Primary although the cluster knows no other promoted instance.
fn is_unexpected(target: &Target, call: &Call) -> bool {
    let observed = drbd::observe(target, call).ok().and_then(|observed| observed.whole());
    let other_primary = observed.is_some_and(|resource| {
        resource
            .peers
            .iter()
            .any(|peer| peer.connection == Connection::Connected && peer.role == Role::Primary)
    });
    other_primary
        && rules::promoted_max(call) == 1
        && match Notice::of(call) {
            Some(notice) => notice.promoted_elsewhere(&own_name(call)).is_empty(),
            None => matches!(promotion::is_somewhere(call), Ok(false)),
        }
}

/// Makes the instance Secondary, or says who is in the way.
pub fn demote(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let target = agent.target(call)?;
    let name = drbd::name_of(&target, call)?;
    crate::disk::stop::stop(&target, &name, call)
}
