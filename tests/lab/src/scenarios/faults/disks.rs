//! Disks that are full, read-only, cut off or silent, and what holds on to them.

use super::{AMPLE, DATA, DEGRADED, DISK, DONE, FAILED, GROUP, Resources, SHORT};
use crate::setup::agents::{PROVIDER, call, expect};
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::{Lab, Node, Result};

/// From r0 Primary and mounted on /data of node1, to r0 Secondary on both nodes.
pub fn faults(lab: &Lab, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let data = Written::to(one, "/data/first", 256)?;
    full(lab, one)?;
    data.is_on(one)?;
    no_room_for_notes(lab, one)?;
    read_only(lab, one)?;
    data.is_on(one)?;
    users(lab, one)?;
    data.is_on(one)?;
    silent(lab, one, disk)?;
    data.is_on(one)?;
    holders(lab, one)?;
    data.is_on(one)?;
    cut_off(lab, disk, &data)?;
    lab.check("node1 has nothing", !one.mounted("/data") && disk.line(one).contains("ro:Secondary/"))?;
    DATA.does(lab, two, "stop")?;
    DISK.does(lab, two, "stop")
}

fn full(lab: &Lab, node: &Node) -> Result {
    node.must("dd if=/dev/zero of=/data/filler bs=64k status=none; sync; ! dd if=/dev/zero of=/data/more bs=64k count=9")?;
    expect(lab, "a full disk: monitor", &DATA.monitor(node, &[], "10", AMPLE)?, DONE, &[])?;
    let answer = DATA.monitor(node, &[], "20", AMPLE)?;
    expect(lab, "a monitor that writes fails", &answer, FAILED, &["cannot be written", "space"])?;
    DATA.does(lab, node, "stop")?;
    DATA.does(lab, node, "start")?;
    node.must("rm /data/filler /data/more")?;
    expect(lab, "room again", &DATA.monitor(node, &[], "20", AMPLE)?, DONE, &[])
}

/// The agents' own notes go to /run. So do udev's, for which LVM may wait in vain: that fails in time, and is LVM's affair.
fn no_room_for_notes(lab: &Lab, node: &Node) -> Result {
    DATA.does(lab, node, "stop")?;
    node.must(
        "rm -rf /run/holdfast; used=$(df --output=used -k /run | tail -n 1); mount -o remount,size=$((used + 64))k /run
         dd if=/dev/zero of=/run/filler bs=4k status=none; ! dd if=/dev/zero of=/run/more bs=4k count=1",
    )?;
    for action in ["start", "monitor", "stop", "start"] {
        let what = format!("/run is full: {action}");
        expect(lab, &what, &DATA.call(node, action, AMPLE)?, DONE, &[])?;
    }
    node.must("rm -f /run/filler /run/more && mount -o remount,size=50% /run").map(|_| ())
}

fn read_only(lab: &Lab, node: &Node) -> Result {
    const LOOK: &[(&str, &str)] = &[("check_readonly", "yes")];
    node.must("mount -o remount,ro /data")?;
    let quiet = DATA.monitor(node, &[], "0", AMPLE)?;
    expect(lab, "remounted read-only: monitor goes on, as it always did", &quiet, DONE, &[])?;
    let answer = DATA.monitor(node, LOOK, "0", AMPLE)?;
    expect(lab, "with check_readonly it fails", &answer, FAILED, &["is read-only although"])?;
    let answer = DATA.monitor(node, &[], "20", AMPLE)?;
    expect(lab, "so does one that writes", &answer, FAILED, &["cannot be written"])?;
    node.must(
        "mount -o remount,rw,errors=remount-ro /data && echo lab >/sys/fs/ext4/drbd0/trigger_fs_error",
    )?;
    // This kernel still calls it rw.
    let answer = DATA.monitor(node, &[], "20", AMPLE)?;
    expect(lab, "read-only after an error: a monitor that writes", &answer, FAILED, &["cannot be written"])?;
    DATA.does(lab, node, "stop")?;
    DATA.does(lab, node, "start")?;
    expect(lab, "fsck has repaired it", &DATA.monitor(node, LOOK, "20", AMPLE)?, DONE, &[])
}

