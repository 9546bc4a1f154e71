//! What an agent is.

use crate::{Call, Error, Metadata, Result};
use serde::de::DeserializeOwned;

/// What monitor found. What could not be read is an [`Error`], never [`State::Stopped`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Cleanly stopped: nothing of the resource is left on this node.
    Stopped,
    /// Running; a promotable resource is unpromoted.
    Running,
    /// Running promoted.
    Promoted,
    /// Running, but somebody should look: the sentence says why.
    Degraded(String),
    /// Promoted, but somebody should look: the sentence says why.
    DegradedPromoted(String),
}

/// A resource agent: the fields of the type are its instance parameters.
///
/// `start` and `stop` are called by [`crate::dispatch`], which first looks with `monitor` and looks again afterwards, so
/// an agent need not be idempotent itself.
pub trait Agent: DeserializeOwned {
    /// Name, parameters and actions.
    const METADATA: Metadata;

    /// Tables of replaced agents whose parameters have other names: invoked under the name of one, it is the table.
    const OTHER_TABLES: &'static [Metadata] = &[];

    /// What the resource is, for a sentence.
    fn object(&self) -> String;

    /// Reads the state. Changes nothing.
    fn monitor(&self, call: &Call) -> Result<State>;

    /// Starts the resource. Called only when it is stopped.
    fn start(&self, call: &Call) -> Result<()>;

    /// Stops the resource. Called when it is not known to be stopped; also in a state that monitor cannot read.
    fn stop(&self, call: &Call) -> Result<()>;

    /// Checks the parameters, and at check level 10 and above this node too. Default: what serde accepts is good.
    fn validate(&self, _call: &Call) -> Result<()> {
        Ok(())
    }

    /// Whether monitor may have to wait for something that can hang: then a helper process does it. Default: yes.
    fn monitor_may_hang(&self, _call: &Call) -> bool {
        true
    }

    /// Whether start, stop, promote and demote have something to do although the resource is in the wanted state
    /// already: then they are called all the same, and must bear it. Default: no.
    fn acts_anyway(&self, _call: &Call) -> bool {
        false
    }

    /// Makes the running resource promoted.
    fn promote(&self, _call: &Call) -> Result<()> {
        Err(not_there("promote"))
    }

    /// Makes the promoted resource unpromoted.
    fn demote(&self, _call: &Call) -> Result<()> {
        Err(not_there("demote"))
    }

    /// Hears of what happens to the clone's other instances.
    fn notify(&self, _call: &Call) -> Result<()> {
        Err(not_there("notify"))
    }

    /// Moves the running resource to another node; called on the node that it leaves.
    fn migrate_to(&self, _call: &Call) -> Result<()> {
        Err(not_there("migrate_to"))
    }

    /// Takes the resource in; called on the node that it comes to.
    fn migrate_from(&self, _call: &Call) -> Result<()> {
        Err(not_there("migrate_from"))
    }

    /// An action that only people call and that the table marks so.
    fn by_hand(&self, action: &str, _call: &Call) -> Result<()> {
        Err(not_there(action))
    }
}

fn not_there(action: &str) -> Error {
    Error::unimplemented(format_args!("this agent has no action {action}"))
}
