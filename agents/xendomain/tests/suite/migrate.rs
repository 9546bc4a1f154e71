//! migrate_to and migrate_from: three ends, local disks, two Primaries, stale copies.

use testkit::call::{ARGS, CONFIGURED, GENERIC, NOT_RUNNING, SUCCESS};
use testkit::{Call, Sandbox, Tool};

use crate::scenes::{ALONE, HEADER, PRIMARY, changes, config, domains, drbd, node, on, peer, put, web, with};

/// What xl migrate does on top of the fake: `on/migrate` says how it ends.
const MIGRATE: &str = r#"
while case $1 in -*) true ;; *) false ;; esac; do [ "$1" = -s ] && shift; shift; done
id=$1
arrive() { printf '%-40s %5d %5d %5d     %-6s %9.1f\n' "$1" 9 96 1 -b---- 0.9 >>"$root/peer"; }
end() { printf '%s\n' "$@" >&2; }
case $(how migrate) in
moved) drop "$id"; arrive web; end 'Migration successful.'; exit 0 ;;
refused) end 'ssh: connect to host node2 port 22: Connection refused'; exit 1 ;;
resumed) end 'migration sender: Giving target permission to start.' 'Migration failed due to problems at target.' 'migration sender: Resumed OK.'; exit 1 ;;
both) turn "$id" ---ss-
    end 'migration sender: Giving target permission to start.' '** Migration failed during final handshake **' '** CHECK AT BOTH ENDS **'; exit 1 ;;
both-arrived) sed -i "s/^$id web .*/$id web--migratedaway ---ss-/" "$list"; echo web--migratedaway >"$store/$id/name"; arrive web
    end '** CHECK AT BOTH ENDS **'; exit 1 ;;
cut-off) rm "$root/peer"; end 'migration sender: Resumed OK.'; exit 1 ;;
lies) end 'Migration successful.'; exit 0 ;;
two) arrive web; end 'Migration successful.'; exit 0 ;;
hang) exec sleep 600 ;;
lost) drop "$id"; end 'Migration successful.'; exit 0 ;;
esac
"#;

/// What the other node does beside its list: destroys stale copies, and drbdadm.
const THERE: &str = r#"
[ -f "$root/peer" ] || { echo 'ssh: connect to host node2 port 22: Connection timed out' >&2; exit 255; }
command="$last3 $last2 $last1"
case "$last2 $last1" in
"destroy "*) grep -v -- '--incoming' "$root/peer" >"$root/peer.new"; mv "$root/peer.new" "$root/peer" ;;
"primary r0") [ -f "$root/on/no-primary" ] && { echo 'State change failed: (-1) Multiple primaries not allowed by config' >&2; exit 11; }
    sed -i 's,ro:Primary/[A-Za-z]*,ro:Primary/Primary,' "$root/proc/drbd" ;;
"secondary r0") sed -i 's,ro:Primary/[A-Za-z]*,ro:Primary/Secondary,' "$root/proc/drbd" ;;
esac
true
"#;

pub(crate) const DRBDADM: &str = r#"
root=$OCF_TEST_ROOT
case "$1 $2" in
"secondary r0") grep -q ' web ' "$root/domains" && { echo 'State change failed: (-12) Device is held open by someone' >&2; exit 11; }
    sed -i 's,ro:Primary/,ro:Secondary/,' "$root/proc/drbd" ;;
"sh-resources "*) echo r0 ;;
"sh-ll-dev "*) echo /dev/vg0/below ;;
esac
true
"#;

/// A node whose guest web runs as domain 3 on DRBD, beside a node that can take it in.
pub(crate) fn pair(line: &str) -> Sandbox {
    let machine = with("web", "-b----");
    drbd(&machine, line);
    machine
        .file("on/migrate.sh", MIGRATE)
        .file("on/ssh.sh", THERE)
        .tool("drbdadm", Tool::Does(DRBDADM.into()));
    peer(&machine, &[]);
    on(&machine, "migrate", "moved");
    machine
}

