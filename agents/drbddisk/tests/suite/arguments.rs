//! Every form of the argument, and what happens without one.

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox};

use crate::scenes::{
    BINARY, PRIMARY, SECONDARY, configure, link, never_ran_a_tool, new, new_with, old, proc_84, resource,
};

const FORMS: [&str; 6] = [
    "r0",
    "/dev/drbd0",
    "/dev/drbd/by-res/r0",
    "/dev/drbd/by-disk/vg0/lv0",
    "/dev/vg0/lv0",
    "/dev//vg0/./lv0",
];

#[test]
fn every_form_is_monitored_without_a_tool_up_to_8_4() {
    for form in FORMS {
        let machine = old(PRIMARY);
        resource(&machine, form).monitor().answers(SUCCESS);
        machine.file("proc/drbd", proc_84(&[(0, SECONDARY)]));
        resource(&machine, form).monitor().answers(NOT_RUNNING);
        assert!(never_ran_a_tool(&machine), "{form}");
    }
}

#[test]
fn every_form_is_started_and_stopped_by_the_resource_s_name() {
    for form in FORMS {
        for machine in [old(SECONDARY), new("Secondary")] {
            resource(&machine, form).run("start").answers(SUCCESS);
            resource(&machine, form).monitor().answers(SUCCESS);
            resource(&machine, form).run("stop").answers(SUCCESS);
            resource(&machine, form).monitor().answers(NOT_RUNNING);
            let calls = machine.calls("drbdadm");
            let changes: Vec<_> = calls.iter().filter(|call| !call[0].starts_with("sh-")).collect();
            assert_eq!(changes, [&["primary", "r0"], &["secondary", "r0"]], "{form}");
        }
    }
}

#[test]
fn without_links_the_configuration_tells_whose_disk_it_is() {
    let machine = new("Primary");
    std::fs::remove_dir_all(machine.path("dev/drbd")).unwrap();
    configure(
        &machine,
        &[("r9", "/dev/drbd9\n", "/dev/vg0/lv9\n"), ("r0", "/dev/drbd0\n", "/dev/lvm/domain1\n")],
    );
    // The disk was lost: the list does not have it any more, but r0 is Primary all the same.
    let list = std::fs::read_to_string(machine.path("list")).unwrap();
    machine.file(
        "list",
        list.replace("backing_dev:/dev/vg0/lv0 disk:UpToDate", "backing_dev:none disk:Diskless"),
    );
    resource(&machine, "/dev/lvm/domain1").monitor().answers(SUCCESS);
    resource(&machine, "/dev/vg0/lv9").monitor();
    // A configuration that has been taken away knows nothing of what is up.
    let gone = resource(&machine, "/dev/lvm/domain1");
    let ways = [
        ("refusals/sh-resources", "*1 no resources defined!\n", GENERIC),
        ("config/resources", "", INSTALLED),
    ];
    for (file, text, stop) in ways {
        machine.file(file, text);
        gone.probe().answers(GENERIC);
        gone.monitor().answers(GENERIC);
        gone.run("stop").answers(stop);
        machine.file("refusals/sh-resources", "");
    }
}

#[test]
fn another_link_to_the_same_disk_is_the_same_disk() {
    let machine = new("Primary");
    machine.file("dev/dm-3", "").folder("dev/mapper");
    std::fs::remove_file(machine.path("dev/vg0/lv0")).unwrap();
    std::os::unix::fs::symlink("../dm-3", machine.path("dev/vg0/lv0")).unwrap();
    std::os::unix::fs::symlink("../dm-3", machine.path("dev/mapper/vg0-lv0")).unwrap();
    resource(&machine, "/dev/mapper/vg0-lv0").monitor().answers(SUCCESS);
}

/// drbdadm knows the resource only from the file that the parameter names.
#[test]
fn a_device_or_disk_is_looked_up_in_the_configuration_that_is_named() {
    let machine = new("Secondary");
    std::fs::remove_dir_all(machine.path("dev/drbd")).unwrap();
    machine.file("etc/other.conf", "").file("only-with", "/etc/other.conf\n");
    for form in ["/dev/drbd0", "/dev/vg0/lv0"] {
        let call = resource(&machine, form).param("drbdconf", "/etc/other.conf");
        call.run("start").answers(SUCCESS);
        call.monitor().answers(SUCCESS);
        call.run("stop").answers(SUCCESS);
        call.clone().level(10).run("validate-all").answers(SUCCESS);
        resource(&machine, form).run("start").answers(INSTALLED).names(form);
    }
    // The list cannot be read, so the configuration tells the name, and drbdadm the role.
    machine.file("refusals/events2", "20 netlink: no answer\n");
    resource(&machine, "/dev/drbd0").param("drbdconf", "/etc/other.conf").monitor().answers(NOT_RUNNING);
    assert!(machine.calls("drbdadm").iter().any(|call| call[..2] == ["-c", "/etc/other.conf"]));
}

