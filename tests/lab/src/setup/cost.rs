//! Processor time of calls, side by side.

use crate::{Node, Result, failed};
use std::time::Duration;

/// A program that only begins and ends: what no agent can cost less than by much.
pub const NOTHING: &str = "/bin/true";

const PROGRAM: &str = "/usr/local/bin/processor-time";
const SOURCE: &[u8] = include_bytes!("../../client/processor-time");

/// Milliseconds of processor time of one call of each command, on average of `count` calls that take turns and all end
/// with `code`.
///
/// # Errors
/// When one ends otherwise.
pub fn of<const N: usize>(
    node: &Node,
    count: u32,
    code: i32,
    env: &[(&str, &str)],
    commands: [&str; N],
) -> Result<[f64; N]> {
    node.put(PROGRAM, 0o755, SOURCE)?;
    let (count, code) = (count.to_string(), code.to_string());
    let argv: Vec<&str> = [PROGRAM, &count, &code].into_iter().chain(commands).collect();
    let said = node.run_with(&argv, env, &[], Duration::from_secs(600))?;
    let numbers: Vec<f64> = said.out.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.try_into().map_err(|_| failed(format!("{commands:?}: {}{}", said.out, said.err)))
}
