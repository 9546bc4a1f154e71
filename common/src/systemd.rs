//! The order at shutdown: systemd stops the cluster before it tears down what a resource stands on.

use crate::{Call, Context, Error, Result};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// What the cluster manager's unit comes after.
const TARGET: &str = "/run/systemd/system/resource-agents-deps.target.d";

/// Makes the cluster stop before `unit`, by a file of this name, and has the unit started if the order has no effect
/// without. Once in the life of the system; a failure is no more than a warning, and the next start tries again.
pub fn stop_cluster_before(unit: &str, name: &str, is_started: bool, call: &Call) {
    let order = format!("After={unit}");
    let directory = call.host.path(Path::new(TARGET)).into_owned();
    let file = directory.join(name);
    let before = fs::read_to_string(&file).unwrap_or_default();
    if !call.host.path(Path::new("/run/systemd/system")).is_dir()
        || before.lines().any(|line| line == order)
        || !call.change(format_args!("write {TARGET}/{name}"))
    {
        return;
    }
    let after: String = before.lines().chain(["[Unit]", &order]).flat_map(|line| [line, "\n"]).collect();
    let done = write(&directory, &file, &after)
        .or_generic("it cannot be written")
        .and_then(|()| systemctl(&["daemon-reload"], call))
        .and_then(|()| if is_started { systemctl(&["start", unit], call) } else { Ok(()) });
    if let Err(error) = done {
        call.log.warn(format_args!("the order at shutdown is not set: {error}"));
        let _ = if before.is_empty() { fs::remove_file(&file) } else { fs::write(&file, before) };
    }
}

fn write(directory: &Path, file: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(file, text)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    fs::set_permissions(file, Permissions::from_mode(0o644))
}

fn systemctl(words: &[&str], call: &Call) -> Result<()> {
    let limit = Duration::from_secs(10).min(call.remaining() / 5);
    let tool = words.iter().fold(call.tool("systemctl")?.within(limit), |tool, word| tool.arg(word));
    let output = tool.run()?;
    if output.succeeded() { Ok(()) } else { Err(Error::generic(output.complaint())) }
}
