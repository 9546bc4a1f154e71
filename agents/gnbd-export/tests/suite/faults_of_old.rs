//! The faults of the hand-edited script that this agent replaces (a storage pair of 2006: DRBD, GNBD, a service address),
//! a test for each.

use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::gnbd_suite::{SERVER, connect_client, heartbeat, machine, r0};
use crate::scenes::{Scene, proc_drbd};

fn order(sandbox: &Sandbox) -> Vec<String> {
    let calls = ["gnbd_export", "gnbd_serv", "drbdadm", "vgchange"].iter().flat_map(|tool| {
        sandbox.calls(tool).into_iter().map(move |call| format!("{tool} {}", call.join(" ")))
    });
    calls.collect()
}

/// Its stop replaced itself with the demotion, so nothing behind that ever ran.
#[test]
fn fault_1_everything_of_the_stop_is_done() {
    let Some(here) = machine() else { return };
    r0(&here).run("start").answers(SUCCESS);
    connect_client(&here.sandbox, "r0");
    r0(&here).run("stop").answers(SUCCESS);
    assert!(!here.sandbox.path("gnbd/exports/r0").exists());
    assert!(!here.sandbox.path(format!("proc/{SERVER}")).exists());
    r0(&here).monitor().answers(NOT_RUNNING);
}

/// It demoted before it withdrew: held open, ten tries, and then Heartbeat rebooted the node.
#[test]
fn fault_2_stop_ends_with_a_device_that_can_be_demoted_and_demotes_nothing_itself() {
    for backend in ["gnbd", "nvmet", "lio"] {
        let Some(here) = machine() else { return };
        here.bare(backend).run("start").answers(SUCCESS);
        if backend == "gnbd" {
            connect_client(&here.sandbox, "r0");
        }
        here.bare(backend).param("drain_timeout", "0").run("stop").answers(SUCCESS);
        assert!(here.configfs.tree().held().is_empty(), "{backend}");
        assert!(!here.sandbox.path("proc/4190002").exists(), "{backend}: no child has it open");
        assert!(here.sandbox.calls("drbdadm").is_empty());
    }
}

/// A stale export on the passive node met clients whose service address came up first: they gave up for good.
#[test]
fn fault_3_nothing_is_offered_before_the_device_can_be_written_and_what_is_stale_goes_first() {
    let Some(here) = machine() else { return };
    here.sandbox.file("proc/drbd", proc_drbd("Secondary/Primary"));
    for backend in ["gnbd", "nvmet", "lio"] {
        here.bare(backend).run("start").answers(GENERIC).names("DRBD Secondary").names("/dev/drbd0");
    }
    assert!(here.sandbox.calls("gnbd_export").is_empty() && here.configfs.tree().deeds.is_empty());
    here.sandbox.file("proc/drbd", proc_drbd("Primary/Secondary"));
    // Stale: withdrawn by force, children still there.
    r0(&here).run("start").answers(SUCCESS);
    here.sandbox.file("gnbd/invalid", "");
    let list = here.sandbox.calls("gnbd_export").len();
    let _ = r0(&here).run("start");
    let later = here.sandbox.calls("gnbd_export").split_off(list);
    let removed = later.iter().position(|call| call.contains(&"-r".to_owned()));
    let offered = later.iter().position(|call| call.contains(&"-e".to_owned()));
    assert!(removed.is_some() && removed < offered, "{later:?}");
}

/// The address was in the line twice, in front of everything and behind it.
#[test]
fn fault_4_the_address_is_left_to_its_own_resource_and_the_documented_line_has_it_last() {
    let Some(here) = machine() else { return };
    r0(&here).run("start").answers(SUCCESS);
    r0(&here).run("stop").answers(SUCCESS);
    for tool in ["ip", "ifconfig", "arping"] {
        assert!(here.sandbox.calls(tool).is_empty());
    }
    let xml = r0(&here).run("meta-data").stdout;
    assert!(xml.contains("drbddisk::cluster gnbd-export::ocfscluster::/dev/drbd0 IPaddr::10.0.0.6/24/eth0"));
}

/// Without -c it needed a cluster manager, and clients failed their I/O after a minute.
#[test]
fn fault_5_exports_are_cached_and_need_no_cluster_manager() {
    let Some(here) = machine() else { return };
    r0(&here).run("start").answers(SUCCESS);
    assert_eq!(here.sandbox.calls("gnbd_serv"), [["-n"]]);
    let text = std::fs::read_to_string(here.sandbox.path("gnbd/exports/r0")).unwrap();
    assert!(text.contains("cached : yes") && text.contains("timeout : no"), "{text}");
}

