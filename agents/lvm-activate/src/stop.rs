//! stop: deactivates until nothing is mapped any more, or names who holds it.

use crate::access::Mode;
use crate::group;
use crate::{LvmActivate, Target, lvm, record};
use ocf::mapper::{self, Volume};
use ocf::{Call, Error, Result, holders};
use std::thread::sleep;
use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Deactivates the target and gives up what others see of the ownership.
pub fn stop(agent: &LvmActivate, target: &Target, call: &Call) -> Result<()> {
    deactivate(target, call)?;
    if call.dry_run {
        return Ok(());
    }
    record::remove(target, call);
    // Another resource may have a volume of the same group.
    if !mapper::volumes(call, &target.group)?.is_empty() {
        return Ok(());
    }
    match agent.vg_access_mode(call) {
        Some(Mode::Tagging) => agent.tag().map_or(Ok(()), |tag| remove_tag(tag, target, call)),
        Some(Mode::Lvmlockd) => stop_locks(target, call),
        _ => Ok(()),
    }
}

/// Tries again, with growing pauses: udev and multipath open a device for moments.
fn deactivate(target: &Target, call: &Call) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    let mut obstacle = Obstacle::None;
    loop {
        let began = Instant::now();
        let active = match target.active(call) {
            Ok(active) if active.is_empty() => return Ok(()),
            Ok(active) => active,
            // LVM may know what we cannot read.
            Err(error) => {
                call.log.warn(&error);
                Vec::new()
            }
        };
        let complaint = match once(target, &obstacle, call) {
            Ok(None) => return Ok(()),
            Ok(Some(complaint)) => complaint,
            Err(error) => error.reason().to_string(),
        };
        let left = target.active(call)?;
        if left.is_empty() {
            return Ok(());
        }
        call.log.info(format_args!("deactivation of {}: {complaint}", target.words()));
        if !told {
            told = true;
            obstacle = in_the_way(target, &active, call);
            call.obstacle(why(target, &left, &complaint, call).reason());
        }
        if obstacle == Obstacle::Vanished {
            remove_devices(&active, call);
        }
        let last = began.elapsed();
        if call.remaining() < pause + last + last / 2 + Duration::from_millis(500) {
            return Err(why(target, &left, &complaint, call));
        }
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One try. What LVM complained about; none in a dry run.
fn once(target: &Target, obstacle: &Obstacle, call: &Call) -> Result<Option<String>> {
    let command = if target.volume.is_some() { "lvchange" } else { "vgchange" };
    let name = target.words();
    let mut words = vec![command, "-an"];
    if let Obstacle::Foreign(config) = obstacle {
        words.extend(["--config", config]);
    }
    words.extend(["--", &name]);
    Ok(lvm::change(&words, call)?.map(|output| lvm::complaint(&output)))
}

/// What LVM has against it, besides users.
#[derive(PartialEq, Eq)]
enum Obstacle {
    None,
    /// The group has become another node's; the configuration that lets LVM deactivate it.
    Foreign(String),
    /// LVM does not see it any more.
    Vanished,
}

/// After the first failure: who holds it, for the log, and what else is in the way.
fn in_the_way(target: &Target, active: &[Volume], call: &Call) -> Obstacle {
    let found = holders_of(active, call);
    if !found.is_empty() {
        call.log.info(format_args!("{} is held by {}", target.words(), found.join(", ")));
    }
    match group::read(&target.group, call) {
        Ok(Some(group)) if group::is_system_id(&group.system_id) => {
            Obstacle::Foreign(format!("local/extra_system_ids=[\"{}\"]", group.system_id))
        }
        Ok(None) => {
            call.log.warn(format_args!("{} has vanished: its devices are removed without LVM", target.group));
            Obstacle::Vanished
        }
        _ => Obstacle::None,
    }
}

/// Removes the devices that are not in use, users before what they use.
fn remove_devices(active: &[Volume], call: &Call) {
    let mut left: Vec<&Volume> = active.iter().collect();
    left.sort_by_key(|volume| !volume.is_whole());
    // As often as they can be stacked.
    for _ in 0..4 {
        left.retain(|volume| {
            let device = volume.device;
            let Some(name) = holders::mapper_name_of(call, device) else { return false };
            let limit = Duration::from_secs(5).min(call.remaining() / 4);
            let removed = call
                .tool("dmsetup")
                .and_then(|tool| tool.arg("remove").arg("--").arg(&name).within(limit).run());
            !matches!(removed, Ok(output) if output.succeeded())
        });
    }
}

/// Who uses the volumes, but for their own parts.
fn holders_of(active: &[Volume], call: &Call) -> Vec<String> {
    call.step("looking for who holds the volumes");
    let node = |volume: &Volume| holders::node_of(call, volume.device);
    let own: Vec<String> = active
        .iter()
        .filter_map(|volume| Some(holders::stacked_device(call, node(volume)?.file_name()?.to_str()?)))
        .collect();
    let mut found = Vec::new();
    for volume in active.iter().filter(|volume| volume.is_whole()) {
        let Some(node) = node(volume) else { continue };
        let of_it = holders::of_whole_device(call, volume.device, &node);
        found.extend(
            of_it
                .into_iter()
                .filter(|holder| !own.contains(holder))
                .map(|holder| format!("{} by {holder}", volume.name)),
        );
    }
    found
}

fn why(target: &Target, left: &[Volume], complaint: &str, call: &Call) -> Error {
    let name = target.words();
    match holders_of(left, call).as_slice() {
        [] => Error::generic(format_args!("{name} is still active: {complaint}")),
        found => Error::generic(format_args!("{name} is still active, held: {}", found.join(", "))),
    }
}

/// Only our own tag. A group that LVM does not see has none to remove.
fn remove_tag(tag: &str, target: &Target, call: &Call) -> Result<()> {
    match group::read(&target.group, call) {
        Ok(Some(group)) if group.tags.iter().any(|found| found == tag) => {
            lvm::must(&["vgchange", "--deltag", tag, "--", &target.group], call)
        }
        Ok(_) => Ok(()),
        // Nothing is active: that the tag may still be there endangers no data.
        Err(error) => {
            call.log.warn(format_args!("{} may still have the tag {tag}: {error}", target.group));
            Ok(())
        }
    }
}

fn stop_locks(target: &Target, call: &Call) -> Result<()> {
    lvm::must(&["vgchange", "--lockstop", "--", &target.group], call).or_else(|error| {
        // A start of another volume of the group needs them.
        if mapper::volumes(call, &target.group)?.is_empty() { Err(error) } else { Ok(()) }
    })
}
