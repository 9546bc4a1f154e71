//! The whole state of what a target names: who else has a role in it, not only what this node's is.

use super::target::Target;
use super::{Kernel, by_kernel, by_list, kernel};
use crate::state::drbd::Resource;
use crate::{Call, Error, Result};

/// The parts of the target that are up: since 9 there is one, before one for each volume. None are up if DRBD is not
/// loaded. What cannot be read is an error.
pub fn parts(target: &Target, call: &Call) -> Result<Vec<Resource>> {
    let kernel = kernel(call);
    match &kernel {
        Kernel::Absent => return Ok(Vec::new()),
        Kernel::Old(proc) => {
            if let Some(parts) = by_kernel(target, proc, call) {
                return Ok(parts);
            }
        }
        Kernel::New | Kernel::Garbled => {}
    }
    by_list(target, &kernel, call)?
        .ok_or_else(|| Error::generic("which DRBD resource has the disk cannot be told"))
}
