//! nvmet: the recorded order of deeds, the kernel's refusals, ports and hosts that exports share.

use nix::errno::Errno;
use std::process::Stdio;

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::configfs::{Deed, DeviceIs};
use crate::scenes::{HOST, UUID, nqn, scene};

fn subsystem() -> String {
    format!("nvmet/subsystems/{}", nqn())
}

#[test]
fn an_export_is_started_seen_and_stopped_and_nothing_stays() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    r0.probe().answers(NOT_RUNNING);
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
    {
        let tree = here.configfs.tree();
        let namespace = format!("{}/namespaces/1", subsystem());
        assert_eq!(tree.text(&format!("{namespace}/device_path")), "/dev/drbd0");
        assert_eq!(tree.text(&format!("{namespace}/device_uuid")), UUID);
        assert_eq!(tree.text(&format!("{namespace}/device_nguid")), UUID);
        assert_eq!(tree.text(&format!("{}/attr_serial", subsystem())), UUID.replace('-', "")[..20]);
        assert_eq!(tree.text(&format!("{}/attr_model", subsystem())), "gnbd-export");
        assert_eq!(tree.text(&format!("{}/attr_allow_any_host", subsystem())), "0");
        assert_eq!(tree.links_in(&format!("{}/allowed_hosts", subsystem()))[0].0, HOST);
        assert_eq!(tree.held(), ["/dev/drbd0"]);
    }
    r0.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    r0.monitor().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
    let tree = here.configfs.tree();
    assert!(tree.left().is_empty() && tree.held().is_empty(), "{:?}", tree.left());
    assert!(tree.harm.is_empty(), "{:?}", tree.harm);
}

/// Clients delete the disk, and their writers get EIO, if the namespace is not there while the subsystem is in a port.
#[test]
fn the_link_in_the_port_is_made_last_and_goes_first() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    r0.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    let tree = here.configfs.tree();
    let link = format!("nvmet/ports/20000/subsystems/{}", nqn());
    let enable = |text: &str| Deed::Wrote(format!("{}/namespaces/1/enable", subsystem()), text.into());
    let linked = tree.when(&Deed::Linked(link.clone()));
    let unlinked = tree.when(&Deed::Unlinked(link));
    assert_eq!(linked + 1, unlinked, "nothing is changed after it and before it: {:#?}", tree.deeds);
    assert!(tree.when(&enable("1")) < linked && unlinked < tree.when(&enable("0")));
    assert!(tree.when(&enable("0")) < tree.when(&Deed::Removed(format!("{}/namespaces/1", subsystem()))));
    assert!(tree.harm.is_empty(), "{:?}", tree.harm);
}

#[test]
fn the_identity_is_the_same_on_both_nodes() {
    let (Some(one), Some(other)) = (scene(), scene()) else { return };
    let look = |here: &crate::scenes::Scene| {
        here.r0("nvmet").run("start").answers(SUCCESS);
        let tree = here.configfs.tree();
        let read = |name: &str| tree.text(&format!("{}/{name}", subsystem()));
        ["attr_serial", "attr_model", "namespaces/1/device_uuid", "namespaces/1/device_nguid"].map(read)
    };
    assert_eq!(look(&one), look(&other));
}

#[test]
fn the_kernel_s_refusals_are_told_in_words_and_leave_nothing_held() {
    for (device, word) in [(DeviceIs::Secondary, "Secondary"), (DeviceIs::ReadOnly, "write-protected")] {
        let Some(here) = scene() else { return };
        here.configfs.tree().devices.insert("/dev/drbd0".into(), device);
        here.r0("nvmet").run("start").answers(GENERIC).names("/dev/drbd0").names(word);
        let tree = here.configfs.tree();
        assert!(tree.left().is_empty(), "{:?}", tree.left());
    }
}

#[test]
fn every_deed_that_is_refused_fails_the_start_and_is_cleared() {
    for end in [
        &nqn()[..],
        "attr_serial",
        "attr_model",
        HOST,
        "namespaces/1",
        "device_path",
        "device_uuid",
        "device_nguid",
        "enable",
        "ports/20000",
        "addr_trtype",
        "addr_adrfam",
        "addr_traddr",
        "addr_trsvcid",
    ] {
        let Some(here) = scene() else { return };
        here.configfs.tree().refusals.push((end.into(), Errno::ENOMEM));
        here.r0("nvmet").run("start").answers(GENERIC).names("export r0");
        let tree = here.configfs.tree();
        assert!(tree.refusals.is_empty(), "{end} was not reached");
        assert!(tree.held().is_empty() && tree.left().is_empty(), "{end}: {:?}", tree.left());
    }
}

