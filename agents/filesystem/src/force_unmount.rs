//! The parameter force_unmount: may processes be signalled, and is the mount moved aside first.

use crate::{Filesystem, metadata};
use ocf::params::parse_bool;
use ocf::{Call, Result, mounts, printable};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the words of the parameter mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForceUnmount {
    /// Processes that use the mount are signalled.
    pub signal: bool,
    moved: bool,
}

impl ForceUnmount {
    /// Reads the parameter. Words that are none are reported and ignored.
    pub fn new(filesystem: &Filesystem, call: &Call) -> Self {
        let words = match &filesystem.force_unmount {
            Some(words) => words.to_string_lossy(),
            None => metadata::default_force_unmount(&call.host).into(),
        };
        let (parsed, ignored) = parse(&words);
        for word in ignored {
            let word = printable(word.as_bytes());
            call.log.warn(format_args!("force_unmount: word '{word}' is not known and is ignored"));
        }
        parsed
    }

    /// The directory beside the mount point that the mount is moved to, if it is.
    pub fn aside(self, directory: &Path) -> Option<PathBuf> {
        let name = directory.file_name().filter(|_| self.moved)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        Some(directory.with_file_name(hidden))
    }
}

/// A list with commas, of which the last word of a kind wins. Modifiers alone mean `true`.
fn parse(text: &str) -> (ForceUnmount, Vec<&str>) {
    let mut signal = None;
    let mut modified = false;
    let mut moved = false;
    let mut ignored = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match word {
            "safe" => signal = Some(true),
            "false" | "no" => signal = Some(false),
            "move" | "nomove" => {
                moved = word == "move";
                modified = true;
            }
            "xargs" | "noxargs" | "ps" | "nops" => modified = true,
            _ if parse_bool(word) == Some(true) => signal = Some(true),
            _ => ignored.push(word),
        }
    }
    (ForceUnmount { signal: signal.unwrap_or(modified), moved }, ignored)
}

/// Whether something is mounted on `directory`.
pub fn is_mounted(directory: &Path, call: &Call) -> Result<bool> {
    let stack = mounts::at(call, directory)?;
    Ok(!stack.visible.is_empty() || !mounts::hidden(call, &stack, None)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_parameter_means_what_it_meant() {
        for (text, signal, moved) in [
            ("true", true, false),
            ("safe", true, false),
            ("ja", true, false),
            ("false", false, false),
            ("no", false, false),
            ("", false, false),
            ("safe,move", true, true),
            ("move", true, true),
            ("move,nomove", true, false),
            ("xargs,nops", true, false),
            ("true,false", false, false),
            ("false,safe", true, false),
            ("off", false, false),
        ] {
            assert_eq!(parse(text).0, ForceUnmount { signal, moved }, "{text}");
        }
    }

    #[test]
    fn unknown_words_are_ignored_and_told() {
        assert_eq!(parse("off,safe,0").1, ["off", "0"]);
    }
}
