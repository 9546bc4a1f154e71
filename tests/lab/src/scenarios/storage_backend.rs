//! A disk for others, as it was published in 2006 with GNBD: DRBD, a volume group on it, the export, the service address.
//! Here the export is NVMe over TCP. A third machine writes all the time, through a planned switch and through a power
//! failure of the active node; what was acknowledged to it has to be there. With Heartbeat, after both kernel targets were
//! called by hand, and with Pacemaker.

use super::Scenario;
use crate::lab::Wish;
use crate::setup::agents::{PROVIDER, call, expect};
use crate::setup::codes::{RUNNING, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::{agents, client, drbd, heartbeat, pacemaker};
use crate::{Lab, Node, Output, Result};

/// With Heartbeat and one line of haresources.
pub const HEARTBEAT: Scenario = Scenario {
    name: "storage-backend",
    about: "Heartbeat; drbddisk, lvm-activate, gnbd-export, address; a client writes through a switch and a power failure",
    wish,
    story: |lab| {
        prepare(lab)?;
        by_hand(lab)?;
        story(lab, &Manager::Heartbeat)
    },
};

/// With Pacemaker and a group.
pub const PACEMAKER: Scenario = Scenario {
    name: "storage-backend-pacemaker",
    about: "The same disk and the same client, with Pacemaker",
    wish,
    story: |lab| {
        prepare(lab)?;
        story(lab, &Manager::Pacemaker)
    },
};

const ADDRESS: &str = "10.9.0.100";
const DEVICE: &str = "/dev/shared/cluster";
/// What `gnbd-export --name ocfscluster identity` prints.
const SUBSYSTEM: &str = "nqn.2014-08.org.nvmexpress:uuid:a16e5b4d-ed15-5148-aa28-46790a725619";
/// One switch, with room for emulation on a busy machine.
const SWITCH: u64 = 300;

fn wish() -> Wish {
    Wish::of(&["xenamo4", "xenamo5", "xenamo1"])
}

/// Who decides where the export runs.
enum Manager {
    Heartbeat,
    Pacemaker,
}

impl Manager {
    fn start(&self, lab: &Lab) -> Result {
        match self {
            Self::Heartbeat => {
                let line = format!(
                    "xenamo4 drbddisk::cluster lvm-activate::shared gnbd-export::ocfscluster::{DEVICE}::backend=nvmet,allow={} \
                     IPaddr2::{ADDRESS}/24/eth0\n",
                    client::HOST
                );
                let settings = heartbeat::Settings { auto_failback: false, ..heartbeat::Settings::default() };
                heartbeat::configure(lab, &line, settings)?;
                self.start_on(lab.node(1))?;
                self.start_on(lab.node(2))
            }
            Self::Pacemaker => pacemaker::start_among(lab, &[lab.node(1), lab.node(2)], &group()),
        }
    }

    fn start_on(&self, node: &Node) -> Result {
        match self {
            Self::Heartbeat => heartbeat::start_on(node),
            Self::Pacemaker => pacemaker::start_on(node),
        }
    }

    fn stop_on(&self, node: &Node) -> Result {
        match self {
            Self::Heartbeat => heartbeat::stop_on(node),
            Self::Pacemaker => pacemaker::stop_on(node),
        }
    }

    /// True when `node` knows that `other` could take over.
    fn is_member(&self, node: &Node, other: &Node) -> bool {
        match self {
            Self::Heartbeat => node.says(&format!(
                "cl_status nodestatus {} | grep -qx active && cl_status rscstatus >/dev/null",
                other.name()
            )),
            Self::Pacemaker => pacemaker::online(node) == 2,
        }
    }
}

fn group() -> String {
    let times = |interval| [("start", "0", "120s"), ("stop", "0", "120s"), ("monitor", interval, "60s")];
    let primitive =
        |id, agent, parameters: &[(&str, &str)]| pacemaker::primitive(id, agent, parameters, &times("20s"));
    let resources = [
        primitive("disk", ("holdfast", "drbddisk"), &[("drbd_resource", "cluster")]),
        primitive("vg", ("holdfast", "lvm-activate"), &[("vgname", "shared"), ("vg_access_mode", "plain")]),
        primitive("export", ("holdfast", "gnbd-export"), &export("nvmet", client::HOST)),
        primitive(
            "address",
            ("heartbeat", "IPaddr2"),
            &[("ip", ADDRESS), ("cidr_netmask", "24"), ("nic", "eth0")],
        ),
    ]
    .concat();
    pacemaker::cib(
        &format!("<group id=\"g\">{resources}</group>"),
        "<rsc_location id=\"home\" rsc=\"g\" node=\"xenamo4\" score=\"50\"/>",
    )
}

const fn export<'a>(backend: &'a str, allow: &'a str) -> [(&'a str, &'a str); 4] {
    [("name", "ocfscluster"), ("device", DEVICE), ("backend", backend), ("allow", allow)]
}

