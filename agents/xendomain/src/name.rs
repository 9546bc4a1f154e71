//! Which guest is meant, and where its configuration is.

use crate::XenDomain;
use crate::record;
use ocf::state::xen::config::{self, Config, Syntax};
use ocf::{Call, Error, Result, printable};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a guest's configuration is looked for if nobody says, with the endings that follow.
const PLACES: [&str; 4] = ["/etc/xen", "/etc/xen/vm", "/etc/xen/auto", "/etc/xend"];
const ENDINGS: [&str; 4] = ["", ".cfg", ".conf", ".sxp"];
/// No configuration is longer, in bytes.
const LONGEST: u64 = 256 * 1024;

/// Whether a domain can be called so and nothing in the name can mean anything else to anybody.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+:@-".contains(&byte);
    let marks = ["--incoming", "--migratedaway"];
    !name.is_empty()
        && name.len() <= 200
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !marks.iter().any(|mark| name.ends_with(mark))
        && name != "Domain-0"
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// A configuration that was found.
#[derive(Debug)]
pub struct Description {
    /// Where it is.
    pub path: PathBuf,
    /// What it says, or what cannot be understood in it.
    pub config: Result<Config, String>,
}

impl XenDomain {
    /// Under what the guest's record is kept.
    pub fn key(&self, call: &Call) -> String {
        if call.instance == "default" {
            let what = if self.name.is_empty() { &self.xmfile } else { &self.name };
            return format!("-{what}");
        }
        call.instance.clone()
    }

    /// What a person calls the guest.
    pub fn called(&self) -> String {
        if self.name.is_empty() { self.xmfile.to_string() } else { self.name.to_string() }
    }

    /// The parameter name, if it can be one, or code 6.
    pub fn check_name(&self) -> Result<Option<&str>> {
        if self.name.is_empty() {
            return Ok(None);
        }
        self.name.to_str().filter(|name| is_name(name)).map(Some).ok_or_else(|| {
            Error::configured(format_args!(
                "parameter name is '{}': accepted are letters, digits and _ . + : @ -",
                self.name
            ))
        })
    }

    /// The domain's name: the parameter, the configuration, the record of the last start, the resource's own name.
    pub fn domain(&self, call: &Call) -> Result<String> {
        if let Some(name) = self.check_name()? {
            return Ok(name.into());
        }
        let recorded = || record::read(call, &self.key(call)).map(|record| record.name);
        let described = match self.describe(call) {
            Ok(described) => described,
            Err(error) => return recorded().ok_or(error),
        };
        match described {
            Some(Description { path, config: Ok(config) }) => match config.name {
                Some(name) if is_name(&name) => Ok(name),
                Some(name) => Err(Error::generic(format_args!(
                    "{} calls the guest '{}', which is no usable name",
                    path.display(),
                    printable(name.as_bytes())
                ))),
                None => self.by_instance(call),
            },
            Some(Description { path, config: Err(why) }) => recorded().ok_or_else(|| {
                Error::generic(format_args!("the name in {} is unknown: {why}", path.display()))
            }),
            // The configuration may lie on a disk that is not here now.
            None => recorded().map_or_else(|| self.by_instance(call), Ok),
        }
    }

    fn by_instance(&self, call: &Call) -> Result<String> {
        if call.instance == "default" {
            return Err(Error::args("no guest is named: give the parameter name or xmfile"));
        }
        // An instance of a clone has its number behind a colon.
        let name = call.instance.split(':').next().unwrap_or_default();
        if is_name(name) {
            return Ok(name.into());
        }
        Err(Error::configured("the guest has no name: set the parameter name, or name in its configuration"))
    }

    /// Where the configuration is. None: nowhere.
    pub fn config_path(&self, call: &Call) -> Option<PathBuf> {
        if !self.xmfile.is_empty() {
            return Some(self.xmfile.as_path().to_path_buf()).filter(|path| call.host.exists(path));
        }
        let name = if self.name.is_empty() { call.instance.as_str() } else { self.name.to_str()? };
        if !is_name(name) {
            return None;
        }
        PLACES
            .iter()
            .flat_map(|place| {
                ENDINGS.iter().map(move |ending| Path::new(place).join(format!("{name}{ending}")))
            })
            .find(|path| std::fs::metadata(call.host.path(path)).is_ok_and(|found| found.is_file()))
    }

    /// Reads the configuration. None: there is none.
    pub fn describe(&self, call: &Call) -> Result<Option<Description>> {
        if !self.xmfile.is_empty() && !self.xmfile.as_path().is_absolute() {
            return Err(Error::configured(format_args!(
                "parameter xmfile is '{}': accepted is an absolute path",
                self.xmfile
            )));
        }
        let Some(path) = self.config_path(call) else { return Ok(None) };
        let failed = |why: &dyn std::fmt::Display| {
            Error::generic(format_args!("{} cannot be read: {why}", path.display()))
        };
        let found = match std::fs::metadata(call.host.path(&path)) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        if !found.is_file() {
            return Err(failed(&"it is no file"));
        }
        if found.len() > LONGEST {
            return Err(failed(&"it is too long for a configuration"));
        }
        let text = call.host.read(&path).map_err(|error| failed(&error))?;
        let old = path.starts_with("/etc/xend") || call.host.tool("xl").is_none();
        let syntax = if old { Syntax::Xm } else { Syntax::Xl };
        Ok(Some(Description { config: config::parse(&text, syntax), path }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_nothing_but_a_name() {
        for name in ["web", "100", "vm-01", "a.b_c+d:e@f"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "-f",
            "a b",
            "a\n",
            "a\"",
            "a'b",
            "a/b",
            "%s",
            "web[1]",
            "a\\",
            "Domain-0",
            "w--incoming",
            "..",
            "\u{e4}",
        ] {
            assert!(!is_name(name), "{name}");
        }
        assert!(!is_name(&"x".repeat(201)));
    }
}
