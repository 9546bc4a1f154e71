//! Makes the users of a mount leave: signals, and patience that ends the moment the last user has gone.

use crate::users::{self, Depth, Target, User};
use crate::{Filesystem, fstype, signals};
use nix::sys::signal::Signal;
use ocf::Call;
use ocf::helper::{pidfd, wait_readable};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A process whose end is awaited.
enum Watched {
    Process(OwnedFd),
    /// Before Linux 5.3, or without a free file descriptor, there is nothing to sleep on.
    Number(i32),
}

/// How many processes are watched at a time: each takes a file descriptor. When they have gone, it is the next ones'
/// turn.
const WATCHED: usize = 16;

/// Nobody is there who could be waited for: so long it is rested at most before the next look.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Makes the users of a mount leave, and waits for them.
pub struct Pressure<'a> {
    filesystem: &'a Filesystem,
    call: &'a Call,
    /// Whether anybody is signalled at all.
    signal: bool,
    target: Target,
    network: bool,
    half: Instant,
    until: Instant,
    delay: Duration,
    signalled: BTreeMap<i32, Instant>,
    /// Pause while there is nobody to wait for: a holder in the kernel.
    pause: Duration,
    /// How often it was looked who is there.
    rounds: u32,
    /// Whether a user was named as what keeps the unmount.
    named: bool,
    /// Whether the kernel's answer has been of use so far.
    ask_kernel: bool,
    /// Who was there when it was last looked.
    pub last: Vec<User>,
}

impl<'a> Pressure<'a> {
    /// `half` ends the time of the term_signals, `until` that of the kill_signals.
    pub fn new(
        filesystem: &'a Filesystem,
        call: &'a Call,
        signal: bool,
        target: Target,
        (half, until): (Instant, Instant),
    ) -> Self {
        let delay = signals::parse_delay(&filesystem.signal_delay).unwrap_or(Duration::from_secs(1));
        Self {
            filesystem,
            call,
            signal,
            target,
            network: fstype::is_network(&filesystem.fstype.to_string_lossy()),
            half,
            until,
            // A delay of nothing must not become a loop that never rests.
            delay: delay.max(Duration::from_millis(10)),
            signalled: BTreeMap::new(),
            pause: Duration::from_millis(2),
            rounds: 0,
            named: false,
            ask_kernel: true,
            last: Vec::new(),
        }
    }

    /// One round: find the users, signal those whose turn it is, wait until they have gone or may be signalled again.
    ///
    /// `still`: whether the mount is there yet. Its number may have gone to another mount since it was busy.
    pub fn apply(&mut self, still: &dyn Fn() -> bool) {
        let call = self.call;
        let second_half = Instant::now() >= self.half;
        // Nothing rests on the kernel naming everybody: it is only asked in every second round.
        let mut quickly = self.ask_kernel && self.rounds % 2 == 0;
        self.rounds += 1;
        let began = Instant::now();
        // A close look takes twice as long, and a process that waits for a page which a dead server owes it holds the
        // look up. In the second half the kernel has been told to give those up.
        let mut depth = Depth::Quick;
        self.look(depth, &mut quickly);
        if self.sees_nobody() && (second_half || !self.network) {
            self.target.with_copies();
            depth = Depth::Full;
            self.look(depth, &mut quickly);
        }
        if quickly && self.sees_nobody() {
            quickly = false;
            self.ask_kernel = false;
            self.look(depth, &mut quickly);
        }
        let took = began.elapsed();
        let users: Vec<String> = self.last.iter().take(2).map(describe).collect();
        if !users.is_empty() {
            self.call.obstacle(format_args!("held by {}", users.join(", ")));
        } else if self.named {
            self.call.obstacle("");
        }
        self.named = !users.is_empty();
        if !still() {
            return;
        }
        let filesystem = self.filesystem;
        let words = if second_half { &filesystem.kill_signals } else { &filesystem.term_signals };
        let signals =
            if self.signal { signals::parse_signals(words).unwrap_or_default() } else { Vec::new() };
        let phase_end = if second_half { self.until } else { self.half };
        let mut waiting = Vec::new();
        for user in self.last.iter().filter(|user| user.protected.is_none()) {
            let pidfd = pidfd(nix::unistd::Pid::from_raw(user.pid));
            let due = self.signalled.get(&user.pid).is_none_or(|last| last.elapsed() >= self.delay);
            // The number may have gone to another process since it was looked at; a pidfd cannot.
            if due && !signals.is_empty() && users::is_user(&self.target, depth, user.pid) {
                send(call, user, pidfd.as_ref(), &signals);
                self.signalled.insert(user.pid, Instant::now());
            }
            if waiting.len() < WATCHED {
                waiting.push(pidfd.map_or(Watched::Number(user.pid), Watched::Process));
            }
        }
        if waiting.is_empty() {
            // The first tries come soon: the last user may have been on its way out. Among many processes a look takes long.
            self.rest(self.pause.max((took * 2).min(LONGEST_REST)), &[]);
            self.pause = (self.pause * 2).min(Duration::from_secs(1));
        } else {
            self.pause = Duration::from_millis(2);
            let limit = if signals.is_empty() { Duration::from_secs(1) } else { self.delay };
            self.wait_for_all(waiting, depth, phase_end.min(Instant::now() + limit));
        }
    }

