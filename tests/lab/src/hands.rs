//! For people who type: nodes that stay until `lab down`, and a shell in them.
//!
//! `lab boot` leaves a second process of itself behind, which holds the nodes; `lab down` ends it and the nodes with it.

use crate::images::cache;
use crate::lab::Wish;
use crate::qemu::Kind;
use crate::setup::agents;
use crate::wire::{self, Request};
use crate::{Doing, Lab, Result, failed, owned};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

/// What `lab shell` and `lab down` need to know about the nodes that `lab boot` left.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    pid: i32,
    /// When that process started, in clock ticks: another one may get the same number.
    started: String,
    nodes: Vec<(String, u16)>,
}

/// Boots nodes and leaves them running.
///
/// # Errors
/// When some run already or do not come up.
pub fn boot(count: usize, kind: Kind) -> Result {
    if let Some(held) = held() {
        return Err(failed(format!("{} nodes are up already; lab shell, lab down", held.nodes.len())));
    }
    let cache = cache()?;
    fs::create_dir_all(&cache)?;
    let file = record()?;
    let _ = fs::remove_file(&file);
    let log = cache.join("boot.log");
    let mut keeper = Command::new(std::env::current_exe()?)
        .args(["hold", &count.to_string()])
        .args((kind == Kind::Xen).then_some("--xen"))
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?)
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(keeper.id()).map_err(|_| failed("a process number too large"))?);
    owned::hold(pid);
    let mut shown = 0;
    loop {
        let text = fs::read(&log)?;
        std::io::stdout().write_all(text.get(shown..).unwrap_or_default())?;
        shown = text.len();
        if file.exists() {
            owned::let_go(pid);
            println!("lab shell 1 opens a shell; lab down switches all off");
            return Ok(());
        }
        if keeper.try_wait()?.is_some() {
            return Err(failed(format!("the nodes did not come up; see {}", log.display())));
        }
        sleep(Duration::from_millis(200));
    }
}

/// The process that `lab boot` leaves behind.
///
/// # Errors
/// When the nodes do not come up.
pub fn hold(count: usize, kind: Kind) -> Result {
    let names: Vec<String> = (1..=count).map(|number| format!("node{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lab = Lab::new(&Wish { kind, ..Wish::of(&names) })?;
    lab.boot()?;
    agents::install(&lab)?;
    let nodes = lab.nodes().iter().filter_map(|node| Some((node.name().to_owned(), node.port()?))).collect();
    let pid = Pid::this().as_raw();
    let started = start_time(pid).ok_or_else(|| failed("/proc/self/stat cannot be read"))?;
    // From here on a signal that a terminal sends to `lab boot` is not for this process.
    nix::unistd::setsid()?;
    let new = record()?.with_extension("new");
    fs::write(&new, serde_json::to_vec(&Held { pid, started, nodes })?)?;
    fs::rename(new, record()?)?;
    while lab.nodes().iter().any(crate::Node::is_on) {
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// Ends what [`boot`] left.
///
/// # Errors
/// When it does not end.
pub fn down() -> Result {
    let Some(held) = held() else {
        println!("no node is up");
        return Ok(());
    };
    kill(Pid::from_raw(held.pid), Signal::SIGTERM)?;
    for _ in 0..150 {
        if start_time(held.pid).is_none_or(|started| started != held.started) {
            let _ = fs::remove_file(record()?);
            println!("{} nodes are off", held.nodes.len());
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
    Err(failed(format!("process {} does not end", held.pid)))
}

/// A shell in node `number`, or one command when there is one; gives the exit code.
///
/// # Errors
/// When no such node is up.
pub fn shell(number: usize, command: &[String]) -> Result<i32> {
    let held = held().ok_or_else(|| failed("no node is up; lab boot"))?;
    let (name, port) = number
        .checked_sub(1)
        .and_then(|index| held.nodes.get(index))
        .ok_or_else(|| failed(format!("there are {} nodes", held.nodes.len())))?;
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).doing(name)?;
    if !command.is_empty() {
        let request = Request::Run { argv: command.to_vec(), env: Vec::new(), stdin: 0 };
        wire::send(&mut connection, &request)?;
        let mut reader = std::io::BufReader::new(connection);
        let answer: wire::Answer = wire::receive(&mut reader)?;
        if let Some(error) = answer.error {
            return Err(failed(error));
        }
        std::io::stdout().write_all(&wire::body(&mut reader, answer.out)?)?;
        std::io::stderr().write_all(&wire::body(&mut reader, answer.err)?)?;
        return Ok(answer.code);
    }
    let (rows, columns) = size();
    let term = std::env::var("TERM").unwrap_or_else(|_| "vt100".into());
    wire::send(&mut connection, &Request::Shell { term, rows, columns })?;
    type_and_watch(connection)?;
    Ok(0)
}

fn type_and_watch(connection: TcpStream) -> Result {
    let saved = tcgetattr(std::io::stdin()).ok();
    if let Some(mut raw) = saved.clone() {
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw)?;
    }
    let mut typed = connection.try_clone()?;
    thread::spawn(move || {
        copy(&mut std::io::stdin(), &mut typed);
        let _ = typed.shutdown(Shutdown::Write);
    });
    let mut shown = connection;
    copy(&mut shown, &mut std::io::stdout());
    if let Some(saved) = saved {
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &saved)?;
    }
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        match buffer.get(..count) {
            Some(bytes) if count > 0 && to.write_all(bytes).and_then(|()| to.flush()).is_ok() => {}
            _ => return,
        }
    }
}

/// Lines and columns of the terminal.
fn size() -> (u16, u16) {
    let output = Command::new("stty").arg("size").stdin(Stdio::inherit()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
    (numbers.next().unwrap_or(24), numbers.next().unwrap_or(80))
}

fn record() -> Result<PathBuf> {
    Ok(cache()?.join("booted"))
}

/// The nodes that are up, unless the process that held them is gone.
fn held() -> Option<Held> {
    let held: Held = serde_json::from_slice(&fs::read(record().ok()?).ok()?).ok()?;
    (start_time(held.pid)? == held.started).then_some(held)
}

fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain blanks.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}
