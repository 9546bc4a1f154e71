//! Where messages go, by the rules that all OCF agents share: a terminal, ha_logger, syslog, HA_LOGFILE and
//! HA_DEBUGLOG; and the decision trace that crmsh and pcs users switch on with `trace_ra`.

use crate::Context;
use crate::helper::Helper;
use crate::params::parse_bool;
use crate::sys::{LocalTime, local_time};
use std::cell::Cell;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How serious a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with HA_debug.
    Debug,
    /// What was done.
    Info,
    /// Somebody should look.
    Warn,
    /// The action fails.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARNING",
            Self::Error => "ERROR",
        }
    }

    /// RFC 5424 severity.
    const fn severity(self) -> u8 {
        match self {
            Self::Debug => 7,
            Self::Info => 6,
            Self::Warn => 4,
            Self::Error => 3,
        }
    }
}

/// The destinations of one action's messages.
#[derive(Debug)]
pub struct Log {
    tag: String,
    terminal: bool,
    terminal_tag: bool,
    debug: bool,
    /// Nothing below this level reaches stderr when no other destination is configured.
    stderr_from: Level,
    logd: Option<PathBuf>,
    facility: Option<u8>,
    file: Option<PathBuf>,
    debug_file: Option<PathBuf>,
    syslog: PathBuf,
    /// A log file that once did not answer is not asked again.
    file_hangs: Cell<bool>,
    trace: Option<Trace>,
    /// The trace goes to stderr, for a person.
    explains: bool,
}

#[derive(Debug)]
struct Trace {
    file: std::fs::File,
    since: Instant,
}

