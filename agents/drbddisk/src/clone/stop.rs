//! stop: down, also from Primary and from half way, and then nothing that would let the cluster promote it.

use super::is_primary;
use crate::DrbdDisk;
use crate::adm::{PAUSE, drbdadm, is_time_for_another};
use crate::{dmtab, release};
use ocf::cluster::notify::{Notice, own_name};
use ocf::cluster::promotion::{self, Score};
use ocf::drbd::target::Target;
use ocf::drbd::{self, Observed};
use ocf::{Call, Error, Output, Result};
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
    match drbd::observe(&target, call) {
        Ok(Observed::NoModule) => {}
        Ok(Observed::NotUp) => {
            // Its answer does not matter: there is nothing that it could fail to let go of.
            let _ = down(&name, call);
        }
        // A state that cannot be read may be any: it is taken down all the same.
        _ => take_down(&target, &name, call)?,
    }
    outdate(agent, &name, call);
    dmtab::remove(agent, &name, call)?;
    promotion::publish(Score::Remove, call);
    Ok(())
}

fn take_down(target: &Target, name: &str, call: &Call) -> Result<()> {
    let mut told = false;
    loop {
        let began = Instant::now();
        let Err(complaint) = step(target, name, call) else { return Ok(()) };
        call.log.info(format_args!("{name} is not down yet: {complaint}"));
        if !told {
            told = true;
            let holders = release::holders_of(name, call);
            if !holders.is_empty() {
                let held = format!("{name} is held by {}", holders.join(", "));
                call.log.info(&held);
                call.obstacle(held);
            }
        }
        if !is_time_for_another(call, began.elapsed()) {
            let holders = release::holders_of(name, call);
            return Err(Error::generic(if holders.is_empty() {
                format!("{name} cannot be taken down: {complaint}")
            } else {
                format!("{name} cannot be taken down, held by {}", holders.join(", "))
            }));
        }
        sleep(PAUSE);
    }
}

/// Secondary, down, and a look. The error is what it failed at.
fn step(target: &Target, name: &str, call: &Call) -> Result<(), String> {
    let done = |result: Result<Output>| match result {
        Ok(output) if output.succeeded() => Ok(()),
        Ok(output) => Err(output.complaint()),
        Err(error) => Err(error.reason().to_string()),
    };
    if drbd::observe(target, call).is_ok_and(|observed| is_primary(&observed)) {
        done(release::secondary(name, call))?;
    }
    done(down(name, call))?;
    match drbd::observe(target, call) {
        Ok(Observed::NoModule | Observed::NotUp) => Ok(()),
        Ok(_) => Err("drbdadm down succeeded, but it is still up".into()),
        Err(error) => Err(error.reason().to_string()),
    }
}

fn down(name: &str, call: &Call) -> Result<Output> {
    let limit = call.remaining() / 2;
    let by_name = drbdadm(call, &["down", name]).and_then(|tool| tool.within(limit).run());
    match by_name {
        Ok(ref output) if release::is_of_the_kernel(output) => by_name,
        // Out of the configuration, which may be broken, or drbdadm cannot run: the kernel needs neither.
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
    let run = drbdadm(call, &["outdate", name]).and_then(|tool| tool.within(call.remaining() / 2).run());
    match run {
        // 5: it is of the past already, or worse.
        Ok(Output { code: Some(0 | 5), .. }) => {}
        Ok(output) => call.log.warn(format_args!("drbdadm outdate {name}: {}", output.complaint())),
        Err(error) => call.log.warn(format_args!("{name} could not be outdated: {error}")),
    }
}
