//! Processes that must not outlive the lab.
//!
//! The kernel kills a child when the *thread* that started it ends (PR_SET_PDEATHSIG, set by setpriv(1)). So all are started
//! by one thread that lives as long as the program: also a lab that was killed with SIGKILL leaves nothing behind.

use crate::{Doing, Result, failed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

type Job = (Command, Sender<std::io::Result<Child>>);
static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A child that is killed when it is dropped, and by the kernel when this program ends in whatever way.
#[derive(Debug)]
pub struct Owned {
    child: Child,
    pid: Pid,
}

/// A command for [`spawn`] and [`output`].
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    // Root may come without the directories of root's tools.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

/// Starts a command made by [`command`].
///
/// # Errors
/// When it cannot be started.
pub fn spawn(command: Command) -> Result<Owned> {
    let gone = || failed("the thread that starts processes is gone");
    let (answer, answered) = channel();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in jobs {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    locked(spawner).send((command, answer)).map_err(|_| gone())?;
    let child = answered.recv().map_err(|_| gone())?.doing("setpriv (package util-linux)")?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|_| failed("a process number too large"))?);
    locked(&RUNNING).push(pid);
    Ok(Owned { child, pid })
}

/// Runs a command made by [`command`] to its end. Standard output and error are caught when they are piped.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: Command) -> Result<Output> {
    let mut owned = spawn(command)?;
    let out = owned.child.stdout.take().map(|pipe| thread::spawn(move || slurp(pipe)));
    let err = owned.child.stderr.take().map(|pipe| thread::spawn(move || slurp(pipe)));
    let status = owned.wait()?;
    let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    Ok(Output { status, stdout: text(out), stderr: text(err) })
}

fn slurp(mut pipe: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    bytes
}

impl Owned {
    /// Waits for its end.
    ///
    /// # Errors
    /// When the kernel cannot say.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait()?;
        self.forget();
        Ok(status)
    }

    /// Its standard output, if that is piped.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        if status.is_some() {
            self.forget();
        }
        status
    }

    /// Its process number.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    fn forget(&self) {
        let_go(self.pid);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.forget();
    }
}

/// Has a process that was started otherwise end with the lab, until [`let_go`].
pub fn hold(pid: Pid) {
    locked(&RUNNING).push(pid);
}

/// Undoes [`hold`].
pub fn let_go(pid: Pid) {
    locked(&RUNNING).retain(|other| *other != pid);
}

/// A directory that is removed when it is dropped, and when a signal ends the lab.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path).doing(path.display())?;
        locked(&SCRATCH).push(path.clone());
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        locked(&SCRATCH).retain(|path| *path != self.0);
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP end the lab and all that it started, and remove its scratch directories.
///
/// # Errors
/// When there is a handler already.
pub fn end_with_a_signal() -> Result {
    ctrlc::set_handler(|| {
        eprintln!("\nlab: ended by a signal; everything it started ends with it");
        for pid in locked(&RUNNING).iter() {
            let _ = kill(*pid, Signal::SIGTERM);
        }
        // Time for mmdebstrap to unmount what it mounted; the kernel kills the rest.
        for _ in 0..30 {
            if locked(&RUNNING).iter().all(|pid| has_ended(*pid)) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        for path in locked(&SCRATCH).iter() {
            let _ = std::fs::remove_dir_all(path);
        }
        std::process::exit(130);
    })
    .map_err(|error| failed(error.to_string()))
}

/// True also for one that nobody has waited for yet.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| {
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn an_owned_process_outlives_the_thread_that_asked_for_it_and_ends_when_dropped() {
        let asked = thread::spawn(|| {
            let mut sleep = command("sleep");
            sleep.arg("60");
            spawn(sleep).unwrap()
        });
        let mut owned = asked.join().unwrap();
        thread::sleep(Duration::from_millis(300));
        assert!(owned.ended().is_none(), "it died with the thread");
        let pid = owned.pid();
        drop(owned);
        assert!(kill(pid, None).is_err(), "it is still there");
        assert!(!locked(&RUNNING).contains(&pid));
    }

    #[test]
    fn output_of_a_command_is_caught_with_its_exit_code() {
        let mut shell = command("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = output(shell).unwrap();
        assert_eq!(
            (output.status.code(), output.stdout, output.stderr),
            (Some(3), b"out\n".to_vec(), b"err\n".to_vec())
        );
    }
}
