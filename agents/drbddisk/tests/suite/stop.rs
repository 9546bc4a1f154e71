//! stop: until the device is free or the time is over, and then who holds it.

use std::time::Duration;

use testkit::call::{GENERIC, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{PRIMARY, SECONDARY, link, never_ran_a_tool, new, new_not_up, old, r0, resource};

const HELD: &str = "11 0: State change failed: (-12) Device is held open by someone\n";

#[test]
fn primary_becomes_secondary() {
    for machine in [old(PRIMARY), new("Primary")] {
        r0(&machine).run("stop").answers(SUCCESS).within(Duration::from_secs(2));
        assert_eq!(machine.calls("drbdadm"), [["secondary", "r0"]]);
    }
}

#[test]
fn already_secondary_or_not_up_answers_at_once() {
    let machine = old(SECONDARY);
    r0(&machine).run("stop").answers(SUCCESS);
    assert!(never_ran_a_tool(&machine));
    let machine = new_not_up();
    r0(&machine).run("stop").answers(SUCCESS);
    assert!(machine.calls("drbdadm").is_empty());
}

#[test]
fn a_device_that_is_let_go_late_is_waited_for() {
    let machine = old(PRIMARY);
    machine.file("refusals/secondary", HELD.repeat(4));
    r0(&machine).run("stop").answers(SUCCESS);
    assert_eq!(machine.calls("drbdadm").iter().filter(|call| call[0] == "secondary").count(), 5);
}

/// A stop that cannot succeed, with a short time.
fn held(machine: &Sandbox) -> testkit::Answer {
    machine.file("refusals/secondary", format!("*{HELD}"));
    let answer = r0(machine).timeout_ms(5000).run("stop").answers(GENERIC);
    assert!(answer.elapsed < Duration::from_millis(4900), "{answer}");
    assert!(answer.elapsed > Duration::from_millis(800), "tried until the deadline: {answer}");
    answer
}

#[test]
fn without_a_holder_that_can_be_found_drbd_s_own_words_are_given() {
    held(&old(PRIMARY)).names("held open by someone");
    held(&new("Primary")).names("r0 is still Primary");
}

#[test]
fn a_mount_is_named() {
    let machine = old(PRIMARY);
    machine.mounted("147:0", "/srv/data", "ext4", "/dev/drbd0");
    held(&machine).names("mount on /srv/data");
}

#[test]
fn a_mount_with_a_number_of_its_own_is_named() {
    let machine = old(PRIMARY);
    machine.mounted("0:50", "/srv/data", "btrfs", "/dev/drbd0");
    held(&machine).names("mount on /srv/data");
}

#[test]
fn a_device_mapper_device_on_top_is_named() {
    let machine = old(PRIMARY);
    machine.folder("sys/dev/block/147:0/holders/dm-3");
    machine.file("sys/block/dm-3/dm/name", "backup-snapshot\n");
    held(&machine).names("block device dm-3 (backup-snapshot)");
}

#[test]
fn a_loop_device_is_named() {
    let machine = old(PRIMARY);
    machine.file("sys/block/loop4/loop/backing_file", "/dev/drbd0\n");
    machine.file("sys/block/loop5/loop/backing_file", "/dev/drbd00\n");
    let answer = held(&machine).names("loop device loop4");
    assert!(!answer.stderr.contains("loop5"), "{answer}");
}

#[test]
fn swap_is_named() {
    let machine = old(PRIMARY);
    machine.file("sys/dev/block/147:0/uevent", "MAJOR=147\nMINOR=0\nDEVNAME=drbd0\nDEVTYPE=disk\n");
    machine.file("proc/swaps", "Filename Type Size Used Priority\n/dev/drbd0 partition 65496 0 -2\n");
    held(&machine).names("swap on /dev/drbd0");
}

#[test]
fn storage_targets_are_named() {
    let machine = old(PRIMARY);
    let nvme = "sys/kernel/config/nvmet/subsystems/disk1/namespaces/1";
    machine.file(&format!("{nvme}/device_path"), "/dev/drbd0\n").file(&format!("{nvme}/enable"), "1\n");
    // By the name that people give it.
    let by_name = "sys/kernel/config/nvmet/subsystems/disk3/namespaces/1";
    machine.file(&format!("{by_name}/device_path"), "/dev/drbd/by-res/r0\n");
    let off = "sys/kernel/config/nvmet/subsystems/disk2/namespaces/1";
    machine.file(&format!("{off}/device_path"), "/dev/drbd0\n").file(&format!("{off}/enable"), "0\n");
    machine.file("sys/kernel/config/target/core/iblock_0/lun7/udev_path", "/dev/drbd0\n");
    // As the kernel has it when no tool wrote udev_path.
    let info = "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 2048\n        \
                iBlock device: drbd0  UDEV PATH: /dev/drbd0  readonly: 0\n        Major: 147 Minor: 0  CLAIMED: IBLOCK\n";
    machine.file("sys/kernel/config/target/core/iblock_0/lun8/udev_path", "\n");
    machine.file("sys/kernel/config/target/core/iblock_0/lun8/info", info);
    machine.file("sys/kernel/config/target/core/iblock_0/lun9/info", info.replace("drbd0", "drbd01"));
    let answer =
        held(&machine).names("NVMe target disk1").names("NVMe target disk3").names("SCSI target lun7");
    assert!(answer.stderr.contains("SCSI target lun8"), "{answer}");
    assert!(!answer.stderr.contains("lun9"), "another device is not this one: {answer}");
    assert!(!answer.stderr.contains("disk2"), "a namespace that is off holds nothing: {answer}");
}

#[test]
fn a_guest_of_xen_is_named() {
    let machine = old(PRIMARY);
    machine.file("sys/bus/xen-backend/devices/vbd-3-51712/physical_device", "93:0\n");
    machine.file("sys/bus/xen-backend/devices/vbd-4-51712/physical_device", "93:1\n");
    let answer = held(&machine).names("Xen domain 3");
    assert!(!answer.stderr.contains("domain 4"), "{answer}");
}

#[test]
fn a_process_is_named() {
    let machine = old(PRIMARY);
    machine.folder("proc/4711/fd").file("proc/4711/comm", "nbd-server\n");
    std::os::unix::fs::symlink("/dev/null", machine.path("proc/4711/fd/0")).unwrap();
    std::os::unix::fs::symlink("/dev/drbd0", machine.path("proc/4711/fd/5")).unwrap();
    held(&machine).names("process nbd-server[4711]");
}

#[test]
fn on_9_without_links_the_configuration_gives_the_devices() {
    let machine = new("Primary");
    std::fs::remove_dir_all(machine.path("dev/drbd")).unwrap();
    machine.mounted("147:0", "/srv/data", "ext4", "/dev/drbd0");
    held(&machine).names("mount on /srv/data");
}

#[test]
fn every_volume_is_searched() {
    let machine = old(PRIMARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    machine.file("proc/drbd", crate::scenes::proc_84(&[(10, PRIMARY), (11, PRIMARY)]));
    machine.mounted("147:11", "/srv/second", "ext4", "/dev/drbd11");
    machine.file("refusals/secondary", format!("*{HELD}"));
    resource(&machine, "r1").timeout_ms(3000).run("stop").answers(GENERIC).names("mount on /srv/second");
}

/// drbdadm secondary succeeds when there is no module, and would when it is confused.
#[test]
fn a_tool_that_claims_success_is_not_believed() {
    let machine = old(PRIMARY);
    machine.tool("drbdadm", Tool::Succeeds);
    r0(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("r0");
}

#[test]
fn a_resource_that_left_the_configuration_is_stopped_past_it() {
    for machine in [old(PRIMARY), new("Primary")] {
        machine.file("refusals/secondary", "*1 'r0' not defined in your config (for this host).\n");
        r0(&machine).run("stop").answers(SUCCESS);
        r0(&machine).monitor().answers(7);
    }
}

#[test]
fn every_volume_of_8_4_is_stopped_past_the_configuration() {
    let machine = old(PRIMARY);
    link(&machine, "by-res/r1/0", 10);
    link(&machine, "by-res/r1/1", 11);
    machine.file("proc/drbd", crate::scenes::proc_84(&[(10, PRIMARY), (11, PRIMARY)]));
    machine.file("refusals/secondary", "*1 'r1' not defined in your config (for this host).\n");
    resource(&machine, "r1").run("stop").answers(SUCCESS);
    let calls = machine.calls("drbdsetup");
    let mut calls: Vec<_> = calls.iter().filter(|call| call[0] == "secondary").map(|call| &call[1]).collect();
    calls.sort();
    assert_eq!(calls, ["10", "11"]);
}

/// One wrong word anywhere in /etc/drbd.d is code 10, as the kernel's refusals are.
#[test]
fn a_configuration_that_cannot_be_understood_does_not_keep_the_disk() {
    for machine in [old(PRIMARY), new("Primary")] {
        let words = "*10 drbd.d/r0.res:2: Parse error: 'protocol | on | disk' expected,\n";
        machine.file("refusals/secondary", words);
        r0(&machine).run("stop").answers(SUCCESS).within(Duration::from_secs(5));
        r0(&machine).monitor().answers(7);
    }
}

#[test]
fn a_state_that_cannot_be_read_is_stopped_all_the_same_but_not_believed() {
    let machine = new("Primary");
    machine.file("refusals/events2", "20 netlink: no answer\n").file("refusals/role", "*20 no answer\n");
    r0(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("r0");
    assert!(machine.calls("drbdadm").iter().any(|call| call[0] == "secondary"));
}
