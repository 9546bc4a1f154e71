//! The state of the container: the kernel is asked first, a tool only if the kernel cannot tell.

use crate::codes::{self, NO_CONFIG};
use crate::config;
use crate::ctid::Ctid;
use crate::state::{Run, parse_status, parse_veinfo};
use crate::{OpenVz, Tool};
use ocf::{Call, Error, ExitCode, Output, Result, mounts, printable};
use std::path::{Path, PathBuf};

/// How deep groups of control groups are looked into. Containers with systemd make some levels of them.
const DEPTH: usize = 12;

/// The program that manages the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// OpenVZ's and Virtuozzo's.
    Vzctl,
    /// Virtuozzo's, which knows virtual machines too.
    Prlctl,
}

impl Program {
    /// The one that the parameter names, or that is here.
    pub fn of(agent: &OpenVz, call: &Call) -> Self {
        match agent.tool {
            Tool::Vzctl => Self::Vzctl,
            Tool::Prlctl => Self::Prlctl,
            Tool::Auto if call.host.tool("vzctl").is_none() && call.host.tool("prlctl").is_some() => {
                Self::Prlctl
            }
            Tool::Auto => Self::Vzctl,
        }
    }

    /// Its file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vzctl => "vzctl",
            Self::Prlctl => "prlctl",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What the container does.
    pub run: Run,
    /// Its files and configuration are here; none if only the kernel was asked.
    pub exists: Option<bool>,
    /// Its root directory is mounted; none if only the kernel was asked.
    pub mounted: Option<bool>,
}

impl Found {
    const fn by_kernel(run: Run) -> Self {
        Self { run, exists: None, mounted: None }
    }

    /// True if it has processes, or is about to.
    pub fn is_alive(self) -> bool {
        !matches!(self.run, Run::Down | Run::Suspended)
    }

    /// The same for people.
    pub fn words(self) -> &'static str {
        match (self.run, self.note()) {
            (_, Some(note)) => note,
            (Run::Running, _) => "running",
            (Run::Coming, _) => "about to run",
            (Run::Going, _) => "on its way to another state",
            (_, None) => "down",
        }
    }

    /// A word for the status line.
    pub fn note(self) -> Option<&'static str> {
        match self.run {
            Run::Paused => Some("paused"),
            Run::Suspended => Some("suspended"),
            Run::Down if self.mounted == Some(true) => Some("mounted"),
            Run::Down if self.exists == Some(false) => Some("deleted"),
            _ => None,
        }
    }
}

/// What the kernel says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kernel {
    /// It has processes.
    Runs,
    /// It has none.
    Down,
    /// It has none, but these control groups of it were left behind.
    Leftover(PathBuf),
    /// It cannot tell.
    Silent,
}

/// Looks for the container.
pub fn look(agent: &OpenVz, ctid: &Ctid, call: &Call) -> Result<Found> {
    let program = Program::of(agent, call);
    let kernel = kernel(ctid, program, call);
    call.log.trace(format_args!("kernel: {kernel:?}"));
    match kernel {
        Kernel::Runs => Ok(Found::by_kernel(Run::Running)),
        Kernel::Down | Kernel::Leftover(_) => Ok(Found::by_kernel(Run::Down)),
        Kernel::Silent => match ask(program, ctid, call) {
            // Nothing can run where there is neither a tool nor a trace of a container in the kernel.
            Err(error) if error.code() == ExitCode::Installed => match call.action.as_str() {
                "stop" if shows_no_container(call) => {
                    call.log.debug(error);
                    Ok(Found::by_kernel(Run::Down))
                }
                // Of a probe, 5 would mean that it cannot run here.
                "monitor" if call.probe && !shows_no_container(call) => Err(Error::generic(error.reason())),
                _ => Err(error),
            },
            answer => answer,
        },
    }
}

/// Asks the tool. Only its standard output counts: warnings on the other one are in the words of the state, too.
pub fn ask(program: Program, ctid: &Ctid, call: &Call) -> Result<Found> {
    let output = call.tool(program.name())?.arg("status").arg(ctid.as_str()).run()?;
    if is_unknown_to(program, &output) {
        return Ok(Found { run: Run::Down, exists: Some(false), mounted: Some(false) });
    }
    if !output.succeeded() {
        return Err(codes::failure(program.name(), "status", ctid.as_str(), &output));
    }
    match parse_status(&output.stdout) {
        Some(status) => Ok(Found { run: status.run, exists: Some(status.exists), mounted: status.mounted }),
        None => {
            let line = output.stdout.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let mut line = printable(line);
            line.truncate(50);
            let name = program.name();
            Err(Error::generic(format_args!("{ctid}: {name} status says '{line}', which is no known state")))
        }
    }
}

/// True if the tool says that this node has no such container or machine.
fn is_unknown_to(program: Program, output: &Output) -> bool {
    match program {
        Program::Vzctl => output.code == Some(NO_CONFIG),
        Program::Prlctl => {
            output.code.is_some_and(|code| code != 0)
                && String::from_utf8_lossy(&output.stderr).lines().any(|line| {
                    // Of what: a missing library or service is not a missing machine.
                    let of = ["machine could not", "environment could not", "container could not"];
                    line.contains("could not be found") && of.iter().any(|words| line.contains(words))
                })
        }
    }
}

