//! JSON for scripts: what a monitor found, and the table itself. Written by hand, for no agent reads any.

use crate::{Host, Kind, Metadata};
use std::fmt::Display;

/// One object in the making.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<String>);

impl Object {
    /// A member whose value is JSON already.
    pub(crate) fn raw(mut self, name: &str, value: impl Display) -> Self {
        self.0.push(format!("{}:{value}", quoted(name)));
        self
    }

    /// A text, or null.
    pub(crate) fn text<'a>(self, name: &str, value: impl Into<Option<&'a str>>) -> Self {
        match value.into() {
            Some(text) => self.raw(name, quoted(text)),
            None => self.raw(name, "null"),
        }
    }

    /// The object, on one line.
    pub(crate) fn end(self) -> String {
        format!("{{{}}}", self.0.join(","))
    }
}

/// A list of values that are JSON already.
pub(crate) fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// A JSON string (RFC 8259, section 7), in ASCII.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// All that the table says, for programs that make pages and completions of it.
/// `others` are the tables that it has under other names.
pub(crate) fn table(metadata: &Metadata, others: &[Metadata], host: &Host) -> String {
    let names = |names: &[&str]| list(names.iter().map(|name| quoted(name)));
    let parameters = metadata.parameters.iter().map(|row| {
        let kind = match row.kind {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
        };
        Object::default()
            .text("name", row.name)
            .raw("aliases", names(row.aliases))
            .text("type", kind)
            .raw("required", row.required)
            .raw("unique", row.unique)
            .text("default", row.default_on(host))
            .text("accepts", row.accepts.map(|grammar| grammar.words))
            .text("short", row.short)
            .text("long", row.long)
            .end()
    });
    let actions = metadata.actions.iter().map(|action| {
        Object::default()
            .text("name", action.name)
            .raw("timeout_s", action.timeout_s)
            .raw("interval_s", action.interval_s)
            .raw("depth", action.depth)
            .text("role", action.role)
            .raw("by_hand", action.by_hand)
            .end()
    });
    Object::default()
        .text("name", metadata.name)
        .text("version", env!("CARGO_PKG_VERSION"))
        .raw("also_called", names(metadata.also_called))
        .raw("other_tables", list(others.iter().map(|other| quoted(other.name))))
        .text("short", metadata.short)
        .text("long", metadata.long)
        .raw("parameters", list(parameters))
        .raw("actions", list(actions))
        .raw("positional", names(metadata.positional))
        .raw("positional_required", metadata.positional_required)
        .end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_ascii_on_one_line() {
        assert_eq!(quoted("a\"b\\c\nd\u{1b}e\u{e9}\u{1f980}"), r#""a\"b\\c\nd\u001be\u00e9\ud83e\udd80""#);
    }

    #[test]
    fn an_object_keeps_the_order_of_its_members() {
        let text = Object::default().text("state", "running").raw("exit_code", 0).text("reason", None).end();
        assert_eq!(text, r#"{"state":"running","exit_code":0,"reason":null}"#);
    }
}