#[test]
fn the_same_name_with_another_device_is_an_error_and_stop_still_withdraws_it() {
    let Some(here) = scene() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.configfs.tree().devices.insert("/dev/drbd1".into(), DeviceIs::Good);
    here.r0("nvmet").run("start").answers(SUCCESS);
    let other = here.r0("nvmet").param("device", "/dev/drbd1");
    other.run("start").answers(GENERIC).names("/dev/drbd0");
    other.monitor().answers(GENERIC).names("/dev/drbd0");
    assert_eq!(here.configfs.tree().held(), ["/dev/drbd0"]);
    other.run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().held().is_empty());
}

/// Somebody has added one to the subsystem: it holds its device as ours does.
#[test]
fn another_namespace_that_is_on_is_never_stopped() {
    let Some(here) = scene() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.configfs.tree().devices.insert("/dev/drbd1".into(), DeviceIs::Good);
    here.r0("nvmet").run("start").answers(SUCCESS);
    let subsystem = here.sandbox.path("sys/kernel/config").join(subsystem());
    let write = |name: &str, text: &str| std::fs::write(subsystem.join(name), text).unwrap();
    std::fs::create_dir(subsystem.join("namespaces/2")).unwrap();
    write("namespaces/2/device_path", "/dev/drbd1");
    write("namespaces/2/enable", "1");
    std::fs::remove_file(
        here.sandbox.path(format!("sys/kernel/config/nvmet/ports/20000/subsystems/{}", nqn())),
    )
    .unwrap();
    write("namespaces/1/enable", "0");
    here.r0("nvmet").monitor().answers(GENERIC).names("namespace 2");
    here.r0("nvmet").run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().held().is_empty() && here.configfs.tree().left().is_empty());
}

#[test]
fn a_second_export_of_the_same_device_is_refused() {
    let Some(here) = scene() else { return };
    here.r0("nvmet").run("start").answers(SUCCESS);
    here.r0("nvmet").param("name", "r1").run("start").answers(GENERIC).names("NVMe target");
}

#[test]
fn another_uuid_is_an_error_before_a_client_notices_it() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    for attribute in ["device_uuid", "device_nguid"] {
        r0.run("start").answers(SUCCESS);
        let path = format!("{}/namespaces/1/{attribute}", subsystem());
        here.configfs.tree().set(&path, "99999999-1111-5222-8333-444455556666");
        r0.monitor().answers(GENERIC).names("99999999");
        r0.run("start").answers(GENERIC).names("99999999");
        r0.run("stop").answers(SUCCESS);
    }
}

#[test]
fn a_start_that_was_killed_half_way_is_cleared_by_the_next_and_by_stop() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    for action in ["start", "stop"] {
        r0.run("start").answers(SUCCESS);
        let link = format!("nvmet/ports/20000/subsystems/{}", nqn());
        here.configfs.tree().unlink(&link).unwrap();
        // The device is held, and no client can reach it.
        r0.monitor().answers(GENERIC).names("in no port");
        r0.probe().answers(GENERIC);
        r0.run(action).answers(SUCCESS);
        let running = if action == "start" { SUCCESS } else { NOT_RUNNING };
        r0.monitor().answers(running);
        r0.run("stop").answers(SUCCESS);
        assert!(here.configfs.tree().left().is_empty());
    }
}

#[test]
fn a_namespace_that_is_off_in_a_port_is_an_error_and_is_cleared_without_harm() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().set(&format!("{}/namespaces/1/enable", subsystem()), "0");
    r0.monitor().answers(GENERIC).names("not enabled");
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
    assert!(here.configfs.tree().harm.is_empty());
}

#[test]
fn what_holds_nothing_is_stopped_and_the_next_start_clears_it() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    here.configfs.tree().mkdir(&subsystem()).unwrap();
    r0.monitor().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
}

/// The kernel binds an address once.
#[test]
fn exports_on_one_address_share_a_port_that_goes_with_the_last() {
    let Some(here) = scene() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.configfs.tree().devices.insert("/dev/drbd1".into(), DeviceIs::Good);
    let (r0, r1) = (here.r0("nvmet"), here.r0("nvmet").param("name", "r1").param("device", "/dev/drbd1"));
    r0.run("start").answers(SUCCESS);
    r1.run("start").answers(SUCCESS);
    assert_eq!(here.configfs.tree().names("nvmet/ports"), ["20000"]);
    r0.run("stop").answers(SUCCESS);
    r1.monitor().answers(SUCCESS);
    assert_eq!(here.configfs.tree().names("nvmet/ports"), ["20000"]);
    assert_eq!(here.configfs.tree().names("nvmet/hosts"), [HOST], "r1 still admits it");
    r1.run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().left().is_empty());
}

