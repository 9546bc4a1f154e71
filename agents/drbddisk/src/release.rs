//! Letting go of a device that is Primary, and naming who is in the way.

use crate::adm::drbdadm;
use ocf::drbd::{self, Kernel};
use ocf::state::mountinfo::Device;
use ocf::{Call, Error, Output, Result, holders};
use std::path::{Path, PathBuf};

/// The number that the kernel's developers gave to DRBD.
const DRBD_MAJOR: u32 = 147;

/// One try, with half of the time that is left: there has to be time to say who is in the way.
pub fn secondary(name: &str, call: &Call) -> Result<Output> {
    let limit = call.remaining() / 2;
    let by_name = drbdadm(call, &["secondary", name]).and_then(|tool| tool.within(limit).run());
    match by_name {
        Ok(ref output) if is_of_the_kernel(output) => by_name,
        // Out of the configuration, which may be broken, or drbdadm cannot run or write its lock file: the kernel needs
        // none of these.
        other => match past_configuration(name, call) {
            Some(Ok(output)) => Ok(output),
            _ => other,
        },
    }
}

/// The kernel's own answer: done, refused, no disk, no data, not up. The code of the last is also drbdadm's own, for a
/// configuration that it does not understand.
pub fn is_of_the_kernel(output: &Output) -> bool {
    match output.code {
        Some(0 | 11 | 16 | 17) => true,
        Some(10) => String::from_utf8_lossy(&output.stderr).contains("Failure: ("),
        _ => false,
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
pub fn holders_of(name: &str, call: &Call) -> Vec<String> {
    call.step("looking for who holds the device");
    let mut found = Vec::new();
    for minor in drbd::minors(name, call) {
        let device = Device { major: DRBD_MAJOR, minor };
        let node = PathBuf::from(format!("/dev/drbd{minor}"));
        found.extend(holders::of_whole_device(call, device, Path::new(&node)));
    }
    found
}

pub fn why(name: &str, complaint: &str, holders: &[String]) -> Error {
    if holders.is_empty() {
        return Error::generic(format_args!("{name} is still Primary, drbdadm secondary: {complaint}"));
    }
    Error::generic(format_args!("{name} is still Primary, held by {}", holders.join(", ")))
}
