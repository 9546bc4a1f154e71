//! The parsers over every answer that was recorded of a real Xen 4.17.

use super::config::{self, Syntax};
use super::list::{self, Reason, Run};
use super::migration::{Claim, claim};
use super::{disk, tables};
use std::path::PathBuf;

/// One recorded call: the command, what it printed and its exit code.
struct Recorded {
    file: String,
    command: String,
    stdout: String,
    stderr: String,
    code: i32,
}

fn recorded() -> Vec<Recorded> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xen");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 31);
    let mut found = Vec::new();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut blocks: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with("$ ") {
                blocks.push(String::new());
            }
            let block = blocks.last_mut().unwrap();
            block.push_str(line);
            block.push('\n');
        }
        for block in blocks {
            let (command, rest) = block.split_once('\n').unwrap();
            let (body, code) = rest.rsplit_once("--- exit=").unwrap();
            let (stdout, stderr) = body.split_once("--- stderr\n").unwrap_or((body, ""));
            found.push(Recorded {
                file: file.clone(),
                command: command.trim_start_matches("$ ").to_string(),
                stdout: stdout.to_string(),
                stderr: stderr.to_string(),
                code: code.trim().parse().unwrap(),
            });
        }
    }
    found
}

/// The lists of domains in what was printed: some were printed by several commands at once.
fn lists(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let header = line.starts_with("Name ") && line.contains("State\tTime");
        // DRBD's lines end with letters that look like a state; other programs' with a time.
        let state = line.split_whitespace().any(|word| list::state(word).is_some());
        let time = line.rsplit(' ').next().is_some_and(|word| word.parse::<f64>().is_ok());
        let uuid = line.split_whitespace().any(|word| word.len() == 36);
        let row = inside && state && (time || uuid);
        if header {
            found.push(String::new());
        }
        inside = header || row;
        if inside {
            let list = found.last_mut().unwrap();
            list.push_str(line);
            list.push('\n');
        }
    }
    found
}

#[test]
fn every_recorded_list_of_domains_is_understood() {
    let (mut count, mut runs) = (0, Vec::new());
    for call in recorded() {
        for text in lists(&call.stdout) {
            let domains =
                list::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{}: {why}\n{text}", call.file));
            assert_eq!(domains.len(), text.lines().count() - 1, "{}", call.file);
            for domain in domains {
                assert!(domain.name.is_some() && domain.vcpus == 1 && domain.memory_mb > 0, "{domain:?}");
                if domain.id > 0 {
                    runs.push(domain.run);
                }
            }
            count += 1;
        }
    }
    assert!(count >= 50, "{count}");
    for run in [Run::Live, Run::Paused, Run::ShutDown(Reason::Crash)] {
        assert!(runs.contains(&run), "{run:?} was recorded");
    }
}

/// What is no list is none: usage, refusals, another tool's table, a tool that was killed.
#[test]
fn no_other_recorded_answer_is_a_list_of_domains() {
    for call in recorded() {
        if lists(&call.stdout).is_empty() {
            assert!(list::parse(call.stdout.as_bytes()).is_err(), "{}: {}", call.file, call.command);
            assert!(list::parse(call.stderr.as_bytes()).is_err(), "{}: {}", call.file, call.command);
        }
    }
}

#[test]
fn every_recorded_list_of_disks_is_understood() {
    let mut states = Vec::new();
    for call in recorded() {
        let lines: Vec<&str> = call.stdout.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("Vdev ")) {
            let rows: Vec<&str> =
                lines[at + 1..].iter().take_while(|line| line.contains("/backend/")).copied().collect();
            let text = format!("{line}\n{}\n", rows.join("\n"));
            let found =
                tables::block_list(text.as_bytes()).unwrap_or_else(|why| panic!("{}: {why}", call.file));
            assert_eq!(found.len(), rows.len(), "{}", call.file);
            states.extend(found.iter().map(|disk| disk.state));
        }
    }
    states.sort_unstable();
    states.dedup();
    // Connected; a disk that could not be opened, at the start and after a migration.
    assert_eq!(states, [1, 4, 6]);
}

#[test]
fn the_end_of_every_recorded_migration_is_understood() {
    let mut ends = Vec::new();
    for call in recorded() {
        if !call.command.contains("xl migrate ") || call.command.starts_with("printf") {
            continue;
        }
        let end = claim(Some(call.code), call.stderr.as_bytes());
        let says_so = call.stderr.contains("Migration successful.");
        // Behind the call, the list was printed, so the exit code of some lines is that of the whole line.
        assert_eq!(
            end,
            if says_so { Claim::Moved } else { Claim::StayedHere },
            "{}: {}",
            call.file,
            call.stderr
        );
        ends.push(end);
    }
    assert!(ends.iter().filter(|end| **end == Claim::Moved).count() >= 5, "{ends:?}");
    assert!(ends.iter().filter(|end| **end == Claim::StayedHere).count() >= 8, "{ends:?}");
}

#[test]
fn every_recorded_configuration_and_its_disks_are_understood() {
    let mut count = 0;
    for call in recorded().iter().filter(|call| call.command.starts_with("cat /etc/xen/")) {
        let found = config::parse(call.stdout.as_bytes(), Syntax::Xl).unwrap();
        assert_eq!(found.name.as_deref(), Some("pvh1"));
        assert_eq!(found.disks.len(), 1);
        let source = disk::parse(&found.disks[0]).unwrap().source;
        assert_eq!(source, disk::Source::Device("/dev/drbd0".into()));
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn the_recorded_machine_has_its_memory() {
    let calls = recorded();
    let info = calls.iter().find(|call| call.command == "xl info").unwrap();
    assert_eq!(tables::info(info.stdout.as_bytes(), "total_memory"), Some("1535"));
    assert!(tables::info(info.stdout.as_bytes(), "xen_commandline").unwrap().contains("dom0_mem="));
    assert_eq!(tables::info(info.stdout.as_bytes(), "nosuch"), None);
}
