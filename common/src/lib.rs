//! What every Holdfast resource agent shares.
//!
//! An agent is a struct whose fields are its parameters, a constant [`Metadata`] table, and an implementation of
//! [`Agent`]; [`main!`] does the rest. Read in this order: [`agent`] (what an agent is), [`metadata`] (its table),
//! [`dispatch`] (the rules of every action), [`invocation`] (the ways of being called), [`helper`] (why nothing
//! hangs), [`host`] and [`command`] (files and tools), [`state`] (parsers of what kernel and tools say).

pub mod agent;
pub mod block;
pub mod bpf;
pub mod call;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod dispatch;
pub mod drbd;
pub mod error;
pub mod exit_code;
pub mod helper;
pub mod holders;
pub mod host;
pub mod invocation;
mod json;
pub mod log;
pub mod mapper;
pub mod metadata;
pub mod mounts;
pub mod page;
pub mod params;
pub mod process;
pub mod record;
pub mod state;
mod sys;
pub mod systemd;
pub mod xml;

pub use agent::{Agent, State};
pub use call::Call;
pub use command::Output;
pub use error::{Context, Error, Result, printable};
pub use exit_code::ExitCode;
pub use host::Host;
pub use invocation::Dialect;
pub use log::Log;
pub use metadata::{Action, Kind, Metadata, Parameter};
pub use params::Text;
