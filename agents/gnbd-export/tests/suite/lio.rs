//! LIO: the recorded order of deeds, the kernel's refusals, and what is left when something stays.

use nix::errno::Errno;
use testkit::call::{CONFIGURED, GENERIC, INSTALLED, NOT_RUNNING, SUCCESS};

use crate::configfs::{Deed, DeviceIs};
use crate::scenes::{INITIATOR, UUID, iqn, scene};

const STORE: &str = "target/core/iblock_0/r0";

fn group() -> String {
    format!("target/iscsi/{}/tpgt_1", iqn())
}

/// What nobody removes: the kernel's own iscsi directory stays once it is made.
fn left(here: &crate::scenes::Scene) -> Vec<String> {
    here.configfs.tree().left().into_iter().filter(|path| path != "target/iscsi").collect()
}

#[test]
fn an_export_is_started_seen_and_stopped_and_nothing_stays() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio");
    r0.probe().answers(NOT_RUNNING);
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
    {
        let tree = here.configfs.tree();
        assert_eq!(tree.opened(STORE), "/dev/drbd0");
        assert!(tree.text(&format!("{STORE}/wwn/vpd_unit_serial")).ends_with(UUID));
        assert_eq!(tree.text(&format!("{}/attrib/authentication", group())), "0");
        assert_eq!(tree.text(&format!("{}/attrib/generate_node_acls", group())), "0");
        assert_eq!(tree.links_in(&format!("{}/acls/{INITIATOR}/lun_0", group())).len(), 1);
        assert!(tree.has(&format!("{}/np/0.0.0.0:3260", group())));
        assert_eq!(tree.held(), ["/dev/drbd0"]);
    }
    r0.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    r0.monitor().answers(NOT_RUNNING);
    r0.run("stop").answers(SUCCESS);
    assert!(left(&here).is_empty(), "{:?}", left(&here));
    assert!(here.configfs.tree().held().is_empty() && here.configfs.tree().harm.is_empty());
}

#[test]
fn the_portal_group_is_enabled_last_and_disabled_first() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio");
    r0.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    let tree = here.configfs.tree();
    let enable = |text: &str| Deed::Wrote(format!("{}/enable", group()), text.into());
    assert_eq!(tree.when(&enable("1")) + 1, tree.when(&enable("0")), "{:#?}", tree.deeds);
    assert!(tree.when(&Deed::Wrote(format!("{STORE}/enable"), "1".into())) < tree.when(&enable("1")));
    assert!(tree.harm.is_empty(), "{:?}", tree.harm);
}

#[test]
fn the_kernel_s_refusals_are_told_in_words_and_leave_nothing_held() {
    for (device, word) in [
        (DeviceIs::Secondary, "Secondary"),
        (DeviceIs::ReadOnly, "write-protected"),
        (DeviceIs::InUse, "in use"),
    ] {
        let Some(here) = scene() else { return };
        here.configfs.tree().devices.insert("/dev/drbd0".into(), device);
        here.r0("lio").run("start").answers(GENERIC).names("/dev/drbd0").names(word);
        assert!(left(&here).is_empty(), "{:?}", left(&here));
    }
}

#[test]
fn every_deed_that_is_refused_fails_the_start_and_is_cleared() {
    let acl = format!("acls/{INITIATOR}");
    for end in [
        "core/iblock_0",
        "iblock_0/r0",
        "control",
        "vpd_unit_serial",
        "r0/enable",
        "iscsi",
        &iqn(),
        "tpgt_1",
        "lun/lun_0",
        "lun/lun_0/r0",
        "authentication",
        &acl,
        &format!("{INITIATOR}/lun_0"),
        &format!("{INITIATOR}/lun_0/lun_0"),
        "np/0.0.0.0:3260",
        "tpgt_1/enable",
    ] {
        let Some(here) = scene() else { return };
        here.configfs.tree().refusals.push((end.into(), Errno::ENOMEM));
        here.r0("lio").run("start").answers(GENERIC).names("export r0");
        assert!(here.configfs.tree().refusals.is_empty(), "{end} was not reached");
        assert!(here.configfs.tree().held().is_empty() && left(&here).is_empty(), "{end}: {:?}", left(&here));
        assert!(here.configfs.tree().harm.is_empty(), "{end}");
    }
}

/// The kernel takes another serial number without a word, and clients would take the disk for another one.
#[test]
fn another_serial_number_or_mode_is_an_error() {
    let Some(here) = scene() else { return };
    here.r0("lio").run("start").answers(SUCCESS);
    let serial = format!("{STORE}/wwn/vpd_unit_serial");
    let right = here.configfs.tree().text(&serial);
    here.configfs.tree().set(&serial, "T10 VPD Unit Serial Number: 99999999-ffff");
    here.r0("lio").monitor().answers(GENERIC).names("99999999");
    here.configfs.tree().set(&serial, &right);
    here.r0("lio").param("readonly", "yes").monitor().answers(GENERIC).names("for writing");
    here.r0("lio").monitor().answers(SUCCESS);
}

#[test]
fn an_export_for_reading_only_is_told_to_the_kernel() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio").param("readonly", "yes");
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
    assert!(here.configfs.tree().text(&format!("{STORE}/info")).contains("readonly: 1"));
    here.r0("lio").monitor().answers(GENERIC).names("reading only");
}

