//! Server processes, as /proc shows them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ocf::{Call, Context, Error, Result};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often it is looked whether a process has gone.
const PAUSE: Duration = Duration::from_millis(50);

/// The processes of that name (at most 15 bytes, as the kernel keeps it), without those that are dead and have closed
/// all that they had open.
pub fn named(call: &Call, name: &str) -> Result<Vec<i32>> {
    if !call.host.exists("/proc/self/mountinfo") {
        return Err(Error::generic("/proc is not mounted: which servers run cannot be told"));
    }
    let entries =
        std::fs::read_dir(call.host.path(Path::new("/proc"))).or_generic("/proc cannot be listed")?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.or_generic("/proc cannot be listed")?;
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse().ok()) else { continue };
        if call.host.read_line(format!("/proc/{pid}/comm")).is_some_and(|comm| comm == name)
            && !is_done(call, pid)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The arguments of a process. None: it has gone, or is going.
pub fn words(call: &Call, pid: i32) -> Result<Option<Vec<String>>> {
    let text = match call.host.read(format!("/proc/{pid}/cmdline")) {
        Ok(text) if text.is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error).or_generic(format_args!("process {pid} cannot be looked at")),
    };
    let words = text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    Ok(Some(words.filter(|word| !word.is_empty()).collect()))
}

/// Whether a process has begun to end, but not yet closed all that it had open: its arguments have gone already, and so
/// has the list of its files. One that has only just begun looks the same for a moment.
pub fn is_dying(call: &Call, pid: i32) -> bool {
    let is_empty = call.host.read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.is_empty());
    is_empty && call.host.exists(format!("/proc/{pid}/stat")) && !is_done(call, pid)
}

/// Whether a process is dead and only waits for its parent. One whose other threads are still at it is not done.
fn is_done(call: &Call, pid: i32) -> bool {
    let stat = call.host.read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let name_end = stat.iter().rposition(|&byte| byte == b')');
    let state = name_end.and_then(|end| stat.get(end + 2));
    let tasks = call.host.path(Path::new(&format!("/proc/{pid}/task"))).into_owned();
    matches!(state, Some(b'Z' | b'X')) && std::fs::read_dir(tasks).map_or(0, Iterator::count) <= 1
}

/// Whether a process has the device node open.
pub fn holds(call: &Call, pid: i32, node: &Path) -> bool {
    let folder = format!("/proc/{pid}/fd");
    let entries = std::fs::read_dir(call.host.path(Path::new(&folder))).into_iter().flatten().flatten();
    entries.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == node))
}

/// Waits until `still` is empty. What it holds at the end of the time is the answer.
pub fn wait_for(until: Instant, mut still: impl FnMut() -> Result<Vec<i32>>) -> Result<Vec<i32>> {
    loop {
        let left = still()?;
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends a signal to each. In a sandbox the numbers are those of other processes.
pub fn signal(call: &Call, pids: &[i32], signal: Signal) {
    for &pid in pids {
        if call.change(format_args!("send {signal} to process {pid}")) && call.host.is_real() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}
