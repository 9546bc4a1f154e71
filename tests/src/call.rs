//! One call of an agent's binary, and its answer.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a loaded machine adds to the time of a process.
const SLACK: Duration = Duration::from_secs(1);

/// What Pacemaker puts before an exit reason.
pub const REASON_PREFIX: &str = "ocf-exit-reason:";

/// How long a test waits for one action; no scene allows the agent more.
const LIMIT: Duration = Duration::from_secs(30);

/// OCF exit codes by their names in the specification.
pub const SUCCESS: i32 = 0;
pub const GENERIC: i32 = 1;
pub const ARGS: i32 = 2;
pub const UNIMPLEMENTED: i32 = 3;
pub const INSTALLED: i32 = 5;
pub const CONFIGURED: i32 = 6;
pub const NOT_RUNNING: i32 = 7;

/// How one call will be made: nothing reaches the agent but what is given here.
#[derive(Clone, Debug)]
pub struct Call {
    program: PathBuf,
    arg0: Option<OsString>,
    env: BTreeMap<OsString, OsString>,
    user: Option<u32>,
    cwd: PathBuf,
}

impl Call {
    /// A call with an empty environment.
    pub fn bare(program: impl AsRef<Path>) -> Self {
        Call {
            program: program.as_ref().to_owned(),
            arg0: None,
            env: BTreeMap::new(),
            user: None,
            cwd: PathBuf::from("/"),
        }
    }

    /// A call as Pacemaker's executor makes it, for the resource `data`, with a timeout of 20 s.
    pub fn ocf(program: impl AsRef<Path>) -> Self {
        let type_name = program.as_ref().file_name().expect("a program has a name").to_owned();
        Call::bare(program)
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RA_VERSION_MAJOR", "1")
            .env("OCF_RA_VERSION_MINOR", "1")
            .env("OCF_RESOURCE_INSTANCE", "data")
            .env("OCF_RESOURCE_TYPE", type_name)
            .env("OCF_RESOURCE_PROVIDER", "holdfast")
            .env("OCF_EXIT_REASON_PREFIX", REASON_PREFIX)
            .env("OCF_RESKEY_crm_feature_set", "3.16.1")
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .meta("timeout", "20000")
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Takes a variable out of the environment again.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(OsStr::new(name));
        self
    }

    /// An instance parameter, as `OCF_RESKEY_<name>`.
    pub fn param(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env(format!("OCF_RESKEY_{name}"), value)
    }

    /// A meta attribute of the action, as `OCF_RESKEY_CRM_meta_<name>`.
    pub fn meta(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env(format!("OCF_RESKEY_CRM_meta_{name}"), value)
    }

    /// The cluster's limit for the action.
    pub fn timeout_ms(self, timeout_ms: u64) -> Self {
        self.meta("timeout", timeout_ms.to_string())
    }

    /// The depth of a monitor.
    pub fn level(self, level: impl ToString) -> Self {
        self.env("OCF_CHECK_LEVEL", level.to_string())
    }

    /// As another user.
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// With another working directory than `/`.
    pub fn from_directory(mut self, cwd: impl AsRef<Path>) -> Self {
        self.cwd = cwd.as_ref().to_owned();
        self
    }

    /// The same call of the same binary under another path.
    pub fn program(mut self, program: impl AsRef<Path>) -> Self {
        self.program = program.as_ref().to_owned();
        self
    }

    /// With another argv[0] than the path executed.
    pub fn arg0(mut self, arg0: &str) -> Self {
        self.arg0 = Some(arg0.into());
        self
    }

    /// Runs one action.
    pub fn run(&self, action: &str) -> Answer {
        self.run_args([action])
    }

    /// The first monitor on a node: no interval.
    pub fn probe(&self) -> Answer {
        self.run("monitor")
    }

    /// A monitor of a resource that is believed to run.
    pub fn monitor(&self) -> Answer {
        self.clone().meta("interval", "20000").run("monitor")
    }

