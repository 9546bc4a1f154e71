//! The local resource manager of heartbeat 2's CRM, out of cluster-glue: the daemon that called the agents, and its client.

use crate::{Doing, Lab, Node, Result, failed, owned};
use std::fs;
use std::process::Stdio;

const PRELOAD: &str = "/usr/local/lib/lrmd-preload.so";

/// Starts the daemon alone; it needs no cluster.
///
/// # Errors
/// When it does not start, or what it needs to stay alive cannot be compiled.
pub fn start_on(lab: &Lab, node: &Node) -> Result {
    let source = lab.directory().join("lrmd-preload.c");
    fs::write(&source, include_bytes!("../../client/lrmd-preload.c"))?;
    let library = source.with_extension("so");
    let mut cc = owned::command("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    cc.stderr(Stdio::piped());
    let output = owned::output(cc).doing("cc")?;
    if !output.status.success() {
        return Err(failed(format!("cc: {}", String::from_utf8_lossy(&output.stderr))));
    }
    node.put(PRELOAD, 0o644, &fs::read(&library)?)?;
    node.must(&format!(
        "mkdir -p /run/heartbeat; setsid env LD_PRELOAD={PRELOAD} /usr/lib/heartbeat/lrmd </dev/null >/run/lrmd.out 2>&1 &
         for try in $(seq 100); do lrmadmin -C >/dev/null 2>&1 && exit; sleep 0.1; done; cat /run/lrmd.out >&2; exit 1"
    ))
    .map(|_| ())
}

/// Adds a resource: an id, then class, type, provider (or NULL) and parameters.
///
/// # Errors
/// When the daemon refuses it.
pub fn add(node: &Node, id: &str, words: &[&str]) -> Result {
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    node.must(&format!("lrmadmin -A {id} {}", words.join(" "))).map(|_| ())
}

/// The return code of an action, as the daemon understood the agent's answer. It ends the agent after `seconds`.
///
/// # Errors
/// When the daemon gives none.
pub fn execute(node: &Node, id: &str, action: &str, seconds: u32) -> Result<i32> {
    let output = node.sh(&format!("lrmadmin -E {id} {action} {}000 0 EVERYTIME", seconds))?;
    let code = |line: &str| line.strip_prefix("return code: ").and_then(|code| code.trim().parse().ok());
    output.out.lines().find_map(code).ok_or_else(|| {
        failed(format!("lrmadmin -E {id} {action}: {} {}{}", output.code, output.out, output.err))
    })
}
