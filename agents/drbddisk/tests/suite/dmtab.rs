//! The device-mapper table below the resource.

use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{changes, configure, instance, new, new_down, new_not_up, r0};

const TABLE: &str =
    "0 629145600 striped 3 64 /dev/vg-sda/root100 0 /dev/vg-sdb/root100 0 /dev/vg-sdc/root100 0\n";
const MARK: &str = "HOLDFAST-drbddisk-r0";

/// dmsetup as far as it is used: create NAME --uuid UUID FILE, and remove --retry NAME.
const DMSETUP: &str = r#"
root=$OCF_TEST_ROOT dm=$root/sys/block/dm-7/dm
case $1 in
create)
    mkdir -p "$dm" "$root/dev/mapper"
    echo "$2" >"$dm/name"; echo "$4" >"$dm/uuid"; : >"$root/dev/mapper/$2" ;;
remove)
    [ -e "$root/busy" ] && { echo "device-mapper: remove ioctl on $3 failed: Device or resource busy" >&2; exit 1; }
    rm -r "$root/sys/block/dm-7" "$root/dev/mapper/$3" ;;
esac
"#;

/// The system erdbeere and himbeere: DRBD on a stripe of three logical volumes.
fn striped(machine: Sandbox) -> Sandbox {
    configure(&machine, &[("r0", "/dev/drbd0\n", "/dev/mapper/root100\n")]);
    machine.file("etc/dmtab.100", TABLE).tool("dmsetup", Tool::Does(DMSETUP.into()));
    for disk in ["a", "b", "c"] {
        machine.file(&format!("dev/vg-sd{disk}/root100"), "");
    }
    machine
}

fn clone(machine: &Sandbox) -> Call {
    instance(machine).param("dmtab", "/etc/dmtab.100")
}

fn disk(machine: &Sandbox) -> Call {
    r0(machine).param("dmtab", "/etc/dmtab.100")
}

const CREATE: [&str; 5] = ["create", "root100", "--uuid", MARK, "/etc/dmtab.100"];
const REMOVE: [&str; 3] = ["remove", "--retry", "root100"];

