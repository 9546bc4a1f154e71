//! The promotable clone: what monitor answers, what the cluster is told of its worth, and notifications.

use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{
    BINARY, PRIMARY, SECONDARY, changes, instance, list_9, new, new_not_up, new_with, old, r0, scores,
    without_module,
};

const PROMOTED: i32 = 8;
const STAND_ALONE: &str = "StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----";

#[test]
fn primary_is_8_secondary_is_0_and_not_up_is_7() {
    for (machine, code) in [
        (new("Primary"), PROMOTED),
        (new("Secondary"), SUCCESS),
        (new_not_up(), NOT_RUNNING),
        (old(PRIMARY), PROMOTED),
        (old(SECONDARY), SUCCESS),
        (without_module(), NOT_RUNNING),
    ] {
        instance(&machine).monitor().answers(code);
        instance(&machine).probe().answers(code);
    }
}

/// The same resource is a simple disk without the meta attributes: there Secondary is stopped.
#[test]
fn the_meta_attributes_of_either_spelling_make_the_clone() {
    let machine = new("Secondary");
    r0(&machine).monitor().answers(NOT_RUNNING);
    r0(&machine).meta("clone_max", "2").meta("notify", "true").monitor().answers(NOT_RUNNING);
    r0(&machine).meta("promoted_max", "1").monitor().answers(SUCCESS);
    r0(&machine).meta("master_max", "1").monitor().answers(SUCCESS);
}

/// As recorded of `crm_resource --force-check` and `--force-start`, for a clone with promotable=true and nothing else: the
/// number of promoted instances is not among them. A simple disk's start would promote.
#[test]
fn what_crm_resource_is_forced_to_do_with_a_promotable_clone_is_done_to_a_clone() {
    let machine = new("Secondary");
    let forced = |promotable: &str| {
        let pairs =
            [("clone", "0"), ("globally_unique", "false"), ("notify", "true"), ("promotable", promotable)];
        pairs.iter().fold(r0(&machine), |call, (name, value)| call.meta(name, value))
    };
    forced("true").run("monitor").answers(SUCCESS);
    forced("true").run("start").answers(SUCCESS);
    assert!(!changes(&machine).contains(&"primary r0".to_string()), "{:?}", changes(&machine));
    forced("false").run("monitor").answers(NOT_RUNNING);
}

#[test]
fn called_drbd_it_is_the_clone_and_says_so() {
    let machine = new("Secondary");
    let drbd = machine.installed(BINARY, "usr/lib/ocf/resource.d/linbit/drbd");
    r0(&machine).program(&drbd).monitor().answers(SUCCESS);
    let xml = r0(&machine).program(&drbd).run("meta-data").exits(SUCCESS).stdout;
    assert!(xml.contains("<resource-agent name=\"drbd\""), "{xml}");
}

#[test]
fn a_monitor_of_9_runs_drbdsetup_once_and_of_8_4_not_at_all() {
    let machine = new("Primary");
    instance(&machine).monitor().answers(PROMOTED);
    assert_eq!(machine.calls("drbdsetup"), [["events2", "--now", "r0"]]);
    assert!(machine.calls("drbdadm").is_empty());
    let machine = old(PRIMARY);
    instance(&machine).monitor().answers(PROMOTED);
    assert!(machine.calls("drbdsetup").is_empty() && machine.calls("drbdadm").is_empty());
}

#[test]
fn the_score_is_told_with_every_monitor_that_knows_it() {
    let client =
        [("backing_dev:/dev/vg0/lv0 disk:UpToDate client:no", "backing_dev:none disk:Diskless client:yes")];
    let gone = [
        ("connection:Connected role:Secondary", "connection:Connecting role:Unknown"),
        ("peer-disk:UpToDate", "peer-disk:DUnknown"),
    ];
    for (replaced, told) in [
        (&[][..], "10000"),
        (&client, "9999"),
        (&gone, "1000"),
        (&[("disk:UpToDate client", "disk:Outdated client")], "10"),
        (&[("quorum:yes", "quorum:no")], "--delete"),
    ] {
        let machine = new_with(&list_9("Secondary", replaced));
        instance(&machine).monitor().answers(SUCCESS);
        instance(&machine).probe().answers(SUCCESS);
        assert_eq!(scores(&machine), [told, told], "{replaced:?}");
    }
}

#[test]
fn the_tool_of_the_score_knows_the_resource_and_the_node() {
    let machine = new("Secondary");
    instance(&machine).env("OCF_RESOURCE_INSTANCE", "drbd_r0").monitor().answers(SUCCESS);
    let environment = machine.tool_environment("crm_attribute");
    assert_eq!(environment["OCF_RESOURCE_INSTANCE"], "drbd_r0");
    assert_eq!(environment["OCF_RESKEY_CRM_meta_on_node"], "here");
}

