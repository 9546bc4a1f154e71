//! Every state that was recorded on real DRBD 8.4.11 and 9.2.18, and the texts of older versions.

use super::answers::RoleAnswer;
use super::proc::{Minor, Pair};
use super::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The recorded answers of one state: command, output, exit code.
type Recorded = BTreeMap<String, (String, i32)>;

fn fixtures(version: &str) -> Vec<(String, Recorded)> {
    let folder = folder().join(version);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), recorded(&std::fs::read_to_string(path).unwrap()))).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drbd")
}

fn recorded(text: &str) -> Recorded {
    let mut found = Recorded::new();
    for section in text.split("$ ").skip(1) {
        let (command, rest) = section.split_once('\n').unwrap();
        let (output, code) = rest.rsplit_once("--- exit=").unwrap();
        let stdout = output.split("--- stderr\n").next().unwrap();
        let command = command.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(" r");
        found.insert(command.to_string(), (stdout.to_string(), code.trim().parse().unwrap()));
    }
    found
}

fn stdout<'a>(recorded: &'a Recorded, command: &str) -> Option<&'a [u8]> {
    recorded.get(command).filter(|(_, code)| *code == 0).map(|(text, _)| text.as_bytes())
}

fn resource(recorded: &Recorded) -> Option<Resource> {
    let mut found = events::parse(stdout(recorded, "drbdsetup events2 --now")?).unwrap();
    assert!(found.len() <= 1);
    found.pop()
}

/// A resource in a line, so that all states can be reviewed in one file.
fn shown(resource: &Resource) -> String {
    let mut line = format!("{} {}", resource.name, resource.role.word());
    if let Some(why) = &resource.suspended {
        write!(line, " suspended:{why}").unwrap();
    }
    if resource.io_fails {
        line.push_str(" io-fails");
    }
    if let Some(truth) = resource.may_promote {
        write!(line, " may-promote:{truth} score:{}", resource.promotion_score.unwrap()).unwrap();
    }
    for volume in &resource.volumes {
        write!(line, " | {}=drbd{} {}", volume.number, volume.minor, volume.disk.word()).unwrap();
        write!(line, " on {}", volume.backing.as_deref().unwrap_or("-")).unwrap();
        line.push_str(if volume.client { " client" } else { "" });
        line.push_str(match volume.quorum {
            None => "",
            Some(true) => " quorum",
            Some(false) => " no-quorum",
        });
    }
    for peer in &resource.peers {
        let name = peer.name.as_deref().unwrap_or("-");
        write!(line, " | peer {}={name} {} {}", peer.node_id, peer.connection.word(), peer.role.word())
            .unwrap();
        for volume in &peer.volumes {
            write!(line, " {}:{}/{}", volume.number, volume.replication.word(), volume.disk.word()).unwrap();
            line.push_str(if volume.client { "/client" } else { "" });
            line.push_str(if volume.resync_suspended { "/held" } else { "" });
        }
    }
    line
}

