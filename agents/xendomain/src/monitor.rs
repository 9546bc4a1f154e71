//! monitor, and the looks before and after start and stop.

use crate::guest::{self, Guest};
use crate::record::{self, Record};
use crate::store::Store;
use crate::verdict::{self, Answer, Circumstances, Start, Stop};
use crate::{XenDomain, disks, machine, stop, toolstack::Toolstack, unfinished};
use ocf::cluster::attributes;
use ocf::{Call, Dialect, Error, Result, State};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two looks at a guest that is between two states.
pub const PAUSE: Duration = Duration::from_millis(250);
/// What has to be left for an answer.
const WORD: Duration = Duration::from_millis(1500);

pub fn monitor(agent: &XenDomain, call: &Call) -> Result<State> {
    // Somebody believes that it runs, and says so again and again.
    let recurring = call.dialect == Dialect::Ocf && !call.probe && call.action == "monitor";
    if let Some(why) = machine::why_not_xen(call) {
        return match call.action.as_str() {
            "start" => Err(Error::installed(format_args!("{why}: boot it with Xen"))),
            _ if recurring => Err(Error::generic(format_args!("{why}: boot it with Xen"))),
            // Nothing can run.
            _ => Ok(State::Stopped),
        };
    }
    let name = agent.domain(call)?;
    let record = record::read(call, &agent.key(call));
    let mut now = agent.circumstances();
    match call.action.as_str() {
        "start" => {
            let guest = guest::look(&name, record.as_ref(), call)?;
            now.receiving = is_receiving(&name, &guest, call);
            match verdict::start(&name, &guest, &now) {
                Start::Runs => return Ok(State::Running),
                Start::Refuse(why) => return Err(Error::generic(why)),
                Start::Create | Start::Unpause(_) | Start::Destroy(_) | Start::Again => {
                    return Ok(State::Stopped);
                }
            }
        }
        "stop" => {
            let guest = guest::look(&name, record.as_ref(), call)?;
            let done = stop::next(&name, &guest, call)? == Stop::Done;
            return Ok(if done { State::Stopped } else { State::Running });
        }
        _ => {}
    }
    let began = Instant::now();
    let mut waiting = None;
    let mut unpaused = false;
    loop {
        let guest = guest::look(&name, record.as_ref(), call)?;
        now.waited = if call.remaining() < WORD { Duration::MAX } else { began.elapsed() };
        if let Guest::Absent(_) = guest {
            now.may_return = recurring && machine::somebody_restarts(call, &name);
        }
        if let Guest::Away(id) | Guest::ShutDown(id, _) = guest {
            now.moving = machine::tool_is_at(call, &["migrate", "save"], Some((&name, id)));
        }
        let state = match verdict::monitor(&name, &guest, &now) {
            Answer::Running => {
                call.because(format_args!("xl has guest {name} as domain {:?}", guest.ids()));
                State::Running
            }
            Answer::RunningBut(why) => {
                call.because(&why);
                call.log.warn(why);
                State::Running
            }
            Answer::Stopped => {
                call.because(format_args!("no domain on this node is called {name}"));
                State::Stopped
            }
            Answer::StoppedBut(why) => {
                call.because(&why);
                call.log.warn(why);
                State::Stopped
            }
            Answer::Failed(why) => return Err(Error::generic(with_holders(why, &guest, call))),
            Answer::Unpause(id) if !unpaused => {
                unpaused = true;
                unpause(&name, id, call)?;
                continue;
            }
            Answer::Unpause(id) => {
                return Err(Error::generic(format_args!(
                    "guest {name} is paused and stays so: xl unpause {id}"
                )));
            }
            Answer::Destroy(id) => {
                // A dry run changes nothing.
                if !call.change(format_args!("destroy what is left of guest {name} (domain {id})")) {
                    return Ok(State::Stopped);
                }
                stop::destroy(&name, id, call)?;
                call.because(format_args!(
                    "guest {name} had switched itself off, and what was left is destroyed"
                ));
                State::Stopped
            }
            Answer::Again => {
                wait_for_a_change(&mut waiting, call);
                continue;
            }
        };
        if call.action == "monitor" && call.dialect == Dialect::Ocf {
            unfinished::finish(agent, &name, &guest, call);
        }
        if state == State::Running && recurring {
            note_number(agent, &name, &guest, record.as_ref(), call);
            more(agent, &name, &guest, call)?;
        }
        return Ok(state);
    }
}

/// A guest that has rebooted is another domain: its disks outlive its name, so its number has to be known.
fn note_number(agent: &XenDomain, name: &str, guest: &Guest, record: Option<&Record>, call: &Call) {
    // 0 is a start that has not ended.
    if let (Guest::Live(id), Some(record)) = (guest, record)
        && record.id != 0
        && record.id != *id
    {
        call.log.info(format_args!("guest {name} is domain {id} now, it was {}", record.id));
        stop::note(agent, name, &agent.key(call), *id, call);
    }
}

