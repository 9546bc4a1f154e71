//! `drbdsetup events2 --now`: a line for each object, and `exists -` as the last.

use super::{
    Connection, Disk, Garbled, Peer, PeerVolume, Replication, Resource, Role, Volume, number, whole,
};

/// Reads the whole list. Each object must come after what it belongs to, and the end must be there.
pub fn parse(text: &[u8]) -> Result<Vec<Resource>, Garbled> {
    let mut resources: Vec<Resource> = Vec::new();
    let mut ended = false;
    for line in whole(text)?.lines() {
        if ended {
            return Err(Garbled::new("there is text after the end of the list"));
        }
        let rest = line.strip_prefix("exists ").ok_or_else(|| Garbled::word("line of the list", line))?;
        if rest.trim_end() == "-" {
            ended = true;
            continue;
        }
        let object = Object::parse(rest)?;
        match object.kind {
            "resource" => resources.push(object.resource()?),
            "connection" => object.owner(&mut resources)?.peers.push(object.peer()?),
            "device" => object.owner(&mut resources)?.volumes.push(object.volume()?),
            "peer-device" => {
                let node_id = object.number("peer-node-id")?;
                let peers = &mut object.owner(&mut resources)?.peers;
                let peer = peers.iter_mut().find(|peer| peer.node_id == node_id);
                let peer = peer.ok_or_else(|| Garbled::new(format_args!("peer {node_id} is missing")))?;
                peer.volumes.push(object.peer_volume()?);
            }
            // Paths, and what later versions may add, say nothing of the state.
            _ => {
                object.owner(&mut resources)?;
            }
        }
    }
    if !ended {
        return Err(Garbled::new("the end of the list is missing"));
    }
    for resource in &mut resources {
        resource.volumes.sort_by_key(|volume| volume.number);
        resource.peers.sort_by_key(|peer| peer.node_id);
        for peer in &mut resource.peers {
            peer.volumes.sort_by_key(|volume| volume.number);
        }
    }
    Ok(resources)
}

/// One line: what it is about, and `key:value` words.
struct Object<'a> {
    kind: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Object<'a> {
    fn parse(rest: &'a str) -> Result<Self, Garbled> {
        let mut words = rest.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let pair = |word: &'a str| word.split_once(':').ok_or_else(|| Garbled::word("pair", word));
        Ok(Self { kind, pairs: words.map(pair).collect::<Result<_, _>>()? })
    }

    fn find(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    fn get(&self, key: &str) -> Result<&'a str, Garbled> {
        self.find(key).ok_or_else(|| Garbled::new(format_args!("a line about a {} has no {key}", self.kind)))
    }

    fn number(&self, key: &str) -> Result<u32, Garbled> {
        number(key, self.get(key)?)
    }

    /// `yes` and `no`, where the version says it.
    fn truth(&self, key: &str) -> Result<Option<bool>, Garbled> {
        match self.find(key) {
            None => Ok(None),
            Some("yes") => Ok(Some(true)),
            Some("no") => Ok(Some(false)),
            Some(other) => Err(Garbled::word("yes or no", other)),
        }
    }

    fn owner<'b>(&self, resources: &'b mut [Resource]) -> Result<&'b mut Resource, Garbled> {
        let name = self.get("name")?;
        resources
            .iter_mut()
            .find(|resource| resource.name == name)
            .ok_or_else(|| Garbled::new(format_args!("a {} comes before its resource", self.kind)))
    }

    fn resource(&self) -> Result<Resource, Garbled> {
        let suspended = match self.get("suspended")? {
            "no" => None,
            "" => return Err(Garbled::new("a line is cut off at suspended")),
            why => Some(why.to_string()),
        };
        let promotion_score = self.find("promotion_score").map(|score| number("promotion score", score));
        Ok(Resource {
            name: self.get("name")?.to_string(),
            role: Role::parse(self.get("role")?)?,
            suspended,
            io_fails: self.truth("force-io-failures")?.unwrap_or(false),
            may_promote: self.truth("may_promote")?,
            promotion_score: promotion_score.transpose()?,
            volumes: Vec::new(),
            peers: Vec::new(),
        })
    }

    fn peer(&self) -> Result<Peer, Garbled> {
        Ok(Peer {
            node_id: self.number("peer-node-id")?,
            name: self.find("conn-name").map(str::to_string),
            connection: Connection::parse(self.get("connection")?)?,
            role: Role::parse(self.get("role")?)?,
            volumes: Vec::new(),
        })
    }

    fn volume(&self) -> Result<Volume, Garbled> {
        Ok(Volume {
            number: self.number("volume")?,
            minor: self.number("minor")?,
            disk: Disk::parse(self.get("disk")?)?,
            client: self.truth("client")?.unwrap_or(false),
            quorum: self.truth("quorum")?,
            backing: self.find("backing_dev").filter(|path| *path != "none").map(str::to_string),
            open: self.truth("open")?,
        })
    }

    fn peer_volume(&self) -> Result<PeerVolume, Garbled> {
        Ok(PeerVolume {
            number: self.number("volume")?,
            replication: Replication::parse(self.get("replication")?)?,
            disk: Disk::parse(self.get("peer-disk")?)?,
            client: self.truth("peer-client")?.unwrap_or(false),
            resync_suspended: self.get("resync-suspended")? != "no",
        })
    }
}