#[test]
fn a_clone_makes_the_device_before_it_comes_up_and_removes_it_when_it_is_down() {
    let machine = striped(new_down());
    clone(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup"), [CREATE]);
    clone(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup").len(), 1, "it is there");
    clone(&machine).run("stop").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup")[1], REMOVE);
    clone(&machine).run("stop").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup").len(), 2);
    clone(&machine).monitor().answers(NOT_RUNNING);
}

#[test]
fn a_simple_disk_brings_the_resource_up_on_the_device_it_has_made() {
    let machine = striped(new_down());
    machine.file("refusals/primary", "");
    disk(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup"), [CREATE]);
    assert_eq!(changes(&machine), ["adjust r0", "primary r0"]);
}

/// The peer's writes go on to this device.
#[test]
fn the_stop_of_a_simple_disk_leaves_a_secondary_its_device() {
    let machine = striped(new("Secondary"));
    disk(&machine).run("start").answers(SUCCESS);
    disk(&machine).run("stop").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup").len(), 1);
    disk(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine).iter().filter(|call| *call == "secondary r0").count(), 1);
    machine.file("list", "exists -\n");
    disk(&machine).run("stop").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup")[1], REMOVE);
}

#[test]
fn a_device_of_somebody_else_s_is_used_and_never_removed() {
    for mark in ["", "LVM-abc", "HOLDFAST-drbddisk-r0x", "HOLDFAST-drbddisk-r"] {
        let machine = striped(new_down());
        machine.file("dev/mapper/root100", "").file("sys/block/dm-7/dm/name", "root100\n");
        machine.file("sys/block/dm-7/dm/uuid", format!("{mark}\n"));
        clone(&machine).run("start").answers(SUCCESS);
        clone(&machine).run("stop").answers(SUCCESS);
        assert!(machine.calls("dmsetup").is_empty(), "{mark}");
    }
}

#[test]
fn a_device_that_the_table_needs_is_named() {
    let machine = striped(new_down());
    std::fs::remove_file(machine.path("dev/vg-sdb/root100")).unwrap();
    for call in [clone(&machine), disk(&machine)] {
        call.run("start").answers(GENERIC).names("/dev/vg-sdb/root100");
    }
    assert!(machine.calls("dmsetup").is_empty() && changes(&machine).is_empty());
}

#[test]
fn a_table_that_is_not_there_or_fits_no_disk_is_named() {
    let machine = striped(new_down());
    std::fs::remove_file(machine.path("etc/dmtab.100")).unwrap();
    clone(&machine).run("start").answers(INSTALLED).names("/etc/dmtab.100");
    let machine = striped(new_down());
    configure(&machine, &[("r0", "/dev/drbd0\n", "/dev/vg0/lv0\n")]);
    clone(&machine).run("start").answers(INSTALLED).names("/etc/dmtab.100");
    clone(&machine).param("dmtab", "dmtab.100").run("start").answers(CONFIGURED).names("dmtab");
    assert!(machine.calls("dmsetup").is_empty());
}

/// Reading it would last until the deadline, or need all of the memory.
#[test]
fn a_table_that_is_no_file_is_named_at_once() {
    let machine = striped(new_down());
    assert!(std::process::Command::new("mkfifo").arg(machine.path("etc/pipe")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", machine.path("etc/endless")).unwrap();
    for path in ["/etc/pipe", "/etc/endless", "/etc"] {
        for call in [clone(&machine), disk(&machine)] {
            call.clone().param("dmtab", path).run("start").answers(INSTALLED).names(path).within_ms(3000);
            call.param("drbdconf", path).run("start").answers(INSTALLED).names(path).within_ms(3000);
        }
    }
    assert!(machine.calls("dmsetup").is_empty() && changes(&machine).is_empty());
}

#[test]
fn a_comment_in_the_table_needs_no_device() {
    let machine = striped(new_down());
    machine.file("etc/dmtab.100", format!("# before: 0 8 linear /dev/vg-sdz/old 0\n{TABLE}"));
    clone(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup"), [CREATE]);
}

#[test]
fn of_several_devices_the_one_with_the_table_s_ending_is_made() {
    let machine = striped(new_down());
    configure(&machine, &[("r0", "/dev/drbd0\n", "/dev/mapper/root99\n/dev/mapper/root100\n")]);
    clone(&machine).run("start").answers(SUCCESS);
    assert_eq!(machine.calls("dmsetup"), [CREATE]);
}

#[test]
fn a_device_that_is_still_in_use_fails_the_stop() {
    let machine = striped(new_down());
    clone(&machine).run("start").answers(SUCCESS);
    machine.file("busy", "");
    clone(&machine).run("stop").answers(GENERIC).names("root100");
    std::fs::remove_file(machine.path("busy")).unwrap();
    clone(&machine).run("stop").answers(SUCCESS);
}

#[test]
fn devices_that_cannot_be_listed_are_not_taken_for_removed() {
    let machine = striped(new_not_up());
    let _ = std::fs::remove_dir_all(machine.path("sys/block"));
    clone(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("/sys/block");
}

#[test]
fn without_the_parameter_no_device_is_touched() {
    let machine = striped(new_down());
    machine.file("sys/block/dm-7/dm/name", "root100\n").file("sys/block/dm-7/dm/uuid", format!("{MARK}\n"));
    instance(&machine).run("start").answers(SUCCESS);
    instance(&machine).run("stop").answers(SUCCESS);
    assert!(machine.calls("dmsetup").is_empty());
}

#[test]
fn faults_of_dmsetup() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = striped(new_down());
        let broken = |machine: &Sandbox| match behaviour.clone() {
            Some(behaviour) => drop(machine.tool("dmsetup", behaviour)),
            None => std::fs::remove_file(machine.path("usr/sbin/dmsetup")).unwrap(),
        };
        broken(&machine);
        let answer = clone(&machine).timeout_ms(3000).run("start");
        answer.within_ms(3000).answers(if how == "missing" { INSTALLED } else { GENERIC });
        assert!(changes(&machine).is_empty(), "{how}: nothing comes up without its disk");
        let answer = disk(&machine).timeout_ms(3000).run("start");
        answer.within_ms(3000).answers(if how == "missing" { INSTALLED } else { GENERIC });
        assert!(changes(&machine).is_empty(), "{how}: nothing is promoted without its disk");
        let machine = striped(new_not_up());
        machine
            .file("sys/block/dm-7/dm/name", "root100\n")
            .file("sys/block/dm-7/dm/uuid", format!("{MARK}\n"));
        broken(&machine);
        for call in [clone(&machine), disk(&machine)] {
            let answer = call.timeout_ms(3000).run("stop");
            answer.within_ms(3000).answers(if how == "missing" { INSTALLED } else { GENERIC });
        }
    }
}
