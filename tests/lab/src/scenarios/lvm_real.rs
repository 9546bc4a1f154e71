//! lvm-activate on real device-mapper: what it answers, that it believes the kernel and not LVM's commands, that a stop is
//! never reported while somebody holds a volume; and a group that moves from node to node with its owner's name.

use super::Scenario;
use crate::lab::Wish;
use crate::node::PATIENCE;
use crate::setup::agents::{PROVIDER, expect};
use crate::setup::codes::{CONFIGURED, DEGRADED, DONE, FAILED, STOPPED};
use crate::setup::data::Written;
use crate::setup::drbd::Resource;
use crate::setup::{agents, cost, drbd};
use crate::{Lab, Node, Output, Result, failed};
use std::time::Instant;

/// lvm-activate by hand, without a cluster, beside Debian's LVM-activate.
pub const SCENARIO: Scenario = Scenario {
    name: "lvm-real",
    about: "lvm-activate on real LVM: plain, takeover over DRBD, tags, lost disks, holders; beside Debian's agent",
    wish: || Wish::of(&["node1", "node2"]),
    story,
};

const THEIRS: &str = "/usr/lib/ocf/resource.d/heartbeat/LVM-activate";
/// Seconds for an action that has to succeed, on a busy machine, and for one that has to give up by itself.
const AMPLE: u32 = 90;
const SHORT: u32 = 15;
/// The names have dashes, which device-mapper doubles.
const GROUP: &[(&str, &str)] = &[("vgname", "data-vg"), ("vg_access_mode", "plain")];
const SHARED: &[(&str, &str)] = &[("vgname", "shared"), ("vg_access_mode", "system_id")];

fn story(lab: &Lab) -> Result {
    agents::install(lab)?;
    agents::require(lab.node(1), "lvm-activate")?;
    lab.step("a group of two disks on node1", || make_group(lab.node(1)))?;
    plain(lab)?;
    without_a_fork(lab)?;
    holders(lab)?;
    lost_disks(lab)?;
    tags(lab)?;
    takeover(lab)?;
    side_by_side(lab)
}

/// One call with a recurring monitor's interval, ended after `seconds` if it does not end by itself.
fn at(
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
        ("OCF_CHECK_LEVEL", level),
        // Pacemaker of Debian 12, which knows degraded.
        ("OCF_RESKEY_crm_feature_set", "3.16.1"),
        ("OCF_RESKEY_CRM_meta_timeout", limit.as_str()),
    ];
    let word = if action == "probe" { "monitor" } else { action };
    let interval = if action == "monitor" { "10000" } else { "0" };
    env.push(("OCF_RESKEY_CRM_meta_interval", interval));
    env.extend(names.iter().map(String::as_str).zip(parameters.iter().map(|(_, value)| *value)));
    node.run_with(&["timeout", &seconds.to_string(), agent, word], &env, &[], PATIENCE)
}

fn ours(node: &Node, action: &str, parameters: &[(&str, &str)]) -> Result<Output> {
    at(node, &format!("{PROVIDER}/lvm-activate"), action, parameters, "0", AMPLE)
}

fn deep(node: &Node, parameters: &[(&str, &str)]) -> Result<Output> {
    at(node, &format!("{PROVIDER}/lvm-activate"), "monitor", parameters, "10", AMPLE)
}

fn short(node: &Node, action: &str, parameters: &[(&str, &str)]) -> Result<Output> {
    at(node, &format!("{PROVIDER}/lvm-activate"), action, parameters, "0", SHORT)
}

/// Two disks that can be lost, which loop devices cannot while they are used. They begin 1 MiB into the loop device, or LVM
/// would see each twice.
fn make_group(node: &Node) -> Result<String> {
    node.must(
        "set -e; modprobe -a loop dm-mod; cd /var/tmp
         for disk in left right; do
             truncate -s 65M $disk; loop=$(losetup -f --show $PWD/$disk)
             dmsetup create $disk --table \"0 131072 linear $loop 2048\"
         done
         vgcreate -q data-vg /dev/mapper/left /dev/mapper/right >&2
         lvcreate -q -y -n lv-one -L 24M data-vg /dev/mapper/left >&2
         lvcreate -q -y -n lv-two -L 24M data-vg /dev/mapper/right >&2
         vgchange -q -an data-vg >&2",
    )
}