pub(crate) fn to(machine: &Sandbox) -> Call {
    web(machine).meta("migrate_source", "node1").meta("migrate_target", "node2").timeout_ms(60_000)
}

const BOTH: &str = "Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----";

/// What was asked over there, without the lists.
pub(crate) fn there(machine: &Sandbox) -> Vec<String> {
    let words = machine.calls("ssh").into_iter().map(|call| {
        let at = call.iter().position(|word| word == "--").unwrap();
        call[at + 2..].join(" ")
    });
    words.filter(|words| words != "xl list").collect()
}

pub(crate) fn here(machine: &Sandbox) -> Vec<String> {
    let looks = ["sh-resources", "sh-ll-dev", "sh-dev"];
    let calls = machine.calls("drbdadm").into_iter().filter(|call| !looks.contains(&call[0].as_str()));
    calls.map(|call| call.join(" ")).collect()
}

pub(crate) const ALLOW: &str = "net-options --protocol=C --allow-two-primaries r0";
pub(crate) const FORBID: &str = "net-options --protocol=C --allow-two-primaries=no r0";

#[test]
fn a_guest_moves_and_both_ends_are_looked_at() {
    let machine = pair(BOTH);
    to(&machine).run("migrate_to").answers(SUCCESS);
    let call = changes(&machine).remove(0);
    assert_eq!(
        (call[0].as_str(), &call[call.len() - 2..]),
        ("migrate", ["3".to_owned(), "node2".to_owned()].as_slice())
    );
    assert!(call[1] == "-s" && call[2].contains("-oBatchMode=yes"), "nobody is there to be asked: {call:?}");
    assert_eq!(machine.calls("ssh").len(), 2, "before and after");
    web(&machine).probe().answers(NOT_RUNNING);
    web(&machine).run("stop").answers(SUCCESS);
    assert!(here(&machine).is_empty() && there(&machine).is_empty(), "both were Primary, and stay so");
}

#[test]
fn a_guest_that_stays_is_a_failure_and_still_runs() {
    for (how, names) in
        [("refused", "Connection refused"), ("resumed", "stays on this node"), ("lies", "stays on this node")]
    {
        let machine = pair(BOTH);
        on(&machine, "migrate", how);
        to(&machine).run("migrate_to").answers(GENERIC).names(names);
        web(&machine).monitor().answers(SUCCESS);
    }
}

/// ssh needs seconds to find out, and a cluster waits for the answer.
#[test]
fn a_node_that_cannot_be_reached_any_more_is_asked_once_to_give_its_role_back() {
    let machine = pair(PRIMARY);
    on(&machine, "migrate", "cut-off");
    to(&machine).run("migrate_to").answers(GENERIC).names("stays on this node");
    assert_eq!(there(&machine)[2..], ["drbdadm secondary r0"]);
    assert_eq!(here(&machine), [ALLOW, FORBID]);
    let notes = std::fs::read_dir(machine.path("run/holdfast/xendomain")).unwrap();
    let names = notes.map(|note| note.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().any(|name| name.ends_with("+two-primaries")), "a later action goes on with it");
}

#[test]
fn an_end_that_nobody_knows_blocks() {
    for how in ["both", "two", "lost"] {
        let machine = pair(BOTH);
        on(&machine, "migrate", how);
        to(&machine).run("migrate_to").answers(CONFIGURED).names("CHECK BOTH ENDS");
    }
}

#[test]
fn an_end_that_xl_does_not_know_may_be_seen() {
    let machine = pair(BOTH);
    on(&machine, "migrate", "both-arrived");
    to(&machine).run("migrate_to").answers(SUCCESS);
    assert!(domains(&machine).is_empty(), "what is left of it here is destroyed");
}

#[test]
fn a_migration_that_hangs_is_ended_in_time_and_the_guest_stays() {
    let machine = pair(BOTH);
    on(&machine, "migrate", "hang");
    to(&machine).timeout_ms(9000).run("migrate_to").answers(GENERIC).names("stays").within_ms(9000);
    assert!(!machine.tool_lives("xl") || machine.calls("xl").last().unwrap()[0] == "list");
}

