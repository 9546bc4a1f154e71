//! Development only: what the tests of every agent share.
//!
//! * [`call`]: one call of an agent's binary, and its answer held against the rules of output
//! * [`sandbox`]: a directory that stands for a machine, with [`tool`]: fake tools that record how they were run
//! * [`contract`]: the rules every agent obeys, as tests (`contract!`), and the golden meta-data
//! * [`json`]: what scripts read
//! * [`kernel`]: a private mount namespace, with [`disk`]: loop devices, [`users`]: processes that keep a mount
//!   busy, and [`fuse`]: a file system whose server stops answering
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    reason = "development only: a broken helper stops the test at once, skips are printed, plain names need no doc"
)]

pub mod call;
pub mod contract;
pub mod disk;
pub mod fuse;
pub mod json;
pub mod kernel;
pub mod sandbox;
pub mod tool;
pub mod users;

#[allow(unsafe_code, reason = "ioctl numbers that no crate wraps")]
mod ioctls;

#[cfg(test)]
mod tests;

pub use call::{Answer, Call};
pub use sandbox::Sandbox;
pub use tool::Tool;
