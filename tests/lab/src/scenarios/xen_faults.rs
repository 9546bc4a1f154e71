//! What goes wrong with Xen, and what xendomain answers. Part of `xen-striped`, on its machines.

use crate::setup::agents::{PROVIDER, call, expect};
use crate::setup::codes::{DONE, FAILED, STOPPED};
use crate::setup::xen::{self, Guest, REAL};
use crate::{Lab, Node, Output, Result, failed};

const AMPLE: u32 = 120;
/// Seconds for an action that has to give up by itself.
const SHORT: u32 = 12;

fn ask(node: &Node, action: &str, name: &str, seconds: u32) -> Result<Output> {
    call(node, "xendomain", action, &[("name", name), ("shutdown_timeout", "8")], seconds)
}

fn nothing_is_left(lab: &Lab, node: &Node, name: &str) -> Result {
    lab.check(
        "nothing is left of it",
        node.says(&format!("list=$(xl list) && ! grep -q '^{name}[ -]' <<<\"$list\"")),
    )
}

/// DRBD becomes Secondary between the agent's look and the creation: xl succeeds, and the guest's disk is dead for good.
pub fn dead_disk(lab: &Lab, node: &Node, name: &str) -> Result {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = create ] && drbdadm secondary vm100\n{REAL} \"$@\"; code=$?\n\
         [ \"$1\" = create ] && echo $code >/run/xl.code\nexit $code\n"
    );
    xen::replace_xl(node, Some(&script))?;
    let answer = ask(node, "start", name, AMPLE)?;
    lab.check("xl itself was content", node.says("grep -qx 0 /run/xl.code"))?;
    expect(lab, "a guest whose disk is dead is a failed start", &answer, FAILED, &["drbd0", "its back end"])?;
    nothing_is_left(lab, node, name)?;
    expect(lab, "monitor", &ask(node, "monitor", name, AMPLE)?, STOPPED, &[])?;
    xen::replace_xl(node, None)?;
    node.must("drbdadm primary vm100").map(|_| ())
}

/// All the others, on volumes of one node.
pub fn story(lab: &Lab, node: &Node) -> Result {
    node.must(
        "for name in web deaf other; do lvcreate -q -y -Wn -Zn -n $name -L 8M vg-sdb >&2 || exit; done",
    )?;
    let volume = |name: &str| Guest::new(name, &format!("/dev/vg-sdb/{name}"));
    let mut web = volume("web");
    web.words = "sysrq_always_enabled".into();
    web.lines = "on_crash = \"preserve\"\n".into();
    let mut deaf = volume("deaf");
    deaf.words = "DEAF=1".into();
    for guest in [&web, &deaf] {
        xen::empty(node, &format!("/dev/vg-sdb/{}", guest.name))?;
        guest.configure(node)?;
    }
    expect(lab, "start", &ask(node, "start", "web", AMPLE)?, DONE, &[])?;
    web.boots_on(lab, node)?;

    a_number_for_a_name(lab, node, &web)?;
    processor_time(lab, node)?;
    expect(lab, "start of a guest that does not listen", &ask(node, "start", "deaf", AMPLE)?, DONE, &[])?;
    deaf.boots_on(lab, node)?;
    expect(
        lab,
        "stop destroys it",
        &ask(node, "stop", "deaf", AMPLE)?,
        DONE,
        &["did not shut down in time"],
    )?;
    nothing_is_left(lab, node, "deaf")?;
    deaf.all_is_at(lab, node, "/dev/vg-sdb/deaf")?;

    node.must("xl sysrq web c")?;
    lab.eventually("web has crashed and is preserved", 60, || {
        node.says("xl list | grep -q '^web .*---sc-'")
    })?;
    expect(
        lab,
        "that is a failure, and not stopped",
        &ask(node, "monitor", "web", AMPLE)?,
        FAILED,
        &["crashed"],
    )?;
    expect(lab, "stop cleans up", &ask(node, "stop", "web", AMPLE)?, DONE, &[])?;
    nothing_is_left(lab, node, "web")?;
    web.all_is_at(lab, node, "/dev/vg-sdb/web")?;

    killed_tools(lab, node, &web)?;
    xenstored_dies(lab, node, &web)
}

/// A guest whose name is another one's number.
fn a_number_for_a_name(lab: &Lab, node: &Node, web: &Guest) -> Result {
    let number = node.must("xl domid web")?;
    let mut other = Guest::new(&number, "/dev/vg-sdb/other");
    other.lines = "on_crash = \"destroy\"\n".into();
    xen::empty(node, "/dev/vg-sdb/other")?;
    other.configure(node)?;
    let what = |text: &str| format!("guest '{number}', which is web's number: {text}");
    expect(lab, &what("does not run"), &ask(node, "monitor", &number, AMPLE)?, STOPPED, &[])?;
    expect(lab, &what("stop is content"), &ask(node, "stop", &number, AMPLE)?, DONE, &[])?;
    lab.check("web runs", web.runs(node))?;
    expect(lab, &what("start"), &ask(node, "start", &number, AMPLE)?, DONE, &[])?;
    other.boots_on(lab, node)?;
    expect(lab, &what("stop"), &ask(node, "stop", &number, AMPLE)?, DONE, &[])?;
    lab.check("it is gone, and web runs", other.is_absent(node) && web.runs(node))?;
    web.goes_on(lab, node)
}

