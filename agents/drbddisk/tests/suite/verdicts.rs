//! Every state of a disk and what monitor answers.

use testkit::Sandbox;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};

use crate::scenes::{
    PRIMARY, SECONDARY, link, list_9, never_ran_a_tool, new, new_not_up, new_with, old, proc_84, r0,
    resource, without_module,
};

#[test]
fn up_to_8_4_primary_is_running_without_any_tool() {
    let machine = old(PRIMARY);
    r0(&machine).monitor().answers(SUCCESS);
    r0(&machine).probe().answers(SUCCESS);
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn up_to_8_4_secondary_is_stopped_without_any_tool() {
    let machine = old(SECONDARY);
    r0(&machine).monitor().answers(NOT_RUNNING);
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn up_to_8_4_a_peer_that_is_primary_does_not_make_this_node_running() {
    r0(&old("Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----")).monitor().answers(NOT_RUNNING);
}

#[test]
fn up_to_8_4_a_device_that_is_not_in_use_is_stopped() {
    let machine = old(SECONDARY);
    machine
        .file("proc/drbd", "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C \n 0: cs:Unconfigured\n");
    r0(&machine).monitor().answers(NOT_RUNNING);
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn up_to_8_4_a_stand_alone_line_with_blanks_is_understood() {
    r0(&old("StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----")).monitor().answers(SUCCESS);
    r0(&old("StandAlone ro:Secondary/Unknown ds:UpToDate/DUnknown   r-----")).monitor().answers(NOT_RUNNING);
}

#[test]
fn up_to_8_4_a_resource_that_is_not_up_is_looked_for_in_the_list() {
    let machine = old(SECONDARY);
    machine.file("proc/drbd", proc_84(&[])).file("list", "exists -\n");
    r0(&machine).monitor().answers(NOT_RUNNING);
    assert_eq!(machine.calls("drbdsetup"), [["events2", "--now"]]);
}

#[test]
fn drbd_0_7_without_links_and_lists_is_asked_for_its_devices() {
    for (role, code) in [("Primary", SUCCESS), ("Secondary", NOT_RUNNING)] {
        let machine = old(SECONDARY);
        std::fs::remove_dir_all(machine.path("dev/drbd")).unwrap();
        let text = format!(
            "version: 0.7.24 (api:79/proto:74)\nSVN Revision: 2875 build by root@xenamo4\n \
             0: cs:Connected st:{role}/Secondary ld:Consistent\n    ns:0 nr:0 dw:0 dr:0\n 1: cs:Unconfigured\n"
        );
        machine.file("proc/drbd", text).file("refusals/events2", "20 unknown command\n");
        r0(&machine).monitor().answers(code);
    }
}

#[test]
fn on_9_the_list_is_asked_once_and_nothing_else() {
    for (role, code) in [("Primary", SUCCESS), ("Secondary", NOT_RUNNING)] {
        let machine = new(role);
        r0(&machine).monitor().answers(code);
        assert_eq!(machine.calls("drbdsetup"), [["events2", "--now", "r0"]]);
        assert!(machine.calls("drbdadm").is_empty());
    }
}

#[test]
fn on_9_a_resource_that_is_not_up_is_stopped() {
    r0(&new_not_up()).monitor().answers(NOT_RUNNING);
}

#[test]
fn on_9_a_resource_of_another_name_is_no_answer() {
    let machine = new("Primary");
    resource(&machine, "r").monitor().answers(NOT_RUNNING);
}

#[test]
fn without_the_module_it_is_stopped_and_no_tool_loads_it() {
    let machine = without_module();
    r0(&machine).monitor().answers(NOT_RUNNING);
    r0(&machine).run("stop").answers(SUCCESS);
    assert!(never_ran_a_tool(&machine));
}

#[test]
fn a_loaded_module_without_its_file_is_asked_by_its_tools() {
    let machine = new("Primary");
    std::fs::remove_file(machine.path("proc/drbd")).unwrap();
    r0(&machine).monitor().answers(SUCCESS);
}

fn unreadable(proc: &str) -> Sandbox {
    let machine = old(PRIMARY);
    machine.file("proc/drbd", proc);
    machine
}

#[test]
fn a_kernel_s_file_that_cannot_be_understood_is_no_answer_but_the_list_is() {
    let cut = proc_84(&[(0, PRIMARY)]);
    for text in ["", "garbage\n", &cut[..cut.len() - 20], &cut[..100]] {
        let machine = unreadable(text);
        r0(&machine).monitor().answers(SUCCESS);
        assert!(!machine.calls("drbdsetup").is_empty(), "{text}");
    }
}

#[test]
fn when_nobody_can_be_understood_the_role_is_an_error_and_never_stopped() {
    let machine = unreadable("garbage\n");
    machine.file("list", "exists resource name:r0 role:Secondary suspended:no\n").file("role", "Second");
    r0(&machine).monitor().answers(GENERIC).names("r0");
    r0(&machine).probe().answers(GENERIC);
}

#[test]
fn a_list_that_fails_leaves_the_word_to_drbdadm() {
    let machine = new("Primary");
    machine.file("refusals/events2", "20 netlink: no answer\n");
    r0(&machine).monitor().answers(SUCCESS);
    machine.file("role", "Secondary\n");
    r0(&machine).monitor().answers(NOT_RUNNING);
    machine.file("refusals/role", "*10 r0: Unknown resource\n");
    r0(&machine).monitor().answers(NOT_RUNNING);
    machine.file("refusals/role", "*20 did not terminate within 5 seconds\n");
    r0(&machine).monitor().answers(GENERIC).names("r0");
}

#[test]
fn a_leftover_link_does_not_lend_its_name_to_another_s_device() {
    let machine = old(PRIMARY);
    link(&machine, "by-res/gone", 0);
    machine.file("list", "exists resource name:r0 role:Primary suspended:no\nexists -\n");
    resource(&machine, "gone").monitor().answers(NOT_RUNNING);
    r0(&machine).monitor().answers(SUCCESS);
}

#[test]
fn one_primary_volume_of_several_is_running() {
    let machine = old(SECONDARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    machine.file("proc/drbd", proc_84(&[(10, SECONDARY), (11, PRIMARY)]));
    resource(&machine, "r1").monitor().answers(SUCCESS);
    let wanted = resource(&machine, "r1").param("report_degraded", "yes");
    wanted.monitor().answers(190).names("r1 is Primary in some of its parts and not in others");
    machine.file("proc/drbd", proc_84(&[(10, SECONDARY), (11, SECONDARY)]));
    resource(&machine, "r1").monitor().answers(NOT_RUNNING);
    assert!(never_ran_a_tool(&machine));
}

/// States of a Primary that somebody should look at.
fn degraded() -> Vec<(Sandbox, &'static str)> {
    let new = |replaced: &[(&str, &str)]| new_with(&list_9("Primary", replaced));
    vec![
        (old("WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----"), "lost its peer"),
        (old("StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----"), "split brain"),
        (old("Connected ro:Primary/Secondary ds:Diskless/UpToDate C r-----"), "Diskless"),
        (old("SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----"), "brought up to date"),
        (old("Connected ro:Primary/Secondary ds:UpToDate/UpToDate C s-----"), "suspended"),
        (new(&[("suspended:no force", "suspended:quorum force"), ("quorum:yes", "quorum:no")]), "quorum"),
        (new(&[("quorum:yes", "quorum:no")]), "no quorum"),
        (new(&[("connection:Connected", "connection:StandAlone")]), "split brain"),
    ]
}

#[test]
fn trouble_of_a_primary_is_a_warning_by_default() {
    for (machine, why) in degraded() {
        let answer = r0(&machine).env("HA_LOGFILE", machine.path("tmp/log")).monitor().answers(SUCCESS);
        let log = std::fs::read_to_string(machine.path("tmp/log")).unwrap_or_default();
        assert!(log.contains(why), "{why}: {log} {answer}");
    }
}

#[test]
fn trouble_of_a_primary_is_190_if_wanted_and_the_reason_names_it() {
    for (machine, why) in degraded() {
        r0(&machine).param("report_degraded", "true").monitor().answers(190).names(why);
    }
}

#[test]
fn a_cluster_that_does_not_know_190_gets_0() {
    let machine = old("StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----");
    let call = r0(&machine).param("report_degraded", "yes").env("OCF_RESKEY_crm_feature_set", "3.1.0");
    call.monitor().answers(SUCCESS);
}

#[test]
fn a_healthy_primary_is_not_degraded() {
    r0(&old(PRIMARY)).param("report_degraded", "yes").monitor().answers(SUCCESS);
    r0(&new("Primary")).param("report_degraded", "yes").monitor().answers(SUCCESS);
}

/// The answers of real DRBD 8.4.11 and 9.2.18: what `drbdadm role` said there, monitor says here.
#[test]
fn every_recorded_state_has_the_answer_of_the_recorded_role() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../common/tests/fixtures/drbd");
    let mut asked = 0;
    for version in ["8.4.11", "9.2.18"] {
        for entry in std::fs::read_dir(fixtures.join(version)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let section = |command: &str| {
                let (line, rest) = text.split_once(&format!("$ {command}"))?.1.split_once('\n')?;
                let (output, rest) = rest.split_once("--- exit=")?;
                let name = line.trim().to_string();
                (!output.contains("--- stderr") && rest.starts_with('0')).then(|| (name, output.to_string()))
            };
            let Some((_, proc)) = section("cat /proc/drbd") else { continue };
            let list = section("drbdsetup events2 --now").map_or("exists -\n".into(), |(_, list)| list);
            let (name, role) = section("drbdadm role ").unwrap_or_default();
            let name = if name.is_empty() { "r0" } else { &name };
            let machine = if version == "8.4.11" { old(SECONDARY) } else { new("Secondary") };
            machine.file("proc/drbd", proc).file("list", list);
            let code = if role.starts_with("Primary") { SUCCESS } else { NOT_RUNNING };
            resource(&machine, name).monitor().answers(code);
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
}
