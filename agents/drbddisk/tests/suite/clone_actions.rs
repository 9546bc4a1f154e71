//! The promotable clone's start, stop, promote, demote and reload.

use std::time::Duration;

use testkit::Tool;
use testkit::call::{GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::scenes::{
    PRIMARY, SECONDARY, changes, instance, link, list_9, new, new_down, new_not_up, old, old_down, proc_84,
    scores, without_module,
};

const PEER: &str = "11 r0: State change failed: (-1) Multiple primaries not allowed by config\n";
const HELD: &str = "11 r0: State change failed: (-12) Device is held open by someone\n";
const NO_DATA: &str = "*17 r0: State change failed: (-2) Need access to UpToDate data\n";

#[test]
fn start_of_9_attaches_first_and_connects_then() {
    let machine = new_down();
    instance(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), ["check-resize r0", "adjust --skip-net r0", "adjust r0"]);
    assert_eq!(scores(&machine), ["10000"]);
    instance(&machine).monitor().answers(SUCCESS);
}

#[test]
fn start_of_9_connects_first_to_the_node_that_is_promoted() {
    let machine = new_down();
    instance(&machine).meta("notify_promoted_uname", "node2 here -c").run("start").answers(SUCCESS);
    assert_eq!(
        changes(&machine),
        ["check-resize r0", "adjust --skip-net r0", "adjust r0:node2", "adjust r0"]
    );
}

#[test]
fn start_of_8_4_adjusts() {
    let machine = old_down();
    instance(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), ["check-resize r0", "adjust r0"]);
    assert_eq!(scores(&machine), ["10000"]);
}

#[test]
fn start_that_shall_not_connect_only_attaches() {
    let machine = new_down();
    instance(&machine).param("connect_only_after_promote", "true").run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), ["check-resize r0", "adjust --skip-net r0"]);
    let machine = old_down();
    instance(&machine).param("connect_only_after_promote", "true").run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), ["check-resize r0", "new-resource r0", "new-minor r0", "attach r0"]);
}

#[test]
fn start_uses_the_configuration_that_is_named() {
    let machine = new_down();
    let call = instance(&machine).param("drbdconf", "/etc/other.conf");
    call.run("start").answers(INSTALLED).names("/etc/other.conf");
    machine.file("etc/other.conf", "");
    call.run("start").answers(SUCCESS);
    for call in changes(&machine) {
        assert!(call.starts_with("-c /etc/other.conf "), "{call}");
    }
}

/// An instance that is up may be half way: adjust repairs it, up would fail.
#[test]
fn start_of_what_is_up_completes_it() {
    let machine = new("Secondary");
    instance(&machine).run("start").answers(SUCCESS);
    assert_eq!(changes(&machine), ["adjust --skip-net r0", "adjust r0"]);
}

#[test]
fn start_ends_unpromoted() {
    for machine in [new("Primary"), old(PRIMARY)] {
        instance(&machine).run("start").answers(SUCCESS);
        assert_eq!(changes(&machine)[0], "secondary r0");
        instance(&machine).monitor().answers(SUCCESS);
    }
}

#[test]
fn start_of_what_is_primary_and_in_use_fails_and_names_the_user() {
    let machine = new("Primary");
    machine.file("refusals/secondary", format!("*{HELD}")).mounted(
        "147:0",
        "/srv/data",
        "ext4",
        "/dev/drbd0",
    );
    instance(&machine).timeout_ms(4000).run("start").answers(GENERIC).names("mount on /srv/data");
}

#[test]
fn start_waits_for_the_connection_but_not_for_ever() {
    let connecting = [
        ("Connected role:Secondary", "Connecting role:Unknown"),
        ("peer-disk:UpToDate", "peer-disk:DUnknown"),
    ];
    let machine = new_down();
    machine.file("up", list_9("Secondary", &connecting));
    let answer = instance(&machine).param("wfc_timeout", "1").run("start").answers(SUCCESS);
    assert!(answer.elapsed > Duration::from_secs(1), "{answer}");
    assert_eq!(scores(&machine), ["1000"], "that nobody is there is no failure");
    for no_wait in ["", "no", "-1"] {
        let machine = new_down();
        machine.file("up", list_9("Secondary", &connecting));
        let answer = instance(&machine).param("wfc_timeout", no_wait).run("start").answers(SUCCESS);
        assert!(answer.elapsed < Duration::from_secs(3), "{no_wait}: {answer}");
    }
}

#[test]
fn start_does_not_wait_for_a_connection_that_a_person_has_to_make() {
    let machine = new_down();
    machine.file("up", list_9("Secondary", &[("connection:Connected", "connection:StandAlone")]));
    let answer = instance(&machine).run("start").answers(SUCCESS);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
}