/// `UPDATE_FIXTURES=1` rewrites the reviewed file.
fn compare_with_reviewed(version: &str) {
    let mut text = String::new();
    for (name, recorded) in fixtures(version) {
        let line = resource(&recorded).map_or("not up".into(), |resource| shown(&resource));
        writeln!(text, "{name}: {line}").unwrap();
        // Up to 8.4 the kernel's own file is what a monitor reads.
        let Some(proc) = stdout(&recorded, "cat /proc/drbd").filter(|_| version == "8.4.11") else {
            continue;
        };
        for minor in proc::parse(proc).unwrap().minors {
            let line = minor.resource("drbd").map_or("not in use".into(), |resource| shown(&resource));
            writeln!(text, "{name}, /proc/drbd: {line}").unwrap();
        }
    }
    let path = folder().join(format!("{version}.expected"));
    if std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn every_recorded_state_of_8_4_is_read_in_full() {
    compare_with_reviewed("8.4.11");
}

#[test]
fn every_recorded_state_of_9_is_read_in_full() {
    compare_with_reviewed("9.2.18");
}

#[test]
fn in_8_4_the_kernel_s_file_and_the_tools_say_the_same() {
    let mut compared = 0;
    for (name, recorded) in fixtures("8.4.11") {
        let Some(text) = stdout(&recorded, "cat /proc/drbd") else { continue };
        let proc = proc::parse(text).unwrap();
        assert_eq!(proc.major, 8, "{name}");
        let Some(pair) = proc.minor(0).and_then(|minor| minor.state.clone()) else { continue };
        let resource = resource(&recorded).unwrap();
        let (volume, peer) = (&resource.volumes[0], &resource.peers[0]);
        let peer_volume = &peer.volumes[0];
        assert_eq!((pair.role, pair.disk), (resource.role, volume.disk), "{name}");
        // In these the peer was lost while one question came after the other.
        if !["11-link-cut-early", "20-", "23-"].iter().any(|moving| name.starts_with(moving)) {
            assert_eq!((pair.peer_role, pair.peer_disk), (peer.role, peer_volume.disk), "{name}");
            let both = (pair.connection, pair.replication);
            assert_eq!(both, (peer.connection, peer_volume.replication), "{name}");
            if let Some(text) = stdout(&recorded, "drbdadm cstate") {
                assert_eq!(answers::connections(text).unwrap(), [Some(both)], "{name}");
            }
            if let Some(text) = stdout(&recorded, "drbdadm dstate") {
                assert_eq!(answers::disks(text).unwrap(), [vec![pair.disk, pair.peer_disk]], "{name}");
            }
        }
        if let Some(text) = stdout(&recorded, "drbdadm role") {
            assert_eq!(answers::roles(text).unwrap(), [RoleAnswer::Role(pair.role)], "{name}");
        }
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn in_9_the_list_and_the_single_answers_say_the_same() {
    let mut compared = 0;
    for (name, recorded) in fixtures("9.2.18") {
        let Some(resource) = resource(&recorded) else { continue };
        let role = answers::roles(stdout(&recorded, "drbdadm role").unwrap()).unwrap();
        assert_eq!(role, [RoleAnswer::Role(resource.role)], "{name}");
        let disks = answers::disks(stdout(&recorded, "drbdadm dstate").unwrap()).unwrap();
        let own: Vec<Disk> = disks.iter().map(|volume| volume[0]).collect();
        let listed: Vec<Disk> = resource.volumes.iter().map(|volume| volume.disk).collect();
        assert_eq!(own, listed, "{name}");
        let connections = answers::connections(stdout(&recorded, "drbdadm cstate").unwrap()).unwrap();
        assert_eq!(connections.len(), resource.peers.len(), "{name}");
        compared += 1;
    }
    assert!(compared >= 60, "{compared}");
}

#[test]
fn in_9_the_list_and_the_json_say_the_same() {
    let mut compared = 0;
    for (name, recorded) in fixtures("9.2.18") {
        let asked =
            |command: &&String| command.starts_with("drbdsetup status r") && command.ends_with("--json");
        let Some(json) = recorded.keys().find(asked).and_then(|key| stdout(&recorded, key)) else { continue };
        let mut from_json = json::parse(json).unwrap();
        assert_eq!(from_json.len(), 1, "{name}");
        // These only the list has; and no version puts the disk below into the JSON that was recorded.
        let mut from_list = resource(&recorded).unwrap();
        (from_list.may_promote, from_list.promotion_score) = (None, None);
        from_list.volumes.iter_mut().for_each(|volume| volume.backing = None);
        assert_eq!(shown(&from_json.remove(0)), shown(&from_list), "{name}");
        for end in 0..json.len().saturating_sub(3) {
            assert!(json::parse(&json[..end]).is_err(), "{name} {end}");
        }
        compared += 1;
    }
    assert!(compared >= 60, "{compared}");
}

/// The lists that stand between the recorded refusals, each a state of its own.
#[test]
fn the_lists_between_recorded_refusals_are_read() {
    let mut states = Vec::new();
    for entry in std::fs::read_dir(folder().join("9.2.18-refusals")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for section in text.split("$ drbdsetup events2 --now ").skip(1) {
            let (line, rest) = section.split_once('\n').unwrap();
            let list = rest.split("--- exit=").next().unwrap();
            if list.contains("exists -") {
                let found = events::parse(list.as_bytes()).unwrap();
                let shown = found.first().map_or("not up".into(), shown);
                states.push(format!("{} {line}: {shown}", path.file_stem().unwrap().to_string_lossy()));
            }
        }
    }
    states.sort();
    let path = folder().join("9.2.18-refusals.expected");
    let text = states.join("\n") + "\n";
    if std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default());
}

#[test]
fn what_is_not_understood_in_the_json_is_an_error() {
    let good = r#"[{"name":"r0","role":"Secondary","suspended":false,"devices":[{"volume":0,"minor":0,"disk-state":
        "UpToDate"}],"connections":[]}]"#;
    assert_eq!(json::parse(good.as_bytes()).unwrap().len(), 1);
    assert_eq!(json::parse(b"[\n]\n\n").unwrap(), []);
    for (from, to) in [
        ("Secondary", "Tertiary"),
        ("UpToDate", "Nice"),
        ("\"role\":\"Secondary\",", ""),
        ("\"minor\":0", "\"minor\":-1"),
        ("\"suspended\":false", "\"suspended\":\"no\""),
        ("\"connections\":[]", "\"connections\":{}"),
        ("}]", "}"),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(json::parse(good.replace(from, to).as_bytes()).is_err(), "{from} as {to}");
    }
    for text in ["", "null", "{}", "\u{1}garbage", "[{}]"] {
        assert!(json::parse(text.as_bytes()).is_err(), "{text}");
    }
    let held = good.replace("\"suspended\":false", "\"suspended\":true,\"suspended-quorum\":true");
    assert_eq!(json::parse(held.as_bytes()).unwrap()[0].suspended.as_deref(), Some("quorum"));
}

