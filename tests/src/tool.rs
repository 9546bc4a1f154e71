//! Fake tools: small shell scripts that record how they were run and then behave well or badly.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a fake tool does after it has recorded its arguments.
#[derive(Clone, Debug)]
pub enum Tool {
    /// Exits 0.
    Succeeds,
    /// Prints on stderr and exits.
    Fails(i32, &'static str),
    /// Never ends by itself; TERM ends it.
    Hangs,
    /// Never ends and ignores TERM.
    HangsIgnoringTerm,
    /// Prints bytes that are no text on both outputs and exits 0.
    Babbles,
    /// Prints the beginning of an answer, without an end of line, and exits 0.
    BreaksOff,
    /// Is killed by a signal.
    IsKilled(&'static str),
    /// Exits 0 and leaves a process behind that holds both outputs.
    LeavesDaemon,
    /// As mount(8) does: adds a line to the sandbox's mount table.
    Mounts,
    /// Any other script, after the recording.
    Does(String),
}

impl Tool {
    /// Every way in which a tool can let the agent down, with its name; `code` is that of a plain failure. None: it is
    /// not installed.
    pub fn misbehaviours(code: i32) -> [(&'static str, Option<Tool>); 8] {
        [
            ("missing", None),
            ("failing", Some(Tool::Fails(code, "it did not work"))),
            ("hanging", Some(Tool::Hangs)),
            ("hanging and ignoring TERM", Some(Tool::HangsIgnoringTerm)),
            ("babbling", Some(Tool::Babbles)),
            ("breaking off", Some(Tool::BreaksOff)),
            ("killed", Some(Tool::IsKilled("SEGV"))),
            ("leaving a daemon that holds its pipes", Some(Tool::LeavesDaemon)),
        ]
    }

    /// The body of the script; `root` is the sandbox.
    fn body(&self, root: &Path) -> String {
        match self {
            Tool::Succeeds => "exit 0".into(),
            Tool::Fails(code, message) => format!("echo '{message}' >&2; exit {code}"),
            Tool::Hangs => "exec sleep 600".into(),
            Tool::HangsIgnoringTerm => "trap '' TERM; exec sleep 600".into(),
            Tool::Babbles => r"printf '\001\377\033[31mocf-exit-reason:\000\n\n%%s' | tee /dev/stderr".into(),
            Tool::BreaksOff => "printf 'moun'".into(),
            Tool::IsKilled(signal) => format!("kill -{signal} $$; sleep 5"),
            Tool::LeavesDaemon => "sleep 20 & exit 0".into(),
            Tool::Mounts => mounts(root),
            Tool::Does(script) => script.clone(),
        }
    }

    /// Writes the script. A child process writes it, because a descriptor that is open for writing while
    /// another test forks would make the kernel refuse to run the file (ETXTBSY).
    pub(crate) fn install(&self, root: &Path, path: &Path) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let record = root.join("calls").join(&name);
        let script = format!(
            "#!/bin/sh\n{{ printf '%s\\0' \"$@\"; printf '\\0'; }} >>'{record}'\nenv >'{record}.env'\n\
             ls -l /proc/$$/fd >'{record}.fds'\necho $$ >'{record}.pid'\n{body}\n",
            record = record.display(),
            body = self.body(root),
        );
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }
}

/// A mount(8) that works: the words after `--`, or the last two, are the device and the directory.
fn mounts(root: &Path) -> String {
    format!(
        r#"root='{root}'
type=ext4 options=rw label=
while [ $# -gt 2 ]; do
    case $1 in
    -t) type=$2; shift ;;
    -o) options=rw,$2; shift ;;
    -U | -L | --uuid | --label) label=$2; shift ;;
    esac
    shift
done
device=${{1#"$root"}} directory=${{2#"$root"}}
[ "$device" = "$label" ] && device=/dev/by-tag
printf '900 22 8:1 / %s %s - %s %s rw\n' "$directory" "$options" "$type" "$device" >>"$root/proc/self/mountinfo""#,
        root = root.display()
    )
}
