//! stop: from Primary to Secondary, or the name of who is in the way.

use crate::start::{PAUSE, is_time_for_another};
use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::drbd::{self, Kernel};
use ocf::state::mountinfo::Device;
use ocf::{Call, Error, Output, Result, holders};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Instant;

/// The number that the kernel's developers gave to DRBD.
const DRBD_MAJOR: u32 = 147;

/// Makes the target Secondary. Called when it is not known to be.
pub fn stop(target: &Target, call: &Call) -> Result<()> {
    let name = drbd::name_of(target, call)?;
    if !call.change(format_args!("run drbdadm secondary {name}")) {
        return Ok(());
    }
    let mut told = false;
    loop {
        let began = Instant::now();
        let complaint = match secondary(&name, call) {
            // Also 0: the module is absent, or somebody opened the device again and DRBD promoted it by itself.
            Ok(output) if output.succeeded() => match drbd::verdict(target, call) {
                Ok(Verdict::Unconfigured | Verdict::Secondary) => return Ok(()),
                Ok(_) => format!("{name} is Primary again"),
                Err(error) => error.reason().to_string(),
            },
            Ok(output) => output.complaint(),
            Err(error) => error.reason().to_string(),
        };
        call.log.info(format_args!("drbdadm secondary {name}: {complaint}"));
        if !told {
            told = true;
            let holders = holders_of(&name, call);
            if !holders.is_empty() {
                call.log.info(format_args!("{name} is held by {}", holders.join(", ")));
            }
        }
        if !is_time_for_another(call, began.elapsed()) {
            // It may have become Secondary by other hands.
            if let Ok(Verdict::Unconfigured | Verdict::Secondary) = drbd::verdict(target, call) {
                return Ok(());
            }
            return Err(why(&name, &complaint, &holders_of(&name, call)));
        }
        sleep(PAUSE);
    }
}

/// One try, with half of the time that is left: there has to be time to say who is in the way.
fn secondary(name: &str, call: &Call) -> Result<Output> {
    let limit = call.remaining() / 2;
    let by_name = call.tool("drbdadm").and_then(|tool| tool.arg("secondary").arg(name).within(limit).run());
    match by_name {
        // The kernel's own answer: done, not up, refused, no disk, no data.
        Ok(Output { code: Some(0 | 10 | 11 | 16 | 17), .. }) => by_name,
        // Out of the configuration, or drbdadm cannot run or write its lock file: the kernel needs neither.
        other => match past_configuration(name, call) {
            Some(Ok(output)) => Ok(output),
            _ => other,
        },
    }
}

fn past_configuration(name: &str, call: &Call) -> Option<Result<Output>> {
    let by = |word: &str| {
        let limit = call.remaining() / 2;
        call.tool("drbdsetup").and_then(|tool| tool.arg("secondary").arg(word).within(limit).run())
    };
    if name == "all" {
        return None;
    }
    if drbd::kernel(call) == Kernel::New {
        return Some(by(name));
    }
    let mut last = None;
    for minor in drbd::minors(name, call) {
        let result = by(&minor.to_string());
        let failed = !matches!(&result, Ok(output) if output.succeeded());
        last = Some(result);
        if failed {
            break;
        }
    }
    last
}

/// Who uses the devices of the resource.
fn holders_of(name: &str, call: &Call) -> Vec<String> {
    call.step("looking for who holds the device");
    let mut found = Vec::new();
    for minor in drbd::minors(name, call) {
        let device = Device { major: DRBD_MAJOR, minor };
        let node = PathBuf::from(format!("/dev/drbd{minor}"));
        found.extend(holders::of_whole_device(call, device, Path::new(&node)));
    }
    found
}

fn why(name: &str, complaint: &str, holders: &[String]) -> Error {
    if holders.is_empty() {
        return Error::generic(format_args!("{name} is still Primary, drbdadm secondary: {complaint}"));
    }
    Error::generic(format_args!("{name} is still Primary, held by {}", holders.join(", ")))
}
