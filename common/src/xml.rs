//! Meta-data as XML, in the form that every reader accepts: the OCF 1.1 schema, the DTD that ocf-tester checks
//! against, Pacemaker, crmsh and pcs.
//!
//! No encoding in the declaration (crmsh cannot read it), one language, 0 and 1 for flags, a timeout on every
//! action, durations in seconds with their unit.

use crate::{Host, Kind, Metadata};
use std::fmt::Write as _;

/// The XML of `metadata`, shown under the name `name`.
pub fn render(metadata: &Metadata, name: &str, host: &Host) -> String {
    let mut xml = String::with_capacity(16 * 1024);
    // Writing to a String cannot fail.
    let _ = write_all(&mut xml, metadata, name, host);
    xml
}

fn write_all(xml: &mut String, metadata: &Metadata, name: &str, host: &Host) -> std::fmt::Result {
    writeln!(xml, "<?xml version=\"1.0\"?>")?;
    writeln!(xml, "<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">")?;
    writeln!(xml, "<resource-agent name=\"{}\" version=\"{}\">", Escaped(name), env!("CARGO_PKG_VERSION"))?;
    writeln!(xml, "<version>1.1</version>")?;
    describe(xml, "", metadata.long, metadata.short)?;
    writeln!(xml, "<parameters>")?;
    for row in metadata.parameters {
        writeln!(
            xml,
            "  <parameter name=\"{}\" unique=\"{}\" required=\"{}\">",
            Escaped(row.name_for(name)),
            u8::from(row.unique),
            u8::from(row.required)
        )?;
        describe(xml, "    ", row.long, row.short)?;
        let kind = match row.kind {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Boolean => "boolean",
        };
        match row.default_on(host) {
            Some(value) => {
                writeln!(xml, "    <content type=\"{kind}\" default=\"{}\"/>", Escaped(value))?;
            }
            None => writeln!(xml, "    <content type=\"{kind}\"/>")?,
        }
        writeln!(xml, "  </parameter>")?;
    }
    writeln!(xml, "</parameters>")?;
    writeln!(xml, "<actions>")?;
    for action in metadata.actions.iter().filter(|action| !action.by_hand) {
        write!(xml, "  <action name=\"{}\" timeout=\"{}s\"", Escaped(action.name), action.timeout_s)?;
        if action.interval_s > 0 {
            write!(xml, " interval=\"{}s\" depth=\"{}\"", action.interval_s, action.depth)?;
        }
        if let Some(role) = action.role {
            write!(xml, " role=\"{}\"", Escaped(role))?;
        }
        writeln!(xml, "/>")?;
    }
    writeln!(xml, "</actions>")?;
    writeln!(xml, "</resource-agent>")
}

fn describe(xml: &mut String, indent: &str, long: &str, short: &str) -> std::fmt::Result {
    writeln!(xml, "{indent}<longdesc lang=\"en\">\n{}\n{indent}</longdesc>", Escaped(long))?;
    writeln!(xml, "{indent}<shortdesc lang=\"en\">{}</shortdesc>", Escaped(short))
}

struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn markup_in_a_description_is_escaped() {
        assert_eq!(Escaped("a<b> & \"c\"").to_string(), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
