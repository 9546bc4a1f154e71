//! The face for people: options made from the table, reached only when somebody types them.

use crate::params::Values;
use crate::{Dialect, Host, Invocation, Metadata};
use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::time::Duration;

/// Long options that are not parameters.
pub(crate) const OPTIONS: [&str; 6] = ["help", "version", "dry-run", "check-level", "timeout", "instance"];

/// What a person asks for beside the parameters.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Say what would be changed and change nothing.
    pub dry_run: bool,
    /// Check level of monitor and validate-all.
    pub check_level: Option<u32>,
    /// How long the action may take.
    pub timeout: Option<Duration>,
    /// The resource's name.
    pub instance: Option<String>,
}

/// Reads a call by hand. The error is what to print, with the exit code.
pub(crate) fn read(metadata: &Metadata, host: &Host, args: &[OsString]) -> Result<Invocation, clap::Error> {
    let argv = std::iter::once(OsString::from(metadata.name)).chain(args.iter().cloned());
    let matches = command(metadata, host).try_get_matches_from(argv)?;
    let mut values = Values::new(metadata.parameters);
    for row in metadata.parameters {
        if let Some(value) = matches.get_one::<OsString>(row.name) {
            values.set(row.name, value);
        }
    }
    let options = Options {
        dry_run: matches.get_flag("dry-run"),
        check_level: number(&matches, "check-level"),
        timeout: number(&matches, "timeout").map(|seconds| Duration::from_secs(u64::from(seconds))),
        instance: matches.get_one::<String>("instance").cloned(),
    };
    let action = matches.get_one::<String>("ACTION").cloned().unwrap_or_default();
    Ok(Invocation { dialect: Dialect::ByHand, action, values, options, unknown: Vec::new() })
}

fn number(matches: &ArgMatches, name: &str) -> Option<u32> {
    matches.get_one::<u32>(name).copied()
}

fn command(metadata: &Metadata, host: &Host) -> Command {
    let names: Vec<&str> = metadata.actions.iter().map(|action| action.name).collect();
    let mut unique: Vec<&str> = vec!["status"];
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    let parameters = metadata.parameters.iter().map(|row| {
        let mut long = row.long.to_string();
        if let Some(default) = row.default_on(host).filter(|default| !default.is_empty()) {
            long.push_str(&format!("\n\nDefault: {default}"));
        }
        Arg::new(row.name)
            .long(row.name)
            // Once in the life of the process, so the leak costs nothing.
            .alias(&*row.name.replace('_', "-").leak())
            .aliases(row.aliases.iter().copied())
            .value_name("VALUE")
            .value_parser(OsStringValueParser::new())
            .allow_hyphen_values(true)
            .help(row.short)
            .long_help(long)
            .help_heading("Parameters")
    });
    Command::new(metadata.name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(metadata.short)
        .long_about(metadata.long)
        .args(parameters)
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Say what would be changed, and change nothing"),
        )
        .arg(
            Arg::new("check-level")
                .long("check-level")
                .value_name("N")
                .value_parser(value_parser!(u32))
                .help("How deep monitor looks, as OCF_CHECK_LEVEL"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u32).range(1..))
                .help("How long the action may take"),
        )
        .arg(Arg::new("instance").long("instance").value_name("NAME").help("Name of the resource"))
        .arg(Arg::new("ACTION").required(true).help(unique.join(", ")))
}
