//! Work that may hang, done by a forked child that is left behind when it does.
//!
//! A process in uninterruptible sleep cannot be killed and cannot be waited for. So nothing that may sleep there (an
//! unmount, a stat on a dead server, a read from a lost disk) is done by the process that has to answer.

use crate::sys;
use crate::{Context, Error, ExitCode, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a child is looked at where the kernel has no pidfd (before Linux 5.3).
const WITHOUT_PIDFD: Duration = Duration::from_millis(20);

/// The way from a helper to the process that waits for it.
#[derive(Debug, Clone)]
pub struct Reporter(Rc<File>);

impl Reporter {
    /// Says what is being done, for the sentence that is given if it never ends.
    pub fn step(&self, text: &str) {
        self.send(b'S', text.as_bytes());
    }

    /// Says what has kept the work from its end so far, for the same sentence.
    pub fn obstacle(&self, text: &str) {
        self.send(b'O', text.as_bytes());
    }

    fn send(&self, kind: u8, payload: &[u8]) {
        let mut message = vec![kind];
        message.extend(u32::try_from(payload.len()).unwrap_or(0).to_le_bytes());
        message.extend(payload);
        // If nobody waits any more, nobody needs to know.
        let _ = (&*self.0).write_all(&message);
    }
}

/// A forked child at work.
#[derive(Debug)]
pub struct Helper {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    messages: File,
    received: Vec<u8>,
    relayed: Option<(File, File)>,
    step: String,
    obstacle: String,
    reaped: bool,
}

impl Helper {
    /// Forks a child that does `work`. Its output goes nowhere.
    pub fn spawn(work: impl FnOnce(&Reporter) -> Result<String>) -> Result<Self> {
        Self::fork(false, work)
    }

    /// Forks a child that does `work`, and whose output comes out of this process: a child that is left behind must
    /// not keep the caller's pipes open.
    pub fn spawn_relayed(work: impl FnOnce(&Reporter) -> Result<String>) -> Result<Self> {
        Self::fork(true, work)
    }

    fn fork(relay: bool, work: impl FnOnce(&Reporter) -> Result<String>) -> Result<Self> {
        let (messages, report) = pipe()?;
        let outputs = if relay { Some((pipe()?, pipe()?)) } else { None };
        if relay {
            crate::process::adopt_orphans();
        }
        let parent = Pid::this();
        match sys::fork().or_generic("cannot fork")? {
            ForkResult::Parent { child } => {
                // The write ends are dropped here, so that the pipes end when the child does.
                let relayed = outputs.map(|((out, _), (err, _))| (out, err));
                for file in std::iter::once(&messages).chain(relayed.iter().flat_map(|(out, err)| [out, err]))
                {
                    rustix::io::ioctl_fionbio(file, true).or_generic("cannot read a pipe without waiting")?;
                }
                let pidfd = pidfd(child);
                Ok(Self {
                    pid: child,
                    pidfd,
                    messages,
                    received: Vec::new(),
                    relayed,
                    step: String::new(),
                    obstacle: String::new(),
                    reaped: false,
                })
            }
            ForkResult::Child => {
                drop(messages);
                let reporter = Reporter(Rc::new(report));
                let result = sys::die_with(parent)
                    .and_then(|()| redirect(outputs.as_ref().map(|((_, out), (_, err))| (out, err))))
                    .or_generic("cannot set up a helper process")
                    .and_then(|()| work(&reporter));
                let (code, old_code, text) = match &result {
                    Ok(text) => (ExitCode::Success, None, text.as_str()),
                    Err(error) => (error.code(), error.old_code(), error.reason()),
                };
                // 0 for none: no failure has that number.
                let mut payload = vec![code.number(), old_code.unwrap_or(0)];
                payload.extend(text.as_bytes());
                reporter.send(b'R', &payload);
                std::process::exit(0);
            }
        }
    }

    /// Waits until the work is done or `until` has come. None: it is still at it.
    pub fn wait(&mut self, until: Instant) -> Option<Result<String>> {
        loop {
            // Looked at before reading: what a child wrote before it ended is then all there to be read.
            let ended = self.ended();
            self.relay();
            if let Some(result) = self.read_messages() {
                self.finish(until);
                self.relay();
                return Some(result);
            }
            if ended {
                return Some(Err(Error::generic(format_args!(
                    "a helper process died{}",
                    if self.step.is_empty() { String::new() } else { format!(" while {}", self.step) }
                ))));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.sleep(left);
        }
    }

    /// What the work was at when it last said so.
    pub fn last_step(&self) -> &str {
        &self.step
    }

    /// What has kept the work from its end, when it last said so.
    pub fn last_obstacle(&self) -> &str {
        &self.obstacle
    }

    /// Kills the child and leaves it: in uninterruptible sleep it cannot be waited for.
    pub fn abandon(mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            self.finish(Instant::now() + Duration::from_millis(20));
            if self.relayed.is_some() {
                // It may have been waiting for a tool, which has started others.
                crate::process::kill_family(Duration::from_millis(50));
            }
            self.relay();
        }
    }

    fn finish(&mut self, until: Instant) {
        while !self.ended() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match &self.pidfd {
                Some(pidfd) => wait_readable(&[pidfd.as_fd()], left),
                None => std::thread::sleep(left.min(Duration::from_millis(1))),
            }
        }
    }

    fn ended(&mut self) -> bool {
        if !self.reaped {
            self.reaped = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => false,
                Ok(_) | Err(_) => true,
            };
        }
        self.reaped
    }

    fn sleep(&self, left: Duration) {
        let mut fds = vec![self.messages.as_fd()];
        if let Some((out, err)) = &self.relayed {
            fds.extend([out.as_fd(), err.as_fd()]);
        }
        match &self.pidfd {
            Some(pidfd) => {
                fds.push(pidfd.as_fd());
                wait_readable(&fds, left);
            }
            None => wait_readable(&fds, left.min(WITHOUT_PIDFD)),
        }
    }

    fn relay(&mut self) {
        if let Some((out, err)) = &mut self.relayed {
            let mut buffer = Vec::new();
            let _ = out.read_to_end(&mut buffer);
            if !buffer.is_empty() {
                crate::log::to_stdout(String::from_utf8_lossy(&buffer));
            }
            buffer.clear();
            let _ = err.read_to_end(&mut buffer);
            crate::log::write_patiently(&mut std::io::stderr(), &buffer);
        }
    }

    fn read_messages(&mut self) -> Option<Result<String>> {
        let _ = self.messages.read_to_end(&mut self.received);
        loop {
            let (&kind, rest) = self.received.split_first()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            if kind == b'R' {
                let (&[code, old_code], text) = payload.split_first_chunk::<2>()?;
                let text = String::from_utf8_lossy(text).into_owned();
                let error = match code {
                    0 => return Some(Ok(text)),
                    2 => Error::args(text),
                    3 => Error::unimplemented(text),
                    4 => Error::permission(text),
                    5 => Error::installed(text),
                    6 => Error::configured(text),
                    _ => Error::generic(text),
                };
                return Some(Err(if old_code == 0 { error } else { error.with_old_code(old_code) }));
            }
            let text = String::from_utf8_lossy(payload).into_owned();
            *(if kind == b'O' { &mut self.obstacle } else { &mut self.step }) = text;
            let used = 5 + payload.len();
            self.received.drain(..used);
        }
    }
}