impl Log {
    /// The destinations that the environment names. `get` looks up a variable, `tag` names agent and instance.
    pub fn new(tag: String, get: impl Fn(&str) -> Option<OsString>, host: &crate::Host) -> Self {
        let word = |name: &str| get(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
        let path = |name: &str| {
            get(name).map(PathBuf::from).filter(|path| path.is_absolute() && path != Path::new("/dev/null"))
        };
        let logd = word("HA_LOGD") == "yes" || parse_bool(&word("HA_use_logd")) == Some(true);
        Self {
            tag,
            terminal: std::io::stdin().is_terminal(),
            terminal_tag: !word("HA_LOGTAG").is_empty(),
            debug: !matches!(word("HA_debug").as_str(), "" | "0"),
            stderr_from: Level::Warn,
            logd: if logd { host.tool("ha_logger").map(|tool| host.path(&tool).into_owned()) } else { None },
            facility: facility(&word("HA_LOGFACILITY")),
            file: path("HA_LOGFILE"),
            debug_file: path("HA_DEBUGLOG"),
            syslog: host.path(Path::new("/dev/log")).into_owned(),
            file_hangs: Cell::new(false),
            trace: None,
            explains: false,
        }
    }

    /// Keeps stderr for the exit reason alone: callers show what stands there even when the action succeeds.
    pub fn keep_stderr_clean(&mut self) {
        self.stderr_from = Level::Error;
    }

    /// Shows the decision trace and every message on stderr from now on.
    pub(crate) fn explain(&mut self) {
        self.explains = true;
        self.terminal = true;
    }

    /// Writes the decision trace to `path` from now on.
    ///
    /// A name that was made up, not given, is never that of somebody's symbolic link.
    pub fn trace_to(&mut self, path: &Path, made_up: bool) {
        let flags = if made_up { libc::O_NOFOLLOW } else { 0 };
        if let Some(parent) = path.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        match appended(path, 0o600, flags) {
            Ok(file) => self.trace = Some(Trace { file, since: Instant::now() }),
            Err(error) => self.warn(format_args!("no trace is written to {}: {error}", path.display())),
        }
    }

    /// True if messages appear on a terminal.
    pub fn on_terminal(&self) -> bool {
        self.terminal
    }

    /// True if somebody reads the trace.
    pub fn traces(&self) -> bool {
        self.trace.is_some() || self.explains
    }

    /// One line of the decision trace: what was read or run, and what follows from it.
    pub fn trace(&self, message: impl Display) {
        if self.explains {
            to_stderr(format_args!("  {}", OneLine(&message)));
        }
        self.to_trace_file(message);
    }

    fn to_trace_file(&self, message: impl Display) {
        if let Some(trace) = &self.trace {
            let line =
                format!("{:>9.6} [{}] {message}\n", trace.since.elapsed().as_secs_f64(), std::process::id());
            let _ = (&trace.file).write_all(line.as_bytes());
        }
    }

    /// Only with HA_debug.
    pub fn debug(&self, message: impl Display) {
        if self.debug || self.trace.is_some() {
            self.write(Level::Debug, &message);
        }
    }

    /// What was done.
    pub fn info(&self, message: impl Display) {
        self.write(Level::Info, &message);
    }

    /// Somebody should look.
    pub fn warn(&self, message: impl Display) {
        self.write(Level::Warn, &message);
    }

    /// The action fails.
    pub fn error(&self, message: impl Display) {
        self.write(Level::Error, &message);
    }

    fn write(&self, level: Level, message: &dyn Display) {
        self.to_trace_file(format_args!("{}: {message}", level.name()));
        if level == Level::Debug && !self.debug {
            return;
        }
        let text = format!("{}: {}", level.name(), OneLine(message));
        if self.terminal {
            if self.terminal_tag {
                to_stderr(format_args!("{}: {text}", self.tag));
            } else {
                to_stderr(text);
            }
            return;
        }
        if let Some(tool) = &self.logd
            && self.to_logd(tool, level, &text)
        {
            return;
        }
        if let Some(facility) = self.facility {
            self.to_syslog(facility, level, &text);
        }
        if let Some(file) = &self.file {
            self.append(file, &text);
        }
        if self.facility.is_none() && self.file.is_none() && level >= self.stderr_from && level < Level::Error
        {
            // An error becomes the exit reason and is on stderr already.
            to_stderr(format_args!("{}{}: {text}", Stamp(local_time()), self.tag));
        }
        if let Some(file) = &self.debug_file
            && self.file.as_ref() != Some(file)
        {
            self.append(file, &text);
        }
    }

    fn to_syslog(&self, facility: u8, level: Level, text: &str) {
        // A full socket of a hung daemon must not hold the action up: the message is lost then.
        if let Ok(socket) = UnixDatagram::unbound()
            && socket.set_nonblocking(true).is_ok()
        {
            let line = format!("<{}>{}: {text}", facility * 8 + level.severity(), self.tag);
            let _ = socket.send_to(line.as_bytes(), &self.syslog);
        }
    }

    /// By a helper, unless the file is on a local disk: it may be on a file system that does not answer, and the action
    /// must go on.
    fn append(&self, path: &Path, text: &str) {
        if self.file_hangs.get() {
            return;
        }
        let line = format!("{}{}: {text}\n", Stamp(local_time()), self.tag);
        let write = || {
            let mut file = appended(path, 0o640, 0).or_generic("log file")?;
            file.write_all(line.as_bytes()).or_generic("log file")?;
            Ok(String::new())
        };
        if crate::mounts::is_on_local_disk(path) {
            let _ = write();
            return;
        }
        let helper = Helper::spawn(|_| write());
        if let Ok(mut helper) = helper
            && helper.wait(Instant::now() + LOG_PATIENCE).is_none()
        {
            helper.abandon();
            self.file_hangs.set(true);
        }
    }

    fn to_logd(&self, tool: &Path, level: Level, text: &str) -> bool {
        let kind = if level == Level::Debug { "ha-debug" } else { "ha-log" };
        crate::command::run_detached_from_log(tool, &["-D", kind, "-t", &self.tag, text])
    }
}

/// A file to write at the end of. NONBLOCK: a FIFO without a reader must not stop the action.
fn appended(path: &Path, mode: u32, flags: i32) -> std::io::Result<std::fs::File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(mode)
        .custom_flags(flags | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// How long a log file may take for a line.
const LOG_PATIENCE: Duration = Duration::from_millis(300);

struct OneLine<'a>(&'a dyn Display);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::error::printable(self.0.to_string().as_bytes()))
    }
}