/// kill -9 of every xl in the middle of create and shutdown.
fn killed_tools(lab: &Lab, node: &Node, web: &Guest) -> Result {
    let kill = |what: &str, after: &str| {
        node.must(&format!(
            "setsid bash -c 'until pgrep -f \"[x]l {what}\" >/dev/null; do sleep 0.02; done; sleep {after}; pkill -9 -x xl' \
             </dev/null >/dev/null 2>&1 &"
        ))
    };
    for after in ["0", "0.5"] {
        kill("create", after)?;
        let answer = ask(node, "start", "web", AMPLE)?;
        let what = format!("xl create is killed after {after} s: {} {}", answer.code, answer.err.trim());
        match answer.code {
            // It had done its work.
            DONE => lab.check(&what, web.runs(node))?,
            FAILED => {
                lab.check(&what, answer.err.contains("ocf-exit-reason:guest web"))?;
                nothing_is_left(lab, node, "web")?;
            }
            _ => return Err(failed(what)),
        }
        expect(lab, "stop", &ask(node, "stop", "web", AMPLE)?, DONE, &[])?;
        nothing_is_left(lab, node, "web")?;
    }
    // The boots that were killed may have written, or not.
    web.boots.set(xen::records(node, "/dev/vg-sdb/web")?.boots);
    node.must("xl create -p /etc/xen/web 'name=\"web--incoming\"' >&2")?;
    expect(lab, "what a migration left does not run", &ask(node, "monitor", "web", AMPLE)?, STOPPED, &[])?;
    expect(lab, "start clears it away", &ask(node, "start", "web", AMPLE)?, DONE, &[])?;
    lab.check("it is gone", node.says("list=$(xl list) && ! grep -q incoming <<<\"$list\""))?;
    web.boots_on(lab, node)?;
    node.must("xl pause web")?;
    expect(lab, "a paused guest is there", &ask(node, "monitor", "web", AMPLE)?, DONE, &[])?;
    kill("shutdown", "0")?;
    expect(
        lab,
        "stop of a paused guest, while xl shutdown is killed",
        &ask(node, "stop", "web", AMPLE)?,
        DONE,
        &[],
    )?;
    nothing_is_left(lab, node, "web")?;
    web.all_is_at(lab, node, "/dev/vg-sdb/web")
}

/// Without xenstored nothing can be seen or done, and every tool hangs.
fn xenstored_dies(lab: &Lab, node: &Node, web: &Guest) -> Result {
    web.boots.set(xen::records(node, "/dev/vg-sdb/web")?.boots);
    expect(lab, "start", &ask(node, "start", "web", AMPLE)?, DONE, &[])?;
    web.boots_on(lab, node)?;
    node.must("pkill -9 -x oxenstored || pkill -9 -x xenstored")?;
    for action in ["monitor", "stop", "start"] {
        let answer = ask(node, action, "web", SHORT)?;
        let what = format!("xenstored is dead: {action} gives up by itself: {}", answer.err.trim());
        expect(lab, &what, &answer, FAILED, &["xenstored is dead"])?;
    }
    let count = || xen::records(node, "/dev/vg-sdb/web").map_or(0, |found| found.count);
    let before = count();
    lab.eventually("the guest writes all the same", 60, || count() > before + 5).map(|_| ())
}

/// User and system time of one call, in milliseconds, with what it starts.
fn milliseconds(node: &Node, what: &str) -> Result<f64> {
    const CALLS: u32 = 8;
    let line = format!(
        "export OCF_ROOT=/usr/lib/ocf OCF_RA_VERSION_MAJOR=1 OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_name=web \
         OCF_RESKEY_xmfile=/etc/xen/web OCF_RESKEY_CRM_meta_timeout=60000 OCF_RESKEY_CRM_meta_interval=10000; \
         TIMEFORMAT='%U %S'; time for i in $(seq {CALLS}); do {what} >/dev/null 2>&1 || exit; done"
    );
    let output = node.sh(&line)?;
    let seconds: Vec<f64> = output.err.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if !output.ok() || seconds.len() != 2 {
        return Err(failed(format!("{what}: {} {}", output.code, output.err)));
    }
    Ok(seconds.iter().sum::<f64>() * 1000.0 / f64::from(CALLS))
}

fn processor_time(lab: &Lab, node: &Node) -> Result {
    let ours = milliseconds(node, &format!("{PROVIDER}/xendomain monitor"))?;
    let theirs = milliseconds(node, "/usr/lib/ocf/resource.d/heartbeat/Xen monitor")?;
    let xl = milliseconds(node, "xl list")?;
    lab.check(
        &format!("CPU of one monitor under emulation: ours {ours:.0} ms, heartbeat's Xen {theirs:.0} ms, xl list alone {xl:.0} ms"),
        ours < theirs,
    )
}