#[test]
fn a_disk_of_no_resource_is_stopped_while_nothing_is_primary_and_an_error_otherwise() {
    let machine = new("Secondary");
    resource(&machine, "/dev/vg0/other").monitor().answers(NOT_RUNNING);
    resource(&machine, "/dev/vg0/other").run("stop").answers(SUCCESS);
    resource(&machine, "/dev/vg0/other").run("start").answers(INSTALLED).names("/dev/vg0/other");
    let machine = new("Primary");
    resource(&machine, "/dev/vg0/other").monitor().answers(INSTALLED).names("/dev/vg0/other");
}

#[test]
fn a_resource_with_several_volumes_is_found_by_each_of_its_devices() {
    let machine = old(SECONDARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    machine.file("proc/drbd", proc_84(&[(10, PRIMARY), (11, SECONDARY)]));
    for form in ["r1", "/dev/drbd10", "/dev/drbd11", "/dev/drbd/by-res/r1/1"] {
        resource(&machine, form).monitor().answers(SUCCESS);
    }
}

#[test]
fn names_that_no_resource_can_have_are_wrong_everywhere() {
    let machine = old(PRIMARY);
    let links = ["/dev/drbd/by-res/--force", "/dev/drbd/by-res/-f/0", "/dev/drbd/by-res/all"];
    for name in ["-r0", "--force", "r0 r1", "r0;reboot", "r0/0", "$(id)"].into_iter().chain(links) {
        for action in ["start", "monitor", "validate-all"] {
            resource(&machine, name).run(action).answers(CONFIGURED).names("drbd_resource");
        }
    }
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn a_cluster_has_to_name_one_resource() {
    let machine = old(PRIMARY);
    for call in [machine.host(Call::ocf(BINARY)), resource(&machine, ""), resource(&machine, "all")] {
        for action in ["start", "stop", "monitor", "validate-all"] {
            call.run(action).answers(CONFIGURED).names("drbd_resource");
        }
    }
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn the_parameter_is_known_as_resource_too() {
    let machine = old(PRIMARY);
    machine.host(Call::ocf(BINARY).param("resource", "r0")).monitor().answers(SUCCESS);
}

fn heartbeat(machine: &Sandbox) -> Call {
    machine.host(Call::bare(machine.installed(BINARY, "etc/ha.d/resource.d/drbddisk")))
}

fn two_resources() -> Sandbox {
    let machine = new_with(
        "exists resource name:r0 role:Secondary suspended:no\nexists resource name:r1 role:Secondary suspended:no\n\
         exists -\n",
    );
    configure(
        &machine,
        &[("r0", "/dev/drbd0\n", "/dev/vg0/lv0\n"), ("r1", "/dev/drbd1\n", "/dev/vg0/lv1\n")],
    );
    machine
}

#[test]
fn without_a_name_the_only_resource_is_meant() {
    let machine = old(SECONDARY);
    let agent = heartbeat(&machine);
    agent.run_args(["start"]).exits(0);
    agent.run_args(["stop"]).exits(0);
    let changes: Vec<_> =
        machine.calls("drbdadm").into_iter().filter(|call| call[0] != "sh-resources").collect();
    assert_eq!(changes, [["primary", "r0"], ["secondary", "r0"]]);
}

#[test]
fn without_a_name_several_resources_are_left_alone() {
    let machine = two_resources();
    let answer = heartbeat(&machine).run_args(["start"]).exits(1);
    assert!(answer.stderr.contains("r0, r1"), "{answer}");
    assert!(!machine.calls("drbdadm").iter().any(|call| call[0] == "primary"));
}

#[test]
fn all_is_all_when_somebody_says_so() {
    let machine = two_resources();
    let agent = heartbeat(&machine);
    agent.run_args(["all", "start"]).exits(0);
    assert_eq!(machine.calls("drbdadm"), [["primary", "all"]]);
    agent.run_args(["all", "stop"]).exits(0);
    assert_eq!(machine.calls("drbdadm")[1], ["secondary", "all"]);
}

#[test]
fn all_is_started_until_the_last_is_primary() {
    let machine = two_resources();
    let list = std::fs::read_to_string(machine.path("list")).unwrap();
    machine.file("list", list.replacen("Secondary", "Primary", 1));
    let agent = heartbeat(&machine);
    agent.run_args(["all", "start"]).exits(0);
    assert_eq!(machine.calls("drbdadm"), [["primary", "all"]]);
    let list = std::fs::read_to_string(machine.path("list")).unwrap();
    machine.file("list", list.replacen("Primary", "Secondary", 1));
    agent.run_args(["all", "stop"]).exits(0);
    assert_eq!(machine.calls("drbdadm").len(), 2);
}

#[test]
fn a_stop_of_all_that_cannot_be_read_is_a_failure() {
    let machine = two_resources();
    machine.file("refusals/events2", "20 netlink: no answer\n");
    let by_hand = machine.host(Call::bare(BINARY));
    by_hand.run_args(["--drbd_resource", "all", "--timeout", "3", "stop"]).exits(GENERIC);
}