#[test]
fn a_pacemaker_before_2_1_is_told_by_crm_master() {
    let machine = old(SECONDARY);
    instance(&machine).env("OCF_RESKEY_crm_feature_set", "3.0.14").monitor().answers(SUCCESS);
    assert_eq!(machine.calls("crm_master"), [["-l", "reboot", "-v", "10000"]]);
    machine.file(
        "proc/drbd",
        crate::scenes::proc_84(&[(
            0,
            "Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----",
        )]),
    );
    instance(&machine).env("OCF_RESKEY_crm_feature_set", "3.9.0").monitor().answers(SUCCESS);
    assert_eq!(machine.calls("crm_master")[1], ["-l", "reboot", "-D"]);
    assert!(machine.calls("crm_attribute").is_empty());
}

#[test]
fn the_scores_can_be_set_and_bad_ones_are_reported() {
    let machine = old(STAND_ALONE);
    instance(&machine).param("adjust_master_score", "1 2 3 4").monitor().answers(SUCCESS);
    let log = machine.path("tmp/log");
    instance(&machine)
        .param("adjust_master_score", "4 3 2 1")
        .env("HA_LOGFILE", &log)
        .monitor()
        .answers(SUCCESS);
    assert_eq!(scores(&machine), ["3", "1000"]);
    assert!(std::fs::read_to_string(log).unwrap().contains("adjust_master_score is '4 3 2 1'"));
}

#[test]
fn drbd_s_own_score_counts_if_it_shall() {
    let machine = new("Primary");
    instance(&machine).param("score_source", "drbd").monitor().answers(PROMOTED);
    let old = old(SECONDARY);
    instance(&old).param("score_source", "drbd").monitor().answers(SUCCESS);
    assert_eq!((scores(&machine), scores(&old)), (vec!["10102".into()], vec!["10000".into()]));
}

fn peer_is_primary() -> Sandbox {
    let machine = new_with(&list_9("Secondary", &[("Connected role:Secondary", "Connected role:Primary")]));
    machine.tool("crm_resource", Tool::Does("cat \"$OCF_TEST_ROOT/located\"".into()));
    machine
}

#[test]
fn beside_a_healthy_primary_there_is_no_score_if_that_is_wanted() {
    for (value, located, told) in [
        ("false", "", "10000"),
        ("true", "", "--delete"),
        ("unexpected", "resource data is running on: other Promoted\n", "10000"),
        ("unexpected", "resource data is running on: other Master\n", "10000"),
        ("unexpected", "resource data is running on: here\n", "--delete"),
    ] {
        let machine = peer_is_primary();
        machine.file("located", located);
        instance(&machine).param("remove_master_score_if_peer_primary", value).monitor().answers(SUCCESS);
        assert_eq!(scores(&machine), [told], "{value} {located}");
        let asked = machine.calls("crm_resource");
        assert_eq!(asked.is_empty(), value != "unexpected", "{asked:?}");
    }
}

#[test]
fn a_cluster_that_cannot_be_asked_makes_no_primary_unexpected() {
    let machine = peer_is_primary();
    machine.tool("crm_resource", Tool::Fails(102, "no cluster"));
    instance(&machine).param("remove_master_score_if_peer_primary", "unexpected").monitor().answers(SUCCESS);
    assert_eq!(scores(&machine), ["10000"]);
}

#[test]
fn with_two_promoted_instances_no_primary_is_unexpected() {
    let machine = peer_is_primary();
    machine.file("located", "");
    let call = instance(&machine).meta("promoted_max", "2").meta("master_max", "2");
    call.param("remove_master_score_if_peer_primary", "unexpected").monitor().answers(SUCCESS);
    assert_eq!(scores(&machine), ["10000"]);
    assert!(machine.calls("crm_resource").is_empty());
}

/// Trouble of an instance, of a Secondary and of a Primary.
fn degraded() -> Vec<(Sandbox, i32, &'static str)> {
    let new = |role, replaced: &[(&str, &str)]| new_with(&list_9(role, replaced));
    vec![
        (
            new("Primary", &[("suspended:no force", "suspended:quorum force"), ("quorum:yes", "quorum:no")]),
            191,
            "suspended",
        ),
        (new("Primary", &[("connection:Connected", "connection:StandAlone")]), 191, "split brain"),
        (new("Primary", &[("connection:Connected", "connection:Connecting")]), 191, "only copy"),
        (new("Primary", &[("force-io-failures:no", "force-io-failures:yes")]), 191, "fails"),
        (new("Secondary", &[("disk:UpToDate client", "disk:Diskless client")]), 190, "Diskless"),
        (new("Secondary", &[("disk:UpToDate client", "disk:Outdated client")]), 190, "Outdated"),
        (old(STAND_ALONE), 190, "split brain"),
        (old("SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----"), 190, "brought up to date"),
    ]
}

