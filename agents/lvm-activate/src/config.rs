//! LVM's configuration, read as lvm.conf(5) has it, so that no LVM command has to be run for a word or two of it. What
//! cannot be read so (host tags, an ID that only LVM can make) is asked of LVM.

use crate::lvm;
use ocf::{Call, Error, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Settings as `section/name`; a single value is a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, Vec<String>>,
}

impl Config {
    /// The configuration of this node.
    pub fn read(call: &Call) -> Result<Self> {
        // LVM itself obeys that variable.
        let folder =
            std::env::var_os("LVM_SYSTEM_DIR").map_or_else(|| PathBuf::from("/etc/lvm"), PathBuf::from);
        let mut values = BTreeMap::new();
        let mut is_plain = true;
        for name in ["lvm.conf", "lvmlocal.conf"] {
            let path = folder.join(name);
            match std::fs::read_to_string(call.host.path(&path)) {
                Ok(text) => match parse(&text) {
                    Some(more) => values.extend(more),
                    None => is_plain = false,
                },
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(Error::generic(format_args!("{} cannot be read: {error}", path.display())));
                }
            }
        }
        // Tags of this host may bring further files.
        is_plain &= !values.keys().any(|key| key.starts_with("tags/"));
        if is_plain { Ok(Self { values }) } else { Self::ask(call) }
    }

    fn ask(call: &Call) -> Result<Self> {
        let output = lvm::read(&["lvmconfig", "--typeconfig", "current"], call)?;
        let values = std::str::from_utf8(&output.stdout).ok().filter(|_| output.succeeded()).and_then(parse);
        match values {
            Some(values) => Ok(Self { values }),
            None => Err(Error::args(format_args!(
                "LVM's configuration cannot be read: {}",
                lvm::complaint(&output)
            ))),
        }
    }

    /// The value of a setting. None: it is not set.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// The value of a setting that has only one.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.get(key)?.first().map(String::as_str)
    }

    /// The system ID of this node (lvmsystemid(7)), if it has one.
    pub fn system_id(&self, call: &Call) -> Result<Option<String>> {
        let source = self.word("global/system_id_source").unwrap_or("none").to_ascii_lowercase();
        let line = |path: &str| call.host.read_line(Path::new(path));
        let raw = match source.as_str() {
            "none" => None,
            "lvmlocal" => self.word("local/system_id").map(str::to_string),
            "uname" => line("/proc/sys/kernel/hostname"),
            "machineid" => line("/etc/machine-id"),
            "file" => self.word("global/system_id_file").and_then(line).and_then(|text| first_line(&text)),
            _ => return ask_system_id(call),
        };
        Ok(raw.and_then(|raw| allowed(&raw)))
    }

    /// Whether the machine activates the group by itself at boot, as far as its configuration goes.
    pub fn activates_at_boot(&self, group: &str, tags: &[String]) -> bool {
        let matches = |entry: &String| {
            entry.split('/').next() == Some(group)
                || entry.strip_prefix('@').is_some_and(|tag| tag == "*" || tags.iter().any(|own| own == tag))
        };
        let lists = ["activation/volume_list", "activation/auto_activation_volume_list"];
        lists.iter().all(|key| self.get(key).is_none_or(|list| list.iter().any(matches)))
    }
}

fn first_line(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().map(str::to_string)
}

fn ask_system_id(call: &Call) -> Result<Option<String>> {
    let output = lvm::read(&["systemid"], call)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = text.lines().find_map(|line| line.trim().strip_prefix("system ID:"));
    match id.filter(|_| output.succeeded()) {
        Some(id) => Ok(Some(id.trim().to_string()).filter(|id| !id.is_empty())),
        None => Err(Error::generic(format_args!("lvm systemid: {}", lvm::complaint(&output)))),
    }
}

/// What LVM makes of a text: characters that it does not allow are left out, and no ID begins with `localhost`.
fn allowed(raw: &str) -> Option<String> {
    let start = raw.find(|first: char| first.is_ascii_alphanumeric())?;
    let rest = raw.get(start..)?;
    let id: String = rest
        .chars()
        .filter(|next| next.is_ascii_alphanumeric() || "._-+".contains(*next))
        .take(127)
        .collect();
    (!id.is_empty() && !id.starts_with("localhost")).then_some(id)
}

