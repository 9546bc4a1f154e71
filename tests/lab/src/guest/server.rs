//! Does what the host asks, one request per connection.

use crate::terminal;
use lab::wire::{self, Answer, PORT, Request};
use lab::{Doing, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::{self, File, Permissions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Serves for ever.
pub fn run() -> Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).doing("listening")?;
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            if let Err(error) = answer(&connection) {
                eprintln!("lab-guest: {error}");
            }
        });
    }
    Ok(())
}

fn answer(connection: &TcpStream) -> Result {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    let request = match wire::receive(&mut reader) {
        Ok(request) => request,
        // A probe that only looks whether somebody listens.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let done = match request {
        Request::Ping => Ok((0, Vec::new(), Vec::new())),
        Request::Run { argv, env, stdin } => {
            let input = wire::body(&mut reader, stdin)?;
            execute(&argv, &env, &input, connection)
        }
        Request::Put { path, mode, bytes } => {
            let content = wire::body(&mut reader, bytes)?;
            put(Path::new(&path), mode, &content).doing(&path).map(|()| (0, Vec::new(), Vec::new()))
        }
        Request::Get { path } => fs::read(&path).doing(&path).map(|content| (0, content, Vec::new())),
        Request::Shell { term, rows, columns } => return terminal::serve(connection, &term, rows, columns),
        Request::PowerOff => {
            wire::send(&mut writer, &Answer::default())?;
            nix::unistd::sync();
            reboot(RebootMode::RB_POWER_OFF)?;
            return Ok(());
        }
    };
    match done {
        Ok((code, out, err)) => {
            let answer = Answer { error: None, code, out: out.len() as u64, err: err.len() as u64 };
            wire::send(&mut writer, &answer)?;
            writer.write_all(&out)?;
            writer.write_all(&err)?;
        }
        Err(error) => {
            wire::send(&mut writer, &Answer { error: Some(error.to_string()), ..Answer::default() })?
        }
    }
    Ok(())
}

/// The output goes through files and not pipes: a daemon that the command leaves behind may keep them open.
fn execute(
    argv: &[String],
    env: &[(String, String)],
    input: &[u8],
    connection: &TcpStream,
) -> Result<(i32, Vec<u8>, Vec<u8>)> {
    let (name, arguments) = argv.split_first().ok_or_else(|| lab::failed("no command"))?;
    let mut stdin = scratch()?;
    stdin.write_all(input)?;
    stdin.seek(SeekFrom::Start(0))?;
    let (mut out, mut err) = (scratch()?, scratch()?);
    let mut child = Command::new(name)
        .args(arguments)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(stdin)
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .process_group(0)
        .spawn()
        .doing(name)?;
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let (sender, ended) = channel();
    thread::spawn(move || sender.send(child.wait()));
    let status = wait_or_hang_up(&ended, connection).inspect_err(|_| {
        let _ = killpg(group, Signal::SIGKILL);
    })?;
    Ok((code(status), content(&mut out)?, content(&mut err)?))
}

fn wait_or_hang_up(
    ended: &Receiver<std::io::Result<ExitStatus>>,
    connection: &TcpStream,
) -> Result<ExitStatus> {
    loop {
        match ended.recv_timeout(Duration::from_millis(500)) {
            Ok(status) => return Ok(status?),
            Err(RecvTimeoutError::Disconnected) => return Err(lab::failed("nobody waits for the command")),
            Err(RecvTimeoutError::Timeout) => {
                // The host has said all it has to say: what comes now can only be the end.
                let mut watch = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
                if poll(&mut watch, PollTimeout::ZERO)? > 0 {
                    return Err(lab::failed("the host hung up; the command is killed"));
                }
            }
        }
    }
}

fn scratch() -> Result<File> {
    Ok(File::from(memfd_create("lab", MFdFlags::MFD_CLOEXEC)?))
}

fn content(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// In place when the file is new, by renaming when it exists: a program that runs cannot be written to.
fn put(path: &Path, mode: u32, bytes: &[u8]) -> Result {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    drop(file);
    Ok(fs::rename(&temporary, path)?)
}
