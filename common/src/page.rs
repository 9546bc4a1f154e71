//! The manual page of an agent, made from its table: `--help` prints it as text, packages as `ocf_holdfast_NAME(7)`.

use crate::{Action, Host, Kind, Metadata, Parameter};

/// How a piece of text is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Filled to the width of the page.
    Filled,
    /// One point of a list.
    Bullet,
    /// What the text below it explains.
    Term,
    /// As it stands.
    Code,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// How it is set.
    pub form: Form,
    /// True below a term.
    pub under: bool,
    /// The text.
    pub text: String,
}

/// A section of the page.
#[derive(Debug)]
pub struct Section {
    /// In capitals.
    pub title: &'static str,
    /// What stands in it.
    pub blocks: Vec<Block>,
}

impl Section {
    fn new(title: &'static str) -> Self {
        Self { title, blocks: Vec::new() }
    }

    fn add(&mut self, form: Form, under: bool, text: impl Into<String>) {
        self.blocks.push(Block { form, under, text: text.into() });
    }

    fn term(&mut self, term: impl Into<String>, text: &str) {
        self.add(Form::Term, false, term);
        self.filled(text, true);
    }

    /// Paragraphs and points, as the table has them: a blank line ends a paragraph, a dash begins a point.
    fn filled(&mut self, text: &str, under: bool) {
        let mut open = false;
        for line in text.lines() {
            let line = line.trim();
            let point = line.strip_prefix("- ");
            if line.is_empty() {
                open = false;
            } else if let Some(point) = point {
                self.add(Form::Bullet, under, point);
                open = true;
            } else if let Some(last) = self.blocks.last_mut().filter(|_| open) {
                last.text.push(' ');
                last.text.push_str(line);
            } else {
                self.add(Form::Filled, under, line);
                open = true;
            }
        }
    }
}

/// What `-h` and the completions say of an option.
pub const OPTIONS: [(&str, &str, &str); 8] = [
    ("verbose", "", "Say on stderr what is read and run, and why the answer is what it is"),
    ("dry-run", "", "Say what would be changed, and change nothing"),
    (
        "format",
        "text|json",
        "json: one object on stdout, for monitor, status and validate-all; the table for meta-data",
    ),
    ("check-level", "N", "How deep monitor and validate-all look, as OCF_CHECK_LEVEL"),
    ("timeout", "SECONDS", "How long the action may take"),
    ("instance", "NAME", "The resource's name, as OCF_RESOURCE_INSTANCE"),
    ("help", "", "Show this page; -h shows the options in short"),
    ("version", "", "Show the version"),
];

/// The whole page.
pub fn page(metadata: &Metadata, host: &Host) -> Vec<Section> {
    let mut name = Section::new("NAME");
    name.add(Form::Filled, false, format!("{} - {}", metadata.name, lower(metadata.short)));
    let mut description = Section::new("DESCRIPTION");
    description.filled(metadata.long, false);
    let mut parameters = Section::new("PARAMETERS");
    parameters.filled(
        "An option by hand, a variable from a cluster, NAME=value in an init script's file of defaults.",
        false,
    );
    for row in metadata.parameters {
        parameters.term(format!("--{0}, OCF_RESKEY_{0} ({1})", row.name, facts(row, host)), row.long);
        if !row.aliases.is_empty() {
            let also = format!("Also understood under the name {}.", row.aliases.join(", "));
            parameters.add(Form::Filled, true, also);
        }
    }
    let mut actions = Section::new("ACTIONS");
    for action in metadata.actions {
        actions.add(Form::Term, false, advice(action));
    }
    let mut options = Section::new("OPTIONS");
    options.filled("By hand, beside the parameters:", false);
    for (name, value, text) in OPTIONS {
        let value = if value.is_empty() { String::new() } else { format!(" {value}") };
        options.term(format!("--{name}{value}"), &format!("{text}."));
    }
    vec![
        name,
        synopsis(metadata),
        description,
        parameters,
        actions,
        options,
        exit_status(),
        files(metadata),
        examples(metadata),
    ]
}

fn lower(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        // Not an abbreviation.
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.into(),
    }
}

fn facts(row: &Parameter, host: &Host) -> String {
    let mut facts = vec![
        match row.kind {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
        }
        .to_string(),
    ];
    if row.required {
        facts.push("required".into());
    }
    if row.unique {
        facts.push("unique".into());
    }
    match row.default_on(host) {
        Some("") => facts.push("default: empty".into()),
        Some(default) => facts.push(format!("default: {default}")),
        None => {}
    }
    facts.join(", ")
}

