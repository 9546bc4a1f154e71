//! Processes as /proc shows them (proc(5)). Only files that the kernel answers without waiting for the process.

use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// The pids of all processes of this pid namespace.
pub fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// How many tasks, that is threads of processes, the kernel has. None: it does not say.
pub fn tasks() -> Option<usize> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split('/').nth(1)?.split(' ').next()?.parse().ok()
}

/// The parent's pid. None: the process has gone.
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.parent)
}

/// What /proc/PID/stat says of a process's relatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    session: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The processes that descend from this one and are still of its session: a daemon that a tool has started has left
/// it, and does not count.
pub(crate) fn family() -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let Some(session) = stat(me).map(|stat| stat.session) else { return Vec::new() };
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(stat) = stat(pid).filter(|stat| stat.session == session) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![me];
    while let Some(pid) = open.pop() {
        for &child in children.get(&pid).into_iter().flatten() {
            found.push(child);
            open.push(child);
        }
    }
    found
}

/// Becomes the parent of descendants whose own parent dies: none of them can get away by forking while it is killed.
pub(crate) fn adopt_orphans() {
    let _ =
        rustix::process::set_child_subreaper(Pid::from_raw(i32::try_from(std::process::id()).unwrap_or(0)));
}

/// Kills the whole family, also those that are born meanwhile. What sleeps uninterruptibly stays.
pub(crate) fn kill_family(limit: Duration) {
    let until = Instant::now() + limit;
    loop {
        let family = family();
        for pid in family.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
        if family.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The name of the program, at most 15 bytes, without the newline.
pub fn name(pid: i32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    crate::error::printable(name.trim_ascii_end())
}

/// `pid`, its parent, and so on up to the first process.
pub fn with_ancestors(pid: i32) -> Vec<i32> {
    let mut chain = vec![pid];
    while let Some(next) = chain.last().and_then(|&pid| parent(pid)) {
        if next == 0 || chain.contains(&next) {
            break;
        }
        chain.push(next);
    }
    chain
}

/// Fields 4 and 6 of /proc/PID/stat. Field 2 is the name in parentheses and may hold anything, so it is skipped from
/// the end.
fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    Some(Stat { parent: fields.next()?.parse().ok()?, session: fields.nth(1)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_confuse_the_parent() {
        let stat = parse_stat(b"42 (a) S 1 (b) S 7 43 44 0");
        assert_eq!(stat, Some(Stat { parent: 7, session: 44 }));
        assert_eq!(parse_stat(b"garbage"), None);
    }

    #[test]
    fn the_chain_of_ancestors_begins_here_and_ends_at_the_first_process() {
        let me = i32::try_from(std::process::id()).unwrap();
        let chain = with_ancestors(me);
        assert_eq!(chain.first(), Some(&me));
        assert!(chain.len() > 1);
    }
}