/// Every result was thrown away, and the script ended with exit 0.
#[test]
fn fault_6_a_tool_that_fails_fails_the_start() {
    for tool in ["gnbd_serv", "gnbd_export"] {
        let Some(here) = machine() else { return };
        here.sandbox.tool(tool, Tool::Fails(1, "ERROR it did not work"));
        r0(&here).run("start").answers(GENERIC).names("it did not work");
    }
}

/// -R stopped at the first export that was busy, took those of others along, and the server then stayed.
#[test]
fn fault_7_stop_withdraws_its_own_export_by_force_and_leaves_those_of_others() {
    let Some(here) = machine() else { return };
    r0(&here).run("start").answers(SUCCESS);
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.sandbox.file("sys/class/block/drbd1/size", "32768\n");
    let other = r0(&here).param("name", "a_first").param("device", "/dev/drbd1");
    other.run("start").answers(SUCCESS);
    connect_client(&here.sandbox, "r0");
    r0(&here).run("stop").answers(SUCCESS);
    let calls = order(&here.sandbox);
    assert!(calls.iter().all(|call| !call.contains("-R") && call != "gnbd_serv -k"), "{calls:?}");
    assert!(calls.iter().any(|call| call == "gnbd_export -O -r r0"), "{calls:?}");
    other.monitor().answers(SUCCESS);
    other.run("stop").answers(SUCCESS);
    assert_eq!(
        here.sandbox.calls("gnbd_serv").last().unwrap(),
        &["-k"],
        "the last one takes the server along"
    );
}

/// Its status was the role of the device.
#[test]
fn fault_8_a_dead_server_is_noticed_though_the_device_is_primary() {
    let Some(here) = machine() else { return };
    r0(&here).run("start").answers(SUCCESS);
    std::fs::remove_dir_all(here.sandbox.path(format!("proc/{SERVER}"))).unwrap();
    r0(&here).monitor().answers(NOT_RUNNING);
    let words = ["r0", "/dev/drbd0", "backend=gnbd", "status"];
    assert_eq!(heartbeat(&here.sandbox).run_args(words).exits(3).stdout, "stopped (gnbd)\n");
    r0(&here).run("start").answers(SUCCESS);
    // It lives, but it does not answer.
    here.sandbox.tool("gnbd_export", Tool::Hangs);
    r0(&here).timeout_ms(2000).monitor().answers(GENERIC).within_ms(2000);
}

/// It activated every volume group of the host, also the one below DRBD.
#[test]
fn fault_9_no_volume_group_is_touched() {
    let Some(here) = machine() else { return };
    for tool in ["vgchange", "lvchange", "vgscan"] {
        here.sandbox.tool(tool, Tool::Succeeds);
    }
    r0(&here).run("start").answers(SUCCESS);
    r0(&here).run("stop").answers(SUCCESS);
    for tool in ["vgchange", "lvchange", "vgscan"] {
        assert!(here.sandbox.calls(tool).is_empty(), "{tool}");
    }
}

/// Name and device stood in the script.
#[test]
fn fault_10_name_and_device_are_arguments_and_a_node_can_have_several() {
    let Some(here): Option<Scene> = machine() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.sandbox.file("sys/class/block/drbd1/size", "32768\n");
    let agent = heartbeat(&here.sandbox);
    agent.run_args(["ocfscluster", "/dev/drbd0", "start"]).exits(0);
    agent.run_args(["images", "/dev/drbd1", "start"]).exits(0);
    for (name, device) in [("ocfscluster", "/dev/drbd0"), ("images", "/dev/drbd1")] {
        assert_eq!(agent.run_args([name, device, "status"]).exits(0).stdout, "running (gnbd)\n");
        agent.run_args([name, device, "stop"]).exits(0);
        assert_eq!(agent.run_args([name, device, "status"]).exits(3).stdout, "stopped (gnbd)\n");
    }
}

/// The script was installed in a directory that Heartbeat does not look into, and answered 20 as in DRBD 0.7.
#[test]
fn fault_11_it_works_from_heartbeat_s_directory_with_codes_that_everybody_knows() {
    let Some(here) = machine() else { return };
    let agent = heartbeat(&here.sandbox);
    let words = ["r0", "/dev/drbd0"];
    agent.run_args(words.iter().chain(&["start"])).exits(0);
    assert_eq!(agent.run_args(words.iter().chain(&["status"])).exits(0).stdout, "running (gnbd)\n");
    agent.run_args(words.iter().chain(&["stop"])).exits(0);
    here.sandbox.tool("gnbd_export", Tool::Fails(1, "no"));
    agent.run_args(words.iter().chain(&["start"])).exits(1);
}
