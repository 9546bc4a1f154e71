//! What each state of the guest means for monitor, start and stop: decisions on plain values.

use crate::Paused;
use crate::guest::Guest;
use ocf::state::xen::list::Reason;
use std::time::Duration;

/// How long a guest that has switched itself off waits for its xl process to clean up.
const REAPED_WITHIN: Duration = Duration::from_secs(5);
/// The same after a crash, and for a domain that is being destroyed, before it counts.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// What a look is made for, and what is known beside the guest's state.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// For how long it has been looked at.
    pub waited: Duration,
    /// It ran before, and whoever starts it again after a reboot is still there.
    pub may_return: bool,
    /// A migration or a save of this guest is under way on this node.
    pub moving: bool,
    /// A migration to this node is under way.
    pub receiving: bool,
    /// How long a reboot may take between two domains.
    pub reboot_wait: Duration,
    /// What a paused guest is.
    pub paused: Paused,
}

/// What a monitor answers or does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It runs.
    Running,
    /// It runs, and somebody should know this.
    RunningBut(String),
    /// It does not.
    Stopped,
    /// It does not, and somebody should know this.
    StoppedBut(String),
    /// Neither.
    Failed(String),
    /// Look again in a moment.
    Again,
    /// It has ended and nobody cleans up.
    Destroy(u32),
    /// The administrator wants a paused guest to go on.
    Unpause(u32),
}

/// monitor.
pub fn monitor(name: &str, guest: &Guest, now: &Circumstances) -> Answer {
    let early = |limit: Duration, else_: Answer| if now.waited < limit { Answer::Again } else { else_ };
    match guest {
        Guest::Live(_) => Answer::Running,
        Guest::Paused(id) => match now.paused {
            Paused::Ok => Answer::RunningBut(format!("guest {name} is paused: xl unpause {id}")),
            Paused::Fail => Answer::Failed(format!("guest {name} is paused: xl unpause {id}")),
            Paused::Unpause => Answer::Unpause(*id),
        },
        Guest::ShutDown(id, Reason::Poweroff) => early(REAPED_WITHIN, Answer::Destroy(*id)),
        Guest::ShutDown(_, Reason::Reboot | Reason::SoftReset) => early(
            now.reboot_wait,
            Answer::Failed(format!(
                "guest {name} asked for a reboot and nobody starts it again: its xl process is gone"
            )),
        ),
        Guest::ShutDown(_, Reason::Suspend) if now.moving => Answer::Running,
        Guest::ShutDown(_, Reason::Suspend) => early(
            SETTLED_WITHIN,
            Answer::Failed(format!(
                "guest {name} is suspended, but no migration is under way: stop cleans up"
            )),
        ),
        Guest::ShutDown(_, Reason::Crash | Reason::Watchdog) => early(
            SETTLED_WITHIN,
            Answer::Failed(format!("guest {name} crashed and is preserved: look at it, stop cleans up")),
        ),
        Guest::ShutDown(_, Reason::Unknown) => {
            Answer::Failed(format!("guest {name} has shut down for an unknown reason and is preserved"))
        }
        Guest::Dying(id) => early(
            SETTLED_WITHIN,
            Answer::Failed(format!("what is left of guest {name} (domain {id}) is still dying")),
        ),
        Guest::Away(_) if now.moving => Answer::Running,
        Guest::Away(id) => Answer::Failed(format!(
            "a migration of guest {name} left its old copy (domain {id}) over: stop cleans up"
        )),
        Guest::Incoming(id) => Answer::StoppedBut(format!(
            "guest {name} is coming to this node, or was (domain {id}, --incoming)"
        )),
        Guest::Several(ids) => several(name, ids),
        // Between the two domains of a reboot there is none.
        Guest::Absent(_) if now.may_return && now.waited < now.reboot_wait => Answer::Again,
        Guest::Absent(preserved) if preserved.is_empty() => Answer::Stopped,
        Guest::Absent(preserved) => {
            Answer::StoppedBut(format!("crashed copies of guest {name} use memory: {}", preserved.join(", ")))
        }
    }
}

