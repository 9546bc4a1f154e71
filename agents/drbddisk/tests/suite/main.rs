//! The tests of the drbddisk agent, from outside: the built binary against machines with a fake DRBD.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines: DRBD 8.4 with /proc/drbd, DRBD 9 with a list, and tools that keep state |
//! | verdicts | every state of a disk and what monitor answers, a test for each |
//! | start, stop | tries, exit codes of the tools, deadlines, holders |
//! | arguments | every form of the argument, and what happens without one |
//! | dialects | Heartbeat, init scripts, by hand: the old script's words and codes |
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
mod faults;
mod scenes;
mod start;
mod stop;
mod verdicts;
