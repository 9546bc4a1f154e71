//! What the state of a resource means for a simple disk: a decision on plain values.

use crate::state::drbd::answers::RoleAnswer;
use crate::state::drbd::{Connection, Disk, Resource, Role};

/// The state of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The resource is not up on this node.
    Unconfigured,
    /// This node may not use it.
    Secondary,
    /// This node may use it; and why somebody should look, if so.
    Primary(Option<String>),
    /// Of several resources, or up to 8.4 of several volumes, some are Primary and some are not.
    Mixed,
}

impl Verdict {
    /// The word of the old script's status line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unconfigured => "Unconfigured",
            Self::Secondary => "Secondary",
            Self::Primary(_) | Self::Mixed => "Primary",
        }
    }
}

impl Verdict {
    /// The whole of it, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Unconfigured => "not up".into(),
            Self::Secondary => "up and Secondary".into(),
            Self::Primary(None) => "Primary".into(),
            Self::Primary(Some(trouble)) => format!("Primary, but {trouble}"),
            Self::Mixed => "Primary in some of its parts and not in others".into(),
        }
    }
}

/// Decides for one resource, from its parts that are up: since 9 there is one part, before one for each volume. The
/// error says what cannot be told.
pub fn of_parts(parts: &[Resource]) -> Result<Verdict, String> {
    if parts.is_empty() {
        return Ok(Verdict::Unconfigured);
    }
    match parts.iter().filter(|part| part.role == Role::Primary).count() {
        0 => {}
        found if found == parts.len() => return Ok(Verdict::Primary(parts.iter().find_map(trouble))),
        // Running, for a stop; but a start has to go on, as a volume cannot be used.
        _ => return Ok(Verdict::Mixed),
    }
    match parts.iter().find(|part| part.role == Role::Unknown) {
        Some(part) => Err(format!("DRBD does not know this node's role in {}", part.name)),
        None => Ok(Verdict::Secondary),
    }
}

/// Decides from the answer of `drbdadm role`, which knows nothing but roles.
pub fn of_roles(answers: &[RoleAnswer]) -> Result<Verdict, String> {
    if answers.contains(&RoleAnswer::Role(Role::Primary)) {
        let all = answers.iter().all(|answer| *answer == RoleAnswer::Role(Role::Primary));
        return Ok(if all { Verdict::Primary(None) } else { Verdict::Mixed });
    }
    if answers.contains(&RoleAnswer::Role(Role::Unknown)) {
        return Err("drbdadm does not know this node's role".into());
    }
    if answers.contains(&RoleAnswer::Role(Role::Secondary)) {
        return Ok(Verdict::Secondary);
    }
    Ok(Verdict::Unconfigured)
}

/// Decides for several resources together.
pub fn of_several(verdicts: &[Verdict]) -> Verdict {
    let primary = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Primary(_))).count();
    if verdicts.contains(&Verdict::Mixed) {
        return Verdict::Mixed;
    }
    if primary == 0 {
        let up = verdicts.contains(&Verdict::Secondary);
        return if up { Verdict::Secondary } else { Verdict::Unconfigured };
    }
    if primary < verdicts.len() {
        return Verdict::Mixed;
    }
    Verdict::Primary(verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Primary(why) => why.clone(),
        _ => None,
    }))
}

