//! What the kernel and the tools say of a container: text in, values out.

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It has processes.
    Running,
    /// It has processes, all of them frozen.
    Paused,
    /// Its memory is in a file; it does not run.
    Suspended,
    /// It does not run.
    Down,
    /// It is on its way to running.
    Coming,
    /// It has processes or its files are in use, but it is on its way to something else.
    Going,
}

/// The line of `vzctl status` or `prlctl status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Both its configuration and its private area are here.
    pub exists: bool,
    /// Its root directory is mounted, as far as the tool says.
    pub mounted: Option<bool>,
    /// What it does.
    pub run: Run,
}

/// Reads the tool's standard output by words: `CTID 101 exist mounted running`, in all spellings since 2005. None: it
/// cannot be understood.
pub fn parse_status(text: &[u8]) -> Option<Status> {
    let text = String::from_utf8_lossy(text);
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [kind, _, exists, rest @ ..] = words.as_slice() else { return None };
        let exists = match *exists {
            "exist" => true,
            "deleted" => false,
            _ => return None,
        };
        match *kind {
            "VPSID" | "VEID" | "CTID" => Some(by_vzctl(exists, rest)),
            "CT" | "VM" => Some(by_prlctl(exists, rest)),
            _ => None,
        }
    })?
}

fn by_vzctl(exists: bool, words: &[&str]) -> Option<Status> {
    let [mounted, run, more @ ..] = words else { return None };
    let mounted = match *mounted {
        "mounted" => true,
        "unmounted" => false,
        _ => return None,
    };
    let run = match (*run, more.first()) {
        ("running", _) => Run::Running,
        ("paused", _) => Run::Paused,
        ("suspended", _) | ("down", Some(&"suspended")) => Run::Suspended,
        ("down", None) => Run::Down,
        _ => return None,
    };
    Some(Status { exists, mounted: Some(mounted), run })
}

fn by_prlctl(exists: bool, words: &[&str]) -> Option<Status> {
    let (mounted, run) = match (exists, words.first().copied()) {
        (false, None) => (None, Run::Down),
        (_, Some("running")) => (Some(true), Run::Running),
        (_, Some("paused")) => (Some(true), Run::Paused),
        (_, Some("suspended")) => (None, Run::Suspended),
        (_, Some("stopped")) => (None, Run::Down),
        (_, Some("mounted")) => (Some(true), Run::Down),
        (_, Some("starting" | "restoring" | "resuming" | "continuing")) => (None, Run::Coming),
        (_, Some("pausing" | "suspending" | "stopping" | "compacting" | "snapshoting" | "migrating")) => {
            (None, Run::Going)
        }
        // `unknown`, and what is not known to us.
        _ => return None,
    };
    Some(Status { exists, mounted, run })
}

/// The ids in /proc/vz/veinfo: `ID class processes addresses...`. None: it is not the whole table of a node. The node
/// itself is 0; inside a container the table is there, too, with that container alone.
pub fn parse_veinfo(text: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.ends_with('\n') {
        return None;
    }
    let mut ids = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace();
        ids.push(words.next()?.to_string());
        for _ in 0..2 {
            words.next()?.parse::<u64>().ok()?;
        }
    }
    ids.iter().any(|id| id == "0").then_some(ids)
}

