//! Configurations as people write them: `crm configure` texts and scripts of `pcs` commands.

use crate::model::{Configuration, Resource};
use crate::words::{logical_lines, split};
use std::collections::BTreeMap;
use std::path::Path;

/// True if a line is a command of one of the two tools.
pub fn is_of_crm_or_pcs(text: &str) -> bool {
    logical_lines(text).iter().any(|(_, line)| {
        let words = split(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["primitive", _, agent, ..] if agent.contains(':') || !agent.contains('='))
            || matches!(words.as_slice(), ["pcs", ..] | ["crm", "configure", ..])
    })
}

/// Names of several resources: groups, clones.
type Aliases = BTreeMap<String, Vec<usize>>;

/// Reads resources, groups and orders.
pub fn read(file: &Path, text: &str) -> Configuration {
    let mut configuration = Configuration::new(file, false);
    let mut aliases = Aliases::new();
    let mut orders: Vec<Vec<String>> = Vec::new();
    for (line, text) in logical_lines(text) {
        let words = split(&text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["crm", "configure", rest @ ..] => crm(&mut configuration, &mut aliases, &mut orders, line, rest),
            ["pcs", "-f", _, rest @ ..] | ["pcs", rest @ ..] => {
                pcs(&mut configuration, &mut aliases, &mut orders, line, rest)
            }
            rest => crm(&mut configuration, &mut aliases, &mut orders, line, rest),
        }
    }
    let groups: Vec<Vec<usize>> = aliases
        .iter()
        .filter(|(name, _)| !name.starts_with('\0'))
        .map(|(_, members)| members.clone())
        .collect();
    for (number, members) in groups.iter().enumerate().filter(|(_, members)| members.len() > 1) {
        configuration.chain(number, members);
    }
    for order in orders {
        for pair in order.windows(2) {
            if let [first, then] = pair {
                for a in named(first, &aliases, &configuration) {
                    for b in named(then, &aliases, &configuration) {
                        configuration.order(a, b);
                    }
                }
            }
        }
    }
    configuration
}

fn named(name: &str, aliases: &Aliases, configuration: &Configuration) -> Vec<usize> {
    let name = name.split(':').next().unwrap_or_default();
    let members = aliases.get(name).or_else(|| aliases.get(&format!("\0{name}")));
    members.cloned().unwrap_or_else(|| configuration.find(name).into_iter().collect())
}

fn crm(
    configuration: &mut Configuration,
    aliases: &mut Aliases,
    orders: &mut Vec<Vec<String>>,
    line: usize,
    words: &[&str],
) {
    match words {
        ["primitive", id, agent, rest @ ..] => {
            let resource = primitive(id, agent, line, rest.iter().skip_while(|word| **word == "params"));
            configuration.resources.push(resource);
        }
        ["group", id, members @ ..] => {
            let members = members.iter().take_while(|word| !matches!(**word, "meta" | "params"));
            let members = members.filter_map(|member| configuration.find(member)).collect();
            aliases.insert((*id).into(), members);
        }
        ["ms" | "clone" | "master", id, of, ..] => {
            let members = named(of, aliases, configuration);
            aliases.insert(format!("\0{id}"), members);
        }
        ["order", _, rest @ ..] => {
            // A kind or score ends with a colon, and stands before the names.
            let names = rest.iter().filter(|word| !word.ends_with(':') && !word.contains('='));
            let names = names.map(|word| word.trim_matches(['(', ')', '[', ']']).to_string());
            orders.push(names.filter(|name| !name.is_empty()).collect());
        }
        _ => {}
    }
}

fn pcs(
    configuration: &mut Configuration,
    aliases: &mut Aliases,
    orders: &mut Vec<Vec<String>>,
    line: usize,
    words: &[&str],
) {
    match words {
        ["resource", "create", id, agent, rest @ ..] => {
            let index = configuration.resources.len();
            configuration.resources.push(primitive(id, agent, line, rest.iter()));
            let group = rest
                .iter()
                .position(|word| matches!(*word, "--group" | "group"))
                .and_then(|at| rest.get(at + 1));
            if let Some(group) = group {
                aliases.entry((*group).into()).or_default().push(index);
            }
            if rest.iter().any(|word| matches!(*word, "promotable" | "master" | "clone")) {
                aliases.insert(format!("\0{id}-clone"), vec![index]);
            }
        }
        ["resource", "group", "add", group, members @ ..] => {
            let members = members.iter().filter_map(|member| configuration.find(member));
            let members: Vec<usize> = members.collect();
            aliases.entry((*group).into()).or_default().extend(members);
        }
        ["resource", "promotable" | "clone", id, ..] => {
            let members = named(id, aliases, configuration);
            aliases.insert(format!("\0{id}-clone"), members);
        }
        ["constraint", "order", rest @ ..] => {
            let rest = rest.iter().take_while(|word| !word.contains('='));
            let names = rest.filter(|word| !matches!(**word, "start" | "promote" | "then" | "set"));
            orders.push(names.map(|name| (*name).into()).collect());
        }
        _ => {}
    }
}

/// Parameters stand before the words that begin another part.
fn primitive<'a>(id: &str, agent: &str, line: usize, words: impl Iterator<Item = &'a &'a str>) -> Resource {
    let mut parts = agent.rsplit(':');
    let name = parts.next().unwrap_or_default();
    let provider = parts.next().filter(|provider| *provider != "ocf");
    let mut resource = Resource::new(id, provider, name, line);
    let mut parameters = true;
    for word in words {
        match (*word, word.split_once('=')) {
            ("params", _) => parameters = true,
            ("op" | "operations" | "meta" | "utilization" | "clone" | "promotable" | "bundle", _) => {
                parameters = false
            }
            (_, Some((key, value))) if parameters => resource.set(key, value),
            _ => {}
        }
    }
    resource
}