fn advice(action: &Action) -> String {
    let mut text = format!("{}, timeout {} s", action.name, action.timeout_s);
    if action.interval_s > 0 {
        text.push_str(&format!(", every {} s", action.interval_s));
    }
    if action.depth > 0 {
        text.push_str(&format!(", check level {}", action.depth));
    }
    if let Some(role) = action.role {
        text.push_str(&format!(", role {role}"));
    }
    if action.by_hand {
        text.push_str(", by hand only");
    }
    text
}

/// The names of the actions, each once.
pub fn actions(metadata: &Metadata) -> Vec<&'static str> {
    let mut names = vec!["status"];
    for action in metadata.actions {
        if !names.contains(&action.name) {
            names.push(action.name);
        }
    }
    names
}

fn synopsis(metadata: &Metadata) -> Section {
    let mut section = Section::new("SYNOPSIS");
    let name = metadata.name;
    section.add(Form::Code, false, format!("{name} [--PARAMETER VALUE]... [OPTION]... ACTION"));
    if !metadata.positional.is_empty() {
        section.add(Form::Code, false, format!("{name} {} ACTION [OPTION]...", positions(metadata, " ")));
    }
    section.filled(&format!("ACTION is one of {}.", actions(metadata).join(", ")), false);
    section
}

/// `device directory [fstype [options]]`
fn positions(metadata: &Metadata, between: &str) -> String {
    let mut text = String::new();
    for (index, name) in metadata.positional.iter().enumerate() {
        let between = if index == 0 { "" } else { between };
        text.push_str(&match (index >= metadata.positional_required, between) {
            (false, _) => format!("{between}{name}"),
            (true, "::") => format!("[::{name}"),
            (true, _) => format!("{between}[{name}"),
        });
    }
    text.push_str(&"]".repeat(metadata.positional.len().saturating_sub(metadata.positional_required)));
    text
}

fn exit_status() -> Section {
    let mut section = Section::new("EXIT STATUS");
    section.filled(
        "For a cluster and for monitor by hand, by the OCF Resource Agent API. 0: done, or running. 1: failed, or the
state cannot be told. 2: called wrongly. 3: no such action. 4: no permission. 5: something is not installed. 6: the
parameters are wrong on every node. 7: stopped. 8: running and promoted. 190, 191: running or promoted, but somebody
should look (only for a cluster that knows them).

status by hand, for init and for Heartbeat: 0 running, 3 stopped, 4 unknown. The word printed for an unknown state is
running (unverified).",
        false,
    );
    section
}

fn files(metadata: &Metadata) -> Section {
    let name = metadata.name;
    let mut section = Section::new("FILES");
    for (path, text) in [
        (format!("/usr/lib/ocf/resource.d/holdfast/{name}"), "The agent for a cluster: ocf:holdfast:NAME."),
        (format!("/etc/ha.d/resource.d/{name}"), "A link there makes it a resource script of Heartbeat."),
        (
            format!("/etc/init.d/{name}-INSTANCE, /etc/default/{name}-INSTANCE"),
            "A link as an init script, and its parameters, as NAME=value. The file is parsed and never run.",
        ),
    ] {
        section.term(path, &text.replace("NAME.", &format!("{name}.")));
    }
    section
}

fn examples(metadata: &Metadata) -> Section {
    let name = metadata.name;
    let resource = format!("my_{}", name.replace('-', "_").to_lowercase());
    let required: Vec<&Parameter> = metadata.parameters.iter().filter(|row| row.required).collect();
    let mut crm = format!("crm configure primitive {resource} ocf:holdfast:{name} \\\n");
    let mut pcs = format!("pcs resource create {resource} ocf:holdfast:{name} \\\n");
    if !required.is_empty() {
        let given: Vec<String> = required.iter().map(|row| format!("{}=...", row.name)).collect();
        crm.push_str(&format!("    params {} \\\n", given.join(" ")));
        pcs.push_str(&format!("    {} \\\n", given.join(" ")));
    }
    let operations = metadata.actions.iter().filter(|action| {
        matches!(action.name, "start" | "stop" | "promote" | "demote" | "migrate_to" | "migrate_from")
            || (action.name == "monitor" && action.depth == 0 && action.interval_s > 0)
    });
    let mut ops = Vec::new();
    let mut plain = Vec::new();
    for action in operations {
        let mut text = format!("{} timeout={}s", action.name, action.timeout_s);
        if action.interval_s > 0 {
            text.push_str(&format!(" interval={}s", action.interval_s));
        }
        if let Some(role) = action.role {
            text.push_str(&format!(" role={role}"));
        }
        ops.push(format!("    op {text}"));
        plain.push(format!("    {text}"));
    }
    crm.push_str(&ops.join(" \\\n"));
    if let Some(first) = plain.first_mut() {
        *first = first.replacen("    ", "    op ", 1);
    }
    pcs.push_str(&plain.join(" \\\n"));
    let mut section = Section::new("EXAMPLES");
    for (title, text) in [("Pacemaker, with crmsh:", crm), ("Pacemaker, with pcs:", pcs)] {
        section.filled(title, false);
        section.add(Form::Code, true, text);
    }
    if !metadata.positional.is_empty() {
        section.filled("Heartbeat, in a line of haresources:", false);
        section.add(Form::Code, true, format!("node1 {name}::{}", positions(metadata, "::")));
    }
    section.filled("Why is it running, or not?", false);
    let values: Vec<String> = required.iter().map(|row| format!("--{} ... ", row.name)).collect();
    section.add(Form::Code, true, format!("{name} {}status --verbose", values.concat()));
    section
}

