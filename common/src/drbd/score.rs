//! How much a node should be promoted: a decision on plain values, for the promotable clone.

use crate::cluster::promotion::Score;
use crate::state::drbd::{Connection, Disk, Peer, Resource, Role};

/// The scores of the four cases in which an instance can be promoted, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scores {
    /// The local copy is whole, but nobody knows whether it is of the past.
    pub consistent: u32,
    /// Only a peer has good data.
    pub remote: u32,
    /// The local copy is good; what the peers have is not known.
    pub local: u32,
    /// The local copy is good, and so is what is known of the peers.
    pub best: u32,
}

impl Scores {
    /// What is given to four cases if nobody says anything else.
    pub const DEFAULT: Self = Self { consistent: 0, remote: 10, local: 1000, best: 10_000 };

    /// Reads four whole numbers of which none is less than the one before it.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<u32> =
            text.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let &[consistent, remote, local, best] = numbers.as_slice() else { return None };
        numbers.is_sorted().then_some(Self { consistent, remote, local, best })
    }
}

/// A score and, for people, the row of the table that gave it.
pub type Reasoned = (Score, &'static str);

/// The table of the promotable clone, from its first row to the last.
pub fn by_table(resource: &Resource, scores: Scores) -> Reasoned {
    if let Some(reasoned) = unusable(resource) {
        return reasoned;
    }
    let good = |peer: &&Peer| is_good(peer, resource);
    let (primary, volumes) = (resource.role == Role::Primary, &resource.volumes);
    if !volumes.is_empty() && volumes.iter().all(|volume| volume.client) {
        // A peer that has no disk either is no copy that could be missed.
        let with_disk = resource.peers.iter().filter(|peer| !is_client(peer));
        let count = with_disk.clone().count();
        return match with_disk.filter(good).count() {
            0 => (Score::Remove, "no disk is meant to be here, and no connected peer has good data"),
            found if primary || found == count => (
                Score::of(scores.best.saturating_sub(1)),
                "no disk is meant to be here, and the peers are good",
            ),
            _ => (
                Score::of(scores.local.saturating_sub(1)),
                "no disk is meant to be here, and not all peers are good",
            ),
        };
    }
    let every =
        |wanted: &[Disk]| !volumes.is_empty() && volumes.iter().all(|volume| wanted.contains(&volume.disk));
    if every(&[Disk::UpToDate]) {
        let mut copies = resource.peers.iter().flat_map(|peer| &peer.volumes);
        let known = !resource.peers.is_empty() && copies.all(|copy| copy.disk != Disk::DUnknown);
        return match (primary, known) {
            (true, _) => (Score::of(scores.best), "the data here is UpToDate, and Primary"),
            (_, true) => (Score::of(scores.best), "the data here is UpToDate, and that of all peers known"),
            _ => (Score::of(scores.local), "the data here is UpToDate, and that of a peer unknown"),
        };
    }
    if resource.peers.iter().any(|peer| good(&peer)) {
        return (Score::of(scores.remote), "only a connected peer has UpToDate data");
    }
    if volumes.iter().any(|volume| matches!(volume.disk, Disk::Attaching | Disk::Negotiating)) {
        return (Score::Keep, "a disk is being attached");
    }
    if every(&[Disk::UpToDate, Disk::Consistent]) {
        return (Score::of(scores.consistent), "the data here is Consistent, but perhaps of the past");
    }
    (Score::Remove, "no good data is here or on a connected peer")
}

/// DRBD's own opinion (9); none if this version has none.
pub fn by_drbd(resource: &Resource) -> Option<Reasoned> {
    let (own, may) = (resource.promotion_score?, resource.may_promote?);
    // Another Primary is no lasting obstacle: the score decides who comes after it.
    let waits = resource.peers.iter().any(|peer| peer.role == Role::Primary);
    let able = may || waits || resource.role == Role::Primary;
    let asked = if able {
        (Score::of(own), "so DRBD itself says")
    } else {
        (Score::Remove, "DRBD itself says that it may not be promoted")
    };
    Some(unusable(resource).unwrap_or(asked))
}

/// A resource on which nothing could be done as Primary, whatever its data.
fn unusable(resource: &Resource) -> Option<Reasoned> {
    if resource.io_fails {
        return Some((Score::Remove, "its I/O fails"));
    }
    if resource.volumes.iter().any(|volume| volume.quorum == Some(false)) {
        return Some((Score::Remove, "it has no quorum"));
    }
    let why = resource.suspended.as_deref()?;
    // A Primary is held up while its peer is fenced, or by a person. To move it then would undo what they do.
    let passes = why.split(',').all(|why| matches!(why, "fencing" | "user" | "yes"));
    Some(if passes && resource.role == Role::Primary {
        (Score::Keep, "its I/O waits for fencing or a person")
    } else {
        (Score::Remove, "its I/O is suspended")
    })
}

/// True if another node that is connected is Primary although this one is not, and has good data: whoever were promoted
/// now would be refused.
pub fn is_taken(resource: &Resource) -> bool {
    let taken = |peer: &Peer| peer.connection == Connection::Connected && peer.role == Role::Primary;
    resource.role != Role::Primary
        && resource.peers.iter().any(taken)
        && resource.peers.iter().any(|peer| is_good(peer, resource))
}

fn is_good(peer: &Peer, resource: &Resource) -> bool {
    peer.connection == Connection::Connected
        && resource.volumes.iter().all(|own| {
            peer.volumes.iter().any(|copy| copy.number == own.number && copy.disk == Disk::UpToDate)
        })
}

fn is_client(peer: &Peer) -> bool {
    !peer.volumes.is_empty() && peer.volumes.iter().all(|copy| copy.client)
}

#[cfg(test)]
mod tests;
