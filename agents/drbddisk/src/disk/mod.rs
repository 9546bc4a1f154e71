//! The simple disk: start makes Primary, stop makes Secondary, Primary is running.

pub mod start;
pub mod stop;
