//! Lifting the constraint that a fencing handler has left behind, once all copies are good again.

use crate::DrbdDisk;
use crate::adm::drbdadm;
use ocf::state::drbd::{Disk, Resource, Role};
use ocf::{Call, Result, record};
use std::path::PathBuf;
use std::time::Duration;

/// For so long one success is enough while nothing happens. Then it is done again: a peer may have come and gone between
/// two monitors.
const AGAIN: Duration = Duration::from_secs(600);

/// Runs the handler when a Primary has become whole again.
pub fn when_all_is_well(agent: &DrbdDisk, resource: &Resource, call: &Call) {
    if !agent.unfence_if_all_uptodate {
        return;
    }
    let done = mark(&resource.name, call);
    if !is_whole(resource) {
        record::remove(&done);
        return;
    }
    let age =
        std::fs::metadata(&done).and_then(|found| found.modified()).ok().and_then(|then| then.elapsed().ok());
    if age.is_some_and(|age| age < AGAIN)
        || !call.change(format_args!("run drbdadm unfence-peer {}", resource.name))
    {
        return;
    }
    match run(agent, &resource.name, call) {
        Ok(None) => {
            if let Err(error) = record::write(&done, b"") {
                call.log.debug(error);
            }
        }
        Ok(Some(complaint)) => {
            call.log.warn(format_args!("drbdadm unfence-peer {}: {complaint}", resource.name))
        }
        Err(error) => call.log.warn(error),
    }
}

fn run(agent: &DrbdDisk, name: &str, call: &Call) -> Result<Option<String>> {
    let tool = drbdadm(call, &["unfence-peer", name])?;
    let tool = tool.env("OCF_RESKEY_unfence_extra_args", &agent.unfence_extra_args);
    let output = tool.within(call.remaining() / 2).run()?;
    Ok((!output.succeeded()).then(|| output.complaint()))
}

/// Where a success is remembered until the next boot.
fn mark(name: &str, call: &Call) -> PathBuf {
    let file = PathBuf::from("/run/holdfast").join(format!("drbddisk.{name}.unfenced"));
    call.host.path(&file).into_owned()
}

fn is_whole(resource: &Resource) -> bool {
    let good = |disk: Disk, client: bool| client || disk == Disk::UpToDate;
    resource.role == Role::Primary
        && !resource.peers.is_empty()
        && resource.volumes.iter().all(|volume| good(volume.disk, volume.client))
        && resource.peers.iter().all(|peer| {
            peer.volumes.len() == resource.volumes.len()
                && peer.volumes.iter().all(|copy| good(copy.disk, copy.client))
        })
}
