//! The guests' share of the memory, and what the cluster is told of it.

use testkit::call::SUCCESS;
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{BINARY, changes, node, on, put, web};

/// The recorded machine: 1535 MB, domain 0 with a fixed size.
const INFO: &str =
    "printf 'total_memory           : 1535\nxen_commandline        : dom0_mem=768M,max:768M\n'";

/// A node with the managed guest mail as domain 3, started by another resource, and a guest of somebody else.
fn shared() -> Sandbox {
    let machine = node();
    machine.file("on/info.sh", INFO).file("on/mem-set.sh", "true");
    put(&machine, 3, "mail", "-b----");
    put(&machine, 4, "foreign", "-b----");
    machine.file("run/holdfast/xendomain/mail", "name=mail\nid=3\nmemory_managed=true\n");
    machine.file("run/holdfast/xendomain/other", "name=foreign\nid=4\nmemory_managed=false\n");
    for id in [3, 4, 5] {
        machine.file(&format!("store/local/domain/{id}/memory/static-max"), "1048576\n");
    }
    std::fs::remove_dir_all(machine.path("store/local/domain/5")).unwrap();
    machine
}

fn managed(machine: &Sandbox) -> Call {
    web(machine).param("allow_mem_management", "1")
}

fn sizes(machine: &Sandbox) -> Vec<Vec<String>> {
    changes(machine).into_iter().filter(|call| call[0] == "mem-set").collect()
}

#[test]
fn the_memory_is_divided_among_the_guests_that_say_so() {
    let machine = shared();
    machine
        .file("etc/xen/web.cfg", "name = \"web\"\nmemory = 1024\ndisk = [ \"phy:/dev/vg0/web,xvda,w\" ]\n");
    let before = std::fs::read_to_string(machine.path("etc/xen/web.cfg")).unwrap();
    managed(&machine).run("start").answers(SUCCESS);
    assert_eq!(sizes(&machine), [["mem-set", "3", "511m"]], "and never the guest of somebody else");
    let create = changes(&machine).into_iter().find(|call| call[0] == "create").unwrap();
    assert_eq!(create[2..], ["name=\"web\"", "memory=511", "maxmem=1024"]);
    assert_eq!(
        std::fs::read_to_string(machine.path("etc/xen/web.cfg")).unwrap(),
        before,
        "no file is edited"
    );
    managed(&machine).run("stop").answers(SUCCESS);
    assert_eq!(sizes(&machine)[1], ["mem-set", "3", "1023m"]);
}

#[test]
fn a_share_is_held_within_what_a_guest_needs_and_can_take() {
    let machine = shared();
    machine.file("store/local/domain/3/memory/static-max", "262144\n");
    managed(&machine).run("start").answers(SUCCESS);
    assert_eq!(sizes(&machine), [["mem-set", "3", "256m"]]);
    let create = changes(&machine).into_iter().find(|call| call[0] == "create").unwrap();
    assert_eq!(create[3..], ["memory=256", "maxmem=256"], "the configuration has 256");
    let machine = shared();
    let call = managed(&machine).param("reserved_Dom0_memory", "1500").param("minimum_memory", "200");
    call.run("start").answers(SUCCESS);
    assert_eq!(sizes(&machine), [["mem-set", "3", "200m"]]);
}

#[test]
fn nothing_is_divided_unless_somebody_says_so_or_while_xl_does_it() {
    let machine = shared();
    web(&machine).run("start").answers(SUCCESS);
    assert!(sizes(&machine).is_empty());
    for (conf, info, divided) in [
        ("", INFO, true),
        ("autoballoon=\"on\"\n", INFO, false),
        ("autoballoon=1\n", INFO, false),
        ("#autoballoon=\"on\"\n", INFO, true),
        ("autoballoon=\"off\"\n", "echo 'total_memory : 1535'", true),
        ("autoballoon=\"auto\"\n", "echo 'total_memory : 1535'", false),
        ("", "echo 'total_memory : 1535'", false),
    ] {
        let machine = shared();
        machine.file("etc/xen/xl.conf", conf).file("on/info.sh", info);
        managed(&machine).run("start").answers(SUCCESS);
        assert_eq!(!sizes(&machine).is_empty(), divided, "{conf} {info}");
    }
}

#[test]
fn what_goes_wrong_with_the_memory_decides_nothing() {
    for info in ["exec sleep 600", "exit 1", "echo babble", "true"] {
        let machine = shared();
        machine.file("on/info.sh", info);
        managed(&machine).run("start").exits(SUCCESS);
        managed(&machine).run("stop").exits(SUCCESS);
    }
    let machine = shared();
    machine.file("on/mem-set.sh", "echo no >&2; exit 1");
    managed(&machine).run("start").exits(SUCCESS);
}

#[test]
fn the_cluster_is_told_what_the_guest_uses_when_it_changes() {
    let machine = node();
    put(&machine, 3, "web", "-b----");
    let call =
        web(&machine).param("autoset_utilization_cpu", "yes").param("autoset_utilization_hv_memory", "true");
    machine.tool(
        "crm_resource",
        Tool::Does("case $* in *--get-parameter*cpu*) echo 1 ;; *--get-parameter*) echo 64 ;; esac".into()),
    );
    call.monitor().answers(SUCCESS);
    let sets: Vec<String> = machine.calls("crm_resource").iter().map(|call| call.join(" ")).collect();
    assert_eq!(sets.len(), 3, "{sets:?}");
    assert_eq!(sets[2], "--resource data --utilization --set-parameter hv_memory --parameter-value 96");
    call.probe().answers(SUCCESS);
    assert_eq!(machine.calls("crm_resource").len(), 3, "a probe tells nothing");
    for (how, behaviour) in Tool::misbehaviours(102) {
        if let Some(behaviour) = behaviour {
            machine.tool("crm_resource", behaviour);
        }
        let answer = call.clone().timeout_ms(6000).monitor().within_ms(6000);
        assert_eq!(answer.code, Some(SUCCESS), "{how}: {answer}");
    }
}

#[test]
fn a_deep_monitor_looks_at_the_disks() {
    let machine = node();
    web(&machine).run("start").answers(SUCCESS);
    web(&machine).level(10).monitor().answers(SUCCESS);
    machine.file("store/local/domain/0/backend/vbd/5/51712/state", "6\n");
    web(&machine).monitor().answers(SUCCESS);
    web(&machine).level(10).monitor().answers(testkit::call::GENERIC).names("51712");
    assert!(BINARY.ends_with("xendomain"));
    on(&machine, "destroy", "gone");
}
