//! The name of a container: an id, a UUID, or a name that somebody gave it.

use std::fmt;

/// What `ctid` may be, in words.
pub const ACCEPTED: &str = "accepted is an id above 0, a UUID or a name";

/// The longest name that is accepted, in bytes.
const LONGEST: usize = 128;

/// A container, as the kernel and vzctl spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ctid(String);

impl Ctid {
    /// Reads the parameter. None: no container can be called so. 0 is the node itself.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // `0101` is 101 to vzctl, and nothing to whoever compares texts.
            let number: u32 = text.parse().ok()?;
            return (number > 0).then(|| Self(number.to_string()));
        }
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
        if is_uuid(inner) {
            return Some(Self(inner.to_ascii_lowercase()));
        }
        let plain = |character: char| {
            !character.is_ascii() || character.is_ascii_alphanumeric() || "-_. ".contains(character)
        };
        let good = text.len() <= LONGEST
            && text.trim() == text
            && !text.starts_with(['-', '.'])
            // vzmigrate hands it to a shell on the other node, as words.
            && !text.contains(" -")
            && text.chars().all(|character| plain(character) && !character.is_control());
        good.then(|| Self(text.to_string()))
    }

    /// As an argument.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for what can only be an id or a UUID, and so is never looked up among the names.
    pub fn is_uuid(&self) -> bool {
        is_uuid(&self.0)
    }
}

impl fmt::Display for Ctid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ocf::printable(self.0.as_bytes()))
    }
}

fn is_uuid(text: &str) -> bool {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| {
            if DASHES.contains(&index) { byte == b'-' } else { byte.is_ascii_hexdigit() }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        Ctid::parse(text.as_bytes()).map(|ctid| ctid.as_str().to_string())
    }

    #[test]
    fn an_id_a_uuid_and_a_name_are_containers() {
        for (given, meant) in [
            ("101", "101"),
            ("0101", "101"),
            ("4294967295", "4294967295"),
            ("37E5C5B6-b2a8-4a2e-9f6e-0a1b2c3d4e5f", "37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f"),
            ("{37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f}", "37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f"),
            ("db", "db"),
            ("mail server", "mail server"),
            ("b\u{e4}r.example_1", "b\u{e4}r.example_1"),
        ] {
            assert_eq!(parse(given).as_deref(), Some(meant), "{given}");
        }
    }

    #[test]
    fn the_node_itself_options_and_paths_are_no_containers() {
        for text in [
            "",
            "0",
            "00",
            "4294967296",
            "-1",
            "--all",
            "a/b",
            "..",
            ".x",
            " db",
            "db ",
            "a\nb",
            "$(id)",
            "{db}",
            "a;b",
            "a --fast",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"x".repeat(LONGEST + 1)), None);
        assert_eq!(Ctid::parse(b"\xff"), None);
    }
}
