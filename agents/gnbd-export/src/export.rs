//! What is to be offered: the parameters, checked and put together.

use crate::GnbdExport;
use crate::access::Access;
use crate::backend::Choice;
use crate::identity::Identity;
use crate::metadata::IN_OPTIONS;
use ocf::params::Values;
use ocf::{Call, Error, Result};
use serde::Deserialize;
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What each parameter takes, in words.
pub const NAME_WORDS: &str = "letters, digits and . _ - (at most 31, no dash first)";
/// The same for the device.
pub const DEVICE_WORDS: &str = "a path below /dev";
/// The same for the address.
pub const ADDRESS_WORDS: &str = "an IP address";
/// The same for the port.
pub const PORT_WORDS: &str = "a number from 1 to 65535";
/// The same for times.
pub const SECONDS_WORDS: &str = "seconds, from 0 to 3600";
/// The same for the uuid.
pub const UUID_WORDS: &str = "a UUID with dashes";
/// The same for the target's name.
pub const TARGET_WORDS: &str = "a name that begins with nqn., iqn., eui. or naa.";

/// Longest name that gnbd_export takes; it cuts longer ones without a word.
const NAME_MAX: usize = 31;

/// One device to be offered.
#[derive(Debug, Clone)]
pub struct Export {
    /// The name.
    pub name: String,
    /// The device as the parameter names it; none is an error only for those who need it.
    device: Option<PathBuf>,
    /// How.
    pub choice: Choice,
    /// To whom.
    pub access: Access,
    /// Where.
    pub listen: IpAddr,
    /// TCP port, if another one than the backend's usual.
    pub port: Option<u16>,
    /// For reading only.
    pub readonly: bool,
    /// Of gnbd: cached, without a cluster manager.
    pub cached: bool,
    /// Of gnbd: timeout in seconds of an export that is not cached.
    pub timeout_s: Option<u32>,
    /// What clients know it by.
    pub identity: Identity,
    /// Whether clients that do not let go are cut off.
    pub force_stop: bool,
    /// How long they may let go by themselves.
    pub drain: Duration,
}

/// What stands in `options`.
#[derive(Debug, Deserialize)]
struct Options {
    backend: Option<Choice>,
    allow: Option<String>,
    listen: Option<String>,
    port: Option<u32>,
    readonly: Option<bool>,
    cached: Option<bool>,
    gnbd_timeout: Option<u32>,
    uuid: Option<String>,
    target: Option<String>,
    force_stop: Option<bool>,
    drain_timeout: Option<u32>,
}

impl Export {
    /// The export that the parameters describe.
    pub fn of(agent: &GnbdExport, call: &Call) -> Result<Self> {
        if agent.name.is_empty() {
            return Err(Error::configured("parameter name is missing: name the export"));
        }
        let options = read_options(&agent.options, call)?;
        let text = |given: Option<String>, else_: &str| given.unwrap_or_else(|| else_.to_string());
        let uuid = text(options.uuid, &agent.uuid);
        let target = text(options.target, &agent.target);
        let listen = text(options.listen, &agent.listen);
        let drain_s = options.drain_timeout.unwrap_or(agent.drain_timeout);
        Ok(Self {
            name: agent.name.clone(),
            device: (!agent.device.is_empty()).then(|| agent.device.as_path().to_path_buf()),
            choice: options.backend.unwrap_or(agent.backend),
            access: Access::parse(&text(options.allow, &agent.allow)),
            listen: listen.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port: options.port.or(agent.port).and_then(|port| u16::try_from(port).ok()),
            readonly: options.readonly.unwrap_or(agent.readonly),
            cached: options.cached.unwrap_or(agent.cached),
            timeout_s: options.gnbd_timeout.or(agent.gnbd_timeout),
            identity: Identity::new(&agent.name, &uuid, &target),
            force_stop: options.force_stop.unwrap_or(agent.force_stop),
            drain: Duration::from_secs(u64::from(drain_s)),
        })
    }

    /// The device.
    pub fn device(&self) -> Result<&Path> {
        self.device.as_deref().ok_or_else(|| {
            Error::configured(format_args!(
                "parameter device of export {} is missing: {DEVICE_WORDS}",
                self.name
            ))
        })
    }

    /// The port, or the usual one.
    pub fn port_or(&self, usual: u16) -> u16 {
        self.port.unwrap_or(usual)
    }

    /// Where a client on this node would connect to.
    pub fn address_to_ask(&self, usual: u16) -> SocketAddr {
        let ip = match self.listen {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.port_or(usual))
    }

    /// Says to a person what clients know the export by.
    pub fn say_identity(&self) {
        let Identity { uuid, serial, nqn, iqn } = &self.identity;
        let name = &self.name;
        ocf::log::to_stdout(format_args!(
            "name    {name}\nuuid    {uuid}\nnguid   {}\nserial  {serial}\nNQN     {nqn}\nIQN     {iqn}\n",
            uuid.replace('-', "")
        ));
    }
}

/// Reads `NAME=VALUE,NAME=VALUE`. A monitor or a stop goes on without what it cannot understand.
fn read_options(text: &str, call: &Call) -> Result<Options> {
    let strict = !matches!(call.action.as_str(), "monitor" | "stop");
    let mut values = Values::new(IN_OPTIONS);
    let mut allow = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == "allow" {
            allow.push(value);
        } else if value.is_empty() || !values.set(name, OsStr::new(value)) {
            let error = Error::configured(format_args!(
                "parameter options has '{}': accepted is NAME=VALUE with the name of another parameter",
                ocf::printable(pair.as_bytes())
            ));
            if strict {
                return Err(error);
            }
            call.log.warn(error);
        }
    }
    if !allow.is_empty() {
        values.set("allow", OsStr::new(&allow.join(" ")));
    }
    values.read(strict, &|error| call.log.warn(error))
}

/// Whether an export can be called so. The name becomes a word of command lines and a name in directories.
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.len() <= NAME_MAX && text.bytes().all(plain) && !text.starts_with(['-', '.'])
}

/// Whether it can be a device: a comma or a blank would be read as something else by the kernel's targets.
pub fn is_device(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:+@=-".contains(&byte);
    let Some(rest) = text.strip_prefix("/dev/") else { return false };
    !rest.is_empty() && rest.bytes().all(plain) && rest.split('/').all(|part| part != "..")
}

/// Whether it is an address.
pub fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether it is a TCP port.
pub fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether it is a time in seconds.
pub fn is_seconds(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|seconds| seconds <= 3600)
}

/// Whether it is a UUID in its usual form.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// Whether a subsystem or a target can be called so.
pub fn is_target(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    let known = ["nqn.", "iqn.", "eui.", "naa."].iter().any(|prefix| text.starts_with(prefix));
    known && text.len() <= 223 && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_devices_are_refused() {
        for name in ["-e", "a/b", "a b", "a\n", "..", ".hidden", "$(id)", &"x".repeat(32)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("ocfscluster") && is_name("r0.data_1-2"));
        for device in
            ["/dev/../etc/passwd", "/dev/", "drbd0", "/etc/x", "/dev/a,readonly=1", "/dev/a b", "/dev/a\n"]
        {
            assert!(!is_device(device), "{device}");
        }
        assert!(
            is_device("/dev/drbd0") && is_device("/dev/drbd/by-res/r0/0") && is_device("/dev/mapper/vg-lv")
        );
        for target in ["nqn.a/b", "r0", "iqn.a b", "", "nqn..\n"] {
            assert!(!is_target(target), "{target}");
        }
    }
}
