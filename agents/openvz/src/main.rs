//! openvz: a container of OpenVZ or Virtuozzo that runs on one node.
//!
//! - **start** looks whether the container's files are really here, puts a memory dump aside that is not the
//!   cluster's, and runs `vzctl start`. It waits while another vzctl works on the container.
//! - **stop** lets it shut down in two thirds of the time, then kills it, and believes it only when it neither runs nor
//!   is mounted: what is below it can be stopped then.
//! - **monitor** reads the kernel's table of containers; only where there is none, it runs `vzctl status`, once.

#![cfg_attr(not(test), no_main)]

mod area;
mod codes;
mod config;
mod ctid;
mod dump;
mod look;
mod metadata;
mod migrate;
mod record;
mod shortage;
mod start;
mod state;
mod stop;

use config::Config;
use ctid::Ctid;
use look::{Program, look};
use ocf::{Agent, Call, Error, Metadata, Result, State, Text};
use serde::Deserialize;
use state::Run;

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct OpenVz {
    ctid: Text,
    tool: Tool,
    require_mount: bool,
    dump_policy: DumpPolicy,
    wait: bool,
    migrate_mode: MigrateMode,
    dump_dir: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tool {
    Auto,
    Vzctl,
    Prlctl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DumpPolicy {
    Discard,
    Resume,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MigrateMode {
    None,
    Chkpnt,
    Vzmigrate,
}

impl Agent for OpenVz {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        format!("container {}", self.ctid)
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        let ctid = self.ctid()?;
        let found = look(self, &ctid, call)?;
        call.log.trace(format_args!("found: {found:?}"));
        call.because(format_args!("container {ctid} is {}", found.words()));
        if let Some(word) = found.note() {
            call.note_for_status(word);
        }
        match found.run {
            Run::Going if call.action == "start" => Err(Error::generic(format_args!(
                "{ctid} is on its way to another state: wait until that is over"
            ))),
            Run::Running | Run::Paused | Run::Coming | Run::Going => {
                if call.action == "monitor" {
                    self.look_inside(&ctid, call)?;
                }
                Ok(State::Running)
            }
            // What is still mounted is work for stop: the file system below could not be unmounted.
            Run::Suspended | Run::Down if call.action == "stop" => {
                let config = Config::read_or_guess(&ctid, call);
                let mounted = area::is_mounted(self, &ctid, &config, &found, call)?;
                Ok(if mounted { State::Running } else { State::Stopped })
            }
            Run::Suspended | Run::Down => Ok(State::Stopped),
        }
    }

    /// The kernel's files answer at once, a tool has a deadline of its own, and paths are looked at with one.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        false
    }

    fn start(&self, call: &Call) -> Result<()> {
        start::start(self, &self.ctid()?, call).map_err(for_old_callers)
    }

    fn stop(&self, call: &Call) -> Result<()> {
        stop::stop(self, &self.ctid()?, call).map_err(for_old_callers)
    }

    fn validate(&self, call: &Call) -> Result<()> {
        let ctid = self.ctid()?;
        if call.action == "validate-all" {
            call.tool(Program::of(self, call).name())?;
            if call.check_level >= 10 {
                start::check(self, &ctid, call)?;
            }
        }
        Ok(())
    }

    fn migrate_to(&self, call: &Call) -> Result<()> {
        migrate::away(self, &self.ctid()?, call)
    }

    fn migrate_from(&self, call: &Call) -> Result<()> {
        migrate::here(self, &self.ctid()?, call)
    }
}

impl OpenVz {
    /// The container; the replaced agent's code for none and for one that cannot be.
    fn ctid(&self) -> Result<Ctid> {
        if self.ctid.is_empty() {
            let reason = "no container was given: usage is openvz CTID start|stop|status, or parameter ctid";
            return Err(Error::args(reason).with_old_code(1));
        }
        Ctid::parse(self.ctid.bytes()).ok_or_else(|| {
            let mut shown = self.ctid.to_string();
            shown.truncate(40);
            Error::args(format_args!("parameter ctid is '{shown}': {}", ctid::ACCEPTED)).with_old_code(1)
        })
    }

    /// What a monitor says of a container that runs: does it execute a command, is it short of anything.
    fn look_inside(&self, ctid: &Ctid, call: &Call) -> Result<()> {
        if call.check_level >= 10 {
            let program = Program::of(self, call);
            let output = call.tool(program.name())?.arg("exec").arg(ctid.as_str()).arg("true").run();
            let why = match output {
                Ok(output) if output.succeeded() => None,
                Ok(output) => Some(output.complaint()),
                Err(error) => Some(error.reason().to_string()),
            };
            if let Some(why) = why {
                return Err(Error::generic(format_args!("{ctid} runs, but executes no command: {why}")));
            }
            area::warn_of_lost_area(ctid, self.require_mount, call);
        }
        if !call.probe {
            shortage::warn(ctid, call);
        }
        Ok(())
    }
}

/// Heartbeat and init know success and failure: 5 would be success for an init script under systemd.
fn for_old_callers(error: Error) -> Error {
    error.with_old_code(1)
}

ocf::main!(OpenVz);
