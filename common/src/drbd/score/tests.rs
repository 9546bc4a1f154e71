//! The rows of the table, each in words of the list that drbdsetup prints, and the states recorded on real DRBD.

use super::{by_drbd as by_drbd_because, by_table as by_table_because, *};
use crate::state::drbd::{events, proc};
use Score::{Keep, Remove, Set};

/// Two nodes, two volumes, all well, with these words in place of the good ones.
fn resource(replaced: &[(&str, &str)]) -> Resource {
    let mut text = "exists resource name:r0 role:Secondary suspended:no force-io-failures:no may_promote:yes promotion_score:10202\n\
        exists connection name:r0 peer-node-id:1 conn-name:node2 connection:Connected role:Secondary\n\
        exists device name:r0 volume:0 minor:0 disk:UpToDate client:no quorum:yes\n\
        exists device name:r0 volume:1 minor:1 disk:UpToDate client:no quorum:yes\n\
        exists peer-device name:r0 peer-node-id:1 volume:0 replication:Established peer-disk:UpToDate \
        peer-client:no resync-suspended:no\n\
        exists peer-device name:r0 peer-node-id:1 volume:1 replication:Established peer-disk:UpToDate \
        peer-client:no resync-suspended:no\nexists -\n"
        .to_string();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    events::parse(text.as_bytes()).unwrap().remove(0)
}

fn by_table(resource: &Resource, scores: Scores) -> Score {
    by_table_because(resource, scores).0
}

fn by_drbd(resource: &Resource) -> Option<Score> {
    by_drbd_because(resource).map(|(score, _)| score)
}

fn score(replaced: &[(&str, &str)]) -> Score {
    by_table(&resource(replaced), Scores { consistent: 5, ..Scores::DEFAULT })
}

const PRIMARY: (&str, &str) = ("name:r0 role:Secondary", "name:r0 role:Primary");
const ONE_LOCAL_BAD: (&str, &str) = ("minor:1 disk:UpToDate", "minor:1 disk:Inconsistent");
const PEER_BAD: (&str, &str) = ("peer-disk:UpToDate", "peer-disk:Inconsistent");
const PEER_GONE: [(&str, &str); 2] = [
    ("connection:Connected role:Secondary", "connection:Connecting role:Unknown"),
    ("peer-disk:UpToDate", "peer-disk:DUnknown"),
];
const CLIENT: (&str, &str) = ("disk:UpToDate client:no", "disk:Diskless client:yes");

#[test]
fn good_data_here_and_known_data_there_is_best() {
    assert_eq!(score(&[]), Set(10_000));
    assert_eq!(score(&[PRIMARY]), Set(10_000));
    assert_eq!(score(&[PEER_BAD]), Set(10_000));
    assert_eq!(score(&[("peer-disk:UpToDate", "peer-disk:Outdated")]), Set(10_000));
}

#[test]
fn good_data_here_with_a_lost_peer_is_local_and_best_for_a_primary() {
    assert_eq!(score(&PEER_GONE), Set(1000));
    assert_eq!(score(&[PEER_GONE[0], PEER_GONE[1], PRIMARY]), Set(10_000));
}

#[test]
fn good_data_here_without_any_connection_is_local() {
    let mut alone = resource(&[]);
    alone.peers.clear();
    assert_eq!(by_table(&alone, Scores::DEFAULT), Set(1000));
}

#[test]
fn bad_data_here_and_good_data_there_is_remote() {
    for bad in ["Inconsistent", "Outdated", "Diskless", "Failed", "Detaching", "Consistent"] {
        assert_eq!(score(&[("minor:1 disk:UpToDate", &format!("minor:1 disk:{bad}"))]), Set(10), "{bad}");
    }
}

#[test]
fn bad_data_here_and_nothing_there_is_no_score() {
    assert_eq!(score(&[ONE_LOCAL_BAD, PEER_BAD]), Remove);
    assert_eq!(score(&[ONE_LOCAL_BAD, PEER_GONE[0], PEER_GONE[1]]), Remove);
}

#[test]
fn a_peer_s_last_known_copy_is_no_copy_once_the_peer_is_lost() {
    assert_eq!(score(&[ONE_LOCAL_BAD, PEER_GONE[0]]), Remove);
}

#[test]
fn one_good_volume_of_two_at_the_peer_is_not_good() {
    let half = (
        "replication:Established peer-disk:UpToDate peer-client:no resync-suspended:no\nexists -",
        "replication:Established peer-disk:Outdated peer-client:no resync-suspended:no\nexists -",
    );
    assert_eq!(score(&[ONE_LOCAL_BAD, half]), Remove);
}

