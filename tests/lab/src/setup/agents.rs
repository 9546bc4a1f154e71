//! The agents under test, pushed into running nodes as the package would install them.

use crate::{Lab, Node, Output, Result, failed};
use std::fs;

/// Where they go, and where Heartbeat looks for them.
pub const PROVIDER: &str = "/usr/lib/ocf/resource.d/holdfast";
const RESOURCE_D: &str = "/etc/ha.d/resource.d";
/// The scripts of the same name that Debian's packages bring, for runs with theirs.
pub const THEIRS: &str = "/etc/ha.d/theirs";

const AGENTS: &[&str] = &["Filesystem", "drbddisk", "lvm-activate", "gnbd-export", "openvz", "xendomain"];

/// Installs those that are built, on all nodes.
///
/// # Errors
/// When none is built or a node refuses.
pub fn install(lab: &Lab) -> Result {
    lab.step("our agents are installed", || lab.nodes().iter().try_for_each(install_on))
}

/// Installs those that are built, on one node.
///
/// # Errors
/// When none is built or the node refuses.
pub fn install_on(node: &Node) -> Result {
    let program = std::env::current_exe()?;
    let mut links = format!("mkdir -p {THEIRS} {RESOURCE_D}\n");
    for agent in AGENTS {
        let Ok(binary) = fs::read(program.with_file_name(agent)) else { continue };
        node.put(&format!("{PROVIDER}/{agent}"), 0o755, &binary)?;
        links.push_str(&format!(
            "[ -h {RESOURCE_D}/{agent} ] || [ ! -e {RESOURCE_D}/{agent} ] || mv {RESOURCE_D}/{agent} {THEIRS}/\n\
             ln -sf {PROVIDER}/{agent} {RESOURCE_D}/{agent}\n"
        ));
    }
    node.must(&links)?;
    require(node, "drbddisk")
}

/// Fails unless this agent is installed.
///
/// # Errors
/// When it was not built.
pub fn require(node: &Node, agent: &str) -> Result {
    if node.says(&format!("test -x {PROVIDER}/{agent}")) {
        return Ok(());
    }
    Err(failed(format!("{agent} is not built; tests/lab/run builds what the scenarios need")))
}

/// One call as a cluster makes it, which ends it after `seconds` if it did not end by itself (code 124).
///
/// # Errors
/// When the node does not answer.
pub fn call(
    node: &Node,
    agent: &str,
    action: &str,
    parameters: &[(&str, &str)],
    seconds: u32,
) -> Result<Output> {
    let names: Vec<String> = parameters.iter().map(|(name, _)| format!("OCF_RESKEY_{name}")).collect();
    let limit = (u64::from(seconds) * 1000).to_string();
    let mut env = vec![
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "lab"),
        ("OCF_RESKEY_CRM_meta_timeout", limit.as_str()),
    ];
    env.extend(names.iter().map(String::as_str).zip(parameters.iter().map(|(_, value)| *value)));
    let path = format!("{PROVIDER}/{agent}");
    node.run_with(&["timeout", &seconds.to_string(), &path, action], &env, &[], crate::node::PATIENCE)
}

/// Fails unless the answer has this code, and its words contain all of these.
///
/// # Errors
/// When it is another answer, with all of it.
pub fn expect(lab: &Lab, what: &str, answer: &Output, code: i32, words: &[&str]) -> Result {
    let text = format!("{}{}", answer.out, answer.err);
    if answer.code == code && words.iter().all(|word| text.contains(word)) {
        lab.done(what);
        return Ok(());
    }
    Err(failed(format!("{what}: expected {code} {words:?}, got {}: {text}", answer.code)))
}