/// The counters of a container that have refused something: /proc/bc/ID/resources, or the container's part of
/// /proc/user_beancounters. The last column counts the refusals.
pub fn parse_failures(text: &[u8], id: &str) -> Vec<(String, u64)> {
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    // The file of one container has no column with ids.
    let mut ours = true;
    for line in text.lines() {
        let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let Some(owner) = words.first().and_then(|word| word.strip_suffix(':'))
            && owner.bytes().all(|byte| byte.is_ascii_digit())
        {
            ours = owner == id;
            words.remove(0);
        }
        // Name, held, most held, barrier, limit, refusals.
        let [name, _, _, _, _, count] = words.as_slice() else { continue };
        if let Ok(count) = count.parse::<u64>()
            && ours
            && count > 0
        {
            found.push(((*name).to_string(), count));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn vz(exists: bool, mounted: bool, run: Run) -> Option<Status> {
        Some(Status { exists, mounted: Some(mounted), run })
    }

    #[test]
    fn the_line_of_every_version_of_vzctl_is_read() {
        for (line, status) in [
            ("VPSID 101 exist mounted running\n", vz(true, true, Run::Running)),
            ("VPSID 101 exist unmounted down\n", vz(true, false, Run::Down)),
            ("VEID 101 exist mounted running\n", vz(true, true, Run::Running)),
            ("VEID 101 deleted unmounted down\n", vz(false, false, Run::Down)),
            ("CTID 101 exist mounted running\n", vz(true, true, Run::Running)),
            ("CTID 101 exist unmounted down suspended\n", vz(true, false, Run::Suspended)),
            ("CTID 101 exist mounted down\n", vz(true, true, Run::Down)),
            ("CTID 101 deleted unmounted running\n", vz(false, false, Run::Running)),
            ("VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist mounted paused\n", vz(true, true, Run::Paused)),
            (
                "VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist unmounted suspended\n",
                vz(true, false, Run::Suspended),
            ),
            (
                "VEID 37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f exist mounted running\n",
                vz(true, true, Run::Running),
            ),
        ] {
            assert_eq!(parse_status(line.as_bytes()), status, "{line}");
        }
    }

    #[test]
    fn every_state_of_prlctl_is_read() {
        let says = |words: &str| parse_status(format!("{words}\n").as_bytes());
        for (word, run) in [
            ("running", Run::Running),
            ("paused", Run::Paused),
            ("suspended", Run::Suspended),
            ("stopped", Run::Down),
            ("mounted", Run::Down),
            ("starting", Run::Coming),
            ("restoring", Run::Coming),
            ("resuming", Run::Coming),
            ("continuing", Run::Coming),
            ("pausing", Run::Going),
            ("suspending", Run::Going),
            ("stopping", Run::Going),
            ("compacting", Run::Going),
            ("snapshoting", Run::Going),
            ("migrating", Run::Going),
        ] {
            for kind in ["CT", "VM"] {
                assert_eq!(
                    says(&format!("{kind} db exist {word}")).map(|status| status.run),
                    Some(run),
                    "{word}"
                );
            }
        }
        assert_eq!(says("VM db deleted"), Some(Status { exists: false, mounted: None, run: Run::Down }));
        assert_eq!(says("VM db exist unknown"), None);
        assert_eq!(says("VM db exist"), None);
    }

    #[test]
    fn the_line_is_found_among_others() {
        let text =
            b"Warning: CTID 101 is strange\nCTID 101 exist mounted running\nCTID 101 exist unmounted down\n";
        assert_eq!(parse_status(text), vz(true, true, Run::Running));
    }

    #[test]
    fn half_a_line_and_other_lines_say_nothing() {
        let line = "CTID 101 exist unmounted down";
        for end in 0..line.len() {
            assert_eq!(parse_status(&line.as_bytes()[..end]), None, "{end}");
        }
        for text in [
            "",
            "\n",
            "down\n",
            "stat(/vz/root/101): No such file or directory\n",
            "CTID 101 exist mounted asleep\n",
        ] {
            assert_eq!(parse_status(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_status(b"CTID 101 exist unmounted down running\n"), None);
    }

    #[test]
    fn the_kernel_s_table_is_read_whole_or_not_at_all() {
        let text = b"        102     0     9     10.0.0.2\n        101     2    21  192.168.5.103 10.0.0.1\n          0     0   120\n";
        assert_eq!(parse_veinfo(text).unwrap(), ["102", "101", "0"]);
        let uuid = b"37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f     0    21\n         0     0   120\n";
        assert_eq!(parse_veinfo(uuid).unwrap().len(), 2);
        // Cut off, empty, garbage, and the table inside a container.
        for text in
            [&text[..40], b"", b"\n", b"a b c\n0 0 1\n", b"101 2 21 10.0.0.1\n", b"\xff\n", b"0 0 120"]
        {
            assert_eq!(parse_veinfo(text), None, "{text:?}");
        }
    }

    #[test]
    fn counters_that_refused_something_are_found_in_both_files() {
        let one = b"            kmemsize              2752512              2924544             14372700             14790164                    0\n            privvmpages                900                 1200                 1000                 1100                   17\n";
        assert_eq!(parse_failures(one, "101"), [("privvmpages".to_string(), 17)]);
        let all = b"Version: 2.5\n       uid  resource           held    maxheld    barrier      limit    failcnt\n\
            \x20     101:  kmemsize       2752512    2924544   14372700   14790164          3\n\
            \x20           numproc             21         30         50         50          0\n\
            \x20     102:  kmemsize       2752512    2924544   14372700   14790164          9\n\
            \x20           numfile             21         30         50         50          5\n";
        assert_eq!(parse_failures(all, "101"), [("kmemsize".to_string(), 3)]);
        assert_eq!(parse_failures(all, "102"), [("kmemsize".to_string(), 9), ("numfile".to_string(), 5)]);
        assert!(parse_failures(b"\xff\n\n1 2 3\n", "101").is_empty());
    }
}