/// Has a file of /data mapped and not open, and so many threads that the kernel is asked who does.
const MAPPER: &str = r#"
import ctypes, threading, time
map = ctypes.CDLL(None).mmap
map.restype = ctypes.c_void_p
with open("/data/first", "rb") as file:
    map(None, ctypes.c_size_t(4096), 1, 2, file.fileno(), ctypes.c_long(0))
threading.stack_size(65536)
for _ in range(600):
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
open("/run/held", "w").close()
time.sleep(1000)
"#;

/// Who has a file open, or mapped. The nodes' kernel (6.1) cannot be asked as newer ones can: /proc has the answer.
fn users(lab: &Lab, node: &Node) -> Result {
    node.put("/run/mapper", 0o644, MAPPER.as_bytes())?;
    node.must(
        "rm -f /run/held; setsid sleep 1000 </data/first >/dev/null 2>&1 & echo $! >/run/reader
         setsid python3 /run/mapper </dev/null >/dev/null 2>&1 & echo $! >/run/mapper.pid",
    )?;
    lab.eventually("one has a file open, another one has it mapped", 60, || node.says("test -e /run/held"))?;
    let [reader, mapper] = ["/run/reader", "/run/mapper.pid"].map(|file| node.must(&format!("cat {file}")));
    let (reader, mapper) = (reader?, mapper?);
    let said = node.must(&format!(
        "OCF_TRACE_RA=1 OCF_TRACE_FILE=/run/users.trace {PROVIDER}/Filesystem --device /dev/drbd0 --directory /data users"
    ))?;
    let lines = [format!("{reader} fd sleep"), format!("{mapper} mmap python3")];
    lab.check(&format!("both are named: {}", said.replace('\n', ", ")), {
        said.lines().count() == 2 && lines.iter().all(|line| said.lines().any(|said| said == line))
    })?;
    let trace = node.must("grep -F 'users are looked for in /proc' /run/users.trace")?;
    let why = trace.rsplit("/proc: ").next().unwrap_or_default();
    lab.check(&format!("the kernel was asked and could not say: {why}"), !why.contains("few processes"))?;
    node.must("kill $(cat /run/reader)")?;
    let gently: Vec<_> = DATA.parameters.iter().copied().chain([("force_unmount", "no")]).collect();
    let answer = call(node, DATA.agent, "stop", &gently, 6)?;
    let word = format!("held by python3[{mapper}] (mmap)");
    expect(lab, "stop that may not signal names the one with the map", &answer, FAILED, &[&word])?;
    lab.check(
        "it is mounted, and he lives",
        node.mounted("/data") && node.says(&format!("kill -0 {mapper}")),
    )?;
    DATA.does(lab, node, "stop")?;
    lab.check("stop has ended him", !node.says(&format!("kill -0 {mapper}")))?;
    DATA.does(lab, node, "start")
}

/// I/O is suspended: whoever needs the disk waits in the kernel, for ever.
fn silent(lab: &Lab, node: &Node, disk: &Resource) -> Result {
    let ask = |degraded| {
        call(node, "drbddisk", "monitor", &[("drbd_resource", "r0"), ("report_degraded", degraded)], SHORT)
    };
    node.must("drbdadm suspend-io r0")?;
    expect(lab, "suspended I/O: the role is known", &ask("no")?, DONE, &[])?;
    expect(lab, "and so is the trouble", &ask("yes")?, DEGRADED, &["suspended"])?;
    expect(lab, "monitor of the mount", &DATA.monitor(node, &[], "0", SHORT)?, DONE, &[])?;
    expect(
        lab,
        "one that writes gives up by itself",
        &DATA.monitor(node, &[], "20", SHORT)?,
        FAILED,
        &["/data"],
    )?;
    expect(lab, "stop gives up by itself", &DATA.call(node, "stop", SHORT)?, FAILED, &["/data"])?;
    expect(lab, "and so does stop of the disk", &DISK.call(node, "stop", SHORT)?, FAILED, &["r0"])?;
    lab.check("it is Primary", disk.line(node).contains("ro:Primary/"))?;
    node.must("drbdadm resume-io r0")?;
    DATA.does(lab, node, "stop")?;
    DATA.does(lab, node, "start")?;
    expect(lab, "I/O again", &DATA.monitor(node, &[], "20", AMPLE)?, DONE, &[])
}