#[test]
fn two_primaries_are_allowed_for_the_migration_and_taken_back_here() {
    let machine = pair(PRIMARY);
    to(&machine).run("migrate_to").answers(SUCCESS);
    assert_eq!(here(&machine), [ALLOW, "secondary r0", FORBID]);
    assert_eq!(
        there(&machine),
        [format!("drbdadm {ALLOW}"), "drbdadm primary r0".into(), format!("drbdadm {FORBID}")]
    );
}

#[test]
fn two_primaries_are_taken_back_there_when_the_guest_stays() {
    let machine = pair(PRIMARY);
    on(&machine, "migrate", "resumed");
    to(&machine).run("migrate_to").answers(GENERIC);
    assert_eq!(here(&machine), [ALLOW, FORBID]);
    assert_eq!(there(&machine)[2..], ["drbdadm secondary r0".to_owned(), format!("drbdadm {FORBID}")]);
    web(&machine).monitor().answers(SUCCESS);
}

#[test]
fn a_target_that_cannot_become_primary_gets_no_guest() {
    let machine = pair(PRIMARY);
    machine.file("on/no-primary", "");
    to(&machine).run("migrate_to").answers(GENERIC).names("r0");
    assert!(changes(&machine).is_empty(), "xl would have moved it onto a dead disk");
    assert_eq!(here(&machine), [ALLOW, FORBID]);
}

#[test]
fn without_permission_a_secondary_target_gets_no_guest() {
    let machine = pair(PRIMARY);
    to(&machine)
        .param("drbd_dual_primary", "no")
        .run("migrate_to")
        .answers(GENERIC)
        .names("drbd_dual_primary=no");
    assert!(changes(&machine).is_empty() && here(&machine).is_empty());
    let machine = pair(BOTH);
    to(&machine).param("drbd_dual_primary", "no").run("migrate_to").answers(SUCCESS);
}

#[test]
fn a_target_without_good_data_gets_no_guest() {
    for line in [ALONE, "SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----"] {
        let machine = pair(line);
        to(&machine).run("migrate_to").answers(GENERIC).names("r0");
        assert!(changes(&machine).is_empty() && here(&machine).is_empty(), "{line}");
    }
}

#[test]
fn a_local_disk_stays_where_it_is() {
    let machine = pair(BOTH);
    config(&machine, "phy:/dev/vg0/web,xvda,w");
    to(&machine).run("migrate_to").answers(GENERIC).names("/dev/vg0/web");
    config(&machine, "file:/srv/web.img,xvda,w");
    to(&machine).run("migrate_to").answers(GENERIC).names("/srv/web.img");
    assert!(changes(&machine).is_empty());
    machine.mounted("0:44", "/srv", "nfs4", "server:/srv");
    to(&machine).run("migrate_to").answers(SUCCESS);
    let machine = pair(BOTH);
    config(&machine, "phy:/dev/vg0/web,xvda,w");
    to(&machine).param("shared_disks", "yes").run("migrate_to").answers(SUCCESS);
}

#[test]
fn a_disk_behind_iscsi_is_everywhere() {
    for (place, code) in [
        ("platform/host3/session1/target3:0:0/block/sdb", SUCCESS),
        ("pci0000:00/ata1/host0/block/sdb", GENERIC),
    ] {
        let machine = pair(BOTH);
        crate::scenes::block(&machine, "dev/vg0/web", 253, 5);
        machine.folder("sys/devices/virtual/block/dm-5/slaves/sdb").folder(&format!("sys/devices/{place}"));
        machine.folder("sys/dev/block");
        let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, machine.path(at)).unwrap();
        link("../../devices/virtual/block/dm-5", "sys/dev/block/253:5");
        std::fs::create_dir_all(machine.path("sys/class/block")).unwrap();
        link(&format!("../../devices/{place}"), "sys/class/block/sdb");
        config(&machine, "phy:/dev/vg0/web,xvda,w");
        to(&machine).run("migrate_to").answers(code);
    }
}