/// Asks the kernel: its table of containers, or where there is none, the control groups that vzctl makes.
pub fn kernel(ctid: &Ctid, program: Program, call: &Call) -> Kernel {
    let ids = config::ids(ctid, call);
    if let Ok(table) = call.host.read("/proc/vz/veinfo")
        && let Some(running) = parse_veinfo(&table)
    {
        return by_table(ctid, &ids, &running, program);
    }
    let names: Vec<String> = if ids.is_empty() { vec![ctid.as_str().to_string()] } else { ids };
    by_control_groups(&names, call)
}

fn by_table(ctid: &Ctid, ids: &[String], running: &[String], program: Program) -> Kernel {
    let is_running = |id: &str| running.iter().any(|other| other.eq_ignore_ascii_case(id));
    if is_running(ctid.as_str()) || ids.iter().any(|id| is_running(id)) {
        return Kernel::Runs;
    }
    let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
    let others: Vec<&String> = running.iter().filter(|id| *id != "0").collect();
    // Without a configuration here, what runs under another id may be it: by a name, or by Virtuozzo's UUID.
    let sure = !ids.is_empty()
        || others.is_empty()
        || (is_number(ctid.as_str()) && others.iter().all(|id| is_number(id)));
    // The table has no virtual machines.
    let may_be_machine = program == Program::Prlctl && ids.is_empty();
    if sure && !may_be_machine { Kernel::Down } else { Kernel::Silent }
}

/// vzctl 4 on a kernel that is not OpenVZ's makes the control group `vz-CTID` in each hierarchy.
fn by_control_groups(names: &[String], call: &Call) -> Kernel {
    let Ok(hierarchies) = hierarchies(call) else { return Kernel::Silent };
    let mut leftover = None;
    for hierarchy in hierarchies {
        for group in names.iter().map(|name| hierarchy.join(format!("vz-{name}"))) {
            if call.host.exists(&group) {
                if has_processes(&call.host.path(&group), DEPTH) {
                    return Kernel::Runs;
                }
                leftover = Some(group);
            }
        }
    }
    leftover.map_or(Kernel::Silent, Kernel::Leftover)
}

/// Where control groups are mounted.
fn hierarchies(call: &Call) -> Result<Vec<PathBuf>> {
    let table = mounts::table(call)?;
    let groups = table.into_iter().filter(|mount| mount.fstype == "cgroup" || mount.fstype == "cgroup2");
    Ok(groups.map(|mount| mount.point).collect())
}

/// True if this is no OpenVZ kernel, and no control group is a container's.
fn shows_no_container(call: &Call) -> bool {
    let has_group = |hierarchy: PathBuf| match std::fs::read_dir(call.host.path(&hierarchy)) {
        Ok(groups) => groups.into_iter().any(|group| {
            group.map_or(true, |group| group.file_name().as_encoded_bytes().starts_with(b"vz-"))
        }),
        Err(_) => true,
    };
    !call.host.exists("/proc/vz")
        && hierarchies(call).is_ok_and(|hierarchies| !hierarchies.into_iter().any(has_group))
}

/// Whether a control group or one below it has a process. What cannot be read has one.
fn has_processes(group: &Path, depth: usize) -> bool {
    match std::fs::read(group.join("cgroup.procs")) {
        Ok(text) if text.trim_ascii().is_empty() => {}
        _ => return true,
    }
    let Ok(below) = std::fs::read_dir(group) else { return true };
    below.into_iter().any(|entry| match entry {
        Ok(entry) => {
            let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
            is_group && (depth == 0 || has_processes(&entry.path(), depth - 1))
        }
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f";

    fn table(given: &str, ids: &[&str], running: &[&str], program: Program) -> Kernel {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_string()).collect::<Vec<_>>();
        by_table(&Ctid::parse(given.as_bytes()).unwrap(), &owned(ids), &owned(running), program)
    }

    #[test]
    fn the_kernel_s_table_decides_when_it_can() {
        use Kernel::{Down, Runs, Silent};
        use Program::{Prlctl, Vzctl};
        for (given, ids, running, program, verdict) in [
            ("101", &["101"][..], &["0", "101"][..], Vzctl, Runs),
            ("101", &["101"], &["0", "102"], Vzctl, Down),
            // It runs although its configuration has gone.
            ("101", &[], &["0", "101"], Vzctl, Runs),
            (UUID, &[], &["0", UUID], Vzctl, Runs),
            // No configuration here, but nothing that it could be.
            ("101", &[], &["0", "102"], Vzctl, Down),
            ("db", &[], &["0"], Vzctl, Down),
            // It could be this one, by a name that is not known here.
            ("101", &[], &["0", UUID], Vzctl, Silent),
            ("db", &[], &["0", "101"], Vzctl, Silent),
            (UUID, &[], &["0", "101"], Vzctl, Silent),
            ("db", &["101"], &["0", "101"], Vzctl, Runs),
            ("db", &["101"], &["0", "102"], Vzctl, Down),
            // 101 as the name of one with a UUID.
            ("101", &["101", UUID], &["0", UUID], Vzctl, Runs),
            (UUID, &[UUID], &["0", &UUID.to_uppercase()], Vzctl, Runs),
            // A virtual machine is in no table of the kernel's.
            ("vm1", &[], &["0"], Prlctl, Silent),
            ("db", &["101"], &["0"], Prlctl, Down),
        ] {
            assert_eq!(table(given, ids, running, program), verdict, "{given} {ids:?} {running:?}");
        }
    }
}