#[test]
fn in_9_the_kernel_s_file_has_the_version_alone() {
    for (name, recorded) in fixtures("9.2.18") {
        if let Some(text) = stdout(&recorded, "cat /proc/drbd") {
            let proc = proc::parse(text).unwrap();
            assert_eq!((proc.major, proc.minors.len()), (9, 0), "{name}");
        }
    }
}

/// Cut anywhere, no recorded text becomes another state.
#[test]
fn a_text_that_is_cut_off_is_an_error_or_says_the_same() {
    for version in ["8.4.11", "9.2.18"] {
        for (name, recorded) in fixtures(version) {
            if let Some(text) = stdout(&recorded, "drbdsetup events2 --now") {
                for end in 0..text.len() {
                    assert!(events::parse(&text[..end]).is_err(), "{name} {end}");
                }
            }
            let Some(text) = stdout(&recorded, "cat /proc/drbd") else { continue };
            let whole = proc::parse(text).unwrap();
            for end in 0..text.len() {
                match proc::parse(&text[..end]) {
                    Err(_) => {}
                    // Nothing but a device's own lines tells that it is there.
                    Ok(part) => assert!(part == whole || part.minors.is_empty(), "{name} {end}"),
                }
            }
            if let Some(text) = stdout(&recorded, "drbdadm role") {
                for end in 0..text.len() {
                    assert!(answers::roles(&text[..end]).is_err(), "{name} {end}");
                }
            }
        }
    }
}

fn pair_of(line: &str) -> Pair {
    let text = format!("version: 8.0.14 (api:86/proto:86)\n{line}\n    ns:0 nr:0 dw:0 dr:0\n");
    let Minor { state, .. } = proc::parse(text.as_bytes()).unwrap().minors.remove(0);
    state.unwrap()
}

