//! What host and guest say to each other: a line of JSON each way, followed by as many bytes as it announces.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// The port on which the guest listens.
pub const PORT: u16 = 1023;

/// What the host asks of a guest. One request per connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Are you up?
    Ping,
    /// Run a command and answer when it has ended. Its process group is killed when the connection is lost before.
    Run {
        /// The command and its arguments.
        argv: Vec<String>,
        /// Added to the environment.
        env: Vec<(String, String)>,
        /// So many bytes of standard input follow.
        stdin: u64,
    },
    /// Write a file. Directories above it are made.
    Put {
        /// Where.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// So many bytes follow.
        bytes: u64,
    },
    /// Read a file.
    Get {
        /// Which.
        path: String,
    },
    /// A terminal with a login shell. From here on the connection carries what is typed and shown.
    Shell {
        /// Value of TERM.
        term: String,
        /// Lines of the terminal.
        rows: u16,
        /// Columns of the terminal.
        columns: u16,
    },
    /// Write everything to disk and switch the machine off.
    PowerOff,
}

/// What the guest answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Why the guest could not do it.
    pub error: Option<String>,
    /// The exit code, or 128 and the signal.
    pub code: i32,
    /// So many bytes of standard output, or of the file, follow.
    pub out: u64,
    /// So many bytes of standard error follow those.
    pub err: u64,
}

/// Writes one message.
///
/// # Errors
/// When the other side is gone.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads one message.
///
/// # Errors
/// When the other side is gone or babbles.
pub fn receive<T: for<'de> Deserialize<'de>>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = String::new();
    from.take(1 << 20).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// Reads exactly `count` bytes.
///
/// # Errors
/// When the other side is gone before.
pub fn body(from: &mut impl Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let got = from.take(count).read_to_end(&mut bytes)?;
    if got as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_sent_and_leaves_the_body_alone() {
        let request = Request::Put { path: "/etc/a\nb".into(), mode: 0o600, bytes: 3 };
        let mut wire = Vec::new();
        send(&mut wire, &request).unwrap();
        wire.extend_from_slice(b"xyz");
        let mut reader = wire.as_slice();
        assert_eq!(receive::<Request>(&mut reader).unwrap(), request);
        assert_eq!(body(&mut reader, 3).unwrap(), b"xyz");
    }

    #[test]
    fn a_connection_that_ends_early_is_an_error_and_not_an_empty_answer() {
        assert!(receive::<Answer>(&mut &b""[..]).is_err());
        assert!(receive::<Answer>(&mut &b"{\"code\":0"[..]).is_err());
        assert!(body(&mut &b"ab"[..], 3).is_err());
    }
}
