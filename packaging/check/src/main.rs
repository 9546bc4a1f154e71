//! holdfast-check: reads haresources files and resource configurations, and the files of the machine that they lean on,
//! and names the mistakes that let a cluster start in the wrong order, twice, or not at all. It changes nothing.

mod cib;
mod drbd_conf;
mod haresources;
mod machine;
mod model;
mod rules;
mod shell;
mod words;

use machine::Machine;
use model::{Configuration, Finding, Severity};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: holdfast-check [--root DIR] [FILE...]

Checks haresources files, CIBs in XML, and the commands of crm or pcs that make a configuration. Without a FILE:
/etc/ha.d/haresources and /var/lib/pacemaker/cib/cib.xml, where they are. What a configuration leans on (scripts, DRBD
resources, guests) is read below DIR, which is / unless named.

Exit status: 0 nothing wrong (warnings may be printed), 1 mistakes found, 2 something could not be read.
";

fn main() -> ExitCode {
    let mut root = PathBuf::from("/");
    let mut files = Vec::new();
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--root") => match args.next() {
                Some(dir) => root = dir.into(),
                None => return usage(),
            },
            Some("--help" | "-h") => {
                say(USAGE);
                return ExitCode::SUCCESS;
            }
            Some(option) if option.starts_with('-') => return usage(),
            _ => files.push(arg),
        }
    }
    let files =
        if files.is_empty() { usual_files(&root) } else { files.into_iter().map(PathBuf::from).collect() };
    match findings(&root, &files) {
        Ok(findings) => {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
            for finding in &findings {
                say(&format!("{finding}\n"));
            }
            say(&format!(
                "{} checked, {errors} mistakes, {} warnings\n",
                shown(&files),
                findings.len() - errors
            ));
            ExitCode::from(u8::from(errors > 0))
        }
        Err(why) => {
            complain(&why);
            ExitCode::from(2)
        }
    }
}

fn usual_files(root: &Path) -> Vec<PathBuf> {
    ["etc/ha.d/haresources", "var/lib/pacemaker/cib/cib.xml"]
        .iter()
        .map(|file| root.join(file))
        .filter(|file| file.exists())
        .collect()
}

fn shown(files: &[PathBuf]) -> String {
    match files {
        [] => "no configuration, only the machine,".into(),
        _ => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

fn findings(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>, String> {
    let machine = Machine::read(root);
    let mut found = rules::machine(&machine);
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))?;
        let mut configuration = read(file, &text, &machine)?;
        found.append(&mut configuration.findings);
        found.extend(rules::configuration(&configuration, &machine));
    }
    found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    found.dedup();
    Ok(found)
}

/// What kind of file it is shows in what stands in it.
fn read(file: &Path, text: &str, machine: &Machine) -> Result<Configuration, String> {
    if text.trim_start().starts_with('<') {
        cib::read(file, text).map_err(|why| format!("{}: {why}", file.display()))
    } else if shell::is_of_crm_or_pcs(text) {
        Ok(shell::read(file, text))
    } else {
        Ok(haresources::read(file, text, machine))
    }
}

fn usage() -> ExitCode {
    complain(USAGE.trim_end());
    ExitCode::from(2)
}

fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
