//! The tests of the Filesystem agent, from outside: the built binary, its exit codes, outputs and effects.
//!
//! | file | what it holds |
//! |---|---|
//! | exit_codes | every row of the exit-code table |
//! | calling_rules | the twenty rules of calling |
//! | contract | the rules every agent obeys, and the committed meta-data |
//! | by_hand | options, explanation, JSON, the page |
//! | dialects | Heartbeat, LSB, by hand, HALO, drbd-reactor, crmsh, pcs |
//! | parameters, bad_input | what each parameter does; what a wrong one does not |
//! | logging | where the words go |
//! | faults | every tool, missing, failing, hanging, babbling |
//! | kernel_* | real file systems in a private mount namespace; skipped, with a word, when not root |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod bad_input;
mod by_hand;
mod calling_rules;
mod contract;
mod dialects;
mod exit_codes;
mod faults;
mod kernel_basic;
mod kernel_bind;
mod kernel_btrfs;
mod kernel_crowd;
mod kernel_devices;
mod kernel_hangs;
mod kernel_holders;
mod kernel_lost;
mod kernel_monitor;
mod kernel_paths;
mod kernel_stop;
mod kernel_users;
mod logging;
mod parameters;
mod scenes;
