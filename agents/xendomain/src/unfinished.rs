//! Two Primaries that a migration has left behind: its agent was killed, or nobody knew where the guest was.
//!
//! They are written down before they are allowed. A later action here takes them back as soon as it is sure where the
//! guest is. DRBD itself never takes the role from a node that has the disk open.

use crate::dual::Dual;
use crate::guest::Guest;
use crate::peers::{self, Answer};
use crate::toolstack::Toolstack;
use crate::{XenDomain, machine, record};
use ocf::drbd::{self, target::Target};
use ocf::state::drbd::Role;
use ocf::{Call, Text};
use std::path::PathBuf;
use std::time::Duration;

/// Between two tries of a monitor, each of which asks the other node.
const BETWEEN_TRIES: Duration = Duration::from_secs(60);
/// What a monitor has for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The guest.
    pub guest: String,
    /// Its domain on this node when it began to move.
    pub domain: u32,
    /// The process that moves it, by number and time of its start.
    pub process: (u32, String),
    /// The other node.
    pub address: String,
    /// The DRBD resources that two nodes may have.
    pub resources: Vec<String>,
}

impl Note {
    /// A note of this process.
    pub fn new(guest: &str, domain: u32, address: &str, call: &Call) -> Self {
        let own = std::process::id();
        let process = (own, started(call, own).unwrap_or_default());
        Self { guest: guest.into(), domain, process, address: address.into(), resources: Vec::new() }
    }

    fn render(&self) -> String {
        let Self { guest, domain, process: (pid, since), address, resources } = self;
        let resources = resources.join(" ");
        format!(
            "guest={guest}\ndomain={domain}\nprocess={pid} {since}\naddress={address}\nresources={resources}\n"
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let (pid, since) = field("process")?.split_once(' ')?;
        let resources: Vec<String> =
            field("resources")?.split_ascii_whitespace().map(str::to_string).collect();
        let plain = |name: &String| matches!(Target::parse(&Text::from(name.as_str())), Ok(Target::Name(_)));
        if resources.is_empty() || !resources.iter().all(plain) {
            return None;
        }
        Some(Self {
            guest: field("guest")?.to_string(),
            domain: field("domain")?.parse().ok()?,
            process: (pid.parse().ok()?, since.to_string()),
            address: field("address").filter(|address| peers::is_host(address))?.to_string(),
            resources,
        })
    }

    /// Whether the migration goes on, or the guest comes back in another one, which needs two Primaries again.
    fn is_at_work(&self, call: &Call) -> bool {
        let (pid, since) = &self.process;
        started(call, *pid).is_some_and(|found| found == *since)
            || machine::tool_is_at(call, &["migrate"], Some((&self.guest, self.domain)))
            || machine::somebody_receives(call)
    }
}

/// When a process began (proc(5), stat, field 22). None: there is no such process.
fn started(call: &Call, pid: u32) -> Option<String> {
    let stat = call.host.read_line(format!("/proc/{pid}/stat"))?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19).map(str::to_string)
}

fn file(call: &Call, key: &str) -> PathBuf {
    record::beside(call, key, "+two-primaries")
}

/// Writes it down. That it cannot be written does not stop a migration.
pub fn write(call: &Call, key: &str, note: &Note) {
    if let Err(error) = ocf::record::write(&file(call, key), note.render().as_bytes()) {
        call.log.warn(error);
    }
}

pub fn remove(call: &Call, key: &str) {
    ocf::record::remove(&file(call, key));
}

fn read(call: &Call, key: &str) -> Option<Note> {
    Note::parse(&ocf::record::read(&file(call, key))?)
}

/// Whether a stop has this to do even though no guest is here.
pub fn is_left(agent: &XenDomain, call: &Call) -> bool {
    read(call, &agent.key(call)).is_some()
}

/// Who gives the role back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Here,
    There,
}

/// Who gives the role back, if that is sure. Where neither has the guest, the role is this node's again, as before the
/// migration; `settled` says that this node is the one that the cluster deals with.
fn side(name: &str, here: &Guest, there: &Answer, settled: bool) -> Option<Side> {
    match (here, there) {
        (Guest::Live(_) | Guest::Paused(_), Answer::Absent) => Some(Side::There),
        (Guest::Absent(_), Answer::Absent) if settled => Some(Side::There),
        (Guest::Absent(_), Answer::Running(found, _)) if found == name => Some(Side::Here),
        _ => None,
    }
}

