//! The five published systems, as far as they were printed, and what is wrong with each; then each rule alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of a published system, to be changed.
struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Node { root: tempfile::tempdir().unwrap() }
    }

    fn of(system: &str) -> Self {
        let node = Node::new();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published").join(system), node.root.path());
        node
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    fn file(&self, inside: &str, text: &str) -> &Self {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn haresources(&self, text: &str) -> &Self {
        self.file("etc/ha.d/haresources", text)
    }

    fn scripts(&self, folder: &str, names: &[&str]) -> &Self {
        for name in names {
            self.file(&format!("{folder}/{name}"), "#!/bin/sh\n");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(self.path(&format!("{folder}/{name}")), mode).unwrap();
        }
        self
    }

    /// Every finding, without the root directory, and the exit code.
    fn check(&self, files: &[&str]) -> (Vec<String>, i32) {
        let files = files.iter().map(|file| self.path(file));
        run(
            Command::new(env!("CARGO_BIN_EXE_holdfast-check"))
                .arg("--root")
                .arg(self.root.path())
                .args(files),
            self.root.path(),
        )
    }

    /// Asserts these findings and no others, each by a part of its text.
    #[track_caller]
    fn finds(&self, expected: &[&str]) {
        let (found, code) = self.check(&[]);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for part in expected {
            assert!(found.iter().any(|line| line.contains(part)), "{part}\n{found:#?}");
        }
        let mistakes = found.iter().any(|line| line.contains(" error: "));
        assert_eq!(code, i32::from(mistakes));
    }
}

fn run(command: &mut Command, root: &Path) -> (Vec<String>, i32) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap().replace(&format!("{}/", root.display()), "");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.pop();
    (lines, output.status.code().unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn xen_ha_blanks_keys_names_and_lines() {
    Node::of("xen-ha").scripts("etc/ha.d/resource.d", &["drbddisk", "haxendomains"]).finds(&[
        "haresources:1: error: a blank makes two resources of drbddisk and /dev/lvm/domena1: write drbddisk::/dev/lvm/domena1",
        "haresources:1: error: /dev/lvm/domena1 names no DRBD resource, device or disk of this machine; was /dev/lvm/domain1 meant?",
        "haresources:2: error: a blank makes two resources of haxendomains and domain1: write haxendomains::domain1",
        "haresources:2: error: haxendomains::domain1 uses /dev/drbd0, and no resource here makes it Primary",
        "haresources:3: error: line 1 begins with drbddisk too",
        "haresources:3: error: a blank makes two resources of drbddisk and /dev/lvm/domena2",
        "haresources:3: error: /dev/lvm/domena2 names no DRBD resource, device or disk",
        "haresources:4: error: line 2 begins with haxendomains too",
        "haresources:4: error: a blank makes two resources of haxendomains and domain2",
        "haresources:4: error: haxendomains::domain2 uses /dev/drbd1",
        "drbd.conf: warning: domain1: group is of DRBD 8.0 and before",
        "drbd.conf: warning: domain2: group is of DRBD 8.0 and before",
        "etc/modprobe.d: warning: no file has 'options drbd disable_sendpage=1': when DRBD's link is lost, a page of domain1 or domain2",
    ]);
}

#[test]
fn storage_backend_the_address_twice_and_before_the_disk() {
    Node::of("storage-backend").scripts("etc/ha.d/resource.d", &["drbddisk", "IPaddr"]).finds(&[
        "haresources:1: error: IPaddr::10.0.0.6/24/eth0 is the address 10.0.0.6 of 10.0.0.6/24 once more",
        "haresources:1: warning: 10.0.0.6/24 is up before drbddisk::cluster, and down after it",
    ]);
    // With the export as a resource of its own.
    let node = Node::of("storage-backend");
    node.haresources("xenamo4 10.0.0.6/24 drbddisk::cluster gnbd-export::ocfscluster::/dev/drbd0\n")
        .finds(&["haresources:1: error: 10.0.0.6/24 is up before gnbd-export::ocfscluster::/dev/drbd0"]);
}

#[test]
fn xen_drbd_two_primaries_boot_and_shutdown() {
    Node::of("xen-drbd").finds(&[
        "etc/default/xen-drbd: warning: STOP_ACTION migrate-all-out waits for a peer that may be down",
        "etc/drbd.conf: warning: web: allow-two-primaries for ever",
        "error: xen-drbd is not started at boot (xend is: the published update-rc.d line named it)",
        "etc/xen/topology.py: warning: i_am is 'one', so the file differs between the nodes",
        "etc/modprobe.d: warning: no file has 'options drbd disable_sendpage=1'",
    ]);
}

#[test]
fn xen_striped_a_table_by_hand_a_number_for_a_name_and_a_local_disk() {
    let rest = [
        "etc/drbd.conf: warning: vm100: group is of DRBD 8.0 and before",
        "etc/xen/100: warning: guest 100 has a number for a name",
        "etc/xen/100: warning: guest 100 has the local disk /dev/mapper/swap100",
    ];
    let by_hand = "etc/drbd.conf: warning: vm100 is on /dev/mapper/root100, which a boot takes away";
    let node = Node::of("xen-striped");
    let sendpage = "etc/modprobe.d: warning: no file has 'options drbd disable_sendpage=1'";
    node.finds(&[by_hand, rest[0], rest[1], rest[2], sendpage]);
    for not in [
        "# options drbd disable_sendpage=1",
        "options drbd disable_sendpage=0",
        "options loop disable_sendpage=1",
    ] {
        node.file("etc/modprobe.d/drbd.conf", not).finds(&[by_hand, rest[0], rest[1], rest[2], sendpage]);
    }
    node.file("etc/modprobe.d/drbd.conf", "options drbd minor_count=8 disable_sendpage=Y # Xen\n");
    node.finds(&[by_hand, rest[0], rest[1], rest[2]]);
    node.file("etc/rc.local", "# dmsetup create root100 /etc/dmtab.100\ndmsetup create root10 /x\n");
    node.finds(&[by_hand, rest[0], rest[1], rest[2]]);
    node.file("etc/init.d/stripes", "/sbin/dmsetup create root100 /etc/dmtab.100\n").finds(&rest);
    // Device-mapper's names of LVM's volumes are made by LVM.
    let node = Node::of("xen-striped");
    node.file("etc/modprobe.d/drbd.conf", "options drbd disable_sendpage=1");
    fs::remove_file(node.path("etc/dmtab.100")).unwrap();
    node.finds(&rest);
}

#[test]
fn openvz_pair_only_the_policy_that_throws_data_away() {
    let node = Node::of("openvz-pair");
    node.scripts("etc/ha.d/resource.d", &["drbddisk", "Filesystem", "openvz"]).finds(&[
        "etc/drbd.conf: warning: db: after-sb-0pri discard-younger-primary",
        "etc/drbd.conf: warning: apps: after-sb-0pri discard-younger-primary",
    ]);
}

#[test]
fn the_examples_of_the_five_systems_and_of_a_live_migration_have_no_mistake() {
    for (system, nodes) in [
        ("xen-ha", "skylla"),
        ("storage-backend", "xenamo4"),
        ("xen-drbd", "one"),
        ("xen-drbd-live", ""),
        ("xen-striped", "erdbeere"),
        ("openvz-pair", "deimos"),
    ] {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(system);
        let root = Node::of(system.trim_end_matches("-live"));
        fs::remove_dir_all(root.path("etc/rc2.d")).ok();
        // Heartbeat moves nothing that runs.
        let files = ["crm", "pcs", "haresources"].into_iter().take(if nodes.is_empty() { 2 } else { 3 });
        for file in files {
            let path = examples.join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            if file == "haresources" {
                assert!(text.lines().any(|line| line.starts_with(nodes)), "{system} lives on {nodes}");
            }
            let mut check = Command::new(env!("CARGO_BIN_EXE_holdfast-check"));
            let (found, code) = run(check.arg("--root").arg(root.root.path()).arg(&path), root.root.path());
            let of_file: Vec<&String> =
                found.iter().filter(|line| line.starts_with(examples.to_str().unwrap())).collect();
            assert_eq!(of_file, Vec::<&String>::new(), "{system}/{file}");
            assert_eq!(code, 0);
        }
    }
}

#[test]
fn a_script_that_is_not_there_is_named() {
    let node = Node::of("openvz-pair");
    node.file("etc/drbd.conf", "").scripts("etc/ha.d/resource.d", &["drbddisk", "Filesystem"]).finds(&[
        "haresources:1: error: openvz::101: no executable openvz in /etc/ha.d/resource.d or /etc/init.d",
        "haresources:2: error: openvz::102: no executable openvz",
    ]);
    node.scripts("etc/init.d", &["openvz"]).finds(&[]);
}

#[test]
fn a_container_that_starts_at_boot_is_named() {
    let node = Node::of("openvz-pair");
    node.file("etc/drbd.conf", "").file("etc/vz/conf/101.conf", "# ONBOOT=no\nONBOOT=\"yes\"\n");
    node.finds(&["haresources:1: error: container 101 starts at boot"]);
    fs::remove_file(node.path("etc/vz/conf/102.conf")).unwrap();
    node.file("etc/vz/conf/101.conf", "ONBOOT=no\n")
        .finds(&["warning: container 102 has no /etc/vz/conf/102.conf"]);
}

#[test]
fn a_guest_that_starts_at_boot_is_named() {
    let node = Node::new();
    node.file("etc/xen/auto/web.cfg", "").haresources("a drbddisk::web xendomain::web\n");
    node.finds(&["error: guest web starts at boot (/etc/xen/auto)"]);
}

const DRBD: &str = "resource r0 { on a { device /dev/drbd0; disk /dev/vg/r0; } }\n";

#[test]
fn the_order_of_layers_is_checked() {
    let node = Node::new();
    node.file("etc/drbd.conf", DRBD);
    node.haresources("a Filesystem::/dev/drbd0::/srv drbddisk::r0 10.0.0.1\n").finds(&[
        "haresources:1: error: Filesystem::/dev/drbd0::/srv starts before drbddisk::r0, which it stands on",
    ]);
    node.haresources("a drbddisk::r0 openvz::7 Filesystem::/dev/drbd0::/srv\n")
        .finds(&["error: openvz::7 starts before Filesystem::/dev/drbd0::/srv"]);
    node.haresources("a drbddisk::r0 LVM::vg0 Filesystem::/dev/vg0/a::/srv apache 10.0.0.1\n").finds(&[]);
    node.haresources("a LVM::vg0 drbddisk::r0 Filesystem::/dev/drbd0::/srv 10.0.0.1\n").finds(&[]);
}

#[test]
fn the_disk_below_drbd_is_not_for_use() {
    let node = Node::new();
    node.file("etc/drbd.d/r0.res", DRBD);
    node.haresources("a drbddisk::r0 Filesystem::/dev/vg/r0::/srv\n")
        .finds(&["error: Filesystem::/dev/vg/r0::/srv uses /dev/vg/r0, the disk below the DRBD resource r0"]);
    node.haresources("a drbddisk::/dev/vg/r0 Filesystem::/dev/drbd0::/srv\n")
        .finds(&["warning: /dev/vg/r0 is the disk below r0"]);
    node.file("etc/xen/web", "disk = ['phy:/dev/vg/r0,xvda,w']\n")
        .haresources("a drbddisk::r0 haxendomains::web\n");
    node.finds(&["error: haxendomains::web uses /dev/vg/r0, the disk below"]);
}

#[test]
fn what_the_shell_of_heartbeat_does_to_a_word_is_told() {
    let node = Node::new();
    for (word, told) in [
        ("drbddisk:r0", "single colon"),
        ("Filesystem::/dev/sda1::/srv::::noatime", "empty argument"),
        ("Filesystem::/dev/sd*::/srv", "pattern"),
        ("MailTo::'a", "its own"),
    ] {
        node.haresources(&format!("a {word}\n")).finds(&[told]);
    }
    node.haresources("a fe80::1/64/eth0\nb\n").file("etc/ha.d/ha.cf", "node a\n").finds(&[
        "haresources:2: error: b is no node of ha.cf (a)",
        "haresources:2: error: a node without a resource",
    ]);
}

#[test]
fn the_same_resource_on_two_lines_is_named() {
    Node::new().haresources("a drbddisk::r0 10.0.0.1\nb apache drbddisk::r0 IPaddr2::10.0.0.1/24\n").finds(
        &["haresources:2: error: drbddisk::r0 stands on line 1 already", "10.0.0.1 once more (line 1)"],
    );
}

fn cib(resources: &str, constraints: &str) -> String {
    format!(
        "<cib><configuration><resources>{resources}</resources><constraints>{constraints}</constraints></configuration></cib>"
    )
}

fn primitive(id: &str, agent: &str, values: &[(&str, &str)]) -> String {
    let pairs: String = values
        .iter()
        .map(|(name, value)| format!("<nvpair id='{id}-{name}' name='{name}' value='{value}'/>"))
        .collect();
    let (provider, agent) = agent.split_once(':').unwrap();
    format!(
        "<primitive id='{id}' class='ocf' provider='{provider}' type='{agent}'><instance_attributes id='{id}-a'>{pairs}</instance_attributes></primitive>"
    )
}

#[test]
fn a_cib_is_checked_by_groups_and_orders() {
    let node = Node::new();
    node.file("etc/drbd.conf", DRBD);
    const CIB: &str = "var/lib/pacemaker/cib/cib.xml";
    let disk =
        format!("<clone id='ms'>{}</clone>", primitive("disk", "linbit:drbd", &[("drbd_resource", "r0")]));
    let fs = primitive("fs", "holdfast:Filesystem", &[("device", "/dev/drbd0"), ("directory", "/srv")]);
    let export = primitive("export", "holdfast:gnbd-export", &[("name", "x"), ("device", "/dev/drbd0")]);
    let ip = primitive("ip", "heartbeat:IPaddr2", &[("ip", "10.0.0.1")]);
    let again = primitive("again", "heartbeat:IPaddr2", &[("ip", "10.0.0.1"), ("nic", "eth0")]);
    let group = |members: &[&str]| format!("<group id='g'>{}</group>", members.concat());
    let order = "<rsc_order id='o' first='ms' then='g'/>";

    node.file(CIB, &cib(&(disk.clone() + &group(&[&fs, &ip])), order)).finds(&[]);
    node.file(CIB, &cib(&(disk.clone() + &group(&[&fs, &ip])), ""))
        .finds(&["error: fs uses /dev/drbd0, but nothing says that disk starts before it"]);
    node.file(CIB, &cib(&group(&[&fs, &ip]), ""))
        .finds(&["error: fs uses /dev/drbd0, and no resource here makes it Primary"]);
    node.file(CIB, &cib(&(disk.clone() + &group(&[&ip, &export])), order))
        .finds(&["error: ip is up before export"]);
    node.file(CIB, &cib(&(disk.clone() + &group(&[&fs, &ip]) + &again), order))
        .finds(&["again is the address 10.0.0.1 of ip once more"]);
    let sets = "<rsc_order id='o'><resource_set id='1'><resource_ref id='ms'/></resource_set>\
                <resource_set id='2' sequential='false'><resource_ref id='ip'/><resource_ref id='fs'/></resource_set></rsc_order>";
    node.file(CIB, &cib(&(disk.clone() + &fs + &ip), sets)).finds(&[]);
    node.scripts("usr/lib/ocf/resource.d/holdfast", &["Filesystem"])
        .scripts("usr/lib/ocf/resource.d/linbit", &["drbd"]);
    node.finds(&["ip: no executable IPaddr2 at /usr/lib/ocf/resource.d/heartbeat/IPaddr2"]);
}

#[test]
fn what_is_no_configuration_cannot_be_read() {
    let node = Node::new();
    node.file("a.xml", "<not").file("b.xml", "<html/>");
    for file in ["a.xml", "b.xml", "missing"] {
        assert_eq!(node.check(&[file]).1, 2, "{file}");
    }
    // Entities that grow without end are not expanded.
    node.file("c.xml", "<!DOCTYPE a [<!ENTITY a 'x'>]><cib><resources/></cib>");
    assert_eq!(node.check(&["c.xml"]).1, 2);
}

const CRM: &str = "\
primitive disk ocf:linbit:drbd params drbd_resource=r0 op monitor interval=20s role=Promoted
primitive fs ocf:holdfast:Filesystem \\
    params device=/dev/drbd0 directory=/srv \\
    op start timeout=60s
primitive ip IPaddr2 params ip=10.0.0.1
ms ms_disk disk meta notify=true
group data fs ip
";

#[test]
fn texts_for_crm_are_checked() {
    let node = Node::new();
    node.file("etc/drbd.conf", DRBD);
    let check = |text: &str| {
        node.file("crm", text);
        node.check(&["crm"]).0
    };
    assert_eq!(check(&format!("{CRM}order o Mandatory: ms_disk:promote data:start\n")), Vec::<String>::new());
    let found = check(CRM);
    assert!(
        found[0].contains("crm:2: error: fs uses /dev/drbd0, but nothing says that disk starts before it"),
        "{found:?}"
    );
    let found = check(&CRM.replace("group data fs ip", "group data ip fs\norder o ms_disk:promote data"));
    assert!(found[0].contains("warning: ip is up before fs"), "{found:?}");
}

#[test]
fn scripts_of_pcs_are_checked() {
    let node = Node::new();
    node.file("etc/drbd.conf", DRBD);
    let text = "pcs -f cib resource create disk ocf:linbit:drbd drbd_resource=r0 op monitor interval=20s promotable notify=true\n\
                pcs -f cib resource create fs ocf:holdfast:Filesystem device=/dev/drbd0 directory=/srv --group data\n\
                pcs -f cib resource create ip ocf:heartbeat:IPaddr2 ip=10.0.0.1 --group data\n";
    let check = |text: &str| {
        node.file("pcs", text);
        node.check(&["pcs"]).0
    };
    assert_eq!(
        check(&format!("{text}pcs -f cib constraint order promote disk-clone then start data\n")),
        Vec::<String>::new()
    );
    let found = check(text);
    assert!(
        found[0].contains("pcs:2: error: fs uses /dev/drbd0, but nothing says that disk starts before it"),
        "{found:?}"
    );
}
