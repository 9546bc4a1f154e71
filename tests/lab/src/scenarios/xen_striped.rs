//! One Xen guest called 100, as it was published in 2007: a stripe of three volumes below DRBD, XFS on it, and a swap disk that
//! is on one node alone. The agents are called by hand, as Pacemaker calls them. What goes wrong with Xen follows on the
//! same machines (`xen_faults`).

use super::{Scenario, xen_faults};
use crate::lab::Wish;
use crate::qemu::Kind;
use crate::setup::agents::{call, expect};
use crate::setup::codes::{DONE, FAILED, PROMOTED, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::xen::Guest;
use crate::setup::{agents, xen};
use crate::{Lab, Node, Output, Result};

/// A numeric name, a striped disk, local swap; then Xen's faults.
pub const SCENARIO: Scenario = Scenario {
    name: "xen-striped",
    about: "DRBD on a stripe made by drbddisk, XFS, a Xen guest called 100 with local swap; then what goes wrong with Xen",
    wish: || Wish { kind: Kind::Xen, ..Wish::of(&["erdbeere", "himbeere"]) },
    story,
};

const AMPLE: u32 = 120;
const DMTAB: &str =
    "0 688128 striped 3 64 /dev/vg-sda/root100 0 /dev/vg-sdb/root100 0 /dev/vg-sdc/root100 0\n";

fn story(lab: &Lab) -> Result {
    let (erdbeere, himbeere) = (lab.node(1), lab.node(2));
    let disk = Resource { group: "mapper".into(), ..Resource::new("vm100", 0) };
    let mut guest = Guest::new("100", &disk.device());
    guest.disks.push("phy:/dev/vg-sda/swap100,xvdb,w".into());
    guest.words = "FS=xfs".into();
    xen::drbd_option(lab)?;
    agents::install(lab)?;
    agents::require(erdbeere, "xendomain")?;
    lab.step("three volume groups on each node, a stripe of three volumes, DRBD on it", || {
        prepare(lab, &disk)
    })?;
    for node in lab.nodes() {
        guest.configure(node)?;
        expect(lab, "drbddisk makes the stripe", &storage(node, "start")?, DONE, &[])?;
        lab.check("it is there", node.says("dmsetup table root100 | grep -q 'striped 3 64'"))?;
    }
    lab.eventually("DRBD is connected", 60, || {
        disk.is(erdbeere, &["cs:Connected", "ro:Secondary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    xen::prepare(lab)?;
    expect(lab, "promote", &storage(erdbeere, "promote")?, DONE, &[])?;
    expect(lab, "it is promoted", &storage(erdbeere, "monitor")?, PROMOTED, &[])?;

    erdbeere.must("mkdir -p /mnt/install && mount /dev/drbd0 /mnt/install")?;
    expect(
        lab,
        "start refuses a disk that is mounted here",
        &ask(erdbeere, "start")?,
        FAILED,
        &["/mnt/install"],
    )?;
    erdbeere.must("umount /mnt/install && lvchange -an vg-sda/swap100")?;
    expect(lab, "start refuses without the swap disk", &ask(erdbeere, "start")?, FAILED, &["swap100"])?;
    erdbeere.must("lvchange -ay vg-sda/swap100")?;
    xen_faults::dead_disk(lab, erdbeere, &guest.name)?;
    expect(lab, "start", &ask(erdbeere, "start")?, DONE, &[])?;
    guest.boots_on(lab, erdbeere)?;
    let answer = call(
        erdbeere,
        "xendomain",
        "migrate_to",
        &[("name", "100"), ("CRM_meta_migrate_target", "himbeere")],
        AMPLE,
    )?;
    expect(lab, "it cannot move: its swap is local", &answer, FAILED, &["swap100 is local"])?;
    lab.check("two is not Primary for that", disk.is(erdbeere, &["ro:Primary/Secondary"]))?;

    lab.step("it is stopped here and started there", || {
        stop_all(lab, erdbeere)?;
        start_all(lab, himbeere)
    })?;
    guest.boots_on(lab, himbeere)?;
    himbeere.kill();
    lab.done("himbeere has lost power");
    lab.eventually("DRBD has noticed", 120, || disk.is(erdbeere, &["cs:WFConnection"]))?;
    start_all(lab, erdbeere)?;
    guest.boots_on(lab, erdbeere)?;

    lab.step("himbeere has power again", || {
        himbeere.boot()?;
        disks(himbeere)?;
        xen::start_on(himbeere)
    })?;
    expect(lab, "drbddisk makes the stripe again", &storage(himbeere, "start")?, DONE, &[])?;
    lab.eventually("DRBD has caught up", 120, || {
        disk.is(erdbeere, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    guest.goes_on(lab, erdbeere)?;
    stop_all(lab, erdbeere)?;
    expect(lab, "promote on himbeere", &storage(himbeere, "promote")?, DONE, &[])?;
    himbeere.must("mkdir -p /mnt/install && mount /dev/drbd0 /mnt/install")?;
    guest.all_is_at(lab, himbeere, "/mnt/install/records")?;
    himbeere.must("umount /mnt/install")?;
    expect(lab, "demote", &storage(himbeere, "demote")?, DONE, &[])?;
    expect(lab, "stop takes the resource down", &storage(himbeere, "stop")?, DONE, &[])?;
    lab.check("and the stripe away", himbeere.says("! dmsetup info root100"))?;
    expect(lab, "nothing is there", &ask(himbeere, "monitor")?, STOPPED, &[])?;
    himbeere.kill();
    lab.done("himbeere is not needed any more");
    xen_faults::story(lab, erdbeere)
}

fn ask(node: &Node, action: &str) -> Result<Output> {
    call(node, "xendomain", action, &[("name", "100")], AMPLE)
}

/// drbddisk as an instance of a promotable clone.
fn storage(node: &Node, action: &str) -> Result<Output> {
    let parameters = [
        ("drbd_resource", "vm100"),
        ("dmtab", "/etc/dmtab.100"),
        ("CRM_meta_promoted_max", "1"),
        ("CRM_meta_clone_max", "2"),
        ("CRM_meta_clone", "0"),
        ("CRM_meta_notify", "true"),
    ];
    call(node, "drbddisk", action, &parameters, AMPLE)
}

fn start_all(lab: &Lab, node: &Node) -> Result {
    expect(lab, &format!("promote on {}", node.name()), &storage(node, "promote")?, DONE, &[])?;
    expect(lab, &format!("start on {}", node.name()), &ask(node, "start")?, DONE, &[])
}

fn stop_all(lab: &Lab, node: &Node) -> Result {
    expect(lab, &format!("stop on {}", node.name()), &ask(node, "stop")?, DONE, &[])?;
    expect(lab, &format!("demote on {}", node.name()), &storage(node, "demote")?, DONE, &[])
}

/// /dev/vdc as three disks, as on the machine of 2007, and what a boot does with their volume groups.
fn disks(node: &Node) -> Result {
    node.must(
        "start=2048; for letter in a b c; do
           dmsetup create sd$letter --table \"0 344064 linear /dev/vdc $start\" || exit; start=$((start + 344064))
         done; udevadm settle; vgchange -q -ay >&2 || true",
    )
    .map(|_| ())
}

fn prepare(lab: &Lab, disk: &Resource) -> Result {
    let names: Vec<(&str, &str)> = lab.nodes().iter().map(|node| (node.name(), node.address())).collect();
    let config = disk.config(&names).replace("/dev/mapper/vm100", "/dev/mapper/root100");
    lab.on_all(|node| {
        node.put("/etc/dmtab.100", 0o644, DMTAB.as_bytes())?;
        node.put("/etc/drbd.d/vm100.res", 0o644, config.as_bytes())?;
        disks(node)?;
        node.must(
            "set -e; for letter in a b c; do
               vgcreate -q vg-sd$letter /dev/mapper/sd$letter
               lvcreate -q -y -Wn -Zn -n root100 -L 112M vg-sd$letter; lvcreate -q -y -Wn -Zn -n swap100 -L 16M vg-sd$letter
             done >&2
             mkswap -q /dev/vg-sda/swap100 >&2; dmsetup create root100 /etc/dmtab.100; drbdadm create-md --force vm100 >&2
             drbdadm up vm100",
        )
        .map(|_| ())
    })?;
    lab.eventually("vm100 is connected", 60, || disk.is(lab.node(1), &["cs:Connected"]))?;
    lab.node(1).must(
        "set -e; drbdadm new-current-uuid --clear-bitmap vm100; drbdadm primary vm100; mkfs.xfs -q -f -K /dev/drbd0",
    )?;
    lab.on_all(|node| node.must("drbdadm down vm100; dmsetup remove --retry root100").map(|_| ()))
}
