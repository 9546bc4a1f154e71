//! From the call to the answer: the rules that every agent obeys, written once.

use crate::call::{own_time, variable};
use crate::helper::Helper;
use crate::invocation::{self, Caller, Invocation};
use crate::log::{Log, to_stderr, to_stdout};
use crate::params::parse_bool;
use crate::{Agent, Call, Context, Dialect, Error, ExitCode, Host, Metadata, Result, State, json, sys, xml};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The whole `main` of the agent `$agent`, in a file that begins with `#![cfg_attr(not(test), no_main)]`.
///
/// Rust's own start-up reads /proc/self/maps and sets up a stack for overflow messages: a tenth of the time that a
/// monitor takes. What is needed of it, [`run`] does.
#[macro_export]
macro_rules! main {
    ($agent:ty) => {
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
            $crate::dispatch::run::<$agent>()
        }

        // The unit tests have a `main` of their own.
        #[cfg(test)]
        const _: fn() -> i32 = $crate::dispatch::run::<$agent>;
    };
}

/// Answers one call of the agent `A` with an exit code. Called by [`main!`](crate::main) and nothing else.
pub fn run<A: Agent>() -> i32 {
    let began = Instant::now();
    sys::own_signals();
    open_missing_standard_files();
    let host = Host::from_environment();
    let caller = Caller::of_this_process();
    // A trace may be asked for on one of them.
    sys::close_inherited_files(caller.get("OCF_TRACE_FILE").is_some());
    i32::from(answer::<A>(began, host, &caller))
}

/// A caller may have closed stdout or stderr: the next file to be opened would take its place and be written to.
fn open_missing_standard_files() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut fds =
        [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|fd| PollFd::new(fd, PollFlags::empty()));
    let _ = poll(&mut fds, PollTimeout::ZERO);
    for fd in fds {
        if fd.revents().is_some_and(|events| events.contains(PollFlags::POLLNVAL))
            && let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null")
        {
            // The lowest free number is the missing one; it stays open for the life of the process.
            std::mem::forget(null);
        }
    }
}

/// The table of the name under which the agent was called.
fn table<A: Agent>(caller: &Caller) -> Metadata {
    let called = caller.file_name();
    A::OTHER_TABLES.iter().find(|table| called == table.name).copied().unwrap_or(A::METADATA)
}

fn answer<A: Agent>(began: Instant, host: Host, caller: &Caller) -> u8 {
    let metadata = table::<A>(caller);
    let dialect = invocation::dialect(caller, &metadata);
    let invocation = if dialect == Dialect::ByHand {
        match crate::cli::read(&metadata, &host, caller) {
            Ok(invocation) => invocation,
            Err(printed) => {
                if printed.code == 0 {
                    to_stdout(printed.text);
                } else {
                    to_stderr(printed.text.trim_end());
                }
                return printed.code;
            }
        }
    } else {
        match Invocation::read(caller, dialect, &metadata, &host) {
            Ok(invocation) => invocation,
            Err(error) => {
                say_why(dialect, &error);
                return error.code().number();
            }
        }
    };
    match invocation.action.as_str() {
        "meta-data" if invocation.options.json => {
            to_stdout(format_args!("{}\n", json::table(&metadata, A::OTHER_TABLES, &host)));
            return 0;
        }
        "meta-data" => {
            to_stdout(xml::render(&metadata, shown_name(caller, &metadata), &host));
            return 0;
        }
        "usage" => {
            to_stdout(format_args!("{}\n", usage(&metadata)));
            return 0;
        }
        _ => {}
    }
    let mut call = call(began, host, caller, &metadata, &invocation);
    start_trace(&mut call, caller, &metadata, &invocation);
    call.host.trace_to(&call.log);
    for name in &invocation.unknown {
        call.log.debug(format_args!("parameter {name} is not one of this agent's and is ignored"));
    }
    let result = act::<A>(&call, caller, &invocation);
    finish(&call, caller, &metadata, &invocation, result)
}

fn shown_name(caller: &Caller, metadata: &Metadata) -> &'static str {
    let called = metadata.also_called.iter().find(|name| caller.file_name() == **name);
    called.copied().unwrap_or(metadata.name)
}

fn usage(metadata: &Metadata) -> String {
    let mut actions: Vec<&str> = Vec::new();
    for action in metadata.actions.iter().filter(|action| !action.by_hand) {
        if !actions.contains(&action.name) {
            actions.push(action.name);
        }
    }
    format!(
        "usage: {} {}\nBy hand: {} --help\nHeartbeat: {}",
        metadata.name,
        actions.join("|"),
        metadata.name,
        invocation::usage(metadata).trim_start_matches("usage: ")
    )
}

