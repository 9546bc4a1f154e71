//! /proc/drbd of DRBD 0.7 to 8.4: a line for each device, under a header with the version.

use super::{
    Connection, Disk, Garbled, Peer, PeerVolume, Replication, Resource, Role, Volume, number, whole,
};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proc {
    /// Major version of the module: 0 for 0.7.
    pub major: u32,
    /// The devices. Since 9 there are none: their state must be asked for elsewhere.
    pub minors: Vec<Minor>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minor {
    /// Number of the device /dev/drbdN.
    pub minor: u32,
    /// Its state; none if the device exists but is not in use.
    pub state: Option<Pair>,
}

/// The state of a device that has one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// How far the connection is.
    pub connection: Connection,
    /// What goes over it.
    pub replication: Replication,
    /// Role of this node.
    pub role: Role,
    /// Role of the peer.
    pub peer_role: Role,
    /// This node's copy.
    pub disk: Disk,
    /// The peer's copy.
    pub peer_disk: Disk,
    /// Input and output are held up.
    pub suspended: bool,
}

impl Proc {
    /// The device with that number.
    pub fn minor(&self, minor: u32) -> Option<&Minor> {
        self.minors.iter().find(|found| found.minor == minor)
    }
}

impl Minor {
    /// The device as a resource of one volume; none if it is not in use. This file knows no names, so it gets `name`.
    pub fn resource(&self, name: &str) -> Option<Resource> {
        let pair = self.state.as_ref()?;
        let peer_volume = PeerVolume {
            number: 0,
            replication: pair.replication,
            disk: pair.peer_disk,
            client: false,
            resync_suspended: false,
        };
        Some(Resource {
            name: name.to_string(),
            role: pair.role,
            suspended: pair.suspended.then(|| "yes".to_string()),
            io_fails: false,
            may_promote: None,
            promotion_score: None,
            volumes: vec![Volume {
                number: 0,
                minor: self.minor,
                disk: pair.disk,
                client: false,
                quorum: None,
                backing: None,
                open: None,
            }],
            peers: vec![Peer {
                node_id: 0,
                name: None,
                connection: pair.connection,
                role: pair.peer_role,
                volumes: vec![peer_volume],
            }],
        })
    }
}

/// The version of the module, which every version of the file begins with.
pub fn version(text: &[u8]) -> Result<String, Garbled> {
    let header = whole(text)?.lines().next().unwrap_or_default();
    let version = header.strip_prefix("version: ").ok_or_else(|| Garbled::new("there is no version line"))?;
    // "(api:..." must have been read too: "version: 8" might be the beginning of 80.
    let (version, _) = version.split_once(" (api:").ok_or_else(|| Garbled::new("the version is cut off"))?;
    Ok(version.to_string())
}

/// Reads the file.
pub fn parse(text: &[u8]) -> Result<Proc, Garbled> {
    let mut lines = whole(text)?.lines().skip(1).peekable();
    let major = number("version", version(text)?.as_str().split('.').next().unwrap_or_default())?;
    let mut minors: Vec<Minor> = Vec::new();
    while let Some(line) = lines.next() {
        let Some((index, rest)) = line.trim_start().split_once(": cs:") else {
            continue;
        };
        let minor = number("device number", index)?;
        if minors.iter().any(|seen| seen.minor == minor) {
            return Err(Garbled::new(format_args!("device {minor} is there twice")));
        }
        let state = if rest.trim_end() == "Unconfigured" { None } else { Some(pair(rest)?) };
        if state.is_some() && !lines.peek().is_some_and(|next| next.trim_start().starts_with("ns:")) {
            return Err(Garbled::new(format_args!("the lines of device {minor} are cut off")));
        }
        minors.push(Minor { minor, state });
    }
    Ok(Proc { major, minors })
}

/// `Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----`, with `st:` for `ro:` before 8.3 and `ld:Consistent`
/// for `ds:` before 8.0. A StandAlone device has blanks in place of the protocol letter.
fn pair(rest: &str) -> Result<Pair, Garbled> {
    let mut words = rest.split_ascii_whitespace();
    let (connection, replication) = connection(words.next().unwrap_or_default())?;
    let (mut roles, mut disks, mut flags) = (None, None, None);
    for word in words {
        if let Some(value) = word.strip_prefix("ro:").or_else(|| word.strip_prefix("st:")) {
            let (own, peer) = value.split_once('/').ok_or_else(|| Garbled::word("pair of roles", value))?;
            roles = Some((Role::parse(own)?, Role::parse(peer)?));
        } else if let Some(value) = word.strip_prefix("ds:") {
            let (own, peer) = value.split_once('/').ok_or_else(|| Garbled::word("pair of disks", value))?;
            disks = Some((Disk::parse(own)?, Disk::parse(peer)?));
        } else if let Some(value) = word.strip_prefix("ld:") {
            // 0.7 knows the local copy alone, has no flags, and calls a good one Consistent.
            disks = Some((Disk::parse(value)?, Disk::DUnknown));
            flags = Some("r---");
        } else if word.len() >= 4 && (word.starts_with('r') || word.starts_with('s')) {
            flags = Some(word);
        } else if !matches!(word, "A" | "B" | "C") {
            return Err(Garbled::word("part of a device's line", word));
        }
    }
    let (Some((role, peer_role)), Some((disk, peer_disk)), Some(flags)) = (roles, disks, flags) else {
        return Err(Garbled::new("a device's line is cut off"));
    };
    let suspended = flags.starts_with('s');
    Ok(Pair { connection, replication, role, peer_role, disk, peer_disk, suspended })
}

/// Up to 8.4, one word says both how far the connection is and what goes over it.
pub(super) fn connection(word: &str) -> Result<(Connection, Replication), Garbled> {
    match Connection::parse(word) {
        Ok(Connection::Connected) => Ok((Connection::Connected, Replication::Established)),
        Ok(connection) => Ok((connection, Replication::Off)),
        Err(error) => match Replication::parse(word) {
            Ok(Replication::Off | Replication::Established) | Err(_) => Err(error),
            Ok(replication) => Ok((Connection::Connected, replication)),
        },
    }
}
