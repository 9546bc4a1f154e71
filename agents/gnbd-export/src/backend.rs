//! What every way of offering a device can do, which one is used, and what its findings mean.

use crate::export::Export;
use crate::gnbd::Gnbd;
use crate::lio::Lio;
use crate::nbd::{Nbd, Server};
use crate::nvmet::Nvmet;
use ocf::{Call, Dialect, Error, ExitCode, Result, State};
use serde::Deserialize;

/// From this check level on, monitor asks over the network.
const ASKS_FROM_LEVEL: u32 = 10;

/// One way of offering a device.
pub trait Backend {
    /// Its name, which also stands in the status line, and so holds none of the words that Heartbeat looks for.
    fn word(&self) -> &'static str;

    /// Fails if this machine cannot do it, or not with these parameters. Changes nothing.
    fn can(&self, export: &Export, call: &Call) -> Result<()>;

    /// What there is of the export. Changes nothing; what cannot be read is an error.
    fn look(&self, export: &Export, call: &Call) -> Result<Found>;

    /// Offers the device. Called when nothing of the export is there.
    fn start(&self, export: &Export, call: &Call) -> Result<()>;

    /// Withdraws whatever there is of the export, so that nothing of it holds the device.
    fn stop(&self, export: &Export, call: &Call) -> Result<()>;

    /// Asks over the network whether the export answers.
    fn ask(&self, export: &Export, call: &Call) -> Result<()>;
}

/// What there is of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// Something that neither holds the device nor offers it.
    Remains,
    /// A part: it holds the device or seems to offer it, but no client can use it. Why.
    Partial(String),
    /// The name, with another device, identity or mode. Which.
    Different(String),
    /// All of it; and why somebody should look, if so.
    Whole(Option<String>),
}

impl Found {
    /// For people.
    fn words(&self) -> String {
        match self {
            Self::Absent => "is not offered".into(),
            Self::Remains => "is not offered, but something of it is left".into(),
            Self::Partial(why) | Self::Different(why) => why.clone(),
            Self::Whole(None) => "is offered".into(),
            Self::Whole(Some(why)) => format!("is offered, but {why}"),
        }
    }
}

/// What the parameter `backend` takes.
pub const CHOICES: &str = "auto, gnbd, nvmet, lio, nbd, qemu-nbd or nbd-server";

/// What the parameter `backend` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The first of [`IN_ORDER`] that works here.
    Auto,
    /// GNBD.
    Gnbd,
    /// NVMe over TCP.
    Nvmet,
    /// iSCSI.
    Lio,
    /// NBD by whichever server is there.
    Nbd,
    /// NBD by that of QEMU.
    QemuNbd,
    /// NBD by the original server.
    NbdServer,
}

/// Whether it is one of them.
pub fn is_choice(text: &str) -> bool {
    matches!(text, "auto" | "gnbd" | "nvmet" | "lio" | "nbd" | "qemu-nbd" | "nbd-server")
}

const IN_ORDER: [&dyn Backend; 3] = [&Gnbd, &Nvmet, &Lio];

impl Choice {
    /// Whether it is one of the NBD servers.
    pub fn is_nbd(self) -> bool {
        matches!(self, Self::Nbd | Self::QemuNbd | Self::NbdServer)
    }

    /// Where the export may be.
    fn backends(self) -> &'static [&'static dyn Backend] {
        match self {
            Self::Auto => &IN_ORDER,
            Self::Gnbd => &[&Gnbd],
            Self::Nvmet => &[&Nvmet],
            Self::Lio => &[&Lio],
            Self::Nbd => &[&Nbd(None)],
            Self::QemuNbd => &[&Nbd(Some(Server::Qemu))],
            Self::NbdServer => &[&Nbd(Some(Server::NbdServer))],
        }
    }
}

/// The backend that start uses.
pub fn choose(export: &Export, call: &Call) -> Result<&'static dyn Backend> {
    let backends = export.choice.backends();
    if let [only] = backends {
        only.can(export, call)?;
        return Ok(*only);
    }
    let mut why = Vec::new();
    for backend in backends {
        match backend.can(export, call) {
            Ok(()) => return Ok(*backend),
            Err(error) => why.push(format!("{}: {error}", backend.word())),
        }
    }
    Err(Error::installed(format_args!("export {}: no backend works here; {}", export.name, why.join("; "))))
}