/// Ports and hosts appear and go under the hands of others.
#[test]
fn exports_that_start_and_stop_at_the_same_moment_do_not_disturb_each_other() {
    let Some(here) = scene() else { return };
    let exports: Vec<testkit::Call> = (0..6)
        .map(|number| {
            let device = format!("dev/drbd{number}");
            if number > 0 {
                crate::scenes::node(&here.sandbox, &device, here.disk.device());
            }
            here.configfs.tree().devices.insert(format!("/{device}"), DeviceIs::Good);
            here.r0("nvmet").param("name", format!("e{number}")).param("device", format!("/{device}"))
        })
        .collect();
    for _ in 0..3 {
        for action in ["start", "stop"] {
            // Half of them start while the other half stops.
            let agents: Vec<_> = exports
                .iter()
                .enumerate()
                .map(|(at, export)| {
                    let action = if at % 2 == 0 { action } else { other(action) };
                    let mut command = export.command();
                    command.arg(action).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
                })
                .collect();
            for agent in agents {
                let ended = agent.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&ended.stderr);
                assert_eq!(ended.status.code(), Some(SUCCESS), "{action}: {said}");
            }
            for (at, export) in exports.iter().enumerate() {
                let running = (action == "start") == (at % 2 == 0);
                export.monitor().answers(if running { SUCCESS } else { NOT_RUNNING });
            }
        }
    }
    for export in &exports {
        export.run("stop").answers(SUCCESS);
    }
    let tree = here.configfs.tree();
    assert!(tree.left().is_empty() && tree.harm.is_empty(), "{:?} {:?}", tree.left(), tree.harm);
}

fn other(action: &str) -> &'static str {
    if action == "start" { "stop" } else { "start" }
}

#[test]
fn a_port_and_a_host_that_somebody_set_up_are_used_and_stay() {
    let Some(here) = scene() else { return };
    {
        let mut tree = here.configfs.tree();
        tree.mkdir("nvmet/ports/1").unwrap();
        for (name, text) in
            [("trtype", "tcp"), ("adrfam", "ipv4"), ("traddr", "0.0.0.0"), ("trsvcid", "4420")]
        {
            tree.write(&format!("nvmet/ports/1/addr_{name}"), text).unwrap();
        }
        tree.mkdir(&format!("nvmet/hosts/{HOST}")).unwrap();
        tree.set(&format!("nvmet/hosts/{HOST}/dhchap_key"), "DHHC-1:00:key:");
    }
    let r0 = here.r0("nvmet");
    r0.run("start").answers(SUCCESS);
    assert_eq!(here.configfs.tree().names("nvmet/ports"), ["1"]);
    r0.run("stop").answers(SUCCESS);
    assert_eq!(here.configfs.tree().left(), [format!("nvmet/hosts/{HOST}"), "nvmet/ports/1".into()]);
}

#[test]
fn an_address_that_is_taken_or_not_here_is_named() {
    let Some(here) = scene() else { return };
    here.configfs.tree().taken.insert("0.0.0.0:4420".into());
    here.r0("nvmet").run("start").answers(GENERIC).names("taken");
    here.r0("nvmet")
        .param("listen", "192.168.77.100")
        .run("start")
        .answers(GENERIC)
        .names("not on this node");
    assert!(here.configfs.tree().left().is_empty());
    here.r0("nvmet").param("port", "4421").run("start").answers(SUCCESS);
    here.r0("nvmet").param("port", "4421").monitor().answers(SUCCESS);
    here.r0("nvmet").monitor().answers(GENERIC).names("4421");
}

#[test]
fn nobody_may_connect_until_somebody_is_named() {
    let Some(here) = scene() else { return };
    let nobody = here.bare("nvmet");
    let answer = nobody.run("start").answers(SUCCESS);
    assert!(answer.stderr.contains("allow"), "a word about it: {answer}");
    {
        let tree = here.configfs.tree();
        assert_eq!(tree.text(&format!("{}/attr_allow_any_host", subsystem())), "0");
        assert!(tree.names(&format!("{}/allowed_hosts", subsystem())).is_empty());
    }
    nobody.monitor().answers(SUCCESS);
    nobody.run("stop").answers(SUCCESS);
    here.bare("nvmet").param("allow", "any").run("start").answers(SUCCESS);
    assert_eq!(here.configfs.tree().text(&format!("{}/attr_allow_any_host", subsystem())), "1");
}

