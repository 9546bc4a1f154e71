//! Running LVM's commands: always the one binary, always bounded, and never more time than leaves some for a sentence.

use ocf::command::Tool;
use ocf::{Call, Error, ExitCode, Output, Result};

/// Room for the report of a group with many thousand volumes.
const REPORT: usize = 8 * 1024 * 1024;

/// The longest line of a script that LVM takes, with its end, in bytes (lvm2, `CMD_LEN` in tools/lvmcmdline.c).
const LINE: usize = 254;

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
pub fn change(words: &[impl AsRef<str>], call: &Call) -> Result<Option<Output>> {
    if !call.change(format_args!("run lvm {}", plain(words))) {
        return Ok(None);
    }
    let limit = call.remaining() * 2 / 3;
    run(words, call.tool("lvm")?.within(limit)).map(Some)
}

/// Runs commands that change something in one process, as a script (lvm(8)), which ends with the first that fails.
/// What they do is for the sentence about a hang. None if they cannot be written so.
pub fn change_all(commands: &[Vec<String>], what: &str, call: &Call) -> Result<Option<Output>> {
    let Some(script) = script(commands) else { return Ok(None) };
    let limit = call.remaining() * 2 / 3;
    call.log.debug(format_args!(
        "as one script: {}",
        commands.iter().map(|words| plain(words)).collect::<Vec<_>>().join("; ")
    ));
    let Ok(tool) = call.tool("lvm")?.within(limit).input(script.as_bytes()) else { return Ok(None) };
    tool.arg("/dev/stdin").run().map_err(|error| named(error, what)).map(Some)
}

/// LVM's quotes go around a whole word and know no escapes.
fn script(commands: &[Vec<String>]) -> Option<String> {
    let mut script = String::from("#!/sbin/lvm\n");
    for words in commands {
        let mut line = String::new();
        for word in words {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-/=,:@".contains(&byte);
            match word.as_str() {
                word if !word.is_empty() && word.bytes().all(is_plain) => line.push_str(word),
                word if word.contains(['\'', '\n', '\0']) => return None,
                word => line.extend(["'", word, "'"]),
            }
            line.push(' ');
        }
        line.pop();
        line.push('\n');
        if line.len() > LINE {
            return None;
        }
        script.push_str(&line);
    }
    Some(script)
}

fn plain(words: &[impl AsRef<str>]) -> String {
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

/// The same, where anything but success is a failure.
pub fn must(words: &[impl AsRef<str>], call: &Call) -> Result<()> {
    match change(words, call)? {
        Some(output) if !output.succeeded() => {
            Err(Error::generic(format_args!("{}: {}", name(words), complaint(&output))))
        }
        _ => Ok(()),
    }
}

fn run(words: &[impl AsRef<str>], tool: Tool<'_>) -> Result<Output> {
    let tool = words.iter().fold(tool, |tool, word| tool.arg(word.as_ref()));
    tool.run().map_err(|error| named(error, &name(words)))
}

fn named(error: Error, what: &str) -> Error {
    match error.code() {
        ExitCode::Installed => error,
        _ => Error::generic(format_args!("{what}: {error}")),
    }
}

/// The command and what it is about, for a sentence.
fn name(words: &[impl AsRef<str>]) -> String {
    let mut words = words.iter().map(AsRef::as_ref);
    let command = words.next().unwrap_or_default();
    match words.skip_while(|word| *word != "--").nth(1) {
        Some(target) => format!("{command} of {target}"),
        None => command.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(lines: &[&[&str]]) -> Vec<Vec<String>> {
        lines.iter().map(|words| words.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn a_script_has_a_line_for_each_command_and_quotes_what_lvm_would_split() {
        let config = "local/extra_system_ids=[\"node 2\"]";
        let two = commands(&[&["vgchange", "--config", config, "--", "vg1"], &["vgchange", "-ay", "", "#x"]]);
        assert_eq!(
            script(&two).unwrap(),
            "#!/sbin/lvm\nvgchange --config 'local/extra_system_ids=[\"node 2\"]' -- vg1\nvgchange -ay '' '#x'\n"
        );
    }

    #[test]
    fn what_does_not_fit_into_a_script_is_no_script() {
        for word in ["it's", "a\nb", "\0", "x".repeat(LINE).as_str()] {
            assert_eq!(script(&commands(&[&["vgchange", word]])), None, "{word:?}");
        }
        let longest = "x".repeat(LINE - "vgchange ".len() - 1);
        assert!(script(&commands(&[&["vgchange", &longest]])).is_some());
    }
}