#[test]
fn trouble_is_190_or_191_if_wanted_and_a_warning_otherwise() {
    for (machine, code, why) in degraded() {
        let plain = if code == 191 { PROMOTED } else { SUCCESS };
        let log = machine.path("tmp/log");
        instance(&machine).env("HA_LOGFILE", &log).monitor().answers(plain);
        assert!(std::fs::read_to_string(&log).unwrap().contains(why), "{why}");
        let wanted = instance(&machine).param("report_degraded", "true");
        wanted.monitor().answers(code).names(why);
        wanted.env("OCF_RESKEY_crm_feature_set", "3.6.0").monitor().answers(plain);
    }
}

#[test]
fn nothing_is_degraded_where_all_is_well() {
    for machine in [new("Primary"), old(PRIMARY)] {
        instance(&machine).param("report_degraded", "true").monitor().answers(PROMOTED);
    }
}

/// Fact of DRBD 9: a Primary without quorum is still Primary.
#[test]
fn a_suspended_primary_is_promoted_but_not_worth_it() {
    let machine = new_with(&list_9(
        "Primary",
        &[("suspended:no force", "suspended:quorum force"), ("quorum:yes", "quorum:no")],
    ));
    instance(&machine).monitor().answers(PROMOTED);
    assert_eq!(scores(&machine), ["--delete"]);
}

#[test]
fn where_only_the_role_can_be_read_the_score_stays() {
    let machine = new("Primary");
    machine.file("refusals/events2", "20 netlink: no answer\n");
    instance(&machine).monitor().answers(PROMOTED);
    assert!(scores(&machine).is_empty());
}

#[test]
fn json_is_asked_where_the_list_fails() {
    let machine = new("Primary");
    machine.file("refusals/events2", "20 netlink: no answer\n").file("refusals/role", "*20 no answer\n");
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../common/tests/fixtures/drbd/9.2.18/06-connected-primary-secondary.node1.txt");
    let text = std::fs::read_to_string(fixture).unwrap();
    let json = text.split("--json\n").nth(1).unwrap().split("--- exit").next().unwrap();
    machine.file("json", json);
    instance(&machine).monitor().answers(PROMOTED);
    assert_eq!(scores(&machine), ["10000"]);
    machine.file("json", json.replace("\"UpToDate\"", "\"Up"));
    instance(&machine).monitor().answers(GENERIC).names("r0");
    assert_eq!(scores(&machine).len(), 1);
}

fn notice(machine: &Sandbox, kind: &str, operation: &str) -> testkit::Call {
    instance(machine).meta("notify_type", kind).meta("notify_operation", operation)
}

#[test]
fn a_start_anywhere_is_answered_with_adjust() {
    for kind in ["pre", "post"] {
        let machine = new("Secondary");
        notice(&machine, kind, "start").meta("notify_start_uname", "there").run("notify").answers(SUCCESS);
        assert_eq!(changes(&machine), ["adjust r0"]);
        assert_eq!(scores(&machine).len(), usize::from(kind == "post"));
        let machine = new("Secondary");
        let call = notice(&machine, kind, "start").param("connect_only_after_promote", "true");
        call.run("notify").answers(SUCCESS);
        assert!(changes(&machine).is_empty());
    }
}

#[test]
fn a_notification_before_one_s_own_start_does_nothing() {
    let machine = new_not_up();
    notice(&machine, "pre", "start").meta("notify_start_uname", "here").run("notify").answers(SUCCESS);
    assert!(changes(&machine).is_empty() && scores(&machine).is_empty());
}

#[test]
fn after_every_step_of_another_instance_the_score_is_told() {
    for operation in ["stop", "promote", "demote"] {
        let machine = new("Secondary");
        notice(&machine, "post", operation).run("notify").answers(SUCCESS);
        assert_eq!(scores(&machine), ["10000"], "{operation}");
        notice(&machine, "pre", operation).run("notify").answers(SUCCESS);
        assert_eq!(scores(&machine).len(), 1, "{operation}");
    }
}

