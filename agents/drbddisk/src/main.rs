//! drbddisk: a DRBD resource, in one of two ways.
//!
//! As a **simple disk** ([`disk`]), for whoever puts file systems or guests on it:
//!
//! - **start** makes this node Primary. It tries again while a dead peer is not yet known to be dead.
//! - **stop** makes it Secondary. It tries again until its time is over and then names who holds the device.
//! - **monitor** asks for the role: Primary is running, Secondary or not up is stopped, anything else is an error.
//!
//! As a **promotable clone** ([`clone`]), which the cluster says with its meta attributes:
//!
//! - **start** brings the resource up as Secondary, **stop** takes it down.
//! - **promote** makes it Primary, **demote** Secondary.
//! - **monitor** tells the role, and the cluster what this instance would be worth promoted; **notify** does so again
//!   whenever something happens to another instance.

#![cfg_attr(not(test), no_main)]

mod adm;
mod clone;
mod disk;
mod dmtab;
mod metadata;
mod refusal;
mod release;

use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::{Agent, Call, Dialect, Error, Metadata, Result, State, Text, drbd};
use serde::Deserialize;
use std::time::Duration;

/// Who calls without a deadline (init, Heartbeat) waits no longer than this.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(58);
/// Heartbeat calls a stop that fails ten times more before it reboots the node, and the peer takes over.
const STOP_OF_HEARTBEAT: Duration = Duration::from_secs(10);

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct DrbdDisk {
    drbd_resource: Text,
    drbdconf: String,
    report_degraded: bool,
    dmtab: Text,
    tries: u32,
    adjust: bool,
    exit_codes_of_0_7: bool,
    adjust_master_score: String,
    score_source: String,
    stop_outdates_secondary: bool,
    ignore_missing_notifications: bool,
    wfc_timeout: String,
    remove_master_score_if_peer_primary: String,
    fail_promote_early_if_peer_primary: bool,
    unfence_if_all_uptodate: bool,
    unfence_extra_args: String,
    require_drbd_module_version_ge: String,
    require_drbd_module_version_lt: String,
    connect_only_after_promote: bool,
}

impl Agent for DrbdDisk {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        if self.drbd_resource.is_empty() { "all".into() } else { self.drbd_resource.to_string() }
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        let call = &self.configured(call);
        if clone::is_meant(call) {
            return clone::monitor(self, call);
        }
        let target = self.target(call)?;
        if target.is_several() && call.action == "monitor" {
            // The old script's text and code, for people and init. Heartbeat reads the line alone, and must neither
            // skip a start nor give up a disk because of a missing name: so the line says what is.
            call.exit_status_with(10);
            ocf::log::to_stderr("A resource name is required for status inquiries.");
        }
        let observed = drbd::observe(&target, call)?;
        let verdict = drbd::judge(&target, &observed)?;
        call.log.trace(format_args!("verdict: {verdict:?}"));
        call.note_for_status(verdict.word());
        let as_clone = clone::in_words(self, &observed, call);
        call.because(format_args!("{} is {} on this node{as_clone}", self.object(), verdict.words()));
        Ok(match verdict {
            Verdict::Unconfigured | Verdict::Secondary => State::Stopped,
            // One that is not Primary is work for start, and one that is, is work for stop.
            Verdict::Mixed if call.action == "start" => State::Stopped,
            Verdict::Mixed => {
                self.in_trouble(format!("{} is {}: start it again", self.object(), verdict.words()), call)
            }
            Verdict::Primary(None) => State::Running,
            Verdict::Primary(Some(why)) => self.in_trouble(why, call),
        })
    }

    /// Kernel files answer at once, and a tool has a deadline of its own. A path outside /dev may lead anywhere.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        let name = self.drbd_resource.bytes();
        name.contains(&b'/') && !name.starts_with(b"/dev/")
    }

    /// An instance of a clone has its disk, its connections and its score beside its role, and a table of
    /// device-mapper's may outlive the resource.
    fn acts_anyway(&self, call: &Call) -> bool {
        match call.action.as_str() {
            // In 8.4 each volume has a role of its own.
            "start" | "promote" => clone::is_meant(call),
            "stop" => clone::is_meant(call) || !self.dmtab.is_empty(),
            _ => false,
        }
    }

    fn start(&self, call: &Call) -> Result<()> {
        let call = &self.configured(call);
        clone::rules::check_configuration(self, call)?;
        if clone::is_meant(call) {
            return clone::start(self, call);
        }
        let call = &patient(call, WITHOUT_DEADLINE);
        self.target(call).and_then(|target| disk::start::start(self, &target, call)).map_err(|error| {
            // The old script had one code for every failure.
            let code = if self.exit_codes_of_0_7 { 20 } else { 1 };
            error.with_old_code(code)
        })
    }

    fn stop(&self, call: &Call) -> Result<()> {
        let call = &self.configured(call);
        if clone::is_meant(call) {
            return clone::stop(self, call);
        }
        let limit = if call.dialect == Dialect::Heartbeat { STOP_OF_HEARTBEAT } else { WITHOUT_DEADLINE };
        self.stop_disk(&patient(call, limit)).map_err(|error| error.with_old_code(1))
    }

    fn validate(&self, call: &Call) -> Result<()> {
        let call = &self.configured(call);
        let target = self.target(call)?;
        if clone::is_meant(call) {
            clone::rules::check(self, call)?;
        }
        if call.action == "validate-all" && call.check_level >= 10 {
            clone::rules::check_configuration(self, call)?;
            drbd::is_configured(&target, call)?;
        }
        Ok(())
    }

    fn promote(&self, call: &Call) -> Result<()> {
        clone::promote(self, &self.configured(call))
    }

    fn demote(&self, call: &Call) -> Result<()> {
        clone::demote(self, &self.configured(call))
    }

    fn notify(&self, call: &Call) -> Result<()> {
        clone::notify(self, &self.configured(call));
        Ok(())
    }

    /// reload, the only action that the table has beside those of every agent.
    fn by_hand(&self, _action: &str, call: &Call) -> Result<()> {
        clone::reload(self, &self.configured(call))
    }
}

