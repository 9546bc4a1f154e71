//! From the table and the caller's values to the agent's struct, by way of serde.
//!
//! The table owns names, aliases and defaults; the struct's fields own the types. Values are bytes: a path need not
//! be UTF-8.

use crate::error::printable;
use crate::{Error, Kind, Parameter};
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The words that are true; `ocf_is_true` of the shell agents knows the same.
const TRUE_WORDS: [&str; 9] = ["yes", "true", "1", "YES", "TRUE", "True", "ja", "on", "ON"];
/// Their opposites.
const FALSE_WORDS: [&str; 9] = ["no", "false", "0", "NO", "FALSE", "False", "nein", "off", "OFF"];

/// The truth of a word, if it is one.
pub fn parse_bool(word: &str) -> Option<bool> {
    if TRUE_WORDS.contains(&word) {
        Some(true)
    } else if FALSE_WORDS.contains(&word) {
        Some(false)
    } else {
        None
    }
}

/// A parameter that may hold any bytes, such as a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(OsString);

impl Text {
    /// The value as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The value as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Blanks at either end are almost always a mistake in the configuration.
    pub fn has_blank_edge(&self) -> bool {
        let bytes = self.bytes();
        bytes.first().is_some_and(u8::is_ascii_whitespace)
            || bytes.last().is_some_and(u8::is_ascii_whitespace)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for Text {
    type Target = OsStr;
    fn deref(&self) -> &OsStr {
        &self.0
    }
}

/// For sentences: printable ASCII only.
impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.bytes()))
    }
}

impl<'de> de::Deserialize<'de> for Text {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Text, E> {
                Ok(Text(OsString::from_vec(bytes)))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// One row of the table with what the caller gave for it.
#[derive(Debug, Clone)]
pub struct Given {
    /// The row.
    pub row: &'static Parameter,
    /// The caller's value; none if it gave none, or an empty one where empty means unset.
    pub value: Option<OsString>,
}

/// The caller's values, a row each, in the table's order.
#[derive(Debug, Clone)]
pub struct Values(Vec<Given>);

impl Values {
    /// Nothing given yet.
    pub fn new(table: &'static [Parameter]) -> Self {
        Self(table.iter().map(|row| Given { row, value: None }).collect())
    }

    /// Takes `value` for the parameter called `name`. False if there is no such parameter.
    pub fn set(&mut self, name: &str, value: &OsStr) -> bool {
        let Some(given) =
            self.0.iter_mut().find(|given| given.row.name == name || given.row.aliases.contains(&name))
        else {
            return false;
        };
        // A value under the parameter's own name wins over one under an alias, whatever their order.
        let by_alias = given.row.name != name;
        if (given.value.is_none() || !by_alias) && (!value.is_empty() || given.row.empty_is_a_value) {
            given.value = Some(value.to_os_string());
        }
        true
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &Given> {
        self.0.iter()
    }

    /// The agent's struct. A default that depends on the host is left to the agent, whose field is an Option: looking
    /// it up costs, and few actions need it. With `strict`, a value that cannot be used is an error with code 6; without, it is
    /// reported to `warn` and the default stands in: a monitor or a stop must not fail over a parameter that it does
    /// not need.
    pub fn read<A: DeserializeOwned>(&self, strict: bool, warn: &dyn Fn(&Error)) -> crate::Result<A> {
        let rows = Rows { rest: self.0.iter(), next: None, strict, warn };
        A::deserialize(de::value::MapAccessDeserializer::new(rows))
            .map_err(|Unusable(text)| Error::configured(text))
    }
}

/// Why a value cannot be used: what is accepted, and once the row is known, the whole sentence.
#[derive(Debug)]
struct Unusable(String);

impl Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl de::Error for Unusable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Rows<'a> {
    rest: std::slice::Iter<'a, Given>,
    next: Option<&'a Given>,
    strict: bool,
    warn: &'a dyn Fn(&Error),
}

impl<'de> de::MapAccess<'de> for Rows<'_> {
    type Error = Unusable;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unusable> {
        self.next = self.rest.next();
        let Some(given) = self.next else { return Ok(None) };
        let key: StrDeserializer<'_, Unusable> = given.row.name.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unusable> {
        let Some(given) = self.next else {
            return Err(Unusable("no parameter".into()));
        };
        let default = || given.row.fixed_default().map(OsStr::new);
        let chosen = given.value.as_deref().or_else(default);
        let value = match &given.value {
            Some(value) if !usable(given.row, value) => {
                let error = sentence(given, &accepted(given.row));
                if self.strict {
                    return Err(Unusable(error.reason().to_string()));
                }
                (self.warn)(&error);
                default()
            }
            _ => chosen,
        };
        seed.deserialize(Value(value))
            .map_err(|Unusable(why)| Unusable(sentence(given, &why).reason().to_string()))
    }
}

fn sentence(given: &Given, accepted: &str) -> Error {
    let value = given.value.as_deref().unwrap_or_default();
    let mut shown = printable(value.as_bytes());
    if shown.len() > 40 {
        shown.truncate(40);
        shown.push_str("...");
    }
    Error::configured(format_args!("parameter {} is '{shown}': {accepted}", given.row.name))
}

fn usable(row: &Parameter, value: &OsStr) -> bool {
    let Some(text) = value.to_str() else {
        return row.kind == Kind::String && row.accepts.is_none();
    };
    match row.kind {
        Kind::Boolean => parse_bool(text).is_some(),
        Kind::Integer => {
            text.parse::<i64>().is_ok() && row.accepts.is_none_or(|grammar| (grammar.accepts)(text))
        }
        Kind::String => row.accepts.is_none_or(|grammar| (grammar.accepts)(text)),
    }
}

fn accepted(row: &Parameter) -> String {
    match (row.kind, row.accepts) {
        (Kind::Boolean, _) => BOOL_ACCEPTED.into(),
        (_, Some(grammar)) => format!("accepted is {}", grammar.words),
        (Kind::Integer, None) => INTEGER_ACCEPTED.into(),
        (Kind::String, None) => TEXT_ACCEPTED.into(),
    }
}

const BOOL_ACCEPTED: &str = "accepted is yes, true, 1, on or no, false, 0, off";
const INTEGER_ACCEPTED: &str = "accepted is a whole number";
const TEXT_ACCEPTED: &str = "accepted is text in UTF-8";

/// One value on its way into a field.
struct Value<'a>(Option<&'a OsStr>);