/// The replicated disk with a volume group on it, not in use on either node.
fn prepare(lab: &Lab) -> Result {
    agents::install(lab)?;
    for agent in ["lvm-activate", "gnbd-export"] {
        agents::require(lab.node(1), agent)?;
    }
    let disk = Resource::new("cluster", 0);
    drbd::create(lab, &[disk], "ext4")?;
    lab.step("a volume group on DRBD", || {
        boot(lab.node(1))?;
        boot(lab.node(2))?;
        lab.node(1).must(
            "set -e; drbdadm primary cluster; wipefs -qa /dev/drbd0; vgcreate -q --setautoactivation n shared /dev/drbd0 >&2
             lvcreate -q -y -Wn -Zn -n cluster -l 100%FREE shared >&2; vgchange -q -an shared >&2; drbdadm secondary cluster",
        )
    })?;
    Ok(())
}

/// What systemd does on every boot.
fn boot(node: &Node) -> Result {
    node.must(
        "modprobe configfs; mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config",
    )
    .map(|_| ())
}

/// The agent alone, with both kernel targets: all the way up, the question over the network, all the way down.
fn by_hand(lab: &Lab) -> Result {
    let node = lab.node(1);
    let group = [("vgname", "shared"), ("vg_access_mode", "plain")];
    node.must("drbdadm primary cluster")?;
    expect(lab, "the group is activated", &call(node, "lvm-activate", "start", &group, 90)?, RUNNING, &[])?;
    for (backend, allow, held) in
        [("nvmet", client::HOST, "NVMe target"), ("lio", "iqn.2026-11.org.example:client", "SCSI target")]
    {
        let parameters = export(backend, allow);
        let ask = |action| call(node, "gnbd-export", action, &parameters, 90);
        let is =
            |what: &str, answer: &Output, code| expect(lab, &format!("{backend}: {what}"), answer, code, &[]);
        is("nothing is exported", &ask("monitor")?, STOPPED)?;
        is("start", &ask("start")?, RUNNING)?;
        is("start again", &ask("start")?, RUNNING)?;
        is("monitor", &ask("monitor")?, RUNNING)?;
        is("monitor over the network", &deep(node, &parameters)?, RUNNING)?;
        let stop = call(node, "lvm-activate", "stop", &group, 15)?;
        expect(lab, &format!("{backend}: the group cannot be deactivated below it"), &stop, 1, &[held])?;
        is("stop", &ask("stop")?, RUNNING)?;
        is("nothing is exported", &ask("monitor")?, STOPPED)?;
        is("stop again", &ask("stop")?, RUNNING)?;
    }
    expect(lab, "the group is deactivated", &call(node, "lvm-activate", "stop", &group, 90)?, RUNNING, &[])?;
    lab.step("nothing holds the disk", || node.must("drbdadm secondary cluster")).map(|_| ())
}

