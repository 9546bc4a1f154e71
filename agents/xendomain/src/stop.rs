//! stop: an orderly shutdown within its budget, then a destroy, and an answer once nothing holds the disks.

use crate::guest::{self, Guest};
use crate::monitor::{PAUSE, unpause};
use crate::record::{self, Record};
use crate::toolstack::{Toolstack, complaint};
use crate::verdict::{self, Stop};
use crate::{XenDomain, disks, machine, memory, unfinished};
use ocf::state::xen::list::Run;
use ocf::{Call, Error, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two tries of what failed.
const AGAIN: Duration = Duration::from_secs(1);

impl XenDomain {
    /// How long the guest may take to shut down: what the administrator says, else two thirds of the action's time. A
    /// destroy needs the rest.
    pub fn shutdown_budget(&self, remaining: Duration) -> Duration {
        match self.shutdown_timeout {
            Some(seconds) => {
                let destroy = (remaining / 4).max(Duration::from_secs(3)).min(remaining / 2);
                Duration::from_secs(u64::from(seconds)).min(remaining - destroy)
            }
            None => remaining * 2 / 3,
        }
    }
}

/// What is to be done about what is there. A copy that a crash left under another name is only in the way while it
/// holds disks: then nothing can be taken away below it.
pub fn next(name: &str, guest: &Guest, call: &Call) -> Result<Stop> {
    match guest {
        Guest::Absent(copies) if !copies.is_empty() => {
            Ok(guest::kept(name, call)?.map_or(Stop::Done, Stop::Dump))
        }
        _ => Ok(verdict::stop(guest)),
    }
}

/// Stops the guest. Called when it is not known to be stopped.
pub fn stop(agent: &XenDomain, call: &Call) -> Result<()> {
    let name = agent.domain(call)?;
    let key = agent.key(call);
    let mut record = record::read(call, &key);
    let unfinished = record.as_ref().is_some_and(|record| record.id == 0);
    let budget = agent.shutdown_budget(call.remaining());
    let mut asked = false;
    let mut unpaused = unfinished || budget.is_zero();
    let mut last = String::new();
    let mut seen = Vec::new();
    loop {
        let looked = guest::look(&name, record.as_ref(), call)
            .and_then(|guest| Ok((next(&name, &guest, call)?, guest)));
        let mut looked_at = None;
        let step = match looked {
            Ok((step, guest)) => {
                looked_at = Some(guest.clone());
                seen.extend(guest.ids());
                if let Guest::Dying(id) = guest {
                    let left = disks::left_of(call, id).unwrap_or_default().join(", ");
                    let why = machine::why_it_dies_slowly(call);
                    last = format!("what is left of it (domain {id}) is dying {left}{why}");
                }
                if let Guest::Live(id) = guest
                    && !unfinished
                    && !call.dry_run
                    && record.as_ref().is_none_or(|record| record.id != id)
                {
                    record = Some(note(agent, &name, &key, id, call));
                }
                step
            }
            Err(error) if call.dry_run => return Err(error),
            Err(error) => {
                last = error.reason().to_string();
                Stop::Again
            }
        };
        if call.dry_run && step != Stop::Done {
            call.change(format_args!("stop guest {name}: {step:?}"));
            return Ok(());
        }
        let held = if step == Stop::Done { held_by(&seen, call) } else { None };
        let step = if held.is_some() { Stop::Again } else { step };
        last = held.unwrap_or(last);
        let done = match &step {
            Stop::Done => {
                if let Some(guest) = &looked_at {
                    unfinished::finish(agent, &name, guest, call);
                }
                record::remove(call, &key);
                memory::balance(agent, call);
                return Ok(());
            }
            &Stop::ShutDown(id) if !asked && !budget.is_zero() => {
                asked = true;
                shut_down(agent, &name, id, budget, call)
            }
            // A paused guest cannot hear; once it goes on, it is asked.
            &Stop::Unpause(id) if !unpaused => {
                unpaused = true;
                unpause(&name, id, call)
            }
            &Stop::Dump(id) => {
                dump(agent, &name, id, call);
                destroy(&name, id, call)
            }
            &(Stop::ShutDown(id) | Stop::Unpause(id) | Stop::Destroy(id)) => destroy(&name, id, call),
            Stop::Again => {
                sleep(PAUSE.min(call.remaining() / 4));
                Ok(())
            }
        };
        // What was done is looked at, however late it is.
        let mut look_again =
            matches!(step, Stop::ShutDown(_) | Stop::Unpause(_) | Stop::Destroy(_) | Stop::Dump(_));
        if let Err(error) = done {
            last = error.reason().to_string();
            call.log.warn(&last);
            look_again = false;
        }
        if call.remaining() < AGAIN && !look_again {
            return Err(Error::generic(format_args!("guest {name} is not stopped: {}", last.trim_end())));
        }
    }
}

/// Writes down which domain it is now: a reboot gives it another number, and its disks outlive its name.
pub fn note(agent: &XenDomain, name: &str, key: &str, id: u32, call: &Call) -> Record {
    let found = Record { name: name.into(), id, memory_managed: agent.allow_mem_management };
    if let Err(error) = record::write(call, key, &found) {
        call.log.warn(error);
    }
    found
}

/// What still holds the disks of the domains that were there when stop began. None: nothing.
fn held_by(seen: &[u32], call: &Call) -> Option<String> {
    seen.iter().find_map(|id| match disks::left_of(call, *id) {
        Ok(left) if left.is_empty() => None,
        Ok(left) => Some(format!("{} is still held", left.join(", "))),
        Err(error) => Some(error.reason().to_string()),
    })
}

/// Asks the guest to shut down and waits for it.
fn shut_down(agent: &XenDomain, name: &str, id: u32, budget: Duration, call: &Call) -> Result<()> {
    let until = call.within(budget);
    let tool = Toolstack::find(call)?;
    call.step(&format!("shutting down guest {name}"));
    call.log.info(format_args!("guest {name} (domain {id}) has {} s to shut down", budget.as_secs()));
    let left = || until.saturating_duration_since(Instant::now());
    let output = if agent.shutdown_acpi {
        tool.on(call, left(), &["trigger"], id, &["power"])
    } else if tool == Toolstack::Xl {
        // Without drivers of Xen's own it gets the power button.
        match tool.on(call, left(), &["shutdown", "-F"], id, &[]) {
            // xl of Xen 4.1 has no such option.
            Ok(output) if output.code == Some(2) => tool.on(call, left(), &["shutdown"], id, &[]),
            other => other,
        }
    } else {
        tool.on(call, left(), &["shutdown"], id, &[])
    };
    let complaint = match output {
        Ok(output) if output.succeeded() => None,
        Ok(output) => Some(complaint(&output)),
        Err(error) => Some(error.reason().to_string()),
    };
    if let Some(complaint) = &complaint {
        call.log.warn(format_args!("{} shutdown of guest {name}: {complaint}", tool.name()));
    }
    while Instant::now() < until {
        match guest::look(name, None, call) {
            Ok(Guest::Live(now)) if now == id => {
                if complaint.is_some() {
                    // It was not even asked.
                    break;
                }
            }
            // Gone, or ended, or started again by its xl process: the next look decides.
            Ok(_) => return Ok(()),
            Err(error) => call.log.debug(error),
        }
        sleep(PAUSE * 2);
    }
    call.log.warn(format_args!("guest {name} (domain {id}) did not shut down in time and is destroyed"));
    Ok(())
}

/// Saves the memory of a crashed guest, if somebody wants it; a failure is no reason not to stop.
fn dump(agent: &XenDomain, name: &str, id: u32, call: &Call) {
    if agent.crash_dump_directory.is_empty() {
        return;
    }
    let file = agent.crash_dump_directory.as_path().join(format!("{name}-{id}.core"));
    let Ok(tool) = Toolstack::find(call) else { return };
    call.step(&format!("saving the memory of guest {name}"));
    let (id, file) = (id.to_string(), call.host.path(&file).into_owned());
    let result = tool.run(call, call.remaining() / 2, &["dump-core".as_ref(), id.as_ref(), file.as_os_str()]);
    match result {
        Ok(output) if output.succeeded() => {}
        Ok(output) => call.log.warn(format_args!("dump-core of guest {name}: {}", complaint(&output))),
        Err(error) => call.log.warn(format_args!("dump-core of guest {name}: {error}")),
    }
}

/// Destroys a domain and waits until it and its disks' back ends have gone. Another domain may have its name by then.
pub fn destroy(name: &str, id: u32, call: &Call) -> Result<()> {
    let tool = Toolstack::find(call)?;
    call.step(&format!("destroying guest {name}"));
    let mut last = String::new();
    loop {
        match tool.on(call, call.remaining() / 2, &["destroy"], id, &[]) {
            Ok(output) if output.succeeded() => {}
            Ok(output) => last = format!("{} destroy {id}: {}", tool.name(), complaint(&output)),
            Err(error) => last = error.reason().to_string(),
        }
        let next = Instant::now() + AGAIN;
        while Instant::now() < next {
            let remains = match what_is_left(id, tool, call) {
                Ok(left) if left.is_empty() => return Ok(()),
                Ok(left) => left,
                Err(error) => error.reason().to_string(),
            };
            let why = format!("domain {id} of guest {name} is not gone: {remains} {last}");
            if call.remaining() < AGAIN {
                return Err(Error::generic(why));
            }
            call.obstacle(why);
            sleep(PAUSE.min(call.remaining() / 8));
        }
    }
}

/// What is there of a domain; nothing if it is gone.
fn what_is_left(id: u32, tool: Toolstack, call: &Call) -> Result<String> {
    let disks = disks::left_of(call, id)?;
    if !disks.is_empty() {
        return Ok(format!("{} is left", disks.join(", ")));
    }
    let domains = tool.list(call)?;
    Ok(domains.iter().find(|domain| domain.id == id).map_or_else(String::new, |domain| match domain.run {
        Run::Dying => format!("it is dying{}", machine::why_it_dies_slowly(call)),
        run => format!("{run:?} is left"),
    }))
}
