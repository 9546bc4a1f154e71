//! stop: down, also from Primary and from half way, and then nothing that would let the cluster promote it.

use crate::DrbdDisk;
use crate::adm::{PAUSE, drbdadm, is_time_for_another};
use crate::{dmtab, release};
use ocf::cluster::notify::{Notice, own_name};
use ocf::cluster::promotion::{self, Score};
use ocf::drbd::{self, Observed};
use ocf::state::drbd::Role;
use ocf::state::drbd::answers::RoleAnswer;
use ocf::{Call, Output, Result};
use std::thread::sleep;
use std::time::Instant;

/// Takes the resource down. Called also when it seems to be down: what an `up` left half way is then cleared.
pub fn stop(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let target = agent.target(call)?;
    let name = match drbd::name_of(&target, call) {
        Ok(name) => name,
        // Nothing in the configuration, and nothing that is up.
        Err(_) if matches!(drbd::observe(&target, call), Ok(Observed::NoModule | Observed::NotUp)) => {
            promotion::publish(Score::Remove, call);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if !call.change(format_args!("take {name} down")) {
        return Ok(());
    }
    let (mut told, mut cleared) = (false, false);
    loop {
        let began = Instant::now();
        let observed = drbd::observe(&target, call);
        let primary = matches!(&observed, Ok(observed) if is_primary(observed));
        let result = match &observed {
            Ok(Observed::NoModule) => break,
            Ok(Observed::NotUp) if cleared => break,
            Ok(Observed::NotUp) => {
                // Its answer does not matter: there is nothing that it could fail to let go of.
                cleared = true;
                let _ = down(agent, &name, call);
                continue;
            }
            // A state that cannot be read may be any: it is taken down all the same, and success is not believed.
            _ if primary => release::secondary(agent, &name, call),
            _ => down(agent, &name, call),
        };
        cleared = true;
        let complaint = match (&result, &observed) {
            (Ok(output), Ok(_)) if output.succeeded() && is_time_for_another(call, began.elapsed()) => {
                // The next look says what became of it.
                if is_other(&observed, &drbd::observe(&target, call)) {
                    continue;
                }
                "drbdadm succeeded and nothing changed".to_string()
            }
            (_, Err(error)) => error.reason().to_string(),
            (Ok(output), _) => output.complaint(),
            (Err(error), _) => error.reason().to_string(),
        };
        call.log.info(format_args!("{name} is not down yet: {complaint}"));
        if !told {
            told = true;
            let holders = release::holders_of(&name, call);
            if !holders.is_empty() {
                call.log.info(format_args!("{name} is held by {}", holders.join(", ")));
            }
        }
        if !is_time_for_another(call, began.elapsed()) {
            if matches!(drbd::observe(&target, call), Ok(Observed::NoModule | Observed::NotUp)) {
                break;
            }
            let holders = release::holders_of(&name, call);
            if primary || !holders.is_empty() {
                return Err(release::why(&name, &complaint, &holders));
            }
            return Err(ocf::Error::generic(format_args!("{name} cannot be taken down: {complaint}")));
        }
        sleep(PAUSE);
    }
    outdate(agent, &name, call);
    dmtab::remove(agent, &name, call)?;
    promotion::publish(Score::Remove, call);
    Ok(())
}

fn is_primary(observed: &Observed) -> bool {
    match observed {
        Observed::Parts(parts) => parts.iter().any(|part| part.role == Role::Primary),
        Observed::Roles(roles) => roles.contains(&RoleAnswer::Role(Role::Primary)),
        Observed::NoModule | Observed::NotUp => false,
    }
}

fn is_other(before: &Result<Observed>, after: &Result<Observed>) -> bool {
    match (before, after) {
        (Ok(before), Ok(after)) => {
            is_primary(before) != is_primary(after) || matches!(after, Observed::NoModule | Observed::NotUp)
        }
        _ => false,
    }
}

fn down(agent: &DrbdDisk, name: &str, call: &Call) -> Result<Output> {
    let limit = call.remaining() / 2;
    let by_name = drbdadm(agent, call, &["down", name]).and_then(|tool| tool.within(limit).run());
    match by_name {
        Ok(Output { code: Some(0 | 10 | 11 | 16 | 17), .. }) => by_name,
        // Out of the configuration, or drbdadm cannot run: the kernel needs neither.
        other => {
            let past = call.tool("drbdsetup");
            let past = past.and_then(|tool| tool.arg("down").arg(name).within(call.remaining() / 2).run());
            if matches!(&past, Ok(output) if output.succeeded()) { past } else { other }
        }
    }
}

/// Marks data that another node will go on to change as of the past. The disk is detached, so drbdadm can.
fn outdate(agent: &DrbdDisk, name: &str, call: &Call) {
    if !agent.stop_outdates_secondary {
        return;
    }
    let own = own_name(call);
    if own.is_empty() || Notice::of(call).unwrap_or_default().promoted_elsewhere(&own).is_empty() {
        return;
    }
    let run =
        drbdadm(agent, call, &["outdate", name]).and_then(|tool| tool.within(call.remaining() / 2).run());
    match run {
        // 5: it is of the past already, or worse.
        Ok(Output { code: Some(0 | 5), .. }) => {}
        Ok(output) => call.log.warn(format_args!("drbdadm outdate {name}: {}", output.complaint())),
        Err(error) => call.log.warn(format_args!("{name} could not be outdated: {error}")),
    }
}