fn several(name: &str, ids: &[u32]) -> Answer {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    Answer::Failed(format!(
        "{} domains are called {name} ({}): destroy all but one",
        ids.len(),
        ids.join(", ")
    ))
}

/// What start does about what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Nothing is to be done.
    Runs,
    /// Nothing is there.
    Create,
    /// Somebody paused it.
    Unpause(u32),
    /// It has ended; what is left has to go first.
    Destroy(u32),
    /// Look again in a moment.
    Again,
    /// It cannot be started.
    Refuse(String),
}

/// start.
pub fn start(name: &str, guest: &Guest, now: &Circumstances) -> Start {
    match guest {
        Guest::Live(_) => Start::Runs,
        Guest::Paused(id) => Start::Unpause(*id),
        Guest::ShutDown(id, Reason::Poweroff | Reason::Crash | Reason::Watchdog) => Start::Destroy(*id),
        Guest::ShutDown(_, Reason::Reboot | Reason::SoftReset) if now.waited < now.reboot_wait => {
            Start::Again
        }
        Guest::Incoming(id) if !now.receiving => Start::Destroy(*id),
        Guest::Incoming(_) => {
            Start::Refuse(format!("guest {name} is being migrated to this node: wait until that has ended"))
        }
        // As long as the action may take.
        Guest::Dying(_) => Start::Again,
        Guest::Absent(_) => Start::Create,
        Guest::ShutDown(..) | Guest::Away(_) | Guest::Several(_) => {
            let settled = Circumstances { waited: Duration::MAX, moving: false, ..*now };
            match monitor(name, guest, &settled) {
                Answer::Failed(why) => Start::Refuse(why),
                _ => Start::Refuse(format!("guest {name} is in no state to be started")),
            }
        }
    }
}

/// What stop does about what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Nothing is left.
    Done,
    /// It can be asked to shut down.
    ShutDown(u32),
    /// It is paused: it cannot shut down before it goes on.
    Unpause(u32),
    /// It cannot be asked.
    Destroy(u32),
    /// It crashed: its memory may be wanted.
    Dump(u32),
    /// It is on its way out.
    Again,
}

