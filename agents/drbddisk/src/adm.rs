//! Running drbdadm, once and again.

use ocf::command::Tool;
use ocf::{Call, Result};
use std::time::Duration;

/// Time between two tries.
pub const PAUSE: Duration = Duration::from_secs(1);
/// Where drbdadm looks by itself.
pub const DRBD_CONF: &str = "/etc/drbd.conf";

/// drbdadm with these words.
pub fn drbdadm<'a>(call: &'a Call, words: &[&str]) -> Result<Tool<'a>> {
    Ok(words.iter().fold(call.tool("drbdadm")?, |tool, word| tool.arg(word)))
}

/// Whether a pause, a try as long as the last one, and a word about it still fit.
pub fn is_time_for_another(call: &Call, last: Duration) -> bool {
    let word = Duration::from_millis(600);
    call.remaining() > PAUSE + last + last / 2 + word
}