#[test]
fn drbd_0_7_is_read() {
    let text =
        b"version: 0.7.24 (api:79/proto:74)\nSVN Revision: 2875 build by root@xenamo4, 2007-03-01 10:11:12\n\
        \x20 0: cs:Connected st:Primary/Secondary ld:Consistent\n\
        \x20    ns:4 nr:0 dw:4 dr:37 al:0 bm:1 lo:0 pe:0 ua:0 ap:0\n\
        \x20 1: cs:Unconfigured\n\
        \x20 2: cs:SyncTarget st:Secondary/Primary ld:Inconsistent\n\
        \x20    ns:0 nr:512 dw:512 dr:0 al:0 bm:96 lo:0 pe:0 ua:0 ap:0\n\
        \t[>...................] sync'ed:  1.1% (51000/51200)K\n\
        \tfinish: 0:12:00 speed: 64 (64) K/sec\n";
    let proc = proc::parse(text).unwrap();
    assert_eq!(proc.major, 0);
    let first = proc.minor(0).unwrap().state.as_ref().unwrap();
    assert_eq!((first.role, first.peer_role, first.disk), (Role::Primary, Role::Secondary, Disk::Consistent));
    assert_eq!(proc.minor(1).unwrap().state, None);
    let third = proc.minor(2).unwrap().state.as_ref().unwrap();
    assert_eq!((third.role, third.replication), (Role::Secondary, Replication::SyncTarget));
    assert_eq!((third.connection, third.disk), (Connection::Connected, Disk::Inconsistent));
}

#[test]
fn drbd_8_0_and_8_2_say_st_for_ro() {
    let pair = pair_of(" 0: cs:Connected st:Secondary/Primary ds:UpToDate/UpToDate C r---");
    assert_eq!((pair.role, pair.peer_role), (Role::Secondary, Role::Primary));
    assert!(!pair.suspended);
}

#[test]
fn drbd_8_3_has_shorter_flags_than_8_4() {
    let pair = pair_of(" 0: cs:PausedSyncS ro:Primary/Secondary ds:UpToDate/Inconsistent C r--a--");
    assert_eq!(pair.replication, Replication::PausedSyncS);
    assert!(pair_of("10: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s----").suspended);
}

#[test]
fn a_stand_alone_line_has_blanks_for_the_protocol() {
    let pair = pair_of(" 0: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----");
    assert_eq!((pair.connection, pair.role), (Connection::StandAlone, Role::Primary));
}

#[test]
fn lines_of_8_3_between_devices_are_no_devices() {
    let text = b"version: 8.3.11 (api:88/proto:86-96)\nGIT-hash: 0de839 build by x@y, 2011-06-29\n\n\
        \x201: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:8\n\
        \tresync: used:0/61 hits:0 misses:0\n\tact_log: used:0/127 hits:0\n12: cs:Unconfigured\n";
    let proc = proc::parse(text).unwrap();
    assert_eq!(proc.minors.iter().map(|found| found.minor).collect::<Vec<_>>(), [1, 12]);
}