/// The volumes that device-mapper has of a group, with its doubled dashes.
fn mapped(node: &Node, group: &str) -> usize {
    node.sh(&format!("dmsetup ls | grep -c '^{group}-'"))
        .map_or(usize::MAX, |said| said.out.trim().parse().unwrap_or(usize::MAX))
}

fn plain(lab: &Lab) -> Result {
    let node = lab.node(1);
    expect(lab, "inactive is stopped", &ours(node, "monitor", GROUP)?, STOPPED, &[])?;
    expect(lab, "start", &ours(node, "start", GROUP)?, DONE, &[])?;
    lab.check("both volumes are active", mapped(node, "data--vg") == 2)?;
    expect(lab, "start again", &ours(node, "start", GROUP)?, DONE, &[])?;
    expect(lab, "monitor", &ours(node, "monitor", GROUP)?, DONE, &[])?;
    expect(lab, "monitor that reads", &deep(node, GROUP)?, DONE, &[])?;
    node.must("lvchange -q -an data-vg/lv-two")?;
    expect(
        lab,
        "one volume deactivated by hand is seen",
        &ours(node, "monitor", GROUP)?,
        DEGRADED,
        &["lv-two"],
    )?;
    expect(lab, "start activates it again", &ours(node, "start", GROUP)?, DONE, &[])?;
    lab.check("both volumes are active", mapped(node, "data--vg") == 2)?;
    let mismatch = [("vgname", "data-vg"), ("vg_access_mode", "system_id")];
    expect(lab, "a mode that does not fit is refused", &ours(node, "start", &mismatch)?, CONFIGURED, &[])?;
    let unknown = [("vgname", "nosuch"), ("vg_access_mode", "plain")];
    expect(lab, "an unknown group: start", &ours(node, "start", &unknown)?, FAILED, &["not visible"])?;
    expect(lab, "an unknown group: monitor", &ours(node, "monitor", &unknown)?, FAILED, &[])?;
    expect(lab, "an unknown group: probe", &ours(node, "probe", &unknown)?, STOPPED, &[])?;
    expect(lab, "an unknown group: stop", &ours(node, "stop", &unknown)?, DONE, &[])
}

/// The kernel is asked, and nobody else.
fn without_a_fork(lab: &Lab) -> Result {
    let node = lab.node(1);
    let trace = node.must(&format!(
        "export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_vgname=data-vg OCF_RESKEY_vg_access_mode=plain
         export OCF_RESKEY_CRM_meta_interval=10000
         strace -f -o /run/trace -e trace=process,ioctl {PROVIDER}/lvm-activate monitor; cat /run/trace"
    ))?;
    let calls = |name: &str| trace.lines().filter(|line| line.contains(name)).count();
    lab.check("a monitor starts no process", calls("execve(") == 1 && calls("fork(") + calls("clone") == 0)?;
    lab.check("and asks device-mapper", calls("DM_LIST_DEVICES") > 0)
}

