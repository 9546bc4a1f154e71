//! `drbdsetup status --json` of DRBD 9. The tools of 8.4 do not know it.

use super::{Connection, Disk, Garbled, Peer, PeerVolume, Replication, Resource, Role, Volume};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonResource {
    name: String,
    role: String,
    suspended: bool,
    #[serde(default)]
    suspended_user: bool,
    #[serde(default)]
    suspended_no_data: bool,
    #[serde(default)]
    suspended_fencing: bool,
    #[serde(default)]
    suspended_quorum: bool,
    #[serde(default)]
    force_io_failures: bool,
    devices: Vec<JsonVolume>,
    connections: Vec<JsonPeer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonVolume {
    volume: u32,
    minor: u32,
    disk_state: String,
    #[serde(default)]
    client: bool,
    quorum: Option<bool>,
    open: Option<bool>,
    #[serde(rename = "backing_dev")]
    backing: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonPeer {
    peer_node_id: u32,
    name: Option<String>,
    connection_state: String,
    peer_role: String,
    #[serde(rename = "peer_devices")]
    volumes: Vec<JsonPeerVolume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonPeerVolume {
    volume: u32,
    replication_state: String,
    peer_disk_state: String,
    #[serde(default)]
    peer_client: bool,
    resync_suspended: String,
}

/// Reads the whole answer. It does not hold DRBD's opinions on promotion.
pub fn parse(text: &[u8]) -> Result<Vec<Resource>, Garbled> {
    let found: Vec<JsonResource> = read(text)?;
    found.into_iter().map(resource).collect()
}

fn read(text: &[u8]) -> Result<Vec<JsonResource>, Garbled> {
    serde_json::from_slice(text).map_err(|error| Garbled::new(format_args!("no JSON of DRBD's: {error}")))
}

fn resource(found: JsonResource) -> Result<Resource, Garbled> {
    let reasons = [
        (found.suspended_user, "user"),
        (found.suspended_no_data, "no-data"),
        (found.suspended_fencing, "fencing"),
        (found.suspended_quorum, "quorum"),
    ];
    let reasons: Vec<&str> = reasons.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let suspended = match (found.suspended, reasons.is_empty()) {
        (false, true) => None,
        (true, true) => Some("yes".into()),
        (_, false) => Some(reasons.join(",")),
    };
    let mut volumes = found.devices.into_iter().map(volume).collect::<Result<Vec<_>, _>>()?;
    let mut peers = found.connections.into_iter().map(peer).collect::<Result<Vec<_>, _>>()?;
    volumes.sort_by_key(|volume| volume.number);
    peers.sort_by_key(|peer| peer.node_id);
    Ok(Resource {
        name: found.name,
        role: Role::parse(&found.role)?,
        suspended,
        io_fails: found.force_io_failures,
        may_promote: None,
        promotion_score: None,
        volumes,
        peers,
    })
}

fn volume(found: JsonVolume) -> Result<Volume, Garbled> {
    Ok(Volume {
        number: found.volume,
        minor: found.minor,
        disk: Disk::parse(&found.disk_state)?,
        client: found.client,
        quorum: found.quorum,
        backing: found.backing.filter(|path| path != "none"),
        open: found.open,
    })
}

fn peer(found: JsonPeer) -> Result<Peer, Garbled> {
    let mut volumes = found.volumes.into_iter().map(peer_volume).collect::<Result<Vec<_>, _>>()?;
    volumes.sort_by_key(|volume| volume.number);
    Ok(Peer {
        node_id: found.peer_node_id,
        name: found.name,
        connection: Connection::parse(&found.connection_state)?,
        role: Role::parse(&found.peer_role)?,
        volumes,
    })
}

fn peer_volume(found: JsonPeerVolume) -> Result<PeerVolume, Garbled> {
    Ok(PeerVolume {
        number: found.volume,
        replication: Replication::parse(&found.replication_state)?,
        disk: Disk::parse(&found.peer_disk_state)?,
        client: found.peer_client,
        resync_suspended: found.resync_suspended != "no",
    })
}
