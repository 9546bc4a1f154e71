//! Running LVM's commands: always the one binary, always bounded, and never more time than leaves some for a sentence.

use ocf::command::Tool;
use ocf::{Call, Error, ExitCode, Output, Result};

/// Room for the report of a group with many thousand volumes.
const REPORT: usize = 8 * 1024 * 1024;

/// What makes LVM's complaint: the line that is not a warning, if there is one.
pub fn complaint(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines().find(|line| {
        !["WARNING:", "File descriptor", "PARTIAL MODE"].iter().any(|noise| line.starts_with(noise))
    });
    match (telling, output.code) {
        (Some(line), Some(code)) => format!("exit code {code}: {}", ocf::printable(line.as_bytes())),
        _ => output.complaint(),
    }
}

/// Runs a command that only reads. Half of the time that is left must do.
pub fn read(words: &[&str], call: &Call) -> Result<Output> {
    let limit = call.remaining() / 2;
    run(words, call.tool("lvm")?.keeping(REPORT).within(limit))
}

/// Runs a command that changes something. In a dry run, none: it only says so.
pub fn change(words: &[&str], call: &Call) -> Result<Option<Output>> {
    if !call.change(format_args!("run lvm {}", words.join(" "))) {
        return Ok(None);
    }
    let limit = call.remaining() * 2 / 3;
    run(words, call.tool("lvm")?.within(limit)).map(Some)
}

/// The same, where anything but success is a failure.
pub fn must(words: &[&str], call: &Call) -> Result<()> {
    match change(words, call)? {
        Some(output) if !output.succeeded() => {
            Err(Error::generic(format_args!("{}: {}", name(words), complaint(&output))))
        }
        _ => Ok(()),
    }
}

fn run(words: &[&str], tool: Tool<'_>) -> Result<Output> {
    words.iter().fold(tool, |tool, word| tool.arg(word)).run().map_err(|error| match error.code() {
        ExitCode::Installed => error,
        _ => Error::generic(format_args!("{}: {error}", name(words))),
    })
}

/// The command and what it is about, for a sentence.
fn name(words: &[&str]) -> String {
    match (
        words.first(),
        words.iter().rposition(|word| *word == "--").and_then(|dashes| words.get(dashes + 1)),
    ) {
        (Some(command), Some(target)) => format!("{command} of {target}"),
        (command, _) => command.copied().unwrap_or_default().to_string(),
    }
}