#[test]
fn start_waits_for_the_device_s_node() {
    let machine = new_down();
    std::fs::remove_file(machine.path("dev/drbd0")).unwrap();
    instance(&machine).timeout_ms(6000).run("start").answers(GENERIC).names("/dev/drbd0");
    let node = machine.path("dev/drbd0");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        std::fs::write(node, "").unwrap();
    });
    instance(&machine).run("start").answers(SUCCESS);
    late.join().unwrap();
}

#[test]
fn start_tries_to_attach_twice_and_names_the_disk_that_is_missing() {
    let machine = new_down();
    machine.file("refusals/adjust", "20 drbdmeta: no answer\n");
    instance(&machine).run("start").answers(SUCCESS);
    let machine = new_down();
    machine.file("refusals/adjust", "*1 open(/dev/vg0/lv0) failed: No such file or directory\n");
    std::fs::remove_file(machine.path("dev/vg0/lv0")).unwrap();
    instance(&machine).run("start").answers(GENERIC).names("/dev/vg0/lv0");
    assert_eq!(changes(&machine).iter().filter(|call| *call == "adjust --skip-net r0").count(), 2);
}

#[test]
fn start_loads_the_module() {
    let machine = without_module();
    let load = "mkdir -p \"$OCF_TEST_ROOT/sys/module/drbd\"; cp \"$OCF_TEST_ROOT/loaded\" \"$OCF_TEST_ROOT/proc/drbd\"";
    machine.tool("modprobe", Tool::Does(load.into()));
    let version = "version: 9.2.18 (api:2/proto:118-124)\nTransports (api:21): tcp (9.2.18)\n";
    machine.file("loaded", version).file("list", "exists -\n").file("up", list_9("Secondary", &[]));
    std::fs::remove_file(machine.path("refusals/events2")).unwrap();
    instance(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("modprobe"), [["drbd"]]);
}

#[test]
fn start_without_a_module_is_not_installed() {
    for tool in [Tool::Fails(1, "modprobe: FATAL: Module drbd not found"), Tool::Succeeds] {
        let machine = without_module();
        machine.tool("modprobe", tool);
        instance(&machine).run("start").answers(INSTALLED).names("kernel module drbd");
        assert!(changes(&machine).is_empty());
    }
}

#[test]
fn promote_makes_primary_and_is_done_once() {
    for machine in [new("Secondary"), old(SECONDARY)] {
        instance(&machine).run("promote").answers(SUCCESS);
        instance(&machine).run("promote").answers(SUCCESS);
        assert_eq!(changes(&machine), ["primary r0"]);
        instance(&machine).monitor().answers(8);
    }
}

/// Fact of DRBD: for ten seconds after its death a peer is shown as Primary, and the attempt succeeds all the same.
#[test]
fn promote_tries_although_a_peer_is_shown_as_primary() {
    let machine = old("Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----");
    instance(&machine).run("promote").answers(SUCCESS);
    assert_eq!(changes(&machine), ["primary r0"]);
    let machine = new("Secondary");
    machine.file("list", list_9("Secondary", &[("Connected role:Secondary", "Connected role:Primary")]));
    machine.file("refusals/primary", PEER.repeat(3));
    instance(&machine).run("promote").answers(SUCCESS);
    assert_eq!(changes(&machine), ["primary r0"; 4]);
}

#[test]
fn nothing_is_ever_forced() {
    for (name, action, scene) in [
        ("primary", "promote", new("Secondary")),
        ("secondary", "demote", new("Primary")),
        ("down", "stop", new("Primary")),
    ] {
        scene.file(&format!("refusals/{name}"), format!("*{HELD}"));
        instance(&scene).timeout_ms(3000).run(action).answers(GENERIC);
        let all = [scene.calls("drbdadm"), scene.calls("drbdsetup")].concat();
        assert!(all.len() > 1 && !all.iter().flatten().any(|word| word.contains("force")), "{all:?}");
    }
}

/// It lasts 15 seconds, or as long as it may: the cluster tries again at once.
#[test]
fn promote_without_data_is_tried_once_and_does_not_fail_fast() {
    let machine = new("Secondary");
    machine.file("refusals/primary", NO_DATA);
    let answer = instance(&machine).timeout_ms(4000).run("promote").answers(GENERIC).names("UpToDate");
    assert_eq!(changes(&machine), ["primary r0"]);
    assert!(answer.elapsed > Duration::from_secs(2), "{answer}");
    let answer = instance(&machine).timeout_ms(25_000).run("promote").answers(GENERIC);
    assert!((15..18).contains(&answer.elapsed.as_secs()), "{answer}");
}

#[test]
fn promote_of_what_is_not_up_fails() {
    instance(&new_not_up()).timeout_ms(5000).run("promote").answers(GENERIC).names("not up");
}