/// Defect E: the shell agent took a disk that is being attached for an UpToDate one.
#[test]
fn a_disk_that_is_being_attached_is_never_up_to_date() {
    for word in ["Attaching", "Negotiating"] {
        let local = format!("minor:1 disk:{word}");
        let attaching = ("minor:1 disk:UpToDate", local.as_str());
        assert_eq!(score(&[attaching, PEER_GONE[0], PEER_GONE[1]]), Keep, "{word}");
        assert_eq!(score(&[attaching]), Set(10), "{word}: a peer is good");
    }
}

#[test]
fn consistent_data_gets_the_score_given_to_it() {
    let consistent = [("disk:UpToDate client", "disk:Consistent client"), PEER_GONE[0], PEER_GONE[1]];
    assert_eq!(score(&consistent), Set(5));
    assert_eq!(by_table(&resource(&consistent), Scores::DEFAULT), Remove);
}

#[test]
fn no_quorum_is_no_score() {
    assert_eq!(
        score(&[("minor:1 disk:UpToDate client:no quorum:yes", "minor:1 disk:UpToDate client:no quorum:no")]),
        Remove
    );
    assert_eq!(score(&[PRIMARY, ("quorum:yes", "quorum:no")]), Remove);
}

/// Defect F: the shell agent looked for quorum only where there was a disk.
#[test]
fn a_diskless_client_without_quorum_is_no_score() {
    assert_eq!(score(&[CLIENT, ("quorum:yes", "quorum:no")]), Remove);
}

#[test]
fn a_diskless_client_lives_on_its_peers() {
    assert_eq!(score(&[CLIENT]), Set(9999));
    assert_eq!(score(&[CLIENT, PRIMARY]), Set(9999));
    assert_eq!(score(&[CLIENT, PEER_BAD]), Remove);
    assert_eq!(score(&[CLIENT, PEER_GONE[0], PEER_GONE[1]]), Remove);
    let mut two = resource(&[CLIENT]);
    let mut lost = resource(&PEER_GONE).peers.remove(0);
    lost.node_id = 2;
    two.peers.push(lost);
    assert_eq!(by_table(&two, Scores::DEFAULT), Set(999), "one of two is good");
    two.role = Role::Primary;
    assert_eq!(by_table(&two, Scores::DEFAULT), Set(9999));
}

#[test]
fn another_diskless_client_is_no_copy_that_a_client_misses() {
    let mut three = resource(&[CLIENT]);
    let mut client = resource(&[("peer-disk:UpToDate peer-client:no", "peer-disk:Diskless peer-client:yes")])
        .peers
        .remove(0);
    client.node_id = 2;
    three.peers.push(client);
    assert_eq!(by_table(&three, Scores::DEFAULT), Set(9999));
}

#[test]
fn suspended_or_failing_io_cannot_be_promoted() {
    for why in ["quorum", "no-data", "user", "fencing", "user,quorum"] {
        let suspended = format!("suspended:{why} force");
        assert_eq!(score(&[("suspended:no force", &suspended)]), Remove, "{why}");
    }
    assert_eq!(score(&[("force-io-failures:no", "force-io-failures:yes")]), Remove);
    assert_eq!(score(&[PRIMARY, ("force-io-failures:no", "force-io-failures:yes")]), Remove);
}

#[test]
fn a_primary_that_waits_for_fencing_or_a_person_keeps_its_score() {
    for (why, expected) in
        [("fencing", Keep), ("user", Keep), ("user,fencing", Keep), ("no-data", Remove), ("quorum", Remove)]
    {
        let suspended = format!("suspended:{why} force");
        assert_eq!(score(&[PRIMARY, ("suspended:no force", &suspended)]), expected, "{why}");
    }
}

#[test]
fn no_volume_is_no_score() {
    let mut empty = resource(&[]);
    empty.volumes.clear();
    empty.peers.clear();
    assert_eq!(by_table(&empty, Scores::DEFAULT), Remove);
}

#[test]
fn a_connected_primary_with_good_data_is_in_the_way() {
    let other = ("connection:Connected role:Secondary", "connection:Connected role:Primary");
    assert!(is_taken(&resource(&[other])));
    assert!(!is_taken(&resource(&[])));
    assert!(!is_taken(&resource(&[other, PEER_BAD])), "it may be the one that has to be replaced");
    assert!(!is_taken(&resource(&[other, PRIMARY])), "two primaries are allowed here");
}