/// stop.
pub fn stop(guest: &Guest) -> Stop {
    match guest {
        Guest::Live(id) => Stop::ShutDown(*id),
        Guest::Paused(id) => Stop::Unpause(*id),
        Guest::ShutDown(id, Reason::Crash | Reason::Watchdog) => Stop::Dump(*id),
        Guest::ShutDown(id, _) | Guest::Away(id) | Guest::Incoming(id) => Stop::Destroy(*id),
        Guest::Several(ids) => ids.first().map_or(Stop::Again, |id| Stop::Destroy(*id)),
        Guest::Dying(_) => Stop::Again,
        Guest::Absent(_) => Stop::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reason::*;

    const NOW: Circumstances = Circumstances {
        waited: Duration::ZERO,
        may_return: false,
        moving: false,
        receiving: false,
        reboot_wait: Duration::from_secs(10),
        paused: Paused::Ok,
    };

    fn after(seconds: u64) -> Circumstances {
        Circumstances { waited: Duration::from_secs(seconds), ..NOW }
    }

    fn class(answer: &Answer) -> &'static str {
        match answer {
            Answer::Running => "running",
            Answer::RunningBut(_) => "running but",
            Answer::Stopped => "stopped",
            Answer::StoppedBut(_) => "stopped but",
            Answer::Failed(_) => "failed",
            Answer::Again => "again",
            Answer::Destroy(_) => "destroy",
            Answer::Unpause(_) => "unpause",
        }
    }

    #[test]
    fn every_cell_of_monitor() {
        let moving = Circumstances { moving: true, ..NOW };
        let returning = |seconds| Circumstances { may_return: true, ..after(seconds) };
        let paused = |paused| Circumstances { paused, ..NOW };
        let shut = |reason| Guest::ShutDown(5, reason);
        for (guest, now, wanted) in [
            (Guest::Live(5), NOW, "running"),
            (Guest::Paused(5), NOW, "running but"),
            (Guest::Paused(5), paused(Paused::Fail), "failed"),
            (Guest::Paused(5), paused(Paused::Unpause), "unpause"),
            (shut(Poweroff), NOW, "again"),
            (shut(Poweroff), after(5), "destroy"),
            (shut(Reboot), NOW, "again"),
            (shut(Reboot), after(9), "again"),
            (shut(Reboot), after(10), "failed"),
            (shut(SoftReset), after(10), "failed"),
            (shut(Suspend), NOW, "again"),
            (shut(Suspend), after(2), "failed"),
            (shut(Suspend), moving, "running"),
            (shut(Crash), NOW, "again"),
            (shut(Crash), after(2), "failed"),
            (shut(Watchdog), after(2), "failed"),
            (shut(Unknown), NOW, "failed"),
            (Guest::Dying(5), NOW, "again"),
            (Guest::Dying(5), after(2), "failed"),
            (Guest::Away(5), NOW, "failed"),
            (Guest::Away(5), moving, "running"),
            (Guest::Incoming(5), NOW, "stopped but"),
            (Guest::Several(vec![5, 6]), NOW, "failed"),
            (Guest::Absent(vec![]), NOW, "stopped"),
            (Guest::Absent(vec!["web-20261120T1045Z".into()]), NOW, "stopped but"),
            (Guest::Absent(vec![]), returning(0), "again"),
            (Guest::Absent(vec![]), returning(10), "stopped"),
        ] {
            assert_eq!(class(&monitor("web", &guest, &now)), wanted, "{guest:?} {now:?}");
        }
    }

    #[test]
    fn every_cell_of_start() {
        let receiving = Circumstances { receiving: true, ..NOW };
        let shut = |reason| Guest::ShutDown(5, reason);
        for (guest, now, wanted) in [
            (Guest::Live(5), NOW, Start::Runs),
            (Guest::Paused(5), NOW, Start::Unpause(5)),
            (shut(Poweroff), NOW, Start::Destroy(5)),
            (shut(Crash), NOW, Start::Destroy(5)),
            (shut(Watchdog), NOW, Start::Destroy(5)),
            (shut(Reboot), NOW, Start::Again),
            (Guest::Incoming(5), NOW, Start::Destroy(5)),
            (Guest::Dying(5), after(1000), Start::Again),
            (Guest::Absent(vec!["web-20261120T1045Z".into()]), NOW, Start::Create),
        ] {
            assert_eq!(start("web", &guest, &now), wanted, "{guest:?}");
        }
        for (guest, now) in [
            (shut(Reboot), after(10)),
            (shut(Suspend), NOW),
            (shut(Unknown), NOW),
            (Guest::Incoming(5), receiving),
            (Guest::Away(5), NOW),
            (Guest::Several(vec![5, 6]), NOW),
        ] {
            let Start::Refuse(why) = start("web", &guest, &now) else { panic!("{guest:?}") };
            assert!(why.contains("web") && why.len() <= 128, "{why}");
        }
    }

    #[test]
    fn every_cell_of_stop() {
        let shut = |reason| Guest::ShutDown(5, reason);
        for (guest, wanted) in [
            (Guest::Live(5), Stop::ShutDown(5)),
            (Guest::Paused(5), Stop::Unpause(5)),
            (shut(Poweroff), Stop::Destroy(5)),
            (shut(Reboot), Stop::Destroy(5)),
            (shut(Suspend), Stop::Destroy(5)),
            (shut(Crash), Stop::Dump(5)),
            (shut(Watchdog), Stop::Dump(5)),
            (Guest::Away(5), Stop::Destroy(5)),
            (Guest::Incoming(5), Stop::Destroy(5)),
            (Guest::Several(vec![5, 6]), Stop::Destroy(5)),
            (Guest::Dying(5), Stop::Again),
            (Guest::Absent(vec![]), Stop::Done),
        ] {
            assert_eq!(stop(&guest), wanted, "{guest:?}");
        }
    }
}
