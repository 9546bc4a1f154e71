//! The face for people: options made from the table, reached only when somebody types them.

use crate::invocation::{Caller, Invocation};
use crate::page::{self, OPTIONS};
use crate::{Dialect, Host, Metadata};
use clap::builder::{OsStringValueParser, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::ffi::OsString;
use std::time::Duration;

/// What a person asks for beside the parameters.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Say what would be changed and change nothing.
    pub dry_run: bool,
    /// Say what is read and why the answer is what it is.
    pub verbose: bool,
    /// One JSON object instead of words.
    pub json: bool,
    /// Check level of monitor and validate-all.
    pub check_level: Option<u32>,
    /// How long the action may take.
    pub timeout: Option<Duration>,
    /// The resource's name.
    pub instance: Option<String>,
}

/// What is to be printed instead of an action, with the exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) text: String,
    pub(crate) code: u8,
}

impl From<clap::Error> for Printed {
    fn from(error: clap::Error) -> Self {
        Self { text: error.render().to_string(), code: crate::ExitCode::Args.number() }
    }
}

/// Whether `name` is a long option that is not a parameter.
pub(crate) fn is_option(name: &str) -> bool {
    OPTIONS.iter().any(|(option, _, _)| *option == name)
}

/// Reads a call by hand.
pub(crate) fn read(metadata: &Metadata, host: &Host, caller: &Caller) -> Result<Invocation, Printed> {
    let argv = std::iter::once(OsString::from(metadata.name)).chain(caller.args.iter().cloned());
    let mut command = command(metadata);
    let matches = command.try_get_matches_from_mut(argv)?;
    if matches.get_flag("help") {
        return Err(Printed { text: page::text(&page::page(metadata, host)), code: 0 });
    }
    if matches.get_flag("short-help") {
        return Err(Printed { text: short_help(metadata), code: 0 });
    }
    if matches.get_flag("version") {
        return Err(Printed { text: format!("{} {}\n", metadata.name, env!("CARGO_PKG_VERSION")), code: 0 });
    }
    let mut words: Vec<&OsString> = matches.get_many("ACTION").into_iter().flatten().collect();
    let Some(action) = words.pop().map(|word| word.to_string_lossy().into_owned()) else {
        let text = format!("an action is missing: {}\n", page::actions(metadata).join(", "));
        return Err(command.error(ErrorKind::MissingRequiredArgument, text).into());
    };
    if words.len() > metadata.positional.len() {
        let text = format!("{} values before the action are too many\n", words.len());
        return Err(command.error(ErrorKind::TooManyValues, text).into());
    }
    let options = Options {
        dry_run: matches.get_flag("dry-run"),
        verbose: matches.get_flag("verbose"),
        json: matches.get_one::<String>("format").is_some_and(|format| format == "json"),
        check_level: number(&matches, "check-level"),
        timeout: number(&matches, "timeout").map(|seconds| Duration::from_secs(u64::from(seconds))),
        instance: matches.get_one::<String>("instance").cloned(),
    };
    if options.json && !matches!(action.as_str(), "status" | "monitor" | "validate-all" | "meta-data") {
        let text = "--format json is for status, monitor, validate-all and meta-data\n";
        return Err(command.error(ErrorKind::ArgumentConflict, text).into());
    }
    let (mut values, unknown) = caller
        .values(metadata, host)
        .map_err(|error| Printed { text: format!("ERROR: {error}\n"), code: error.code().number() })?;
    for (name, value) in metadata.positional.iter().zip(words) {
        values.set(name, value);
    }
    for row in metadata.parameters {
        if let Some(value) = matches.get_one::<OsString>(row.name) {
            values.set(row.name, value);
        }
    }
    Ok(Invocation { dialect: Dialect::ByHand, action, values, options, unknown })
}

fn number(matches: &ArgMatches, name: &str) -> Option<u32> {
    matches.get_one::<u32>(name).copied()
}

/// The options as clap knows them; the completions are made from this, too.
pub fn command(metadata: &Metadata) -> Command {
    let parameters = metadata.parameters.iter().map(|row| {
        Arg::new(row.name)
            .long(row.name)
            // Once in the life of the process, so the leak costs nothing.
            .alias(&*row.name.replace('_', "-").leak())
            .aliases(row.aliases.iter().copied())
            .value_name("VALUE")
            .value_parser(OsStringValueParser::new())
            .allow_hyphen_values(true)
            .help(row.short)
    });
    let options = OPTIONS.map(|(name, value, text)| {
        let option = Arg::new(name).long(name).help(text);
        match name {
            "check-level" => option.value_name(value).value_parser(value_parser!(u32)),
            "timeout" => option.value_name(value).value_parser(value_parser!(u32).range(1..)),
            "format" => option.value_name(value).value_parser(PossibleValuesParser::new(["text", "json"])),
            "instance" => option.value_name(value),
            _ => option.action(ArgAction::SetTrue),
        }
    });
    Command::new(metadata.name)
        .about(metadata.short)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(parameters)
        .args(options)
        .arg(Arg::new("short-help").short('h').action(ArgAction::SetTrue).help("Show the options in short"))
        .arg(
            Arg::new("ACTION")
                .num_args(1..)
                .value_parser(OsStringValueParser::new())
                .help("The action; before it, values in the order of Heartbeat's arguments"),
        )
}

fn short_help(metadata: &Metadata) -> String {
    let mut text = format!("{} {}: {}\n\n", metadata.name, env!("CARGO_PKG_VERSION"), metadata.short);
    let lines = metadata.parameters.iter().map(|row| (row.name, "VALUE", row.short));
    text.push_str("Parameters:\n");
    let line = |(name, value, help): (&str, &str, &str)| {
        let option = format!("--{name} {value}");
        format!("  {option:<26} {help}\n")
    };
    text.extend(lines.map(line));
    text.push_str("\nOptions:\n");
    text.extend(OPTIONS.map(line));
    text.push_str(&format!("\nActions: {}\n", page::actions(metadata).join(", ")));
    text
}