/// `Nov 20 12:44:35 `, the default of HA_DATEFMT.
struct Stamp(LocalTime);

impl Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month =
            usize::try_from(self.0.month - 1).ok().and_then(|index| MONTHS.get(index)).unwrap_or(&"???");
        write!(f, "{month} {:02} {:02}:{:02}:{:02} ", self.0.day, self.0.hour, self.0.minute, self.0.second)
    }
}

/// `2026-11-20.12:44:35`, the end of a trace file's name.
pub(crate) fn trace_stamp() -> String {
    let now = local_time();
    format!(
        "{:04}-{:02}-{:02}.{:02}:{:02}:{:02}",
        now.year, now.month, now.day, now.hour, now.minute, now.second
    )
}

/// Writes a line to stderr. Nobody is left to tell if that fails.
pub fn to_stderr(line: impl Display) {
    write_patiently(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

/// Writes to stdout. A reader that has gone away is no failure of the action.
pub fn to_stdout(text: impl Display) {
    let mut out = std::io::stdout();
    write_patiently(&mut out, text.to_string().as_bytes());
}

/// Writes as long as somebody reads: a full pipe that nobody empties must not outlive the action's time.
pub(crate) fn write_patiently(out: &mut (impl Write + AsFd), bytes: &[u8]) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    const PATIENCE_MS: u16 = 1000;
    // POSIX: a pipe that can be written to takes PIPE_BUF bytes without blocking.
    for part in bytes.chunks(libc::PIPE_BUF) {
        let ready = {
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::from(PATIENCE_MS)).is_ok_and(|ready| ready > 0)
        };
        if !ready || out.write_all(part).is_err() || out.flush().is_err() {
            return;
        }
    }
}

/// The syslog facility of that name (RFC 5424, section 6.2.1); `none` and unknown names mean no syslog.
fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
        "ntp", "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5",
        "local6", "local7",
    ];
    NAMES.iter().position(|known| *known == name).and_then(|number| u8::try_from(number).ok())
}

/// The file name of a trace: `<dir>/<type>/<instance>.<action>.<time>`. An instance that would leave the directory is
/// made harmless.
pub(crate) fn trace_path(dir: &Path, agent: &str, instance: &str, action: &str) -> PathBuf {
    let instance: String =
        instance.as_bytes().iter().map(|&byte| if byte == b'/' { '_' } else { char::from(byte) }).collect();
    let name = format!("{instance}.{action}.{}", trace_stamp());
    dir.join(agent).join(std::ffi::OsStr::from_bytes(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(pairs: &'static [(&'static str, &'static str)]) -> Log {
        let get =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Log::new("Sample(r0)[1]".into(), get, &crate::Host::real())
    }

    #[test]
    fn facility_none_is_no_facility() {
        assert_eq!(facility("none"), None);
        assert_eq!(facility(""), None);
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("local7"), Some(23));
    }

    #[test]
    fn a_log_file_gets_one_line_a_message_with_time_and_tag() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ha-log");
        let mut log = log(&[]);
        log.terminal = false;
        log.file = Some(file.clone());
        log.warn("first\nsecond");
        log.debug("not asked for");
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with(" Sample(r0)[1]: WARNING: first\\nsecond\n"), "{text}");
    }

    #[test]
    fn debug_messages_need_ha_debug() {
        assert!(!log(&[("HA_debug", "0")]).debug);
        assert!(log(&[("HA_debug", "1")]).debug);
    }

    #[test]
    fn a_trace_stays_in_its_directory() {
        let path = trace_path(Path::new("/t"), "Filesystem", "../../etc/x", "start");
        assert!(path.starts_with("/t/Filesystem"));
        assert_eq!(path.parent(), Some(Path::new("/t/Filesystem")));
    }
}
