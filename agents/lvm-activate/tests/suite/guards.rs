//! Everything that start refuses, with the code of the replaced agent: 1 may pass, 2 is this node, 6 is every node.

use testkit::Sandbox;
use testkit::call::{ARGS, CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::scenes::{commands, mapped, mode, owned_by, set, tagged, vg};

/// Start and a deep validate-all refuse alike, and change nothing.
#[track_caller]
fn refused(machine: &Sandbox, access: &str, code: i32, name: &str) {
    for action in ["start", "validate-all"] {
        mode(machine, access).level(10).run(action).answers(code).names(name);
    }
    assert!(mapped(machine).is_empty());
    assert!(
        commands(machine).iter().all(|words| ["fullreport", "pvscan", "systemid"].contains(&words.as_str()))
    );
}

#[test]
fn a_group_that_is_not_visible_is_1() {
    let machine = vg(&["lv1"]);
    set(&machine, "name", "other");
    for access in ["plain", "system_id", "tagging", "lvmlockd"] {
        refused(&machine, access, GENERIC, "not visible");
    }
}

#[test]
fn missing_disks_are_1_in_a_foreign_group_too_and_two_parameters_relax_that() {
    for owner in ["node1", "node2"] {
        let machine = owned_by(owner);
        set(&machine, "missing", "1");
        refused(&machine, "system_id", GENERIC, "lacks 1 of its disks");
        for relax in ["partial_activation", "majority_pvs"] {
            mode(&machine, "system_id").param(relax, "yes").level(10).run("validate-all").answers(SUCCESS);
        }
        // Alone it does not relax the guard.
        mode(&machine, "system_id").param("degraded_activation", "yes").run("start").answers(GENERIC);
    }
}

#[test]
fn a_number_of_missing_disks_that_is_none_is_not_zero() {
    let machine = vg(&["lv1"]);
    for text in ["", "many", "-1"] {
        set(&machine, "missing", text);
        refused(&machine, "plain", GENERIC, "not about vg1");
    }
}

#[test]
fn an_exported_group_is_1() {
    let machine = vg(&["lv1"]);
    set(&machine, "attr", "wzx-n-");
    refused(&machine, "plain", GENERIC, "exported");
}

#[test]
fn an_access_mode_that_the_group_is_not_set_up_for_is_6() {
    let shared = |lock_type: &str| {
        let machine = vg(&["lv1"]);
        set(&machine, "lock_type", lock_type);
        machine
    };
    let clustered = || {
        let machine = vg(&["lv1"]);
        set(&machine, "attr", "wz--nc");
        machine
    };
    for (machine, wrong) in [
        (vg(&["lv1"]), vec!["system_id", "lvmlockd"]),
        (owned_by("node1"), vec!["lvmlockd"]),
        (tagged("pacemaker"), vec!["system_id", "lvmlockd"]),
        (shared("dlm"), vec!["system_id", "plain"]),
        (shared("sanlock"), vec!["system_id", "plain"]),
        (shared("idm"), vec!["system_id", "plain"]),
        (clustered(), vec!["system_id", "lvmlockd", "plain"]),
    ] {
        for access in wrong {
            refused(&machine, access, CONFIGURED, "is set up for");
        }
    }
}

#[test]
fn a_group_without_volumes_or_without_the_one_named_is_6() {
    let machine = vg(&[]);
    refused(&machine, "plain", CONFIGURED, "has no logical volume");
    let machine = vg(&["lv1"]);
    mode(&machine, "plain").param("lvname", "lv2").run("start").answers(CONFIGURED).names("lv2");
    mode(&machine, "plain").param("lvname", "lv2").run("stop").answers(SUCCESS);
    mode(&machine, "plain").param("lvname", "lv2").probe().answers(NOT_RUNNING);
}

#[test]
fn a_node_without_a_system_id_is_2() {
    for config in
        ["", "global { system_id_source = \"none\" }\n", "global { system_id_source = \"lvmlocal\" }\n"]
    {
        let machine = owned_by("node1");
        machine.file("etc/lvm/lvm.conf", config);
        refused(&machine, "system_id", ARGS, "system");
    }
    let machine = owned_by("node1");
    machine.file("proc/sys/kernel/hostname", "localhost\n");
    refused(&machine, "system_id", ARGS, "system ID");
}

#[test]
fn a_volume_list_beside_system_ids_is_2() {
    let machine = owned_by("node1");
    let config = "global { system_id_source = \"uname\" }\nactivation { volume_list = [ \"vg1\" ] }\n";
    machine.file("etc/lvm/lvm.conf", config);
    refused(&machine, "system_id", ARGS, "volume_list");
}

#[test]
fn tagging_without_a_list_or_with_one_that_lets_the_group_through_is_2() {
    let machine = tagged("");
    machine.file("etc/lvm/lvm.conf", "");
    refused(&machine, "tagging", ARGS, "volume_list is not set");
    for entry in ["vg1", "vg1/lv1", "@pacemaker", "@*", "*"] {
        machine
            .file("etc/lvm/lvm.conf", format!("activation {{ volume_list = [ \"root\", \"{entry}\" ] }}\n"));
        refused(&machine, "tagging", ARGS, entry);
    }
    machine.file("etc/lvm/lvm.conf", "activation { volume_list = [ \"root\", \"vg11\", \"@other\" ] }\n");
    // A tag that says nothing of an owner lets it through, too.
    set(&machine, "tags", "other");
    let ignoring = mode(&machine, "tagging").param("ignored_tags", "other");
    ignoring.run("start").answers(ARGS).names("@other");
    set(&machine, "tags", "");
    // LVM asks for the tags of a volume, too.
    let lvs = std::fs::read_to_string(machine.path("lvm/lvs")).unwrap();
    let with_tag =
        format!("{} linear fast,other\n", lvs.lines().next().unwrap().split(" linear").next().unwrap());
    machine.file("lvm/lvs", with_tag);
    mode(&machine, "tagging").run("start").answers(ARGS).names("@other");
    machine.file("lvm/lvs", lvs);
    mode(&machine, "tagging").run("start").answers(SUCCESS);
}

#[test]
fn a_group_of_another_system_is_not_activated_as_it_is() {
    let machine = owned_by("node2");
    refused(&machine, "plain", GENERIC, "belongs to system ID node2");
    let machine = owned_by("node1");
    mode(&machine, "plain").run("start").answers(SUCCESS);
}

/// Such as somebody has written into the metadata by hand.
#[test]
fn a_system_id_that_lvm_does_not_make_reaches_no_command() {
    for owner in ["it's", "a b", "node2#", "a]} global{", "\u{fc}", "node2\u{7f}"] {
        let machine = owned_by(owner);
        mode(&machine, "system_id").run("start").answers(GENERIC).names("not one that LVM makes");
        refused(&machine, "plain", GENERIC, "belongs to system ID");
    }
}

#[test]
fn an_access_mode_that_is_none_is_6() {
    let machine = vg(&["lv1"]);
    for access in ["", "unheard-of", "System_ID", "clvmd", "plain "] {
        for action in ["start", "validate-all"] {
            mode(&machine, access).run(action).answers(CONFIGURED);
        }
    }
    assert!(commands(&machine).is_empty());
    mode(&machine, "clvmd").run("start").answers(CONFIGURED).names("clvmd");
}

#[test]
fn a_bad_value_is_6_and_names_its_parameter() {
    let machine = tagged("");
    for (name, value) in [
        ("activation_mode", "both"),
        ("partial_activation", "perhaps"),
        ("tag", "a b"),
        ("tag", "-ay"),
        ("tag", "x\"]} global{"),
        ("ignored_tags", "a,b;c"),
    ] {
        mode(&machine, "tagging").param(name, value).run("start").answers(CONFIGURED).names(name);
    }
    assert!(commands(&machine).is_empty());
}

#[test]
fn a_group_with_one_owner_is_no_clone() {
    for (machine, access) in [(owned_by("node1"), "system_id"), (tagged(""), "tagging")] {
        mode(&machine, access).meta("clone_max", "2").run("start").answers(CONFIGURED).names("clone");
    }
    mode(&vg(&["lv1"]), "plain").meta("clone_max", "2").run("start").answers(SUCCESS);
}

/// What pcs asks on a node that need not have the group, nor LVM.
#[test]
fn a_shallow_validate_all_looks_at_the_parameters_alone() {
    let machine = Sandbox::new();
    mode(&machine, "system_id").run("validate-all").answers(SUCCESS);
    mode(&machine, "system_id").level(10).run("validate-all").answers(INSTALLED);
}

#[test]
fn lvm_that_is_not_installed_is_5_for_start_1_for_monitor_and_not_running_for_a_probe() {
    let machine = vg(&["lv1"]);
    std::fs::remove_file(machine.path("usr/sbin/lvm")).unwrap();
    mode(&machine, "plain").run("start").answers(INSTALLED).names("lvm");
    mode(&machine, "plain").probe().answers(NOT_RUNNING);
    mode(&machine, "plain").monitor().answers(GENERIC).names("lvm");
    mode(&machine, "plain").run("stop").answers(SUCCESS);
}

#[test]
fn a_configuration_that_nobody_can_read_is_2() {
    let machine = owned_by("node1");
    machine
        .file("etc/lvm/lvm.conf", "global { system_id_source = \n")
        .file("refusals/lvmconfig", "*5 Parse error\n");
    mode(&machine, "system_id").run("start").answers(ARGS).names("Parse error");
}