/// Whether a migration to this node brings the guest.
///
/// Only the process that receives it can give the copy its name and let it go. It may do both between the look at the
/// domains and the one at the processes, and what runs then is no stale copy: so the domains are looked at again.
pub fn is_receiving(name: &str, guest: &Guest, call: &Call) -> bool {
    matches!(guest, Guest::Incoming(_))
        && (machine::somebody_receives(call) || guest::look(name, None, call).ok().as_ref() != Some(guest))
}

/// Until a domain comes or goes, as xenstored tells, or for a moment.
fn wait_for_a_change(waiting: &mut Option<Store>, call: &Call) {
    if waiting.is_none()
        && let Ok(Some(mut store)) = Store::open(call)
        && store.watch("@introduceDomain").is_ok()
        && store.watch("@releaseDomain").is_ok()
    {
        *waiting = Some(store);
    }
    let told = waiting.as_mut().map(|store| store.wait(call.within(PAUSE)));
    if !matches!(told, Some(Ok(()))) {
        *waiting = None;
        sleep(PAUSE.min(call.remaining() / 4));
    }
}

/// The reason, with what keeps a dying domain.
fn with_holders(why: String, guest: &Guest, call: &Call) -> String {
    let Guest::Dying(id) = guest else { return why };
    match disks::left_of(call, *id) {
        Ok(left) if !left.is_empty() => format!("{why}, with {}", left.join(", ")),
        _ => why,
    }
}

/// Lets a paused guest go on.
pub fn unpause(name: &str, id: u32, call: &Call) -> Result<()> {
    let tool = Toolstack::find(call)?;
    if !call.change(format_args!("run {} unpause {id}", tool.name())) {
        return Ok(());
    }
    let output = tool.on(call, call.remaining() / 4, &["unpause"], id, &[])?;
    if output.succeeded() {
        return Ok(());
    }
    let complaint = crate::toolstack::complaint(&output);
    Err(Error::generic(format_args!("guest {name} is paused, {} unpause: {complaint}", tool.name())))
}

/// What a recurring monitor of a running guest looks at besides.
fn more(agent: &XenDomain, name: &str, guest: &Guest, call: &Call) -> Result<()> {
    if call.check_level >= 10
        && let Guest::Live(id) = guest
    {
        for disk in disks::of(call, *id)? {
            // Before a guest has drivers it has not connected, which is no failure.
            if disk.state > ocf::state::xen::tables::CONNECTED || disk.state <= 1 {
                return Err(Error::generic(format_args!(
                    "disk {} of guest {name} is dead, its back end is in state {}",
                    disk.disk, disk.state
                )));
            }
        }
    }
    use_of_the_node(agent, guest, call);
    for script in agent.monitor_scripts.to_str().unwrap_or_default().split_ascii_whitespace() {
        let output = call.tool(script).and_then(|tool| tool.within(call.remaining() * 3 / 4).run());
        let why = match output {
            Ok(output) if output.succeeded() => continue,
            Ok(output) => output.complaint(),
            Err(error) => error.to_string(),
        };
        let script = ocf::printable(script.as_bytes());
        return Err(Error::generic(format_args!("guest {name} runs, but {script} says: {why}")));
    }
    Ok(())
}

/// Tells the cluster what the guest uses, if somebody wants that. What goes wrong decides nothing.
fn use_of_the_node(agent: &XenDomain, guest: &Guest, call: &Call) {
    if !agent.autoset_utilization_cpu && !agent.autoset_utilization_hv_memory {
        return;
    }
    let Guest::Live(id) = guest else { return };
    let domains = Toolstack::find(call).and_then(|tool| tool.list(call)).unwrap_or_default();
    let Some(domain) = domains.iter().find(|domain| domain.id == *id) else { return };
    for (wanted, name, amount) in [
        (agent.autoset_utilization_cpu, "cpu", u64::from(domain.vcpus)),
        (agent.autoset_utilization_hv_memory, "hv_memory", domain.memory_mb),
    ] {
        if wanted && let Err(error) = attributes::set_utilization(call, name, amount) {
            call.log.warn(format_args!("the cluster does not know the guest's {name}: {error}"));
        }
    }
}

impl XenDomain {
    /// Before anything has been waited for.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            waited: Duration::ZERO,
            may_return: false,
            moving: false,
            receiving: false,
            reboot_wait: Duration::from_secs(u64::from(self.reboot_wait)),
            paused: self.paused,
        }
    }
}
