//! holdfast-pages: a tool of the build, not installed.
//!
//! `holdfast-pages pages DIR AGENT...` asks each built agent for its table (`--format json meta-data`) and writes below
//! DIR man/ocf_holdfast_NAME.7, the completions, and `aliases` with a line for each other name of an agent.
//! `holdfast-pages differences METADATA.xml...` prints the table of all deliberate differences.

mod differences;
mod roff;
mod table;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["pages", dir, agents @ ..] if !agents.is_empty() => pages(Path::new(dir), agents),
        ["differences", files @ ..] if !files.is_empty() => {
            let texts: Result<Vec<String>, io::Error> = files.iter().map(fs::read_to_string).collect();
            texts
                .map_err(|why| why.to_string())
                .and_then(|texts| differences::page(&texts))
                .map(|page| say(&page))
        }
        _ => Err("usage: holdfast-pages pages DIR AGENT... | differences METADATA.xml...".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "holdfast-pages: {why}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn pages(dir: &Path, agents: &[&str]) -> Result<(), String> {
    let mut aliases = String::new();
    for agent in agents {
        let (metadata, others) = table::of(Path::new(agent))?;
        let name = metadata.name;
        for alias in metadata.also_called.iter().filter(|alias| **alias != name) {
            aliases.push_str(&format!("{alias} {name}\n"));
        }
        for other in others {
            // Under that name the agent has another table.
            let link = dir.join("bin").join(&other);
            fs::create_dir_all(dir.join("bin")).map_err(|why| format!("{}: {why}", dir.display()))?;
            let agent = fs::canonicalize(agent).map_err(|why| format!("{agent}: {why}"))?;
            std::os::unix::fs::symlink(agent, &link).map_err(|why| format!("{}: {why}", link.display()))?;
            one(dir, &table::of(&link)?.0)?;
            aliases.push_str(&format!("{other} {name}\n"));
        }
        one(dir, &metadata)?;
    }
    write(dir, "aliases", &aliases)
}

fn one(dir: &Path, metadata: &ocf::Metadata) -> Result<(), String> {
    let name = metadata.name;
    write(dir, &format!("man/ocf_holdfast_{name}.7"), &roff::page(metadata))?;
    for (shell, file) in [
        (clap_complete::Shell::Bash, format!("bash/{name}")),
        (clap_complete::Shell::Zsh, format!("zsh/_{name}")),
        (clap_complete::Shell::Fish, format!("fish/{name}.fish")),
    ] {
        let mut command = table::command(metadata);
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut text);
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if shell == clap_complete::Shell::Fish {
            // The generator leaves out what follows the options.
            let actions = ocf::page::actions(metadata).join(" ");
            text.push_str(&format!("complete -c {name} -a \"{actions}\" -d 'Action'\n"));
        }
        write(dir, &file, &text)?;
    }
    Ok(())
}

fn write(dir: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = dir.join(file);
    let parent = path.parent().unwrap_or(dir);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&path, text))
        .map_err(|why| format!("{}: {why}", path.display()))
}
