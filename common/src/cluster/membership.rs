//! Who is a member of the cluster.
//!
//! Asked of Pacemaker (`crm_node -l`), and without it of corosync (`corosync-cmapctl`). A node that neither knows is
//! neither a member nor gone.

use crate::{Call, Error, Result, printable};
use std::time::Duration;

/// A daemon that accepts and never answers makes the tools wait for ever.
const LIMIT: Duration = Duration::from_secs(10);
/// More than any cluster's list. What is cut off could be the line that says a node lives.
const LIST: usize = 1024 * 1024;

/// What the cluster says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It takes part.
    Member,
    /// The cluster knows it and does not see it.
    Lost,
    /// The cluster has no node of that name.
    Unknown,
}

/// What the cluster says of the node `name`.
pub fn of(call: &Call, name: &str) -> Result<Membership> {
    let (tool, args, parse) = if call.host.tool("crm_node").is_some() {
        ("crm_node", ["-l"].as_slice(), from_crm_node as Parser)
    } else if call.host.tool("corosync-cmapctl").is_some() {
        ("corosync-cmapctl", [].as_slice(), from_cmap as Parser)
    } else {
        return Err(Error::installed("neither crm_node nor corosync-cmapctl is installed"));
    };
    let said = ask(call, tool, args)?;
    match parse(&said) {
        Some(nodes) => Ok(find(&nodes, name)),
        None => Err(Error::generic("the list of the cluster's nodes cannot be understood")),
    }
}

fn ask(call: &Call, tool: &str, args: &[&str]) -> Result<String> {
    let limit = LIMIT.min(call.remaining() / 3);
    let mut command = call.tool(tool)?.within(limit).keeping(LIST);
    for arg in args {
        command = command.arg(arg);
    }
    let output = command.run()?;
    if !output.succeeded() {
        return Err(Error::generic(format_args!("{tool}: {}", output.complaint())));
    }
    if output.stdout.len() >= LIST {
        return Err(Error::generic(format_args!("{tool} does not stop talking")));
    }
    String::from_utf8(output.stdout)
        .map_err(|garbage| Error::generic(format_args!("{tool}: {}", printable(garbage.as_bytes()))))
}

type Node<'a> = (&'a str, bool);
type Parser = fn(&str) -> Option<Vec<Node<'_>>>;

/// Lines such as `1 node1 member` and `2 node2 lost`. None: they are something else.
fn from_crm_node(text: &str) -> Option<Vec<Node<'_>>> {
    let node = |line| {
        let mut words = str::split_ascii_whitespace(line);
        let (id, name) = (words.next()?, words.next()?);
        id.parse::<u64>().ok()?;
        match words.next()? {
            "member" => Some((name, true)),
            "lost" => Some((name, false)),
            _ => None,
        }
    };
    let nodes: Vec<Node<'_>> =
        text.lines().filter(|line| !line.trim().is_empty()).map(node).collect::<Option<_>>()?;
    // One who asks is a member.
    nodes.iter().any(|(_, member)| *member).then_some(nodes)
}

/// Keys such as `nodelist.node.0.name (str) = node1`, `nodelist.node.0.nodeid (u32) = 1` and
/// `runtime.members.1.status (str) = joined`.
fn from_cmap(text: &str) -> Option<Vec<Node<'_>>> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once(" = ")?;
            (found.split(' ').next() == Some(key)).then(|| value.trim())
        })
    };
    let mut nodes = Vec::new();
    for index in 0..1024 {
        let key = |name: &str| format!("nodelist.node.{index}.{name}");
        let Some(id) = value(&key("nodeid")) else { break };
        let member = value(&format!("runtime.members.{id}.status")).is_some_and(|status| status == "joined");
        if let Some(name) = value(&key("name")) {
            nodes.push((name, member));
        }
    }
    nodes.iter().any(|(_, member)| *member).then_some(nodes)
}

/// A name that is the other's but for the domain may be the same machine: that is enough to be believed alive, and not
/// enough to be believed gone.
fn find(nodes: &[Node<'_>], name: &str) -> Membership {
    let host = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let alike = |node: &&Node<'_>| host(node.0) == host(name);
    if nodes.iter().filter(alike).any(|(_, member)| *member) {
        Membership::Member
    } else if nodes.iter().any(|(node, _)| node.eq_ignore_ascii_case(name)) {
        Membership::Lost
    } else {
        Membership::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_member_lost_or_unknown() {
        let nodes = from_crm_node("1 node1 member\n2 node2 lost\n3 node3.example.org member\n\n").unwrap();
        for (name, expected) in [
            ("node1", Membership::Member),
            ("NODE1", Membership::Member),
            ("node1.example.org", Membership::Member),
            ("node3", Membership::Member),
            ("node2", Membership::Lost),
            ("node2.example.org", Membership::Unknown),
            ("node", Membership::Unknown),
            ("", Membership::Unknown),
        ] {
            assert_eq!(find(&nodes, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_list_of_nodes_is_not_taken_for_one() {
        for text in
            ["", "\n", "1 node1", "node1 member", "1 node1 lost", "1 node1 member\n2 node2 pending", "Usage:"]
        {
            assert_eq!(from_crm_node(text), None, "{text}");
        }
    }

    #[test]
    fn corosync_names_its_nodes_by_number() {
        let text = "nodelist.node.0.name (str) = node1\nnodelist.node.0.nodeid (u32) = 7\n\
                    nodelist.node.1.name (str) = node2\nnodelist.node.1.nodeid (u32) = 8\n\
                    runtime.members.7.status (str) = joined\nruntime.members.8.status (str) = left\n";
        let nodes = from_cmap(text).unwrap();
        assert_eq!((find(&nodes, "node1"), find(&nodes, "node2")), (Membership::Member, Membership::Lost));
        assert_eq!(from_cmap("Failed to initialize the cmap API. Error CS_ERR_LIBRARY\n"), None);
    }
}
