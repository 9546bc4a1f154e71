//! Resources that the kernel has refused to the container: its user beancounters' failcnt.

use crate::config;
use crate::ctid::Ctid;
use crate::state::parse_failures;
use ocf::{Call, Context, Result};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Where the counts of the last look are, so that each refusal is told once.
const DIRECTORY: &str = "/run/holdfast/openvz";

/// Warns of counters that have grown since the last look.
pub fn warn(ctid: &Ctid, call: &Call) {
    for id in config::ids(ctid, call) {
        let own = call.host.read(format!("/proc/bc/{id}/resources"));
        let Ok(text) = own.or_else(|_| call.host.read("/proc/user_beancounters")) else { continue };
        let failures = parse_failures(&text, &id);
        let path = format!("{DIRECTORY}/{id}.failcnt");
        let told = call.host.read(&path).unwrap_or_default();
        let now: String = failures.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        if now.as_bytes() == told {
            continue;
        }
        let told = String::from_utf8_lossy(&told);
        let before = |name: &str| -> u64 {
            let count =
                told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            count.unwrap_or(0)
        };
        for (name, count) in &failures {
            if *count > before(name) {
                call.log.warn(format_args!(
                    "{id} is short of {name}: the kernel refused it {count} times (failcnt), raise its limit"
                ));
            }
        }
        if !call.dry_run
            && let Err(error) = write(&call.host.path(Path::new(&path)), now.as_bytes())
        {
            call.log.debug(error);
        }
    }
}

/// Whole or not at all, wherever the monitor is killed.
fn write(path: &Path, text: &[u8]) -> Result<()> {
    let what = || format!("{} cannot be written", path.display());
    let directory = path.parent().unwrap_or(path);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).or_generic(what())?;
    let draft = path.with_extension(std::process::id().to_string());
    let mut options = std::fs::File::options();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&draft).or_generic(what())?;
    file.write_all(text).or_generic(what())?;
    std::fs::rename(&draft, path).or_generic(what())
}