    /// Runs with these arguments, to the end of its output, at most for the limit of the tests.
    pub fn run_args<I, A>(&self, args: I) -> Answer
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let mut command = assert_cmd::Command::from_std(self.command());
        command.args(&args).timeout(LIMIT);
        let (tell, told) = mpsc::channel();
        let began = Instant::now();
        // In a thread: a process in D state that holds the output open must not hold up the test too.
        std::thread::spawn(move || tell.send(command.output()));
        let output = told.recv_timeout(2 * LIMIT).expect("somebody keeps the agent's output open");
        let output = output.expect("the agent runs");
        Answer {
            what: format!("{} {args:?}", self.program.display()),
            logs_elsewhere: self.env.keys().any(|name| name == "HA_LOGFILE" || name == "HA_LOGFACILITY"),
            quiet: args.last().is_some_and(|action| action != "start" && action != "stop"),
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: began.elapsed(),
        }
    }

    /// Starts one action and returns while it runs; its output is lost.
    pub fn spawn(&self, action: &str) -> Child {
        let mut command = self.command();
        command.arg(action).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the agent runs")
    }

    /// Runs one action with a stderr that is full and that nobody reads; answers its code and its time.
    pub fn run_unread(&self, action: &str) -> (Option<i32>, Duration) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let capacity = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
        let mut writer = std::fs::File::from(writer);
        writer.write_all(&vec![b'x'; usize::try_from(capacity).unwrap()]).unwrap();
        let mut command = self.command();
        command.arg(action).stdout(Stdio::null()).stderr(writer);
        let began = Instant::now();
        let mut agent = command.spawn().expect("the agent runs");
        while agent.try_wait().unwrap().is_none() && began.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let elapsed = began.elapsed();
        let _ = agent.kill();
        drop(reader);
        (agent.wait().unwrap().code(), elapsed)
    }

    /// The command of this call, without arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.env).current_dir(&self.cwd).stdin(Stdio::null());
        // The whole suite can be run as if the kernel were of old: see tests/run.
        command.envs(std::env::var_os(OLD_KERNEL).map(|value| (OLD_KERNEL, value)));
        if let Some(arg0) = &self.arg0 {
            command.arg0(arg0);
        }
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

/// Debug builds of the agents do without the system calls that came after Linux 5.2 when this is set.
const OLD_KERNEL: &str = "OCF_TEST_OLD_KERNEL";

/// What came back from one call.
#[derive(Debug)]
pub struct Answer {
    what: String,
    logs_elsewhere: bool,
    quiet: bool,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Answer {
    /// The sentence that Pacemaker would show: after the last prefix to the end of its line.
    pub fn reason(&self) -> Option<&str> {
        let (_, after) = self.stderr.rsplit_once(REASON_PREFIX)?;
        after.lines().next()
    }

    /// Asserts the exit code of an OCF call, and with it the rules of output: normal results are silent, a
    /// failure ends with one reason that can be shown anywhere.
    #[track_caller]
    pub fn answers(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        assert_eq!(self.stdout, "", "nothing belongs on stdout: {self}");
        if matches!(code, 0 | 7 | 8) {
            self.assert_silent();
        } else {
            self.assert_one_reason();
        }
        self
    }

    /// Asserts the exit code alone.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that the reason names something.
    #[track_caller]
    pub fn names(self, what: impl AsRef<str>) -> Self {
        let what = what.as_ref();
        let named = self.reason().is_some_and(|reason| reason.contains(what));
        assert!(named, "the reason should name {what:?}: {self}");
        self
    }

    /// Asserts that the answer came in time.
    #[track_caller]
    pub fn within(self, limit: Duration) -> Self {
        assert!(self.elapsed <= limit, "should have answered within {limit:?}: {self}");
        self
    }

    /// Asserts that the answer came before the cluster would have killed the agent. A busy machine may take
    /// [`SLACK`] to start and to reap a process; that is not the agent's time.
    #[track_caller]
    pub fn within_ms(self, limit_ms: u64) -> Self {
        self.within(Duration::from_millis(limit_ms) + SLACK)
    }

    #[track_caller]
    fn assert_silent(&self) {
        assert_eq!(self.reason(), None, "a normal result has no reason: {self}");
        if self.quiet || self.logs_elsewhere {
            assert_eq!(self.stderr, "", "a normal result is silent: {self}");
        }
    }

    #[track_caller]
    fn assert_one_reason(&self) {
        let reason = self.reason().unwrap_or_else(|| panic!("a failure needs a reason: {self}"));
        assert_eq!(self.stderr.matches(REASON_PREFIX).count(), 1, "one reason: {self}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert_eq!(last, format!("{REASON_PREFIX}{reason}"), "the reason is the last line: {self}");
        assert!(reason.len() <= 128, "at most 128 bytes, not {}: {self}", reason.len());
        assert!(reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "printable ASCII: {self}");
        assert!(reason.split_whitespace().count() >= 3, "a sentence: {self}");
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} exited {:?} (signal {:?}) after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.what, self.code, self.signal, self.elapsed, self.stdout, self.stderr
        )
    }
}
