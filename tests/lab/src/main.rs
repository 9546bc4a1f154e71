//! The lab's command line.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use lab::images::Images;
use lab::qemu::Kind;
use lab::scenarios::{ALL, Scenario};
use lab::{Result, failed, hands, owned};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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
        Some(("story", options)) => story(options),
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
    let reports = || {
        Arg::new("reports")
            .long("reports")
            .value_name("DIRECTORY")
            .default_value("target/lab")
            .value_parser(value_parser!(PathBuf))
            .help("Where the logs of a failed scenario go")
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
                .arg(reports())
                .arg(
                    Arg::new("jobs")
                        .long("jobs")
                        .value_name("N")
                        .default_value("1")
                        .value_parser(value_parser!(u8).range(1..))
                        .help("How many at a time"),
                ),
        )
        .subcommand(Command::new("story").hide(true).arg(Arg::new("name").required(true)).arg(reports()))
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

fn find(name: &str) -> Result<&'static Scenario> {
    let found = ALL.iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| failed(format!("there is no scenario {name}; lab list")))
}

fn reports(options: &ArgMatches) -> PathBuf {
    options.get_one::<PathBuf>("reports").cloned().unwrap_or_default()
}

/// How a scenario went, and how long it took.
type Outcome = (&'static Scenario, bool, Duration);

fn run(options: &ArgMatches) -> Result<i32> {
    let names: Vec<&String> = options.get_many("name").unwrap_or_default().collect();
    let chosen: Vec<&Scenario> = if options.get_flag("all") {
        ALL.iter().collect()
    } else {
        names.iter().map(|name| find(name)).collect::<Result<_>>()?
    };
    if chosen.is_empty() {
        return Err(failed("which scenario? lab list"));
    }
    images()?;
    let begin = Instant::now();
    let outcomes = match options.get_one("jobs").copied().unwrap_or(1) {
        1 => one_by_one(&chosen, &reports(options)),
        jobs => at_a_time(jobs, &chosen, &reports(options))?,
    };
    println!();
    for (scenario, good, took) in &outcomes {
        let word = if *good { "passed" } else { "FAILED" };
        println!("  {:>6.1} s  {word}  {}", took.as_secs_f64(), scenario.name);
    }
    let good = outcomes.iter().filter(|(_, good, _)| *good).count();
    let bad = chosen.len() - good;
    println!("  {:>6.1} s  {good} passed, {bad} failed", begin.elapsed().as_secs_f64());
    Ok(i32::from(bad > 0))
}

fn one_by_one(chosen: &[&'static Scenario], reports: &Path) -> Vec<Outcome> {
    let one = |scenario: &&'static Scenario| {
        let begin = Instant::now();
        (*scenario, scenario.run(reports).is_ok(), begin.elapsed())
    };
    chosen.iter().map(one).collect()
}

/// Each in a process of its own; those at the end of the list, which take longest, first. Each line begins with a name.
fn at_a_time(jobs: u8, chosen: &[&'static Scenario], reports: &Path) -> Result<Vec<Outcome>> {
    let program = std::env::current_exe()?.display().to_string();
    let (queue, outcomes) = (Mutex::new(chosen.to_vec()), Mutex::new(Vec::new()));
    let width = chosen.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    let one = |scenario: &Scenario| -> Result<bool> {
        let mut command = owned::command(&program);
        command.args(["story", scenario.name, "--reports"]).arg(reports).stdout(Stdio::piped());
        let mut child = owned::spawn(command)?;
        let output = child.stdout().ok_or_else(|| failed("no output"))?;
        for line in BufReader::new(output).lines() {
            println!("{:width$} {}", scenario.name, line?);
        }
        Ok(child.wait()?.success())
    };
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(scenario) = next() {
                    let begin = Instant::now();
                    let good = one(scenario).unwrap_or_else(|error| {
                        println!("{:width$} {error}", scenario.name);
                        false
                    });
                    let outcome = (scenario, good, begin.elapsed());
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn story(options: &ArgMatches) -> Result<i32> {
    let name: &String = options.get_one("name").ok_or_else(|| failed("which scenario?"))?;
    Ok(i32::from(find(name)?.run(&reports(options)).is_err()))
}
