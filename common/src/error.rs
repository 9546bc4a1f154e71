//! An error has two readers: the cluster takes the code, a person takes the sentence.

use crate::ExitCode;
use std::fmt::{self, Display};

/// What every fallible function of the suite returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Longest reason that Pacemaker keeps (EXIT_REASON_MAX_LEN of Pacemaker up to 3.0.1), in bytes.
pub const REASON_MAX: usize = 128;

/// A failed action: the exit code and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: ExitCode,
    reason: String,
    old_code: Option<u8>,
}

impl Error {
    fn new(code: ExitCode, reason: impl Display) -> Self {
        Self { code, reason: reason.to_string(), old_code: None }
    }

    /// Code 1: a failure that has no code of its own.
    pub fn generic(reason: impl Display) -> Self {
        Self::new(ExitCode::Generic, reason)
    }

    /// Code 2: called in a way that the agent does not understand, or a parameter that is wrong for this node.
    pub fn args(reason: impl Display) -> Self {
        Self::new(ExitCode::Args, reason)
    }

    /// Code 3: no such action.
    pub fn unimplemented(reason: impl Display) -> Self {
        Self::new(ExitCode::Unimplemented, reason)
    }

    /// Code 4: a missing privilege.
    pub fn permission(reason: impl Display) -> Self {
        Self::new(ExitCode::Permission, reason)
    }

    /// Code 5: something is not installed on this node.
    pub fn installed(reason: impl Display) -> Self {
        Self::new(ExitCode::Installed, reason)
    }

    /// Code 6: the parameters are wrong on every node. It stops the resource everywhere, even from a probe.
    pub fn configured(reason: impl Display) -> Self {
        Self::new(ExitCode::Configured, reason)
    }

    /// The same failure with the number that the replaced script gave to callers that know no OCF codes (Heartbeat,
    /// init, people). A cluster never sees it.
    #[must_use]
    pub fn with_old_code(mut self, code: u8) -> Self {
        self.old_code = Some(code);
        self
    }

    /// The number for callers that know no OCF codes, where it is another one than [`Error::code`].
    pub fn old_code(&self) -> Option<u8> {
        self.old_code
    }

    /// The number for the cluster.
    pub fn code(&self) -> ExitCode {
        self.code
    }

    /// The whole sentence, for the log.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The sentence as Pacemaker can keep it: one line of printable ASCII, at most [`REASON_MAX`] bytes. A cut
    /// UTF-8 character or a control byte makes ill-formed XML of the cluster's status.
    pub fn short_reason(&self) -> String {
        let mut text = printable(self.reason.as_bytes());
        if text.len() > REASON_MAX {
            text.truncate(REASON_MAX - 3);
            text.push_str("...");
        }
        text
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

/// Gives a foreign failure the code and the words that the cluster needs.
pub trait Context<T> {
    /// Code 1 and "`what`: cause".
    fn or_generic(self, what: impl Display) -> Result<T>;
    /// Code 5 and "`what`: cause".
    fn or_installed(self, what: impl Display) -> Result<T>;
    /// Code 6 and "`what`: cause".
    fn or_configured(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn or_generic(self, what: impl Display) -> Result<T> {
        self.map_err(|cause| Error::generic(format_args!("{what}: {cause}")))
    }

    fn or_installed(self, what: impl Display) -> Result<T> {
        self.map_err(|cause| Error::installed(format_args!("{what}: {cause}")))
    }

    fn or_configured(self, what: impl Display) -> Result<T> {
        self.map_err(|cause| Error::configured(format_args!("{what}: {cause}")))
    }
}

/// Bytes from outside as one line of printable ASCII: everything else becomes an escape such as `\n` or `\xe4`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\r' => text.push_str("\\r"),
            _ => {
                text.push_str("\\x");
                text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('?'));
                text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('?'));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_printable_ascii() {
        let error = Error::generic("caf\u{e9}\n\u{1b}[31m & <tag>");
        assert_eq!(error.short_reason(), "caf\\xc3\\xa9\\n\\x1b[31m & <tag>");
    }

    #[test]
    fn a_long_reason_is_cut_to_what_pacemaker_keeps() {
        let short = Error::generic("x".repeat(500)).short_reason();
        assert_eq!(short.len(), REASON_MAX);
        assert!(short.ends_with("..."));
    }

    #[test]
    fn a_reason_of_exactly_the_limit_stays_whole() {
        let text = "y".repeat(REASON_MAX);
        assert_eq!(Error::generic(&text).short_reason(), text);
    }
}
