//! start: ownership first, then activation, then a look at the kernel.

use testkit::call::{GENERIC, SUCCESS};

use crate::scenes::{commands, forget_commands, get, map, mapped, mode, owned_by, set, tagged, unmap, vg};

#[test]
fn plain_activates_the_group_with_two_commands() {
    let machine = vg(&["lv1", "lv2"]);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-lv2"]);
    assert_eq!(commands(&machine), ["fullreport", "vgchange -ay"]);
    assert_eq!(machine.calls("lvm").last().unwrap().last().unwrap(), "vg1", "a group is always named");
}

#[test]
fn a_named_volume_is_activated_alone() {
    let machine = vg(&["lv1", "lv2"]);
    mode(&machine, "plain").param("lvname", "lv2").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv2"]);
    assert_eq!(commands(&machine), ["fullreport", "lvchange -ay"]);
}

#[test]
fn a_second_start_only_looks() {
    let machine = vg(&["lv1", "lv2"]);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    forget_commands(&machine);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport"]);
}

#[test]
fn volumes_that_are_not_active_yet_are_activated() {
    let machine = vg(&["lv1", "lv2"]);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    unmap(&machine, 2);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-lv2"]);
}

#[test]
fn a_success_of_lvm_with_nothing_activated_is_a_failure() {
    let machine = vg(&["lv1"]);
    set(&machine, "volume_list", "");
    for lvname in ["", "lv1"] {
        mode(&machine, "plain").param("lvname", lvname).run("start").answers(GENERIC).names("volume_list");
    }
}

#[test]
fn one_volume_of_many_that_stays_inactive_fails_the_start_and_is_named() {
    let machine = vg(&["lv1", "lv2"]);
    set(&machine, "inert", "lv2");
    mode(&machine, "plain").run("start").answers(GENERIC).names("lv2");
}

#[test]
fn a_failure_of_lvm_with_all_activated_is_a_success() {
    let machine = vg(&["lv1", "lv2"]);
    machine.file("lvm/lvs", "lv1 -wi------- linear\nlv2 -wi-----p- linear\n");
    set(&machine, "missing", "1");
    // lv2 lacks its disk; what can be active is.
    mode(&machine, "plain").param("majority_pvs", "true").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1"]);
}

#[test]
fn partial_and_degraded_activation_are_lvm_s_options() {
    for (parameter, layout, option) in
        [("partial_activation", "linear", "--partial"), ("degraded_activation", "raid,raid1", "degraded")]
    {
        let machine = vg(&["lv1"]);
        machine.file("lvm/lvs", format!("lv1 rwi-----p- {layout}\n"));
        set(&machine, "missing", "1");
        let call = mode(&machine, "plain").param("majority_pvs", "yes").param(parameter, "true");
        call.run("start").answers(SUCCESS);
        assert_eq!(mapped(&machine), ["vg1-lv1"]);
        assert!(machine.calls("lvm").last().unwrap().iter().any(|word| word == option));
    }
}

/// LVM activates no mirror without one of its disks, only RAID: "Refusing activation of partial LV".
#[test]
fn degraded_activation_leaves_out_what_lvm_does() {
    let machine = vg(&["lv1"]);
    machine.file("lvm/lvs", "lv1 -wi------- linear\nm1 mwi---m-p- mirror\nr1 rwi---r-p- raid,raid1\n");
    set(&machine, "missing", "1");
    let call = mode(&machine, "plain").param("majority_pvs", "yes").param("degraded_activation", "yes");
    let start = call.run("start").answers(SUCCESS);
    assert!(start.stderr.contains("Refusing activation of partial LV vg1/m1"), "{start}");
    assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-r1"]);
    call.param("lvname", "m1").run("start").answers(GENERIC).names("m1");
}

#[test]
fn volumes_with_the_flag_to_be_skipped_are_left_out_unless_asked_for() {
    let machine = vg(&["lv1"]);
    machine.file("lvm/lvs", "lv1 -wi------- linear\nsnap Vwi------k thin,sparse\n");
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1"]);
    mode(&machine, "plain").param("lvname", "snap").run("start").answers(GENERIC).names("skipped");
    mode(&machine, "plain").param("ignore_activation_skip", "yes").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-snap"]);
}

