//! Data written before a switch and looked for after it.

use crate::{Node, Result, failed};

/// What was written, so that it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    path: String,
    sum: String,
}

impl Written {
    /// Writes `kilobytes` of random data, which are on disk when this returns.
    ///
    /// # Errors
    /// When the node cannot.
    pub fn to(node: &Node, path: &str, kilobytes: u32) -> Result<Self> {
        let line = format!(
            "set -e; mkdir -p \"$(dirname {path})\"; dd if=/dev/urandom of={path} bs=1k count={kilobytes} conv=fsync status=none
             sync; sha256sum <{path}"
        );
        Ok(Self { path: path.to_owned(), sum: node.must(&line)? })
    }

    /// The same data, with the file system mounted at `to` instead of `from`.
    #[must_use]
    pub fn moved(&self, from: &str, to: &str) -> Self {
        Self { path: self.path.replacen(from, to, 1), sum: self.sum.clone() }
    }

    /// Fails unless `node` reads the same.
    ///
    /// # Errors
    /// When it does not.
    pub fn is_on(&self, node: &Node) -> Result {
        let path = &self.path;
        let sum = node.must(&format!("echo 3 >/proc/sys/vm/drop_caches; sha256sum <{path}"))?;
        if sum == self.sum {
            return Ok(());
        }
        Err(failed(format!(
            "{path} on {} is not what was written: {sum} instead of {}",
            node.name(),
            self.sum
        )))
    }
}
