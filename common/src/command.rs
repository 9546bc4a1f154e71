//! Running a tool: no shell, no `$PATH`, nothing inherited, and never longer than the action may take.

use crate::call::Call;
use crate::error::printable;
use crate::helper::{pidfd, wait_readable};
use crate::{Context, Error, Result, sys};
use nix::unistd::Pid;
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is kept of each of a tool's outputs, in bytes. The rest is read and forgotten, so that the tool can end.
const OUTPUT_KEPT: usize = 64 * 1024;
/// How long a tool may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// How long the dying may take after SIGKILL.
const AFTER_KILL: Duration = Duration::from_millis(200);

/// A tool about to be run.
#[derive(Debug)]
pub struct Tool<'a> {
    call: &'a Call,
    path: PathBuf,
    args: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    input: Option<File>,
    limit: Duration,
    kept: usize,
}

/// What a tool said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// True for exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended and what it complained about, for a sentence: `exit code 32: wrong fs type`.
    pub fn complaint(&self) -> String {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "unknown end".into(),
        };
        match gist(&self.stderr).or_else(|| gist(&self.stdout)) {
            Some(text) => format!("{end}: {}", printable(text)),
            None => end,
        }
    }
}

/// The first line behind warnings, or else the first of them. What is indented deeper than a warning belongs to it.
fn gist(text: &[u8]) -> Option<&[u8]> {
    let mut first = None;
    let mut warning = None;
    for line in text.split(|&byte| byte == b'\n') {
        let words = line.trim_ascii();
        if words.is_empty() {
            continue;
        }
        let indent = line.len() - line.trim_ascii_start().len();
        first = first.or(Some(words));
        if words.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"warn")) {
            warning = Some(indent);
        } else if warning.is_none_or(|warning| indent <= warning) {
            return Some(words);
        }
    }
    first
}

impl<'a> Tool<'a> {
    /// The tool called `name`, or code 5.
    pub(crate) fn find(call: &'a Call, name: &str) -> Result<Self> {
        let path = call.host.tool(name).ok_or_else(|| {
            Error::installed(format_args!(
                "{name} is not installed (not in {})",
                crate::host::TOOL_DIRS.join(", ")
            ))
        })?;
        let first = call.words_first.as_ref().filter(|(tool, _)| *tool == name);
        let args = first.map(|(_, words)| words.to_vec()).unwrap_or_default();
        Ok(Self { call, path, args, env: Vec::new(), input: None, limit: Duration::MAX, kept: OUTPUT_KEPT })
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_os_string());
        self
    }

    /// One more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_os_string()));
        self
    }

    /// What it finds on its standard input, which else is empty.
    pub fn input(mut self, text: &[u8]) -> Result<Self> {
        let file = || -> io::Result<File> {
            let mut file = File::from(rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC)?);
            file.write_all(text)?;
            file.rewind()?;
            Ok(file)
        };
        self.input = Some(file().or_generic("memory for a tool's input")?);
        Ok(self)
    }

    /// No longer than this, however much time the action has left.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Keeps that many bytes of each output, for a tool whose whole answer is needed.
    #[must_use]
    pub fn keeping(mut self, bytes: usize) -> Self {
        self.kept = bytes;
        self
    }

    /// Runs it to its end or to the deadline.
    pub fn run(mut self) -> Result<Output> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown = || {
            let args: Vec<String> = self.args.iter().map(|arg| printable(arg.as_encoded_bytes())).collect();
            format!("{} {}", self.path.display(), args.join(" "))
        };
        // What is left after SIGTERM and SIGKILL is for the sentence about it.
        let remaining = self.call.remaining() * 9 / 10;
        let grace = GRACE.min(remaining / 4);
        let limit = remaining.saturating_sub(grace + AFTER_KILL).min(self.limit);
        self.call.step(&format!("running {name}"));
        let began = Instant::now();
        let path = self.call.host.path(&self.path);
        let mut command = Command::new(path.as_ref());
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(self.input.take().map_or_else(Stdio::null, Stdio::from));
        let result = run(command, began + limit, grace, self.kept);
        match &result {
            Ok(output) => self.call.log.trace(format_args!(
                "ran {} in {:?}: {}",
                shown(),
                began.elapsed(),
                output.complaint()
            )),
            Err(failure) => self.call.log.trace(format_args!("ran {}: {failure:?}", shown())),
        }
        match result {
            Ok(output) => Ok(output),
            Err(Failure::Spawn(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::installed(format_args!("{name} cannot be run: {error}")))
            }
            Err(Failure::Spawn(error)) => Err(error).or_generic(format_args!("{name} cannot be run")),
            Err(Failure::Hung) => Err(Error::generic(format_args!(
                "{name} did not end within {:.1} s and was killed",
                limit.as_secs_f64()
            ))),
        }
    }
}