#[test]
fn promote_is_believed_only_when_it_is_seen() {
    let machine = new("Secondary");
    machine.tool("drbdadm", Tool::Succeeds);
    instance(&machine).timeout_ms(3000).run("promote").answers(GENERIC).names("not Primary");
}

#[test]
fn promote_needs_all_volumes() {
    let machine = old(SECONDARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    machine.file("proc/drbd", proc_84(&[(10, PRIMARY), (11, SECONDARY)]));
    let call = instance(&machine).param("drbd_resource", "r1");
    call.monitor().answers(8);
    call.run("promote").answers(SUCCESS);
    assert_eq!(changes(&machine), ["primary r1"]);
}

#[test]
fn promote_connects_if_start_did_not() {
    let machine = new("Secondary");
    instance(&machine).param("connect_only_after_promote", "true").run("promote").answers(SUCCESS);
    assert_eq!(changes(&machine), ["primary r0", "adjust r0"]);
}

#[test]
fn promote_gives_up_against_an_unexpected_primary_if_that_is_wanted() {
    let scene = || {
        let machine = new("Secondary");
        machine.file("list", list_9("Secondary", &[("Connected role:Secondary", "Connected role:Primary")]));
        machine.file("refusals/primary", format!("*{PEER}"));
        machine
    };
    let tries = |promoted: &str| {
        let machine = scene();
        let call = instance(&machine).param("fail_promote_early_if_peer_primary", "true");
        call.meta("notify_promoted_uname", promoted).timeout_ms(6000).run("promote").answers(GENERIC);
        changes(&machine).len()
    };
    assert_eq!(tries(" "), 1);
    assert!(tries("there") > 1, "the cluster knows that one");
    let machine = scene();
    instance(&machine).timeout_ms(6000).run("promote").answers(GENERIC).names("Primary on another node");
    assert!(changes(&machine).len() > 1);
}

/// Without notifications the cluster is asked, and who cannot answer makes nobody unexpected.
#[test]
fn promote_without_notifications_asks_the_cluster_whether_a_primary_is_expected() {
    for (located, gives_up) in [
        (Tool::Does("echo 'resource r0 is running on: there Promoted'".into()), false),
        (Tool::Does("echo 'resource r0 is running on: there Master'".into()), false),
        (Tool::Does("echo 'resource r0 is running on: there'".into()), true),
        (Tool::Fails(102, "no cluster"), false),
    ] {
        let machine = new("Secondary");
        machine.file("list", list_9("Secondary", &[("Connected role:Secondary", "Connected role:Primary")]));
        machine.file("refusals/primary", format!("*{PEER}")).tool("crm_resource", located);
        let call = instance(&machine).param("fail_promote_early_if_peer_primary", "true");
        call.timeout_ms(6000).run("promote").answers(GENERIC);
        assert_eq!(changes(&machine).len() == 1, gives_up, "{:?}", changes(&machine));
        assert!(!machine.calls("crm_resource").is_empty());
    }
}

#[test]
fn demote_makes_secondary() {
    for machine in [new("Primary"), old(PRIMARY)] {
        machine.file("refusals/secondary", HELD.repeat(2));
        instance(&machine).run("demote").answers(SUCCESS);
        instance(&machine).run("demote").answers(SUCCESS);
        assert_eq!(changes(&machine), ["secondary r0"; 3]);
    }
}

#[test]
fn demote_of_what_is_not_up_is_7() {
    instance(&new_not_up()).run("demote").answers(NOT_RUNNING);
}

#[test]
fn demote_that_cannot_names_who_holds_the_device() {
    let machine = new("Primary");
    machine.file("refusals/secondary", format!("*{HELD}")).mounted(
        "147:0",
        "/srv/data",
        "ext4",
        "/dev/drbd0",
    );
    let answer =
        instance(&machine).timeout_ms(3000).run("demote").answers(GENERIC).names("mount on /srv/data");
    assert!(answer.elapsed < Duration::from_millis(2900), "{answer}");
}

#[test]
fn stop_takes_down_and_removes_the_score() {
    for machine in [new("Secondary"), old(SECONDARY)] {
        instance(&machine).run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), ["down r0"]);
        assert_eq!(scores(&machine), ["--delete"]);
        instance(&machine).monitor().answers(NOT_RUNNING);
    }
}

#[test]
fn stop_of_a_primary_demotes_first() {
    for machine in [new("Primary"), old(PRIMARY)] {
        instance(&machine).run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), ["secondary r0", "down r0"]);
        instance(&machine).monitor().answers(NOT_RUNNING);
    }
}

