//! `xl list` and `xm list`: the domains of this machine and what they do.
//!
//! The columns are read from the right, for a name of more than 40 characters pushes the others along. The state is
//! `r`unning, `b`locked, `p`aused, `s`hut down with the reason's letter behind it, `d`ying. All of `------` is a guest
//! that waits for a processor, which is normal.

/// Why a domain has shut down (xen/include/public/sched.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It switched itself off.
    Poweroff,
    /// It wants to be started again.
    Reboot,
    /// Its memory is being saved or has been sent away.
    Suspend,
    /// It crashed.
    Crash,
    /// Its watchdog fired.
    Watchdog,
    /// It asks for a soft reset, as a crash kernel does.
    SoftReset,
    /// A number that the tool does not know.
    Unknown,
}

/// What a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It runs, or waits for something.
    Live,
    /// Stopped by the toolstack, with all its memory.
    Paused,
    /// It has ended, and nobody has cleaned up yet.
    ShutDown(Reason),
    /// It is being destroyed, or something still holds its memory.
    Dying,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its number: new with every start.
    pub id: u32,
    /// Its name; none once xenstored has forgotten it.
    pub name: Option<String>,
    /// Megabytes.
    pub memory_mb: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// What it does.
    pub run: Run,
}

/// Reads the whole list. The error says what cannot be understood.
pub fn parse(text: &[u8]) -> Result<Vec<Domain>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "no text".to_string())?;
    if !text.ends_with('\n') {
        return Err("it breaks off".into());
    }
    let mut lines = text.lines().skip_while(|line| !is_header(line));
    let header = lines.next().ok_or("it has no header")?;
    let verbose = header.contains("UUID");
    let mut domains: Vec<Domain> = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if let Some(domain) = row(line, verbose)? {
            if domains.iter().any(|found| found.id == domain.id) {
                return Err(format!("it has domain {} twice", domain.id));
            }
            domains.push(domain);
        }
    }
    // There is always the domain that was asked.
    if domains.is_empty() { Err("it is empty".into()) } else { Ok(domains) }
}

fn is_header(line: &str) -> bool {
    line.starts_with("Name ") && ["ID", "Mem", "VCPUs", "State"].iter().all(|word| line.contains(word))
}

/// None: a domain that xend knows and that is not running has no number.
fn row(line: &str, verbose: bool) -> Result<Option<Domain>, String> {
    let garbled = || {
        let shown: String = line.chars().take(60).collect();
        format!("'{}' is no line of it", crate::printable(shown.trim().as_bytes()))
    };
    let mut rest = line.trim_end();
    let mut last = || {
        let (before, word) = rest.rsplit_once([' ', '\t'])?;
        rest = before.trim_end();
        Some(word)
    };
    if verbose {
        // UUID, reason code, security label.
        for _ in 0..3 {
            last();
        }
    }
    let mut numbers = || -> Option<(Option<Run>, u32, u64)> {
        last()?.parse::<f64>().ok()?;
        let word = last()?;
        match state(word) {
            Some(run) => Some((Some(run), last()?.parse().ok()?, last()?.parse().ok()?)),
            None => Some((None, word.parse().ok()?, last()?.parse().ok()?)),
        }
    };
    let (run, vcpus, memory_mb) = numbers().ok_or_else(garbled)?;
    let Some(run) = run else { return Ok(None) };
    let id = last().and_then(|word| word.parse().ok()).ok_or_else(garbled)?;
    let name = rest.trim();
    let name = if name == "(null)" || name.is_empty() { None } else { Some(name.to_string()) };
    Ok(Some(Domain { id, name, memory_mb, vcpus, run }))
}

