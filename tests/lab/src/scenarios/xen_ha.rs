//! Two nodes, each at home for one Xen guest on DRBD on a volume, as it was published in 2006: `haresources` with drbddisk and
//! xendomain. Each guest writes records all the time; what it has acknowledged has to be there after every switch.

use super::Scenario;
use super::lrm::{Subject, add, does};
use crate::lab::Wish;
use crate::qemu::Kind;
use crate::setup::codes::{DONE, STOPPED};
use crate::setup::drbd::Resource;
use crate::setup::xen::{Guest, SWITCH};
use crate::setup::{agents, drbd, heartbeat, lrm, tester, xen};
use crate::{Lab, Node, Result, failed};

/// Heartbeat, drbddisk, xendomain, active on both nodes.
pub const SCENARIO: Scenario = Scenario {
    name: "xen-ha",
    about: "Heartbeat with haresources, real Xen guests on DRBD, active on both nodes; switch, power failure, fail-back",
    wish: || Wish { kind: Kind::Xen, ..Wish::of(&["skylla", "charybda"]) },
    story,
};

const HARESOURCES: &str = include_str!("../../../../packaging/examples/xen-ha/haresources");

/// One guest with its disk.
struct Line {
    guest: Guest,
    disk: Resource,
}

impl Line {
    fn new(name: &str, minor: u32) -> Self {
        let disk = Resource { group: "lvm".into(), ..Resource::new(name, minor) };
        Self { guest: Guest::new(name, &disk.device()), disk }
    }
}

fn story(lab: &Lab) -> Result {
    let (skylla, charybda) = (lab.node(1), lab.node(2));
    let [first, second] = &[Line::new("domain1", 0), Line::new("domain2", 1)];
    xen::drbd_option(lab)?;
    agents::install(lab)?;
    agents::require(skylla, "xendomain")?;
    drbd::create(lab, &[first.disk.clone(), second.disk.clone()], "ext4")?;
    for line in [first, second] {
        let (name, device) = (&line.disk.name, line.disk.device());
        skylla.must(&format!("drbdadm primary {name}"))?;
        xen::empty(skylla, &device)?;
        skylla.must(&format!("drbdadm secondary {name}"))?;
        line.guest.configure(skylla)?;
        line.guest.configure(charybda)?;
    }
    xen::prepare(lab)?;
    lab.step("ocf-tester passes xendomain, with a real guest", || ocf_tester(skylla))?;
    by_lrm(lab, skylla)?;
    let settings = heartbeat::Settings { deadtime: 15, ..heartbeat::Settings::default() };
    heartbeat::configure(lab, HARESOURCES, settings)?;
    lab.step("Heartbeat starts", || {
        heartbeat::start_on(skylla)?;
        heartbeat::start_on(charybda)
    })?;
    first.guest.boots_on(lab, skylla)?;
    second.guest.boots_on(lab, charybda)?;

    first.guest.goes_on(lab, skylla)?;
    skylla.kill();
    lab.done("skylla has lost power");
    first.guest.boots_on(lab, charybda)?;
    second.guest.goes_on(lab, charybda)?;

    lab.step("skylla has power again", || {
        skylla.boot()?;
        drbd::up(skylla)?;
        xen::start_on(skylla)
    })?;
    first.guest.goes_on(lab, charybda)?;
    lab.step("Heartbeat starts there", || heartbeat::start_on(skylla))?;
    first.guest.boots_on(lab, skylla)?;
    lab.check("and not on charybda", first.guest.is_absent(charybda))?;
    second.guest.goes_on(lab, charybda)?;
    lab.eventually("both disks are in step", SWITCH, || {
        [first, second].iter().all(|line| line.disk.is(skylla, &["cs:Connected", "ds:UpToDate/UpToDate"]))
    })?;

    lab.step("charybda leaves the cluster in good order", || heartbeat::stop_on(charybda))?;
    second.guest.boots_on(lab, skylla)?;
    lab.check("nothing is left on charybda", second.guest.is_absent(charybda))?;
    first.guest.goes_on(lab, skylla)?;
    lab.step("skylla leaves the cluster in good order", || heartbeat::stop_on(skylla))?;
    for line in [first, second] {
        let (name, device) = (&line.disk.name, line.disk.device());
        lab.check(
            &format!("{name} is Secondary on both"),
            line.disk.is(skylla, &["ro:Secondary/Secondary"]),
        )?;
        charybda.must(&format!("drbdadm primary {name}"))?;
        line.guest.all_is_at(lab, charybda, &device)?;
        charybda.must(&format!("drbdadm secondary {name}"))?;
    }
    Ok(())
}

/// With a guest of its own, on a volume that is not replicated.
fn ocf_tester(node: &Node) -> Result {
    let device = "/dev/lvm/check";
    node.must("lvcreate -q -y -Wn -Zn -n check -L 64M lvm >/dev/null")?;
    xen::empty(node, device)?;
    Guest::new("check", device).configure(node)?;
    // Of itself ocf-tester allows 20 seconds, in which an emulated guest does not come up.
    let time = ("CRM_meta_timeout", "120000");
    tester::passes(node, "xendomain", &[("name", "check"), ("xmfile", "/etc/xen/check"), time])
}

/// The same guest, driven by the LRM of heartbeat 2 in its three classes (see `lrm`): what one has started the others
/// find, do not start again, and stop.
fn by_lrm(lab: &Lab, node: &Node) -> Result {
    const GUEST: Subject =
        Subject { agent: "xendomain", parameters: &[("name", "check")], active: "xl domid check" };
    lab.step("lrmd runs", || lrm::start_on(lab, node))?;
    let ids: Vec<String> =
        ["heartbeat", "lsb", "ocf"].iter().map(|class| add(node, &GUEST, class)).collect::<Result<_>>()?;
    let [heartbeat, lsb, ocf] = ids.as_slice() else { return Err(failed("three classes")) };
    let all = |code| ids.iter().try_for_each(|id| does(lab, node, id, "monitor", code));
    all(STOPPED)?;
    does(lab, node, heartbeat, "start", DONE)?;
    let number = node.must(GUEST.active)?;
    all(DONE)?;
    does(lab, node, lsb, "start", DONE)?;
    does(lab, node, ocf, "start", DONE)?;
    lab.check("it was started once", node.must(GUEST.active)? == number)?;
    does(lab, node, ocf, "stop", DONE)?;
    lab.check("nothing is left of it", node.says("list=$(xl list) && ! grep -q ^check <<<\"$list\""))?;
    all(STOPPED)?;
    does(lab, node, lsb, "stop", DONE)?;
    does(lab, node, heartbeat, "stop", DONE)?;
    node.must("pkill -x lrmd").map(|_| ())
}
