//! Running drbdadm, once and again.

use crate::DrbdDisk;
use ocf::command::Tool;
use ocf::{Call, Result};
use std::time::Duration;

/// Time between two tries.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Where drbdadm looks by itself.
pub const DRBD_CONF: &str = "/etc/drbd.conf";

/// drbdadm with these words, and with the configuration that the parameter names.
pub fn drbdadm<'a>(agent: &DrbdDisk, call: &'a Call, words: &[&str]) -> Result<Tool<'a>> {
    let mut tool = call.tool("drbdadm")?;
    if agent.drbdconf != DRBD_CONF {
        tool = tool.arg("-c").arg(&agent.drbdconf);
    }
    Ok(words.iter().fold(tool, |tool, word| tool.arg(word)))
}

/// Whether a pause, a try as long as the last one, and a word about it still fit.
pub fn is_time_for_another(call: &Call, last: Duration) -> bool {
    let word = Duration::from_millis(600);
    call.remaining() > PAUSE + last + last / 2 + word
}
