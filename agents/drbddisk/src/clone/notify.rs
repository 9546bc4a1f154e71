//! notify: what happens to the other instances. Nobody hears its answer, so it has none but success.

use super::update_score;
use crate::DrbdDisk;
use crate::adm::drbdadm;
use ocf::Call;
use ocf::cluster::notify::{Notice, own_name};
use ocf::cluster::promotion::{self, Score};
use ocf::drbd::{self, Observed};
use ocf::state::drbd::{Disk, Resource, Role};

/// Takes note of a step of the clone's.
pub fn notify(agent: &DrbdDisk, call: &Call) {
    let Some(notice) = Notice::of(call) else { return };
    let named = agent.target(call).and_then(|target| Ok((drbd::name_of(&target, call)?, target)));
    let (name, target) = match named {
        Ok(found) => found,
        Err(error) => return call.log.warn(error),
    };
    let up = match drbd::observe(&target, call) {
        Ok(observed) => !matches!(observed, Observed::NoModule | Observed::NotUp),
        Err(error) => return call.log.warn(error),
    };
    if !up {
        return;
    }
    if notice.operation == "start"
        && !agent.connect_only_after_promote
        && call.change(format_args!("run drbdadm adjust {name}"))
    {
        // The instance that starts may have been away for long, and stood alone here.
        let run = drbdadm(call, &["adjust", &name]).and_then(|tool| tool.within(call.remaining() / 2).run());
        match run {
            Ok(output) if output.succeeded() => {}
            Ok(output) => call.log.warn(format_args!("drbdadm adjust {name}: {}", output.complaint())),
            Err(error) => call.log.warn(error),
        }
    }
    if notice.kind == "post"
        && let Some(resource) = update_score(agent, call)
    {
        outdate(agent, &resource, &notice, call);
    }
}

/// Marks the data as of the past if another node goes on to change it and this one does not hear of it.
fn outdate(agent: &DrbdDisk, resource: &Resource, notice: &Notice, call: &Call) {
    let lost = |peer: &ocf::state::drbd::Peer| peer.volumes.iter().any(|copy| copy.disk == Disk::DUnknown);
    if !agent.stop_outdates_secondary || !resource.peers.iter().any(lost) {
        return;
    }
    let own = own_name(call);
    let elsewhere = notice.promoted_elsewhere(&own);
    if own.is_empty() || elsewhere.is_empty() {
        return;
    }
    if resource.role == Role::Primary {
        return call.log.error(format_args!(
            "split brain: {} is promoted on {} too, which is not connected",
            resource.name,
            elsewhere.join(" ")
        ));
    }
    // By the device's number: drbdadm cannot do it while the disk is attached.
    for volume in
        resource.volumes.iter().filter(|volume| matches!(volume.disk, Disk::UpToDate | Disk::Consistent))
    {
        let minor = volume.minor.to_string();
        if !call.change(format_args!("run drbdsetup outdate {minor}")) {
            continue;
        }
        let tool = call.tool("drbdsetup");
        match tool.and_then(|tool| tool.arg("outdate").arg(&minor).within(call.remaining() / 3).run()) {
            Ok(output) if matches!(output.code, Some(0 | 5)) => {}
            Ok(output) => call.log.warn(format_args!("drbdsetup outdate {minor}: {}", output.complaint())),
            Err(error) => call.log.warn(error),
        }
    }
    promotion::publish(Score::Remove, call);
}
