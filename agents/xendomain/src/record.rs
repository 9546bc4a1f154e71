//! What start began, written down below /run, which is empty after a boot like the list of domains: the guest's name for
//! the time when its configuration cannot be read, and its number for the time when it has no name any more.

use ocf::{Call, Result, record};
use std::path::PathBuf;

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

fn directory(call: &Call) -> PathBuf {
    record::directory(call, "xendomain")
}

/// Another file for the same resource. No key has a `+` in its file's name.
pub fn beside(call: &Call, key: &str, ending: &str) -> PathBuf {
    let mut path = file(call, key).into_os_string();
    path.push(ending);
    path.into()
}

fn file(call: &Call, key: &str) -> PathBuf {
    let mut name = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    directory(call).join(name)
}

/// The record under `key`, if there is a whole one that only root can have written.
pub fn read(call: &Call, key: &str) -> Option<Record> {
    Record::parse(&record::read(&file(call, key))?)
}

/// The records of all guests of this node.
pub fn all(call: &Call) -> Vec<Record> {
    let entries = std::fs::read_dir(directory(call)).into_iter().flatten().flatten();
    // A draft is none yet; its name has a tilde, which is escaped in the others.
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().contains('~'));
    whole.filter_map(|entry| Record::parse(&record::read(&entry.path())?)).collect()
}

/// Writes it down.
pub fn write(call: &Call, key: &str, record: &Record) -> Result<()> {
    record::write(&file(call, key), record.render().as_bytes())
}

/// Forgets it.
pub fn remove(call: &Call, key: &str) {
    record::remove(&file(call, key));
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
