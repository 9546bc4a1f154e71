//! One call of an agent: which action, on which machine, with how much time.

use crate::command::Tool;
use crate::helper::{Helper, Reporter};
use crate::{Dialect, Host, Log, Result};
use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// All that an action knows beside its parameters.
#[derive(Debug, Clone)]
pub struct Call {
    /// The machine.
    pub host: Host,
    /// Where messages go.
    pub log: Rc<Log>,
    /// How the agent was called. What an action does must not depend on it, but what nobody said may.
    pub dialect: Dialect,
    /// The name of the agent that was called: our own, or one of those that it replaces.
    pub called: &'static str,
    /// The action's name; `status` is `monitor` here.
    pub action: String,
    /// The resource's name, `default` if the caller has none.
    pub instance: String,
    /// How deep to look: OCF_CHECK_LEVEL, 0 if it is not a positive number.
    pub check_level: u32,
    /// True for a monitor that only asks whether the resource is there, before the cluster has started it.
    pub probe: bool,
    /// Only say what would be changed.
    pub dry_run: bool,
    pub(crate) deadline: Instant,
    pub(crate) words_first: Option<(&'static str, Rc<[OsString]>)>,
    pub(crate) reporter: Option<Reporter>,
    pub(crate) status_note: Rc<RefCell<String>>,
    pub(crate) status_code: Rc<Cell<Option<u8>>>,
    /// Somebody wants to know why, or a script reads the answer.
    pub(crate) explains: bool,
    pub(crate) because: Rc<RefCell<String>>,
    pub(crate) object: Rc<RefCell<String>>,
}

impl Call {
    /// When the action must have answered by itself.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// This call as a look before or after a change: a probe at level 0.
    pub(crate) fn as_look(&self) -> Self {
        Self { probe: true, check_level: 0, ..self.clone() }
    }

    /// This call as a helper process goes on with it.
    pub(crate) fn in_helper(&self, reporter: &Reporter) -> Self {
        let time = helper_time(self.remaining());
        Self { reporter: Some(reporter.clone()), deadline: Instant::now() + time, ..self.clone() }
    }

    /// This call with no more time than `limit` from now on.
    #[must_use]
    pub fn shortened(&self, limit: Duration) -> Self {
        Self { deadline: self.within(limit), ..self.clone() }
    }

    /// This call with these words in front of all others whenever it runs the tool called `tool`: `-c FILE`.
    #[must_use]
    pub fn with_words_first<const N: usize>(&self, tool: &'static str, words: [&str; N]) -> Self {
        Self { words_first: Some((tool, words.map(OsString::from).into())), ..self.clone() }
    }

    /// How long it has left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Instant `limit` from now, or the deadline if that is earlier.
    pub fn within(&self, limit: Duration) -> Instant {
        Instant::now().checked_add(limit).map_or(self.deadline, |then| then.min(self.deadline))
    }

    /// `OCF_RESKEY_CRM_meta_<name>`; none if it is unset or empty.
    pub fn meta(&self, name: &str) -> Option<String> {
        variable(&format!("OCF_RESKEY_CRM_meta_{name}"))
    }

    /// A tool by name, or code 5.
    pub fn tool(&self, name: &str) -> Result<Tool<'_>> {
        Tool::find(self, name)
    }

    /// Announces a change to the machine. False in a dry run: then it must not be made.
    pub fn change(&self, what: impl std::fmt::Display) -> bool {
        if self.dry_run {
            crate::log::to_stdout(format_args!("would {what}\n"));
        } else {
            self.log.trace(format_args!("change: {what}"));
        }
        !self.dry_run
    }

    /// A word behind `running` or `stopped` in the status line for Heartbeat, init and people: `running (Primary)`.
    ///
    /// Heartbeat's readers look for words in that line, so it must be a fixed text without any of theirs: `running`,
    /// `stopped`, `not`, `OK`.
    pub fn note_for_status(&self, word: &'static str) {
        *self.status_note.borrow_mut() = word.into();
    }

    /// Whether somebody wants to know why.
    pub fn explains(&self) -> bool {
        self.explains
    }

    /// Why monitor answers what it answers, in one sentence for people and scripts that ask. The last one counts.
    pub fn because(&self, why: impl std::fmt::Display) {
        if self.explains {
            *self.because.borrow_mut() = crate::error::printable(why.to_string().as_bytes());
        }
    }

    /// Makes `status` exit with the number that the replaced script had for such a call, whatever the line says.
    /// Heartbeat reads the line, init the number. For a monitor that needs no helper process.
    pub fn exit_status_with(&self, code: u8) {
        self.status_code.set(Some(code));
    }

    /// Says what is being done, for the sentence that is given if it never ends.
    pub fn step(&self, text: &str) {
        if let Some(reporter) = &self.reporter {
            reporter.step(text);
        }
    }

    /// Says what has kept the action from its end so far, for the same sentence.
    pub fn obstacle(&self, text: impl std::fmt::Display) {
        if let Some(reporter) = &self.reporter {
            reporter.obstacle(&text.to_string());
        }
    }

    /// Does `work` in a helper process that is left behind if it has not ended by `until`. None: it was.
    pub fn bounded(&self, until: Instant, work: impl FnOnce() -> Result<String>) -> Result<Option<String>> {
        let mut helper = Helper::spawn(|_| work())?;
        match helper.wait(until.min(self.deadline)) {
            Some(result) => result.map(Some),
            None => {
                helper.abandon();
                Ok(None)
            }
        }
    }
}

/// An environment variable that is set, not empty, and text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(OsString::into_string)?.ok()
}

/// The time an action has by itself, of the `total` after which the caller kills it.
pub(crate) fn own_time(total: Duration) -> Duration {
    let margin = (total / 10).clamp(Duration::from_millis(100), Duration::from_secs(2)).min(total / 2);
    total - margin
}

/// The time a helper process has, of the `own` time of the process that answers for it.
fn helper_time(own: Duration) -> Duration {
    let margin = (own / 50).clamp(Duration::from_millis(50), Duration::from_secs(1)).min(own / 4);
    own - margin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_answers_before_the_cluster_kills_it() {
        for ms in [1, 50, 300, 1000, 20_000, 60_000, 3_600_000] {
            let total = Duration::from_millis(ms);
            let own = own_time(total);
            let helper = helper_time(own);
            assert!(helper < own && own < total && !helper.is_zero(), "{total:?} {own:?} {helper:?}");
        }
        assert_eq!(own_time(Duration::from_secs(20)), Duration::from_secs(18));
    }
}