fn call(began: Instant, host: Host, caller: &Caller, metadata: &Metadata, invocation: &Invocation) -> Call {
    let options = &invocation.options;
    let text = |name: &str| caller.get(name).and_then(|value| value.to_str()).map(str::to_string);
    let instance = options
        .instance
        .clone()
        .or_else(|| text("OCF_RESOURCE_INSTANCE"))
        .unwrap_or_else(|| "default".into());
    let action = match invocation.action.as_str() {
        "status" => "monitor".to_string(),
        other => other.to_string(),
    };
    let ocf = invocation.dialect == Dialect::Ocf;
    let meta_timeout = text("OCF_RESKEY_CRM_meta_timeout").filter(|_| ocf).and_then(|ms| ms.parse().ok());
    let total = options
        .timeout
        .or(meta_timeout.filter(|&ms| ms > 0).map(Duration::from_millis))
        .unwrap_or_else(|| metadata.default_timeout(&action));
    let level = || text("OCF_CHECK_LEVEL").or_else(|| text("OCF_RESKEY_OCF_CHECK_LEVEL"))?.parse().ok();
    let interval = text("OCF_RESKEY_CRM_meta_interval");
    let tag = format!("{}({instance})[{}]", shown_name(caller, metadata), std::process::id());
    let mut log = Log::new(tag, |name| caller.get(name).map(OsString::from), &host);
    if matches!(action.as_str(), "monitor" | "validate-all") {
        log.keep_stderr_clean();
    }
    Call {
        host,
        log: Rc::new(log),
        instance,
        called: shown_name(caller, metadata),
        check_level: options.check_level.or_else(level).unwrap_or(0),
        probe: ocf && invocation.action == "monitor" && interval.is_none_or(|ms| ms.parse::<u64>() == Ok(0)),
        action,
        dry_run: options.dry_run,
        dialect: invocation.dialect,
        deadline: began + own_time(total),
        words_first: None,
        reporter: None,
        status_note: Rc::default(),
        status_code: Rc::default(),
        explains: options.verbose || wants_json(caller, invocation),
        because: Rc::default(),
        object: Rc::default(),
    }
}

/// Pacemaker sets the variable too, to other words; the other dialects have one word for an answer.
fn wants_json(caller: &Caller, invocation: &Invocation) -> bool {
    let asked = invocation.options.json || caller.get("OCF_OUTPUT_FORMAT").is_some_and(|word| word == "json");
    asked
        && matches!(invocation.dialect, Dialect::Ocf | Dialect::ByHand)
        && matches!(invocation.action.as_str(), "status" | "monitor" | "validate-all")
}

/// Starts the decision trace if it is switched on where crmsh and pcs users, or ocf-tester, switch it on.
fn start_trace(call: &mut Call, caller: &Caller, metadata: &Metadata, invocation: &Invocation) {
    let on = ["OCF_TRACE_RA", "OCF_RESKEY_trace_ra"]
        .iter()
        .any(|name| caller.get(name).and_then(|word| word.to_str()).and_then(parse_bool) == Some(true));
    let shown = format!(
        "{} {} ({:?}), level {}, {:.1} s left",
        metadata.name,
        invocation.action,
        invocation.dialect,
        call.check_level,
        call.remaining().as_secs_f64()
    );
    if let Some(log) = Rc::get_mut(&mut call.log) {
        if invocation.options.verbose {
            log.explain();
        }
        if on {
            trace_to_file(log, &call.host, &call.instance, caller, metadata, invocation);
        }
    }
    if !call.log.traces() {
        return;
    }
    call.log.trace(shown);
    for given in invocation.values.iter() {
        if let Some(value) = &given.value {
            let value = crate::error::printable(value.as_encoded_bytes());
            call.log.trace(format_args!("parameter {}='{value}'", given.row.name));
        }
    }
}

fn trace_to_file(
    log: &mut Log,
    host: &Host,
    instance: &str,
    caller: &Caller,
    metadata: &Metadata,
    invocation: &Invocation,
) {
    let mut made_up = false;
    let path = match caller.get("OCF_TRACE_FILE").and_then(|file| file.to_str()) {
        Some(file) if file.starts_with('/') => PathBuf::from(file),
        Some(fd) if fd.len() == 1 && fd.bytes().all(|digit| (b'3'..=b'9').contains(&digit)) => {
            Path::new("/proc/self/fd").join(fd)
        }
        _ => {
            made_up = true;
            let dir =
                caller.get("OCF_RESKEY_trace_dir").map_or("/var/lib/heartbeat/trace_ra".as_ref(), Path::new);
            crate::log::trace_path(&host.path(dir), metadata.name, instance, &invocation.action)
        }
    };
    log.trace_to(&path, made_up);
}