/// Why somebody should look at a resource that is up, and what to do: the worst first.
pub fn trouble(resource: &Resource) -> Option<String> {
    let name = &resource.name;
    if let Some(why) = &resource.suspended {
        let remedy = match why.as_str() {
            "user" => format!("drbdadm resume-io {name}"),
            "fencing" => "its peer has to be fenced".into(),
            // Up to 8.4 the kernel does not say why.
            "yes" => {
                return Some(format!(
                    "I/O of {name} is suspended: bring its peers back, or drbdadm resume-io {name}"
                ));
            }
            _ => "bring its peers back".into(),
        };
        return Some(format!("I/O of {name} is suspended ({why}): {remedy}"));
    }
    if resource.io_fails {
        return Some(format!("I/O of {name} fails until all its users have closed it"));
    }
    if resource.volumes.iter().any(|volume| volume.quorum == Some(false)) {
        return Some(format!("{name} has no quorum: bring its peers back"));
    }
    let syncs = resource.peers.iter().flat_map(|peer| &peer.volumes);
    let target = syncs.clone().any(|volume| volume.replication.is_target());
    for volume in resource.volumes.iter().filter(|volume| !volume.client) {
        match volume.disk {
            // 0.7 calls a good copy Consistent.
            Disk::UpToDate | Disk::Consistent => {}
            Disk::Inconsistent if target => {}
            bad => {
                let (minor, remedy) = (volume.minor, remedy(bad));
                let bad = bad.word();
                return Some(format!(
                    "the local copy of {name} (drbd{minor}) is {bad}: {remedy} drbdadm adjust {name}"
                ));
            }
        }
    }
    let peer = |wanted: fn(Connection) -> bool| {
        let found = resource.peers.iter().find(|peer| wanted(peer.connection))?;
        Some((found.name.clone().unwrap_or_else(|| "its peer".into()), found.connection.word()))
    };
    if let Some((peer, _)) = peer(|connection| connection == Connection::StandAlone) {
        return Some(format!(
            "{name} is StandAlone from {peer}: after a split brain choose whose data to give up, then drbdadm connect"
        ));
    }
    if let Some((peer, word)) = peer(|connection| connection != Connection::Connected) {
        let alone = resource.role == Role::Primary
            && resource.peers.iter().all(|peer| peer.connection != Connection::Connected);
        let alone = if alone { ", this is the only copy in use" } else { "" };
        return Some(format!("{name} has lost {peer} ({word}): bring it back{alone}"));
    }
    if target {
        return Some(format!("{name} is being brought up to date by its peer: wait until it has ended"));
    }
    if syncs.clone().any(|volume| volume.replication.is_source()) {
        return Some(format!("a peer of {name} is being brought up to date: wait until it has ended"));
    }
    let bad = syncs.filter(|volume| !volume.client).find(|volume| {
        // A peer that says nothing of its copy (0.7) is no reason to worry.
        !matches!(volume.disk, Disk::UpToDate | Disk::Consistent | Disk::DUnknown)
    })?;
    Some(format!(
        "the peer's copy of {name} is {}: there, {} drbdadm adjust {name}",
        bad.disk.word(),
        remedy(bad.disk)
    ))
}