#[test]
fn drbd_s_own_score_counts_while_it_may_promote_or_another_primary_is_the_only_obstacle() {
    let own = |replaced: &[(&str, &str)]| by_drbd(&resource(replaced));
    assert_eq!(own(&[]), Some(Set(10_202)));
    assert_eq!(own(&[("may_promote:yes", "may_promote:no")]), Some(Remove));
    let taken = ("connection:Connected role:Secondary", "connection:Connected role:Primary");
    assert_eq!(own(&[("may_promote:yes", "may_promote:no"), taken]), Some(Set(10_202)));
    assert_eq!(own(&[("may_promote:yes", "may_promote:no"), PRIMARY]), Some(Set(10_202)));
    assert_eq!(own(&[("promotion_score:10202", "promotion_score:0")]), Some(Remove));
    assert_eq!(own(&[("quorum:yes", "quorum:no")]), Some(Remove));
    assert_eq!(own(&[(" may_promote:yes promotion_score:10202", "")]), None, "8.4 has none");
}

#[test]
fn four_numbers_in_order_are_scores_and_nothing_else_is() {
    let old = Scores { consistent: 5, remote: 10, local: 1000, best: 10_000 };
    assert_eq!(Scores::parse("5 10 1000 10000"), Some(old));
    assert_eq!(Scores::parse(" 0\t10 1000  10000 "), Some(Scores::DEFAULT));
    for bad in ["", "1 2 3", "1 2 3 4 5", "4 3 2 1", "-1 2 3 4", "1 2 3 x", "1,2,3,4", "INFINITY 1 2 3"] {
        assert_eq!(Scores::parse(bad), None, "{bad}");
    }
}

#[test]
fn volumes_of_8_4_with_states_of_their_own_count_together() {
    let text = b"version: 8.4.11 (api:1/proto:86-101)\n\
        \x200: cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:0\n\
        \x201: cs:SyncTarget ro:Secondary/Secondary ds:Inconsistent/UpToDate C r-----\n    ns:0\n";
    let minors = proc::parse(text).unwrap().minors;
    let mut whole = minors[0].resource("r0").unwrap();
    assert_eq!(by_table(&whole, Scores::DEFAULT), Set(10_000));
    whole.join(&minors[1].resource("r0").unwrap());
    assert_eq!((whole.volumes.len(), whole.peers.len(), whole.peers[0].volumes.len()), (2, 1, 2));
    assert_eq!(by_table(&whole, Scores::DEFAULT), Set(10));
}

/// What the table gives to states that were recorded on real DRBD.
#[test]
fn recorded_states_have_these_scores() {
    for (file, expected) in [
        ("8.4.11/02-no-metadata.node2", Remove),
        ("8.4.11/03-wfconnection-inconsistent.node1", Remove),
        ("8.4.11/05-syncsource-primary.node2", Set(10)),
        ("8.4.11/06-connected-primary-secondary.node1", Set(10_000)),
        ("8.4.11/07-connected-secondary-secondary.node2", Set(10_000)),
        ("8.4.11/09-standalone-and-wfconnection.node1", Set(1000)),
        ("8.4.11/09-standalone-and-wfconnection.node2", Set(10_000)),
        ("8.4.11/14-diskless-secondary.node1", Set(10)),
        ("9.2.18/04-connected-inconsistent-both.node1", Remove),
        ("9.2.18/09-standalone-and-connecting.node1", Remove),
        ("9.2.18/12-split-brain-standalone.node1", Set(1000)),
        ("9.2.18/14-diskless-secondary.node1", Set(10)),
        ("9.2.18/15b-diskless-primary-peer-gone.node2", Remove),
        ("9.2.18/18-inconsistent-peer-gone.node1", Remove),
        ("9.2.18/41-multivolume-v1-diskless-secondary.node1", Set(10)),
        ("9.2.18/44-multivolume-v1-synctarget.node1", Set(10)),
        ("9.2.18/50-quorum-3node-ok.node1", Set(10_000)),
        ("9.2.18/50-quorum-3node-ok.node3", Set(9999)),
        ("9.2.18/51-quorum-primary.node1", Set(10_000)),
        ("9.2.18/52-quorum-lost-suspended-primary.node1", Remove),
        ("9.2.18/52-quorum-others.node2", Set(1000)),
        ("9.2.18/52-quorum-others.node3", Set(999)),
        ("9.2.18/55-quorum-lost-io-error-primary.node1", Remove),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drbd");
        let text = std::fs::read_to_string(path.join(format!("{file}.txt"))).unwrap();
        let list = text.split("$ drbdsetup events2 --now").nth(1).unwrap().split_once('\n').unwrap().1;
        let list = list.split("--- exit=").next().unwrap();
        let resource = events::parse(list.as_bytes()).unwrap().remove(0);
        assert_eq!(by_table(&resource, Scores::DEFAULT), expected, "{file}");
    }
}