#[test]
fn hosts_that_differ_from_allow_are_degraded_and_named() {
    let Some(here) = scene() else { return };
    here.r0("nvmet").run("start").answers(SUCCESS);
    let more = here.r0("nvmet").param("allow", format!("{HOST} nqn.other"));
    more.monitor().answers(190).names("nqn.other");
    here.bare("nvmet").monitor().answers(190).names(HOST);
    here.bare("nvmet").param("allow", "any").monitor().answers(190).names("every host");
}

#[test]
fn what_nvmet_cannot_do_is_refused() {
    let Some(here) = scene() else { return };
    here.r0("nvmet").param("readonly", "yes").run("start").answers(CONFIGURED).names("reading only");
    here.bare("nvmet").param("allow", "10.0.0.1").run("start").answers(CONFIGURED).names("NVMe host");
}

#[test]
fn a_kernel_without_nvmet_is_not_installed_and_its_probe_says_stopped() {
    let Some(here) = scene() else { return };
    let crate::scenes::Scene { configfs, sandbox, disk: _disk, machine: _machine } = here;
    drop(configfs);
    std::fs::remove_dir_all(sandbox.path("sys/module/nvmet")).unwrap();
    let r0 = sandbox
        .host(testkit::Call::ocf(crate::scenes::BINARY).param("name", "r0").param("device", "/dev/drbd0"));
    let r0 = r0.param("backend", "nvmet");
    r0.probe().answers(NOT_RUNNING);
    r0.monitor().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
    std::fs::remove_dir_all(sandbox.path("sys/module/nvmet_tcp")).unwrap();
    r0.run("start").answers(INSTALLED).names("nvmet-tcp");
    // Loaded, but nobody can see what is set up.
    sandbox.folder("sys/module/nvmet");
    r0.monitor().answers(GENERIC).names("configfs");
}

/// With I/O of DRBD suspended, the kernel does not come back from disabling the namespace.
#[test]
fn a_device_that_hangs_fails_stop_in_time_and_says_where() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet").timeout_ms(3000);
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().hangs = Some("enable".into());
    r0.run("stop").answers(GENERIC).within_ms(3000).names("namespace");
    // Nothing else of the tree is locked by that.
    r0.monitor().answers(GENERIC).names("in no port");
}

#[test]
fn a_namespace_that_cannot_be_disabled_is_never_a_stop() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("nvmet");
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().refusals.push(("enable".into(), Errno::EIO));
    r0.run("stop").answers(GENERIC).names("disabled");
    let link = format!("nvmet/ports/20000/subsystems/{}", nqn());
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().refusals.push((link, Errno::EIO));
    r0.run("stop").answers(GENERIC).names("port");
    assert_eq!(here.configfs.tree().held(), ["/dev/drbd0"], "a namespace in a port is not disabled");
    assert!(here.configfs.tree().harm.is_empty());
}

#[test]
fn a_monitor_is_one_process() {
    let Some(here) = scene() else { return };
    here.r0("nvmet").run("start").answers(SUCCESS);
    for backend in ["nvmet", "auto"] {
        assert_eq!(crate::scenes::processes_of_a_monitor(&here, backend), 1, "{backend}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let Some(here) = scene() else { return };
    let by_hand = here.sandbox.host(testkit::Call::bare(crate::scenes::BINARY));
    let words =
        ["--name", "r0", "--device", "/dev/drbd0", "--backend", "nvmet", "--allow", HOST, "--dry-run"];
    let answer = by_hand.run_args(words.iter().chain(&["start"])).exits(SUCCESS);
    assert!(answer.stdout.contains("would") && answer.stdout.contains("enable"), "{answer}");
    assert!(here.configfs.tree().deeds.is_empty());
    here.r0("nvmet").run("start").answers(SUCCESS);
    let before = here.configfs.tree().deeds.len();
    by_hand.run_args(words.iter().chain(&["stop"])).exits(SUCCESS);
    assert_eq!(here.configfs.tree().deeds.len(), before);
}

#[test]
fn json_tells_scripts_the_same() {
    let Some(here) = scene() else { return };
    let (call, by_hand) = (here.r0("nvmet"), here.sandbox.host(testkit::Call::bare(crate::scenes::BINARY)));
    let words = ["--name", "r0", "--device", "/dev/drbd0", "--backend", "nvmet", "--allow", HOST];
    testkit::json::tells(&call, &by_hand, &words, "stopped", NOT_RUNNING);
    here.r0("nvmet").param("allow", HOST).run("start").answers(SUCCESS);
    let call = here.r0("nvmet").param("allow", HOST);
    testkit::json::tells(&call, &by_hand, &words, "running", SUCCESS);
}