/// What makes a copy good again.
fn remedy(bad: Disk) -> &'static str {
    match bad {
        Disk::Diskless | Disk::Failed | Disk::Detaching => "repair its disk, then",
        Disk::Attaching | Disk::Negotiating => "if it stays so,",
        _ => "connect it to a good copy,",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::drbd::{events, proc};

    /// A resource of 9 with these words in place of the good ones.
    fn resource(replaced: &[(&str, &str)]) -> Resource {
        let mut text = "exists resource name:r0 role:Primary suspended:no force-io-failures:no\n\
            exists connection name:r0 peer-node-id:1 conn-name:node2 connection:Connected role:Secondary\n\
            exists device name:r0 volume:0 minor:0 disk:UpToDate client:no quorum:yes\n\
            exists peer-device name:r0 peer-node-id:1 volume:0 replication:Established peer-disk:UpToDate \
            peer-client:no resync-suspended:no\nexists -\n"
            .to_string();
        for (from, to) in replaced {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        events::parse(text.as_bytes()).unwrap().remove(0)
    }

    fn verdict(replaced: &[(&str, &str)]) -> Result<Verdict, String> {
        of_parts(&[resource(replaced)])
    }

    #[track_caller]
    fn degraded(replaced: &[(&str, &str)], named: &str) {
        match verdict(replaced) {
            Ok(Verdict::Primary(Some(why))) => {
                assert!(why.contains(named) && why.contains("r0"), "{why}");
                assert!(why.len() <= 128, "{} bytes: {why}", why.len());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn primary_and_all_well_is_primary() {
        assert_eq!(verdict(&[]), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn two_primaries_are_well() {
        assert_eq!(verdict(&[("role:Secondary", "role:Primary")]), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn secondary_is_secondary_whatever_else_is_wrong() {
        for broken in [("disk:UpToDate client", "disk:Diskless client"), ("Connected", "StandAlone")] {
            assert_eq!(verdict(&[("role:Primary", "role:Secondary"), broken]), Ok(Verdict::Secondary));
        }
    }

    #[test]
    fn an_unknown_role_is_an_error_and_never_secondary() {
        assert!(verdict(&[("role:Primary", "role:Unknown")]).is_err());
        let (known, unknown) =
            (resource(&[("role:Primary", "role:Secondary")]), resource(&[("role:Primary", "role:Unknown")]));
        assert!(of_parts(&[known, unknown]).is_err());
    }

    #[test]
    fn not_up_is_unconfigured() {
        assert_eq!(of_parts(&[]), Ok(Verdict::Unconfigured));
    }

    #[test]
    fn one_primary_volume_of_several_is_neither_stopped_nor_all_that_a_start_has_to_do() {
        let secondary = resource(&[("role:Primary", "role:Secondary")]);
        let unknown = resource(&[("role:Primary", "role:Unknown")]);
        assert_eq!(of_parts(&[secondary, resource(&[])]), Ok(Verdict::Mixed));
        assert_eq!(of_parts(&[unknown, resource(&[])]), Ok(Verdict::Mixed));
        assert_eq!(of_parts(&[resource(&[]), resource(&[])]), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn suspended_io_is_degraded() {
        degraded(
            &[("suspended:no\n", "suspended:quorum\n"), ("suspended:no ", "suspended:quorum ")],
            "suspended (quorum)",
        );
    }

    #[test]
    fn the_remedy_for_suspended_io_is_one_for_its_cause() {
        for (why, remedy) in [
            ("user", "drbdadm resume-io r0"),
            ("fencing", "has to be fenced"),
            ("quorum", "bring its peers back"),
            ("no-data", "bring its peers back"),
            ("user,quorum", "bring its peers back"),
            ("yes", "bring its peers back, or drbdadm resume-io r0"),
        ] {
            degraded(&[("role:Primary suspended:no", &format!("role:Primary suspended:{why}"))], remedy);
        }
    }

    #[test]
    fn failing_io_is_degraded() {
        degraded(&[("failures:no", "failures:yes")], "fails");
    }

    #[test]
    fn a_lost_quorum_is_degraded() {
        degraded(&[("quorum:yes", "quorum:no")], "quorum");
    }

    #[test]
    fn a_local_copy_that_is_not_good_is_degraded() {
        for bad in ["Diskless", "Failed", "Detaching", "Attaching", "Negotiating", "Inconsistent", "Outdated"]
        {
            degraded(&[("disk:UpToDate client", &format!("disk:{bad} client"))], bad);
        }
    }

    #[test]
    fn the_remedy_is_one_for_that_copy() {
        for (bad, remedy) in [("Diskless", "repair its disk"), ("Outdated", "connect it to a good copy")] {
            degraded(&[("disk:UpToDate client", &format!("disk:{bad} client"))], remedy);
            degraded(&[("peer-disk:UpToDate", &format!("peer-disk:{bad}"))], remedy);
        }
    }

    #[test]
    fn a_diskless_client_is_meant_to_be_one() {
        let client = [("disk:UpToDate client:no quorum", "disk:Diskless client:yes quorum")];
        assert_eq!(verdict(&client), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn stand_alone_is_degraded_and_nothing_is_given_up_by_itself() {
        degraded(&[("connection:Connected", "connection:StandAlone")], "StandAlone from node2");
    }

    #[test]
    fn a_lost_peer_is_degraded() {
        for lost in ["Connecting", "Unconnected", "NetworkFailure", "Timeout", "BrokenPipe", "TearDown"] {
            degraded(&[("connection:Connected", &format!("connection:{lost}"))], "lost node2");
        }
    }

    #[test]
    fn a_lost_peer_leaves_the_only_copy_if_no_other_is_connected() {
        let gone = [("connection:Connected", "connection:Connecting")];
        degraded(&gone, "only copy");
        let mut three = resource(&gone);
        let mut other = resource(&[]).peers.remove(0);
        other.node_id = 2;
        three.peers.push(other);
        let why = trouble(&three).unwrap();
        assert!(why.contains("has lost node2") && !why.contains("only copy"), "{why}");
    }

    #[test]
    fn a_resynchronisation_is_degraded_in_both_directions() {
        for word in ["StartingSyncT", "WFBitMapT", "WFSyncUUID", "PausedSyncT"] {
            degraded(
                &[("Established", word), ("disk:UpToDate client", "disk:Inconsistent client")],
                "by its peer",
            );
        }
        degraded(
            &[("Established", "SyncTarget"), ("disk:UpToDate client", "disk:Inconsistent client")],
            "by its peer",
        );
        degraded(&[("Established peer-disk:UpToDate", "SyncSource peer-disk:Inconsistent")], "a peer of r0");
    }

    #[test]
    fn a_bad_copy_of_a_connected_peer_is_degraded() {
        degraded(&[("peer-disk:UpToDate", "peer-disk:Diskless")], "the peer's copy of r0 is Diskless");
        let client = [("peer-disk:UpToDate peer-client:no", "peer-disk:Diskless peer-client:yes")];
        assert_eq!(verdict(&client), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn drbd_0_7_connected_and_consistent_is_well() {
        let text = b"version: 0.7.24 (api:79/proto:74)\n 0: cs:Connected st:Primary/Secondary ld:Consistent\n    ns:4\n";
        let proc = proc::parse(text).unwrap();
        let parts: Vec<Resource> = proc.minors.iter().filter_map(|minor| minor.resource("r0")).collect();
        assert_eq!(of_parts(&parts), Ok(Verdict::Primary(None)));
    }

    #[test]
    fn the_answers_of_drbdadm_role() {
        use RoleAnswer::{Role as Is, Unconfigured};
        assert_eq!(of_roles(&[Is(Role::Primary)]), Ok(Verdict::Primary(None)));
        assert_eq!(of_roles(&[Is(Role::Primary), Is(Role::Primary)]), Ok(Verdict::Primary(None)));
        assert_eq!(of_roles(&[Is(Role::Secondary), Is(Role::Primary)]), Ok(Verdict::Mixed));
        assert_eq!(of_roles(&[Unconfigured, Is(Role::Primary)]), Ok(Verdict::Mixed));
        assert_eq!(of_roles(&[Is(Role::Secondary), Unconfigured]), Ok(Verdict::Secondary));
        assert_eq!(of_roles(&[Unconfigured]), Ok(Verdict::Unconfigured));
        assert!(of_roles(&[Is(Role::Unknown)]).is_err());
    }

    #[test]
    fn several_resources_are_primary_only_together() {
        let primary = || Verdict::Primary(None);
        assert_eq!(of_several(&[]), Verdict::Unconfigured);
        assert_eq!(of_several(&[Verdict::Unconfigured]), Verdict::Unconfigured);
        assert_eq!(of_several(&[Verdict::Secondary, Verdict::Unconfigured]), Verdict::Secondary);
        assert_eq!(of_several(&[primary(), Verdict::Secondary]), Verdict::Mixed);
        assert_eq!(of_several(&[Verdict::Mixed, Verdict::Secondary]), Verdict::Mixed);
        assert_eq!(
            of_several(&[primary(), Verdict::Primary(Some("x".into()))]),
            Verdict::Primary(Some("x".into()))
        );
    }
}
