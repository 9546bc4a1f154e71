//! What an agent asks the cluster manager, which it never replaces.
//!
//! Each question has a deadline of its own, and an answer that could not be read is an error or a warning, never a guess.

pub mod attributes;
pub mod membership;
pub mod notify;
pub mod promotion;