#[test]
fn the_same_name_with_another_device_is_an_error_and_stop_still_withdraws_it() {
    let Some(here) = scene() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.r0("lio").run("start").answers(SUCCESS);
    let other = here.r0("lio").param("device", "/dev/drbd1");
    other.run("start").answers(GENERIC).names("/dev/drbd0");
    other.monitor().answers(GENERIC).names("/dev/drbd0");
    other.run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().held().is_empty());
}

/// The fault of the agent of old: it said stopped while the backstore still held the device.
#[test]
fn a_backstore_that_still_holds_the_device_is_never_stopped() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio");
    r0.run("start").answers(SUCCESS);
    {
        let mut tree = here.configfs.tree();
        tree.write(&format!("{}/enable", group()), "0").unwrap();
        tree.unlink(&format!("{}/lun/lun_0/r0", group())).unwrap();
    }
    r0.monitor().answers(GENERIC).names("/dev/drbd0");
    here.configfs.tree().refusals.push((STORE.into(), Errno::EBUSY));
    r0.run("stop").answers(GENERIC).names("backstore");
    r0.run("stop").answers(SUCCESS);
    assert!(here.configfs.tree().held().is_empty());
}

/// Recorded: it blocks the removal of the target, and not the demotion.
#[test]
fn an_acl_that_stays_does_not_fail_the_stop() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio");
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().refusals.push((format!("acls/{INITIATOR}"), Errno::EBUSY));
    let answer = r0.run("stop").answers(SUCCESS);
    assert!(answer.stderr.contains("stays"), "{answer}");
    assert!(here.configfs.tree().held().is_empty());
    r0.monitor().answers(NOT_RUNNING);
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
}

#[test]
fn a_start_that_was_killed_half_way_is_cleared() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio");
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().write(&format!("{}/enable", group()), "0").unwrap();
    r0.monitor().answers(GENERIC).names("no client");
    r0.run("start").answers(SUCCESS);
    r0.monitor().answers(SUCCESS);
}

#[test]
fn exports_share_the_adapter_and_each_has_its_target() {
    let Some(here) = scene() else { return };
    crate::scenes::node(&here.sandbox, "dev/drbd1", here.disk.device());
    here.configfs.tree().devices.insert("/dev/drbd1".into(), DeviceIs::Good);
    let (r0, r1) = (here.r0("lio"), here.r0("lio").param("name", "r1").param("device", "/dev/drbd1"));
    r0.run("start").answers(SUCCESS);
    r1.run("start").answers(SUCCESS);
    r0.run("stop").answers(SUCCESS);
    r1.monitor().answers(SUCCESS);
    r1.run("stop").answers(SUCCESS);
    assert!(left(&here).is_empty(), "{:?}", left(&here));
}

#[test]
fn nobody_may_connect_until_somebody_is_named() {
    let Some(here) = scene() else { return };
    let nobody = here.bare("lio");
    let answer = nobody.run("start").answers(SUCCESS);
    assert!(answer.stderr.contains("allow"), "a word about it: {answer}");
    assert!(here.configfs.tree().names(&format!("{}/acls", group())).is_empty());
    assert_eq!(here.configfs.tree().text(&format!("{}/attrib/generate_node_acls", group())), "0");
    here.r0("lio").monitor().answers(190).names(INITIATOR);
    nobody.run("stop").answers(SUCCESS);
    here.bare("lio").param("allow", "any").run("start").answers(SUCCESS);
    here.bare("lio").param("allow", "any").monitor().answers(SUCCESS);
    assert_eq!(here.configfs.tree().text(&format!("{}/attrib/generate_node_acls", group())), "1");
    assert_eq!(here.configfs.tree().text(&format!("{}/attrib/demo_mode_write_protect", group())), "0");
    here.bare("lio").param("allow", "nqn.host").run("stop").answers(SUCCESS);
    here.bare("lio").param("allow", "nqn.host").run("start").answers(CONFIGURED).names("initiator");
}

#[test]
fn an_address_that_is_taken_or_not_here_is_named() {
    let Some(here) = scene() else { return };
    here.configfs.tree().taken.insert("0.0.0.0:3260".into());
    here.r0("lio").run("start").answers(GENERIC).names("taken");
    here.r0("lio").param("listen", "192.168.77.100").run("start").answers(GENERIC).names("not on this node");
    assert!(left(&here).is_empty());
    let r0 = here.r0("lio").param("listen", "::").param("port", "3261");
    r0.run("start").answers(SUCCESS);
    assert!(here.configfs.tree().has(&format!("{}/np/[::]:3261", group())));
    r0.monitor().answers(SUCCESS);
    here.r0("lio").monitor().answers(GENERIC).names("[::]:3261");
}

#[test]
fn a_kernel_without_lio_is_not_installed_and_its_probe_says_stopped() {
    let Some(here) = scene() else { return };
    std::fs::remove_dir_all(here.sandbox.path("sys/module/target_core_iblock")).unwrap();
    here.r0("lio").probe().answers(NOT_RUNNING);
    here.r0("lio").run("start").answers(INSTALLED).names("target_core_iblock");
}

#[test]
fn a_device_that_hangs_fails_stop_in_time_and_says_where() {
    let Some(here) = scene() else { return };
    let r0 = here.r0("lio").timeout_ms(3000);
    r0.run("start").answers(SUCCESS);
    here.configfs.tree().hangs = Some("enable".into());
    r0.run("stop").answers(GENERIC).within_ms(3000).names("iSCSI target");
}

#[test]
fn a_monitor_is_one_process() {
    let Some(here) = scene() else { return };
    here.r0("lio").run("start").answers(SUCCESS);
    assert_eq!(crate::scenes::processes_of_a_monitor(&here, "lio"), 1);
}
