//! The tests of the openvz agent, from outside: the built binary against machines with a fake vzctl.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines: a fake vzctl and prlctl that keep state and speak the texts of all versions |
//! | monitor | every text and every file of the kernel, and what monitor answers; shortages; depth 10 |
//! | start | the private area, locks, exit codes, warnings |
//! | dumps | memory dumps under each policy |
//! | stop | the two thirds, the quick end, unmounting, holders, signals |
//! | migrate | the three modes |
//! | arguments | ids, names, UUIDs, and what is none |
//! | dialects | Heartbeat, init scripts, by hand, ManageVE |
//! | faults | every tool, missing, failing, hanging, babbling |
//! | contract | the rules every agent obeys, and the committed meta-data |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod arguments;
mod contract;
mod dialects;
mod dumps;
mod faults;
mod migrate;
mod monitor;
mod scenes;
mod start;
mod stop;
