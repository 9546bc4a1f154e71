//! drbddisk: a DRBD resource as a simple disk, for whoever puts file systems or guests on it.
//!
//! - **start** makes this node Primary. It tries again while a dead peer is not yet known to be dead.
//! - **stop** makes it Secondary. It tries again until its time is over and then names who holds the device.
//! - **monitor** asks for the role: Primary is running, Secondary or not up is stopped, anything else is an error.

#![cfg_attr(not(test), no_main)]

mod metadata;
mod start;
mod stop;

use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::{Agent, Call, Dialect, Error, Metadata, Result, State, Text, drbd};
use serde::Deserialize;

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct DrbdDisk {
    drbd_resource: Text,
    tries: u32,
    adjust: bool,
    report_degraded: bool,
    exit_codes_of_0_7: bool,
}

impl Agent for DrbdDisk {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        if self.drbd_resource.is_empty() { "all".into() } else { self.drbd_resource.to_string() }
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        let target = self.target(call)?;
        if target.is_several() && call.action == "monitor" {
            // The old script's text and code, for people and init. Heartbeat reads the line alone, and must neither
            // skip a start nor give up a disk because of a missing name: so the line says what is.
            call.exit_status_with(10);
            ocf::log::to_stderr("A resource name is required for status inquiries.");
        }
        let verdict = drbd::verdict(&target, call)?;
        call.log.trace(format_args!("verdict: {verdict:?}"));
        call.note_for_status(verdict.word());
        call.because(format_args!("{} is {} on this node", self.object(), verdict.words()));
        Ok(match verdict {
            Verdict::Unconfigured | Verdict::Secondary => State::Stopped,
            // One that is not Primary is work for start, and one that is, is work for stop.
            Verdict::Mixed if call.action == "start" => State::Stopped,
            Verdict::Mixed => State::Running,
            Verdict::Primary(None) => State::Running,
            Verdict::Primary(Some(why)) if self.report_degraded => State::Degraded(why),
            Verdict::Primary(Some(why)) => {
                call.log.warn(why);
                State::Running
            }
        })
    }

    /// Kernel files answer at once, and a tool has a deadline of its own. A path outside /dev may lead anywhere.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        let name = self.drbd_resource.bytes();
        name.contains(&b'/') && !name.starts_with(b"/dev/")
    }

    fn start(&self, call: &Call) -> Result<()> {
        self.target(call).and_then(|target| start::start(self, &target, call)).map_err(|error| {
            // The old script had one code for every failure.
            let code = if self.exit_codes_of_0_7 { 20 } else { 1 };
            error.with_old_code(code)
        })
    }

    fn stop(&self, call: &Call) -> Result<()> {
        self.target(call).and_then(|target| stop::stop(&target, call)).map_err(|error| error.with_old_code(1))
    }

    fn validate(&self, call: &Call) -> Result<()> {
        let target = self.target(call)?;
        if call.action == "validate-all" && call.check_level >= 10 {
            drbd::is_configured(&target, call)?;
        }
        Ok(())
    }
}

impl DrbdDisk {
    /// What the parameter names. A cluster has to name one resource; the old script's callers may name none.
    fn target(&self, call: &Call) -> Result<Target> {
        let target = Target::parse(&self.drbd_resource)?;
        if target.is_several() && matches!(call.dialect, Dialect::Ocf) {
            return Err(Error::configured(format_args!(
                "parameter drbd_resource is '{}': accepted is the name or device of one resource",
                self.drbd_resource
            )));
        }
        Ok(target)
    }
}

ocf::main!(DrbdDisk);