    /// Sees who is there. `quickly`: among those whom the kernel names, while it does.
    fn look(&mut self, depth: Depth, quickly: &mut bool) {
        if *quickly {
            if let Some(users) = users::find_quickly(&self.target, depth, self.call) {
                self.last = users;
                return;
            }
            *quickly = false;
            self.ask_kernel = false;
        }
        self.last = users::find(&self.target, depth, self.call);
    }

    /// True unless somebody is there who may be signalled.
    fn sees_nobody(&self) -> bool {
        self.last.iter().all(|user| user.protected.is_some())
    }

    /// Until the last of them has gone. A pidfd can be read when its process has ended, with all its files closed.
    fn wait_for_all(&self, mut waiting: Vec<Watched>, depth: Depth, until: Instant) {
        let began = Instant::now();
        // From their end: while the first sleeps, others come and go.
        while let Some(next) = waiting.last() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match next {
                Watched::Process(pidfd) if !has_ended(pidfd) => self.rest(left, &[pidfd.as_fd()]),
                Watched::Number(pid) if users::is_user(&self.target, depth, *pid) => {
                    // Most go at once, and one that is started again has to be outrun.
                    let soon = began.elapsed() < Duration::from_millis(50);
                    self.rest(left.min(Duration::from_millis(if soon { 1 } else { 20 })), &[]);
                }
                _ => drop(waiting.pop()),
            }
        }
    }

    fn rest(&self, limit: Duration, fds: &[std::os::fd::BorrowedFd<'_>]) {
        let left = self.until.saturating_duration_since(Instant::now());
        wait_readable(fds, limit.min(left));
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn send(call: &Call, user: &User, pidfd: Option<&OwnedFd>, signals: &[Signal]) {
    for signal in signals {
        call.log.info(format_args!("sending {signal} to {}", describe(user)));
        let sent = match (pidfd, rustix::process::Signal::from_named_raw(*signal as i32)) {
            (Some(pidfd), Some(signal)) => {
                rustix::process::pidfd_send_signal(pidfd, signal).map_err(|e| e.to_string())
            }
            _ => nix::sys::signal::kill(nix::unistd::Pid::from_raw(user.pid), *signal)
                .map_err(|e| e.to_string()),
        };
        if let Err(error) = sent {
            call.log.debug(format_args!("{}: {error}", describe(user)));
        }
    }
}

/// The user, for a sentence.
pub fn describe(user: &User) -> String {
    match user.protected {
        None => format!("{}[{}] ({})", user.name, user.pid, user.how.join(",")),
        Some(why) => format!("{}[{}] ({}; {why})", user.name, user.pid, user.how.join(",")),
    }
}
