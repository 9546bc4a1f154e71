//! A guest's configuration: assignments, as xl reads them and as old xm files hold them. Nothing is evaluated.
//!
//! `name = "web"`, `memory = 256`, `disk = [ 'phy:/dev/drbd0,xvda,w' ]`, `;` or a line's end between them, `#` before a
//! comment, `+=` to append. The last assignment of a key counts. The files of xm are Python: there, a statement that is
//! no such assignment is passed over, unless it names a key that is asked for.

use std::iter::Peekable;
use std::str::Chars;

/// Which language a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// xl's own: every statement has to be understood.
    Xl,
    /// Python, as xm takes it.
    Xm,
}

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
    List(Vec<Value>),
}

/// What an agent needs to know of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The domain's name.
    pub name: Option<String>,
    /// Its disks, as text: see [`super::disk`].
    pub disks: Vec<String>,
    /// Megabytes at the start.
    pub memory_mb: Option<u64>,
    /// Megabytes at most.
    pub maxmem_mb: Option<u64>,
    /// Virtual processors.
    pub vcpus: Option<u64>,
}

/// The keys that are looked at.
const KEYS: [&str; 5] = ["name", "disk", "memory", "maxmem", "vcpus"];

/// Reads a whole file. The error names the line and what is wrong with it.
pub fn parse(text: &[u8], syntax: Syntax) -> Result<Config, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_string())?;
    if text.contains('\0') {
        return Err("it is no text".into());
    }
    let mut reader = Reader { chars: text.chars().peekable(), line: 1, indented: false };
    let mut config = Config::default();
    while reader.skip_to_statement() {
        let (line, start) = (reader.line, reader.chars.clone());
        // In Python it belongs to a condition or a function.
        let of_a_block = syntax == Syntax::Xm && reader.indented;
        let result = reader.statement();
        let result = result.and_then(|(key, append, value)| match of_a_block {
            true if KEYS.contains(&key.as_str()) => Err(format!("{key} is set on a condition")),
            true => Ok(()),
            false => config.set(&key, append, value),
        });
        match result {
            Ok(()) => {}
            Err(why) => {
                reader = Reader { chars: start, line, indented: false };
                let passed = reader.pass_over();
                if syntax == Syntax::Xl || names_a_key(&passed) {
                    return Err(format!("line {line}: {why}"));
                }
            }
        }
    }
    Ok(config)
}

fn names_a_key(statement: &str) -> bool {
    let words = statement.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let mut words = words.into_iter();
    words.any(|word| KEYS.contains(&word))
}

