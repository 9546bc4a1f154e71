//! The agents under test: our Debian package, installed in running nodes as an administrator does.

use crate::{Doing, Lab, Node, Output, Result, failed};
use std::fs;
use std::path::PathBuf;

/// Where they go.
pub const PROVIDER: &str = "/usr/lib/ocf/resource.d/holdfast";
/// Has an agent write down what it saw and did; [`Lab::collect`] takes that along.
const TRACED: (&str, &str) = ("OCF_TRACE_RA", "1");
/// Debian's script of that name, whose place ours has taken.
pub const THEIR_SCRIPT: &str = "/etc/ha.d/resource.d/drbddisk.holdfast-aside";

/// Installs the package on all nodes, and for Heartbeat in place of the scripts that Debian's packages bring.
///
/// # Errors
/// When it is not built or a node refuses.
pub fn install(lab: &Lab) -> Result {
    lab.step("our package is installed", || {
        let package = package()?;
        lab.on_all(|node| install_on(node, &package))
    })
}

fn install_on(node: &Node, package: &[u8]) -> Result {
    node.put("/run/holdfast.deb", 0o644, package)?;
    // The images leave documentation out. What is not on disk does not survive a power failure.
    node.must(
        "{ dpkg --force-unsafe-io --path-include='/usr/share/doc/holdfast/*' --path-include='/usr/share/man/*' \
               -i /run/holdfast.deb && [ -z \"$(dpkg --verify holdfast)\" ] &&
           holdfast-links heartbeat drbddisk Filesystem LVM && rm /run/holdfast.deb && sync; } 2>&1",
    )
    .map(|_| ())
}

/// The newest that packaging/build has put where it puts packages.
fn package() -> Result<Vec<u8>> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(3).unwrap_or(&program).join("packages");
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("holdfast_") && name.ends_with("_amd64.deb")
    };
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_ours)
        .collect();
    found.sort_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    let newest =
        found.pop().ok_or_else(|| failed(format!("no package in {}: packaging/build", folder.display())))?;
    fs::read(&newest).doing(newest.display())
}

/// Fails unless this agent is installed.
///
/// # Errors
/// When the package lacks it.
pub fn require(node: &Node, agent: &str) -> Result {
    if node.says(&format!("test -x {PROVIDER}/{agent}")) {
        return Ok(());
    }
    Err(failed(format!("{agent} is not in the package")))
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
    call_at_level(node, agent, action, parameters, "0", seconds)
}

/// As [`call`], with a check level.
///
/// # Errors
/// As [`call`].
pub fn call_at_level(
    node: &Node,
    agent: &str,
    action: &str,
    parameters: &[(&str, &str)],
    level: &str,
    seconds: u32,
) -> Result<Output> {
    let names: Vec<String> = parameters.iter().map(|(name, _)| format!("OCF_RESKEY_{name}")).collect();
    let limit = (u64::from(seconds) * 1000).to_string();
    let mut env = vec![
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "lab"),
        // Of Pacemaker 2.1.5.
        ("OCF_RESKEY_crm_feature_set", "3.16.1"),
        ("OCF_RESKEY_CRM_meta_timeout", limit.as_str()),
        ("OCF_CHECK_LEVEL", level),
        TRACED,
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
