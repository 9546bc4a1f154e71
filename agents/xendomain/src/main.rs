//! xendomain: a Xen guest that runs on exactly one node.
//!
//! - **start** creates the guest, after it has looked that it runs nowhere else and that its disks are usable here, and
//!   believes it only once every disk is connected.
//! - **stop** asks it to shut down, destroys it when its time is over, and answers once nothing holds its disks.
//! - **monitor** asks xenstored for the name and the tool once for the run state. Crashed, dying, suspended is neither
//!   running nor stopped, and so is what cannot be read.
//! - **migrate_to** and **migrate_from** move it, and look at both ends before they believe the tool.

#![cfg_attr(not(test), no_main)]

mod checks;
mod disks;
mod dual;
mod guest;
mod machine;
mod memory;
mod metadata;
mod migrate;
mod monitor;
mod name;
mod peers;
mod record;
mod shared;
mod start;
mod stop;
mod store;
mod toolstack;
mod unfinished;
mod verdict;

use ocf::{Agent, Call, Metadata, Result, State, Text};
use serde::Deserialize;
use std::path::Path;

/// What a paused guest is to monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Paused {
    Ok,
    Fail,
    Unpause,
}

/// What a peer that does not answer means for start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PeerUnknown {
    Refuse,
    Allow,
}

/// Whether a migration may make DRBD Primary on both nodes for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DualPrimary {
    Auto,
    No,
}

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Deserialize)]
struct XenDomain {
    xmfile: Text,
    name: Text,
    shutdown_timeout: Option<u32>,
    shutdown_acpi: bool,
    allow_mem_management: bool,
    node_ip_attribute: Text,
    #[serde(rename = "reserved_Dom0_memory")]
    reserved_dom0_memory: u32,
    autoset_utilization_cpu: bool,
    autoset_utilization_hv_memory: bool,
    monitor_scripts: Text,
    peers: Text,
    peer_unknown: PeerUnknown,
    paused: Paused,
    reboot_wait: u32,
    crash_dump_directory: Text,
    drbd_dual_primary: DualPrimary,
    shared_disks: bool,
    minimum_memory: u32,
}

impl Agent for XenDomain {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        format!("guest {}", self.called())
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        monitor::monitor(self, call)
    }

    /// xenstored and the tools have deadlines of their own; a configuration may lie on a dead server.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        let at_hand = self.xmfile.is_empty() || self.xmfile.as_path().starts_with(Path::new("/etc"));
        self.name.is_empty() && !at_hand
    }

    /// What a migration has left outlives the guest.
    fn acts_anyway(&self, call: &Call) -> bool {
        call.action == "stop" && unfinished::is_left(self, call)
    }

    fn start(&self, call: &Call) -> Result<()> {
        start::start(self, call)
    }

    fn stop(&self, call: &Call) -> Result<()> {
        stop::stop(self, call)
    }

    fn migrate_to(&self, call: &Call) -> Result<()> {
        migrate::migrate_to(self, call)
    }

    fn migrate_from(&self, call: &Call) -> Result<()> {
        migrate::migrate_from(self, call)
    }

    fn validate(&self, call: &Call) -> Result<()> {
        peers::parse(&self.peers)?;
        self.check_name()?;
        if call.action == "validate-all" && call.check_level >= 10 {
            let name = self.domain(call)?;
            let (_, config) = checks::description(self, &name, call)?;
            checks::disks(&config, call)?;
        }
        Ok(())
    }
}

ocf::main!(XenDomain);
