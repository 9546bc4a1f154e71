//! The tests of the lvm-activate agent, from outside: the built binary against machines with a fake LVM, and against
//! the real one on loop devices.
//!
//! | file | what it holds |
//! |---|---|
//! | scenes | the machines, and a fake lvm that keeps state and speaks recorded texts |
//! | monitor | what is active, what is not, what has vanished; level 10; names with hyphens |
//! | start, stop | access modes, takeovers, tags, retries, holders |
//! | guards | everything that start refuses, with its code |
//! | locks | lvmlockd |
//! | owner | the guard that asks the cluster |
//! | dialects | Heartbeat, init scripts, by hand, and the agent LVM |
//! | faults | every tool, missing, failing, hanging, babbling |
//! | kernel | real LVM on loop devices |
//! | contract | the rules every agent obeys, and the committed meta-data |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod contract;
mod dialects;
mod faults;
mod guards;
mod kernel;
mod locks;
mod monitor;
mod owner;
mod scenes;
mod start;
mod stop;