/// Everything between the reading of the call and the answer.
fn act<A: Agent>(call: &Call, caller: &Caller, invocation: &Invocation) -> Result<State> {
    let metadata = table::<A>(caller);
    if let Some(major) = caller.get("OCF_RA_VERSION_MAJOR").filter(|_| invocation.dialect == Dialect::Ocf)
        && major != "1"
    {
        let major = crate::error::printable(major.as_encoded_bytes());
        return Err(Error::args(format_args!(
            "OCF_RA_VERSION_MAJOR is {major}, but this agent speaks version 1"
        )));
    }
    let restart =
        invocation.dialect == Dialect::Lsb && matches!(call.action.as_str(), "restart" | "force-reload");
    let listed =
        metadata.action(&call.action).filter(|found| !found.by_hand || invocation.dialect == Dialect::ByHand);
    if listed.is_none() && !restart {
        let action = crate::error::printable(call.action.as_bytes());
        return Err(Error::unimplemented(format_args!(
            "action '{action}' is not implemented by {}",
            metadata.name
        )));
    }
    // The caller's working directory may be on what is to be stopped.
    std::env::set_current_dir("/").or_generic("the root directory cannot be entered")?;
    // A monitor or a stop must not fail over a parameter that it does not need.
    let strict = !matches!(call.action.as_str(), "monitor" | "stop" | "demote" | "notify");
    let agent: A = invocation.values.read(strict, &|error| call.log.warn(error))?;
    *call.object.borrow_mut() = agent.object();
    if call.action == "monitor" && !agent.monitor_may_hang(call) {
        return agent.monitor(call);
    }
    supervised(&agent, call, |call| {
        if restart {
            perform(&agent, call, "stop")?;
            return perform(&agent, call, "start");
        }
        perform(&agent, call, &call.action)
    })
}

/// Lets a child do the work and answers for it: whatever the work runs into, this process has an answer in time.
fn supervised<A: Agent>(agent: &A, call: &Call, work: impl FnOnce(&Call) -> Result<State>) -> Result<State> {
    let until = call.deadline();
    let mut helper = Helper::spawn_relayed(|reporter| {
        // With a little less time, so that the child can give the reason before its parent gives up.
        work(&call.in_helper(reporter)).map(|state| {
            format!("{}\n{}\n{}", call.status_note.borrow(), call.because.borrow(), encode(&state))
        })
    })?;
    match helper.wait(until) {
        Some(result) => result.and_then(|text| {
            let (note, state) = text.split_once('\n').unwrap_or_default();
            let (because, state) = state.split_once('\n').unwrap_or_default();
            *call.status_note.borrow_mut() = note.into();
            *call.because.borrow_mut() = because.into();
            decode(state)
        }),
        None => {
            let step = match helper.last_step() {
                "" => String::new(),
                step => format!(", still {step}"),
            };
            let obstacle = match helper.last_obstacle() {
                "" => String::new(),
                obstacle => format!(": {obstacle}"),
            };
            let error = Error::generic(format_args!(
                "{} of {} did not end in time{step}{obstacle}",
                call.action,
                agent.object()
            ));
            helper.abandon();
            Err(error)
        }
    }
}

fn perform<A: Agent>(agent: &A, call: &Call, action: &str) -> Result<State> {
    let done = |result: Result<()>| result.map(|()| State::Running);
    match action {
        "monitor" => agent.monitor(call),
        "start" => {
            agent.validate(call)?;
            if !agent.acts_anyway(call) && look(agent, call)? != State::Stopped {
                call.log.trace("start: it runs already");
                return Ok(State::Running);
            }
            agent.start(call)?;
            match after(agent, call)? {
                State::Stopped => {
                    let object = agent.object();
                    Err(Error::generic(format_args!(
                        "start of {object} seemed to succeed, but it does not run"
                    )))
                }
                _ => Ok(State::Running),
            }
        }
        "stop" => {
            if !agent.acts_anyway(call) && matches!(look(agent, call), Ok(State::Stopped)) {
                call.log.trace("stop: it is stopped already");
                return Ok(State::Running);
            }
            agent.stop(call)?;
            match after(agent, call)? {
                State::Stopped => Ok(State::Running),
                _ if call.dry_run => Ok(State::Running),
                _ => {
                    let object = agent.object();
                    Err(Error::generic(format_args!("stop of {object} seemed to succeed, but it still runs")))
                }
            }
        }
        "promote" if is_promoted(&look(agent, call)?) && !agent.acts_anyway(call) => Ok(State::Running),
        "promote" => done(agent.promote(call)),
        "demote" => match look(agent, call)? {
            State::Running | State::Degraded(_) if !agent.acts_anyway(call) => Ok(State::Running),
            // What is stopped cannot be demoted, and the cluster has to know (OCF 1.1: code 7).
            State::Stopped => Ok(State::Stopped),
            _ => done(agent.demote(call)),
        },
        "notify" => done(agent.notify(call)),
        "migrate_to" => done(agent.migrate_to(call)),
        "migrate_from" => done(agent.migrate_from(call)),
        "validate-all" => done(agent.validate(call)),
        other => done(agent.by_hand(other, call)),
    }
}

