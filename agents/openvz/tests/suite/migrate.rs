//! migrate_to and migrate_from in the three modes.

use std::fs;

use testkit::call::{ARGS, GENERIC, INSTALLED, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{changes, container, ct101, is_running, node, openvz_node, running, virtuozzo_node};

const DUMP: &str = "Data/shared/Dump.101.migration";

fn by_dump(machine: &Sandbox) -> Call {
    machine.folder("Data/shared");
    ct101(machine)
        .param("migrate_mode", "chkpnt")
        .param("dump_dir", "/Data/shared")
        .meta("migrate_source", "node1")
        .meta("migrate_target", "node2")
}

/// What follows happens on the node that it goes to.
fn travels(machine: &Sandbox) {
    machine.file("proc/sys/kernel/hostname", "node2\n");
}

fn by_ssh(machine: &Sandbox) -> Call {
    ct101(machine)
        .param("migrate_mode", "vzmigrate")
        .meta("migrate_source", "node1")
        .meta("migrate_target", "node2")
}

#[test]
fn by_default_it_does_not_migrate_and_stays_as_it_is() {
    let machine = running(openvz_node());
    for action in ["migrate_to", "migrate_from"] {
        ct101(&machine).run(action).answers(GENERIC).names("migrate_mode");
    }
    assert!(is_running(&machine) && changes(&machine).is_empty());
}

#[test]
fn a_dry_run_of_a_migration_says_what_it_would_do_and_does_nothing() {
    let dry = |machine: &Sandbox, action: &str, words: &[&str]| {
        let before = machine.snapshot();
        let call =
            Call::bare(crate::scenes::BINARY).meta("migrate_source", "node1").meta("migrate_target", "node2");
        let words = [&["--ctid", "101", "--dry-run"], words, &[action]].concat();
        let answer = machine.host(call).run_args(words).exits(SUCCESS);
        assert_eq!(machine.snapshot(), before, "{answer}");
        answer.stdout
    };
    let by_dump = ["--migrate_mode", "chkpnt", "--dump_dir", "/Data/shared"];
    let machine = running(openvz_node());
    machine.folder("Data/shared");
    let said = dry(&machine, "migrate_to", &by_dump);
    assert!(said.contains("would run vzctl chkpnt 101 --dumpfile /Data/shared/Dump.101.migration"), "{said}");
    self::by_dump(&machine).run("migrate_to").answers(SUCCESS);
    travels(&machine);
    let said = dry(&machine, "migrate_from", &by_dump);
    assert!(
        said.contains("would run vzctl restore 101 --dumpfile /Data/shared/Dump.101.migration"),
        "{said}"
    );
    let machine = running(openvz_node());
    machine.tool("vzmigrate", Tool::Succeeds).tool("ssh", Tool::Succeeds);
    let said = dry(&machine, "migrate_to", &["--migrate_mode", "vzmigrate"]);
    assert!(said.contains("would run vzmigrate for 101 to node2"), "{said}");
}

#[test]
fn a_dump_travels_and_is_used_up() {
    let machine = running(openvz_node());
    let agent = by_dump(&machine);
    agent.run("migrate_to").answers(SUCCESS);
    assert!(!is_running(&machine));
    assert_eq!(changes(&machine), [["chkpnt", "101", "--dumpfile", "/Data/shared/Dump.101.migration"]]);
    // The cluster stops what has left.
    let after = by_dump(&machine);
    assert!(machine.has_text(DUMP) && !machine.path("vz/dump/Dump.101").exists());
    travels(&machine);
    after.run("migrate_from").answers(SUCCESS);
    assert!(is_running(&machine));
    assert!(!machine.path(DUMP).exists() && !machine.path(format!("{DUMP}.made")).exists());
    after.run("migrate_from").answers(SUCCESS);
    after.run("stop").answers(SUCCESS);
}

#[test]
fn only_what_runs_can_leave() {
    for machine in [node(), openvz_node()] {
        by_dump(&machine).run("migrate_to").answers(GENERIC).names("does not run");
        by_ssh(&machine).run("migrate_to").answers(GENERIC).names("does not run");
        assert!(changes(&machine).is_empty());
    }
}

#[test]
fn a_container_that_cannot_be_suspended_stays() {
    let machine = running(openvz_node());
    machine.file("refusals/chkpnt", "*16 Checkpointing failed\n");
    by_dump(&machine).run("migrate_to").answers(GENERIC).names("101 stays here").names("code 16");
    assert!(is_running(&machine));
    machine.tool("vzctl", Tool::Succeeds);
    by_dump(&machine).run("migrate_to").answers(GENERIC).names("101 stays here");
}

#[test]
fn a_suspension_without_a_dump_is_a_failure() {
    for dump in ["", ": >\"$OCF_TEST_ROOT/Data/shared/Dump.101.migration\""] {
        let machine = running(openvz_node());
        let body = format!(
            "{dump}\necho '0 0 1' >\"$OCF_TEST_ROOT/proc/vz/veinfo\"\nsed -i '/vz.root/d' \"$OCF_TEST_ROOT/proc/self/mountinfo\""
        );
        machine.tool("vzctl", Tool::Does(body));
        by_dump(&machine).run("migrate_to").answers(GENERIC).names("memory dump");
        by_dump(&machine).run("migrate_from").answers(GENERIC);
    }
}

#[test]
fn what_stays_mounted_after_a_suspension_is_a_failure() {
    let machine = running(openvz_node());
    machine.file("ct/busy", "");
    let answer = by_dump(&machine).run("migrate_to").answers(GENERIC);
    assert!(answer.reason().unwrap().contains("101"), "{answer}");
}

#[test]
fn a_failed_restore_leaves_nothing_that_a_start_would_resume() {
    let machine = running(openvz_node());
    by_dump(&machine).run("migrate_to").answers(SUCCESS);
    travels(&machine);
    machine.file("refusals/restore", "17 Error: undump failed\n");
    by_dump(&machine).run("migrate_from").answers(GENERIC).names("code 17");
    assert!(!machine.path(DUMP).exists() && !machine.path("vz/dump/Dump.101").exists());
    assert!(machine.has_text(&format!("{DUMP}.discarded")), "it is kept for a person");
    by_dump(&machine).run("stop").answers(SUCCESS);
    by_dump(&machine).run("start").answers(SUCCESS);
    assert!(!machine.path("ct/resumed").exists());
    by_dump(&machine).run("stop").answers(SUCCESS);
    // And no later migration takes it for its own.
    by_dump(&machine).run("migrate_from").answers(GENERIC).names("memory dump");
    assert!(!is_running(&machine));
}

/// A restore that says 0 and has resumed nothing.
#[test]
fn a_restore_is_believed_only_after_a_look() {
    let machine = running(openvz_node());
    by_dump(&machine).run("migrate_to").answers(SUCCESS);
    machine.tool("vzctl", Tool::Succeeds);
    travels(&machine);
    by_dump(&machine).run("migrate_from").answers(GENERIC).names("does not run");
    assert!(!machine.path(DUMP).exists());
}

#[test]
fn a_dump_that_migrate_to_has_not_written_is_not_restored() {
    for change in ["replaced", "without marker", "absent", "of another"] {
        let machine = running(openvz_node());
        by_dump(&machine).run("migrate_to").answers(SUCCESS);
        travels(&machine);
        let marker = format!("{DUMP}.made");
        match change {
            "replaced" => drop(machine.file(DUMP, "yesterday's memory")),
            "without marker" => fs::remove_file(machine.path(&marker)).unwrap(),
            "absent" => fs::remove_file(machine.path(DUMP)).unwrap(),
            _ => {
                let text = fs::read_to_string(machine.path(&marker)).unwrap().replace("101", "102");
                machine.file(&marker, text);
            }
        }
        by_dump(&machine).run("migrate_from").answers(GENERIC).names("101");
        assert!(!is_running(&machine), "{change}");
        assert!(!changes(&machine).iter().any(|call| call[0] == "restore"), "{change}");
    }
}

/// In a directory that the nodes do not share, the memory of a migration that never arrived lies where it was written,
/// until the container comes back to that node.
#[test]
fn a_node_never_resumes_the_memory_that_it_has_written_itself() {
    let machine = running(openvz_node());
    machine.file("proc/sys/kernel/hostname", "node1\n");
    by_dump(&machine).run("migrate_to").answers(SUCCESS);
    by_dump(&machine).run("migrate_from").answers(GENERIC).names("dump_dir");
    assert!(!is_running(&machine) && !machine.path(DUMP).exists());
    assert!(!changes(&machine).iter().any(|call| call[0] == "restore"));
}

#[test]
fn a_start_after_an_unfinished_migration_boots() {
    let machine = running(openvz_node());
    by_dump(&machine).run("migrate_to").answers(SUCCESS);
    by_dump(&machine).run("start").answers(SUCCESS);
    assert!(!machine.path(DUMP).exists() && !machine.path("ct/resumed").exists());
    by_dump(&machine).run("stop").answers(SUCCESS);
    by_dump(&machine).run("migrate_from").answers(GENERIC);
}

#[test]
fn the_private_area_must_be_here_before_it_is_resumed() {
    let machine = running(openvz_node());
    by_dump(&machine).run("migrate_to").answers(SUCCESS);
    fs::remove_dir_all(machine.path("Data/db/vm")).unwrap();
    travels(&machine);
    by_dump(&machine).run("migrate_from").answers(INSTALLED).names("/Data/db/vm");
}

/// vzmigrate's own default is to remove the private area.
#[test]
fn vzmigrate_is_told_to_remove_nothing() {
    let machine = running(openvz_node());
    machine.tool("vzmigrate", Tool::Does("echo '0 0 1' >\"$OCF_TEST_ROOT/proc/vz/veinfo\"".into()));
    by_ssh(&machine).run("migrate_to").answers(SUCCESS);
    assert_eq!(machine.calls("vzmigrate"), [["--online", "--keep-dst", "-r", "no", "node2", "101"]]);
    by_ssh(&machine).run("migrate_from").answers(GENERIC).names("did not arrive");
    machine.file("proc/vz/veinfo", "101 0 21\n0 0 120\n");
    by_ssh(&machine).run("migrate_from").answers(SUCCESS);
}

#[test]
fn every_exit_code_of_vzmigrate_has_its_sentence() {
    for code in [1, 2, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20] {
        let machine = running(openvz_node());
        machine.tool("vzmigrate", Tool::Fails(code, "Error: no"));
        let answer = by_ssh(&machine).run("migrate_to").answers(GENERIC).names("101 stays here");
        let answer = answer.names(format!("code {code}"));
        assert!(!answer.reason().unwrap().contains("not known"), "{answer}");
    }
    let machine = running(openvz_node());
    machine.tool("vzmigrate", Tool::Succeeds);
    by_ssh(&machine).run("migrate_to").answers(GENERIC).names("still runs here");
    machine.tool("vzmigrate", Tool::Does("echo '0 0 1' >\"$OCF_TEST_ROOT/proc/vz/veinfo\"; exit 7".into()));
    by_ssh(&machine).run("migrate_to").answers(GENERIC).names("has left here");
}

#[test]
fn the_target_is_never_an_option() {
    let machine = running(openvz_node());
    machine.tool("vzmigrate", Tool::Succeeds);
    for target in ["-oProxyCommand=reboot", "--ssh=x", "a b", ""] {
        by_ssh(&machine).meta("migrate_target", target).run("migrate_to").answers(ARGS);
    }
    assert!(machine.calls("vzmigrate").is_empty() && is_running(&machine));
}

#[test]
fn prlctl_migrates_by_itself() {
    let machine = virtuozzo_node("VM", "running");
    let agent = container(&machine, "vm1").meta("migrate_target", "node2");
    agent.clone().param("migrate_mode", "vzmigrate").run("migrate_to").answers(SUCCESS);
    assert!(machine.calls("prlctl").contains(&vec!["migrate".into(), "vm1".into(), "node2".into()]));
    let machine = virtuozzo_node("VM", "running");
    let agent = container(&machine, "vm1").param("migrate_mode", "chkpnt");
    agent.run("migrate_to").answers(GENERIC).names("prlctl");
}
