//! NBD, by qemu-nbd or nbd-server: a server process of its own for each export. Only when named: no client of NBD was
//! seen to go through a switch.
//!
//! The process is recognised by a file of ours in its arguments, not by a number in a file. qemu-nbd has the device open
//! from its start on, nbd-server in a child for each client.

use crate::access::{Access, Kind};
use crate::ask;
use crate::backend::{Backend, Found};
use crate::device;
use crate::export::Export;
use crate::processes;
use nix::sys::signal::Signal;
use ocf::{Call, Context, Error, Result};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The port that IANA has given to NBD.
const USUAL_PORT: u16 = 10809;
const FOLDER: &str = "/run/holdfast";
/// How long a new server may take until it answers.
const BIRTH: Duration = Duration::from_secs(15);

/// The server programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// qemu-nbd.
    Qemu,
    /// nbd-server.
    NbdServer,
}

impl Server {
    const ALL: [Self; 2] = [Self::Qemu, Self::NbdServer];

    fn tool(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-nbd",
            Self::NbdServer => "nbd-server",
        }
    }

    /// The argument that only a server of this export has.
    fn mark(self, export: &Export) -> String {
        match self {
            Self::Qemu => format!("--pid-file={}", file(export, "pid")),
            Self::NbdServer => file(export, "conf"),
        }
    }
}

/// The backend: one of the servers, or whichever is there.
#[derive(Debug)]
pub struct Nbd(pub Option<Server>);

/// A file of the export's.
fn file(export: &Export, kind: &str) -> String {
    format!("{FOLDER}/gnbd-export-{}.{kind}", export.name)
}

/// The processes of the export, with the arguments of the first.
fn servers(export: &Export, call: &Call) -> Result<Vec<(Server, i32, Vec<String>)>> {
    let mut found = Vec::new();
    for server in Server::ALL {
        let mark = server.mark(export);
        for pid in processes::named(call, server.tool())? {
            if let Some(words) = processes::words(call, pid)?
                && words.contains(&mark)
            {
                found.push((server, pid, words));
            }
        }
    }
    Ok(found)
}

fn pids(export: &Export, call: &Call) -> Result<Vec<i32>> {
    Ok(servers(export, call)?.into_iter().map(|(_, pid, _)| pid).collect())
}

/// Servers on their way out, of whichever export: they do not say any more, and may have the device open.
fn dying(call: &Call) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for server in Server::ALL {
        let pids = processes::named(call, server.tool())?;
        found.extend(pids.into_iter().filter(|pid| processes::is_dying(call, *pid)));
    }
    Ok(found)
}

/// Waits for those, most of which go at once: what may be another export's is not held against this one before its time.
fn gone(call: &Call) -> Result<Vec<i32>> {
    processes::wait_for(call.within(call.remaining() / 4), || dying(call))
}

/// The configuration of nbd-server.
fn configuration(export: &Export, node: &str) -> String {
    let mut text = format!(
        "[generic]\n\tlistenaddr = {}\n\tport = {}\n[{}]\n\texportname = {node}\n\tflush = true\n\tfua = true\n",
        export.listen,
        export.port_or(USUAL_PORT),
        export.name
    );
    if export.readonly {
        text.push_str("\treadonly = true\n");
    }
    if matches!(export.access, Access::List(_)) {
        text.push_str(&format!("\tauthfile = {}\n", file(export, "allow")));
    }
    text
}

/// Who is admitted: those in `allow`, and this node, which has the device anyway and asks whether the export answers.
fn admitted(export: &Export) -> String {
    let mut lines = export.access.of(Kind::Address);
    lines.extend(["127.0.0.1".into(), "::1".into()]);
    if !export.listen.is_unspecified() {
        lines.push(export.listen.to_string());
    }
    lines.join("\n") + "\n"
}

/// The arguments of qemu-nbd.
fn arguments(export: &Export, node: &str) -> Vec<String> {
    let mut words: Vec<String> =
        ["--fork", "--persistent", "--format=raw", "--cache=none", "--shared=0"].map(String::from).into();
    words.push(format!("--export-name={}", export.name));
    words.push(format!("--bind={}", export.listen));
    words.push(format!("--port={}", export.port_or(USUAL_PORT)));
    words.push(Server::Qemu.mark(export));
    words.extend(export.readonly.then(|| "--read-only".into()));
    words.push(node.into());
    words
}

impl Nbd {
    fn server(&self, export: &Export, call: &Call) -> Result<Server> {
        let server = self.0.unwrap_or_else(|| {
            let named = matches!(export.access, Access::List(_));
            if named || call.tool("qemu-nbd").is_err() { Server::NbdServer } else { Server::Qemu }
        });
        call.tool(server.tool())?;
        Ok(server)
    }
}

