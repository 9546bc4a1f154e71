//! The table of all deliberate differences, out of the long descriptions: what is said there is said once.

use roxmltree::{Document, ParsingOptions};

/// One difference from one agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub from: String,
    pub text: String,
}

const HEAD: &str = "\
# Every deliberate difference

What an agent of Holdfast does otherwise than the one it replaces, and why. Made from the long descriptions in
[metadata](../../metadata); `UPDATE_DOCS=1 cargo test -p holdfast-pages` writes it anew.
";

/// The page, from meta-data in XML.
pub fn page(texts: &[String]) -> Result<String, String> {
    let mut out = String::from(HEAD);
    for text in texts {
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(|why| why.to_string())?;
        let agent = document.root_element();
        let name = agent.attribute("name").unwrap_or_default();
        let long = agent.children().find(|child| child.has_tag_name("longdesc"));
        let found = differences(long.and_then(|long| long.text()).unwrap_or_default());
        if found.is_empty() {
            out.push_str(&format!("\n## {name}\n\nIts description lists no difference.\n"));
        }
        let mut from = "";
        for difference in &found {
            if difference.from != from {
                from = &difference.from;
                out.push_str(&format!(
                    "\n## {name} instead of {from}\n\n| | difference and reason |\n|---:|---|\n"
                ));
            }
            let number =
                found.iter().filter(|other| other.from == from).position(|other| other == difference);
            let text = difference.text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*");
            out.push_str(&format!("| {} | {text} |\n", number.unwrap_or_default() + 1));
        }
    }
    Ok(out)
}

/// The points below each line `Differences from WHOM, and why:`.
pub fn differences(long: &str) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    let mut from: Option<String> = None;
    let mut open = false;
    for line in long.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Differences from ") {
            let whom = rest.trim_end_matches(':').trim_end_matches(", and why");
            from = Some(whom.trim_start_matches("the ").to_string());
            open = false;
        } else if let (Some(from), Some(point)) = (&from, line.strip_prefix("- ")) {
            found.push(Difference { from: from.clone(), text: point.into() });
            open = true;
        } else if line.is_empty() {
            open = false;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            last.text.push(' ');
            last.text.push_str(line);
        } else {
            from = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    #[test]
    fn points_are_read_with_whom_they_differ_from() {
        let text = "What.\n- no difference\n\nDifferences from the script a, and why:\n\n- one\n  goes on\n- two\n\nElse.\n\n- none\n\n\
                    Differences from ocf:x:b, and why:\n\n- three";
        let found = differences(text);
        let found: Vec<(&str, &str)> =
            found.iter().map(|found| (found.from.as_str(), found.text.as_str())).collect();
        assert_eq!(found, [("script a", "one goes on"), ("script a", "two"), ("ocf:x:b", "three")]);
    }

    fn meta_data() -> Vec<PathBuf> {
        let metadata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../metadata");
        let mut files: Vec<PathBuf> = [metadata.clone(), metadata.join("other-names")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "xml"))
            .collect();
        files.sort_by_key(|path| path.file_name().unwrap().to_ascii_lowercase());
        files
    }

    #[test]
    fn the_committed_page_is_what_the_meta_data_says() {
        let texts: Vec<String> = meta_data().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let now = page(&texts).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/differences.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, &now).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            now == committed,
            "UPDATE_DOCS=1 cargo test -p holdfast-pages writes {} anew",
            file.display()
        );
    }

    /// Whoever comes from an agent finds it in the guide, with the name to write instead.
    #[test]
    fn the_migration_guide_knows_every_agent() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../doc/migration.md");
        let guide = fs::read_to_string(guide).unwrap();
        for file in meta_data() {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let known =
                guide.contains(&format!("ocf:holdfast:{name}")) || guide.contains(&format!(" {name}::"));
            assert!(known, "{name} is missing in migration.md");
        }
    }
}