fn holders(lab: &Lab) -> Result {
    let node = lab.node(1);
    node.must("mkfs.ext4 -q -F /dev/data-vg/lv-one && mkdir -p /mnt/one")?;
    let filesystem = [("device", "/dev/data-vg/lv-one"), ("directory", "/mnt/one"), ("fstype", "ext4")];
    let mount = |action| at(node, &format!("{PROVIDER}/Filesystem"), action, &filesystem, "0", AMPLE);
    expect(lab, "Filesystem on a volume", &mount("start")?, DONE, &[])?;
    let mounts = node.must("cat /proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.contains(" /mnt/one ")).unwrap_or_default();
    lab.check("is mounted under its mapper name", line.contains(" /dev/mapper/data--vg-lv--one "))?;
    expect(lab, "and is seen", &mount("monitor")?, DONE, &[])?;
    let held = |what: &str, words: &[&str]| expect(lab, what, &short(node, "stop", GROUP)?, FAILED, words);
    held("stop names the mount", &["lv-one", "/mnt/one"])?;
    lab.check("and lv-one is active", node.says("test -b /dev/data-vg/lv-one"))?;
    expect(lab, "start brings back what stop could deactivate", &ours(node, "start", GROUP)?, DONE, &[])?;
    expect(lab, "Filesystem stops", &mount("stop")?, DONE, &[])?;
    node.must("setsid sleep 1000 </dev/data-vg/lv-one >/dev/null 2>&1 & echo $! >/run/sleep.pid")?;
    held("stop names the process", &["lv-one", "sleep"])?;
    node.must("kill $(cat /run/sleep.pid)")?;
    node.must("dmsetup create above --table '0 8192 linear /dev/data-vg/lv-one 0'")?;
    held("stop names the device above", &["lv-one", "block device dm-"])?;
    node.must("dmsetup remove above")?;
    expect(lab, "stop", &ours(node, "stop", GROUP)?, DONE, &[])?;
    lab.check("nothing is mapped", mapped(node, "data--vg") == 0)
}

fn lost_disks(lab: &Lab) -> Result {
    let node = lab.node(1);
    expect(lab, "start", &ours(node, "start", GROUP)?, DONE, &[])?;
    let sound = node.must("dmsetup table right")?;
    let table = |table: &str| {
        node.must(&format!(
            "dmsetup suspend --noflush right && dmsetup load right --table '{table}' && dmsetup resume right"
        ))
    };
    table("0 131072 error")?;
    expect(
        lab,
        "a disk fails: the kernel's list does not show it",
        &ours(node, "monitor", GROUP)?,
        DONE,
        &[],
    )?;
    expect(lab, "a monitor that reads does", &deep(node, GROUP)?, FAILED, &["lv-two"])?;
    table(&sound)?;
    expect(lab, "the disk is back", &deep(node, GROUP)?, DONE, &[])?;
    expect(lab, "stop", &ours(node, "stop", GROUP)?, DONE, &[])?;

    node.must("dmsetup remove --retry right")?;
    expect(lab, "a disk is missing: start", &ours(node, "start", GROUP)?, FAILED, &["lacks 1 of its disks"])?;
    lab.check("nothing is mapped", mapped(node, "data--vg") == 0)?;
    expect(lab, "monitor", &ours(node, "monitor", GROUP)?, STOPPED, &[])?;
    let partial: Vec<_> = GROUP.iter().copied().chain([("partial_activation", "true")]).collect();
    expect(lab, "start with partial_activation", &ours(node, "start", &partial)?, DONE, &[])?;
    node.must("mount -o ro /dev/data-vg/lv-one /mnt/one && umount /mnt/one")?;
    expect(lab, "monitor", &ours(node, "monitor", &partial)?, DONE, &[])?;
    expect(lab, "stop", &ours(node, "stop", &partial)?, DONE, &[])?;
    lab.check("nothing is mapped, nor what stood in for the disk", mapped(node, "data--vg") == 0)?;
    node.must(&format!("dmsetup create right --table '{sound}'"))?;
    expect(lab, "the disk is back: start", &ours(node, "start", GROUP)?, DONE, &[])?;
    expect(lab, "stop", &ours(node, "stop", GROUP)?, DONE, &[])
}

fn tags(lab: &Lab) -> Result {
    const TAGGED: &[(&str, &str)] = &[("vgname", "data-vg"), ("vg_access_mode", "tagging")];
    let node = lab.node(1);
    let tags = || node.must("vgs --noheadings -o tags data-vg");
    node.put("/etc/lvm/lvmlocal.conf", 0o644, b"activation { volume_list = [ \"vg\" ] }\n")?;
    expect(lab, "lvm.conf keeps the group inactive, plain fails", &ours(node, "start", GROUP)?, FAILED, &[])?;
    lab.check("though vgchange succeeds with nothing activated", node.says("vgchange -q -ay data-vg"))?;
    node.must("vgchange -q --addtag backup data-vg")?;
    expect(lab, "a foreign tag is another owner", &ours(node, "start", TAGGED)?, FAILED, &["tag backup"])?;
    let ignored: Vec<_> = TAGGED.iter().copied().chain([("ignored_tags", "backup")]).collect();
    expect(lab, "unless it is ignored", &ours(node, "start", &ignored)?, DONE, &[])?;
    lab.check("the group has our tag", tags()?.trim() == "backup,pacemaker")?;
    expect(lab, "monitor", &ours(node, "monitor", &ignored)?, DONE, &[])?;
    expect(lab, "stop", &ours(node, "stop", &ignored)?, DONE, &[])?;
    lab.check("only our tag is gone", tags()?.trim() == "backup" && mapped(node, "data--vg") == 0)?;
    expect(
        lab,
        "Debian's agent starts it in spite of the foreign tag",
        &at(node, THEIRS, "start", TAGGED, "0", AMPLE)?,
        DONE,
        &[],
    )?;
    expect(lab, "and stops it", &at(node, THEIRS, "stop", TAGGED, "0", AMPLE)?, DONE, &[])?;
    lab.check("and takes the foreign tag away", tags()?.trim().is_empty())
}

/// A group on DRBD follows the Primary and has its owner's name.
fn takeover(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    let disk = Resource::new("r0", 0);
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    for node in [one, two] {
        node.put("/etc/lvm/lvmlocal.conf", 0o644, b"global { system_id_source = \"uname\" }\n")?;
    }
    lab.step("a group of node1 on DRBD", || {
        one.must(
            "set -e; drbdadm primary r0; wipefs -qa /dev/drbd0; vgcreate -q shared /dev/drbd0 >&2
             lvcreate -q -y -n lv -L 64M shared >&2; mkfs.ext4 -q -F /dev/shared/lv; vgchange -q -an shared >&2",
        )
    })?;
    let owner = |node: &Node| {
        node.must("vgs --foreign --noheadings -o systemid shared").map(|owner| owner.trim().to_owned())
    };
    lab.check("it belongs to node1", owner(one)? == "node1")?;
    expect(lab, "start on node1", &ours(one, "start", SHARED)?, DONE, &[])?;
    let at_boot = |node: &Node| {
        node.must("vgs --noheadings -o autoactivation shared").map(|set| !set.trim().is_empty())
    };
    lab.check("boot does not activate it any more", !at_boot(one)?)?;
    // As if no agent had ever had it.
    one.must("vgchange -q --setautoactivation y shared")?;
    one.must("mkdir -p /data && mount /dev/shared/lv /data")?;
    let data = Written::to(one, "/data/first", 1024)?;
    expect(lab, "node2 does not see the disk: probe", &ours(two, "probe", SHARED)?, STOPPED, &[])?;
    expect(
        lab,
        "node2 does not see the disk: start",
        &short(two, "start", SHARED)?,
        FAILED,
        &["not visible"],
    )?;

    one.kill();
    lab.done("node1 has lost power");
    lab.eventually("node2 is Primary", 120, || two.says("drbdadm primary r0"))?;
    lab.check("the group still belongs to node1", owner(two)? == "node1")?;
    expect(lab, "stopped on node2 is stopped", &ours(two, "monitor", SHARED)?, STOPPED, &[])?;
    let trace = two.must(&format!(
        "export OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=lab OCF_RESKEY_vgname=shared
         export OCF_RESKEY_vg_access_mode=system_id
         strace -f -o /run/trace -e trace=execve {PROVIDER}/lvm-activate start >&2; cat /run/trace"
    ))?;
    lab.check("it belongs to node2", owner(two)? == "node2")?;
    lab.check("boot does not activate it any more", !at_boot(two)?)?;
    lab.check("its volume is active", mapped(two, "shared") == 1)?;
    let runs = trace.lines().filter(|line| line.contains("/sbin/lvm\", [")).count();
    lab.check(&format!("for that, LVM was run {runs} times"), runs == 2)?;
    expect(lab, "start on node2 is content with it", &ours(two, "start", SHARED)?, DONE, &[])?;
    two.must("mkdir -p /data && mount /dev/shared/lv /data")?;
    lab.step("the data are there", || data.is_on(two))?;

    lab.step("node1 has power again", || {
        one.boot()?;
        one.put("/etc/lvm/lvmlocal.conf", 0o644, b"global { system_id_source = \"uname\" }\n")?;
        drbd::up(one)
    })?;
    lab.eventually("both are in step", 120, || {
        disk.is(two, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    expect(lab, "node1 is refused while node2 has the disk", &short(one, "start", SHARED)?, FAILED, &[])?;
    lab.check("nothing of it is mapped on node1", mapped(one, "shared") == 0)?;
    two.must("umount /data")?;
    expect(lab, "stop on node2", &ours(two, "stop", SHARED)?, DONE, &[])?;
    two.must("drbdadm secondary r0")?;
    one.must("drbdadm primary r0")?;
    expect(lab, "node1 takes it back", &ours(one, "start", SHARED)?, DONE, &[])?;
    lab.check("it belongs to node1", owner(one)? == "node1")?;
    one.must("mkdir -p /data && mount /dev/shared/lv /data")?;
    lab.step("the data are there", || data.is_on(one))?;
    one.must("umount /data")?;
    expect(lab, "stop on node1", &ours(one, "stop", SHARED)?, DONE, &[])
}

/// The same calls to both agents: codes, and times.
fn side_by_side(lab: &Lab) -> Result {
    let node = lab.node(1);
    let own = format!("{PROVIDER}/lvm-activate");
    // A recurring monitor of a group that is cleanly inactive is 7 with ours and 1 with theirs, as documented.
    let rows = [
        ("probe", STOPPED, STOPPED),
        ("monitor", STOPPED, FAILED),
        ("validate-all", DONE, DONE),
        ("start", DONE, DONE),
        ("start", DONE, DONE),
        ("probe", DONE, DONE),
        ("monitor", DONE, DONE),
        ("stop", DONE, DONE),
        ("stop", DONE, DONE),
        ("probe", STOPPED, STOPPED),
    ];
    let times = |agent: &str, codes: [i32; 10]| -> Result<Vec<f64>> {
        let call = |((action, _, _), code): (&(&str, i32, i32), i32)| {
            let begin = Instant::now();
            let answer = at(node, agent, action, SHARED, "0", AMPLE)?;
            if answer.code == code {
                return Ok(begin.elapsed().as_secs_f64());
            }
            Err(failed(format!("{agent} {action}: {} instead of {code}: {}", answer.code, answer.err)))
        };
        rows.iter().zip(codes).map(call).collect()
    };
    let our = times(&own, rows.map(|(_, code, _)| code))?;
    let their = times(THEIRS, rows.map(|(_, _, code)| code))?;
    lab.done("the same codes from both");
    for ((action, our), their) in rows.iter().map(|(action, _, _)| action).zip(our).zip(their) {
        lab.done(&format!("{action}: {our:.1} s, Debian's {their:.1} s"));
    }
    expect(lab, "start for the monitor", &ours(node, "start", SHARED)?, DONE, &[])?;
    processor_time(lab, node, &own)?;
    expect(lab, "stop", &ours(node, "stop", SHARED)?, DONE, &[])
}

/// A recurring monitor of each agent, and a program that does nothing. The goal is twenty times less than Debian's;
/// `true` alone takes a tenth of that.
fn processor_time(lab: &Lab, node: &Node, own: &str) -> Result {
    let env = [
        ("OCF_ROOT", "/usr/lib/ocf"),
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "1"),
        ("OCF_RESOURCE_INSTANCE", "lab"),
        ("OCF_RESKEY_vgname", "shared"),
        ("OCF_RESKEY_vg_access_mode", "system_id"),
        ("OCF_RESKEY_CRM_meta_interval", "10000"),
    ];
    let monitors = [format!("{own} monitor"), format!("{THEIRS} monitor")];
    let [our, their, nothing] = cost::of(node, 40, DONE, &env, [&monitors[0], &monitors[1], cost::NOTHING])?;
    let times = their / our;
    lab.done(&format!(
        "processor time of a monitor: ours {our:.1} ms, Debian's {their:.1} ms ({times:.1} times), true's {nothing:.1} ms"
    ));
    lab.check("ours takes a fifth at most", times >= 5.0)?;
    lab.check("and no more than half again what true does", our <= nothing * 1.5)
}
