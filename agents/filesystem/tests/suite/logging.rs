//! Where the words go: files, ha_logger, stderr; and what each call may say.

use testkit::call::{CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::network;

const LOG: &str = "var/log/ha-log";

/// The resource of a network file system, with a log file.
fn logging() -> (Sandbox, Call) {
    let (machine, data) = network();
    machine.folder("var/log");
    // The caller's path, as it is: a log file is no file of the host's.
    let data = data.env("HA_LOGFILE", machine.path(LOG));
    (machine, data)
}

fn log(machine: &Sandbox) -> String {
    std::fs::read_to_string(machine.path(LOG)).unwrap_or_default()
}

#[test]
fn a_reason_goes_to_the_log_file_without_its_prefix() {
    let (machine, data) = logging();
    let reason = data.param("run_fsck", "maybe").run("start").answers(CONFIGURED);
    let text = log(&machine);
    assert!(text.contains(reason.reason().unwrap()), "{text}");
    assert!(text.contains("ERROR") && text.contains("Filesystem(data)["), "{text}");
    assert!(!text.contains("ocf-exit-reason"), "{text}");
}

#[test]
fn with_a_log_file_stderr_has_the_reason_alone() {
    let (machine, data) = logging();
    machine.tool("mount", Tool::Fails(32, "access denied"));
    let answer = data.run("start").answers(GENERIC);
    assert_eq!(answer.stderr.lines().count(), 1, "{answer}");
}

#[test]
fn a_log_file_that_cannot_be_written_fails_nobody() {
    let (machine, data) = logging();
    machine.folder(LOG);
    data.run("start").exits(SUCCESS);
    data.monitor().exits(SUCCESS);
}

#[test]
fn unknown_parameters_are_a_debug_line_and_no_more() {
    let (machine, data) = logging();
    let data = data.param("no_such_parameter", "x");
    data.probe().answers(NOT_RUNNING);
    assert!(!log(&machine).contains("no_such_parameter"), "{}", log(&machine));
    data.env("HA_debug", "1").probe().exits(NOT_RUNNING);
    assert!(log(&machine).contains("no_such_parameter"), "{}", log(&machine));
}

#[test]
fn ha_logger_gets_the_words_when_it_is_asked_for() {
    let (machine, data) = network();
    machine.tool("ha_logger", Tool::Succeeds);
    data.env("HA_LOGD", "yes").param("run_fsck", "maybe").run("start").answers(CONFIGURED);
    let calls = machine.calls("ha_logger");
    let tag = |two: &[String]| two[0] == "-t" && two[1].starts_with("Filesystem(data)[");
    assert!(calls.iter().all(|words| words.windows(2).any(tag)), "{calls:?}");
    assert!(calls.iter().any(|words| words.last().unwrap().contains("run_fsck")), "{calls:?}");
}

#[test]
fn nothing_that_comes_from_outside_breaks_a_line_of_the_log() {
    let (machine, data) = logging();
    data.param("run_fsck", "a\nJan 01 ERROR: forged\x1b[2J").run("start").answers(CONFIGURED);
    let text = log(&machine);
    assert!(!text.is_empty() && !text.lines().any(|line| line.starts_with("Jan 01 ERROR")), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn a_debug_log_gets_the_debug_lines_when_they_are_asked_for() {
    let (machine, data) = network();
    machine.folder("var/log");
    let data = data.env("HA_DEBUGLOG", machine.path(LOG)).param("no_such_parameter", "x");
    data.probe().answers(NOT_RUNNING);
    assert!(!log(&machine).contains("DEBUG"), "{}", log(&machine));
    data.env("HA_debug", "1").probe().answers(NOT_RUNNING);
    let text = log(&machine);
    let line = text.lines().find(|line| line.contains("no_such_parameter"));
    assert!(line.is_some_and(|line| line.contains("Filesystem(data)[") && line.contains("DEBUG")), "{text}");
}

#[test]
fn a_trace_goes_to_the_file_that_was_named() {
    let (machine, data) = network();
    let file = machine.path("tmp/mine");
    let data = data.env("OCF_TRACE_RA", "1").env("OCF_TRACE_FILE", &file);
    data.probe().answers(NOT_RUNNING);
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.contains("Filesystem monitor") && first.contains("server:/export"), "{first}");
    data.probe().answers(NOT_RUNNING);
    let both = std::fs::read_to_string(&file).unwrap();
    assert!(both.starts_with(&first) && both.len() > first.len(), "the second is added: {both}");
}

/// The name that a trace will have can be guessed.
#[test]
fn a_trace_with_a_made_up_name_follows_no_link() {
    let (machine, data) = network();
    machine.file("etc/precious", "keep").folder("tmp/trace/Filesystem");
    let folder = machine.path("tmp/trace/Filesystem");
    for seconds in 0..6 {
        let at = format!("now + {seconds} seconds");
        let words = ["-u", "TZ", "date", "-d", &at, "+%Y-%m-%d.%H:%M:%S"].map(std::ffi::OsStr::new);
        let stamp = testkit::kernel::tool("env", &words);
        let link = folder.join(format!("data.monitor.{stamp}"));
        let _ = std::os::unix::fs::symlink(machine.path("etc/precious"), link);
    }
    data.param("trace_ra", "1").param("trace_dir", "/tmp/trace").probe().answers(NOT_RUNNING);
    assert_eq!(std::fs::read_to_string(machine.path("etc/precious")).unwrap(), "keep");
    let mut entries = std::fs::read_dir(folder).unwrap();
    assert!(entries.all(|entry| entry.unwrap().file_type().unwrap().is_symlink()), "its name was a link's");
}

#[test]
fn syslog_gets_a_line_with_facility_severity_and_tag() {
    let (machine, data) = network();
    machine.folder("dev");
    let syslog = std::os::unix::net::UnixDatagram::bind(machine.path("dev/log")).unwrap();
    syslog.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    let data = data.env("HA_LOGFACILITY", "local3").param("run_fsck", "maybe");
    let answer = data.run("start").answers(CONFIGURED);
    let mut buffer = [0; 1024];
    let length = syslog.recv(&mut buffer).unwrap();
    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
    // RFC 5424, section 6.2.1: 19 is local3, 3 is an error.
    assert!(line.starts_with("<155>Filesystem(data)["), "{line}");
    assert!(line.contains(answer.reason().unwrap()), "{line}");
}

#[test]
fn a_syslog_that_is_full_or_gone_holds_nobody_up() {
    let (machine, data) = network();
    machine.folder("dev");
    let syslog = std::os::unix::net::UnixDatagram::bind(machine.path("dev/log")).unwrap();
    let filler = std::os::unix::net::UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"somebody else's", machine.path("dev/log")).is_ok() {}
    let data = data.env("HA_LOGFACILITY", "daemon").param("run_fsck", "maybe");
    data.run("start").answers(CONFIGURED).within_ms(2000);
    drop(syslog);
    data.run("start").answers(CONFIGURED).within_ms(2000);
}