impl<'a> Value<'a> {
    fn text(&self) -> Result<&'a str, Unusable> {
        self.0.unwrap_or_default().to_str().ok_or_else(|| Unusable(TEXT_ACCEPTED.into()))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
            let number = self.text()?.parse::<$type>().map_err(|_| Unusable(INTEGER_ACCEPTED.into()))?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Value<'_> {
    type Error = Unusable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        visitor.visit_byte_buf(self.0.unwrap_or_default().as_bytes().to_vec())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        // Nothing given and no default is false.
        let word = self.text()?;
        let truth = if word.is_empty() { Some(false) } else { parse_bool(word) };
        visitor.visit_bool(truth.ok_or_else(|| Unusable(BOOL_ACCEPTED.into()))?)
    }

    integers! {
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unusable> {
        match self.0 {
            None => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unusable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unusable> {
        let variant: StrDeserializer<'_, Unusable> = self.text()?.into_deserializer();
        visitor.visit_enum(variant)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 f32 f64 char str string bytes unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Auto,
        Force,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        path: Text,
        count: Option<u32>,
        quick: bool,
        mode: Mode,
        signals: String,
    }

    const TABLE: &[Parameter] = &[
        Parameter::string("path").aliases(&["old_path"]),
        Parameter::integer("count"),
        Parameter::boolean("quick").default("no"),
        Parameter::string("mode")
            .default("auto")
            .accepts(|word| word == "auto" || word == "force", "auto or force"),
        Parameter::string("signals").default("TERM").empty_is_a_value(),
    ];

    fn read(pairs: &[(&str, &[u8])], strict: bool) -> (crate::Result<Sample>, Vec<String>) {
        let mut values = Values::new(TABLE);
        for (name, value) in pairs {
            assert!(values.set(name, OsStr::from_bytes(value)), "{name}");
        }
        let warnings = std::cell::RefCell::new(Vec::new());
        let sample = values.read(strict, &|error| warnings.borrow_mut().push(error.to_string()));
        (sample, warnings.into_inner())
    }

    #[test]
    fn defaults_stand_in_for_what_is_not_given() {
        let sample = read(&[], true).0.unwrap();
        assert_eq!(sample.path, Text::default());
        assert_eq!((sample.count, sample.quick, sample.mode), (None, false, Mode::Auto));
        assert_eq!(sample.signals, "TERM");
    }

    #[test]
    fn a_path_keeps_bytes_that_are_not_utf8() {
        assert_eq!(read(&[("path", b"/mnt/\xff\n")], true).0.unwrap().path.bytes(), b"/mnt/\xff\n");
    }

    #[test]
    fn an_empty_value_is_unset_unless_the_table_says_otherwise() {
        let sample = read(&[("quick", b""), ("signals", b"")], true).0.unwrap();
        assert!(!sample.quick);
        assert_eq!(sample.signals, "");
    }

    #[test]
    fn the_own_name_wins_over_an_alias_in_either_order() {
        for pairs in [[("path", b"/own"), ("old_path", b"/old")], [("old_path", b"/old"), ("path", b"/own")]]
        {
            let pairs: Vec<(&str, &[u8])> =
                pairs.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            assert_eq!(read(&pairs, true).0.unwrap().path.bytes(), b"/own");
        }
    }

    #[test]
    fn an_unusable_value_is_code_6_and_names_parameter_value_and_what_is_accepted() {
        for (name, value, accepted) in [
            ("quick", "perhaps", "accepted is yes, true, 1, on or no, false, 0, off"),
            ("count", "many", "accepted is a whole number"),
            ("mode", "never", "accepted is auto or force"),
        ] {
            let error = read(&[(name, value.as_bytes())], true).0.unwrap_err();
            assert_eq!(error.code(), crate::ExitCode::Configured);
            assert_eq!(error.reason(), format!("parameter {name} is '{value}': {accepted}"));
        }
    }

    #[test]
    fn a_lenient_reader_takes_the_default_and_warns() {
        let (sample, warnings) = read(&[("quick", b"perhaps"), ("mode", b"never")], false);
        let sample = sample.unwrap();
        assert_eq!((sample.quick, sample.mode), (false, Mode::Auto));
        assert_eq!(warnings.len(), 2);
        assert!(warnings[1].contains("auto or force"), "{warnings:?}");
    }

    #[test]
    fn every_truth_word_of_the_shell_agents_is_known() {
        for word in "yes true 1 YES TRUE True ja on ON".split(' ') {
            assert_eq!(parse_bool(word), Some(true));
        }
        assert_eq!(parse_bool("Yes"), None);
    }
}
