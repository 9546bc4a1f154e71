//! What scenarios share: storage, cluster managers, the agents under test, and data that must not get lost.

pub mod agents;
pub mod client;
pub mod codes;
pub mod cost;
pub mod data;
pub mod drbd;
pub mod fencing;
pub mod heartbeat;
pub mod lrm;
pub mod pacemaker;
pub mod tester;
pub mod xen;