/// What there is of the export, in whichever backend. With `auto` it may be in any of them: which one is chosen may have
/// changed since it was started.
fn look(export: &Export, call: &Call) -> Result<(&'static dyn Backend, Found)> {
    let mut there: Vec<(&'static dyn Backend, Found)> = Vec::new();
    let mut unknown = None;
    let backends = export.choice.backends();
    for backend in backends {
        match backend.look(export, call) {
            Ok(Found::Absent) => {}
            Ok(found) => there.push((*backend, found)),
            // One that is not installed cannot have it.
            Err(error) if backends.len() > 1 && error.code() == ExitCode::Installed => {}
            Err(error) => unknown = Some(error),
        }
    }
    call.log.trace(format_args!(
        "found: {:?}",
        there.iter().map(|(backend, found)| (backend.word(), found)).collect::<Vec<_>>()
    ));
    let holding = there.iter().filter(|(_, found)| *found != Found::Remains);
    let words: Vec<&str> = holding.map(|(backend, _)| backend.word()).collect();
    if words.len() > 1 {
        let why = format!("export {} is there more than once: {}", export.name, words.join(", "));
        return there
            .pop()
            .map(|(backend, _)| (backend, Found::Different(why.clone())))
            .ok_or(Error::generic(why));
    }
    if words.is_empty()
        && let Some(error) = unknown
    {
        return Err(error);
    }
    there.sort_by_key(|(_, found)| *found == Found::Remains);
    match (there.into_iter().next(), backends.first()) {
        (Some(found), _) => Ok(found),
        (None, Some(first)) => Ok((*first, Found::Absent)),
        (None, None) => Err(Error::generic("no backend is known")),
    }
}

/// Monitor, and the look before and after start and stop.
pub fn monitor(export: &Export, call: &Call) -> Result<State> {
    let (backend, found) = look(export, call)?;
    let mut word = backend.word();
    if found == Found::Absent && export.choice == Choice::Auto && call.dialect != Dialect::Ocf {
        // Which one it would be.
        word = choose(export, call).map_or("no backend", |backend| backend.word());
    }
    call.note_for_status(word);
    call.because(format_args!("export {} {} ({word})", export.name, found.words()));
    let state = verdict(&call.action, found, &export.name)?;
    if call.action == "monitor" && call.check_level >= ASKS_FROM_LEVEL && state != State::Stopped {
        backend.ask(export, call)?;
    }
    Ok(state)
}

/// What the finding means for the action: what start can clear is no obstacle to it, what stop must clear is there.
fn verdict(action: &str, found: Found, name: &str) -> Result<State> {
    match (found, action) {
        (Found::Absent | Found::Remains, _) | (Found::Partial(_), "start") => Ok(State::Stopped),
        (Found::Whole(None), _) | (Found::Partial(_) | Found::Different(_), "stop") => Ok(State::Running),
        (Found::Whole(Some(why)), _) => Ok(State::Degraded(format!("export {name}: {why}"))),
        (Found::Partial(why), _) => Err(Error::generic(format_args!("export {name} {why}: restart it"))),
        (Found::Different(why), _) => Err(Error::generic(format_args!("export {name} {why}: stop it first"))),
    }
}

/// Start: clears what is left, then offers the device.
pub fn start(export: &Export, call: &Call) -> Result<()> {
    let backend = choose(export, call)?;
    for other in export.choice.backends() {
        match other.look(export, call) {
            Ok(Found::Remains | Found::Partial(_)) => {
                let word = other.word();
                call.log.info(format_args!("clearing what is left of export {} ({word})", export.name));
                other.stop(export, call)?;
            }
            // One that cannot be asked may have the export.
            Err(error) if error.code() != ExitCode::Installed => return Err(error),
            _ => {}
        }
    }
    crate::device::check(export, call)?;
    call.log.info(format_args!("export {} is offered by {}", export.name, backend.word()));
    let result = backend.start(export, call);
    if result.is_err() && !call.dry_run {
        // What holds the device would keep it from being demoted.
        if let Err(error) = backend.stop(export, call) {
            call.log.warn(format_args!("clearing after the failure: {error}"));
        }
    }
    result
}

/// Stop: withdraws the export wherever it is.
pub fn stop(export: &Export, call: &Call) -> Result<()> {
    let backends = export.choice.backends();
    let mut result = Ok(());
    for backend in backends {
        let stopped = match backend.look(export, call) {
            Ok(Found::Absent) => Ok(()),
            Err(error) if backends.len() > 1 && error.code() == ExitCode::Installed => Ok(()),
            _ => backend.stop(export, call),
        };
        result = result.and(stopped);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_finding_means_to_each_action() {
        let why = || "x".to_string();
        let degraded = || State::Degraded("export r0: x".into());
        for (found, monitor, start, stop) in [
            (Found::Absent, Some(State::Stopped), Some(State::Stopped), Some(State::Stopped)),
            (Found::Remains, Some(State::Stopped), Some(State::Stopped), Some(State::Stopped)),
            (Found::Partial(why()), None, Some(State::Stopped), Some(State::Running)),
            (Found::Different(why()), None, None, Some(State::Running)),
            (Found::Whole(None), Some(State::Running), Some(State::Running), Some(State::Running)),
            (Found::Whole(Some(why())), Some(degraded()), Some(degraded()), Some(degraded())),
        ] {
            for (action, expected) in [("monitor", monitor), ("start", start), ("stop", stop)] {
                assert_eq!(verdict(action, found.clone(), "r0").ok(), expected, "{found:?} {action}");
            }
        }
    }

    #[test]
    fn no_word_of_the_status_line_says_anything_to_heartbeat() {
        for choice in [Choice::Auto, Choice::Nbd, Choice::QemuNbd, Choice::NbdServer] {
            for backend in choice.backends() {
                let word = backend.word();
                assert!(!["running", "stopped", "not", "OK"].iter().any(|bad| word.contains(bad)), "{word}");
            }
        }
    }
}
