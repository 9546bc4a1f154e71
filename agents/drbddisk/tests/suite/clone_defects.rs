//! The defects of ocf:linbit:drbd that were proven with fake tools, A to F: each of these fails on it.

use testkit::Sandbox;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};

use crate::scenes::{instance, list_9, new, new_not_up, new_with, scores, without_module};

/// The shell agent: 7, and the score 9999, because none of its variables was set.
#[test]
fn defect_a_without_the_module_it_is_stopped_and_no_score_is_told() {
    let machine = without_module();
    instance(&machine).monitor().answers(NOT_RUNNING);
    instance(&machine).probe().answers(NOT_RUNNING);
    assert!(scores(&machine).is_empty() && machine.calls("crm_master").is_empty());
    let machine = new_not_up();
    instance(&machine).monitor().answers(NOT_RUNNING);
    assert!(scores(&machine).is_empty());
}

/// The shell agent: 7 and 9999 for a resource that DRBD has up, and may have Primary.
#[test]
fn defect_b_missing_device_nodes_do_not_stop_a_resource_that_is_up() {
    for (role, code) in [("Primary", 8), ("Secondary", SUCCESS)] {
        let machine = new(role);
        std::fs::remove_file(machine.path("dev/drbd0")).unwrap();
        instance(&machine).monitor().answers(code);
        assert_eq!(scores(&machine), ["10000"]);
        let call = instance(&machine).param("report_degraded", "true");
        call.monitor().answers(if code == 8 { 191 } else { 190 }).names("/dev/drbd0");
    }
}

fn unreadable(role: &str) -> Sandbox {
    let machine = new(role);
    machine.file("refusals/events2", "20 netlink: no answer\n").file("refusals/role", "*20 no answer\n");
    machine
}

/// The shell agent: 7 for a Primary, and the score was deleted.
#[test]
fn defect_c_a_state_that_cannot_be_read_is_an_error_and_the_score_stays() {
    for role in ["Primary", "Secondary"] {
        let machine = unreadable(role);
        instance(&machine).monitor().answers(GENERIC).names("r0");
        instance(&machine).probe().answers(GENERIC);
        assert!(scores(&machine).is_empty());
    }
}

/// The shell agent: 0, with the device Primary and in use.
#[test]
fn defect_d_a_stop_that_failed_in_an_unreadable_state_is_no_success() {
    let machine = unreadable("Primary");
    let held = "*11 r0: State change failed: (-12) Device is held open by someone\n";
    machine.file("refusals/down", held).file("refusals/secondary", held);
    instance(&machine).timeout_ms(4000).run("stop").answers(GENERIC).names("r0");
    assert!(scores(&machine).is_empty());
    let machine = new("Primary");
    machine.file("refusals/down", held).file("refusals/secondary", held);
    instance(&machine).timeout_ms(4000).run("stop").answers(GENERIC).names("held open");
}

/// The shell agent: 1000 or 10000 for a disk that may turn out to be of the past.
#[test]
fn defect_e_a_disk_that_is_being_attached_is_not_taken_for_up_to_date() {
    for word in ["Attaching", "Negotiating"] {
        let disk = format!("disk:{word} client");
        let lost = [
            ("disk:UpToDate client", disk.as_str()),
            ("Connected role:Secondary", "Connecting role:Unknown"),
            ("peer-disk:UpToDate", "peer-disk:DUnknown"),
        ];
        let machine = new_with(&list_9("Secondary", &lost));
        instance(&machine).monitor().answers(SUCCESS);
        assert!(scores(&machine).is_empty(), "unchanged: {:?}", scores(&machine));
        let machine = new_with(&list_9("Secondary", &lost[..1]));
        instance(&machine).monitor().answers(SUCCESS);
        assert_eq!(scores(&machine), ["10"]);
    }
}

/// The shell agent: 9999.
#[test]
fn defect_f_a_diskless_client_without_quorum_has_no_score() {
    let client = [
        ("backing_dev:/dev/vg0/lv0 disk:UpToDate client:no", "backing_dev:none disk:Diskless client:yes"),
        ("quorum:yes", "quorum:no"),
    ];
    let machine = new_with(&list_9("Secondary", &client));
    instance(&machine).monitor().answers(SUCCESS);
    assert_eq!(scores(&machine), ["--delete"]);
}
