//! What `drbdadm role`, `cstate` and `dstate` print, with `state` as the old name of `role`.

use super::{Connection, Disk, Garbled, Replication, Role, proc, whole};

/// What `drbdadm role` says of one volume, or since 9 of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleAnswer {
    /// The device exists but is not in use (up to 8.4).
    Unconfigured,
    /// The role of this node.
    Role(Role),
}

/// Reads `Primary/Secondary` (up to 8.4, a line for each volume), `Primary` (9) or `Unconfigured`.
pub fn roles(text: &[u8]) -> Result<Vec<RoleAnswer>, Garbled> {
    lines(text, |line| {
        if line == "Unconfigured" {
            return Ok(RoleAnswer::Unconfigured);
        }
        let (own, peer) = line.split_once('/').unwrap_or((line, "Unknown"));
        Role::parse(peer)?;
        Ok(RoleAnswer::Role(Role::parse(own)?))
    })
}

/// Reads the answer of `drbdadm cstate`: a line for each connection (9) or volume (up to 8.4). None: not in use.
pub fn connections(text: &[u8]) -> Result<Vec<Option<(Connection, Replication)>>, Garbled> {
    lines(text, |line| if line == "Unconfigured" { Ok(None) } else { proc::connection(line).map(Some) })
}

/// Reads the answer of `drbdadm dstate`: for each volume this node's copy and then those of the peers, which are not
/// in any known order. An empty line of copies: not in use.
pub fn disks(text: &[u8]) -> Result<Vec<Vec<Disk>>, Garbled> {
    lines(text, |line| {
        if line == "Unconfigured" { Ok(Vec::new()) } else { line.split('/').map(Disk::parse).collect() }
    })
}

fn lines<T>(text: &[u8], read: impl Fn(&str) -> Result<T, Garbled>) -> Result<Vec<T>, Garbled> {
    let found = whole(text)?.lines().map(|line| read(line.trim_end())).collect::<Result<Vec<T>, _>>()?;
    if found.is_empty() { Err(Garbled::new("there is no answer")) } else { Ok(found) }
}
