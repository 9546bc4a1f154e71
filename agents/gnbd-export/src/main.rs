//! gnbd-export: one block device, served to the network under a name by the node that may use it.
//!
//! - **start** makes sure that the device can be written here, clears what an earlier export left, and offers the device.
//! - **stop** withdraws this export alone, by force where its clients do not let go, until nothing of it holds the device.
//! - **monitor** looks whether the server lives and offers the right device under the right identity; from level 10 on
//!   it asks over the network.
//!
//! How a device is offered is the matter of a [`backend::Backend`]: [`gnbd`], [`nvmet`], [`lio`], [`nbd`].

#![cfg_attr(not(test), no_main)]

mod access;
mod ask;
mod backend;
mod configfs;
mod device;
mod export;
mod gnbd;
mod identity;
mod lio;
mod metadata;
mod nbd;
mod nvmet;
mod processes;

use crate::backend::Choice;
use crate::export::Export;
use ocf::{Agent, Call, ExitCode, Metadata, Result, State, Text};
use serde::Deserialize;

/// The parameters. Their documentation stands in [`metadata`].
#[derive(Debug, Clone, Deserialize)]
struct GnbdExport {
    name: String,
    device: Text,
    options: String,
    backend: Choice,
    allow: String,
    listen: String,
    port: Option<u32>,
    readonly: bool,
    cached: bool,
    gnbd_timeout: Option<u32>,
    uuid: String,
    target: String,
    force_stop: bool,
    drain_timeout: u32,
}

impl Agent for GnbdExport {
    const METADATA: Metadata = metadata::METADATA;

    fn object(&self) -> String {
        format!("export {}", self.name)
    }

    fn monitor(&self, call: &Call) -> Result<State> {
        backend::monitor(&self.export(call)?, call)
    }

    /// configfs and the short files of /proc answer at once, tools and sockets have deadlines of their own. The command
    /// line of a process is read through its memory, which a dying one may have locked.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        self.backend.is_nbd() || self.options.contains("nbd")
    }

    fn start(&self, call: &Call) -> Result<()> {
        backend::start(&self.export(call)?, call)
    }

    fn stop(&self, call: &Call) -> Result<()> {
        backend::stop(&self.export(call)?, call)
    }

    fn validate(&self, call: &Call) -> Result<()> {
        let export = self.export(call)?;
        export.device()?;
        match call.action.as_str() {
            "validate-all" => match backend::choose(&export, call) {
                // What is wrong on every node is wrong without a look at this one.
                Err(error) if call.check_level >= 10 || error.code() == ExitCode::Configured => Err(error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn by_hand(&self, _action: &str, call: &Call) -> Result<()> {
        self.export(call)?.say_identity();
        Ok(())
    }
}

impl GnbdExport {
    fn export(&self, call: &Call) -> Result<Export> {
        Export::of(self, call)
    }
}

ocf::main!(GnbdExport);