/// A snapshot keeps what lies below its origin mapped when the origin itself is not.
#[test]
fn a_part_of_a_volume_is_not_the_volume() {
    for lvname in ["", "lv1"] {
        let machine = vg(&["lv1"]);
        map(&machine, 9, "vg1-lv1-real", &format!("LVM-{}lv1uuid-real", crate::scenes::VG_UUID));
        mode(&machine, "plain").param("lvname", lvname).run("start").answers(SUCCESS);
        assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-lv1-real"], "{lvname}");
        unmap(&machine, 1);
        set(&machine, "inert", "lv1");
        mode(&machine, "plain").param("lvname", lvname).run("start").answers(GENERIC).names("lv1");
    }
}

#[test]
fn a_pool_that_is_named_is_active_with_what_is_in_it() {
    let machine = vg(&["pool"]);
    machine.file("lvm/lvs", "pool twi------- thin,pool\n");
    map(&machine, 9, "vg1-pool-tpool", &format!("LVM-{}pooluuid-tpool", crate::scenes::VG_UUID));
    mode(&machine, "plain").param("lvname", "pool").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport"]);
}

#[test]
fn pools_need_no_device_of_their_own() {
    let machine = vg(&["lv1"]);
    machine.file("lvm/lvs", "lv1 Vwi------- thin,sparse\npool twi------- thin,pool\n");
    set(&machine, "inert", "pool");
    mode(&machine, "plain").run("start").answers(SUCCESS);
}

#[test]
fn system_id_takes_the_group_over_with_a_report_and_a_script() {
    let machine = owned_by("node2");
    set(&machine, "autoactivation", "");
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport", "script", "vgchange --systemid", "vgchange -ay"]);
    assert_eq!((get(&machine, "system_id"), mapped(&machine).len()), ("node1".into(), 2));
    let take_over = &machine.calls("lvm")[2];
    assert!(take_over.contains(&"local/extra_system_ids=[\"node2\"]".to_owned()), "{take_over:?}");
}

#[test]
fn the_first_takeover_also_switches_autoactivation_off() {
    let machine = owned_by("node2");
    let log = machine.path("log");
    let call = mode(&machine, "system_id").param("lvname", "lv2").env("HA_LOGFILE", &log);
    call.run("start").answers(SUCCESS);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("taking volume group vg1 over from system ID node2"), "{log}");
    assert!(log.contains("no longer activated at boot"), "{log}");
    assert_eq!(
        commands(&machine),
        ["fullreport", "script", "vgchange --systemid", "vgchange --setautoactivation", "lvchange -ay"]
    );
    assert_eq!((get(&machine, "autoactivation").as_str(), mapped(&machine)), ("", vec!["vg1-lv2".into()]));
}

/// Whoever activates it just then: the group is not ours.
#[test]
fn what_is_active_without_the_takeover_is_no_success() {
    let machine = owned_by("node2");
    machine.file("lvm/lvs", "lv1 -wi------- linear\n").folder("later");
    map(&machine, 1, "vg1-lv1", &format!("LVM-{}lv1uuid", crate::scenes::VG_UUID));
    std::fs::rename(machine.path("sys/block/dm-1"), machine.path("later/dm-1")).unwrap();
    let tool = std::fs::read_to_string(machine.path("usr/sbin/lvm")).unwrap();
    let body = tool.lines().skip(5).collect::<Vec<_>>().join("\n");
    let race = "case \"$*\" in *--systemid*) mv $OCF_TEST_ROOT/later/dm-1 $OCF_TEST_ROOT/sys/block; echo no >&2; exit 5 ;; esac\n";
    machine.tool("lvm", testkit::Tool::Does(format!("{race}{body}")));
    mode(&machine, "system_id").run("start").answers(GENERIC).names("still belongs to node2");
    assert_eq!(get(&machine, "system_id"), "node2");
}