/// Takes back what is left, if it is sure where the guest is. Decides nothing of the answer of the action.
pub fn finish(agent: &XenDomain, name: &str, here: &Guest, call: &Call) {
    let key = agent.key(call);
    let Some(note) = read(call, &key).filter(|note| !note.is_at_work(call)) else { return };
    let monitor = call.action == "monitor";
    if monitor {
        let age = std::fs::metadata(file(call, &key)).and_then(|found| found.modified()).ok();
        let age = age.and_then(|then| then.elapsed().ok()).unwrap_or(BETWEEN_TRIES);
        if !call.probe && age < BETWEEN_TRIES {
            return;
        }
        write(call, &key, &note);
    }
    let call =
        &call.shortened(if monitor { PATIENCE.min(call.remaining() / 2) } else { call.remaining() / 2 });
    let Ok(tool) = Toolstack::find(call) else { return };
    let there = peers::ask(call, &note.address, name, tool.name());
    let names = note.resources.join(", ");
    let Some(side) = side(name, here, &there, !monitor) else {
        call.log.error(format_args!(
            "two Primaries of {names} stay allowed until one node alone has guest {name}: here {here:?}, there {there:?}"
        ));
        return;
    };
    if !call.change(format_args!("take back the two Primaries of {names}")) {
        return;
    }
    call.log.info(format_args!("taking back the two Primaries of {names} that a migration has left"));
    let dual = Dual::left(note, &key);
    match side {
        Side::Here => dual.close_here(call),
        Side::There => dual.close_there(call),
    }
}

/// Whether both nodes have the role: where only one has it, it is the one that the cluster has promoted since.
pub fn is_both(name: &str, call: &Call) -> bool {
    let target = Target::Name(name.into());
    // Who cannot be asked lets DRBD decide.
    drbd::observe(&target, call).ok().and_then(|observed| observed.whole()).is_none_or(|resource| {
        resource.role == Role::Primary && resource.peers.iter().any(|peer| peer.role == Role::Primary)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_a_hostile_one_is_none() {
        let note = Note {
            guest: "web".into(),
            domain: 3,
            process: (4711, "99".into()),
            address: "node2".into(),
            resources: vec!["r0".into(), "r1".into()],
        };
        assert_eq!(Note::parse(&note.render()), Some(note.clone()));
        for (from, to) in
            [("node2", "-oProxyCommand=id"), ("r0 r1", ""), ("r0", "r0;id"), ("r0", "all"), ("=3", "=x")]
        {
            assert_eq!(Note::parse(&note.render().replace(from, to)), None, "{to}");
        }
    }

    #[test]
    fn the_role_is_given_back_where_the_guest_is_not() {
        let (live, absent) = (Guest::Live(3), Guest::Absent(vec![]));
        let there = Answer::Running("web".into(), 7);
        let away = Answer::Running("web--migratedaway".into(), 7);
        let unknown = Answer::Unknown("no route".into());
        for (here, other, settled, wanted) in [
            (&live, &Answer::Absent, false, Some(Side::There)),
            (&Guest::Paused(3), &Answer::Absent, false, Some(Side::There)),
            (&absent, &there, false, Some(Side::Here)),
            (&absent, &Answer::Absent, true, Some(Side::There)),
            (&absent, &Answer::Absent, false, None),
            (&live, &there, true, None),
            (&live, &unknown, true, None),
            (&live, &Answer::Incoming(7), true, None),
            (&absent, &unknown, true, None),
            (&absent, &away, true, None),
            (&absent, &Answer::Incoming(7), true, None),
            (&Guest::Away(3), &there, true, None),
            (&Guest::Dying(3), &there, true, None),
            (&Guest::ShutDown(3, ocf::state::xen::list::Reason::Suspend), &there, true, None),
        ] {
            assert_eq!(side("web", here, other, settled), wanted, "{here:?} {other:?} {settled}");
        }
    }
}