impl DrbdDisk {
    /// The call with which every drbdadm reads the configuration that the parameter names.
    fn configured(&self, call: &Call) -> Call {
        if self.drbdconf == adm::DRBD_CONF {
            return call.clone();
        }
        call.with_words_first("drbdadm", ["-c", &self.drbdconf])
    }

    /// What the parameter names. A cluster has to name one resource; the old script's callers may name none.
    fn target(&self, call: &Call) -> Result<Target> {
        let target = Target::parse(&self.drbd_resource)?;
        if target.is_several() && (matches!(call.dialect, Dialect::Ocf) || clone::is_meant(call)) {
            return Err(Error::configured(format_args!(
                "parameter drbd_resource is '{}': accepted is the name or device of one resource",
                self.drbd_resource
            )));
        }
        Ok(target)
    }

    /// A disk that runs and that somebody should look at.
    fn in_trouble(&self, why: String, call: &Call) -> State {
        if self.report_degraded {
            return State::Degraded(why);
        }
        call.log.warn(why);
        State::Running
    }

    fn stop_disk(&self, call: &Call) -> Result<()> {
        let target = self.target(call)?;
        // With a table to remove, this is called also for what is stopped.
        let stopped = |call| drbd::verdict(&target, call).ok().filter(is_stopped);
        if self.dmtab.is_empty() || stopped(call).is_none() {
            let name = drbd::name_of(&target, call)?;
            disk::stop::stop(&target, &name, call)?;
        }
        // A Secondary still mirrors to the disk on that table.
        if !self.dmtab.is_empty() && stopped(call) == Some(Verdict::Unconfigured) {
            dmtab::remove(self, &drbd::name_of(&target, call)?, call)?;
        }
        Ok(())
    }
}

fn is_stopped(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unconfigured | Verdict::Secondary)
}

/// A call whose caller gives no deadline gets one.
fn patient(call: &Call, limit: Duration) -> Call {
    match call.dialect {
        Dialect::Heartbeat | Dialect::Lsb => call.shortened(limit),
        Dialect::Ocf | Dialect::ByHand => call.clone(),
    }
}

ocf::main!(DrbdDisk);
