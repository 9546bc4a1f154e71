//! The tests of the drbddisk agent, from outside: the built binary against machines with a fake DRBD.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines: DRBD 8.4 with /proc/drbd, DRBD 9 with a list, and tools that keep state |
//! | verdicts | every state of a disk and what monitor answers, a test for each |
//! | start, stop | tries, exit codes of the tools, deadlines, holders |
//! | arguments | every form of the argument, and what happens without one |
//! | dialects | Heartbeat, init scripts, by hand: the old script's words and codes |
//! | clone_monitor | the promotable clone: states, scores, degraded codes, notifications |
//! | clone_actions | its start, stop, promote, demote, reload: argv and codes |
//! | clone_rules | its meta attributes and parameters |
//! | clone_defects | the six defects of the shell agent that were proven, a test for each |
//! | clone_faults | every tool that it runs, misbehaving |
//! | dmtab | the device-mapper table below the resource |
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
mod clone_actions;
mod clone_defects;
mod clone_faults;
mod clone_monitor;
mod clone_rules;
mod contract;
mod dialects;
mod dmtab;
mod faults;
mod scenes;
mod start;
mod stop;
mod verdicts;
