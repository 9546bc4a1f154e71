//! require_owner_dead: the cluster is asked about the former owner before the group is taken from it.

use testkit::call::{GENERIC, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{get, mode, owned_by};

fn guarded(machine: &Sandbox) -> Call {
    mode(machine, "system_id").param("require_owner_dead", "true")
}

fn with_nodes(nodes: &str) -> Sandbox {
    let machine = owned_by("node2");
    machine.file("nodes", nodes).tool("crm_node", Tool::Does("cat \"$OCF_TEST_ROOT/nodes\"".into()));
    machine
}

#[test]
fn a_lost_owner_is_succeeded() {
    let machine = with_nodes("1 node1 member\n2 node2 lost\n");
    guarded(&machine).run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "system_id"), "node1");
    assert_eq!(machine.calls("crm_node"), [["-l"]]);
}

#[test]
fn an_owner_that_is_a_member_or_unknown_keeps_the_group() {
    for (nodes, why) in [
        ("1 node1 member\n2 node2 member\n", "a member of the cluster"),
        ("1 node1 member\n2 node2.example.org member\n", "a member of the cluster"),
        ("1 node1 member\n3 node3 lost\n", "no node of that name"),
        ("", "cannot be asked"),
        ("node2 lost\n", "cannot be asked"),
    ] {
        let machine = with_nodes(nodes);
        guarded(&machine).run("start").answers(GENERIC).names(why);
        assert_eq!(get(&machine, "system_id"), "node2");
    }
}

#[test]
fn without_pacemaker_corosync_is_asked() {
    for (status, code) in [("left", SUCCESS), ("joined", GENERIC)] {
        let machine = owned_by("node2");
        let map = format!(
            "nodelist.node.0.name (str) = node1\nnodelist.node.0.nodeid (u32) = 1\n\
             nodelist.node.1.name (str) = node2\nnodelist.node.1.nodeid (u32) = 2\n\
             runtime.members.1.status (str) = joined\nruntime.members.2.status (str) = {status}\n"
        );
        machine.file("map", map).tool("corosync-cmapctl", Tool::Does("cat \"$OCF_TEST_ROOT/map\"".into()));
        guarded(&machine).run("start").answers(code);
    }
}

/// A long map says of the node that it lives after much else.
#[test]
fn a_long_map_is_read_to_its_end_and_one_without_an_end_is_no_answer() {
    for (lines, why) in [(2_000, "a member of the cluster"), (40_000, "cannot be asked")] {
        let machine = owned_by("node2");
        let noise: String =
            (0..lines).map(|n| format!("runtime.config.some.long.key.{n} (u32) = 1\n")).collect();
        let map = format!(
            "nodelist.node.0.name (str) = node1\nnodelist.node.0.nodeid (u32) = 1\n\
             nodelist.node.1.name (str) = node2\nnodelist.node.1.nodeid (u32) = 2\n\
             runtime.members.1.status (str) = joined\n{noise}runtime.members.2.status (str) = joined\n"
        );
        machine.file("map", map).tool("corosync-cmapctl", Tool::Does("cat \"$OCF_TEST_ROOT/map\"".into()));
        guarded(&machine).run("start").answers(GENERIC).names(why);
        assert_eq!(get(&machine, "system_id"), "node2");
    }
}

#[test]
fn nobody_is_asked_without_the_parameter_or_without_a_takeover() {
    let machine = with_nodes("1 node1 member\n2 node2 member\n");
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert!(machine.calls("crm_node").is_empty());
    let machine = owned_by("node1");
    guarded(&machine).run("start").answers(SUCCESS);
}

#[test]
fn a_cluster_that_does_not_answer_is_no_death() {
    for (how, behaviour) in Tool::misbehaviours(102) {
        let machine = owned_by("node2");
        if let Some(behaviour) = behaviour {
            machine.tool("crm_node", behaviour);
        }
        let answer = guarded(&machine).timeout_ms(4000).run("start").answers(GENERIC).within_ms(4000);
        assert!(answer.reason().unwrap().contains("cannot be asked"), "{how}: {answer}");
        assert_eq!(get(&machine, "system_id"), "node2", "{how}");
    }
}