#[test]
fn what_is_not_understood_in_the_kernel_s_file_is_an_error() {
    let header = "version: 8.4.11 (api:1/proto:86-101)\n";
    let stats = "    ns:0 nr:0\n";
    for line in [
        " 0: cs:Perhaps ro:Primary/Secondary ds:UpToDate/UpToDate C r-----",
        " 0: cs:Connected ro:Primary ds:UpToDate/UpToDate C r-----",
        " 0: cs:Connected ro:Primus/Secondary ds:UpToDate/UpToDate C r-----",
        " 0: cs:Connected ro:Primary/Secondary ds:UpToDate C r-----",
        " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r--",
        " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C",
        " 0: cs:Connected ds:UpToDate/UpToDate C r-----",
        " x: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----",
        " 0: cs:Established ro:Primary/Secondary ds:UpToDate/UpToDate C r-----",
        " 0: cs:",
    ] {
        assert!(proc::parse(format!("{header}{line}\n{stats}").as_bytes()).is_err(), "{line}");
    }
    let good = " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n";
    assert!(proc::parse(format!("{header}{good}{stats}").as_bytes()).is_ok());
    assert!(proc::parse(format!("{header}{good}").as_bytes()).is_err(), "no statistics");
    assert!(proc::parse(format!("{header}{good}{stats}{good}{stats}").as_bytes()).is_err(), "twice");
    for text in ["", "\n", "garbage\n", "version: 8\n", "version: x.y (api:1)\n"] {
        assert!(proc::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_is_not_understood_in_the_list_is_an_error() {
    let resource = "exists resource name:r0 role:Secondary suspended:no\n";
    let parse = |text: &str| events::parse(text.as_bytes());
    assert_eq!(parse("exists -\n").unwrap(), []);
    assert!(parse(&format!("{resource}exists -\n")).is_ok());
    assert!(parse(&format!("{resource}exists novelty name:r0 x:1\nexists -\n")).is_ok());
    for text in [
        String::new(),
        "exists\n".into(),
        "garbage\nexists -\n".into(),
        resource.into(),
        format!("{resource}exists -\n{resource}"),
        "exists resource name:r0 role:Tertiary suspended:no\nexists -\n".into(),
        "exists resource name:r0 role:Secondary\nexists -\n".into(),
        "exists resource role:Secondary suspended:no\nexists -\n".into(),
        "exists device name:r0 volume:0 minor:0 disk:UpToDate\nexists -\n".into(),
        format!("{resource}exists device name:r0 volume:0 minor:+1 disk:UpToDate\nexists -\n"),
        format!("{resource}exists device name:r0 volume:0 minor:0 disk:UpTo\nexists -\n"),
        format!("{resource}exists device name:r0 volume:0 minor:0 disk:UpToDate quorum:maybe\nexists -\n"),
        format!("{resource}exists device name:r0 volume minor:0 disk:UpToDate\nexists -\n"),
        format!("{resource}exists peer-device name:r0 peer-node-id:1 volume:0\nexists -\n"),
    ] {
        assert!(parse(&text).is_err(), "{text}");
    }
    assert!(events::parse(b"exists resource name:\xff role:Secondary suspended:no\nexists -\n").is_err());
}

#[test]
fn old_and_new_answers_to_role_are_understood() {
    use RoleAnswer::{Role as Is, Unconfigured};
    assert_eq!(answers::roles(b"Primary/Secondary\n").unwrap(), [Is(Role::Primary)]);
    assert_eq!(answers::roles(b"Secondary\n").unwrap(), [Is(Role::Secondary)]);
    assert_eq!(answers::roles(b"Unconfigured\n").unwrap(), [Unconfigured]);
    let two = answers::roles(b"Primary/Unknown\nSecondary/Unknown\n").unwrap();
    assert_eq!(two, [Is(Role::Primary), Is(Role::Secondary)]);
    for text in ["", "\n", "Primary", "Prim\n", "Primary/\n", "r0: Primary\n", "Primary/Secondary/Unknown\n"]
    {
        assert!(answers::roles(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn connections_and_disks_of_several_volumes_and_peers_are_lines() {
    let connections = answers::connections(b"Connecting\nConnected\n").unwrap();
    assert_eq!(connections.len(), 2);
    assert_eq!(answers::connections(b"Unconfigured\n").unwrap(), [None]);
    let disks = answers::disks(b"Diskless/UpToDate/UpToDate\nUpToDate/DUnknown\n").unwrap();
    assert_eq!(disks[0], [Disk::Diskless, Disk::UpToDate, Disk::UpToDate]);
    assert!(answers::disks(b"UpToDate/\n").is_err());
    assert!(answers::connections(b"Connect\n").is_err());
}