/// A pidfd of `pid`, where the kernel has them.
pub fn pidfd(pid: Pid) -> Option<OwnedFd> {
    if sys::is_old_kernel() {
        return None;
    }
    let pid = rustix::process::Pid::from_raw(pid.as_raw())?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Sleeps until one of `fds` can be read, or `limit` is over.
pub fn wait_readable(fds: &[std::os::fd::BorrowedFd<'_>], limit: Duration) {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up, or the last millisecond would be spent spinning.
    let limit = PollTimeout::try_from(limit.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    // Interrupted or not, the caller looks again.
    let _ = poll(&mut fds, limit);
}

fn pipe() -> Result<(File, File)> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_generic("cannot make a pipe")?;
    Ok((read.into(), write.into()))
}

fn redirect(outputs: Option<(&File, &File)>) -> std::io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let (out, err) = outputs.unwrap_or((&null, &null));
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(out)?;
    rustix::stdio::dup2_stderr(err)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_result_comes_back_with_its_code_and_sentence() {
        let mut helper = Helper::spawn(|_| Ok("answer".into())).unwrap();
        assert_eq!(helper.wait(soon()), Some(Ok("answer".into())));
        let mut helper = Helper::spawn(|_| Err(Error::installed("no such tool"))).unwrap();
        assert_eq!(helper.wait(soon()), Some(Err(Error::installed("no such tool"))));
        let mut helper = Helper::spawn(|_| Err(Error::generic("refused").with_old_code(20))).unwrap();
        assert_eq!(helper.wait(soon()), Some(Err(Error::generic("refused").with_old_code(20))));
    }

    #[test]
    fn work_that_hangs_is_left_behind_and_its_last_step_is_known() {
        let mut helper = Helper::spawn(|report| {
            report.obstacle("somebody holds it");
            report.step("reading a lost disk");
            std::thread::sleep(Duration::from_secs(60));
            Ok(String::new())
        })
        .unwrap();
        let began = Instant::now();
        assert_eq!(helper.wait(began + Duration::from_millis(200)), None);
        assert_eq!(helper.last_step(), "reading a lost disk");
        assert_eq!(helper.last_obstacle(), "somebody holds it");
        helper.abandon();
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_helper_that_dies_is_an_error_and_never_a_success() {
        let mut helper = Helper::spawn(|_| {
            let _ = kill(Pid::this(), Signal::SIGKILL);
            Ok("not reached".into())
        })
        .unwrap();
        assert_eq!(helper.wait(soon()).unwrap().unwrap_err().code(), ExitCode::Generic);
    }
}