/// A resource, who holds it, how he comes and goes, and the word by which stop has to name him.
struct Holder {
    resource: &'static Resources,
    who: &'static str,
    come: &'static str,
    go: &'static str,
    word: &'static str,
}

const HOLDERS: [Holder; 3] = [
    Holder {
        resource: &DATA,
        who: "a loop device on a file",
        come: "truncate -s 1M /data/inner; losetup -f --show /data/inner >/run/loop",
        go: "losetup -d $(cat /run/loop)",
        word: "loop",
    },
    Holder {
        resource: &DATA,
        who: "a mount in another namespace",
        come: "setsid unshare -m bash -c 'mount --make-rprivate / && mount /dev/drbd0 /mnt/hidden && touch /run/held && \
               exec sleep 1000' </dev/null >/dev/null 2>&1 &",
        go: "pkill -x sleep",
        // The namespace has a copy of /data, too: either is the truth.
        word: "mount namespace of sleep",
    },
    Holder {
        resource: &GROUP,
        who: "a mount in another namespace",
        come: "setsid unshare -m bash -c 'mount --make-rprivate / && mount /dev/second/lv /mnt/hidden && touch /run/held && \
               exec sleep 1000' </dev/null >/dev/null 2>&1 &",
        go: "pkill -x sleep",
        word: "/mnt/hidden",
    },
];

fn holders(lab: &Lab, node: &Node) -> Result {
    GROUP.does(lab, node, "start")?;
    for Holder { resource, who, come, go, word } in &HOLDERS {
        node.must(&format!("rm -f /run/held; {come}"))?;
        if come.contains("/run/held") {
            lab.eventually("the holder is there", 60, || node.says("test -e /run/held"))?;
        }
        let what = format!("{} stop, held by {who}, names it", resource.agent);
        expect(lab, &what, &resource.call(node, "stop", SHORT)?, FAILED, &[word])?;
        expect(
            lab,
            "the disk below cannot be given away",
            &DISK.call(node, "stop", SHORT)?,
            FAILED,
            &["r0 is still Primary"],
        )?;
        node.must(go)?;
        resource.does(lab, node, "stop")?;
        resource.does(lab, node, "start")?;
    }
    GROUP.does(lab, node, "stop")
}

/// The link is given up by hand while data are written; then it is back, and so are the data on the other node.
fn cut_off(lab: &Lab, disk: &Resource, first: &Written) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    one.must("drbdadm disconnect r0")?;
    lab.eventually("disconnected by hand", 60, || disk.is(one, &["cs:StandAlone"]))?;
    expect(lab, "monitor goes on", &DISK.call(one, "monitor", AMPLE)?, DONE, &[])?;
    let strict = DISK.monitor(one, &[("report_degraded", "yes")], "0", AMPLE)?;
    expect(lab, "and is degraded for who asks for it", &strict, DEGRADED, &["StandAlone"])?;
    let alone = Written::to(one, "/data/alone", 256)?;
    expect(lab, "it can be written", &DATA.monitor(one, &[], "20", AMPLE)?, DONE, &[])?;
    one.must("drbdadm adjust r0")?;
    lab.eventually("connected, both in step", 120, || {
        disk.is(two, &["cs:Connected", "ro:Secondary/Primary", "ds:UpToDate/UpToDate"])
    })?;
    let refused = DISK.call(two, "start", SHORT)?;
    expect(lab, "node2 is refused what node1 uses", &refused, FAILED, &["Primary on another node"])?;
    DATA.does(lab, one, "stop")?;
    DISK.does(lab, one, "stop")?;
    DISK.does(lab, two, "start")?;
    DATA.does(lab, two, "start")?;
    lab.step("all data are on node2", || first.is_on(two).and_then(|()| alone.is_on(two)))
}
