//! stop: from Primary to Secondary, or the name of who is in the way.

use crate::adm::{PAUSE, is_time_for_another};
use crate::release::{holders_of, secondary, why};
use ocf::drbd;
use ocf::drbd::target::Target;
use ocf::drbd::verdict::Verdict;
use ocf::{Call, Result};
use std::thread::sleep;
use std::time::Instant;

/// Makes the target Secondary. Called when it is not known to be.
pub fn stop(target: &Target, name: &str, call: &Call) -> Result<()> {
    if !call.change(format_args!("run drbdadm secondary {name}")) {
        return Ok(());
    }
    let mut told = false;
    loop {
        let began = Instant::now();
        let complaint = match secondary(name, call) {
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
            let holders = holders_of(name, call);
            if !holders.is_empty() {
                let held = format!("{name} is held by {}", holders.join(", "));
                call.log.info(&held);
                call.obstacle(held);
            }
        }
        if !is_time_for_another(call, began.elapsed()) {
            // It may have become Secondary by other hands.
            if let Ok(Verdict::Unconfigured | Verdict::Secondary) = drbd::verdict(target, call) {
                return Ok(());
            }
            return Err(why(name, &complaint, &holders_of(name, call)));
        }
        sleep(PAUSE);
    }
}
