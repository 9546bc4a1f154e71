//! start: from nothing to a guest whose disks are connected.

use crate::guest::{self, Guest};
use crate::monitor::{PAUSE, is_receiving, unpause};
use crate::record::{self, Record};
use crate::toolstack::{Toolstack, complaint};
use crate::verdict::{self, Start};
use crate::{XenDomain, checks, disks, machine, memory, stop, unfinished};
use ocf::{Call, Error, Result};
use std::ffi::OsStr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a failed start needs for taking back what it did: a destroy and a word about it.
const RESERVE: Duration = Duration::from_secs(4);

/// What a refusal needs.
const WORD: Duration = Duration::from_millis(1500);

/// Starts the guest. Called when it does not run.
pub fn start(agent: &XenDomain, call: &Call) -> Result<()> {
    let name = agent.domain(call)?;
    let key = agent.key(call);
    let began = Instant::now();
    loop {
        let record = record::read(call, &key);
        let unfinished = record.as_ref().is_some_and(|record| record.id == 0);
        let guest = guest::look(&name, record.as_ref(), call)?;
        let mut now = agent.circumstances();
        now.waited = began.elapsed();
        now.receiving = is_receiving(&name, &guest, call);
        match verdict::start(&name, &guest, &now) {
            Start::Runs => return Ok(()),
            Start::Create => break,
            Start::Refuse(why) => return Err(Error::generic(why)),
            // A start of ours was killed in the middle: what it left would not boot.
            Start::Unpause(id) if unfinished => clear(&name, id, call)?,
            Start::Unpause(id) => return unpause(&name, id, call),
            Start::Destroy(id) => clear(&name, id, call)?,
            Start::Again if call.remaining() < WORD => {
                let left = match guest {
                    Guest::Dying(id) => disks::left_of(call, id).unwrap_or_default().join(", "),
                    _ => String::new(),
                };
                return Err(Error::generic(format_args!("guest {name} is still on its way out {left}")));
            }
            Start::Again => sleep(PAUSE),
        }
        if call.dry_run {
            break;
        }
    }
    create(agent, &name, &key, call)
}

fn clear(name: &str, id: u32, call: &Call) -> Result<()> {
    if !call.change(format_args!("destroy what is left of guest {name} (domain {id})")) {
        return Ok(());
    }
    call.log.info(format_args!("what is left of guest {name} (domain {id}) is destroyed before the start"));
    stop::destroy(name, id, call)
}

fn create(agent: &XenDomain, name: &str, key: &str, call: &Call) -> Result<()> {
    let tool = Toolstack::find(call)?;
    let (path, config) = checks::description(agent, name, call)?;
    checks::is_not_libvirts(name, call)?;
    let disks = checks::disks(&config, call)?;
    checks::disks_are_ready(&disks, name, call)?;
    if machine::drbd_keeps_memory(call) && disks.iter().any(|disk| disk.drbd.is_some()) {
        call.log.warn(format_args!(
            "a lost link of DRBD can keep guest {name} from stopping: set the option disable_sendpage=1 of its module"
        ));
    }
    // Its second Primary would be a witness against this start.
    unfinished::finish(agent, name, &Guest::Absent(Vec::new()), call);
    agent.is_nowhere_else(tool, &disks, name, call)?;
    let wanted = checks::attached(&disks);
    if !call.change(format_args!("run {} create {}", tool.name(), path.display())) {
        return Ok(());
    }
    let draft = Record { name: name.into(), id: 0, memory_managed: agent.allow_mem_management };
    record::write(call, key, &draft)?;
    call.step(&format!("creating guest {name}"));
    let memory = memory::for_create(agent, &config, call);
    if let Err(error) = run_create(tool, &path, name, &memory, call) {
        take_back(name, &error, call);
        record::remove(call, key);
        return Err(error);
    }
    let result = see_it_run(name, wanted, call);
    match result {
        Ok(id) => record::write(call, key, &Record { id, ..draft }),
        Err(error) => {
            take_back(name, &error, call);
            record::remove(call, key);
            Err(error)
        }
    }
}

fn run_create(tool: Toolstack, path: &Path, name: &str, memory: &[String], call: &Call) -> Result<()> {
    // xl reads the value as its configuration does, xm takes it as it is. The name is plain in either.
    let named = match tool {
        Toolstack::Xl => format!("name=\"{name}\""),
        Toolstack::Xm => format!("name={name}"),
    };
    let limit = call.remaining().saturating_sub(RESERVE.min(call.remaining() / 3));
    let mut words = vec!["create".as_ref(), path.as_os_str(), OsStr::new(&named)];
    words.extend(memory.iter().map(OsStr::new));
    let output = tool.run(call, limit, &words)?;
    if output.succeeded() {
        return Ok(());
    }
    Err(Error::generic(format_args!("guest {name} cannot be created: {}", complaint(&output))))
}

/// Waits until the guest runs with all its disks; its number.
fn see_it_run(name: &str, wanted: usize, call: &Call) -> Result<u32> {
    let until = call.within(call.remaining().saturating_sub(RESERVE.min(call.remaining() / 3)));
    loop {
        let found = guest::look(name, None, call)?;
        match found {
            Guest::Live(id) => {
                disks::wait_connected(call, name, id, wanted, until)
                    .map_err(|error| Error::generic(format_args!("guest {name}: {error}")))?;
                return Ok(id);
            }
            Guest::Absent(_) | Guest::Paused(_) if Instant::now() + PAUSE < until => sleep(PAUSE),
            Guest::ShutDown(_, reason) => {
                return Err(Error::generic(format_args!(
                    "guest {name} ended as soon as it ran ({reason:?}): see its console"
                )));
            }
            _ => {
                return Err(Error::generic(format_args!(
                    "guest {name} was created, but it does not run: {found:?}"
                )));
            }
        }
    }
}

/// A start that failed leaves nothing behind that another node would have to fear.
fn take_back(name: &str, why: &Error, call: &Call) {
    // Then it is not ours: somebody was faster.
    if why.reason().contains("already exists") {
        return;
    }
    for _ in 0..2 {
        let id = match guest::look(name, None, call) {
            Ok(Guest::Live(id) | Guest::Paused(id) | Guest::ShutDown(id, _)) => id,
            Ok(_) => return,
            Err(error) => return call.log.error(format_args!("after a failed start: {error}")),
        };
        if let Err(error) = stop::destroy(name, id, call) {
            call.log.error(format_args!("after a failed start: {error}"));
        }
    }
}
