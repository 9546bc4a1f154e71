//! start: from Secondary to Primary.
//!
//! Just after a peer's death DRBD still believes it to be Primary, for as long as a ping takes to time out: about ten
//! seconds by default. So the state that it shows then decides nothing; it is asked to promote, again and again.

use crate::DrbdDisk;
use crate::adm::{PAUSE, drbdadm, is_time_for_another};
use crate::dmtab::{self, Table};
use crate::refusal::{Refusal, refusal};
use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::drbd::{self};
use ocf::{Call, Error, Output, Result};
use std::thread::sleep;
use std::time::Instant;

/// Makes the target Primary. Called when it is not.
pub fn start(agent: &DrbdDisk, target: &Target, call: &Call) -> Result<()> {
    let name = drbd::name_of(target, call)?;
    let mut adjusted = None;
    let made = Table::of(agent, &name, call)?.map_or(Ok(false), |table| dmtab::create(&table, call))?;
    // Without its disk, whoever brought the resource up before could not attach it.
    if made || (agent.adjust && drbd::verdict(target, call)? == Verdict::Unconfigured) {
        adjusted = adjust(&name, call)?;
    }
    if !call.change(format_args!("run drbdadm primary {name}")) {
        return Ok(());
    }
    let mut tries = 0;
    loop {
        let began = Instant::now();
        let output = drbdadm(call, &["primary", &name])?.run()?;
        if output.succeeded() {
            return Ok(());
        }
        let refusal = refusal(&output);
        call.log.info(format_args!("drbdadm primary {name}: {} ({refusal:?})", output.complaint()));
        call.obstacle(output.complaint());
        let again = match refusal {
            Refusal::NoData | Refusal::NotDefined | Refusal::NoModule => false,
            Refusal::PeerIsPrimary => true,
            Refusal::NotUp | Refusal::Other => {
                tries += 1;
                tries < agent.tries
            }
        };
        if !again || !is_time_for_another(call, began.elapsed()) {
            return Err(why(refusal, &name, &output, adjusted.as_deref(), call));
        }
        sleep(PAUSE);
    }
}

/// Brings the resource up. The answer is what drbdadm complained about.
fn adjust(name: &str, call: &Call) -> Result<Option<String>> {
    if !call.change(format_args!("run drbdadm adjust {name}")) {
        return Ok(None);
    }
    let output = drbdadm(call, &["adjust", name])?.within(call.remaining() / 2).run()?;
    if output.succeeded() {
        return Ok(None);
    }
    let complaint = output.complaint();
    call.log.warn(format_args!("drbdadm adjust {name}: {complaint}"));
    Ok(Some(complaint))
}

fn why(refusal: Refusal, name: &str, output: &Output, adjusted: Option<&str>, call: &Call) -> Error {
    if matches!(refusal, Refusal::NoData | Refusal::NotUp)
        && let Some(disk) = drbd::missing_disks(name, call).first()
    {
        return Error::generic(format_args!(
            "the disk {disk} of {name} does not exist: activate it, then drbdadm adjust {name}"
        ));
    }
    match refusal {
        Refusal::NoData => Error::generic(format_args!(
            "{name} has no UpToDate data here: connect it to a good copy, or wait until it is up to date"
        )),
        Refusal::PeerIsPrimary => {
            Error::generic(format_args!("{name} is Primary on another node: stop it there first"))
        }
        Refusal::NotUp => match adjusted {
            Some(complaint) => {
                Error::generic(format_args!("{name} could not be brought up, drbdadm adjust: {complaint}"))
            }
            None => {
                Error::generic(format_args!("{name} is not up: run drbdadm up {name}, or set adjust=yes"))
            }
        },
        Refusal::NotDefined => {
            Error::installed(format_args!("{name} is not in this node's DRBD configuration"))
        }
        Refusal::NoModule => {
            Error::installed(format_args!("{name} needs the kernel module drbd, which cannot be loaded"))
        }
        Refusal::Other => Error::generic(format_args!("drbdadm primary {name}: {}", output.complaint())),
    }
}