#[test]
fn a_target_that_has_the_guest_or_does_not_answer_gets_none() {
    let machine = pair(BOTH);
    peer(&machine, &[(4, "web")]);
    to(&machine).run("migrate_to").answers(GENERIC).names("has it already");
    std::fs::remove_file(machine.path("peer")).unwrap();
    to(&machine).run("migrate_to").answers(GENERIC).names("No route to host");
    assert!(changes(&machine).is_empty());
}

#[test]
fn a_stale_copy_on_the_target_is_destroyed_first() {
    let machine = pair(BOTH);
    peer(&machine, &[(4, "web--incoming")]);
    to(&machine).run("migrate_to").exits(SUCCESS);
    assert_eq!(there(&machine), ["xl destroy 4"]);
}

#[test]
fn a_guest_that_is_not_here_cannot_move() {
    let machine = pair(BOTH);
    machine.file("domains", "0 Domain-0 r-----\n");
    std::fs::remove_dir_all(machine.path("store/local/domain/3")).unwrap();
    to(&machine).run("migrate_to").answers(GENERIC).names("does not run here");
    let machine = pair(BOTH);
    web(&machine).run("migrate_to").answers(ARGS).names("target");
}

#[test]
fn the_address_is_that_of_the_node_attribute() {
    let machine = pair(BOTH);
    let call = to(&machine).param("node_ip_attribute", "migration-ip");
    for (answer, address) in [("10.0.0.2", "10.0.0.2"), ("(null)", "node2"), ("", "node2")] {
        let machine = pair(BOTH);
        machine.tool("crm_attribute", Tool::Does(format!("echo '{answer}'")));
        machine.host(call.clone()).run("migrate_to").exits(SUCCESS);
        assert_eq!(changes(&machine)[0].last().unwrap(), address);
        let asked = &machine.calls("crm_attribute")[0];
        assert_eq!(asked.join(" "), "--type nodes --node node2 --name migration-ip --query --quiet");
    }
    machine.tool("crm_attribute", Tool::Does("echo '-oProxyCommand=x'".into()));
    call.run("migrate_to").answers(ARGS).names("no address");
    assert!(changes(&machine).is_empty());
    for (how, behaviour) in Tool::misbehaviours(102) {
        let machine = pair(BOTH);
        if let Some(behaviour) = behaviour {
            machine.tool("crm_attribute", behaviour);
        }
        let answer = machine.host(call.clone()).timeout_ms(20_000).run("migrate_to");
        let wanted = if how == "babbling" || how == "breaking off" { answer.code } else { Some(SUCCESS) };
        assert_eq!(answer.code, wanted, "{how}: {answer}");
    }
}

#[test]
fn a_hostile_target_is_no_argument() {
    for target in ["-oProxyCommand=reboot", "-F", "-lroot", "a b", "$(reboot)", "a;reboot", "root@x"] {
        let machine = pair(BOTH);
        to(&machine).meta("migrate_target", target).run("migrate_to").answers(ARGS);
        assert!(changes(&machine).is_empty() && machine.calls("ssh").is_empty());
    }
}

#[test]
fn faults_of_the_tools_in_migrate_to_leave_one_guest_and_one_reason() {
    for tool in ["xl", "ssh", "drbdadm"] {
        for (how, behaviour) in Tool::misbehaviours(1) {
            let machine = pair(PRIMARY);
            crate::faults::break_tool(&machine, tool, behaviour);
            let answer = to(&machine).timeout_ms(9000).run("migrate_to").within_ms(9000);
            let well = tool == "drbdadm"
                && ["babbling", "breaking off", "leaving a daemon that holds its pipes"].contains(&how);
            if well {
                assert_eq!(answer.code, Some(SUCCESS), "{tool} {how}: {answer}");
            } else {
                assert!(matches!(answer.code, Some(1 | 5)), "{tool} {how}: {answer}");
                assert_eq!(domains(&machine), ["3 web -b----"], "{tool} {how}");
            }
        }
    }
}

