//! The container's private area and its root directory: where they are, whether they are mounted, who holds them.

use crate::OpenVz;
use crate::config::Config;
use crate::ctid::Ctid;
use crate::look::{Found, Program, ask};
use ocf::state::mountinfo::{Mount, is_at_or_below, lexical};
use ocf::{Call, Error, Result, holders, mounts, printable, process};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a path may take to be looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How many holders a sentence names.
const NAMED: usize = 3;

/// The mount that `path` is on. None: there is no such path.
pub fn mount_of(call: &Call, path: &Path) -> Result<Option<Mount>> {
    let Some(seen) = mounts::see(call, path, LOOK)? else { return Ok(None) };
    let table = mounts::table(call)?;
    if call.host.is_real() {
        let id = seen.mount_id();
        return Ok(table.into_iter().find(|mount| Some(mount.id) == id));
    }
    // A directory that stands for a machine has only names.
    let path = lexical(path);
    let above = table.into_iter().filter(|mount| is_at_or_below(&path, &mount.point));
    Ok(above.max_by_key(|mount| mount.point.as_os_str().len()))
}

/// The private area, if it is here and where it has to be.
pub fn check_private(config: &Config, require_mount: bool, call: &Call) -> Result<PathBuf> {
    let (id, private) = (&config.id, config.private()?);
    let shown = show(&private);
    let Some(mount) = mount_of(call, &private)? else {
        return Err(Error::installed(format_args!(
            "{id}: its private area {shown} is not here: mount its file system first"
        )));
    };
    if require_mount && mount.point == Path::new("/") {
        return Err(Error::installed(format_args!(
            "{id}: {shown} is on no file system of its own: mount it, or set require_mount=no"
        )));
    }
    Ok(private)
}

/// The mounts on the container's root directory and below it.
pub fn mounts_on_root(config: &Config, call: &Call) -> Result<Vec<Mount>> {
    let Some(root) = config.root()? else { return Ok(Vec::new()) };
    let root = mounts::at(call, &root)?.directory;
    let table = mounts::table(call)?;
    Ok(table.into_iter().filter(|mount| is_at_or_below(&mount.point, &root)).collect())
}

/// Whether something of the container is still mounted, although it does not run: its root directory, or the device of
/// its disk image. Where nobody can say which directory that is, the tool is asked.
pub fn is_mounted(agent: &OpenVz, ctid: &Ctid, config: &Config, found: &Found, call: &Call) -> Result<bool> {
    if !image_devices(config, call).is_empty() {
        return Ok(true);
    }
    match (config.root(), found.mounted) {
        // The tool may know a root directory that is not the configured one any more.
        (_, Some(true)) => Ok(true),
        (Ok(Some(_)), _) => Ok(!mounts_on_root(config, call)?.is_empty()),
        (_, Some(false)) => Ok(false),
        (Ok(None), None) | (Err(_), None) => {
            Ok(ask(Program::of(agent, call), ctid, call)?.mounted == Some(true))
        }
    }
}

/// The devices of disk images (ploop) in the private area: they keep the file system below in use.
fn image_devices(config: &Config, call: &Call) -> Vec<String> {
    let Ok(private) = config.private() else { return Vec::new() };
    let entries = |directory: &Path| {
        let entries = std::fs::read_dir(call.host.path(directory)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let block = Path::new("/sys/block");
    let devices = entries(block).into_iter().filter(|name| name.starts_with("ploop"));
    let ours = devices.filter(|name| {
        let layers = block.join(name).join("pdelta");
        entries(&layers).iter().any(|layer| {
            let image = call.host.read_line(layers.join(layer).join("image"));
            image.is_some_and(|image| is_at_or_below(Path::new(&image), &private))
        })
    });
    ours.collect()
}

/// Who keeps the container's root directory busy, in words.
pub fn holders_of_root(config: &Config, call: &Call) -> Vec<String> {
    let mut found: Vec<String> =
        image_devices(config, call).into_iter().map(|name| format!("device {name}")).collect();
    let Ok(Some(root)) = config.root() else { return found };
    let root = mounts::at(call, &root).map_or(root, |stack| stack.directory);
    for mount in mounts::table(call).unwrap_or_default() {
        if mount.point != root && is_at_or_below(&mount.point, &root) {
            found.push(format!("mount on {}", show(&mount.point)));
        }
    }
    found.extend(users(call, &root));
    found.extend(holders::of_mount(call, &root));
    found.extend(holders::of_other_namespaces(|mount| is_at_or_below(&mount.point, &root)));
    found
}

/// The first of them, for a sentence.
pub fn some_of(holders: &[String]) -> String {
    let mut text = holders.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if holders.len() > NAMED {
        text.push_str(&format!(" and {} more", holders.len() - NAMED));
    }
    text
}

/// Processes with a working directory, a root, a program or a file at or below `root`, by the texts of their links.
fn users(call: &Call, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let inside = |link: &str| {
        std::fs::read_link(call.host.path(Path::new(link))).is_ok_and(|target| is_at_or_below(&target, root))
    };
    let Ok(processes) = std::fs::read_dir(call.host.path(Path::new("/proc"))) else { return found };
    for pid in processes.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if !pid.bytes().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        let files = std::fs::read_dir(call.host.path(Path::new(&format!("/proc/{pid}/fd"))));
        let files = files.into_iter().flatten().flatten();
        let opens = || {
            files
                .filter_map(|entry| entry.file_name().into_string().ok())
                .any(|fd| inside(&format!("/proc/{pid}/fd/{fd}")))
        };
        if ["cwd", "root", "exe"].iter().any(|link| inside(&format!("/proc/{pid}/{link}"))) || opens() {
            let name = call.host.read_line(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("{}[{pid}]", printable(name.as_bytes())));
        }
    }
    found
}

/// The process that holds vzctl's lock on the container: `vzctl[123]`.
pub fn lock_holder(config: &Config, call: &Call) -> Option<String> {
    let path = config.lock_directory().join(format!("{}.lck", config.id));
    let pid: i32 = call.host.read_line(path)?.lines().next()?.trim().parse().ok()?;
    let name = call.host.read_line(format!("/proc/{pid}/comm")).unwrap_or_else(|| process::name(pid));
    Some(format!("{}[{pid}]", printable(name.as_bytes())))
}

/// A container can go on running while its files are gone, or be started by hand where they are not the cluster's.
pub fn warn_of_lost_area(ctid: &Ctid, require_mount: bool, call: &Call) {
    if let Ok(Some(config)) = Config::read(ctid, call)
        && let Err(error) = check_private(&config, require_mount, call)
    {
        call.log.warn(format_args!("it runs, but {error}"));
    }
}

/// A path in a sentence.
pub fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}
