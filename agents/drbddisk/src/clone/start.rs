//! start and reload: from not up to Secondary, attached and connecting.

use super::{is_primary, rules, update_score};
use crate::DrbdDisk;
use crate::adm::{PAUSE, drbdadm, is_time_for_another};
use crate::dmtab::{self, Table};
use crate::release;
use ocf::cluster::notify::{Notice, own_name};
use ocf::drbd::target::Target;
use ocf::drbd::{self, Kernel, Observed};
use ocf::state::drbd::{Connection, Resource};
use ocf::{Call, Error, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the connection is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Brings the resource up as Secondary, whatever it was.
pub fn start(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let target = agent.target(call)?;
    let name = drbd::name_of(&target, call)?;
    if !call.change(format_args!("bring {name} up as Secondary")) {
        return Ok(());
    }
    load_module(&name, call)?;
    rules::check_version(agent, call)?;
    rules::check_two_primaries(&name, call)?;
    if let Some(table) = Table::of(agent, &name, call)? {
        dmtab::create(&table, call)?;
    }
    let (mut tries, mut resized) = (0, false);
    loop {
        let began = Instant::now();
        let observed = drbd::observe(&target, call)?;
        let problem = if is_primary(&observed) {
            // An instance starts unpromoted. It may be in use, or have been promoted by DRBD for whoever opened it.
            match release::secondary(&name, call) {
                Ok(output) if output.succeeded() => continue_if_time(call, &name)?,
                Ok(output) => output.complaint(),
                Err(error) => error.reason().to_string(),
            }
        } else {
            if !resized && matches!(observed, Observed::NotUp | Observed::NoModule) {
                resized = true;
                // The disk may have grown while the resource was down. Nothing depends on it.
                let _ = run(&["check-resize", &name], call);
            }
            tries += 1;
            match attach(agent, &name, call) {
                Ok(()) => break,
                Err(complaint) if tries > 1 => return Err(not_up(&name, &complaint, call)),
                Err(complaint) => complaint,
            }
        };
        call.log.info(format_args!("{name} is not Secondary yet: {problem}"));
        call.obstacle(&problem);
        if !is_time_for_another(call, began.elapsed()) {
            if is_primary(&observed) {
                return Err(release::why(&name, &problem, &release::holders_of(&name, call)));
            }
            return Err(not_up(&name, &problem, call));
        }
        sleep(PAUSE);
    }
    wait_for_nodes(&target, &name, call)?;
    if !agent.connect_only_after_promote {
        connect(agent, &target, &name, call);
    }
    update_score(agent, call);
    Ok(())
}

/// A success that is looked at again, unless the device is promoted again and again until the end.
fn continue_if_time(call: &Call, name: &str) -> Result<String> {
    if is_time_for_another(call, Duration::ZERO) {
        return Ok("it has just become Secondary".into());
    }
    Err(Error::generic(format_args!("{name} becomes Primary again and again: who opens its device?")))
}

fn load_module(name: &str, call: &Call) -> Result<()> {
    if drbd::kernel(call) != Kernel::Absent {
        return Ok(());
    }
    let failed = |why: String| {
        Err(Error::installed(format_args!(
            "{name} needs the kernel module drbd, which cannot be loaded: {why}"
        )))
    };
    match call.tool("modprobe").and_then(|tool| tool.arg("drbd").within(call.remaining() / 2).run()) {
        Ok(output) if !output.succeeded() => failed(output.complaint()),
        Err(error) => failed(error.reason().to_string()),
        Ok(_) if drbd::kernel(call) == Kernel::Absent => failed("modprobe did nothing".into()),
        Ok(_) => Ok(()),
    }
}

/// Runs drbdadm; the error is what it complained about.
fn run(words: &[&str], call: &Call) -> Result<(), String> {
    let result = drbdadm(call, words).and_then(|tool| tool.within(call.remaining() / 2).run());
    let complaint = match result {
        Ok(output) if output.succeeded() => return Ok(()),
        Ok(output) => output.complaint(),
        Err(error) => error.reason().to_string(),
    };
    call.log.info(format_args!("drbdadm {}: {complaint}", words.join(" ")));
    Err(complaint)
}

/// Makes the resource and its devices, and attaches their disks. `adjust` does what is missing, also after an `up` that
/// went half way.
fn attach(agent: &DrbdDisk, name: &str, call: &Call) -> Result<(), String> {
    if drbd::kernel(call) == Kernel::New {
        return run(&["adjust", "--skip-net", name], call);
    }
    if !agent.connect_only_after_promote {
        return run(&["adjust", name], call);
    }
    // 8.4 cannot leave out the connection in adjust, and before it there were no such steps at all.
    let _ = run(&["new-resource", name], call);
    let _ = run(&["new-minor", name], call);
    run(&["attach", name], call)
}

fn not_up(name: &str, complaint: &str, call: &Call) -> Error {
    match drbd::missing_disks(name, call).first() {
        Some(disk) => Error::generic(format_args!("the disk {disk} of {name} does not exist: activate it")),
        None => Error::generic(format_args!("{name} could not be brought up, drbdadm: {complaint}")),
    }
}

/// Whoever uses the device needs its node, which udev makes.
fn wait_for_nodes(target: &Target, name: &str, call: &Call) -> Result<()> {
    loop {
        let observed = drbd::observe(target, call)?;
        let Some(resource) = observed.whole() else {
            return match observed {
                Observed::Roles(_) => Ok(()),
                _ => Err(Error::generic(format_args!("drbdadm brought {name} up, but it is not up"))),
            };
        };
        let Some(why) = super::missing_node(&resource, call) else { return Ok(()) };
        if !is_time_for_another(call, Duration::ZERO) {
            return Err(Error::generic(why));
        }
        sleep(LOOK.min(call.remaining() / 4));
    }
}

/// Connects, first to the node that the cluster calls promoted: its data is the newest. That nobody is there is no
/// failure.
fn connect(agent: &DrbdDisk, target: &Target, name: &str, call: &Call) {
    let wait: Option<u64> = agent.wfc_timeout.parse().ok();
    let own = own_name(call);
    if drbd::kernel(call) == Kernel::New {
        let notice = Notice::of(call).unwrap_or_default();
        for peer in notice.promoted_elsewhere(&own).into_iter().filter(|peer| is_host(peer)) {
            // DRBD may know the node by another name than the cluster; then the next step finds it.
            if run(&["adjust", &format!("{name}:{peer}")], call).is_ok() {
                wait_for_peers(target, Some(peer), wait, call);
            }
        }
        if run(&["adjust", name], call).is_err() {
            call.log.warn(format_args!("{name} is up, but not all of its connections could be set up"));
        }
    }
    wait_for_peers(target, None, wait, call);
}

/// What can be a node's name in an argument.
fn is_host(name: &str) -> bool {
    !name.starts_with('-') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Waits for the connection to one peer, or to all that may still come.
fn wait_for_peers(target: &Target, peer: Option<&str>, seconds: Option<u64>, call: &Call) {
    let Some(seconds) = seconds else { return };
    // There has to be time for the score, too.
    let until = call.within(Duration::from_secs(seconds).min(call.remaining() / 2));
    let waits = |resource: &Resource| {
        let wanted = |name: &Option<String>| peer.is_none_or(|peer| name.as_deref() == Some(peer));
        let coming = |connection| !matches!(connection, Connection::Connected | Connection::StandAlone);
        resource.peers.iter().any(|peer| wanted(&peer.name) && coming(peer.connection))
    };
    while Instant::now() < until {
        match drbd::observe(target, call).map(|observed| observed.whole()) {
            Ok(Some(resource)) if waits(&resource) => sleep(LOOK.min(call.remaining() / 4)),
            _ => return,
        }
    }
}

/// Takes over what changed in the configuration and in the scores.
pub fn reload(agent: &DrbdDisk, call: &Call) -> Result<()> {
    let target = agent.target(call)?;
    let name = drbd::name_of(&target, call)?;
    if matches!(drbd::observe(&target, call)?, Observed::NoModule | Observed::NotUp) {
        return Err(Error::generic(format_args!("{name} is not up: start it")));
    }
    if !call.change(format_args!("run drbdadm adjust {name}")) {
        return Ok(());
    }
    // A reload that fails is a failed start to the cluster: what could not be changed stays as it is.
    if let Err(complaint) = run(&["adjust", &name], call) {
        call.log.warn(format_args!("drbdadm adjust {name}: {complaint}"));
    }
    update_score(agent, call);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_nodes_become_arguments() {
        assert!(is_host("node-1.example.org"));
        for bad in ["-c", "a b", "a;b", "a:b", "$(id)"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
