//! The tests of gnbd-export, from outside: the built binary against sandboxes, each with a configfs of its own.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines, with a real block device in the place of DRBD's |
//! | configfs | a file system that grants and refuses as the kernel's targets do |
//! | nvmet, lio, gnbd, nbd | each backend; gnbd_suite are its fake tools, nbd uses the real servers |
//! | faults_of_old | the eleven faults of the script that the agent replaces |
//! | choosing | auto, options, dialects, the device |
//! | asking | depth 10 against servers in every mood |
//! | contract | the rules every agent obeys, and the committed meta-data |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod asking;
mod choosing;
mod configfs;
mod contract;
mod faults_of_old;
mod gnbd;
mod gnbd_suite;
mod lio;
mod nbd;
mod nvmet;
mod scenes;