fn deep(node: &Node, parameters: &[(&str, &str)]) -> Result<Output> {
    let exports: String =
        parameters.iter().map(|(name, value)| format!("OCF_RESKEY_{name}='{value}' ")).collect();
    node.sh(&format!(
        "{exports} OCF_RESKEY_CRM_meta_timeout=60000 OCF_RESKEY_CRM_meta_interval=10000 OCF_CHECK_LEVEL=10 OCF_ROOT=/usr/lib/ocf \
         OCF_RESOURCE_INSTANCE=lab OCF_RA_VERSION_MAJOR=1 timeout 90 {PROVIDER}/gnbd-export monitor"
    ))
}

fn story(lab: &Lab, manager: &Manager) -> Result {
    let (one, two, user) = (lab.node(1), lab.node(2), lab.node(3));
    let disk = Resource::new("cluster", 0);
    manager.start(lab)?;
    lab.eventually("node xenamo4 offers the disk", SWITCH, || offers(one))?;
    lab.check("and xenamo5 does not", !offers(two))?;
    let path = lab.step("the client connects", || client::connect(user, ADDRESS, SUBSYSTEM))?;
    client::write(user, &path)?;
    goes_on(lab, user, "the client writes")?;

    lab.eventually("xenamo5 is ready to take over", SWITCH, || manager.is_member(one, two))?;
    lab.step("xenamo4 leaves the cluster in good order", || manager.stop_on(one))?;
    lab.eventually("xenamo5 offers the disk", SWITCH, || offers(two))?;
    goes_on(lab, user, "the client writes again")?;
    verify(lab, two)?;
    lab.check("nothing of it is left on xenamo4", !offers(one) && disk.line(one).contains("ro:Secondary/"))?;

    lab.step("xenamo4 is back", || manager.start_on(one))?;
    lab.eventually("xenamo4 is ready to take over", SWITCH, || {
        manager.is_member(two, one) && disk.is(two, &["cs:Connected", "ds:UpToDate/UpToDate"])
    })?;
    lab.check("the disk stayed where it was", offers(two) && !offers(one))?;
    goes_on(lab, user, "the client writes still")?;
    two.kill();
    lab.done("xenamo5 has lost power");
    lab.eventually("xenamo4 offers the disk", SWITCH, || offers(one))?;
    goes_on(lab, user, "the client writes again")?;
    verify(lab, one)?;

    lab.step("xenamo5 has power again", || {
        two.boot()?;
        boot(two)?;
        drbd::up(two)?;
        manager.start_on(two)
    })?;
    lab.eventually("both are in step", SWITCH, || {
        disk.is(one, &["cs:Connected", "ro:Primary/Secondary", "ds:UpToDate/UpToDate"])
    })?;
    goes_on(lab, user, "the client writes still")?;
    lab.step("the client disconnects", || client::disconnect(user, SUBSYSTEM))?;
    verify(lab, one)
}

/// True if this node does all that the client needs: Primary, exported, and with the address.
fn offers(node: &Node) -> bool {
    node.says(&format!(
        "ip -4 address show dev eth0 | grep -q 'inet {ADDRESS}/' && [ -b {DEVICE} ] &&
         grep -qx 1 /sys/kernel/config/nvmet/subsystems/{SUBSYSTEM}/namespaces/1/enable"
    ))
}

/// Waits for records that were acknowledged after now.
fn goes_on(lab: &Lab, user: &Node, what: &str) -> Result {
    let before = client::acknowledged(user).unwrap_or(0);
    lab.eventually(what, SWITCH, || client::acknowledged(user).is_ok_and(|now| now > before + 30))?;
    client::acknowledged(user).map(|_| ())
}

fn verify(lab: &Lab, node: &Node) -> Result {
    let said = client::all_is_on(node, DEVICE, lab.node(3))?;
    lab.done(&said);
    Ok(())
}
