//! What start began, written down below /run, which is empty after a boot like the list of domains: the guest's name for
//! the time when its configuration cannot be read, and its number for the time when it has no name any more.

use ocf::{Call, Context, Result};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/run/holdfast/xendomain";

/// A guest that was started here or has come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The domain's name.
    pub name: String,
    /// The domain's number; 0 while it is being created.
    pub id: u32,
    /// Its memory may be changed.
    pub memory_managed: bool,
}

impl Record {
    fn render(&self) -> String {
        format!("name={}\nid={}\nmemory_managed={}\n", self.name, self.id, self.memory_managed)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            name: field("name").filter(|name| crate::name::is_name(name))?.to_string(),
            id: field("id")?.parse().ok()?,
            memory_managed: field("memory_managed")?.parse().ok()?,
        })
    }
}

fn file(call: &Call, key: &str) -> PathBuf {
    let mut name = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    call.host.path(Path::new(DIRECTORY)).join(name)
}

/// The record under `key`, if there is a whole one that only root can have written.
pub fn read(call: &Call, key: &str) -> Option<Record> {
    trusted(&file(call, key))
}

/// The records of all guests of this node.
pub fn all(call: &Call) -> Vec<Record> {
    let entries = std::fs::read_dir(call.host.path(Path::new(DIRECTORY))).into_iter().flatten().flatten();
    entries.filter_map(|entry| trusted(&entry.path())).collect()
}

fn trusted(path: &Path) -> Option<Record> {
    let found = std::fs::symlink_metadata(path).ok()?;
    let trusted =
        found.is_file() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
    if !trusted {
        return None;
    }
    Record::parse(&std::fs::read_to_string(path).ok()?)
}

/// Writes it down: whole or not at all, wherever the agent is killed.
pub fn write(call: &Call, key: &str, record: &Record) -> Result<()> {
    let path = file(call, key);
    let what = || format!("{} cannot be written", path.display());
    let directory = call.host.path(Path::new(DIRECTORY)).into_owned();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).or_generic(what())?;
    // The draft has no whole record's name: a dot is escaped in those.
    let draft = path.with_extension(std::process::id().to_string());
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(&draft)
        .or_generic(what())?;
    file.write_all(record.render().as_bytes()).or_generic(what())?;
    std::fs::rename(&draft, &path).or_generic(what())
}

/// Forgets it.
pub fn remove(call: &Call, key: &str) {
    let _ = std::fs::remove_file(file(call, key));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_broken_one_is_none() {
        let record = Record { name: "web.1".into(), id: 7, memory_managed: true };
        assert_eq!(Record::parse(&record.render()), Some(record.clone()));
        for text in [
            "",
            "name=web\n",
            "name=web\nid=x\nmemory_managed=true\n",
            "name=-x\nid=1\nmemory_managed=true\n",
        ] {
            assert_eq!(Record::parse(text), None, "{text}");
        }
    }
}