/// Sections in braces, `name = value`, lists in brackets, strings in quotes, comments after `#`. None: something else.
fn parse(text: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let mut sections: Vec<String> = Vec::new();
    let mut found = BTreeMap::new();
    while let Some(token) = tokens.next() {
        let name = match token {
            Token::Mark('}') => {
                sections.pop()?;
                continue;
            }
            Token::Word(name) => name,
            _ => return None,
        };
        match tokens.next()? {
            Token::Mark('{') => sections.push(name),
            Token::Mark('=') => {
                let mut key = sections.join("/");
                if !key.is_empty() {
                    key.push('/');
                }
                key.push_str(&name);
                found.insert(key, value(&mut tokens)?);
            }
            _ => return None,
        }
    }
    sections.is_empty().then_some(found)
}

fn value(tokens: &mut impl Iterator<Item = Token>) -> Option<Vec<String>> {
    match tokens.next()? {
        Token::Word(word) | Token::Quoted(word) => Some(vec![word]),
        Token::Mark('[') => {
            let mut list = Vec::new();
            loop {
                match tokens.next()? {
                    Token::Word(word) | Token::Quoted(word) => list.push(word),
                    Token::Mark(',') => {}
                    Token::Mark(']') => return Some(list),
                    Token::Mark(_) => return None,
                }
            }
        }
        Token::Mark(_) => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Mark(char),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '#' => while rest.next_if(|&skipped| skipped != '\n').is_some() {},
            _ if next.is_ascii_whitespace() => {}
            '{' | '}' | '[' | ']' | '=' | ',' => found.push(Token::Mark(next)),
            '"' | '\'' => {
                let mut quoted = String::new();
                loop {
                    match rest.next()? {
                        end if end == next => break,
                        '\\' if next == '"' => quoted.push(rest.next()?),
                        other => quoted.push(other),
                    }
                }
                found.push(Token::Quoted(quoted));
            }
            _ => {
                let mut word = String::from(next);
                let ends = |c: &char| c.is_ascii_whitespace() || "{}[]=,#\"'".contains(*c);
                while let Some(more) = rest.next_if(|c| !ends(c)) {
                    word.push(more);
                }
                found.push(Token::Word(word));
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config { values: parse(text).unwrap() }
    }

    #[test]
    fn sections_lists_and_comments_are_understood() {
        let text = "# a comment { \n global {\n\tsystem_id_source = \"uname\" # here\n use_lvmlockd=1\n}\n\
                    activation { volume_list = [ \"vg0\", \"@tag=1\",\n \"vg2/lv \\\"x\\\"\" ]\n empty=[] }\n\
                    devices/dir=\"/dev\"\ndevices { nested { deep = -1.5 } }\n";
        let config = config(text);
        assert_eq!(config.word("global/system_id_source"), Some("uname"));
        assert_eq!(config.word("global/use_lvmlockd"), Some("1"));
        assert_eq!(config.get("activation/volume_list").unwrap(), ["vg0", "@tag=1", "vg2/lv \"x\""]);
        assert_eq!(config.get("activation/empty").unwrap(), [""; 0]);
        assert_eq!(config.word("devices/dir"), Some("/dev"));
        assert_eq!(config.word("devices/nested/deep"), Some("-1.5"));
        assert_eq!(config.get("volume_list"), None);
    }

    #[test]
    fn what_is_no_configuration_is_not_read_as_an_empty_one() {
        for text in ["global {", "}", "a = ", "a = [1", "a", "a = \"b", "= 1", "a = [ { ] ]", "[x]\na=1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(""), Some(BTreeMap::new()));
    }

    #[test]
    fn a_system_id_has_only_the_characters_that_lvm_allows() {
        assert_eq!(allowed("node1.example.org").as_deref(), Some("node1.example.org"));
        assert_eq!(allowed("--my node:1\n").as_deref(), Some("mynode1"));
        for none in ["", "  ", "localhost", "localhost.localdomain"] {
            assert_eq!(allowed(none), None, "{none}");
        }
    }

    #[test]
    fn lists_keep_a_group_from_being_activated_at_boot() {
        let tags = ["t1".to_string()];
        assert!(config("").activates_at_boot("vg1", &tags));
        for (list, expected) in [
            ("\"vg1\"", true),
            ("\"vg1/root\"", true),
            ("\"@t1\"", true),
            ("\"@*\"", true),
            ("", false),
            ("\"vg11\", \"@t2\"", false),
        ] {
            for name in ["volume_list", "auto_activation_volume_list"] {
                let text = format!("activation {{ {name} = [ {list} ] }}");
                assert_eq!(config(&text).activates_at_boot("vg1", &tags), expected, "{text}");
            }
        }
    }
}
