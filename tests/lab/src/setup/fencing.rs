//! Fencing for Pacemaker. The lab's power switch is the scenario's own, so the device asks nobody: it waits for the word that
//! a node has no power (`standin/fence_lab`).

use crate::{Lab, Node, Result};

const AGENT: &[u8] = include_bytes!("../../standin/fence_lab");

/// Puts the agent on all nodes. The device for a configuration that Pacemaker starts with.
///
/// # Errors
/// When a node refuses.
pub fn device(lab: &Lab) -> Result<String> {
    lab.on_all(|node| node.put("/usr/sbin/fence_lab", 0o755, AGENT))?;
    let names: Vec<&str> = lab.nodes().iter().map(Node::name).collect();
    Ok(format!(
        "<primitive id=\"power\" class=\"stonith\" type=\"fence_lab\"><instance_attributes id=\"power-a\">\
         <nvpair id=\"power-a-list\" name=\"pcmk_host_list\" value=\"{}\"/></instance_attributes></primitive>",
        names.join(" ")
    ))
}

/// Pulls the power cable of a node and lets the device on another one know.
///
/// # Errors
/// When that one refuses.
pub fn kill(node: &Node, witness: &Node) -> Result {
    node.kill();
    witness.put(&format!("/run/without-power.{}", node.name()), 0o600, b"")
}
