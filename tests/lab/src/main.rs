//! The lab's command line.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use lab::images::Images;
use lab::qemu::Kind;
use lab::scenarios::{ALL, Scenario};
use lab::{Result, failed, hands, owned};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = owned::end_with_a_signal().and_then(|()| match matches.subcommand() {
        Some(("images", _)) => images(),
        Some(("list", _)) => {
            for scenario in ALL {
                println!("{:<24} {}", scenario.name, scenario.about);
            }
            Ok(0)
        }
        Some(("run", options)) => run(options),
        Some(("boot", options)) => hands::boot(number(options), kind(options)).map(|()| 0),
        Some(("hold", options)) => hands::hold(number(options), kind(options)).map(|()| 0),
        Some(("shell", options)) => {
            let words: Vec<String> = options.get_many("command").unwrap_or_default().cloned().collect();
            hands::shell(number(options), &words)
        }
        Some(("down", _)) => hands::down().map(|()| 0),
        _ => Ok(2),
    });
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let count = |default: &'static str| {
        Arg::new("number").value_name("N").default_value(default).value_parser(value_parser!(usize))
    };
    let xen = || Arg::new("xen").long("xen").action(ArgAction::SetTrue).help("On Xen");
    Command::new("lab")
        .about("Real clusters in virtual machines, and the scenarios that run on them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("images").about("Makes what the nodes boot from, unless it is there"))
        .subcommand(Command::new("list").about("Lists the scenarios"))
        .subcommand(
            Command::new("run")
                .about("Runs scenarios")
                .arg(Arg::new("name").value_name("NAME").num_args(0..).help("Which; see lab list"))
                .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("All of them"))
                .arg(
                    Arg::new("reports")
                        .long("reports")
                        .value_name("DIRECTORY")
                        .default_value("target/lab")
                        .value_parser(value_parser!(PathBuf))
                        .help("Where the logs of a failed scenario go"),
                ),
        )
        .subcommand(
            Command::new("boot").about("Boots N nodes and leaves them running").arg(count("2")).arg(xen()),
        )
        .subcommand(Command::new("hold").hide(true).arg(count("2")).arg(xen()))
        .subcommand(
            Command::new("shell")
                .about("A shell in node N, or one command in it")
                .arg(count("1"))
                .arg(Arg::new("command").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
        .subcommand(Command::new("down").about("Switches off what boot left running"))
}

fn number(options: &ArgMatches) -> usize {
    options.get_one("number").copied().unwrap_or(1)
}

fn kind(options: &ArgMatches) -> Kind {
    if options.get_flag("xen") { Kind::Xen } else { Kind::Plain }
}

fn images() -> Result<i32> {
    let begin = Instant::now();
    if Images::are_cached() {
        println!("images: cached");
    } else {
        println!("images: from Debian packages");
    }
    Images::ready()?;
    println!("  {:>6.1} s  images are ready", begin.elapsed().as_secs_f64());
    Ok(0)
}

fn run(options: &ArgMatches) -> Result<i32> {
    let names: Vec<&String> = options.get_many("name").unwrap_or_default().collect();
    let chosen: Vec<&Scenario> = if options.get_flag("all") {
        ALL.iter().collect()
    } else {
        names
            .iter()
            .map(|name| {
                let found = ALL.iter().find(|scenario| scenario.name == **name);
                found.ok_or_else(|| failed(format!("there is no scenario {name}; lab list")))
            })
            .collect::<Result<_>>()?
    };
    if chosen.is_empty() {
        return Err(failed("which scenario? lab list"));
    }
    images()?;
    let reports = options.get_one::<PathBuf>("reports").cloned().unwrap_or_default();
    let begin = Instant::now();
    let mut lines = Vec::new();
    let mut bad = 0;
    for scenario in &chosen {
        let begin = Instant::now();
        let result = scenario.run(&reports);
        let word = if result.is_ok() { "passed" } else { "FAILED" };
        bad += i32::from(result.is_err());
        lines.push(format!("  {:>6.1} s  {word}  {}", begin.elapsed().as_secs_f64(), scenario.name));
    }
    let good = chosen.len() - usize::try_from(bad).unwrap_or_default();
    println!(
        "\n{}\n  {:>6.1} s  {good} passed, {bad} failed",
        lines.join("\n"),
        begin.elapsed().as_secs_f64()
    );
    Ok(i32::from(bad > 0))
}
