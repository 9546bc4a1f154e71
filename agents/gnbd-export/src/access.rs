//! Who may connect.

use std::net::IpAddr;

/// What the parameter `allow` takes, in words.
pub const WORDS: &str = "any, or host NQNs, initiator names and addresses";

/// Longest name of an NVMe host or an iSCSI initiator, in bytes.
const NAME_MAX: usize = 223;

/// Whom the parameter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nobody is named.
    Unnamed,
    /// Everybody, because somebody said so.
    Any,
    /// These.
    List(Vec<String>),
}

/// What a name in the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The NQN of an NVMe host.
    Host,
    /// The name of an iSCSI initiator.
    Initiator,
    /// An address or a network.
    Address,
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(|char: char| char == ',' || char.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn kind(word: &str) -> Option<Kind> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:_-".contains(&byte);
    let is_name = word.len() <= NAME_MAX && word.bytes().all(plain);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| word.starts_with(prefix));
    if starts(&["nqn."]) {
        return is_name.then_some(Kind::Host);
    }
    if starts(&["iqn.", "eui.", "naa."]) {
        return is_name.then_some(Kind::Initiator);
    }
    let (address, bits) = word.split_once('/').unwrap_or((word, "0"));
    let most = match address.parse().ok()? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most).then_some(Kind::Address)
}

/// Whether the text is such a list.
pub fn is_list(text: &str) -> bool {
    text == "any" || words(text).all(|word| kind(word).is_some())
}

impl Access {
    /// Reads the parameter; what is no name of any kind has been refused before.
    pub fn parse(text: &str) -> Self {
        if text == "any" {
            return Self::Any;
        }
        let list: Vec<String> = words(text).map(str::to_string).collect();
        if list.is_empty() { Self::Unnamed } else { Self::List(list) }
    }

    /// The names of that kind.
    pub fn of(&self, wanted: Kind) -> Vec<String> {
        match self {
            Self::List(list) => list.iter().filter(|word| kind(word) == Some(wanted)).cloned().collect(),
            Self::Unnamed | Self::Any => Vec::new(),
        }
    }

    /// Whether somebody is named, but nobody of that kind: then the list was meant for something else.
    pub fn misses(&self, wanted: Kind) -> bool {
        matches!(self, Self::List(_)) && self.of(wanted).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_kind_are_told_apart() {
        let text = "nqn.2014-08.org.nvmexpress:uuid:1, iqn.2026-11.net.example:client 10.0.0.0/24,fe80:0:0:0:0:0:0:1";
        assert!(is_list(text));
        let access = Access::parse(text);
        assert_eq!(access.of(Kind::Host), ["nqn.2014-08.org.nvmexpress:uuid:1"]);
        assert_eq!(access.of(Kind::Initiator), ["iqn.2026-11.net.example:client"]);
        assert_eq!(access.of(Kind::Address), ["10.0.0.0/24", "fe80:0:0:0:0:0:0:1"]);
        assert!(Access::parse("10.0.0.1").misses(Kind::Host));
        assert!(!Access::parse("any").misses(Kind::Host));
        assert_eq!(Access::parse(" , "), Access::Unnamed);
    }

    #[test]
    fn what_could_be_a_path_or_an_option_is_refused() {
        for text in
            ["nqn./../x", "../x", "-x", "nqn.a\nb/", "10.0.0.0/33", "host1", "any nqn.x", "iqn.a/b", "*"]
        {
            assert!(!is_list(text), "{text}");
        }
        assert!(!is_list(&format!("nqn.{}", "x".repeat(220))));
    }
}