/// The six letters of the state.
pub fn state(word: &str) -> Option<Run> {
    let [running, blocked, paused, shut_down, reason, dying] = word.as_bytes() else { return None };
    let known = [(running, b'r'), (blocked, b'b'), (paused, b'p'), (shut_down, b's'), (dying, b'd')];
    if !known.iter().all(|(is, letter)| **is == *letter || **is == b'-') {
        return None;
    }
    let reason = match reason {
        b'-' => Reason::Poweroff,
        b'r' => Reason::Reboot,
        b's' => Reason::Suspend,
        b'c' => Reason::Crash,
        b'w' => Reason::Watchdog,
        b'S' => Reason::SoftReset,
        b'?' => Reason::Unknown,
        _ => return None,
    };
    if *dying == b'd' {
        Some(Run::Dying)
    } else if *shut_down == b's' || reason != Reason::Poweroff {
        // xm shows a crashed domain without the s.
        Some(Run::ShutDown(reason))
    } else if *paused == b'p' {
        Some(Run::Paused)
    } else {
        Some(Run::Live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n";

    fn one(line: &str) -> Result<Vec<Domain>, String> {
        parse(format!("{HEADER}{line}\n").as_bytes())
    }

    #[test]
    fn every_state_is_known_by_its_letters() {
        use Reason::*;
        for (word, run) in [
            ("r-----", Run::Live),
            ("-b----", Run::Live),
            ("------", Run::Live),
            ("rb----", Run::Live),
            ("--p---", Run::Paused),
            ("---s--", Run::ShutDown(Poweroff)),
            ("---sr-", Run::ShutDown(Reboot)),
            ("---ss-", Run::ShutDown(Suspend)),
            ("---sc-", Run::ShutDown(Crash)),
            ("---sw-", Run::ShutDown(Watchdog)),
            ("---sS-", Run::ShutDown(SoftReset)),
            ("---s?-", Run::ShutDown(Unknown)),
            ("--ps--", Run::ShutDown(Poweroff)),
            ("----c-", Run::ShutDown(Crash)),
            ("-----d", Run::Dying),
            ("--psrd", Run::Dying),
        ] {
            assert_eq!(state(word), Some(run), "{word}");
        }
        for word in ["", "-----", "-------", "x-----", "-r----", "---x--", "----x-", "-----x", "123456"] {
            assert_eq!(state(word), None, "{word}");
        }
    }

    #[test]
    fn a_long_name_and_one_with_blanks_do_not_hide_the_columns() {
        let long = "n".repeat(60);
        for name in [long.as_str(), "web server", "100"] {
            let found = one(&format!("{name}      7   256     2     -b----       3.9")).unwrap();
            assert_eq!(found[0].name.as_deref(), Some(name));
            assert_eq!((found[0].id, found[0].memory_mb, found[0].vcpus), (7, 256, 2));
        }
    }

    #[test]
    fn a_domain_without_a_name_is_a_domain() {
        let found =
            one("(null)                                       5     0     1     --p--d       3.9").unwrap();
        assert_eq!((found[0].name.as_deref(), found[0].run), (None, Run::Dying));
    }

    #[test]
    fn a_domain_that_xend_only_knows_of_is_not_there() {
        let text = "Name                                        ID   Mem VCPUs      State   Time(s)\n\
            Domain-0                                     0  1024     2     r-----   1200.0\n\
            vm1                                               256     1                 0.0\n";
        let found = parse(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_is_cut_or_babbled_is_an_error() {
        let whole = format!(
            "{HEADER}Domain-0                                     0   768     1     r-----      17.7\n\
             dom1                                         1    96     1     -b----       3.9\n"
        );
        assert_eq!(parse(whole.as_bytes()).unwrap().len(), 2);
        for end in 0..whole.len() {
            // Cut behind a line it is a list in itself; nothing can tell.
            let part = &whole.as_bytes()[..end];
            let at_line = part.ends_with(b"\n") && part.len() > HEADER.len();
            assert_eq!(parse(part).is_ok(), at_line, "{end}");
        }
        for text in ["", "\n", "moun", HEADER, "dom1 1 96 1 -b---- 3.9\n", "\x01\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse(b"\xff\xfe\n").is_err());
        assert!(one("dom1 1 96 1 -b---- many").is_err());
        assert!(one("dom1 x 96 1 -b---- 3.9").is_err());
        let twice = format!("{HEADER}a 1 96 1 -b---- 3.9\nb 1 96 1 -b---- 3.9\n");
        assert!(parse(twice.as_bytes()).is_err());
    }
}