#[derive(Debug)]
enum Failure {
    Spawn(io::Error),
    Hung,
}

/// One message for a logger: true if it took it. It must not delay the action, so it has a second.
pub(crate) fn run_detached_from_log(path: &Path, args: &[&str]) -> bool {
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null());
    let (until, grace) = (Instant::now() + Duration::from_secs(1), Duration::from_millis(100));
    matches!(run(command, until, grace, OUTPUT_KEPT), Ok(output) if output.succeeded())
}

fn run(mut command: Command, deadline: Instant, grace: Duration, kept: usize) -> Result<Output, Failure> {
    command
        .current_dir("/")
        .env("LC_ALL", "C")
        .env("PATH", crate::host::TOOL_DIRS.join(":"))
        .env_remove("LANGUAGE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::kill_with_us(&mut command);
    crate::process::adopt_orphans();
    let child = command.spawn().map_err(Failure::Spawn)?;
    let mut running = Running::new(child, kept);
    if let Some(status) = running.wait(deadline) {
        return Ok(running.output(status));
    }
    running.terminate();
    running.wait(Instant::now() + grace);
    // Also when the tool itself has gone: a child that ignores SIGTERM may have stayed.
    crate::process::kill_family(AFTER_KILL);
    Err(Failure::Hung)
}

/// A started tool. It ends when the tool does, not when its pipes close: a daemon that it leaves behind holds them.
struct Running {
    child: Child,
    pidfd: Option<OwnedFd>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    kept: usize,
}

impl Running {
    fn new(child: Child, kept: usize) -> Self {
        let pid = i32::try_from(child.id()).map(Pid::from_raw);
        let pidfd = pid.ok().and_then(pidfd);
        if let Some(out) = &child.stdout {
            let _ = rustix::io::ioctl_fionbio(out, true);
        }
        if let Some(err) = &child.stderr {
            let _ = rustix::io::ioctl_fionbio(err, true);
        }
        Self { child, pidfd, stdout: Vec::new(), stderr: Vec::new(), kept }
    }

    fn wait(&mut self, until: Instant) -> Option<ExitStatus> {
        let mut open = true;
        loop {
            let status = self.child.try_wait().ok().flatten();
            let more = self.drain();
            if status.is_some() {
                return status;
            }
            open = open && more;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut fds = Vec::new();
            if let Some(pidfd) = &self.pidfd {
                fds.push(pidfd.as_fd());
            }
            if open {
                fds.extend(self.child.stdout.as_ref().map(AsFd::as_fd));
                fds.extend(self.child.stderr.as_ref().map(AsFd::as_fd));
            }
            let limit = if self.pidfd.is_some() { left } else { left.min(Duration::from_millis(20)) };
            wait_readable(&fds, limit);
        }
    }

    /// Reads what is there. False once both pipes are closed.
    fn drain(&mut self) -> bool {
        let out = self.child.stdout.as_mut().is_some_and(|pipe| drain(pipe, &mut self.stdout, self.kept));
        let err = self.child.stderr.as_mut().is_some_and(|pipe| drain(pipe, &mut self.stderr, self.kept));
        if !out {
            self.child.stdout = None;
        }
        if !err {
            self.child.stderr = None;
        }
        out || err
    }

    /// Asks the tool and all that it has started to end.
    fn terminate(&mut self) {
        for pid in crate::process::family().into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }

    fn output(self, status: ExitStatus) -> Output {
        Output { code: status.code(), signal: status.signal(), stdout: self.stdout, stderr: self.stderr }
    }
}

fn drain(pipe: &mut impl Read, kept: &mut Vec<u8>, limit: usize) -> bool {
    let mut buffer = [0_u8; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => {
                let room = limit.saturating_sub(kept.len()).min(length);
                kept.extend(buffer.iter().take(room));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_do_not_hide_what_went_wrong() {
        let complaint = |stderr: &str| {
            Output { code: Some(17), signal: None, stdout: b"done\n".into(), stderr: stderr.into() }
                .complaint()
        };
        // drbdadm with Heartbeat's handler in the configuration.
        let handler = "WARN:\n  You are using the 'drbd-peer-outdater' as fence-peer program.\n\n  You need to fix this.\n";
        let refused = format!("{handler}0: State change failed: (-2) Need access to UpToDate data\n");
        assert_eq!(
            complaint(&refused),
            "exit code 17: 0: State change failed: (-2) Need access to UpToDate data"
        );
        assert_eq!(complaint(handler), "exit code 17: WARN:");
        // LVM indents all.
        let lvm = "  WARNING: VG data is missing PV 1.\n  Refusing activation of partial LV data/one.\n";
        assert_eq!(complaint(lvm), "exit code 17: Refusing activation of partial LV data/one.");
        assert_eq!(complaint("\nfirst\nsecond\n"), "exit code 17: first");
        assert_eq!(complaint(""), "exit code 17: done");
    }
}
