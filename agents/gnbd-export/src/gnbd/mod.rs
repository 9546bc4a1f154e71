//! GNBD, by its own tools: gnbd_serv and gnbd_export of the cluster suite of 2004 to 2008.
//!
//! Both exit with 0 or 1 and no more, so what happened is read from the list. gnbd_serv opens the device once for each
//! client, in a child: those children are what keeps a device from being demoted.

mod list;

use self::list::Entry;
use crate::access::Access;
use crate::backend::{Backend, Found};
use crate::device;
use crate::export::Export;
use crate::processes;
use nix::sys::signal::Signal;
use ocf::{Call, Error, ExitCode, Output, Result};
use std::path::Path;
use std::time::{Duration, Instant};

const SERVER: &str = "gnbd_serv";
const TOOL: &str = "gnbd_export";
const PID_FILE: &str = "/var/run/gnbd/gnbd_serv.pid";
/// What is read of a tool's answer. Cut off between two exports, a list would look whole.
const LIST_MAX: usize = 256 * 1024;
/// Time between two tries to withdraw.
const PAUSE: Duration = Duration::from_millis(500);

/// The backend.
#[derive(Debug)]
pub struct Gnbd;

/// What it means; a decision on plain values. `is_it`: the file is the export's device, of that many sectors.
fn verdict(entry: &Entry, is_it: bool, sectors: Option<u64>, export: &Export) -> Found {
    if entry.invalid {
        return Found::Partial("was withdrawn by force, and is not gone yet".into());
    }
    if !is_it {
        return Found::Different(format!("offers {}", entry.file));
    }
    if sectors.is_some_and(|sectors| sectors != entry.sectors) {
        return Found::Different(format!("has {} sectors, unlike {}", entry.sectors, entry.file));
    }
    if entry.readonly != export.readonly {
        let mode = if entry.readonly { "for reading only" } else { "for writing" };
        return Found::Different(format!("offers {} {mode}", entry.file));
    }
    if entry.cached != export.cached {
        return Found::Different(format!("is {}cached", if entry.cached { "" } else { "not " }));
    }
    Found::Whole(None)
}

/// What runs of gnbd_serv.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Nothing.
    Absent,
    /// The servers of clients outlived the process that takes new ones and keeps the list.
    Headless,
    /// The process that keeps the list, as far as can be told.
    Alive,
}

fn server(call: &Call) -> Result<Server> {
    let pids = processes::named(call, SERVER)?;
    if pids.is_empty() {
        return Ok(Server::Absent);
    }
    let main = call.host.read_line(PID_FILE).and_then(|text| text.trim().parse::<i32>().ok());
    // A file that is old, or being written, is not enough to call a server dead that still answers.
    let is_dead = main.is_some_and(|main| !pids.contains(&main)) && list(call).is_err();
    Ok(if is_dead { Server::Headless } else { Server::Alive })
}

/// Asks the server for its exports.
fn list(call: &Call) -> Result<Vec<Entry>> {
    let output = run(call, TOOL, &["-l"], call.remaining() / 4)?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("{TOOL} -l: {}", output.complaint())));
    }
    if output.stdout.len() >= LIST_MAX {
        return Err(Error::generic(format_args!("the list of {TOOL} is too long")));
    }
    list::parse(&output.stdout)
        .map_err(|why| Error::generic(format_args!("the list of {TOOL} cannot be understood: {why}")))
}

/// Runs a tool. That it is not installed does not mean that its server has nothing exported.
fn run(call: &Call, name: &str, args: &[&str], limit: Duration) -> Result<Output> {
    let run = || {
        args.iter().fold(call.tool(name)?, |tool, arg| tool.arg(arg)).within(limit).keeping(LIST_MAX).run()
    };
    run().map_err(|error| match error.code() {
        ExitCode::Installed => Error::generic(format_args!("{SERVER} runs, but {error}")),
        _ => error,
    })
}

/// Servers of clients that have the export's device open.
fn children(export: &Export, call: &Call) -> Result<Vec<i32>> {
    let Some(node) = device::own_node(export, call) else { return Ok(Vec::new()) };
    let mut pids = processes::named(call, SERVER)?;
    pids.retain(|pid| processes::holds(call, *pid, &node));
    Ok(pids)
}

/// The same for a stop, which also waits for those on their way out: nobody sees what they still have open.
fn children_and_dying(export: &Export, call: &Call) -> Result<Vec<i32>> {
    let mut pids = children(export, call)?;
    let others = processes::named(call, SERVER)?.into_iter();
    pids.extend(others.filter(|pid| processes::is_dying(call, *pid)));
    Ok(pids)
}