impl Config {
    fn set(&mut self, key: &str, append: bool, value: Value) -> Result<(), String> {
        let number = |value: &Value| match value {
            Value::Number(number) => Ok(Some(*number)),
            Value::Text(text) => {
                text.trim().parse().map(Some).map_err(|_| format!("{key} is no whole number"))
            }
            Value::List(_) => Err(format!("{key} is no whole number")),
        };
        if append && KEYS.contains(&key) && key != "disk" {
            return Err(format!("{key} cannot be appended to"));
        }
        match (key, value) {
            ("name", Value::Text(text)) => self.name = Some(text),
            ("name", _) => return Err("name is no text in quotes".into()),
            ("disk", Value::List(items)) => {
                let texts = items.into_iter().map(|item| match item {
                    Value::Text(text) => Ok(text),
                    _ => Err("disk holds something else than text in quotes".to_string()),
                });
                let texts = texts.collect::<Result<Vec<_>, _>>()?;
                if append { self.disks.extend(texts) } else { self.disks = texts }
            }
            ("disk", _) => return Err("disk is no list".into()),
            ("memory", value) => self.memory_mb = number(&value)?,
            ("maxmem", value) => self.maxmem_mb = number(&value)?,
            ("vcpus", value) => self.vcpus = number(&value)?,
            _ => {}
        }
        Ok(())
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    line: u32,
    indented: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    /// Passes blanks, comments and, if `lines`, ends of lines.
    fn skip(&mut self, lines: bool) {
        while let Some(&char) = self.chars.peek() {
            match char {
                ' ' | '\t' | '\r' | '\u{c}' => {
                    self.indented = true;
                    self.next();
                }
                '\n' if lines => {
                    self.next();
                    self.indented = false;
                }
                '#' => {
                    while self.chars.peek().is_some_and(|&char| char != '\n') {
                        self.next();
                    }
                }
                _ => break,
            }
        }
    }

    /// True if there is another statement.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            self.skip(true);
            match self.chars.peek() {
                Some(';') => drop(self.next()),
                found => return found.is_some(),
            }
        }
    }

    fn statement(&mut self) -> Result<(String, bool, Value), String> {
        let mut key = String::new();
        while let Some(&char) = self.chars.peek() {
            let fits =
                char.is_ascii_alphabetic() || char == '_' || (!key.is_empty() && char.is_ascii_digit());
            if !fits {
                break;
            }
            key.push(char);
            self.next();
        }
        if key.is_empty() {
            return Err("no assignment".into());
        }
        self.skip(false);
        let append = self.chars.next_if_eq(&'+').is_some();
        if self.chars.next_if_eq(&'=').is_none() {
            return Err(format!("no = behind {key}"));
        }
        self.skip(false);
        let value = self.value(0)?;
        self.skip(false);
        match self.chars.peek() {
            None | Some('\n' | ';') => Ok((key, append, value)),
            Some(_) => Err(format!("more than one value for {key}")),
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, String> {
        match self.chars.peek().copied() {
            Some(quote @ ('"' | '\'')) => self.text(quote).map(Value::Text),
            Some('[') if depth < 8 => self.list(depth),
            Some('0'..='9') => self.number(),
            _ => Err("no text in quotes, number or list".into()),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let mut word = String::new();
        while let Some(char) = self.chars.next_if(|char| char.is_ascii_alphanumeric() || *char == '.') {
            word.push(char);
        }
        let parsed = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        match parsed {
            Ok(number) => Ok(Value::Number(number)),
            // Some keys that are not looked at take fractions.
            Err(_) if word.parse::<f64>().is_ok() => Ok(Value::Text(word)),
            Err(_) => Err(format!("'{word}' is no number")),
        }
    }

    fn text(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        self.next();
        loop {
            match self.next() {
                Some(char) if char == quote => return Ok(text),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(char @ ('\\' | '"' | '\'')) => text.push(char),
                    _ => return Err("an escape that is not known".into()),
                },
                None | Some('\n') => return Err("a quote that is not closed".into()),
                Some(char) => text.push(char),
            }
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, String> {
        self.next();
        let mut items = Vec::new();
        loop {
            self.skip(true);
            if self.chars.next_if_eq(&']').is_some() {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
            self.skip(true);
            if self.chars.next_if_eq(&',').is_none() && self.chars.peek() != Some(&']') {
                return Err("a list that is not closed".into());
            }
        }
    }

    /// Passes a statement that is not understood: to the line's end, or further while brackets are open.
    fn pass_over(&mut self) -> String {
        let mut passed = String::new();
        let mut open = 0_i32;
        let mut quote = None;
        while let Some(char) = self.next() {
            match (quote, char) {
                (None, '\n') if open <= 0 => break,
                (Some(_), '\n') => quote = None,
                (None, '#') => {
                    while self.chars.peek().is_some_and(|&char| char != '\n') {
                        self.next();
                    }
                }
                (None, '\'' | '"') => quote = Some(char),
                (Some(opened), _) if opened == char => quote = None,
                (None, '[' | '(' | '{') => open += 1,
                (None, ']' | ')' | '}') => open -= 1,
                _ => {}
            }
            passed.push(char);
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xl(text: &str) -> Result<Config, String> {
        parse(text.as_bytes(), Syntax::Xl)
    }

    fn name(text: &str) -> Option<String> {
        xl(text).unwrap().name
    }

    #[test]
    fn the_recorded_configuration_is_understood() {
        let text = "name = \"pvh1\"\ntype = \"pvh\"\nkernel = \"/boot/vmlinux-domu\"\n\
            extra = \"console=hvc0 quiet init=/init\"\nmemory = 128\nvcpus = 1\non_crash = \"destroy\"\n\
            disk = [\"phy:/dev/drbd0,xvda,w\"]\n";
        let config = xl(text).unwrap();
        assert_eq!(config.name.as_deref(), Some("pvh1"));
        assert_eq!((config.memory_mb, config.vcpus, config.maxmem_mb), (Some(128), Some(1), None));
        assert_eq!(config.disks, ["phy:/dev/drbd0,xvda,w"]);
    }

    /// What the old agent's sed and awk made of these was the resource's id, or nothing.
    #[test]
    fn comments_blanks_quotes_and_semicolons_do_not_lose_the_name() {
        assert_eq!(name("name=\"vm100\" # comment\n").as_deref(), Some("vm100"));
        assert_eq!(name("name = 'vm-01';memory=5").as_deref(), Some("vm-01"));
        assert_eq!(name("name = \"vm-01\"   \r\n").as_deref(), Some("vm-01"));
        assert_eq!(name("name=\"a\"\nname=\"b\"\n").as_deref(), Some("b"));
        assert_eq!(name("#name=\"a\"\n").as_deref(), None);
        assert_eq!(name("extra = \"name=x; name = 'y'\"\n").as_deref(), None);
        assert_eq!(name("hostname = \"x\"\n").as_deref(), None);
        assert_eq!(name("").as_deref(), None);
    }

    #[test]
    fn lists_may_go_over_lines_and_be_appended_to() {
        let text = "disk = [ 'phy:/dev/drbd0,sda1,w', # root\n\n  \"file:/a,b\" ,\n]\ndisk += [ 'third' ]\n";
        assert_eq!(xl(text).unwrap().disks, ["phy:/dev/drbd0,sda1,w", "file:/a,b", "third"]);
        assert!(xl("disk = []\nvif = [ ['a', 'b'], 1 ]\n").unwrap().disks.is_empty());
    }

    #[test]
    fn numbers_may_stand_in_quotes() {
        let config = xl("memory='256'\nmaxmem=\"512\"\nvcpus=0x2\ncpu_weight=1.5\n").unwrap();
        assert_eq!((config.memory_mb, config.maxmem_mb, config.vcpus), (Some(256), Some(512), Some(2)));
    }

    #[test]
    fn what_xl_would_refuse_is_refused_and_its_line_named() {
        for text in [
            "name = dom2\n",
            "name = \n",
            "name = \"a\n",
            "name = 5\n",
            "name \"a\"\n",
            "name += \"a\"\n",
            "name = \"a\" \"b\"\n",
            "disk = 'phy:/dev/x'\n",
            "disk = [ 'a'\n",
            "disk = [ 5 ]\n",
            "disk = [ 'a' 'b' ]\n",
            "memory = \"many\"\n",
            "memory = 12x\n",
            "if x: y\n",
            "import os\n",
            "a = os.environ['x']\n",
            "= 5\n",
        ] {
            let error = xl(&format!("\n# c\n{text}")).unwrap_err();
            assert!(error.starts_with("line 3: "), "{text:?}: {error}");
        }
        assert!(parse(b"\xff\n", Syntax::Xl).is_err());
        assert!(parse(b"a = 'b\0'\n", Syntax::Xl).is_err());
        assert!(xl(&"a = [".repeat(100)).is_err());
        assert!(xl(&format!("a = {}", "[".repeat(100))).is_err());
    }

    #[test]
    fn python_is_passed_over_where_it_does_not_touch_what_is_asked() {
        let text = "import os, re\narch = os.uname()[4]\nif re.search('64', arch):\n    arch_libdir = 'lib64'\n\
            kernel = \"/boot/\" + arch\nname = 'domain1'\nmemory = 256\ndisk = [ 'phy:/dev/drbd0,sda1,w' ]\nvif = [ '' ]\n";
        let config = parse(text.as_bytes(), Syntax::Xm).unwrap();
        assert_eq!(config.name.as_deref(), Some("domain1"));
        assert_eq!(config.disks, ["phy:/dev/drbd0,sda1,w"]);
        for text in [
            "name = 'vm%d' % vmid\n",
            "disk = [ 'phy:' + x ]\n",
            "if True:\n    name = 'x'\n",
            "if True:\n\n\tdisk = []\n",
            "(name) = 'x'\n",
        ] {
            assert!(parse(text.as_bytes(), Syntax::Xm).is_err(), "{text}");
        }
    }
}