/// The page as text of 79 columns.
pub fn text(sections: &[Section]) -> String {
    let mut out = String::new();
    for section in sections {
        out.push_str(section.title);
        out.push('\n');
        let mut before = None;
        for block in &section.blocks {
            let indent = if block.under { 12 } else { 6 };
            let follows_closely = block.form == Form::Bullet && before == Some(Form::Bullet)
                || before == Some(Form::Term)
                || before == Some(Form::Code) && block.form == Form::Code;
            if before.is_some() && !follows_closely {
                out.push('\n');
            }
            before = Some(block.form);
            match block.form {
                Form::Filled | Form::Term => fill(&mut out, &block.text, indent, ""),
                Form::Bullet => fill(&mut out, &block.text, indent, "- "),
                Form::Code => {
                    for line in block.text.lines() {
                        out.push_str(&format!("{:indent$}{line}\n", ""));
                    }
                }
            }
        }
        out.push('\n');
    }
    out
}

/// Breaks lines at blanks; what follows the first line stands below the text, not below its mark.
fn fill(out: &mut String, text: &str, indent: usize, mark: &str) {
    const WIDTH: usize = 79;
    let mut line = format!("{:indent$}{mark}", "");
    let below = indent + mark.len();
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.len() + 1 + word.len() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = format!("{:below$}", "");
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Metadata = Metadata {
        name: "Sample",
        also_called: &[],
        short: "Keeps a thing",
        long: "First line\nand second.\n\n- a point\n  that goes on\n- another",
        parameters: &[
            Parameter::string("device").required().unique().aliases(&["disk"]).doc("Which", "The device."),
            Parameter::boolean("quick").default("no").doc("Hurry", "With yes, it hurries."),
        ],
        actions: &[
            Action::new("start", 60),
            Action::new("monitor", 20).every(10, 0),
            Action::new("monitor", 30).every(60, 10),
            Action::new("users", 20).by_hand(),
        ],
        positional: &["device", "quick"],
        positional_required: 1,
    };

    #[test]
    fn the_page_tells_all_that_the_table_has() {
        let text = text(&page(&TABLE, &Host::real()));
        for part in [
            "NAME\n      Sample - keeps a thing\n",
            "      Sample [--PARAMETER VALUE]... [OPTION]... ACTION\n",
            "      Sample device [quick] ACTION [OPTION]...\n",
            "ACTION is one of status, start, monitor, users.",
            "      First line and second.\n\n      - a point that goes on\n      - another\n",
            "      --device, OCF_RESKEY_device (string, required, unique)\n            The device.\n",
            "Also understood under the name disk.",
            "      --quick, OCF_RESKEY_quick (boolean, default: no)\n",
            "      monitor, timeout 30 s, every 60 s, check level 10\n",
            "      users, timeout 20 s, by hand only\n",
            "crm configure primitive my_sample ocf:holdfast:Sample \\\n",
            "                params device=... \\\n                op start timeout=60s \\\n                op monitor timeout=20s interval=10s\n",
            "                op start timeout=60s \\\n                monitor timeout=20s interval=10s\n",
            "            node1 Sample::device[::quick]\n",
            "            Sample --device ... status --verbose\n",
        ] {
            assert!(text.contains(part), "{part}\n--- is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() < 80), "{text}");
    }

    #[test]
    fn a_long_word_stands_alone_and_is_not_broken() {
        let mut out = String::new();
        let word = "x".repeat(90);
        fill(&mut out, &format!("a {word} b"), 2, "- ");
        assert_eq!(out, format!("  - a\n    {word}\n    b\n"));
    }

    #[test]
    fn an_abbreviation_keeps_its_capitals() {
        assert_eq!(lower("Mounts a thing"), "mounts a thing");
        assert_eq!(lower("LVM on one node"), "LVM on one node");
        assert_eq!(lower("A disk"), "a disk");
    }
}
