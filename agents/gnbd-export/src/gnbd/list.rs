//! What `gnbd_export -l` prints, in the words of GNBD 1.0, 1.02 and 2.

/// One export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Withdrawn by force, with its servers not yet gone.
    pub invalid: bool,
    /// The device or file.
    pub file: String,
    /// Its size in sectors of 512 bytes.
    pub sectors: u64,
    /// For reading only.
    pub readonly: bool,
    /// Through the page cache, without a cluster manager.
    pub cached: bool,
}

/// An export whose lines are being read.
#[derive(Default)]
struct Block<'a> {
    name: &'a str,
    invalid: bool,
    file: Option<&'a str>,
    sectors: Option<u64>,
    readonly: Option<bool>,
    cached: Option<bool>,
    timeout: bool,
}

impl Block<'_> {
    fn entry(&self) -> Result<Entry, String> {
        let missing = |what: &str| format!("export {} has no line '{what}'", self.name);
        if !self.timeout {
            return Err(missing("timeout"));
        }
        Ok(Entry {
            name: self.name.into(),
            invalid: self.invalid,
            file: self.file.ok_or_else(|| missing("file"))?.into(),
            sectors: self.sectors.ok_or_else(|| missing("sectors"))?,
            readonly: self.readonly.ok_or_else(|| missing("readonly"))?,
            cached: self.cached.ok_or_else(|| missing("cached"))?,
        })
    }
}

/// Reads the list. A line that is not understood, or one that is missing, makes the whole of it worthless: what an
/// export is must not be guessed.
pub fn parse(text: &[u8]) -> Result<Vec<Entry>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_string())?;
    let strange = |line: &str| format!("the line '{}' is not known", ocf::printable(line.as_bytes()));
    let mut entries = Vec::new();
    let mut block: Option<Block<'_>> = None;
    let mut empty = false;
    for line in text.lines().map(str::trim) {
        if let Some((_, name)) = line.strip_prefix("Server[").and_then(|rest| rest.split_once("] : ")) {
            entries.extend(block.take().map(|block| block.entry()).transpose()?);
            let (name, invalid) = match name.strip_suffix("(invalid)") {
                Some(name) => (name.trim_end(), true),
                None => (name, false),
            };
            block = Some(Block { name, invalid, ..Block::default() });
        } else if line == "no exported GNBDs" {
            empty = true;
        } else if !line.is_empty() && !line.bytes().all(|byte| byte == b'-') {
            let (block, (word, value)) =
                block.as_mut().zip(line.split_once(" : ")).ok_or_else(|| strange(line))?;
            let yes = || match value {
                "yes" => Ok(true),
                "no" => Ok(false),
                _ => Err(strange(line)),
            };
            match word {
                "file" => block.file = Some(value),
                "sectors" => block.sectors = Some(value.parse().map_err(|_| strange(line))?),
                "readonly" => block.readonly = Some(yes()?),
                "cached" => block.cached = Some(yes()?),
                "timeout" => block.timeout = true,
                "uid" | "unique id" => {}
                _ => return Err(strange(line)),
            }
        }
    }
    entries.extend(block.map(|block| block.entry()).transpose()?);
    if entries.is_empty() && !empty { Err("it is empty".into()) } else { Ok(entries) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "Server[1] : ocfscluster \n--------------------------\n      file : /dev/drbd0\n   sectors : 2096944\n  readonly : no\n    cached : yes\n   timeout : no\n\nServer[2] : other (invalid)\n--------------------------\n      file : /dev/vg1/a\n   sectors : 8\n  readonly : yes\n    cached : no\n   timeout : 60\n       uid : 0\n\n";
    const OLD: &str = "Server[1] : gfs\n--------------------------\n      file : /dev/sda1\n   sectors : 78140097\n  readonly : no\n    cached : no\n   timeout : 60\n unique id : 42\n\n";

    #[test]
    fn lists_of_both_versions_are_read() {
        let list = parse(NEW.as_bytes()).unwrap();
        assert_eq!(
            list[0],
            Entry {
                name: "ocfscluster".into(),
                invalid: false,
                file: "/dev/drbd0".into(),
                sectors: 2_096_944,
                readonly: false,
                cached: true
            }
        );
        assert!(list[1].invalid && list[1].readonly && !list[1].cached);
        assert_eq!((list[1].name.as_str(), list.len()), ("other", 2));
        let list = parse(OLD.as_bytes()).unwrap();
        assert_eq!((list[0].name.as_str(), list[0].file.as_str()), ("gfs", "/dev/sda1"));
        assert_eq!(parse(b"no exported GNBDs\n"), Ok(Vec::new()));
    }

    /// Cut anywhere, it is never a shorter list with fewer exports than there are. A cut between two exports cannot be
    /// told from a whole list.
    #[test]
    fn a_list_that_is_cut_off_is_an_error() {
        for end in 0..OLD.find(" unique").unwrap() - 12 {
            assert!(parse(&OLD.as_bytes()[..end]).is_err(), "{end}");
        }
        for text in ["", "\n", "garbage", "Server[1] : a\n", "file : /dev/x\n", "\u{1}\u{ff}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(OLD.replace("78140097", "many").as_bytes()).is_err());
        assert!(parse(OLD.replace("cached : no", "cached : perhaps").as_bytes()).is_err());
    }
}
