//! Who called us, how, and with which values. The rule is in four lines of [`dialect`]; everything else follows.

use crate::params::Values;
use crate::{Error, Host, Metadata, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The ways in which an agent is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// By a cluster manager, with `OCF_RESKEY_*`.
    Ocf,
    /// By Heartbeat, with positional arguments and the action last.
    Heartbeat,
    /// As an init script, with the action alone.
    Lsb,
    /// By a person, with options.
    ByHand,
}

/// What the kernel and the caller gave to this process.
#[derive(Debug)]
pub struct Caller {
    /// The path that was executed.
    pub path: OsString,
    /// The arguments without the program's name.
    pub args: Vec<OsString>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Caller {
    /// The caller of this process.
    pub fn of_this_process() -> Self {
        let mut args = std::env::args_os();
        let name = args.next().unwrap_or_default();
        // argv[0] is the caller's to choose; the kernel's word for the path it executed is not.
        let path = OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()).to_os_string();
        Self {
            path: if path.is_empty() { name } else { path },
            args: args.collect(),
            env: std::env::vars_os().collect(),
        }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// The name under which the agent was installed or linked.
    pub fn file_name(&self) -> &OsStr {
        Path::new(&self.path).file_name().unwrap_or_default()
    }

    /// `OCF_RESKEY_<name>` that are instance parameters of somebody.
    fn reskeys(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.env.iter().filter_map(|(key, value)| {
            let name = key.as_bytes().strip_prefix(b"OCF_RESKEY_")?;
            let own = !name.starts_with(b"CRM_meta_") && name != b"crm_feature_set";
            own.then_some((OsStr::from_bytes(name), value.as_os_str()))
        })
    }

    /// The values of the environment, and the names there that are not the agent's.
    fn environment(&self, metadata: &Metadata) -> (Values, Vec<String>) {
        let mut values = Values::new(metadata.parameters);
        let mut unknown = Vec::new();
        for (name, value) in self.reskeys() {
            let name = name.to_string_lossy();
            if !values.set(&name, value) {
                unknown.push(crate::error::printable(name.as_bytes()));
            }
        }
        (values, unknown)
    }

    /// The same with those of the file of defaults and of the link's name, if the agent is called as NAME-instance.
    pub(crate) fn values(&self, metadata: &Metadata, host: &Host) -> Result<(Values, Vec<String>)> {
        let (mut values, mut unknown) = self.environment(metadata);
        for (name, value) in defaults_file(self, metadata, host)? {
            let name = name.strip_prefix("OCF_RESKEY_").unwrap_or(&name);
            if !values.set(name, &value) {
                unknown.push(name.to_string());
            }
        }
        if let Some(value) = link_name(self, metadata) {
            for row in metadata.parameters.iter().filter(|row| row.from_link_name) {
                if values.iter().any(|given| given.row.name == row.name && given.value.is_none()) {
                    values.set(row.name, value);
                }
            }
        }
        Ok((values, unknown))
    }

    fn says_ocf(&self) -> bool {
        ["OCF_ROOT", "OCF_RA_VERSION_MAJOR", "OCF_RESOURCE_INSTANCE"]
            .iter()
            .any(|name| self.get(name).is_some())
            || self.reskeys().any(|(_, value)| !value.is_empty())
    }
}

/// Which way it is: the executed path, then the environment, then the arguments.
pub fn dialect(caller: &Caller, metadata: &Metadata) -> Dialect {
    let option = |word: &OsString| is_option(word, metadata);
    match by_path(Path::new(&caller.path)) {
        _ if option_behind_the_action(caller, metadata) => Dialect::ByHand,
        Some(Dialect::Ocf) if caller.args.first().is_some_and(option) => Dialect::ByHand,
        Some(dialect) => dialect,
        None if caller.args.iter().any(option) => Dialect::ByHand,
        None if caller.says_ocf() => Dialect::Ocf,
        None => match caller.args.as_slice() {
            [] => Dialect::ByHand,
            [_] => Dialect::Lsb,
            _ => Dialect::Heartbeat,
        },
    }
}

/// `Filesystem status --format json`: every other caller ends with the action.
fn option_behind_the_action(caller: &Caller, metadata: &Metadata) -> bool {
    let ends_with_action = caller.args.last().is_some_and(|last| {
        last == "status" || last.to_str().is_some_and(|last| metadata.action(last).is_some())
    });
    !ends_with_action && caller.args.iter().any(|word| is_option(word, metadata))
}

fn by_path(path: &Path) -> Option<Dialect> {
    // The directory as it was named: /etc/ha.d/resource.d may well be a link to somewhere else.
    let absolute = std::path::absolute(path).ok()?;
    let mut dirs = absolute.parent()?.components().rev().map(|part| part.as_os_str().as_bytes());
    match (dirs.next()?, dirs.next()) {
        (b"init.d", _) => Some(Dialect::Lsb),
        (b"resource.d", Some(b"ha.d")) => Some(Dialect::Heartbeat),
        (_, Some(b"resource.d")) => Some(Dialect::Ocf),
        _ => None,
    }
}

/// A long option that the by-hand face knows. Heartbeat may pass `--uuid=...` or `-oX` as a device.
fn is_option(arg: &OsStr, metadata: &Metadata) -> bool {
    let Some(arg) = arg.to_str() else { return false };
    let name = arg.split('=').next().unwrap_or_default();
    name == "-h"
        || name.strip_prefix("--").is_some_and(|name| {
            crate::cli::is_option(name) || metadata.parameter(&name.replace('-', "_")).is_some()
        })
}

/// The action, and the values that come with it.
#[derive(Debug)]
pub struct Invocation {
    /// How we were called.
    pub dialect: Dialect,
    /// The action as the caller named it.
    pub action: String,
    /// The caller's values.
    pub values: Values,
    /// What a person asked for beside the parameters.
    pub options: crate::cli::Options,
    /// `OCF_RESKEY_` names that this agent does not have.
    pub unknown: Vec<String>,
}

impl Invocation {
    /// Reads the values of an OCF, Heartbeat or LSB call.
    pub fn read(caller: &Caller, dialect: Dialect, metadata: &Metadata, host: &Host) -> Result<Self> {
        let (action, positionals) = match (dialect, caller.args.split_last()) {
            (Dialect::Heartbeat, None) => return Err(Error::generic(usage(metadata))),
            (_, None) => return Err(Error::args("no action was given")),
            (Dialect::Heartbeat, Some((action, positionals))) => (action, positionals),
            (_, Some((action, []))) => (action, [].as_slice()),
            (_, Some((_, more))) => {
                let count = more.len() + 1;
                return Err(Error::args(format_args!("expected one argument, the action, but got {count}")));
            }
        };
        let (mut values, unknown) = match dialect {
            Dialect::Lsb => caller.values(metadata, host)?,
            _ => caller.environment(metadata),
        };
        for (name, value) in metadata.positional.iter().zip(positionals) {
            values.set(name, value);
        }
        let action = action.to_string_lossy().into_owned();
        if dialect == Dialect::Heartbeat && !heartbeat_knows(&action, positionals.len(), metadata) {
            return Err(Error::generic(usage(metadata)));
        }
        Ok(Self { dialect, action, values, options: crate::cli::Options::default(), unknown })
    }
}

fn heartbeat_knows(action: &str, positionals: usize, metadata: &Metadata) -> bool {
    let enough = (metadata.positional_required..=metadata.positional.len()).contains(&positionals);
    enough && (action == "status" || metadata.action(action).is_some_and(|found| !found.by_hand))
}

/// How Heartbeat calls the agent.
pub fn usage(metadata: &Metadata) -> String {
    let mut text = format!("usage: {}", metadata.name);
    for (index, name) in metadata.positional.iter().enumerate() {
        let open = if index >= metadata.positional_required { " [" } else { " " };
        text.push_str(open);
        text.push_str(name);
    }
    for _ in metadata.positional_required..metadata.positional.len() {
        text.push(']');
    }
    text.push_str(" start|stop|status|monitor");
    text
}

/// What stands behind the dash in the name of a link called NAME-instance.
fn link_name<'a>(caller: &'a Caller, metadata: &Metadata) -> Option<&'a OsStr> {
    let rest = caller.file_name().as_bytes().strip_prefix(metadata.name.as_bytes())?.strip_prefix(b"-")?;
    (!rest.is_empty()).then(|| OsStr::from_bytes(rest))
}

