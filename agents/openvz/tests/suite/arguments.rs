//! Ids, names, UUIDs, and what is none of them.

use testkit::Call;
use testkit::call::{ARGS, CONFIGURED, NOT_RUNNING, SUCCESS};

use crate::scenes::{BINARY, UUID, changes, container, ct101, is_running, node};

#[test]
fn every_kind_of_name_reaches_vzctl_as_one_argument() {
    for (given, argument) in [("101", "101"), ("0101", "101"), ("db", "db"), ("my db", "my db"), (UUID, UUID)]
    {
        let machine = node();
        container(&machine, given).monitor().answers(NOT_RUNNING);
        assert_eq!(machine.calls("vzctl"), [["status", argument]]);
    }
}

/// As ManageVE answered, for every action.
#[test]
fn what_no_container_can_be_called_is_2() {
    let machine = node();
    for given in ["0", "-1", "--fast", "101;reboot", "$(id)", "../101", "101\n", "a\nb", "99999999999"] {
        for action in ["start", "stop", "monitor", "validate-all", "migrate_to", "migrate_from"] {
            container(&machine, given).run(action).answers(ARGS).names("ctid");
        }
    }
    for call in [machine.host(Call::ocf(BINARY)), container(&machine, "")] {
        for action in ["start", "stop", "monitor", "validate-all"] {
            call.run(action).answers(ARGS).names("CTID");
        }
    }
    assert!(machine.calls("vzctl").is_empty());
}

#[test]
fn the_old_agent_s_parameter_is_understood() {
    let machine = node();
    let old = machine.host(Call::ocf(BINARY).param("veid", "101"));
    old.run("start").answers(SUCCESS);
    assert!(is_running(&machine));
    old.monitor().answers(SUCCESS);
    old.run("stop").answers(SUCCESS);
    old.monitor().answers(NOT_RUNNING);
    let both = machine.host(Call::ocf(BINARY).param("veid", "102").param("ctid", "101"));
    both.run("start").answers(SUCCESS);
    assert_eq!(changes(&machine).last().unwrap(), &["start", "101"]);
}

#[test]
fn values_outside_the_grammar_are_6_and_named() {
    for (name, value) in [
        ("tool", "vzlist"),
        ("require_mount", "perhaps"),
        ("dump_policy", "Discard"),
        ("wait", "2"),
        ("migrate_mode", "live"),
        ("dump_dir", "dump"),
    ] {
        let machine = node();
        ct101(&machine).param(name, value).run("validate-all").answers(CONFIGURED).names(name);
        ct101(&machine).param(name, value).run("start").answers(CONFIGURED);
        // Neither a look nor a stop needs it.
        ct101(&machine).param(name, value).monitor().exits(NOT_RUNNING);
        ct101(&machine).param(name, value).run("stop").exits(SUCCESS);
    }
}

#[test]
fn validate_all_looks_for_the_tool_and_deeper_for_the_files() {
    let machine = node();
    ct101(&machine).run("validate-all").answers(SUCCESS);
    ct101(&machine).level(10).run("validate-all").answers(SUCCESS);
    std::fs::remove_dir_all(machine.path("Data/db/vm")).unwrap();
    ct101(&machine).run("validate-all").answers(SUCCESS);
    ct101(&machine).level(10).run("validate-all").answers(5).names("/Data/db/vm");
    std::fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    ct101(&machine).run("validate-all").answers(5).names("vzctl");
}
