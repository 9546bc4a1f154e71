//! The tests of the xendomain agent, from outside: the built binary against machines with a fake Xen.
//!
//! | file | what it holds |
//! |---|---|
//! | xenstored | a thread that speaks xenstored's protocol over a tree of files |
//! | scenes | the machines: xl, xm, ssh and DRBD that keep state in files |
//! | verdicts | every cell of the table of states, for monitor, start and stop |
//! | checks | what has to be true before a guest is created |
//! | start, stop | disks, deadlines, shutdown and destroy |
//! | migrate | three ends, local disks, two Primaries, stale copies |
//! | memory | the share of the memory, and what the cluster is told |
//! | names | which guest is meant, numbers as names, hostile parameters |
//! | dialects | Heartbeat, init scripts, by hand |
//! | faults | every tool and xenstored, missing, failing, hanging, babbling |
//! | contract | the rules every agent obeys, and the committed meta-data |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod checks;
mod contract;
mod dialects;
mod faults;
mod memory;
mod migrate;
mod names;
mod scenes;
mod start;
mod stop;
mod unfinished;
mod verdicts;
mod xenstored;