/// What the script did not bring to its end is done one by one, and the step that fails gives the reason.
#[test]
fn a_script_that_fails_is_gone_through_step_by_step() {
    // An LVM that takes none.
    let machine = owned_by("node2");
    machine.file("refusals/stdin", "");
    let tool = std::fs::read_to_string(machine.path("usr/sbin/lvm")).unwrap();
    let body = tool.lines().skip(5).collect::<Vec<_>>().join("\n");
    let without = "[ \"$1\" = /dev/stdin ] && { echo \"  No such command '/dev/stdin'.\" >&2; exit 2; }\n";
    machine.tool("lvm", testkit::Tool::Does(format!("{without}{body}")));
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    let one_by_one = ["vgchange --systemid", "vgchange --setautoactivation", "vgchange -ay"];
    assert_eq!(commands(&machine), [&["fullreport", "script"][..], &one_by_one].concat());
    assert_eq!((get(&machine, "system_id"), mapped(&machine).len()), ("node1".into(), 2));
    // Autoactivation stays on, and that is no reason to fail.
    let machine = owned_by("node2");
    machine.file("refusals/setautoactivation", "*5 no\n");
    let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert!(start.stderr.contains("still be activated at boot"), "{start}");
    assert_eq!((get(&machine, "system_id"), mapped(&machine).len()), ("node1".into(), 2));
    // Activation fails; the group is ours by then.
    let machine = owned_by("node2");
    set(&machine, "inert", "lv2");
    let start = mode(&machine, "system_id").run("start").answers(GENERIC).names("lv2 is not active");
    assert_eq!((get(&machine, "system_id"), get(&machine, "autoactivation")), ("node1".into(), "".into()));
    assert!(!start.stderr.contains("at boot"), "it is off: {start}");
}

/// LVM fails over what nobody needs: all else is done, and its complaint is not lost.
#[test]
fn what_a_script_complains_of_is_said_although_all_is_active() {
    for owner in ["node1", "node2"] {
        let machine = owned_by(owner);
        set(&machine, "unmonitored", "");
        let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
        assert_eq!(start.stderr.matches("event registration failed").count(), 1, "{start}");
        assert!(!start.stderr.contains("at boot"), "{start}");
        assert_eq!((get(&machine, "autoactivation").as_str(), mapped(&machine).len()), ("", 2));
    }
}

/// LVM changes no group that lacks disks: there is no use in asking it to.
#[test]
fn a_group_that_lacks_disks_stays_activated_at_boot_and_that_is_said() {
    for (owner, last) in
        [("node1", vec!["vgchange -ay"]), ("node2", vec!["script", "vgchange --systemid", "vgchange -ay"])]
    {
        let machine = owned_by(owner);
        set(&machine, "missing", "1");
        set(&machine, "majority", "");
        let start = mode(&machine, "system_id").param("majority_pvs", "yes").run("start").answers(SUCCESS);
        assert_eq!(start.stderr.matches("still be activated at boot").count(), 1, "{start}");
        assert_eq!(commands(&machine), [vec!["fullreport"], last].concat());
        assert_eq!((get(&machine, "autoactivation").as_str(), mapped(&machine).len()), ("enabled", 2));
    }
}

#[test]
fn a_takeover_by_an_lvm_without_the_switch_warns_of_activation_at_boot() {
    let machine = owned_by("node2");
    std::fs::remove_file(machine.path("lvm/autoactivation")).unwrap();
    let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(start.stderr.matches("also activated at boot").count(), 1, "{start}");
    assert_eq!(get(&machine, "system_id"), "node1");
}

#[test]
fn autoactivation_that_is_told_by_a_number_is_understood() {
    for (number, switched) in [("0", false), ("1", true)] {
        let machine = owned_by("node1");
        set(&machine, "autoactivation", number);
        mode(&machine, "system_id").run("start").answers(SUCCESS);
        let switch = "vgchange --setautoactivation".to_owned();
        assert_eq!(commands(&machine).contains(&switch), switched, "{number}");
    }
}

#[test]
fn names_too_long_for_a_script_are_told_one_by_one() {
    let (owner, own) = ("n".repeat(127), "o".repeat(127));
    let machine = owned_by(&owner);
    machine.file("etc/lvm/lvm.conf", "global { system_id_source = \"lvmlocal\" }\n");
    machine.file("etc/lvm/lvmlocal.conf", format!("local {{ system_id = \"{own}\" }}\n"));
    set(&machine, "host_id", &own);
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "system_id"), own);
    assert!(!commands(&machine).contains(&"script".to_owned()), "{:?}", commands(&machine));
}

