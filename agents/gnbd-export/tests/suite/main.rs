//! The tests of gnbd-export, from outside: the built binary against sandboxes, each with a configfs of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines, with a real block device in the place of DRBD's |
//! | configfs | a file system that grants and refuses as the kernel's targets do |
//! | nvmet | that backend, and what all have in common with it |
//! | contract | the rules every agent obeys, and the committed meta-data |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "tests"
)]

mod configfs;
mod contract;
mod lio;
mod nvmet;
mod scenes;
