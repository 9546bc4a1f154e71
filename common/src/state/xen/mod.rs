//! What Xen's tools and xenstored say, and what a guest's configuration says.
//!
//! [`list`] reads `xl list` and `xm list`, [`config`] and [`disk`] a guest's configuration, [`wire`] the protocol of
//! xenstored, [`migration`] the words of `xl migrate`, [`tables`] the smaller answers. Text that is cut off or not
//! understood is an error and never an absence.

pub mod config;
pub mod disk;
pub mod list;
pub mod migration;
pub mod tables;
pub mod wire;

#[cfg(test)]
mod tests;
