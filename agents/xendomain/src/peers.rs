//! Whether the guest runs on another node. The other node is asked for its whole list, with fixed words: nothing of ours
//! gets into its shell, and what it answers is read here.

use crate::toolstack::complaint;
use ocf::state::xen::list;
use ocf::{Call, Error, Output, Result, Text};
use std::time::Duration;

/// How long a node may take to answer once it is connected, which has a limit of its own: one that takes in or sends a guest is
/// busy (seen under emulation: more than 10 s).
const PATIENCE: Duration = Duration::from_secs(25);

/// What another node says of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is there, under this name, with this number.
    Running(String, u32),
    /// A copy that a migration brings or has left behind is there, and nothing else.
    Incoming(u32),
    /// It is not.
    Absent,
    /// Nobody can tell, and why.
    Unknown(String),
}

/// What DRBD knows of the other nodes, for all disks of the guest that are on DRBD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// No disk is on DRBD, or the other node is not to be seen.
    Nothing,
    /// All of them are Secondary there: whatever runs there cannot write to them.
    Secondary,
    /// One is Primary there.
    Primary,
}

/// Whether a word can be a host and nothing else, for ssh and for the shell that xl hands it to.
pub fn is_host(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    !word.is_empty()
        && word.len() <= 253
        && word.bytes().all(plain)
        && !word.starts_with(['-', '@', '.', ':'])
}

/// The nodes in the parameter, or code 6.
pub fn parse(text: &Text) -> Result<Vec<String>> {
    let refused = || {
        Error::configured(format_args!(
            "parameter peers is '{text}': accepted are names or addresses of nodes"
        ))
    };
    let words = text.to_str().ok_or_else(refused)?;
    let hosts: Vec<String> =
        words.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty()).map(str::to_string).collect();
    if hosts.iter().all(|host| is_host(host)) { Ok(hosts) } else { Err(refused()) }
}

/// Options that leave nothing to a person or to the node's configuration.
pub const SSH_OPTIONS: [&str; 8] = [
    "-oBatchMode=yes",
    "-oConnectTimeout=5",
    "-oServerAliveInterval=5",
    "-oPermitLocalCommand=no",
    "-oClearAllForwardings=yes",
    "-oForwardAgent=no",
    "-oControlPath=none",
    "-oLogLevel=ERROR",
];

/// Runs fixed words on another node, as root.
pub fn ssh(call: &Call, host: &str, limit: Duration, words: &[&str]) -> Result<Output> {
    let mut tool = call.tool("ssh")?.arg("-T").arg("-x");
    for option in SSH_OPTIONS {
        tool = tool.arg(option);
    }
    if !host.contains('@') {
        tool = tool.arg("-lroot");
    }
    tool = tool.arg("--").arg(host);
    for word in words {
        tool = tool.arg(word);
    }
    tool.within(limit).run()
}

/// Whether the word names the node that is called `own`. One of the two may be without the domain.
pub fn is_this_node(host: &str, own: &str) -> bool {
    let host = host.rsplit('@').next().unwrap_or_default();
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let short = !host.contains('.') || !own.contains('.');
    !own.is_empty()
        && host != "localhost"
        && (host.eq_ignore_ascii_case(own) || (short && first(host) == first(own)))
}

/// How long one question may take when so much is left of the action. The other node is asked twice in a migration.
fn patience(remaining: Duration) -> Duration {
    PATIENCE.min(remaining / 4)
}

/// Asks one node for the guest, with the tool that manages guests here and there.
pub fn ask(call: &Call, host: &str, name: &str, tool: &'static str) -> Answer {
    match ssh(call, host, patience(call.remaining()), &[tool, "list"]) {
        Ok(output) => read(&output, name),
        Err(error) => Answer::Unknown(error.to_string()),
    }
}

/// Reads what `xl list` said over there.
fn read(output: &Output, name: &str) -> Answer {
    if !output.succeeded() {
        // A kernel without a hypervisor below it cannot have a guest.
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.code == Some(1) && stderr.contains("Can't find hypervisor information") {
            return Answer::Absent;
        }
        return Answer::Unknown(complaint(output));
    }
    let domains = match list::parse(&output.stdout) {
        Ok(domains) => domains,
        Err(why) => return Answer::Unknown(format!("its list cannot be understood: {why}")),
    };
    let find = |wanted: &str| domains.iter().find(|domain| domain.name.as_deref() == Some(wanted));
    for wanted in [name.to_string(), format!("{name}--migratedaway")] {
        if let Some(found) = find(&wanted) {
            return Answer::Running(wanted, found.id);
        }
    }
    match find(&format!("{name}--incoming")) {
        Some(found) => Answer::Incoming(found.id),
        None => Answer::Absent,
    }
}

