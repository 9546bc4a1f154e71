//! ocf-tester of Debian's resource-agents, inside a node.

use crate::setup::agents::PROVIDER;
use crate::{Node, Result, failed};
use std::time::Duration;

/// It validates meta-data with xmllint, which is not in the nodes.
const XMLLINT: &[u8] = include_bytes!("../../standin/xmllint");
/// It makes forty calls.
const LIMIT: Duration = Duration::from_secs(600);

/// Fails unless the agent passes all its tests with these parameters.
///
/// # Errors
/// When one of them fails, with all that ocf-tester said.
pub fn passes(node: &Node, agent: &str, parameters: &[(&str, &str)]) -> Result {
    node.put("/usr/local/bin/xmllint", 0o755, XMLLINT)?;
    let path = format!("{PROVIDER}/{agent}");
    let instance = format!("check_{agent}");
    let values: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut argv = vec!["ocf-tester", "-n", &instance];
    for value in &values {
        argv.extend(["-o", value]);
    }
    argv.push(&path);
    let said = node.run_with(&argv, &[], &[], LIMIT)?;
    let complains = said.out.lines().any(|line| line.starts_with("* rc="));
    if said.ok() && said.out.contains("passed all tests") && !complains {
        return Ok(());
    }
    Err(failed(format!("ocf-tester {agent} {values:?}: {}\n{}{}", said.code, said.out, said.err)))
}
