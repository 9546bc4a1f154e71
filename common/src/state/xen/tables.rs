//! The smaller answers: `block-list` and `info`.

/// State of a device's back end (xen/include/public/io/xenbus.h).
pub const CONNECTED: u32 = 4;

/// A disk's back end as `xl block-list` and `xm block-list` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackEnd {
    /// The number of the disk in the guest.
    pub disk: String,
    /// Its state; 4 is connected.
    pub state: u32,
    /// Where xenstored keeps it.
    pub path: String,
}

/// Reads a list of block devices.
pub fn block_list(text: &[u8]) -> Result<Vec<BackEnd>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "no text".to_string())?;
    let mut lines = text.lines();
    if !text.ends_with('\n') || !lines.next().is_some_and(|line| line.starts_with("Vdev ")) {
        return Err("it has no header".into());
    }
    let rows = lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [disk, _, _, state, _, _, path] => {
                state.parse().ok().map(|state| BackEnd { disk: (*disk).into(), state, path: (*path).into() })
            }
            _ => None,
        }
        .ok_or_else(|| format!("'{}' is no line of it", crate::printable(line.trim().as_bytes())))
    });
    rows.collect()
}

/// A value of `xl info` or `xm info`.
pub fn info<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_back_ends() {
        let header = "Vdev  BE  handle state evt-ch ring-ref BE-path                       \n";
        let good = "51712 0   6      1     -1     -1       /local/domain/0/backend/vbd/6/51712\n";
        let found = block_list(format!("{header}{good}").as_bytes()).unwrap();
        assert_eq!((found[0].disk.as_str(), found[0].state), ("51712", 1));
        assert!(block_list(header.as_bytes()).unwrap().is_empty());
        for text in ["", "moun", "51712 0\n", good] {
            assert!(block_list(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(block_list(format!("{header}51712 0   6      x     -1     -1  /l\n").as_bytes()).is_err());
        assert!(block_list(format!("{header}51712 0   6\n").as_bytes()).is_err());
    }
}
