//! What vzctl's files say of a container: /etc/vz/vz.conf, and /etc/vz/conf/CTID.conf on top of it.

use crate::ctid::Ctid;
use ocf::{Call, Context, Error, Result, printable};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the configurations of containers are; the second place is that of Red Hat's systems of old.
const CONTAINERS: [&str; 2] = ["/etc/vz/conf", "/etc/sysconfig/vz-scripts"];
/// The configuration of the node, in the same two orders.
const NODE: [&str; 2] = ["/etc/vz/vz.conf", "/etc/sysconfig/vz"];
/// Links from the containers' names to their configurations.
const NAMES: &str = "/etc/vz/names";

/// `KEY="VALUE"` lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Reads the text of a file. vzctl does not expand anything in it but `$VEID`, and neither do we.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let pairs = text.lines().filter_map(|line| {
            let (key, value) = line.trim_start().split_once('=')?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if key.is_empty() || !key.bytes().all(plain) {
                return None;
            }
            let value = value.trim();
            let value = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value.get(1..)?.split(quote).next()?,
                _ => value,
            };
            Some((key.to_string(), value.to_string()))
        });
        Self(pairs.collect())
    }

    /// The value of a key; the last line counts.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The keys, once each, in order.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.0.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// A container's settings on this node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The id under which the kernel and vzctl's files know it.
    pub id: String,
    /// Its own file as it is.
    pub text: Vec<u8>,
    own: Settings,
    node: Settings,
}

impl Config {
    /// Reads the container's configuration. None: it has none here.
    pub fn read(ctid: &Ctid, call: &Call) -> Result<Option<Self>> {
        for id in ids(ctid, call) {
            for directory in CONTAINERS {
                let path = format!("{directory}/{id}.conf");
                match call.host.read(&path) {
                    Ok(text) => {
                        let own = Settings::parse(&text);
                        return Ok(Some(Self { id, text, own, node: node_settings(call) }));
                    }
                    // A link may lead into a private area that is not mounted here.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).or_generic(format_args!("{path} cannot be read")),
                }
            }
        }
        Ok(None)
    }

    /// For a stop, which has to do with what is there: without a configuration of the container's, the node's settings
    /// tell where it would be. With one that cannot be read, only the tool can tell.
    pub fn read_or_guess(ctid: &Ctid, call: &Call) -> Self {
        let node = match Self::read(ctid, call) {
            Ok(Some(config)) => return config,
            Ok(None) => node_settings(call),
            Err(error) => {
                call.log.warn(error);
                Settings::default()
            }
        };
        let id = ids(ctid, call).into_iter().next().unwrap_or_else(|| ctid.as_str().to_string());
        Self { id, text: Vec::new(), own: Settings::default(), node }
    }

    /// A setting of the container.
    pub fn own(&self, key: &str) -> Option<&str> {
        self.own.get(key)
    }

    /// All settings of the container's own file.
    pub fn settings(&self) -> &Settings {
        &self.own
    }

    /// The directory with its files.
    pub fn private(&self) -> Result<PathBuf> {
        self.path("VE_PRIVATE")?.ok_or_else(|| {
            Error::installed(format_args!("{}: VE_PRIVATE is set neither for it nor in vz.conf", self.id))
        })
    }

    /// The directory on which it is mounted.
    pub fn root(&self) -> Result<Option<PathBuf>> {
        self.path("VE_ROOT")
    }

    /// Where vzctl keeps memory images.
    pub fn dump_directory(&self) -> Result<PathBuf> {
        Ok(self.path("DUMPDIR")?.unwrap_or_else(|| "/vz/dump".into()))
    }

    /// Where vzctl keeps its locks.
    pub fn lock_directory(&self) -> PathBuf {
        self.path("LOCKDIR").ok().flatten().unwrap_or_else(|| "/vz/lock".into())
    }

