//! stop: an orderly shutdown, then a quick one, and no success before nothing runs and nothing is mounted.
//!
//! vzctl answers SIGTERM and SIGINT by killing the container. While it shuts the container down, it is run with those
//! signals held back: if this agent is ended, vzctl ends with it, and the container goes on shutting down.

use crate::codes::{self, LOCKED, NOT_MOUNTED};
use crate::config::Config;
use crate::ctid::Ctid;
use crate::look::{Found, Program, look};
use crate::start::{PAUSE, is_time_for_another, locked};
use crate::{OpenVz, area};
use nix::sys::signal::{SigSet, Signal};
use ocf::{Call, Error, ExitCode, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a tool that holds back SIGTERM takes to be ended.
const GRACE: Duration = Duration::from_secs(2);

/// Stops the container. Called when it is not known to be stopped.
pub fn stop(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<()> {
    let program = Program::of(agent, call);
    let config = Config::read_or_guess(ctid, call);
    if !call.change(format_args!("run {} stop {ctid}", program.name())) {
        return Ok(());
    }
    hold_back_signals();
    let job = Job { agent, program, ctid, config: &config, call };
    job.end_processes()?;
    job.unmount()
}

/// Of this process, and of the tools that it runs. The process that waits for this one is ended as ever.
fn hold_back_signals() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    let _ = signals.thread_block();
}

struct Job<'a> {
    agent: &'a OpenVz,
    program: Program,
    ctid: &'a Ctid,
    config: &'a Config,
    call: &'a Call,
}

impl Job<'_> {
    /// Two thirds of the time for an orderly shutdown, and what is needed of the rest for a quick one.
    fn end_processes(&self) -> Result<()> {
        let (ctid, call) = (self.ctid, self.call);
        // Also when its state cannot be told.
        if let Ok(found) = self.look()
            && !found.is_alive()
        {
            return Ok(());
        }
        let orderly = call.remaining() * 2 / 3;
        call.log.info(format_args!(
            "{ctid} is asked to shut down and has {:.0} s for it; whoever ends this stop earlier leaves it at that",
            orderly.as_secs_f64()
        ));
        let first = self.ask_to_stop(false, Instant::now() + orderly);
        if let Ok(found) = self.look()
            && !found.is_alive()
        {
            return Ok(());
        }
        call.log.warn(format_args!("{ctid} did not shut down ({first}): its processes are killed now"));
        let second = self.ask_to_stop(true, Instant::now() + call.remaining() * 2 / 3);
        match self.look() {
            Ok(found) if !found.is_alive() => Ok(()),
            _ if second == Refusal::Locked => Err(locked(ctid, Some(self.config), call)),
            Ok(_) => Err(second.failure(format!("{ctid} still runs, {second}"))),
            Err(error) if second == Refusal::Nothing => Err(error),
            Err(_) => Err(second.failure(format!("the state of {ctid} cannot be told, {second}"))),
        }
    }

    fn look(&self) -> Result<Found> {
        look(self.agent, self.ctid, self.call)
    }

    /// One request, again and again while another vzctl works on the container. What it says decides nothing.
    fn ask_to_stop(&self, quick: bool, until: Instant) -> Refusal {
        let call = self.call;
        let mut was_locked = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let tool = match call.tool(self.program.name()) {
                Ok(tool) => tool.arg("stop").arg(self.ctid.as_str()),
                Err(error) => return Refusal::Error(error),
            };
            let tool = match (quick, self.program) {
                (false, _) => tool,
                (true, Program::Vzctl) => tool.arg("--fast"),
                (true, Program::Prlctl) => tool.arg("--kill"),
            };
            let output = match tool.within(left - GRACE.min(left / 4)).run() {
                Ok(output) => output,
                // The last try may have had next to no time: what kept the ones before it from working is the reason.
                Err(_) if was_locked => return Refusal::Locked,
                Err(error) => return Refusal::Error(error),
            };
            if output.succeeded() {
                return Refusal::Nothing;
            }
            let name = self.program.name();
            let error = codes::failure(name, "stop", self.ctid.as_str(), &output);
            call.log.info(format_args!("{error}; {}", output.complaint()));
            let is_locked = self.program == Program::Vzctl && output.code == Some(LOCKED);
            if !is_locked {
                return Refusal::Error(error);
            }
            was_locked = true;
            call.obstacle(locked(self.ctid, Some(self.config), call).reason());
            if Instant::now() + PAUSE >= until {
                return Refusal::Locked;
            }
            sleep(PAUSE);
        }
    }

    /// Until nothing is mounted on its root directory, or the time is over.
    fn unmount(&self) -> Result<()> {
        let (ctid, call) = (self.ctid, self.call);
        let mut complaint = String::from("nobody was asked to unmount it");
        loop {
            if !self.is_mounted()? {
                return Ok(());
            }
            let began = Instant::now();
            let limit = call.remaining() / 2;
            let asked = call
                .tool(self.program.name())
                .and_then(|tool| tool.arg("umount").arg(ctid.as_str()).within(limit).run());
            complaint = match asked {
                Ok(output) if output.succeeded() || output.code == Some(NOT_MOUNTED) => complaint,
                Ok(output) => {
                    let name = self.program.name();
                    codes::failure(name, "umount", ctid.as_str(), &output).reason().to_string()
                }
                Err(error) => error.reason().to_string(),
            };
            if !self.is_mounted()? {
                return Ok(());
            }
            call.log.info(format_args!("{ctid} is still mounted: {complaint}"));
            call.obstacle(self.still_mounted(&complaint).reason());
            if !is_time_for_another(call, began.elapsed().max(Duration::from_millis(300))) {
                return Err(self.still_mounted(&complaint));
            }
            sleep(PAUSE);
        }
    }

    fn is_mounted(&self) -> Result<bool> {
        area::is_mounted(self.agent, self.ctid, self.config, &self.look()?, self.call)
    }

    fn still_mounted(&self, complaint: &str) -> Error {
        let (ctid, config) = (self.ctid, self.config);
        self.call.step("looking for who holds the root directory");
        let holders = area::holders_of_root(config, self.call);
        let root = config.root().ok().flatten().map(|root| area::show(&root)).unwrap_or_default();
        if holders.is_empty() {
            return Error::generic(format_args!("{ctid} is down, but {root} is still mounted: {complaint}"));
        }
        let some = area::some_of(&holders);
        Error::generic(format_args!("{ctid} is down, but {root} is still mounted, held by {some}"))
    }
}

/// How a request to stop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// The tool says that it did it.
    Nothing,
    Locked,
    Error(Error),
}

impl Refusal {
    /// The failure of the action: 5 if the tool or what it needs is not installed, as the replaced agent had it.
    fn failure(&self, reason: String) -> Error {
        match self {
            Self::Error(error) if error.code() == ExitCode::Installed => Error::installed(reason),
            _ => Error::generic(reason),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("although the tool says that it was stopped"),
            Self::Locked => f.write_str("another vzctl works on it"),
            Self::Error(error) => f.write_str(error.reason()),
        }
    }
}