/// xend moves guests without a word of what became of them.
#[test]
fn faults_of_xm_in_migrate_to_leave_one_guest_and_one_reason() {
    for (how, behaviour) in Tool::misbehaviours(1) {
        let machine = pair(PRIMARY);
        crate::scenes::only_xm(&machine);
        crate::faults::break_tool(&machine, "xm", behaviour);
        let answer = to(&machine).timeout_ms(9000).run("migrate_to").within_ms(9000);
        assert!(matches!(answer.code, Some(1 | 5)), "{how}: {answer}");
        assert_eq!(domains(&machine), ["3 web -b----"], "{how}");
        assert_eq!(answer.stderr.matches("ocf-exit-reason:").count(), 1, "{how}: {answer}");
        assert!(here(&machine).is_empty(), "{how}: nothing was allowed for a guest that is not seen");
    }
}

/// A list that answers, and a migration that ends in each of the ways.
#[test]
fn xm_is_believed_only_by_what_both_ends_show() {
    for (how, code, left) in [
        ("moved", SUCCESS, vec![]),
        ("refused", GENERIC, vec!["3 web -b----"]),
        ("lies", GENERIC, vec!["3 web -b----"]),
        ("hang", GENERIC, vec!["3 web -b----"]),
        ("two", CONFIGURED, vec!["3 web -b----"]),
        ("lost", CONFIGURED, vec![]),
    ] {
        let machine = pair(PRIMARY);
        crate::scenes::only_xm(&machine);
        on(&machine, "migrate", how);
        to(&machine).timeout_ms(12_000).run("migrate_to").answers(code);
        assert_eq!(domains(&machine), left, "{how}");
        assert!(machine.calls("xm").iter().any(|call| *call == ["migrate", "--live", "3", "node2"]), "{how}");
    }
}

/// The receiving node's tool.
#[test]
fn faults_of_the_tools_in_migrate_from_are_failures_in_time() {
    for xm in [false, true] {
        for (how, behaviour) in Tool::misbehaviours(1) {
            let machine = pair(PRIMARY);
            if xm {
                crate::scenes::only_xm(&machine);
            }
            crate::faults::break_tool(&machine, if xm { "xm" } else { "xl" }, behaviour);
            let answer = from(&machine).timeout_ms(6000).run("migrate_from").within_ms(6000);
            assert_eq!(answer.code, Some(GENERIC), "{how}: {answer}");
            answer.answers(GENERIC).names("web");
            assert_eq!(domains(&machine), ["3 web -b----"], "{how}");
        }
    }
}

fn from(machine: &Sandbox) -> Call {
    web(machine).meta("migrate_source", "node2").meta("migrate_target", "node1")
}

/// Attaches the disk to domain 3 in this state.
fn attach(machine: &Sandbox, state: &str) {
    let back = "/local/domain/0/backend/vbd/3/51712";
    machine.file("store/libxl/3/device/vbd/51712/backend", back);
    machine.file(&format!("store{back}/state"), state).file(&format!("store{back}/params"), "/dev/drbd0");
}

#[test]
fn a_guest_has_come_when_it_runs_with_its_disks() {
    let machine = with("web", "-b----");
    attach(&machine, "4");
    from(&machine).run("migrate_from").answers(SUCCESS);
    assert!(machine.path("run/holdfast/xendomain/data").exists());
}

/// xl migrate answers 0 over a DRBD that is Secondary here.
#[test]
fn a_guest_that_came_with_a_dead_disk_is_a_failure() {
    for state in ["6", "1"] {
        let machine = with("web", "-b----");
        attach(&machine, state);
        from(&machine).run("migrate_from").answers(GENERIC).names("/dev/drbd0");
    }
}