#[test]
fn autoactivation_is_switched_off_once_and_said() {
    let machine = owned_by("node1");
    let log = machine.path("log");
    mode(&machine, "system_id").env("HA_LOGFILE", &log).run("start").answers(SUCCESS);
    assert!(std::fs::read_to_string(log).unwrap().contains("no longer activated at boot"));
    assert_eq!(commands(&machine), ["fullreport", "script", "vgchange --setautoactivation", "vgchange -ay"]);
    mode(&machine, "system_id").run("stop").answers(SUCCESS);
    forget_commands(&machine);
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport", "vgchange -ay"]);
    // Also of a group that is active already.
    set(&machine, "autoactivation", "enabled");
    forget_commands(&machine);
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport", "vgchange --setautoactivation"]);
}

#[test]
fn autoactivation_that_cannot_be_switched_off_is_warned_of() {
    let machine = owned_by("node1");
    machine.file("refusals/setautoactivation", "*5 no\n");
    let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert!(start.stderr.contains("still be activated at boot"), "{start}");
    // A version of LVM without that switch.
    let machine = owned_by("node1");
    std::fs::remove_file(machine.path("lvm/autoactivation")).unwrap();
    let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert!(start.stderr.contains("auto_activation_volume_list"), "{start}");
    // And a configuration that keeps the group inactive at boot.
    let machine = owned_by("node1");
    std::fs::remove_file(machine.path("lvm/autoactivation")).unwrap();
    let config = "global { system_id_source = \"uname\" }\nactivation { auto_activation_volume_list = [ \"root\" ] }\n";
    machine.file("etc/lvm/lvm.conf", config);
    let start = mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert!(!start.stderr.contains("boot"), "{start}");
}

#[test]
fn plain_warns_of_activation_at_boot_and_changes_nothing() {
    let machine = vg(&["lv1"]);
    set(&machine, "autoactivation", "enabled");
    let start = mode(&machine, "plain").run("start").answers(SUCCESS);
    assert!(start.stderr.contains("also activated at boot"), "{start}");
    assert_eq!(get(&machine, "autoactivation"), "enabled");
}

#[test]
fn a_takeover_that_failed_is_a_failed_start() {
    let machine = owned_by("node2");
    machine.file("refusals/systemid", "*5 Cannot change VG vg1 while PVs are missing.\n");
    mode(&machine, "system_id").run("start").answers(GENERIC).names("still belongs to node2");
    assert!(mapped(&machine).is_empty());
    // Missing disks rule the takeover out, whatever is allowed for.
    let machine = owned_by("node2");
    set(&machine, "missing", "1");
    mode(&machine, "system_id")
        .param("partial_activation", "yes")
        .run("start")
        .answers(GENERIC)
        .names("node2");
}

#[test]
fn a_takeover_that_a_sibling_made_at_the_same_moment_is_good() {
    let machine = owned_by("node2");
    let tool = std::fs::read_to_string(machine.path("usr/sbin/lvm")).unwrap();
    let body = tool.lines().skip(5).collect::<Vec<_>>().join("\n");
    let race = "case \"$*\" in *--systemid*) echo node1 >\"$OCF_TEST_ROOT/lvm/system_id\" ;; esac\n";
    machine.tool("lvm", testkit::Tool::Does(format!("{race}{body}")));
    mode(&machine, "system_id").run("start").answers(SUCCESS);
}

/// Between the report and the takeover, which may be seconds.
#[test]
fn a_takeover_and_activation_by_a_sibling_meanwhile_is_good() {
    let machine = owned_by("node2");
    let sibling = "lvm=$OCF_TEST_ROOT/usr/sbin/lvm\n[ $1 = daemon-reload ] || exit 0\n\
                   $lvm vgchange --config 'local/extra_system_ids=[\"node2\"]' --systemid node1 -- vg1\n\
                   $lvm vgchange --setautoactivation n -- vg1\n$lvm lvchange -ay -- vg1/lv1";
    machine.folder("run/systemd/system").tool("systemctl", testkit::Tool::Does(sibling.into()));
    let start = mode(&machine, "system_id").param("lvname", "lv2").run("start").answers(SUCCESS);
    assert_eq!(mapped(&machine), ["vg1-lv1", "vg1-lv2"]);
    assert!(!start.stderr.contains("at boot"), "{start}");
}

