//! xl, and xm where xl is absent. Both can hang for ever, so each call has a limit, and none is ever given a name: a
//! name of digits would be taken for a number.

use ocf::state::xen::list::{self, Domain};
use ocf::{Call, Error, Output, Result};
use std::ffi::OsStr;
use std::time::Duration;

/// Which tool manages the guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolstack {
    /// libxl's tool.
    Xl,
    /// xend's, up to Xen 4.4.
    Xm,
}

impl Toolstack {
    /// The one that is installed, or code 5.
    pub fn find(call: &Call) -> Result<Self> {
        if call.host.tool("xl").is_some() {
            Ok(Self::Xl)
        } else if call.host.tool("xm").is_some() {
            Ok(Self::Xm)
        } else {
            Err(Error::installed("neither xl nor xm is installed: install xen-utils"))
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xl => "xl",
            Self::Xm => "xm",
        }
    }

    /// Runs a subcommand.
    pub fn run(self, call: &Call, limit: Duration, words: &[impl AsRef<OsStr>]) -> Result<Output> {
        let mut tool = call.tool(self.name())?;
        for word in words {
            tool = tool.arg(word);
        }
        tool.within(limit).run()
    }

    /// Runs a subcommand on one domain, by its number; `before` holds the subcommand and its options.
    pub fn on(
        self,
        call: &Call,
        limit: Duration,
        before: &[&str],
        id: u32,
        after: &[&str],
    ) -> Result<Output> {
        let id = id.to_string();
        let words = [before, &[id.as_str()], after].concat();
        self.run(call, limit, &words)
    }

    /// All domains of this machine.
    pub fn list(self, call: &Call) -> Result<Vec<Domain>> {
        let name = self.name();
        let output = self.run(call, call.remaining() / 2, &["list"])?;
        if !output.succeeded() {
            return Err(Error::generic(format_args!("{name} list: {}", complaint(&output))));
        }
        list::parse(&output.stdout)
            .map_err(|why| Error::generic(format_args!("{name} list cannot be understood: {why}")))
    }
}

/// What the tool complained about, short enough to be read: the first line about an error, without the place in the
/// tool's source that it begins with. One that was killed did not come to complain.
pub fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines =
        || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Parsing config"));
    let line = lines()
        .find(|line| line.starts_with("ssh: "))
        .or_else(|| lines().find(|line| line.to_ascii_lowercase().contains("error")))
        .or_else(|| lines().next());
    let Some(line) = line else { return output.complaint() };
    let after = |word: &str| line.split_once(word).map(|(_, rest)| rest);
    // libxl: error: libxl_domain.c:81:libxl__domain_rename: Domain 2:...
    let short = after("libxl: error: ")
        .and_then(|rest| rest.split_once(": ").map(|(_, rest)| rest))
        .or_else(|| after("panic: ").and_then(|rest| rest.split_once(": ").map(|(_, rest)| rest)))
        .unwrap_or(line);
    let short = ocf::printable(short.as_bytes());
    match output.signal {
        Some(signal) => format!("killed by signal {signal}: {short}"),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stderr: &str) -> String {
        complaint(&Output { code: Some(3), signal: None, stdout: Vec::new(), stderr: stderr.into() })
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let exists = "Parsing config from /etc/xen/dom1.cfg\nlibxl: error: libxl_domain.c:81:libxl__domain_rename: \
            Domain 2:Domain with name \"dom1\" already exists.\nlibxl: error: x.c:1:y: Domain 2:cannot make domain: -6\n";
        assert_eq!(said(exists), "Domain 2:Domain with name \"dom1\" already exists.");
        let kernel = "Parsing config from /tmp/d2.cfg\nxc: error: panic: xg_dom_core.c:205: failed to open file \
            '/boot/nosuch': No such file or directory: Internal error\n";
        assert_eq!(
            said(kernel),
            "failed to open file '/boot/nosuch': No such file or directory: Internal error"
        );
        assert_eq!(
            said("dom1 is an invalid domain identifier (rc=-6)\n"),
            "dom1 is an invalid domain identifier (rc=-6)"
        );
        assert_eq!(said(""), "exit code 3");
    }

    /// As xl migrate, killed while the memory was copied.
    #[test]
    fn what_a_killed_tool_said_is_not_why_it_failed() {
        let output = Output {
            code: None,
            signal: Some(9),
            stdout: Vec::new(),
            stderr: b"migration target: Ready to receive domain.\n".to_vec(),
        };
        assert_eq!(complaint(&output), "killed by signal 9: migration target: Ready to receive domain.");
    }
}
