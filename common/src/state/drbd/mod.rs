//! What DRBD 0.7, 8.0 to 8.4 and 9 say of their resources, in one set of types.
//!
//! [`proc`] reads /proc/drbd, which holds everything up to 8.4 and only a version since 9. [`events`] reads
//! `drbdsetup events2 --now`, which 8.4 and 9 speak alike, [`json`] reads `drbdsetup status
//! --json`, which only 9 has. [`answers`] reads what `drbdadm role`, `cstate` and `dstate` print. Text that is cut off or not understood is an error and never a smaller state.

pub mod answers;
pub mod events;
pub mod json;
pub mod proc;

use std::fmt;

/// Why a text is no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled(String);

impl Garbled {
    fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }

    fn word(kind: &str, word: &str) -> Self {
        let shown: String = word.chars().take(30).collect();
        Self(format!("'{}' is no {kind}", crate::printable(shown.as_bytes())))
    }
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Garbled {}

/// Makes an enum of the words that DRBD uses, with both directions of the translation.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal; $($(#[$variant_doc:meta])* $variant:ident $word:literal $(| $old:literal)*,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// The word of the newest version.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The meaning of a word of any version.
            pub fn parse(word: &str) -> Result<Self, Garbled> {
                match word {
                    $($word $(| $old)* => Ok(Self::$variant),)*
                    _ => Err(Garbled::word($kind, word)),
                }
            }
        }
    };
}

words! {
    /// What a node may do with a resource.
    Role, "role";
    /// The node may use the device.
    Primary "Primary",
    /// The node keeps a copy and nothing else.
    Secondary "Secondary",
    /// Nobody can tell: only ever said of a peer.
    Unknown "Unknown",
}

words! {
    /// How far the connection to a peer is.
    Connection, "connection state";
    /// Given up: split brain, or an administrator's wish.
    StandAlone "StandAlone",
    /// On the way to StandAlone.
    Disconnecting "Disconnecting",
    /// About to try.
    Unconnected "Unconnected",
    /// No answer in time.
    Timeout "Timeout",
    /// The connection broke.
    BrokenPipe "BrokenPipe",
    /// The connection broke.
    NetworkFailure "NetworkFailure",
    /// The peer was not understood.
    ProtocolError "ProtocolError",
    /// The peer closes the connection.
    TearDown "TearDown",
    /// Waiting for the peer to be seen.
    Connecting "Connecting" | "WFConnection",
    /// The first packet is awaited.
    WfReportParams "WFReportParams",
    /// Established.
    Connected "Connected",
}

words! {
    /// What goes over the connection, for one volume.
    Replication, "replication state";
    /// Nothing, for there is no connection.
    Off "Off",
    /// Writes are mirrored as they come.
    Established "Established",
    /// A full resynchronisation begins, from here.
    StartingSyncS "StartingSyncS",
    /// A full resynchronisation begins, to here.
    StartingSyncT "StartingSyncT",
    /// A partial resynchronisation begins, from here.
    WfBitMapS "WFBitMapS",
    /// A partial resynchronisation begins, to here.
    WfBitMapT "WFBitMapT",
    /// A resynchronisation is about to begin, to here.
    WfSyncUuid "WFSyncUUID",
    /// The peer is brought up to date from here.
    SyncSource "SyncSource",
    /// This node is brought up to date by the peer.
    SyncTarget "SyncTarget",
    /// As SyncSource, but waiting.
    PausedSyncS "PausedSyncS" | "SkippedSyncS",
    /// As SyncTarget, but waiting.
    PausedSyncT "PausedSyncT" | "SkippedSyncT",
    /// The copies are compared, from here.
    VerifyS "VerifyS",
    /// The copies are compared, by the peer.
    VerifyT "VerifyT",
    /// Congestion: the peer falls behind.
    Ahead "Ahead",
    /// Congestion: this node falls behind.
    Behind "Behind",
}

impl Replication {
    /// True while this node's copy is behind that of the peer.
    pub const fn is_target(self) -> bool {
        matches!(
            self,
            Self::StartingSyncT
                | Self::WfBitMapT
                | Self::WfSyncUuid
                | Self::SyncTarget
                | Self::PausedSyncT
                | Self::Behind
        )
    }

    /// True while the peer's copy is behind that of this node.
    pub const fn is_source(self) -> bool {
        matches!(
            self,
            Self::StartingSyncS | Self::WfBitMapS | Self::SyncSource | Self::PausedSyncS | Self::Ahead
        )
    }
}

