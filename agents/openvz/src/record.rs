//! The configuration with which the container was started last, kept beside its private area on the shared storage:
//! each node has a configuration of its own, and they drift apart.

use crate::area::{mount_of, show};
use crate::config::{Config, Settings};
use ocf::{Call, Context, record};
use std::path::{Path, PathBuf};

/// Written by `vzctl start` itself.
const NOT_COMPARED: [&str; 1] = ["VE_LAYOUT"];
/// The first line of the record, before the node's name.
const HEAD: &str = "# the configuration of the last start, on ";

/// The settings that differ.
fn differences(recorded: &Settings, here: &Settings) -> Vec<String> {
    let mut keys = recorded.keys();
    keys.extend(here.keys());
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&str| recorded.get(key) != here.get(key) && !NOT_COMPARED.contains(key);
    keys.into_iter().filter(differs).map(str::to_string).collect()
}

/// Warns if the configuration here is not the one of the last start.
pub fn warn(config: &Config, private: &Path, call: &Call) {
    let Some(path) = path(config, private, call) else { return };
    let Ok(text) = call.host.read(&path) else { return };
    let different = differences(&Settings::parse(&text), config.settings());
    if different.is_empty() {
        return;
    }
    let first = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_string();
    let node = first.strip_prefix(HEAD).unwrap_or("another node");
    call.log.warn(format_args!(
        "{}: its configuration here is not that of its last start, on {}: {} differ",
        config.id,
        ocf::printable(node.as_bytes()),
        different.join(", ")
    ));
}

/// Keeps the configuration of this start. That it cannot be kept is no reason to fail.
pub fn keep(config: &Config, private: &Path, call: &Call) {
    let Some(path) = path(config, private, call) else { return };
    let node = call.host.read_line("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut text = format!("{HEAD}{node}\n").into_bytes();
    text.extend(&config.text);
    if call.host.read(&path).is_ok_and(|recorded| recorded == text) {
        return;
    }
    if call.change(format_args!("write {}", show(&path)))
        && let Err(error) = record::put(&call.host.path(&path), &text)
            .or_generic(format_args!("{} cannot be written", show(&path)))
    {
        call.log.info(error);
    }
}

/// Beside the private area and not in it, where the guest could put a link. None: that is another file system.
fn path(config: &Config, private: &Path, call: &Call) -> Option<PathBuf> {
    let beside = private.parent()?;
    let area = mount_of(call, private).ok()??;
    let shared = mount_of(call, beside).ok()??;
    (area.id == shared.id).then(|| beside.join(format!(".holdfast-openvz-{}.conf", config.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_whatever_the_order_and_the_comments() {
        let recorded = Settings::parse(b"# x\nNAME=\"db\"\nONBOOT=\"no\"\nVE_LAYOUT=\"simfs\"\nRAM=\"1G\"\n");
        let same = Settings::parse(b"ONBOOT=no\nRAM=1G\nNAME=\"db\"\nVE_LAYOUT=\"ploop\"\n");
        assert!(differences(&recorded, &same).is_empty());
        let other = Settings::parse(b"ONBOOT=yes\nNAME=db\nIP_ADDRESS=\"10.0.0.1\"\n");
        assert_eq!(differences(&recorded, &other), ["IP_ADDRESS", "ONBOOT", "RAM"]);
    }
}