/// Whether a guest may be started, by what one node and DRBD say. The error says why not.
pub fn verdict(
    name: &str,
    host: &str,
    answer: &Answer,
    witness: Witness,
    allow_unknown: bool,
) -> Result<(), String> {
    match (answer, witness) {
        (Answer::Running(found, id), _) => {
            Err(format!("guest {name} runs on {host} ({found}, domain {id}): stop it there first"))
        }
        (Answer::Incoming(id), _) => {
            Err(format!("a migration of guest {name} left domain {id} on {host}: destroy it there first"))
        }
        (Answer::Absent, _) | (Answer::Unknown(_), Witness::Secondary) => Ok(()),
        (Answer::Unknown(_), Witness::Primary) => {
            Err(format!("whether guest {name} runs on {host} is unknown, and its disk is Primary there"))
        }
        (Answer::Unknown(_), Witness::Nothing) if allow_unknown => Ok(()),
        (Answer::Unknown(why), Witness::Nothing) => {
            Err(format!("whether guest {name} runs on {host} is unknown (or set peer_unknown=allow): {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_never_an_option_or_a_command() {
        for word in ["node2", "10.0.0.2", "root@node2", "fe80::1", "a-b.c"] {
            assert!(is_host(word), "{word}");
        }
        for word in [
            "",
            "-oProxyCommand=x",
            "-F",
            "-lroot",
            "a b",
            "a;b",
            "$(x)",
            "a\nb",
            "@x",
            "a`b",
            "a/b",
            "a'b",
            "%h",
            "\u{e4}",
        ] {
            assert!(!is_host(word), "{word}");
        }
        assert_eq!(parse(&Text::from("a, b\tc")).unwrap(), ["a", "b", "c"]);
        assert!(parse(&Text::from("a -oProxyCommand=x")).is_err());
        assert!(parse(&Text::from("")).unwrap().is_empty());
    }

    #[test]
    fn a_node_knows_itself_by_its_whole_name_or_the_first_part() {
        for (host, own, is) in [
            ("node1", "node1", true),
            ("root@node1", "node1", true),
            ("Node1", "node1.example.org", true),
            ("node1.example.org", "node1", true),
            ("node1.example.org", "node1.example.com", false),
            ("node2", "node1", false),
            ("node1", "", false),
            ("10.0.0.2", "node1", false),
        ] {
            assert_eq!(is_this_node(host, own), is, "{host} {own}");
        }
    }

    #[test]
    fn a_busy_node_may_take_its_time_but_never_the_whole_action() {
        for (remaining, limit) in [(8, 2), (60, 15), (100, 25), (600, 25)] {
            assert_eq!(patience(Duration::from_secs(remaining)), Duration::from_secs(limit), "{remaining}");
        }
        // Seen in the lab: a node that had just sent a guest took longer than 10 s.
        assert!(patience(Duration::from_secs(120)) > Duration::from_secs(20));
    }

    #[test]
    fn every_pair_of_witnesses() {
        let running = Answer::Running("web".into(), 3);
        let unknown = Answer::Unknown("no route".into());
        for (answer, witness, allow, starts) in [
            (&running, Witness::Nothing, true, false),
            (&running, Witness::Secondary, true, false),
            (&running, Witness::Primary, true, false),
            (&Answer::Incoming(3), Witness::Secondary, true, false),
            (&Answer::Absent, Witness::Nothing, false, true),
            (&Answer::Absent, Witness::Secondary, false, true),
            (&Answer::Absent, Witness::Primary, false, true),
            (&unknown, Witness::Nothing, false, false),
            (&unknown, Witness::Nothing, true, true),
            (&unknown, Witness::Secondary, false, true),
            (&unknown, Witness::Primary, false, false),
            (&unknown, Witness::Primary, true, false),
        ] {
            let result = verdict("web", "node2", answer, witness, allow);
            assert_eq!(result.is_ok(), starts, "{answer:?} {witness:?} {allow}");
        }
    }

    #[test]
    fn what_the_other_node_says_is_read_here() {
        let said = |code: i32, stdout: &str, stderr: &str| {
            let output =
                Output { code: Some(code), signal: None, stdout: stdout.into(), stderr: stderr.into() };
            read(&output, "web")
        };
        let list = |name: &str| {
            format!(
                "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
                 Domain-0                                     0   768     1     r-----      17.7\n\
                 {name}                                         3    96     1     -b----       3.9\n"
            )
        };
        assert_eq!(said(0, &list("web"), ""), Answer::Running("web".into(), 3));
        assert_eq!(said(0, &list("web--migratedaway"), ""), Answer::Running("web--migratedaway".into(), 3));
        assert_eq!(said(0, &list("web--incoming"), ""), Answer::Incoming(3));
        assert_eq!(said(0, &list("web2"), ""), Answer::Absent);
        assert_eq!(said(1, "", "ERROR:  Can't find hypervisor information in sysfs!\n"), Answer::Absent);
        for (code, stdout, stderr) in [
            (255, "", "ssh: connect to host node2 port 22: No route to host\n"),
            (127, "", "bash: xl: command not found\n"),
            (1, "", "cannot init xl context\n"),
            (0, "", ""),
            (0, "Last login: today\n", ""),
            (255, "", "Can't find hypervisor information"),
        ] {
            assert!(matches!(said(code, stdout, stderr), Answer::Unknown(_)), "{code} {stdout} {stderr}");
        }
    }
}