impl Backend for Nbd {
    fn word(&self) -> &'static str {
        "nbd"
    }

    fn can(&self, export: &Export, call: &Call) -> Result<()> {
        let server = self.server(export, call)?;
        match (server, &export.access) {
            (Server::Qemu, Access::List(_)) => {
                Err(Error::configured("qemu-nbd cannot refuse anybody: leave allow empty, or use nbd-server"))
            }
            (Server::NbdServer, access) if access.misses(Kind::Address) => {
                Err(Error::configured("allow names no address, and nbd-server knows no other names"))
            }
            _ => Ok(()),
        }
    }

    fn look(&self, export: &Export, call: &Call) -> Result<Found> {
        let servers = servers(export, call)?;
        let Some((server, _, words)) = servers.first() else {
            let is_ending = call.action == "stop" && !gone(call)?.is_empty();
            return Ok(if is_ending {
                Found::Partial("has a server that is ending".into())
            } else {
                Found::Absent
            });
        };
        if call.action == "stop" {
            return Ok(Found::Whole(None));
        }
        match server {
            Server::Qemu => {
                let node = words.last().cloned().unwrap_or_default();
                if !device::is_it(export, &node, call)? {
                    return Ok(Found::Different(format!("offers {node}")));
                }
                let wanted = arguments(export, &node);
                let same = words.iter().skip(1).eq(wanted.iter());
                Ok(if same { Found::Whole(None) } else { Found::Different("has other parameters".into()) })
            }
            Server::NbdServer => {
                let text = call
                    .host
                    .read(file(export, "conf"))
                    .or_generic("the server's configuration cannot be read")?;
                let text = String::from_utf8_lossy(&text).into_owned();
                let node = text
                    .lines()
                    .find_map(|line| line.trim().strip_prefix("exportname = "))
                    .unwrap_or_default();
                if !device::is_it(export, node, call)? {
                    return Ok(Found::Different(format!("offers {node}")));
                }
                if text != configuration(export, node) {
                    return Ok(Found::Different("has other parameters".into()));
                }
                // Children of clients may outlive the process that takes new ones.
                let main = call.host.read_line(file(export, "pid")).and_then(|text| text.parse::<i32>().ok());
                Ok(match main.filter(|main| servers.iter().any(|(_, pid, _)| pid == main)) {
                    Some(_) => Found::Whole(None),
                    None => Found::Partial("has lost the server that takes new clients".into()),
                })
            }
        }
    }

    fn start(&self, export: &Export, call: &Call) -> Result<()> {
        let server = self.server(export, call)?;
        let node = device::node(export, call)?.to_string_lossy().into_owned();
        let mut tool = call.tool(server.tool())?.within(call.remaining() / 3);
        let words = match server {
            Server::Qemu => arguments(export, &node),
            Server::NbdServer => vec!["-C".into(), file(export, "conf"), "-p".into(), file(export, "pid")],
        };
        if !call.change(format_args!("run {} {}", server.tool(), words.join(" "))) {
            return Ok(());
        }
        make_folder(call)?;
        if server == Server::NbdServer {
            write(call, &file(export, "allow"), &admitted(export))?;
            write(call, &file(export, "conf"), &configuration(export, &node))?;
        }
        for word in words {
            tool = tool.arg(word);
        }
        let output = tool.run()?;
        if !output.succeeded() {
            return Err(Error::generic(format_args!(
                "export {}: {}: {}",
                export.name,
                server.tool(),
                output.complaint()
            )));
        }
        // nbd-server has not opened its port yet when it returns, and goes without a word if it cannot.
        let (until, early) = (call.within(BIRTH), Instant::now() + BIRTH / 15);
        loop {
            let Err(error) = self.ask(export, call) else { return Ok(()) };
            let has_gone = Instant::now() >= early && pids(export, call)?.is_empty();
            if has_gone || Instant::now() >= until {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&self, export: &Export, call: &Call) -> Result<()> {
        let ours = || pids(export, call);
        let slice = || call.within(call.remaining() / 4);
        let drain = call.within(export.drain.min(call.remaining() / 4));
        // One process is the server itself; more are those of clients.
        while ours()?.len() > 1 && Instant::now() < drain {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut left = ours()?;
        if left.len() > 1 && !export.force_stop {
            return Err(Error::generic(format_args!(
                "export {} cannot be withdrawn without force: it has clients",
                export.name
            )));
        }
        call.step("waiting for the NBD server to end");
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            if left.is_empty() {
                break;
            }
            processes::signal(call, &left, signal);
            left = processes::wait_for(slice(), ours)?;
        }
        if left.is_empty() {
            left = gone(call)?;
        }
        if call.dry_run {
            return Ok(());
        }
        if let Some(pid) = left.first() {
            return Err(Error::generic(format_args!(
                "export {}: its server {pid} does not end",
                export.name
            )));
        }
        for kind in ["pid", "conf", "allow"] {
            let _ = std::fs::remove_file(call.host.path(Path::new(&file(export, kind))));
        }
        Ok(())
    }

    fn ask(&self, export: &Export, call: &Call) -> Result<()> {
        let why = |why: String| {
            Error::generic(format_args!("export {} does not answer over NBD: {why}", export.name))
        };
        let answer = ask::nbd(export.address_to_ask(USUAL_PORT), &export.name, call).map_err(why)?;
        if let Some(sectors) = device::sectors(export, call)
            && sectors.checked_mul(512) != Some(answer.size)
        {
            return Err(why(format!("it has {} bytes, unlike the device", answer.size)));
        }
        if answer.readonly != export.readonly {
            return Err(why("it is for reading only, or is not, unlike readonly".into()));
        }
        Ok(())
    }
}

fn make_folder(call: &Call) -> Result<()> {
    let result =
        std::fs::DirBuilder::new().mode(0o755).recursive(true).create(call.host.path(Path::new(FOLDER)));
    result.or_generic(format_args!("{FOLDER} cannot be made"))
}

fn write(call: &Call, path: &str, text: &str) -> Result<()> {
    let mut options = File::options();
    let options =
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let written =
        options.open(call.host.path(Path::new(path))).and_then(|mut file| file.write_all(text.as_bytes()));
    written.or_generic(format_args!("{path} cannot be written"))
}
