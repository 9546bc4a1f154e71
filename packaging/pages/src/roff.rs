//! The page of an agent as roff, for man(1).

use ocf::page::{Block, Form};
use ocf::{Host, Metadata};

/// `ocf_holdfast_NAME(7)`, as the ecosystem names them.
pub fn page(metadata: &Metadata) -> String {
    let name = metadata.name;
    let mut out = format!(
        ".TH OCF_HOLDFAST_{} 7 \"\" \"Holdfast {}\" \"OCF resource agents\"\n.nh\n.ad l\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION")
    );
    for section in ocf::page::page(metadata, &Host::real()) {
        out.push_str(&format!(".SH {}\n", section.title));
        for (index, block) in section.blocks.iter().enumerate() {
            let before =
                index.checked_sub(1).and_then(|before| section.blocks.get(before)).map(|block| block.form);
            if section.title == "NAME" {
                out.push_str(&format!("ocf_holdfast_{}\n", escaped(&block.text)));
            } else {
                set(&mut out, block, before);
            }
        }
    }
    let others: Vec<String> =
        metadata.also_called.iter().map(|other| format!("ocf_heartbeat_{other}")).collect();
    let see = others.iter().map(String::as_str).chain(["crm", "pcs", "crm_resource"]);
    let see: Vec<String> = see
        .map(|page| {
            let section = if page.starts_with("ocf_") { 7 } else { 8 };
            format!("\\fB{}\\fR({section})", escaped(page))
        })
        .collect();
    out.push_str(&format!(
        ".SH SEE ALSO\n\\fBholdfast-check\\fR(8), \\fBholdfast-links\\fR(8), {}\n",
        see.join(", ")
    ));
    out
}

fn set(out: &mut String, block: &Block, before: Option<Form>) {
    let text = escaped(&block.text);
    match block.form {
        // What follows a term is its text without a request of its own.
        Form::Filled if before == Some(Form::Term) => out.push_str(&format!("{text}\n")),
        Form::Filled if block.under => out.push_str(&format!(".IP\n{text}\n")),
        Form::Filled => out.push_str(&format!(".PP\n{text}\n")),
        Form::Bullet => {
            let indent = if block.under { ".RS 7\n" } else { "" };
            let end = if block.under { ".RE\n" } else { "" };
            out.push_str(&format!("{indent}.IP \\(bu 2\n{text}\n{end}"));
        }
        Form::Term => out.push_str(&format!(".TP\n\\fB{text}\\fR\n")),
        Form::Code => out.push_str(&format!(".PP\n.RS 4\n.nf\n{text}\n.fi\n.RE\n")),
    }
}

/// A dash is a minus, a backslash is itself, and no line begins a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
