//! The table of an agent, as the agent tells it.

use clap::builder::PossibleValuesParser;
use ocf::metadata::{DefaultValue, Grammar};
use ocf::{Action, Kind, Metadata, Parameter};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Asks a built agent. With its table come the names under which it has another.
pub fn of(agent: &Path) -> Result<(Metadata, Vec<String>), String> {
    let output = Command::new(agent).args(["--format", "json", "meta-data"]).output();
    let output = output.map_err(|why| format!("{}: {why}", agent.display()))?;
    let text = String::from_utf8(output.stdout).map_err(|why| why.to_string())?;
    let table = parse(&text).zip(others(&text));
    table.ok_or_else(|| format!("{} does not tell its table", agent.display()))
}

/// Reads the table. Text lives as long as the program, which is short.
pub fn parse(text: &str) -> Option<Metadata> {
    let table: Value = serde_json::from_str(text).ok()?;
    let parameters: Option<Vec<Parameter>> =
        table.get("parameters")?.as_array()?.iter().map(parameter).collect();
    let actions: Option<Vec<Action>> = table.get("actions")?.as_array()?.iter().map(action).collect();
    Some(Metadata {
        name: string(&table, "name")?,
        also_called: strings(&table, "also_called")?,
        short: string(&table, "short")?,
        long: string(&table, "long")?,
        parameters: parameters?.leak(),
        actions: actions?.leak(),
        positional: strings(&table, "positional")?,
        positional_required: usize::try_from(table.get("positional_required")?.as_u64()?).ok()?,
    })
}

fn others(text: &str) -> Option<Vec<String>> {
    let table: Value = serde_json::from_str(text).ok()?;
    let names = table.get("other_tables")?.as_array()?.iter();
    names.map(|name| Some(name.as_str()?.to_string())).collect()
}

fn string(value: &Value, name: &str) -> Option<&'static str> {
    Some(value.get(name)?.as_str()?.to_string().leak())
}

fn strings(value: &Value, name: &str) -> Option<&'static [&'static str]> {
    let list = value.get(name)?.as_array()?.iter();
    let list: Option<Vec<&'static str>> =
        list.map(|item| Some(&*item.as_str()?.to_string().leak())).collect();
    Some(list?.leak())
}

fn parameter(value: &Value) -> Option<Parameter> {
    let name = string(value, "name")?;
    let mut row = match value.get("type")?.as_str()? {
        "integer" => Parameter::integer(name),
        "boolean" => Parameter::boolean(name),
        _ => Parameter::string(name),
    };
    row.aliases = strings(value, "aliases")?;
    row.required = value.get("required")?.as_bool()?;
    row.unique = value.get("unique")?.as_bool()?;
    row.default = string(value, "default").map_or(DefaultValue::None, DefaultValue::Fixed);
    row.accepts = string(value, "accepts").map(|words| Grammar { accepts: |_| true, words });
    row.short = string(value, "short")?;
    row.long = string(value, "long")?;
    Some(row)
}

fn action(value: &Value) -> Option<Action> {
    let number = |name: &str| u32::try_from(value.get(name)?.as_u64()?).ok();
    let mut action = Action::new(string(value, "name")?, number("timeout_s")?);
    action.interval_s = number("interval_s")?;
    action.depth = number("depth")?;
    action.role = string(value, "role");
    action.by_hand = value.get("by_hand")?.as_bool()?;
    Some(action)
}

/// The by-hand face with what a shell can complete: actions, truth words, paths.
pub fn command(metadata: &Metadata) -> clap::Command {
    let mut command = ocf::cli::command(metadata);
    for row in metadata.parameters {
        command = command.mut_arg(row.name, |arg| match row.kind {
            Kind::Boolean => arg.value_parser(PossibleValuesParser::new(["yes", "no"])),
            _ => arg.value_hint(clap::ValueHint::AnyPath),
        });
    }
    let actions = ocf::page::actions(metadata);
    command.mut_arg("ACTION", |arg| arg.value_parser(PossibleValuesParser::new(actions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{"name":"Sample","version":"1","also_called":["Older"],"other_tables":["Oldest"],"short":"Keeps a thing","long":"Long.",
        "parameters":[{"name":"device","aliases":["disk"],"type":"string","required":true,"unique":true,"default":null,
        "accepts":"a path","short":"Which","long":"The device."},{"name":"quick","aliases":[],"type":"boolean",
        "required":false,"unique":false,"default":"no","accepts":null,"short":"Hurry","long":"It hurries."}],
        "actions":[{"name":"monitor","timeout_s":20,"interval_s":10,"depth":0,"role":null,"by_hand":false},
        {"name":"users","timeout_s":5,"interval_s":0,"depth":0,"role":null,"by_hand":true}],
        "positional":["device"],"positional_required":1}"#;

    #[test]
    fn a_table_is_read_as_it_was_told() {
        let metadata = parse(TABLE).unwrap();
        assert_eq!((metadata.name, metadata.also_called), ("Sample", ["Older"].as_slice()));
        let device = metadata.parameter("disk").unwrap();
        assert!(device.required && device.unique && device.fixed_default().is_none());
        assert_eq!(metadata.parameter("quick").unwrap().fixed_default(), Some("no"));
        assert!(metadata.action("users").unwrap().by_hand);
        assert_eq!(others(TABLE).unwrap(), ["Oldest"]);
        assert!(parse("{}").is_none());
    }

    #[test]
    fn completions_know_options_actions_and_truth() {
        let mut text = Vec::new();
        let mut command = command(&parse(TABLE).unwrap());
        clap_complete::generate(clap_complete::Shell::Bash, &mut command, "Sample", &mut text);
        let text = String::from_utf8(text).unwrap();
        for part in
            ["--device", "--quick", "--verbose", "--dry-run", "status monitor users", "yes no", "text json"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn the_page_is_the_table_in_roff() {
        let page = crate::roff::page(&parse(TABLE).unwrap());
        assert!(page.starts_with(".TH OCF_HOLDFAST_SAMPLE 7 \"\" \"Holdfast"), "{page}");
        assert!(page.contains(".SH NAME\nocf_holdfast_Sample \\- keeps a thing\n"), "{page}");
        assert!(
            page.contains(
                ".TP\n\\fB\\-\\-device, OCF_RESKEY_device (string, required, unique)\\fR\nThe device.\n"
            ),
            "{page}"
        );
    }
}
