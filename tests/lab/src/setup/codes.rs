//! What an agent answers (OCF Resource Agent API 1.1, "Exit Codes"), in the words of the scenarios.

/// An action has succeeded.
pub const DONE: i32 = 0;
/// A monitor has found it running.
pub const RUNNING: i32 = DONE;
/// Something failed (OCF_ERR_GENERIC).
pub const FAILED: i32 = 1;
/// A parameter is wrong (OCF_ERR_CONFIGURED).
pub const CONFIGURED: i32 = 6;
/// The same code blocks a resource until a person has looked.
pub const BLOCKED: i32 = CONFIGURED;
/// Cleanly stopped (OCF_NOT_RUNNING).
pub const STOPPED: i32 = 7;
/// OCF_RUNNING_PROMOTED.
pub const PROMOTED: i32 = 8;
/// OCF_DEGRADED.
pub const DEGRADED: i32 = 190;