impl Backend for Gnbd {
    fn word(&self) -> &'static str {
        "gnbd"
    }

    fn can(&self, export: &Export, call: &Call) -> Result<()> {
        if matches!(export.access, Access::List(_)) {
            return Err(Error::configured("gnbd cannot refuse anybody: leave allow empty"));
        }
        if !export.listen.is_unspecified() {
            return Err(Error::configured("gnbd listens on all addresses: leave listen out"));
        }
        for name in [SERVER, TOOL] {
            call.tool(name)?;
        }
        Ok(())
    }

    fn look(&self, export: &Export, call: &Call) -> Result<Found> {
        let list = match server(call)? {
            Server::Absent => return Ok(Found::Absent),
            Server::Headless => Vec::new(),
            Server::Alive => list(call)?,
        };
        let Some(entry) = list.into_iter().find(|entry| entry.name == export.name) else {
            return Ok(match children(export, call)?.first() {
                Some(pid) => {
                    Found::Partial(format!("is withdrawn, but {SERVER}[{pid}] still holds the device"))
                }
                None => Found::Absent,
            });
        };
        if call.action == "stop" {
            return Ok(Found::Whole(None));
        }
        let is_it = device::is_it(export, &entry.file, call)?;
        Ok(verdict(&entry, is_it, device::sectors(export, call), export))
    }

    fn start(&self, export: &Export, call: &Call) -> Result<()> {
        if server(call)? != Server::Alive {
            let port = export.port.map(|port| port.to_string());
            let mut args = if export.cached { vec!["-n"] } else { Vec::new() };
            args.extend(port.as_deref().into_iter().flat_map(|port| ["-p", port]));
            if call.change(format_args!("run {SERVER} {}", args.join(" "))) {
                // It may take ten seconds to say that it has started.
                let output = run(call, SERVER, &args, call.remaining() * 3 / 5)?;
                // Another export's start may have been faster.
                if !output.succeeded() && list(call).is_err() {
                    return Err(Error::generic(format_args!(
                        "{SERVER} does not start: {}",
                        output.complaint()
                    )));
                }
            }
        }
        let node = device::node(export, call)?;
        let timeout = export.timeout_s.filter(|_| !export.cached).map(|seconds| seconds.to_string());
        let node = node.to_string_lossy();
        let mut args = vec!["-e", &export.name, "-d", &node];
        args.extend(export.cached.then_some("-c"));
        args.extend(export.readonly.then_some("-o"));
        args.extend(timeout.as_deref().into_iter().flat_map(|seconds| ["-t", seconds]));
        if !call.change(format_args!("run {TOOL} {}", args.join(" "))) {
            return Ok(());
        }
        let output = run(call, TOOL, &args, call.remaining() / 3)?;
        if output.succeeded() {
            return Ok(());
        }
        Err(Error::generic(format_args!("export {}: {TOOL}: {}", export.name, output.complaint())))
    }

    fn stop(&self, export: &Export, call: &Call) -> Result<()> {
        match server(call)? {
            Server::Absent => return Ok(()),
            Server::Headless => return release(export, call),
            Server::Alive => {}
        }
        if list(call)?.iter().any(|entry| entry.name == export.name) {
            withdraw(export, call)?;
        }
        release(export, call)?;
        if call.dry_run {
            return Ok(());
        }
        let rest = list(call)?;
        if rest.iter().any(|entry| entry.name == export.name) {
            return Err(Error::generic(format_args!(
                "export {} is still there: look at {TOOL} -l",
                export.name
            )));
        }
        if rest.is_empty() {
            // The device is free. Another export may begin at this moment: then the server refuses.
            let output = run(call, SERVER, &["-k"], call.remaining() / 3)?;
            if !output.succeeded() {
                call.log.warn(format_args!("{SERVER} stays: {}", output.complaint()));
            }
        }
        Ok(())
    }

    /// The list is the server's answer, and the look has asked for it.
    fn ask(&self, _export: &Export, _call: &Call) -> Result<()> {
        Ok(())
    }
}

/// Takes the export out of the list: politely while its clients may let go, then by force.
fn withdraw(export: &Export, call: &Call) -> Result<()> {
    let name = &export.name;
    if !call.change(format_args!("run {TOOL} -r {name}")) {
        return Ok(());
    }
    let until = call.within(export.drain.min(call.remaining() / 4));
    let mut complaint = String::new();
    loop {
        let output = run(call, TOOL, &["-r", name], call.remaining() / 4)?;
        if output.succeeded() {
            return Ok(());
        }
        if complaint.is_empty() {
            complaint = output.complaint();
            call.log.info(format_args!("export {name} has clients, or {TOOL} -r fails: {complaint}"));
        }
        if Instant::now() + PAUSE >= until {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if !export.force_stop {
        return Err(Error::generic(format_args!(
            "export {name} cannot be withdrawn without force: {complaint}"
        )));
    }
    let output = run(call, TOOL, &["-O", "-r", name], call.remaining() / 3)?;
    if output.succeeded() {
        return Ok(());
    }
    Err(Error::generic(format_args!("export {name} cannot be withdrawn: {TOOL} -O: {}", output.complaint())))
}

/// Waits until no server of a client has the device open any more, and ends those that do not let go.
fn release(export: &Export, call: &Call) -> Result<()> {
    call.step("waiting for the servers of clients to let the device go");
    let slice = || call.within(call.remaining() / 4);
    let held = || children_and_dying(export, call);
    let mut left = processes::wait_for(slice(), held)?;
    if export.force_stop {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if left.is_empty() {
                break;
            }
            processes::signal(call, &children(export, call)?, signal);
            left = processes::wait_for(slice(), held)?;
        }
    }
    match left.first() {
        None => Ok(()),
        Some(_) if call.dry_run => Ok(()),
        Some(pid) => {
            let device = export.device().unwrap_or(Path::new("the device")).display();
            Err(Error::generic(format_args!("export {}: {SERVER}[{pid}] still holds {device}", export.name)))
        }
    }
}