/// The values in /etc/default/NAME-instance for a link called NAME-instance. The file is parsed and never sourced.
fn defaults_file(caller: &Caller, metadata: &Metadata, host: &Host) -> Result<Vec<(String, OsString)>> {
    if link_name(caller, metadata).is_none() {
        return Ok(Vec::new());
    }
    let path = Path::new("/etc/default").join(caller.file_name());
    match host.read(&path) {
        Ok(text) => Ok(parse_assignments(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::generic(format_args!("{} cannot be read: {error}", path.display()))),
    }
}

/// `KEY=VALUE` lines as environment files have them: `export`, quotes, backslashes and comments are understood,
/// expansions are not made.
fn parse_assignments(text: &[u8]) -> Vec<(String, OsString)> {
    let pairs = text.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii_start();
        let line = line.strip_prefix(b"export ").map_or(line, <[u8]>::trim_ascii_start);
        let equals = line.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (std::str::from_utf8(line.get(..equals)?).ok()?, line.get(equals + 1..)?);
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| (name.to_string(), OsStr::from_bytes(&unquote(value)).to_os_string()))
    });
    pairs.collect()
}

/// The first word of a shell-like value, without its quotes.
fn unquote(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut quote = None;
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b' ' | b'\t' | b'\r') => break,
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'\\') => out.extend(bytes.next()),
            (Some(b'"'), b'\\') => match bytes.next() {
                Some(escaped @ (b'"' | b'\\' | b'$' | b'`')) => out.push(escaped),
                other => {
                    out.push(byte);
                    out.extend(other);
                }
            },
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Parameter};

    const TABLE: Metadata = Metadata {
        name: "Sample",
        also_called: &[],
        short: "",
        long: "",
        parameters: &[
            Parameter::string("device"),
            Parameter::string("directory"),
            Parameter::string("options").from_link_name(),
        ],
        actions: &[Action::new("start", 60), Action::new("stop", 60), Action::new("monitor", 20)],
        positional: &["device", "directory", "options"],
        positional_required: 2,
    };

    fn caller(path: &str, args: &[&str], env: &[(&str, &str)]) -> Caller {
        Caller {
            path: path.into(),
            args: args.iter().map(OsString::from).collect(),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    fn how(path: &str, args: &[&str], env: &[(&str, &str)]) -> Dialect {
        dialect(&caller(path, args, env), &TABLE)
    }

    #[test]
    fn the_executed_path_decides_first() {
        let ocf = [("OCF_ROOT", "/usr/lib/ocf")];
        assert_eq!(
            how("/etc/ha.d/resource.d/Sample", &["/dev/x", "/mnt", "start"], &ocf),
            Dialect::Heartbeat
        );
        assert_eq!(how("/etc/init.d/Sample-a", &["start"], &ocf), Dialect::Lsb);
        assert_eq!(how("/usr/lib/ocf/resource.d/holdfast/Sample", &["start"], &[]), Dialect::Ocf);
    }

    #[test]
    fn every_caller_s_environment_is_recognised() {
        for env in [
            [("OCF_RA_VERSION_MAJOR", "1")],
            [("OCF_ROOT", "/usr/lib/ocf")],
            [("OCF_RESOURCE_INSTANCE", "fs")],
            [("OCF_RESKEY_device", "/dev/sda1")],
        ] {
            assert_eq!(how("./Sample", &["monitor"], &env), Dialect::Ocf, "{env:?}");
        }
    }

    #[test]
    fn variables_that_leak_into_other_dialects_are_no_evidence() {
        let leaked = [
            ("OCF_AGENTS", "/usr/lib/ocf/resource.d/heartbeat/"),
            ("OCF_OUTPUT_FORMAT", "text"),
            ("OCF_TRACE_FILE", "/dev/stderr"),
            ("OCF_CHECK_LEVEL", "10"),
            ("OCF_RESKEY_CRM_meta_timeout", "20000"),
            ("OCF_RESKEY_crm_feature_set", "3.16.1"),
            ("OCF_ROOT", ""),
        ];
        assert_eq!(how("/opt/Sample", &["status"], &leaked), Dialect::Lsb);
        assert_eq!(how("/opt/Sample", &["/dev/x", "/mnt", "status"], &leaked), Dialect::Heartbeat);
    }

    #[test]
    fn options_are_for_people_and_a_dashed_device_is_not_an_option() {
        assert_eq!(how("./Sample", &["--device", "/dev/x", "start"], &[]), Dialect::ByHand);
        assert_eq!(how("./Sample", &["--help"], &[]), Dialect::ByHand);
        assert_eq!(how("./Sample", &["/dev/x", "/mnt", "--dry-run", "start"], &[]), Dialect::ByHand);
        assert_eq!(how("./Sample", &["status", "--device", "/dev/x"], &[]), Dialect::ByHand);
        for path in ["/etc/ha.d/resource.d/Sample", "/etc/init.d/Sample-a", "./Sample"] {
            assert_eq!(how(path, &["/dev/x", "/mnt", "status", "--verbose"], &[]), Dialect::ByHand, "{path}");
            assert_eq!(how(path, &["monitor", "--format", "json"], &[]), Dialect::ByHand, "{path}");
        }
        assert_eq!(
            how("/etc/ha.d/resource.d/Sample", &["--verbose", "/mnt", "start"], &[]),
            Dialect::Heartbeat,
            "Heartbeat's words are values, whatever they look like"
        );
        assert_eq!(how("./Sample", &["--uuid=17", "/mnt", "start"], &[]), Dialect::Heartbeat);
        assert_eq!(how("./Sample", &["-Uabc", "/mnt", "start"], &[]), Dialect::Heartbeat);
    }

    #[test]
    fn heartbeat_positions_become_parameters() {
        let caller = caller("/etc/ha.d/resource.d/Sample", &["/dev/x", "/mnt", "start"], &[]);
        let call = Invocation::read(&caller, Dialect::Heartbeat, &TABLE, &Host::real()).unwrap();
        let given: Vec<_> = call.values.iter().map(|given| given.value.clone()).collect();
        assert_eq!(given, [Some("/dev/x".into()), Some("/mnt".into()), None]);
        assert_eq!(call.action, "start");
    }

    #[test]
    fn the_name_of_an_init_script_s_link_gives_a_value_that_nobody_else_gives() {
        let options = |path: &str, env: &[(&str, &str)]| {
            let caller = caller(path, &["start"], env);
            let call = Invocation::read(&caller, Dialect::Lsb, &TABLE, &Host::real()).unwrap();
            call.values.iter().last().unwrap().value.clone()
        };
        assert_eq!(options("/etc/init.d/Sample-a-b", &[]), Some("a-b".into()));
        assert_eq!(options("/etc/init.d/Sample-a", &[("OCF_RESKEY_options", "ro")]), Some("ro".into()));
        for path in ["/etc/init.d/Sample", "/etc/init.d/Sample-", "/etc/init.d/Samples"] {
            assert_eq!(options(path, &[]), None, "{path}");
        }
    }

    #[test]
    fn too_few_or_too_many_positions_are_usage_with_code_1() {
        for args in [
            &[][..],
            &["/dev/x", "start"],
            &["/dev/x", "/mnt", "ro", "more", "start"],
            &["/dev/x", "/mnt", "go"],
        ] {
            let caller = caller("/etc/ha.d/resource.d/Sample", args, &[]);
            let error = Invocation::read(&caller, Dialect::Heartbeat, &TABLE, &Host::real()).unwrap_err();
            assert_eq!(error.code(), crate::ExitCode::Generic);
            assert_eq!(error.reason(), "usage: Sample device directory [options] start|stop|status|monitor");
        }
    }

    #[test]
    fn an_ocf_call_has_exactly_one_argument() {
        for args in [&[][..], &["start", "now"]] {
            let caller = caller("./Sample", args, &[("OCF_ROOT", "/usr/lib/ocf")]);
            let error = Invocation::read(&caller, Dialect::Ocf, &TABLE, &Host::real()).unwrap_err();
            assert_eq!(error.code(), crate::ExitCode::Args);
        }
    }

    #[test]
    fn an_environment_file_is_parsed_and_never_expanded() {
        let text = b"# comment\nexport device=/dev/sda1 # the disk\nOCF_RESKEY_directory=\"/mnt/a b\"\n\
                     options='$(touch /tmp/x)`id`'\nlabel=a\\ b\nbroken line\nhome=\"$HOME\\\"\"\n";
        let pairs = parse_assignments(text);
        let expected = [
            ("device", "/dev/sda1"),
            ("OCF_RESKEY_directory", "/mnt/a b"),
            ("options", "$(touch /tmp/x)`id`"),
            ("label", "a b"),
            ("home", "$HOME\""),
        ];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_string(), OsString::from(value))));
    }
}
