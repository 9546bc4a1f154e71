//! The promotable clone's meta attributes, and its parameters.

use testkit::Sandbox;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, SUCCESS};

use crate::scenes::{changes, instance, new, new_down, old_down, scores};

#[test]
fn a_clone_that_drbd_cannot_be_is_wrong_everywhere() {
    for (name, value, words) in [
        ("clone_node_max", "2", "clone-node-max is 2"),
        ("promoted_node_max", "2", "promoted-node-max is 2"),
        ("promoted_max", "3", "promoted-max is 3"),
    ] {
        let machine = new_down();
        for action in ["start", "promote", "validate-all"] {
            instance(&machine)
                .meta(name, value)
                .timeout_ms(5000)
                .run(action)
                .answers(CONFIGURED)
                .names(words);
        }
        assert!(changes(&machine).is_empty());
        instance(&machine).meta(name, value).run("stop").answers(SUCCESS);
    }
}

#[test]
fn two_promoted_instances_need_two_nodes_and_the_option() {
    let machine = new_down();
    let two = || instance(&machine).meta("promoted_max", "2").meta("master_max", "2");
    machine.file("config/dump", "resource r0 {\n    net {\n        protocol C;\n    }\n}\n");
    two().run("start").answers(CONFIGURED).names("allow-two-primaries");
    two().timeout_ms(5000).run("promote").answers(CONFIGURED);
    two().meta("clone_max", "3").run("start").answers(CONFIGURED).names("clone-max");
    machine.file("config/dump", "resource r0 {\n    net {\n        allow-two-primaries yes;\n    }\n}\n");
    two().run("start").answers(SUCCESS);
    two().run("promote").answers(SUCCESS);
}

#[test]
fn without_notifications_start_and_promote_refuse_unless_told() {
    for action in ["start", "promote", "reload"] {
        let machine = if action == "start" { new_down() } else { new("Secondary") };
        let plain = || instance(&machine).meta("notify", "").timeout_ms(3000);
        // reload cannot fail lightly: the cluster takes that for a failed start.
        let code = if action == "reload" { SUCCESS } else { CONFIGURED };
        plain().run(action).answers(code);
        assert_eq!(changes(&machine).is_empty(), action != "reload");
        plain().param("ignore_missing_notifications", "true").run(action).answers(SUCCESS);
    }
    let machine = new_down();
    let by_lists = instance(&machine).meta("notify", "").meta("notify_master_uname", " ");
    by_lists.run("start").answers(SUCCESS);
}

#[test]
fn stop_demote_and_monitor_work_without_notifications() {
    let machine = new("Primary");
    let call = instance(&machine).meta("notify", "");
    call.monitor().answers(8);
    call.run("demote").answers(SUCCESS);
    call.run("stop").answers(SUCCESS);
}

#[test]
fn three_instances_need_drbd_9() {
    let machine = new_down();
    instance(&machine).meta("clone_max", "3").run("start").answers(SUCCESS);
    let machine = old_down();
    instance(&machine).meta("clone_max", "3").run("start").answers(CONFIGURED).names("clone-max");
}

#[test]
fn the_module_s_version_can_be_required() {
    for (name, value, words) in [
        ("require_drbd_module_version_ge", "9.2.19", "9.2.19 is required"),
        ("require_drbd_module_version_ge", "10.0.0", "10.0.0 is required"),
        ("require_drbd_module_version_lt", "9.2.18", "below 9.2.18"),
        ("require_drbd_module_version_lt", "9.0.0", "below 9.0.0"),
    ] {
        let machine = new_down();
        instance(&machine).param(name, value).run("start").answers(INSTALLED).names(words);
        assert!(changes(&machine).is_empty());
    }
    for (name, value) in [
        ("require_drbd_module_version_ge", "9.2.18"),
        ("require_drbd_module_version_lt", "9.2.19"),
        ("require_drbd_module_version_ge", ""),
        ("require_drbd_module_version_lt", ""),
    ] {
        instance(&new_down()).param(name, value).run("start").answers(SUCCESS);
    }
    let ancient = old_down();
    ancient.file("proc/drbd", "version: 0.7.24 (api:79/proto:74)\n");
    instance(&ancient).run("start").answers(INSTALLED).names("8.0.0 is required");
}

#[test]
fn parameters_that_are_wrong_everywhere_are_refused_by_name() {
    let machine = new_down();
    for (name, value) in [
        ("drbd_resource", "r0 r1"),
        ("drbd_resource", "-f"),
        ("drbdconf", "drbd.conf"),
        ("drbdconf", "/etc/drbd.conf;reboot"),
        ("drbdconf", "-t/etc/shadow"),
        ("require_drbd_module_version_ge", "9"),
        ("require_drbd_module_version_lt", "newest"),
        ("remove_master_score_if_peer_primary", "perhaps"),
        ("connect_only_after_promote", "perhaps"),
        ("score_source", "dice"),
        ("dmtab", "dmtab.100"),
    ] {
        for action in ["start", "validate-all"] {
            instance(&machine).param(name, value).run(action).answers(CONFIGURED).names(name);
        }
    }
    assert!(changes(&machine).is_empty() && scores(&machine).is_empty());
}

#[test]
fn one_resource_has_to_be_named() {
    let machine = new_down();
    for name in ["", "all"] {
        for action in ["start", "stop", "monitor", "demote"] {
            let call = instance(&machine).param("drbd_resource", name);
            call.run(action).answers(CONFIGURED).names("drbd_resource");
        }
    }
}

#[test]
fn a_resource_that_is_not_configured_is_stopped_and_cannot_be_started() {
    let machine = new_down();
    machine.file("refusals/adjust", "*1 'r9' not defined in your config (for this host).\n");
    let call = instance(&machine).param("drbd_resource", "r9");
    call.probe().answers(7);
    call.monitor().answers(7);
    call.run("start").answers(GENERIC).names("r9");
    call.clone().level(10).run("validate-all").answers(INSTALLED).names("r9");
    call.run("stop").answers(SUCCESS);
    // Nor has it a name by which it could be taken down; but what is Primary may be it.
    let stop = |machine: Sandbox| {
        let call = instance(&machine).param("drbd_resource", "/dev/vg0/other");
        call.timeout_ms(4000).run("stop")
    };
    stop(machine).answers(SUCCESS);
    stop(new("Secondary")).answers(SUCCESS);
    stop(new("Primary")).answers(INSTALLED).names("/dev/vg0/other");
}

#[test]
fn a_valid_clone_is_valid_without_tools_and_without_a_word() {
    let machine = testkit::Sandbox::new();
    instance(&machine).run("validate-all").answers(SUCCESS);
    instance(&machine).meta("notify", "").run("validate-all").answers(SUCCESS);
}
