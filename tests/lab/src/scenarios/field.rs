//! What the field's own tools say in a real node: dpkg of our package, crm and pcs of the examples as they are, ocf-tester of
//! the agents on the real thing. One example then runs in a live cluster, loaded with crm and again with pcs.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::drbd::Resource;
use crate::setup::{agents, drbd, pacemaker, tester};
use crate::{Lab, Node, Result, failed};
use std::thread;

/// The package, the examples, ocf-tester.
pub const SCENARIO: Scenario = Scenario {
    name: "field",
    about: "The package with dpkg, the examples with crm and pcs, one of them live, ocf-tester on the real thing",
    // As the published system has them that runs here.
    wish: || Wish::of(&["xenamo4", "xenamo5"]),
    story,
};

const EXAMPLES: &str = "/usr/share/doc/holdfast/examples";
/// The first has the most commands for pcs.
const SYSTEMS: [&str; 5] = ["openvz-pair", "xen-drbd", "xen-drbd-live", "xen-ha", "xen-striped"];
/// The one that runs in a live cluster.
const LIVE: &str = "storage-backend";
const CRM: &str = "crm configure load update $folder/crm";
const PCS: &str = "sed \"s#^pcs #pcs -f $cib #\" $folder/pcs >/run/pcs.sh; sh -e /run/pcs.sh";
const STEP: u64 = 300;
const VZCTL: &[u8] = include_bytes!("../../standin/vzctl");

fn story(lab: &Lab) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    agents::install(lab)?;
    let disk = Resource::new("cluster", 0);
    drbd::create(lab, std::slice::from_ref(&disk), "ext4")?;
    both(lab, "ocf-tester passes all agents but Xen's", || on_drbd(one), || on_loop_devices(two))?;
    both(
        lab,
        "the examples are loaded with crm and pcs",
        || {
            let said = one.must(&format!("ls {EXAMPLES}"))?;
            let mut known = [&SYSTEMS[..], &[LIVE]].concat();
            known.sort_unstable();
            if said.lines().ne(known) {
                return Err(failed(format!("other examples than expected: {said}")));
            }
            SYSTEMS.iter().try_for_each(|system| example(one, system, CRM))?;
            example(one, SYSTEMS[0], PCS)
        },
        // It takes seconds to start.
        || SYSTEMS.iter().skip(1).try_for_each(|system| example(two, system, PCS)),
    )?;
    lab.step("Heartbeat reads the examples, and finds each script and nothing running", || haresources(two))?;
    live(lab, &disk)
}