/// An up that failed may have left something.
#[test]
fn stop_of_what_is_not_up_clears_up_once_and_ignores_the_answer() {
    let machine = new_not_up();
    machine
        .file("refusals/down", "*20 drbdmeta: trouble\n")
        .tool("drbdsetup", Tool::Does("echo 'exists -'".into()));
    instance(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), ["down r0"]);
    assert_eq!(scores(&machine), ["--delete"]);
    let machine = without_module();
    instance(&machine).run("stop").answers(SUCCESS);
    assert!(changes(&machine).is_empty(), "drbdadm would load the module");
}

#[test]
fn stop_goes_past_a_configuration_that_lost_the_resource() {
    let machine = new("Secondary");
    machine.file("refusals/down", "*1 'r0' not defined in your config (for this host).\n");
    instance(&machine).run("stop").answers(SUCCESS);
    assert!(machine.calls("drbdsetup").contains(&vec!["down".to_string(), "r0".to_string()]));
}

/// One wrong word anywhere in it, and drbdadm answers 10 to everything.
#[test]
fn demote_and_stop_go_past_a_configuration_that_cannot_be_understood() {
    for (action, state) in [("demote", SUCCESS), ("stop", NOT_RUNNING)] {
        for machine in [new("Primary"), old(PRIMARY)] {
            for word in ["secondary", "down"] {
                let words = "*10 drbd.d/r0.res:2: Parse error: 'protocol | on | disk' expected,\n";
                machine.file(&format!("refusals/{word}"), words);
            }
            instance(&machine).timeout_ms(6000).run(action).answers(SUCCESS);
            instance(&machine).monitor().answers(state);
        }
    }
}

#[test]
fn stop_of_a_resource_in_use_tries_and_then_names_the_user() {
    let machine = new("Primary");
    machine.file("refusals/secondary", format!("*{HELD}")).mounted(
        "147:0",
        "/srv/data",
        "ext4",
        "/dev/drbd0",
    );
    let answer = instance(&machine).timeout_ms(4000).run("stop").answers(GENERIC).names("mount on /srv/data");
    assert!(
        answer.elapsed > Duration::from_secs(1) && answer.elapsed < Duration::from_millis(3900),
        "{answer}"
    );
    assert!(scores(&machine).is_empty());
    assert!(!changes(&machine).contains(&"down r0".to_string()));
}

#[test]
fn stop_believes_nobody_who_says_that_it_is_down() {
    let machine = new("Secondary");
    machine.tool("drbdadm", Tool::Succeeds);
    instance(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("r0");
    assert!(scores(&machine).is_empty(), "what is up keeps its score");
    // Nor when nobody can say what it is then.
    machine.tool("drbdsetup", Tool::Fails(20, "netlink: no answer"));
    instance(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("r0");
    assert!(scores(&machine).is_empty());
}

/// drbdadm outdates a detached disk by its meta-data.
#[test]
fn stop_outdates_what_a_promoted_peer_goes_on_to_change_if_that_is_wanted() {
    let stop = |promoted: &str, param: &str| {
        let machine = new("Secondary");
        let call =
            instance(&machine).meta("notify_promoted_uname", promoted).meta("notify_stop_uname", "here");
        call.param("stop_outdates_secondary", param).run("stop").answers(SUCCESS);
        changes(&machine)
    };
    assert_eq!(stop("there", "true"), ["down r0", "outdate r0"]);
    for (promoted, param) in [("there", "false"), ("here", "true"), (" ", "true")] {
        assert_eq!(stop(promoted, param), ["down r0"], "{promoted} {param}");
    }
}

#[test]
fn reload_adjusts_and_tells_the_score() {
    let machine = new("Primary");
    instance(&machine).param("adjust_master_score", "1 2 3 4").run("reload").answers(SUCCESS);
    assert_eq!((changes(&machine), scores(&machine)), (vec!["adjust r0".into()], vec!["4".into()]));
    instance(&new_not_up()).run("reload").answers(GENERIC).names("not up");
}

/// A reload that fails would be a failed start.
#[test]
fn reload_with_a_configuration_that_cannot_be_applied_is_a_warning() {
    let machine = new("Primary");
    machine.file("refusals/adjust", "*1 syntax error\n");
    let log = machine.path("tmp/log");
    instance(&machine).env("HA_LOGFILE", &log).run("reload").answers(SUCCESS);
    assert!(std::fs::read_to_string(log).unwrap().contains("syntax error"));
}

/// As a cluster does it: a life of an instance, for both versions.
#[test]
fn a_whole_life() {
    for machine in [new_down(), old_down()] {
        let call = instance(&machine);
        let steps: [(&str, i32); 12] = [
            ("monitor", 7),
            ("start", 0),
            ("monitor", 0),
            ("notify", 0),
            ("promote", 0),
            ("monitor", 8),
            ("demote", 0),
            ("monitor", 0),
            ("promote", 0),
            ("stop", 0),
            ("monitor", 7),
            ("stop", 0),
        ];
        for (action, code) in steps {
            call.run(action).answers(code);
        }
    }
}