fn is_promoted(state: &State) -> bool {
    matches!(state, State::Promoted | State::DegradedPromoted(_))
}

/// What is there, asked as a probe asks: what does not belong to this resource is "stopped".
fn look<A: Agent>(agent: &A, call: &Call) -> Result<State> {
    agent.monitor(&call.as_look())
}

/// The second look, without which no start or stop is believed. In a dry run there is nothing to see.
fn after<A: Agent>(agent: &A, call: &Call) -> Result<State> {
    if call.dry_run { Ok(State::Running) } else { look(agent, call) }
}

fn encode(state: &State) -> String {
    match state {
        State::Stopped => "stopped".into(),
        State::Running => "running".into(),
        State::Promoted => "promoted".into(),
        State::Degraded(why) => format!("degraded {why}"),
        State::DegradedPromoted(why) => format!("degraded-promoted {why}"),
    }
}

fn decode(text: &str) -> Result<State> {
    Ok(match text.split_once(' ').unwrap_or((text, "")) {
        ("stopped", _) => State::Stopped,
        ("running", _) => State::Running,
        ("promoted", _) => State::Promoted,
        ("degraded", why) => State::Degraded(why.into()),
        ("degraded-promoted", why) => State::DegradedPromoted(why.into()),
        _ => return Err(Error::generic("a helper process gave no answer")),
    })
}

/// Says the result in the caller's dialect and gives the exit code.
fn finish(
    call: &Call,
    caller: &Caller,
    metadata: &Metadata,
    invocation: &Invocation,
    result: Result<State>,
) -> u8 {
    let dialect = invocation.dialect;
    let monitor = call.action == "monitor";
    let word = word(&result);
    let trouble = match &result {
        Ok(State::Degraded(why) | State::DegradedPromoted(why)) => Some(why.clone()),
        _ => None,
    };
    let (code, error) = match result {
        Ok(State::Stopped) => (ExitCode::NotRunning, None),
        Ok(State::Running) => (ExitCode::Success, None),
        Ok(State::Promoted) => (if monitor { ExitCode::RunningPromoted } else { ExitCode::Success }, None),
        Ok(State::Degraded(why)) => degraded(call, caller, ExitCode::Degraded, ExitCode::Success, why),
        Ok(State::DegradedPromoted(why)) => {
            degraded(call, caller, ExitCode::DegradedPromoted, ExitCode::RunningPromoted, why)
        }
        // What is not installed here cannot run here; any other code would ban the node or believe it active.
        Err(error) if call.probe && error.code() == ExitCode::Installed => {
            call.log.debug(format_args!("probe: {error}"));
            (ExitCode::NotRunning, None)
        }
        Err(error) => (error.code(), Some(error)),
    };
    let word = if monitor && code == ExitCode::NotRunning { "stopped" } else { word };
    call.log.trace(format_args!("exit code {}", code.number()));
    let because = match (&error, trouble) {
        (Some(error), _) => error.reason().to_string(),
        (None, Some(why)) => why,
        (None, None) if monitor && call.because.borrow().is_empty() => {
            format!("{} is {word}", call.object.borrow())
        }
        (None, None) => call.because.borrow().clone(),
    };
    if invocation.options.verbose && error.is_none() && !because.is_empty() {
        to_stderr(format_args!("because {because}"));
    }
    if let Some(error) = &error {
        call.log.error(error);
        if dialect == Dialect::Ocf || !call.log.on_terminal() {
            say_why(dialect, error);
        }
    }
    let json = wants_json(caller, invocation);
    if json {
        to_stdout(format_args!("{}\n", report(call, metadata, word, code, &because, invocation)));
    }
    if dialect == Dialect::Ocf {
        return code.number();
    }
    if monitor {
        let note = match call.status_note.borrow().as_str() {
            "" => String::new(),
            word => format!(" ({word})"),
        };
        let line = match code {
            ExitCode::NotRunning => format!("stopped{note}\n"),
            _ if code.lsb_status() == 0 => format!("running{note}\n"),
            // Both of Heartbeat's readers must take an unknown state for a running one.
            _ => "running (unverified)\n".into(),
        };
        if !json {
            to_stdout(line);
        }
        let by_code = dialect == Dialect::ByHand && invocation.action == "monitor";
        let own_code = if by_code { code.number() } else { code.lsb_status() };
        return call.status_code.get().unwrap_or(own_code);
    }
    // What only people call has given its answer already.
    let answered = json || call.dry_run || metadata.action(&call.action).is_some_and(|action| action.by_hand);
    if dialect == Dialect::ByHand && error.is_none() && !answered {
        to_stdout(format_args!("{}: done\n", call.action));
    }
    error.as_ref().and_then(Error::old_code).unwrap_or(code.number())
}

