//! The device-mapper table below the resource: made before the resource comes up, and removed once it is down.
//!
//! The device carries a mark of ours in its UUID, so that no stop removes one that somebody else has made.

use crate::DrbdDisk;
use crate::adm::{drbdadm, written_file};
use ocf::{Call, Context, Error, Result, printable};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

const MAPPER: &str = "/dev/mapper";
/// How long udev may take to show a new device.
const UDEV: Duration = Duration::from_secs(5);

/// A device that the agent makes.
#[derive(Debug)]
pub struct Table {
    file: PathBuf,
    name: String,
    mark: String,
}

impl Table {
    /// The table of the resource `name`; none if the agent has none to make.
    pub fn of(agent: &DrbdDisk, name: &str, call: &Call) -> Result<Option<Self>> {
        if agent.dmtab.is_empty() {
            return Ok(None);
        }
        let output = drbdadm(call, &["sh-ll-dev", name])?.within(call.remaining() / 2).run()?;
        if !output.succeeded() {
            return Err(Error::generic(format_args!("drbdadm sh-ll-dev {name}: {}", output.complaint())));
        }
        let disks = String::from_utf8_lossy(&output.stdout).into_owned();
        let mapped: Vec<&str> = disks.split_ascii_whitespace().filter_map(mapper_name).collect();
        let chosen = choose(&mapped, agent.dmtab.as_path()).ok_or_else(|| {
            Error::installed(format_args!("dmtab {} fits no disk of {name} in {MAPPER}", agent.dmtab))
        })?;
        let file = agent.dmtab.as_path().to_path_buf();
        Ok(Some(Self { file, name: chosen.to_string(), mark: mark(name) }))
    }
}

/// What our devices have for a UUID.
fn mark(resource: &str) -> String {
    format!("HOLDFAST-drbddisk-{resource}")
}

/// `/dev/mapper/root100` is `root100`.
fn mapper_name(disk: &str) -> Option<&str> {
    let name = disk.strip_prefix(MAPPER)?.strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/') && !name.starts_with('-')).then_some(name)
}

/// The disk that the table is for: the only one, or the one whose name ends as the file's name does: `dmtab.100` is for
/// `root100`.
fn choose<'a>(mapped: &[&'a str], file: &Path) -> Option<&'a str> {
    if let [only] = mapped {
        return Some(only);
    }
    let ending = file.extension()?.to_str()?;
    let mut fitting = mapped.iter().filter(|name| name.ends_with(ending));
    match (fitting.next(), fitting.next()) {
        (Some(name), None) => Some(name),
        _ => None,
    }
}

/// Makes the device if it is not there. The answer is whether it was made.
pub fn create(table: &Table, call: &Call) -> Result<bool> {
    let Table { file, name, mark } = table;
    let node = Path::new(MAPPER).join(name);
    if call.host.exists(&node) {
        call.log.trace(format_args!("{} is there already", node.display()));
        return Ok(false);
    }
    let shown = printable(file.as_os_str().as_encoded_bytes());
    let text = written_file(call, file).or_installed(format_args!("dmtab {shown} cannot be read"))?;
    if let Some(missing) = devices(&text).find(|device| !call.host.exists(device)) {
        let missing = printable(missing.as_os_str().as_encoded_bytes());
        return Err(Error::generic(format_args!("{missing} for dmtab {shown} does not exist: activate it")));
    }
    if !call.change(format_args!("run dmsetup create {name} {shown}")) {
        return Ok(true);
    }
    let tool = call.tool("dmsetup")?.arg("create").arg(name).arg("--uuid").arg(mark).arg(file);
    let output = tool.within(call.remaining() / 2).run()?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("dmsetup create {name}: {}", output.complaint())));
    }
    let until = call.within(UDEV);
    while !call.host.exists(&node) {
        if Instant::now() >= until {
            return Err(Error::generic(format_args!(
                "dmsetup made {name}, but {} does not appear: is udev running?",
                node.display()
            )));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(true)
}

/// The block devices that a table names. dmsetup skips lines that begin with #.
fn devices(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = table.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let words = lines.flat_map(|line| line.split(u8::is_ascii_whitespace));
    let words = words.filter(|word| word.starts_with(b"/dev/"));
    words.map(|word| {
        use std::os::unix::ffi::OsStringExt;
        PathBuf::from(OsString::from_vec(word.to_vec()))
    })
}

/// Removes the device that was made for the resource `name`, if there is one.
pub fn remove(agent: &DrbdDisk, name: &str, call: &Call) -> Result<()> {
    if agent.dmtab.is_empty() {
        return Ok(());
    }
    for device in ours(&mark(name), call)? {
        if !call.change(format_args!("run dmsetup remove {device}")) {
            continue;
        }
        let tool = call.tool("dmsetup")?.arg("remove").arg("--retry").arg(&device);
        let output = tool.within(call.remaining() / 2).run()?;
        if !output.succeeded() || ours(&mark(name), call)?.contains(&device) {
            return Err(Error::generic(format_args!(
                "{name} is down, but {device} is still there, dmsetup remove: {}",
                output.complaint()
            )));
        }
    }
    Ok(())
}

/// The names of the devices with that mark, from the kernel.
fn ours(mark: &str, call: &Call) -> Result<Vec<String>> {
    const BLOCK: &str = "/sys/block";
    let entries = std::fs::read_dir(call.host.path(Path::new(BLOCK)));
    let entries = entries.or_generic(format_args!("{BLOCK} cannot be read"))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let line = |block: &str, file: &str| call.host.read_line(format!("/sys/block/{block}/dm/{file}"));
    Ok(names
        .filter(|block| block.starts_with("dm-") && line(block, "uuid").as_deref() == Some(mark))
        .filter_map(|block| line(&block, "name"))
        .filter(|name| !name.is_empty() && !name.starts_with('-'))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_table_is_the_only_one_or_the_one_with_the_file_s_ending() {
        let choose = |mapped: &[&'static str], file: &str| choose(mapped, Path::new(file));
        assert_eq!(choose(&["root100"], "/etc/dmtab.100"), Some("root100"));
        assert_eq!(choose(&["data"], "/etc/table"), Some("data"));
        assert_eq!(choose(&["root100", "swap101"], "/etc/dmtab.101"), Some("swap101"));
        assert_eq!(choose(&["root100", "swap100"], "/etc/dmtab.100"), None);
        assert_eq!(choose(&["root100", "swap100"], "/etc/dmtab"), None);
        assert_eq!(choose(&[], "/etc/dmtab.100"), None);
    }

    #[test]
    fn only_disks_of_the_device_mapper_have_a_name_for_it() {
        assert_eq!(mapper_name("/dev/mapper/root100"), Some("root100"));
        for other in
            ["/dev/vg0/lv0", "/dev/mapper/", "/dev/mapperx", "/dev/mapper/-f", "/dev/mapper/a/b", "none"]
        {
            assert_eq!(mapper_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_devices_of_a_table_are_its_paths() {
        let table = b"# 0 9 linear /dev/old 0\n \t# /dev/older\n0 629145600 striped 3 64 /dev/vg-sda/root100 0 /dev/vg-sdb/root100 0 8:16 0\n";
        let found: Vec<PathBuf> = devices(table).collect();
        assert_eq!(found, [Path::new("/dev/vg-sda/root100"), Path::new("/dev/vg-sdb/root100")]);
    }
}