words! {
    /// What a copy is worth.
    Disk, "disk state";
    /// There is none.
    Diskless "Diskless",
    /// On the way to be used.
    Attaching "Attaching",
    /// On the way out.
    Detaching "Detaching",
    /// It failed and will be detached.
    Failed "Failed",
    /// Attached; what it is worth depends on the peers.
    Negotiating "Negotiating",
    /// Half of an unfinished resynchronisation.
    Inconsistent "Inconsistent",
    /// Whole, but of the past.
    Outdated "Outdated",
    /// Nobody can tell: only ever said of a peer.
    DUnknown "DUnknown",
    /// Whole; whether it is of the past depends on the peers.
    Consistent "Consistent",
    /// Whole and of the present.
    UpToDate "UpToDate",
}

/// A volume of a resource, as this node has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Number within the resource.
    pub number: u32,
    /// Number of the device /dev/drbdN.
    pub minor: u32,
    /// This node's copy.
    pub disk: Disk,
    /// Without a disk by intention.
    pub client: bool,
    /// Whether enough nodes are together; none if this version does not say.
    pub quorum: Option<bool>,
    /// The block device below; none if there is none, or this version does not say.
    pub backing: Option<String>,
    /// Whether somebody has the device open; none if this version does not say.
    pub open: Option<bool>,
}

/// A volume of a resource, as a peer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerVolume {
    /// Number within the resource.
    pub number: u32,
    /// What goes over the connection.
    pub replication: Replication,
    /// The peer's copy.
    pub disk: Disk,
    /// Without a disk by intention.
    pub client: bool,
    /// Resynchronisation is held back by somebody.
    pub resync_suspended: bool,
}

/// One of the other nodes of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number within the resource.
    pub node_id: u32,
    /// Its name, where this version knows one.
    pub name: Option<String>,
    /// How far the connection to it is.
    pub connection: Connection,
    /// What it does with the resource.
    pub role: Role,
    /// Its copies, by volume number.
    pub volumes: Vec<PeerVolume>,
}

/// A resource that is up on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// What this node may do with it.
    pub role: Role,
    /// Why input and output are held up (`quorum`, `fencing`, ...); none if they are not.
    pub suspended: Option<String>,
    /// Every input and output fails until all openers have gone.
    pub io_fails: bool,
    /// DRBD's own opinion on whether this node may become Primary (9).
    pub may_promote: Option<bool>,
    /// DRBD's own promotion score (9).
    pub promotion_score: Option<u32>,
    /// Its volumes, by number.
    pub volumes: Vec<Volume>,
    /// The other nodes, by number.
    pub peers: Vec<Peer>,
}

impl Resource {
    /// Takes in another volume of the same resource: up to 8.4 each has a role and a connection of its own.
    pub(crate) fn join(&mut self, other: &Self) {
        if other.role == Role::Primary || self.role == Role::Secondary {
            self.role = other.role;
        }
        self.suspended = self.suspended.take().or_else(|| other.suspended.clone());
        self.io_fails |= other.io_fails;
        // Numbers that only tell the volumes apart: the kernel's file does not have their own.
        let next = u32::try_from(self.volumes.len()).unwrap_or(u32::MAX);
        self.volumes.extend(other.volumes.iter().map(|volume| Volume { number: next, ..volume.clone() }));
        for peer in &other.peers {
            let volumes = peer.volumes.iter().map(|volume| PeerVolume { number: next, ..volume.clone() });
            match self.peers.iter_mut().find(|known| known.node_id == peer.node_id) {
                Some(known) => {
                    if peer.role == Role::Primary || known.role == Role::Secondary {
                        known.role = peer.role;
                    }
                    if known.connection == Connection::Connected {
                        known.connection = peer.connection;
                    }
                    known.volumes.extend(volumes);
                }
                None => self.peers.push(Peer { volumes: volumes.collect(), ..peer.clone() }),
            }
        }
    }
}

fn number(kind: &str, text: &str) -> Result<u32, Garbled> {
    // "+1" is a number to Rust and none to DRBD.
    if text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(value) = text.parse()
    {
        return Ok(value);
    }
    Err(Garbled::word(kind, text))
}

/// The text of a tool or file that must end with a whole line.
fn whole(text: &[u8]) -> Result<&str, Garbled> {
    let text = std::str::from_utf8(text).map_err(|_| Garbled::new("the text is not UTF-8"))?;
    if text.ends_with('\n') { Ok(text) } else { Err(Garbled::new("the text is cut off")) }
}

#[cfg(test)]
mod tests;
