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

/// The table of the promotable clone, from its first row to the last.
pub fn by_table(resource: &Resource, scores: Scores) -> Score {
    if let Some(score) = unusable(resource) {
        return score;
    }
    let good = |peer: &&Peer| is_good(peer, resource);
    let (primary, volumes) = (resource.role == Role::Primary, &resource.volumes);
    if !volumes.is_empty() && volumes.iter().all(|volume| volume.client) {
        // A peer that has no disk either is no copy that could be missed.
        let with_disk = resource.peers.iter().filter(|peer| !is_client(peer));
        let count = with_disk.clone().count();
        return match with_disk.filter(good).count() {
            0 => Score::Remove,
            found if primary || found == count => Score::of(scores.best.saturating_sub(1)),
            _ => Score::of(scores.local.saturating_sub(1)),
        };
    }
    let every =
        |wanted: &[Disk]| !volumes.is_empty() && volumes.iter().all(|volume| wanted.contains(&volume.disk));
    if every(&[Disk::UpToDate]) {
        let mut copies = resource.peers.iter().flat_map(|peer| &peer.volumes);
        let known = !resource.peers.is_empty() && copies.all(|copy| copy.disk != Disk::DUnknown);
        return Score::of(if primary || known { scores.best } else { scores.local });
    }
    if resource.peers.iter().any(|peer| good(&peer)) {
        return Score::of(scores.remote);
    }
    if volumes.iter().any(|volume| matches!(volume.disk, Disk::Attaching | Disk::Negotiating)) {
        return Score::Keep;
    }
    if every(&[Disk::UpToDate, Disk::Consistent]) { Score::of(scores.consistent) } else { Score::Remove }
}

/// DRBD's own opinion (9); none if this version has none.
pub fn by_drbd(resource: &Resource) -> Option<Score> {
    let (own, may) = (resource.promotion_score?, resource.may_promote?);
    // Another Primary is no lasting obstacle: the score decides who comes after it.
    let waits = resource.peers.iter().any(|peer| peer.role == Role::Primary);
    let able = may || waits || resource.role == Role::Primary;
    Some(unusable(resource).unwrap_or(if able { Score::of(own) } else { Score::Remove }))
}

/// A resource on which nothing could be done as Primary, whatever its data.
fn unusable(resource: &Resource) -> Option<Score> {
    if resource.io_fails || resource.volumes.iter().any(|volume| volume.quorum == Some(false)) {
        return Some(Score::Remove);
    }
    let why = resource.suspended.as_deref()?;
    // A Primary is held up while its peer is fenced, or by a person. To move it then would undo what they do.
    let passes = why.split(',').all(|why| matches!(why, "fencing" | "user" | "yes"));
    Some(if passes && resource.role == Role::Primary { Score::Keep } else { Score::Remove })
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
