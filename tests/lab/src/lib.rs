//! Real two-node clusters in virtual machines, without KVM.
//!
//! * [`images`] makes what the nodes boot from, out of Debian packages; [`modules`] and [`cpio`] help
//! * [`node`] is one machine: [`qemu`] starts it, [`wire`] is how it is talked to
//! * [`lab`](mod@lab) is all machines of a run, with [`hub`]: the network between them
//! * [`setup`] has what scenarios share: DRBD, Pacemaker, Heartbeat, the agents under test
//! * [`scenarios`] has one file per scenario
//! * [`owned`] makes sure that nothing outlives the lab; [`hands`] is for people who type: boot, shell, down

pub mod cpio;
pub mod error;
pub mod hands;
pub mod hub;
pub mod images;
pub mod lab;
pub mod modules;
pub mod node;
pub mod owned;
pub mod qemu;
pub mod records;
pub mod scenarios;
pub mod setup;
pub mod wire;

pub use error::{Doing, Error, Result, failed};
pub use lab::Lab;
pub use node::{Node, Output};