/// Fact of DRBD: drbdadm outdate fails on an attached device, drbdsetup outdate MINOR does it.
#[test]
fn a_secondary_that_lost_a_promoted_peer_is_outdated_by_its_minor_if_that_is_wanted() {
    let lost = || {
        new_with(&list_9(
            "Secondary",
            &[
                ("Connected role:Secondary", "Connecting role:Unknown"),
                ("peer-disk:UpToDate", "peer-disk:DUnknown"),
            ],
        ))
    };
    let post = |machine: &Sandbox, promoted: &str, stops: &str| {
        let call = notice(machine, "post", "start").param("stop_outdates_secondary", "true");
        let call = call.meta("notify_promoted_uname", promoted).meta("notify_master_uname", promoted);
        call.meta("notify_stop_uname", stops).run("notify").answers(SUCCESS);
        machine.calls("drbdsetup").into_iter().filter(|call| call[0] == "outdate").collect::<Vec<_>>()
    };
    let split = list_9(
        "Primary",
        &[
            ("Connected role:Secondary", "Connecting role:Unknown"),
            ("peer-disk:UpToDate", "peer-disk:DUnknown"),
        ],
    );
    assert!(post(&new_with(&split), "there", " ").is_empty(), "a Primary keeps its data");
    let machine = lost();
    assert_eq!(post(&machine, "there", " "), [["outdate", "0"]]);
    assert_eq!(scores(&machine).last().unwrap(), "--delete");
    assert!(!changes(&machine).iter().any(|call| call.starts_with("outdate")));
    for (machine, promoted, stops) in [
        (lost(), "here", " "),
        (lost(), " ", " "),
        (lost(), "there", "there"),
        (new("Secondary"), "there", " "),
    ] {
        assert!(post(&machine, promoted, stops).is_empty(), "{promoted} {stops}");
    }
}

#[test]
fn who_does_not_know_its_role_keeps_its_score() {
    let machine = new_with(&list_9("Unknown", &[("peer-disk:UpToDate", "peer-disk:DUnknown")]));
    instance(&machine).monitor().answers(GENERIC).names("r0");
    let call = notice(&machine, "post", "promote").param("stop_outdates_secondary", "true");
    call.meta("notify_promoted_uname", "there").run("notify").answers(SUCCESS);
    assert!(scores(&machine).is_empty());
    assert!(machine.calls("drbdsetup").iter().all(|call| call[0] != "outdate"));
}

#[test]
fn a_notification_never_fails() {
    let machine = new("Secondary");
    machine.tool("drbdsetup", Tool::Fails(20, "no")).tool("drbdadm", Tool::Fails(20, "no"));
    let log = machine.path("tmp/log");
    let call = notice(&machine, "post", "start").env("HA_LOGFILE", log);
    call.run("notify").answers(SUCCESS);
    call.param("drbd_resource", "-x").run("notify").answers(SUCCESS);
}

#[test]
fn the_fencing_constraint_is_lifted_once_when_all_is_well() {
    let machine = new("Primary");
    let call = instance(&machine).param("unfence_if_all_uptodate", "true");
    call.monitor().answers(PROMOTED);
    call.monitor().answers(PROMOTED);
    assert_eq!(changes(&machine), ["unfence-peer r0"]);
    let environment = machine.tool_environment("drbdadm");
    assert!(environment["OCF_RESKEY_unfence_extra_args"].contains("--unfence-only-if-owner-match"));
    // Ten minutes later a peer may have come and gone unseen.
    let made = std::process::Command::new("touch")
        .args(["-d", "11 minutes ago"])
        .arg(machine.path("run/holdfast/drbddisk.r0.unfenced"))
        .status();
    assert!(made.unwrap().success());
    call.monitor().answers(PROMOTED);
    call.monitor().answers(PROMOTED);
    assert_eq!(changes(&machine), ["unfence-peer r0"; 2]);
    // It was broken meanwhile, so it is done again.
    machine.file("list", list_9("Primary", &[("peer-disk:UpToDate", "peer-disk:Inconsistent")]));
    call.monitor().answers(PROMOTED);
    machine.file("list", list_9("Primary", &[]));
    call.monitor().answers(PROMOTED);
    assert_eq!(changes(&machine), ["unfence-peer r0"; 3]);
}

#[test]
fn the_fencing_constraint_is_left_alone_otherwise() {
    for machine in
        [new("Secondary"), new_with(&list_9("Primary", &[("disk:UpToDate client", "disk:Diskless client")]))]
    {
        instance(&machine).param("unfence_if_all_uptodate", "true").monitor();
        assert!(changes(&machine).is_empty());
    }
    let machine = new("Primary");
    instance(&machine).monitor().answers(PROMOTED);
    assert!(changes(&machine).is_empty());
}
