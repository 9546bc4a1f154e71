//! haresources of Heartbeat: a line is a node and its resources, in the order in which they start.

use crate::machine::Machine;
use crate::model::{Configuration, Layer, Resource};
use crate::words::logical_lines;
use std::path::Path;

/// Reads the file, and says what is wrong with its form.
pub fn read(file: &Path, text: &str, machine: &Machine) -> Configuration {
    let mut configuration = Configuration::new(file, true);
    let mut firsts: Vec<(String, usize)> = Vec::new();
    for (number, (line, text)) in logical_lines(text).iter().enumerate() {
        let mut words = text.split_whitespace();
        let node = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        if !machine.nodes.is_empty() && !machine.nodes.iter().any(|known| known == node) {
            let known = machine.nodes.join(", ");
            let text = format!("{node} is no node of ha.cf ({known})");
            configuration.findings.push(configuration.error(*line, text));
        }
        let Some(first) = words.first() else {
            let text = "a node without a resource".to_string();
            configuration.findings.push(configuration.error(*line, text));
            continue;
        };
        if let Some((_, other)) = firsts.iter().find(|(word, _)| word == first) {
            let text = format!(
                "line {other} begins with {first} too: Heartbeat knows a line by its first resource, and would take both"
            );
            configuration.findings.push(configuration.error(*line, text));
        }
        firsts.push(((*first).into(), *line));
        let mut members = Vec::new();
        let mut before: Option<&str> = None;
        for word in words {
            form(&mut configuration, *line, word);
            if let Some(owner) = before.filter(|owner| is_stray(owner, word, machine)) {
                let text =
                    format!("a blank makes two resources of {owner} and {word}: write {owner}::{word}");
                configuration.findings.push(configuration.error(*line, text));
                // As it was meant, so that the rest can be looked at.
                let index = configuration.resources.len() - 1;
                if let Some(resource) = configuration.resources.get_mut(index) {
                    *resource = resource_of(&format!("{owner}::{word}"), *line);
                }
                before = None;
                continue;
            }
            before = Some(word);
            members.push(configuration.resources.len());
            configuration.resources.push(resource_of(word, *line));
        }
        configuration.chain(number, &members);
    }
    configuration
}

/// An argument that somebody set off with a blank.
fn is_stray(owner: &str, word: &str, machine: &Machine) -> bool {
    let has_none = !owner.contains("::") && !is_address(owner) && Layer::of(owner).needs_an_argument();
    let is_script = machine.has_script(word.split("::").next().unwrap_or_default());
    has_none
        && !is_address(word)
        && !word.contains("::")
        && Layer::of(word) == Layer::Other
        && is_script != Some(true)
}

fn is_address(word: &str) -> bool {
    let address = word.split(['/', ':']).next().unwrap_or_default();
    address.split('.').count() == 4 && address.split('.').all(|part| part.parse::<u8>().is_ok())
}

/// What the shell of Heartbeat makes of a word: it splits at `::` and does not quote the parts.
fn form(configuration: &mut Configuration, line: usize, word: &str) {
    let mut wrong = |text: String| configuration.findings.push(configuration.error(line, text));
    if word.split("::").skip(1).any(str::is_empty) {
        wrong(format!("{word} has an empty argument, which vanishes: those behind it move up"));
    }
    if word.contains(['*', '?', '[']) {
        wrong(format!("{word} holds a pattern, which Heartbeat's shell replaces by names of files"));
    }
    if word.contains(['\'', '"', '`', '$', ';', '&', '|', '<', '>', '(', ')']) {
        wrong(format!(
            "{word} holds a character that Heartbeat's shell takes for its own; quotes have no effect here"
        ));
    }
    let script = word.split("::").next().unwrap_or_default();
    if script.contains(':') && !is_address(word) {
        wrong(format!("{word} has a single colon, which separates nothing: write two"));
    }
}

fn resource_of(word: &str, line: usize) -> Resource {
    if is_address(word) {
        let mut resource = Resource::new(word, None, "IPaddr", line);
        resource.set("ip", word);
        return resource;
    }
    let mut parts = word.split("::");
    let agent = parts.next().unwrap_or_default();
    let mut resource = Resource::new(word, None, agent, line);
    let names: &[&str] = match (agent, Layer::of(agent)) {
        (_, Layer::Disk) => &["drbd_resource"],
        (_, Layer::Volume) => &["vgname"],
        (_, Layer::FileSystem) => &["device", "directory", "fstype", "options"],
        ("gnbd-export", _) => &["name", "device", "options"],
        (_, Layer::Address) => &["ip"],
        (_, Layer::Guest) => &["name"],
        _ => &[],
    };
    for (name, value) in names.iter().zip(parts) {
        resource.set(name, value);
    }
    resource
}
