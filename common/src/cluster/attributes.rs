//! Node attributes, and what a resource uses of its node.

use crate::{Call, Error, Result};
use std::time::Duration;

/// The longest that the cluster's tools may take for one question, however much time the action has.
const LIMIT: Duration = Duration::from_secs(10);

/// The value of the permanent attribute `name` of the node `node`. None: it has none.
pub fn of_node(call: &Call, node: &str, name: &str) -> Result<Option<String>> {
    let words = ["--type", "nodes", "--node", node, "--name", name, "--query", "--quiet"];
    let output = run(call, "crm_attribute", &words)?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    if output.succeeded() {
        return Ok(Some(text).filter(|text| !text.is_empty() && text != "(null)"));
    }
    // ENXIO and Pacemaker's own code for the same.
    if matches!(output.code, Some(6 | 105)) {
        return Ok(None);
    }
    Err(Error::generic(format_args!("crm_attribute --name {name}: {}", output.complaint())))
}

/// Tells the cluster how much of `name` the resource uses, if that is not what it knows.
pub fn set_utilization(call: &Call, name: &str, amount: u64) -> Result<()> {
    // A clone's instance has its number behind a colon, which the configuration does not have.
    let resource = call.instance.split(':').next().unwrap_or_default();
    let amount = amount.to_string();
    let known =
        run(call, "crm_resource", &["--resource", resource, "--utilization", "--get-parameter", name])?;
    if known.succeeded() && String::from_utf8_lossy(&known.stdout).trim() == amount {
        return Ok(());
    }
    let words =
        ["--resource", resource, "--utilization", "--set-parameter", name, "--parameter-value", &amount];
    let output = run(call, "crm_resource", &words)?;
    if output.succeeded() {
        return Ok(());
    }
    Err(Error::generic(format_args!("crm_resource --set-parameter {name}: {}", output.complaint())))
}

fn run(call: &Call, tool: &str, words: &[&str]) -> Result<crate::Output> {
    let mut tool = call.tool(tool)?;
    for word in words {
        tool = tool.arg(word);
    }
    tool.within(LIMIT.min(call.remaining() / 4)).run()
}
