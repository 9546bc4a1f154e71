//! start: from Secondary to Primary.
//!
//! Just after a peer's death DRBD still believes it to be Primary, for as long as a ping takes to time out: about ten
//! seconds by default. So the state that it shows then decides nothing; it is asked to promote, again and again.

use crate::DrbdDisk;
use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::drbd::{self, is_not_defined, is_not_up};
use ocf::{Call, Error, Output, Result};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Time between two tries.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Why drbdadm did not promote, by its exit code and the number in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No good copy can be reached.
    NoData,
    /// Another node has it, or is not yet known to be dead.
    PeerIsPrimary,
    /// The resource is not up.
    NotUp,
    /// The configuration does not have it.
    NotDefined,
    /// The module cannot be loaded.
    NoModule,
    /// Something that may pass: no quorum yet, a state change on another node, a tool that did not end.
    Other,
}

/// Reads a failed `drbdadm primary`.
pub fn refusal(output: &Output) -> Refusal {
    let text = String::from_utf8_lossy(&output.stderr);
    match output.code {
        Some(17) => Refusal::NoData,
        Some(11) if text.contains("(-1)") => Refusal::PeerIsPrimary,
        Some(10) if is_not_up(output) => Refusal::NotUp,
        Some(1) if is_not_defined(output) => Refusal::NotDefined,
        Some(20) if text.contains("modprobe") => Refusal::NoModule,
        _ => Refusal::Other,
    }
}

/// Makes the target Primary. Called when it is not.
pub fn start(agent: &DrbdDisk, target: &Target, call: &Call) -> Result<()> {
    let name = drbd::name_of(target, call)?;
    let mut adjusted = None;
    if agent.adjust && drbd::verdict(target, call)? == Verdict::Unconfigured {
        adjusted = adjust(&name, call)?;
    }
    if !call.change(format_args!("run drbdadm primary {name}")) {
        return Ok(());
    }
    let mut tries = 0;
    loop {
        let began = Instant::now();
        let output = call.tool("drbdadm")?.arg("primary").arg(&name).run()?;
        if output.succeeded() {
            return Ok(());
        }
        let refusal = refusal(&output);
        call.log.info(format_args!("drbdadm primary {name}: {} ({refusal:?})", output.complaint()));
        let again = match refusal {
            Refusal::NoData | Refusal::NotDefined | Refusal::NoModule => false,
            Refusal::PeerIsPrimary => true,
            Refusal::NotUp | Refusal::Other => {
                tries += 1;
                tries < agent.tries
            }
        };
        if !again || !is_time_for_another(call, began.elapsed()) {
            return Err(why(refusal, &name, &output, adjusted.as_deref(), call));
        }
        sleep(PAUSE);
    }
}

/// Whether a pause, a try as long as the last one, and a word about it still fit.
pub fn is_time_for_another(call: &Call, last: Duration) -> bool {
    let word = Duration::from_millis(300);
    call.remaining() > PAUSE + last + last / 2 + word
}

/// Brings the resource up. The answer is what drbdadm complained about.
fn adjust(name: &str, call: &Call) -> Result<Option<String>> {
    if !call.change(format_args!("run drbdadm adjust {name}")) {
        return Ok(None);
    }
    let output = call.tool("drbdadm")?.arg("adjust").arg(name).within(call.remaining() / 2).run()?;
    if output.succeeded() {
        return Ok(None);
    }
    let complaint = output.complaint();
    call.log.warn(format_args!("drbdadm adjust {name}: {complaint}"));
    Ok(Some(complaint))
}

fn why(refusal: Refusal, name: &str, output: &Output, adjusted: Option<&str>, call: &Call) -> Error {
    if matches!(refusal, Refusal::NoData | Refusal::NotUp)
        && let Some(disk) = drbd::missing_disks(name, call).first()
    {
        return Error::generic(format_args!(
            "the disk {disk} of {name} does not exist: activate it, then drbdadm adjust {name}"
        ));
    }
    match refusal {
        Refusal::NoData => Error::generic(format_args!(
            "{name} has no UpToDate data here: connect it to a good copy, or wait until it is up to date"
        )),
        Refusal::PeerIsPrimary => {
            Error::generic(format_args!("{name} is Primary on another node: stop it there first"))
        }
        Refusal::NotUp => match adjusted {
            Some(complaint) => {
                Error::generic(format_args!("{name} could not be brought up, drbdadm adjust: {complaint}"))
            }
            None => {
                Error::generic(format_args!("{name} is not up: run drbdadm up {name}, or set adjust=yes"))
            }
        },
        Refusal::NotDefined => {
            Error::installed(format_args!("{name} is not in this node's DRBD configuration"))
        }
        Refusal::NoModule => {
            Error::installed(format_args!("{name} needs the kernel module drbd, which cannot be loaded"))
        }
        Refusal::Other => Error::generic(format_args!("drbdadm primary {name}: {}", output.complaint())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(code: i32, stderr: &str) -> Refusal {
        refusal(&Output { code: Some(code), signal: None, stdout: Vec::new(), stderr: stderr.into() })
    }

    #[test]
    fn the_refusals_of_real_drbd_are_told_apart() {
        let peer = "0: State change failed: (-1) Multiple primaries not allowed by config\n";
        assert_eq!(says(11, peer), Refusal::PeerIsPrimary);
        assert_eq!(says(11, "r3: State change failed: (-25) No quorum\n"), Refusal::Other);
        assert_eq!(
            says(11, "0: State change failed: (-12) Device is held open by someone\n"),
            Refusal::Other
        );
        assert_eq!(says(17, "r0: State change failed: (-2) Need access to UpToDate data\n"), Refusal::NoData);
        assert_eq!(says(10, "0: Failure: (127) Device minor not allocated\n"), Refusal::NotUp);
        assert_eq!(says(10, "r0: Failure: (158) Unknown resource\n"), Refusal::NotUp);
        assert_eq!(says(10, "r0: Failure: (162) Invalid configuration request\n"), Refusal::Other);
        assert_eq!(says(1, "'nosuch' not defined in your config (for this host).\n"), Refusal::NotDefined);
        assert_eq!(says(1, "primary operates on whole resources\n"), Refusal::Other);
        assert_eq!(says(20, "Failed to modprobe drbd (No such file or directory)\n"), Refusal::NoModule);
        assert_eq!(says(20, "Command did not terminate within 121 seconds\n"), Refusal::Other);
    }

    #[test]
    fn a_tool_that_was_killed_is_no_refusal_of_drbd_s() {
        let killed = Output { code: None, signal: Some(11), stdout: Vec::new(), stderr: Vec::new() };
        assert_eq!(refusal(&killed), Refusal::Other);
    }
}
