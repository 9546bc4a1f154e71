//! Running drbdadm, once and again.

use ocf::command::Tool;
use ocf::{Call, Result};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
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

/// A file that a parameter names, as far as it can be the work of a person. A pipe would never answer, and some devices
/// never end.
pub fn written_file(call: &Call, path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let path = call.host.path(path);
    if !std::fs::metadata(&path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = Vec::new();
    File::open(&path)?.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}