#[test]
fn a_majority_of_disks_is_told_to_lvm_where_it_matters() {
    for (missing, told) in [("0", false), ("1", true)] {
        let machine = owned_by("node2");
        set(&machine, "missing", missing);
        set(&machine, "majority", "");
        mode(&machine, "system_id").param("majority_pvs", "yes").run("start").answers(SUCCESS);
        let word = "--majoritypvs".to_owned();
        assert_eq!(machine.calls("lvm").iter().any(|call| call.contains(&word)), told, "{missing}");
        assert!(!machine.calls("lvm").iter().any(|call| call.contains(&"--help".to_owned())));
    }
    // An LVM without the option.
    let machine = owned_by("node2");
    set(&machine, "missing", "1");
    let start = mode(&machine, "system_id").param("majority_pvs", "yes").run("start");
    start.answers(GENERIC).names("still belongs to node2").names("majoritypvs");
    assert_eq!(get(&machine, "system_id"), "node2");
}

#[test]
fn an_active_group_that_is_another_node_s_is_no_success() {
    let machine = owned_by("node1");
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    set(&machine, "system_id", "node2");
    mode(&machine, "system_id").run("start").answers(GENERIC).names("belongs to system ID node2");
    assert_eq!(get(&machine, "system_id"), "node2");
}

#[test]
fn a_node_s_own_id_comes_from_where_lvm_takes_it() {
    for (source, files) in [
        ("uname", vec![]),
        ("UNAME", vec![]),
        ("lvmlocal", vec![("etc/lvm/lvmlocal.conf", "local {\n  system_id = \"node1\"\n}\n")]),
        ("machineid", vec![("etc/machine-id", "node1\n")]),
        ("file", vec![("etc/sid", "# the ID\nnode1\n")]),
        ("appmachineid", vec![]),
    ] {
        let machine = owned_by("node2");
        let config = format!("global {{ system_id_source = \"{source}\" system_id_file = \"/etc/sid\" }}\n");
        machine.file("etc/lvm/lvm.conf", config);
        for (path, text) in files {
            machine.file(path, text);
        }
        mode(&machine, "system_id").run("start").answers(SUCCESS);
        assert_eq!(get(&machine, "system_id"), "node1", "{source}");
    }
}

#[test]
fn a_configuration_with_tags_of_hosts_is_asked_of_lvm() {
    let machine = owned_by("node2");
    machine.file("etc/lvm/lvm.conf", "tags { hosttags = 1 }\n");
    let asked = "global {\n system_id_source=\"lvmlocal\"\n}\nlocal {\n system_id=\"host3\"\n}\n";
    machine.file("etc/lvm/asked", asked);
    set(&machine, "host_id", "host3");
    mode(&machine, "system_id").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine)[..3], ["fullreport", "lvmconfig", "script"]);
    assert_eq!(get(&machine, "system_id"), "host3");
}

#[test]
fn tagging_adds_our_tag_and_activates_by_it() {
    let machine = tagged("");
    mode(&machine, "tagging").run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "pacemaker");
    assert_eq!(mapped(&machine).len(), 2);
    assert_eq!(commands(&machine), ["fullreport", "vgchange --addtag", "vgchange -ay"]);
    let activation = machine.calls("lvm").pop().unwrap();
    assert!(activation.contains(&"activation{volume_list=[\"@pacemaker\"]}".to_owned()), "{activation:?}");
}

#[test]
fn tagging_keeps_away_from_another_owner_s_group() {
    for tags in ["othernode", "othernode,pacemaker", "backup-daily,othernode"] {
        let machine = tagged(tags);
        let call = mode(&machine, "tagging").param("ignored_tags", "backup-daily");
        call.run("start").answers(GENERIC).names("othernode");
        assert_eq!((get(&machine, "tags"), mapped(&machine).len()), (tags.to_owned(), 0));
    }
}