/// What Heartbeat does with `haresources` before it starts anything; a file with a script that is not there is told apart.
fn haresources(node: &Node) -> Result {
    node.must(&format!(
        "set -e
         read_by_heartbeat() {{
             said=$(/usr/share/heartbeat/ResourceManager verifyallidle 2>&1) || {{ echo \"$said\" >&2; return 1; }}
             ! grep 'Cannot locate' <<<\"$said\" >&2
         }}
         count=0
         for file in {EXAMPLES}/*/haresources; do
             cp $file /etc/ha.d/haresources
             keys=$(/usr/share/heartbeat/ResourceManager allkeys | xargs)
             [ \"$keys\" = \"$(grep -v '^#' $file | awk '{{ print $2 }}' | xargs)\" ]
             read_by_heartbeat
             count=$((count + 1))
         done
         [ $count = 5 ]
         echo 'node1 no-such-script::1' >/etc/ha.d/haresources
         if read_by_heartbeat 2>/dev/null; then echo 'a missing script is not noticed' >&2; exit 1; fi
         rm /etc/ha.d/haresources"
    ))
    .map(|_| ())
}

/// Does two things at the same time.
fn both(
    lab: &Lab,
    what: &str,
    here: impl FnOnce() -> Result + Send,
    there: impl FnOnce() -> Result + Send,
) -> Result {
    lab.step(what, || {
        thread::scope(|scope| {
            let here = scope.spawn(here);
            there().and(here.join().map_err(|_| failed("a thread ended"))?)
        })
    })
}

/// drbddisk as a simple disk and as an instance of a clone.
fn on_drbd(node: &Node) -> Result {
    let resource = ("drbd_resource", "cluster");
    tester::passes(node, "drbddisk", &[resource, ("ignore_missing_notifications", "true")])?;
    let clone = [("CRM_meta_promoted_max", "1"), ("CRM_meta_clone_max", "2"), ("CRM_meta_notify", "true")];
    tester::passes(node, "drbddisk", &[&[resource], &clone[..]].concat())?;
    // A clone's stop brings it down.
    node.must("drbdadm up cluster").map(|_| ())
}

fn on_loop_devices(node: &Node) -> Result {
    node.must(
        "set -e; modprobe -a loop dm-mod; mkdir -p /mnt/check /Data/check; cd /var/tmp
         for disk in data group export area; do truncate -s 64M $disk; ln -s \"$(losetup -f --show $disk)\" /run/$disk; done
         mkfs.ext4 -q -F /run/data; mkfs.ext4 -q -F /run/area; mount /run/area /Data/check; vgcreate -q --setautoactivation n check \"$(readlink /run/group)\" >&2
         lvcreate -q -y -n lv -L 24M check >&2; vgchange -q -an check >&2",
    )?;
    let device = |name: &str| node.must(&format!("readlink /run/{name}"));
    let (data, export) = (device("data")?, device("export")?);
    tester::passes(
        node,
        "Filesystem",
        &[("device", &data), ("directory", "/mnt/check"), ("fstype", "ext4")],
    )?;
    tester::passes(node, "lvm-activate", &[("vgname", "check"), ("vg_access_mode", "plain")])?;
    tester::passes(node, "gnbd-export", &[("name", "check"), ("device", &export), ("backend", "nvmet")])?;
    node.put("/usr/sbin/vzctl", 0o755, VZCTL)?;
    node.put("/etc/vz/vz.conf", 0o644, b"LOCKDIR=/vz/lock\nDUMPDIR=/vz/dump\nVE_ROOT=/vz/root/$VEID\n")?;
    node.put(
        "/etc/vz/conf/101.conf",
        0o644,
        b"ONBOOT=\"no\"\nVE_PRIVATE=\"/Data/check/vm\"\nVE_ROOT=\"/vz/root/$VEID\"\n",
    )?;
    node.must("mkdir -p /vz/root/101 && vzctl standin-create 101")?;
    tester::passes(node, "openvz", &[("ctid", "101")])
}

/// Loads an example into a configuration of its own, with the nodes that it names.
fn example(node: &Node, system: &str, load: &str) -> Result {
    node.must(&format!(
        "set -e
         folder={EXAMPLES}/{system} cib=/run/{system}.xml
         cibadmin --empty >$cib
         export CIB_file=$cib
         crm_attribute -n stonith-enabled -v false
         crm_attribute -n no-quorum-policy -v ignore
         id=1
         for name in $(grep -oE '^location .*' $folder/crm | grep -oE '[^ ]+$' | sort -u); do
             cibadmin -C -o nodes -X \"<node id='$((id++))' uname='$name'/>\"
         done
         {{ {load}; }} >/run/said 2>&1 </dev/null || {{ cat /run/said >&2; exit 1; }}
         # The configuration of this test is without fencing.
         if grep -v 'Blind faith: not fencing' /run/said | grep -E 'ERROR|rror:|WARNING' >&2; then exit 1; fi
         crm_verify -V -x $cib
         [ \"$(grep -c '<primitive' $cib)\" = \"$(grep -c '^primitive' $folder/crm)\" ]
         [ \"$(grep -cE '<rsc_(location|colocation|order) ' $cib)\" = \"$(grep -cE '^(location|colocation|order) ' $folder/crm)\" ]"
    ))
    .map(|_| ())
}

/// Both configurations of the published storage system, each from an empty cluster.
fn live(lab: &Lab, disk: &Resource) -> Result {
    let (one, two) = (lab.node(1), lab.node(2));
    for (node, address) in [(one, "10.0.0.4"), (two, "10.0.0.5")] {
        node.must(&format!("ip address add {address}/24 dev eth0"))?;
    }
    pacemaker::start(lab, &pacemaker::cib("", ""))?;
    let offers = |node: &Node| {
        node.says(
            "ip -4 address show dev eth0 | grep -q 'inet 10.0.0.6/24' &&
             grep -qx 1 /sys/kernel/config/nvmet/subsystems/*/namespaces/1/enable",
        ) && disk.is(node, &["ro:Primary/Secondary"])
    };
    // As a client writes: past the page cache, and not where LVM or a file system would look.
    const WRITE: &str = "set -e; dd if=/dev/urandom of=/run/blocks bs=64k count=4 status=none
                         dd if=/run/blocks of=/dev/drbd0 bs=64k seek=32 oflag=direct status=none; sha256sum </run/blocks";
    const READ: &str = "dd if=/dev/drbd0 bs=64k skip=32 count=4 iflag=direct status=none | sha256sum";
    let there = |node: &Node, data: &str| match node.must(READ)? {
        found if found == data => Ok(()),
        found => Err(failed(format!("{} reads {found} instead of {data}", node.name()))),
    };
    let mut data: Option<String> = None;
    for (tool, load) in [
        ("crm", format!("crm configure load update {EXAMPLES}/{LIVE}/crm")),
        ("pcs", format!("sh -e {EXAMPLES}/{LIVE}/pcs")),
    ] {
        lab.step(&format!("loaded with {tool}"), || one.must(&format!("{{ {load}; }} 2>&1")))?;
        lab.eventually("xenamo4 offers the disk", STEP, || offers(one))?;
        if let Some(data) = &data {
            lab.step("the data are there", || there(one, data))?;
        }
        let written = data.insert(lab.step("data written", || one.must(WRITE))?);
        lab.step("crm_verify has nothing to say, holdfast-check finds no mistake", || {
            one.must(
                "said=$(crm_verify -L -V 2>&1) && [ -z \"$said\" ] || { echo \"$said\"; exit 1; }
                 cibadmin -Q >/run/live.xml && holdfast-check /run/live.xml",
            )
        })?;
        pacemaker::standby(one, one.name(), true)?;
        lab.eventually("on standby, xenamo5 does", STEP, || offers(two))?;
        lab.step("the data are there", || there(two, written))?;
        pacemaker::standby(one, one.name(), false)?;
        if let [first, ..] = pacemaker::failures(one)?.as_slice() {
            return Err(failed(first.as_str()));
        }
        pacemaker::option(one, "stop-all-resources", "true")?;
        lab.eventually("all is stopped", STEP, || disk.is(two, &["ro:Secondary/Secondary"]))?;
        pacemaker::replace(one, "constraints", "")?;
        pacemaker::replace(one, "resources", "")?;
        pacemaker::option(one, "stop-all-resources", "false")?;
    }
    Ok(())
}