fn word(result: &Result<State>) -> &'static str {
    match result {
        Ok(State::Stopped) => "stopped",
        Ok(State::Running) => "running",
        Ok(State::Promoted) => "promoted",
        Ok(State::Degraded(_)) => "degraded",
        Ok(State::DegradedPromoted(_)) => "degraded-promoted",
        Err(_) => "unknown",
    }
}

/// The answer for scripts: one object on one line. The exit code in it is the one that a cluster gets.
fn report(
    call: &Call,
    metadata: &Metadata,
    word: &str,
    code: ExitCode,
    because: &str,
    invocation: &Invocation,
) -> String {
    let parameters = invocation.values.iter().fold(json::Object::default(), |object, given| {
        let value = given.value.as_ref().map(|value| value.to_string_lossy());
        object.text(given.row.name, value.as_deref().or_else(|| given.row.default_on(&call.host)))
    });
    let object = json::Object::default()
        .text("agent", metadata.name)
        .text("version", env!("CARGO_PKG_VERSION"))
        .text("instance", call.instance.as_str())
        .text("resource", call.object.borrow().as_str())
        .text("action", call.action.as_str())
        .raw("check_level", call.check_level);
    let object = match call.action.as_str() {
        "monitor" => object.text("state", word),
        _ => object.raw("valid", code == ExitCode::Success),
    };
    object
        .raw("exit_code", code.number())
        .text("because", Some(because).filter(|because| !because.is_empty()))
        .raw("parameters", parameters.end())
        .end()
}

/// The degraded codes, for a cluster that knows them (crm_feature_set 3.6.1, Pacemaker 2.0.5); to others it runs.
fn degraded(
    call: &Call,
    caller: &Caller,
    known: ExitCode,
    else_code: ExitCode,
    why: String,
) -> (ExitCode, Option<Error>) {
    let feature_set =
        caller.get("OCF_RESKEY_crm_feature_set").and_then(|value| value.to_str()).unwrap_or_default();
    if call.action == "monitor" && version(feature_set) >= vec![3, 6, 1] {
        call.log.warn(&why);
        say_why(Dialect::Ocf, &Error::generic(why));
        return (known, None);
    }
    call.log.warn(why);
    (if call.action == "monitor" { else_code } else { ExitCode::Success }, None)
}

/// The numbers of a version, for comparison: `9` equals `9.0` and is less than `9.1` and `10`.
pub fn version(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

/// What the cluster looks for on stderr unless it says otherwise.
const EXIT_REASON_PREFIX: &str = "ocf-exit-reason:";

fn prefix() -> String {
    variable("OCF_EXIT_REASON_PREFIX").unwrap_or_else(|| EXIT_REASON_PREFIX.into())
}

/// The last line on stderr: for the cluster with the prefix that it looks for, for others as it is.
fn say_why(dialect: Dialect, error: &Error) {
    if dialect == Dialect::Ocf {
        // The cluster reads from the last prefix on: a parameter must not be able to bring one of its own.
        let prefix = prefix();
        let reason = error.short_reason();
        let reason = reason.replace(prefix.as_str(), "").replace(EXIT_REASON_PREFIX, "");
        to_stderr(format_args!("{prefix}{reason}"));
    } else {
        to_stderr(format_args!("ERROR: {}", crate::error::printable(error.reason().as_bytes())));
    }
}

#[cfg(test)]
mod tests;