    fn path(&self, key: &str) -> Result<Option<PathBuf>> {
        let Some(value) = self.own.get(key).or_else(|| self.node.get(key)) else { return Ok(None) };
        let path = value.replace("${VEID}", &self.id).replace("$VEID", &self.id);
        if !path.starts_with('/') || path.contains('$') {
            let shown = printable(value.as_bytes());
            return Err(Error::installed(format_args!(
                "{}: {key} is '{shown}', which is no absolute path",
                self.id
            )));
        }
        Ok(Some(path.into()))
    }
}

fn node_settings(call: &Call) -> Settings {
    Settings::parse(&NODE.iter().find_map(|path| call.host.read(path).ok()).unwrap_or_default())
}

/// The ids under which the kernel may know the container: those that have a configuration here, be it one that cannot
/// be reached. None: nothing here tells.
pub fn ids(ctid: &Ctid, call: &Call) -> Vec<String> {
    let mut ids = Vec::new();
    let has_file =
        |id: &str| CONTAINERS.iter().any(|directory| call.host.exists(format!("{directory}/{id}.conf")));
    if has_file(ctid.as_str()) {
        ids.push(ctid.as_str().to_string());
    }
    if !ctid.is_uuid() {
        let link = call.host.path(Path::new(NAMES)).join(ctid.as_str());
        let target = std::fs::read_link(link).ok();
        let id = target.as_deref().and_then(Path::file_name).and_then(|name| {
            let stem = name.as_bytes().strip_suffix(b".conf")?;
            Ctid::parse(stem)
        });
        ids.extend(id.map(|id| id.as_str().to_string()));
    }
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_vzctl_does() {
        let text = b"# comment\nONBOOT=\"no\"\nVE_PRIVATE='/Data/db/vm' # x\n IP_ADDRESS=\"192.168.5.103 10.0.0.1\"\n\
            NAME=db\nbroken\n=x\nA B=c\nONBOOT=\"yes\"\nEMPTY=\"\"\nOPEN=\"abc\n";
        let settings = Settings::parse(text);
        assert_eq!(settings.get("ONBOOT"), Some("yes"), "the last line counts");
        assert_eq!(settings.get("VE_PRIVATE"), Some("/Data/db/vm"));
        assert_eq!(settings.get("IP_ADDRESS"), Some("192.168.5.103 10.0.0.1"));
        assert_eq!(settings.get("NAME"), Some("db"));
        assert_eq!(settings.get("OPEN"), Some("abc"));
        assert_eq!((settings.get("EMPTY"), settings.get("A B"), settings.get("")), (None, None, None));
        assert_eq!(settings.keys(), ["EMPTY", "IP_ADDRESS", "NAME", "ONBOOT", "OPEN", "VE_PRIVATE"]);
    }

    fn config(own: &str, node: &str) -> Config {
        Config {
            id: "101".into(),
            text: own.into(),
            own: Settings::parse(own.as_bytes()),
            node: Settings::parse(node.as_bytes()),
        }
    }

    #[test]
    fn the_container_s_path_wins_over_the_node_s_and_its_id_is_put_in() {
        let both = config(
            "VE_PRIVATE=\"/Data/db/vm\"\n",
            "VE_PRIVATE=/vz/private/$VEID\nVE_ROOT=/vz/root/${VEID}\n",
        );
        assert_eq!(both.private().unwrap(), Path::new("/Data/db/vm"));
        assert_eq!(both.root().unwrap().unwrap(), Path::new("/vz/root/101"));
        assert_eq!(both.dump_directory().unwrap(), Path::new("/vz/dump"));
    }

    #[test]
    fn a_path_that_cannot_be_known_is_an_error_and_not_another_path() {
        for own in ["VE_PRIVATE=private/101\n", "VE_PRIVATE=\"/vz/$HOME\"\n", ""] {
            assert_eq!(config(own, "").private().unwrap_err().code(), ocf::ExitCode::Installed, "{own}");
        }
    }
}