#[test]
fn tags_that_say_nothing_of_an_owner_stay_where_they_are() {
    let machine = tagged("backup-daily,site=a");
    let call = mode(&machine, "tagging").param("ignored_tags", "backup-daily, site=a").param("tag", "ours");
    call.run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "backup-daily,site=a,ours");
    call.run("stop").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "backup-daily,site=a");
}

#[test]
fn an_active_group_without_our_tag_gets_it_and_one_with_another_s_is_an_error() {
    let machine = tagged("pacemaker");
    mode(&machine, "tagging").run("start").answers(SUCCESS);
    set(&machine, "tags", "");
    mode(&machine, "tagging").run("start").answers(SUCCESS);
    assert_eq!(get(&machine, "tags"), "pacemaker");
    set(&machine, "tags", "othernode");
    mode(&machine, "tagging").run("start").answers(GENERIC).names("othernode");
}

#[test]
fn a_daemon_that_has_not_heard_of_the_disk_is_told() {
    let machine = vg(&["lv1"]);
    machine.file("run/lvm/lvmetad.socket", "");
    std::fs::rename(machine.path("lvm/name"), machine.path("lvm/appears")).unwrap();
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(commands(&machine), ["fullreport", "pvscan", "fullreport", "vgchange -ay"]);
}

#[test]
fn systemd_is_told_to_stop_the_cluster_before_the_volumes() {
    let machine = vg(&["lv1"]);
    machine.folder("run/systemd/system").tool("systemctl", testkit::Tool::Succeeds);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    let file = machine.path("run/systemd/system/resource-agents-deps.target.d/99-LVM-activate.conf");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "[Unit]\nAfter=blk-availability.service\n");
    assert_eq!(
        machine.calls("systemctl"),
        [vec!["daemon-reload"], vec!["start", "blk-availability.service"]]
    );
    mode(&machine, "plain").run("stop").answers(SUCCESS);
    mode(&machine, "plain").run("start").answers(SUCCESS);
    assert_eq!(machine.calls("systemctl").len(), 2, "once in the life of the system");
}

#[test]
fn systemd_that_did_not_listen_is_told_again_by_the_next_start() {
    for deaf in ["daemon-reload", "start"] {
        let machine = vg(&["lv1"]);
        let once = format!(
            "[ $1 != {deaf} ] || [ -e $OCF_TEST_ROOT/heard ] || {{ : >$OCF_TEST_ROOT/heard; exit 1; }}"
        );
        machine.folder("run/systemd/system").tool("systemctl", testkit::Tool::Does(once));
        let start = mode(&machine, "plain").run("start").answers(SUCCESS);
        assert!(start.stderr.contains("the order at shutdown is not set"), "{start}");
        let start = mode(&machine, "plain").run("start").answers(SUCCESS);
        assert!(!start.stderr.contains("shutdown"), "{start}");
        let told = machine.calls("systemctl");
        let last = [vec!["daemon-reload"], vec!["start", "blk-availability.service"]];
        assert_eq!(told[told.len() - 2..], last, "{deaf}");
    }
}

#[test]
fn a_group_that_is_active_in_part_and_foreign_is_not_taken() {
    let machine = owned_by("node2");
    map(&machine, 1, "vg1-lv1", &format!("LVM-{}lv1uuid", crate::scenes::VG_UUID));
    mode(&machine, "system_id").run("start").answers(GENERIC).names("deactivate it first");
    assert_eq!(get(&machine, "system_id"), "node2");
}

#[test]
fn a_report_that_is_longer_than_a_pipe_is_read_whole() {
    let names: Vec<String> =
        (0..900).map(|number| format!("volume-with-a-rather-long-name-{number}")).collect();
    let machine = vg(&["lv1"]);
    let lines: Vec<String> = names.iter().map(|name| format!("{name} twi------- thin,pool\n")).collect();
    machine.file("lvm/lvs", format!("lv1 -wi------- linear\n{}", lines.concat()));
    let lv1 = mode(&machine, "plain").param("lvname", names[899].as_str()).param("lvname", "lv1");
    lv1.run("start").answers(SUCCESS);
    mode(&machine, "plain").param("lvname", "nosuch").run("start").answers(6).names("nosuch");
}
