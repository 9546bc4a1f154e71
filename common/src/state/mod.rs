//! Parsers: text of the kernel or of a tool in, typed state out. No I/O.

pub mod drbd;
pub mod mountinfo;
pub mod xen;
