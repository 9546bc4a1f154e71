//! What goes wrong in a lab, told as a sentence.

use std::fmt;

/// A failure. [`Error::Boot`] is the machine's, and is tried again once; the rest is the scenario's.
#[derive(Debug)]
pub enum Error {
    /// A node did not come up.
    Boot(String),
    /// A step of a scenario did not come true, or the lab itself could not do something.
    Failed(String),
}

/// The result of whatever can fail.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A failure with this text.
pub fn failed(text: impl Into<String>) -> Error {
    Error::Failed(text.into())
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot(text) | Self::Failed(text) => formatter.write_str(text),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<nix::Error> for Error {
    fn from(error: nix::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Says what was being done when it failed.
pub trait Doing<T> {
    /// Puts `what` in front of the failure's text.
    ///
    /// # Errors
    /// The failure, with that text.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.into() {
            Error::Boot(text) => Error::Boot(format!("{what}: {text}")),
            Error::Failed(text) => Error::Failed(format!("{what}: {text}")),
        })
    }
}
