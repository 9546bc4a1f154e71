//! Heartbeat 3 with `haresources`.

use crate::{Lab, Node, Result, failed};
use std::cell::Cell;
use std::fmt::Write;
use std::thread;

/// Where Heartbeat itself, and the scripts it runs, leave their messages.
pub const LOGS: [&str; 2] = ["/var/log/ha-log", "/var/log/ha-debug"];

/// The settings of `ha.cf` that scenarios vary.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether a node that returns gets its resources back.
    pub auto_failback: bool,
    /// Seconds of silence after which a node is dead. Emulated nodes on a busy machine need some.
    pub deadtime: u32,
    /// Seconds to wait for the others after the own start.
    pub initdead: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { auto_failback: true, deadtime: 10, initdead: 25 }
    }
}

/// `ha.cf` of the node with this name.
#[must_use]
pub fn ha_cf(own: &str, nodes: &[(&str, &str)], settings: Settings) -> String {
    let Settings { auto_failback, deadtime, initdead } = settings;
    let warntime = deadtime / 2;
    let failback = if auto_failback { "on" } else { "off" };
    let mut text = format!(
        "logfile {}\ndebugfile {}\nlogfacility none\nkeepalive 1\ndeadtime {deadtime}\nwarntime {warntime}\n\
         initdead {initdead}\nudpport 694\nauto_failback {failback}\n",
        LOGS[0], LOGS[1]
    );
    for (_, address) in nodes.iter().filter(|(name, _)| *name != own) {
        let _ = writeln!(text, "ucast eth0 {address}");
    }
    for (name, _) in nodes {
        let _ = writeln!(text, "node {name}");
    }
    text
}

/// Puts the configuration on the first two nodes: `haresources` as it is printed here, the same on both.
///
/// # Errors
/// When a node refuses.
pub fn configure(lab: &Lab, haresources: &str, settings: Settings) -> Result {
    let pair: Vec<&Node> = lab.nodes().iter().take(2).collect();
    let names: Vec<(&str, &str)> = pair.iter().map(|node| (node.name(), node.address())).collect();
    for node in pair {
        node.put("/etc/ha.d/ha.cf", 0o644, ha_cf(node.name(), &names, settings).as_bytes())?;
        node.put("/etc/ha.d/haresources", 0o644, haresources.as_bytes())?;
        node.put("/etc/ha.d/authkeys", 0o600, b"auth 1\n1 sha1 lab\n")?;
    }
    Ok(())
}

/// Starts Heartbeat on a node.
///
/// # Errors
/// When it does not start.
pub fn start_on(node: &Node) -> Result {
    // Our agents inherit the second word and leave traces. The first keeps the shell's from it, and with them Heartbeat's
    // own scripts, which would not be themselves.
    node.must("OCF_TRACE_RA=0 OCF_RESKEY_trace_ra=1 /etc/init.d/heartbeat start").map(|_| ())
}

/// Stops Heartbeat on a node, which gives its resources to the other.
///
/// # Errors
/// When it does not stop.
pub fn stop_on(node: &Node) -> Result {
    let output = node.sh("timeout 120 /etc/init.d/heartbeat stop")?;
    if output.ok() {
        return Ok(());
    }
    if owes_itself_a_restart(&said(node, &[PUT_OFF, BEGUN])) {
        println!(
            "           Heartbeat on {} has put its restart off for ever: it is ended by hand",
            node.name()
        );
        return end_by_hand(node);
    }
    Err(failed(format!("Heartbeat on {} does not stop: {}{}", node.name(), output.out, output.err)))
}

/// What Heartbeat says when it has to end and has scripts at work, and when it ends.
const PUT_OFF: &str = "Shutdown delayed until";
const BEGUN: &str = "Heartbeat shutdown in progress";

/// A Heartbeat that hears a peer again that it had taken for dead restarts itself. If its scripts are at work just then, it
/// may wait for their end and not notice it (3.0.6, seen once); it ignores all orders to stop from then on.
fn owes_itself_a_restart(said: &[String]) -> bool {
    said.last().is_some_and(|line| line.contains(PUT_OFF))
}

/// What an administrator does then: gives its resources up in Heartbeat's way, then ends it.
fn end_by_hand(node: &Node) -> Result {
    node.must(
        "cd /usr/share/heartbeat && for key in $(./ResourceManager listkeys '.*'); do \
         ./ResourceManager givegroup \"$key\" || exit 1; done; pkill -KILL -x heartbeat; rm -f /run/heartbeat.pid",
    )
    .map(|_| ())
}

/// Until Heartbeat has nothing to do on these nodes: a stop in the middle of a takeover leaves what that still starts.
///
/// # Errors
/// When it never rests.
pub fn settled(lab: &Lab, nodes: &[&Node]) -> Result {
    const AT_WORK: &str =
        "pgrep -f '[/]ResourceManager |[/]mach_down|[/]hb_standby|[/]req_resource|[/]ip-request'";
    let rests = Cell::new(0);
    lab.eventually("Heartbeat has settled", 180, || {
        let is_at_work = nodes.iter().any(|node| node.says(AT_WORK));
        rests.set(if is_at_work { 0 } else { rests.get() + 1 });
        rests.get() >= 5
    })
    .map(|_| ())
}

/// Stops Heartbeat on these nodes at once, so that none takes over from another.
///
/// # Errors
/// When it does not stop on one.
pub fn stop_together(nodes: &[&Node]) -> Result {
    thread::scope(|scope| {
        let stops: Vec<_> = nodes.iter().map(|node| scope.spawn(|| stop_on(node))).collect();
        stops.into_iter().try_for_each(|stop| {
            stop.join().unwrap_or_else(|_| Err(failed("a thread that stops Heartbeat has ended")))
        })
    })
}

/// The lines of Heartbeat's log on a node that contain one of these words.
#[must_use]
pub fn said(node: &Node, words: &[&str]) -> Vec<String> {
    let log = node.get(LOGS[0]).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    log.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_sends_to_the_other_and_both_are_named() {
        let nodes = [("deimos", "10.9.0.1"), ("phobos", "10.9.0.2")];
        let text = ha_cf("deimos", &nodes, Settings::default());
        assert!(text.contains("ucast eth0 10.9.0.2\n") && !text.contains("10.9.0.1"), "{text}");
        assert!(text.ends_with("node deimos\nnode phobos\n"), "{text}");
        assert!(text.contains("auto_failback on\n"), "{text}");
        assert!(
            ha_cf("phobos", &nodes, Settings { auto_failback: false, ..Settings::default() })
                .contains("auto_failback off\n")
        );
    }

    #[test]
    fn a_restart_is_owed_until_it_begins() {
        let lines =
            |words: &[&str]| words.iter().map(|word| format!("heartbeat: {word}")).collect::<Vec<_>>();
        assert!(owes_itself_a_restart(&lines(&[BEGUN, PUT_OFF])));
        assert!(!owes_itself_a_restart(&lines(&[PUT_OFF, BEGUN])));
        assert!(!owes_itself_a_restart(&lines(&[])));
    }
}