#[test]
fn a_guest_that_is_still_coming_is_waited_for() {
    let machine = with("web--incoming", "--p---");
    attach(&machine, "4");
    let root = machine.root().to_owned();
    let later = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        std::fs::write(root.join("domains"), "0 Domain-0 r-----\n3 web -b----\n").unwrap();
        std::fs::write(root.join("store/local/domain/3/name"), "web").unwrap();
    });
    from(&machine).run("migrate_from").answers(SUCCESS);
    later.join().unwrap();
}

#[test]
fn a_guest_that_never_comes_is_a_failure_and_its_stale_copy_is_destroyed() {
    let machine = node();
    from(&machine).timeout_ms(4000).run("migrate_from").answers(GENERIC).names("not arrived").within_ms(4000);
    put(&machine, 3, "web--incoming", "--p---");
    machine.file("proc/77/cmdline", "xl\0migrate-receive\0");
    from(&machine).timeout_ms(4000).run("migrate_from").answers(GENERIC).names("not arrived").within_ms(4000);
    assert!(changes(&machine).is_empty());
    std::fs::remove_dir_all(machine.path("proc/77")).unwrap();
    from(&machine)
        .timeout_ms(4000)
        .run("migrate_from")
        .answers(GENERIC)
        .names("never arrived")
        .within_ms(4000);
    assert!(domains(&machine).is_empty());
    assert!(HEADER.contains("Domain-0"));
}

/// The second disk cannot move: the first may not keep two Primaries.
#[test]
fn what_was_allowed_is_taken_back_whatever_another_disk_says() {
    for second in ["drbd7", "drbd1"] {
        let machine = pair(PRIMARY);
        let text = std::fs::read_to_string(machine.path("proc/drbd")).unwrap();
        let more = " 1: cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0\n";
        machine.file("proc/drbd", format!("{text}{more}"));
        std::os::unix::fs::symlink("../../drbd1", machine.path("dev/drbd/by-res/r1")).unwrap();
        config(&machine, &format!("phy:/dev/drbd0,xvda,w\", \"phy:/dev/{second},xvdb,w"));
        to(&machine).run("migrate_to").answers(GENERIC);
        assert!(changes(&machine).is_empty());
        assert_eq!(here(&machine), [ALLOW, FORBID], "{second}");
        assert_eq!(there(&machine)[2..], ["drbdadm secondary r0".to_owned(), format!("drbdadm {FORBID}")]);
    }
}

/// Its copy over there would look stale.
#[test]
fn a_migration_that_somebody_else_began_is_left_alone() {
    for who in ["3", "web"] {
        let machine = pair(BOTH);
        peer(&machine, &[(4, "web--incoming")]);
        machine.file("proc/77/cmdline", format!("xl\0migrate\0{who}\0node2\0"));
        to(&machine).run("migrate_to").answers(GENERIC).names("already");
        assert!(there(&machine).is_empty() && changes(&machine).is_empty());
    }
}

#[test]
fn a_dry_run_of_a_migration_changes_nothing_on_either_node() {
    let machine = pair(PRIMARY);
    peer(&machine, &[(4, "web--incoming")]);
    let by_hand = |machine: &Sandbox, action: &str| {
        let call = machine
            .host(Call::bare(crate::scenes::BINARY))
            .env("OCF_RESKEY_CRM_meta_migrate_target", "node2");
        call.run_args(["--name", "web", "--dry-run", "--timeout", "6", action])
    };
    let answer = by_hand(&machine, "migrate_to").exits(SUCCESS);
    assert!(answer.stdout.contains("would destroy domain 4 on node2"), "{answer}");
    assert!(answer.stdout.contains("would run xl migrate 3 node2"), "{answer}");
    assert!(there(&machine).is_empty() && here(&machine).is_empty());
    let machine = with("web--incoming", "--p---");
    by_hand(&machine, "migrate_from").exits(GENERIC);
    assert!(changes(&machine).is_empty());
    let machine = with("web", "-b----");
    attach(&machine, "4");
    by_hand(&machine, "migrate_from").exits(SUCCESS);
    assert!(!machine.path("run/holdfast").exists());
}
