//! start: makes this node the owner, activates what is not active, and believes only the kernel.

use crate::access::Mode;
use crate::config::Config;
use crate::group::{self, Group};
use crate::{ActivationMode, LvmActivate, Target, lvm, record};
use ocf::cluster::membership::{self, Membership};
use ocf::{Call, Error, Output, Result, mapper, systemd};
use std::thread::sleep;
use std::time::Duration;

/// Makes the target active and this node's, as far as it is not.
pub fn start(agent: &LvmActivate, target: &Target, call: &Call) -> Result<()> {
    let Some(seen) = agent.seen.get() else { return Err(Error::generic("start did not look first")) };
    let (file, is_started) =
        if agent.is_agent_lvm() { ("99-LVM.conf", false) } else { ("99-LVM-activate.conf", true) };
    systemd::stop_cluster_before("blk-availability.service", file, is_started, call);
    let mut now = seen.clone();
    let mode = agent.vg_access_mode(call).unwrap_or(Mode::Plain);
    match mode {
        Mode::SystemId => {
            if !now.is_owned() {
                may_take_over(agent, target, &mut now, call)?;
            }
            if !call.dry_run && all_at_once(agent, target, &now, call)? {
                record::write(target, &now, call);
                return Ok(());
            }
            if !now.is_owned() {
                take_over(agent, target, &now, call)?;
            }
            switch_off_autoactivation(target, &now, call);
        }
        Mode::Tagging => {
            if !now.is_owned() {
                lvm::must(&["vgchange", "--addtag", agent.tag()?, "--", &target.group], call)?;
            }
        }
        Mode::Lvmlockd => start_locks(target, call)?,
        Mode::Plain | Mode::Clvmd => warn_of_autoactivation(target, &now, call),
    }
    let group = &now;
    let was_active = is_active(target, group, call)?;
    if was_active && mode != Mode::Lvmlockd {
        record::write(target, group, call);
        return Ok(());
    }
    let mut output = activate(agent, target, mode, call)?;
    if mode == Mode::Lvmlockd && !call.dry_run && !is_active(target, group, call)? {
        // A stop of another volume of the group may have stopped the lockspace just then.
        sleep(Duration::from_millis(500).min(call.remaining() / 10));
        start_locks(target, call)?;
        output = activate(agent, target, mode, call)?;
    }
    let Some(output) = output else { return Ok(()) };
    // LVM succeeds where it has the locks of what is active, and takes those that nobody has.
    if was_active && !output.succeeded() && group.missing_disks == 0 {
        return Err(Error::generic(format_args!(
            "{} is active here, but may lack its locks: {}",
            target.words(),
            lvm::complaint(&output)
        )));
    }
    verify(target, group, &output, call)?;
    record::write(target, group, call);
    Ok(())
}

fn is_active(target: &Target, group: &Group, call: &Call) -> Result<bool> {
    Ok(group.is_active(&target.active(call)?))
}

/// Runs the activation. None in a dry run.
fn activate(agent: &LvmActivate, target: &Target, mode: Mode, call: &Call) -> Result<Option<Output>> {
    lvm::change(&activation(agent, target, mode)?, call)
}

fn activation(agent: &LvmActivate, target: &Target, mode: Mode) -> Result<Vec<String>> {
    let how = match (mode, agent.activation_mode) {
        (Mode::Lvmlockd, ActivationMode::Exclusive) => "-aey",
        (Mode::Lvmlockd, ActivationMode::Shared) => "-asy",
        _ => "-ay",
    };
    let command = if target.volume.is_some() { "lvchange" } else { "vgchange" };
    let mut words = vec![command, how];
    if agent.degraded_activation {
        words.extend(["--activationmode", "degraded"]);
    } else if agent.partial_activation {
        words.push("--partial");
    }
    if agent.ignore_activation_skip {
        words.push("--ignoreactivationskip");
    }
    let config;
    if mode == Mode::Tagging {
        config = format!("activation{{volume_list=[\"@{}\"]}}", agent.tag()?);
        words.extend(["--config", &config]);
    }
    let target = target.words();
    words.extend(["--", &target]);
    Ok(words.into_iter().map(str::to_string).collect())
}

/// Takes over, switches autoactivation off and activates in one process of LVM, where more than one of that has to be
/// done. False: not all of it is known to be done, and one by one says where it fails.
fn all_at_once(agent: &LvmActivate, target: &Target, group: &Group, call: &Call) -> Result<bool> {
    let mut commands = Vec::new();
    let mut what = format!("activation of {}", target.words());
    if !group.is_owned() {
        commands.push(takeover(agent, target, group));
        what = format!("takeover and {what}");
    }
    if can_switch_off_autoactivation(group) {
        commands.push(autoactivation_off(target));
    }
    if commands.is_empty() || is_active(target, group, call)? {
        return Ok(false);
    }
    commands.push(activation(agent, target, Mode::SystemId)?);
    let Some(output) = lvm::change_all(&commands, &what, call)? else { return Ok(false) };
    let active = is_active(target, group, call)?;
    if !output.succeeded() {
        let said = format!("{what}: {}", lvm::complaint(&output));
        // What is active is not activated again, and nobody else would say it.
        if active { call.log.warn(said) } else { call.log.debug(said) }
    }
    let done = active && output.succeeded();
    if done && can_switch_off_autoactivation(group) {
        say_autoactivation_is_off(target, call);
    } else if done {
        switch_off_autoactivation(target, group, call);
    }
    Ok(done)
}

/// LVM's exit code decides nothing: it is 0 with nothing activated, and 5 with all that could be.
fn verify(target: &Target, group: &Group, output: &Output, call: &Call) -> Result<()> {
    let active = target.active(call)?;
    if group.is_active(&active) {
        if !output.succeeded() {
            call.log.warn(format_args!("activation of {}: {}", target.words(), lvm::complaint(output)));
        }
        return Ok(());
    }
    let missing = match group.inactive(&active).as_slice() {
        [] => "nothing".to_string(),
        names => names.join(", "),
    };
    Err(Error::generic(if output.succeeded() {
        let skipped = group.volumes.iter().any(|volume| volume.is_skipped() && missing == volume.name);
        let hint = if skipped { "it has the flag to be skipped" } else { "see volume_list in lvm.conf" };
        format!("{}: LVM reports success, but {missing} is not active: {hint}", target.group)
    } else {
        format!("{missing} of {} is not active: {}", target.group, lvm::complaint(output))
    }))
}

/// Whether the group may be taken from its owner, who is not supposed to live.
fn may_take_over(agent: &LvmActivate, target: &Target, group: &mut Group, call: &Call) -> Result<()> {
    let name = &target.group;
    let owner = &group.system_id;
    if mapper::volumes(call, name)?.iter().any(|volume| volume.is_whole()) {
        // Or it was: the start of another volume of the group has taken it over since.
        if let Some(now) = group::read(name, call)?.filter(|now| now.system_id == group.own_system_id) {
            (group.owned, group.autoactivation) = (Some(true), now.autoactivation);
            return Ok(());
        }
        return Err(Error::generic(format_args!(
            "{name} is active here, but belongs to system ID {owner}: deactivate it first"
        )));
    }
    if !group::is_system_id(owner) {
        return Err(Error::generic(format_args!(
            "the system ID of {name} is not one that LVM makes: look at vgs --foreign -o systemid {name}"
        )));
    }
    if agent.require_owner_dead {
        is_dead(owner, name, call)?;
    }
    call.log.info(format_args!("taking volume group {name} over from system ID {owner}"));
    Ok(())
}

fn takeover(agent: &LvmActivate, target: &Target, group: &Group) -> Vec<String> {
    let config = format!("local/extra_system_ids=[\"{}\"]", group.system_id);
    let mut words = vec!["vgchange", "-y"];
    // Some distributions have that option. LVM without it refuses to change a group that lacks disks anyway.
    if agent.majority_pvs && group.missing_disks > 0 {
        words.push("--majoritypvs");
    }
    words.extend(["--config", &config, "--systemid", &group.own_system_id, "--", &target.group]);
    words.into_iter().map(str::to_string).collect()
}

fn take_over(agent: &LvmActivate, target: &Target, group: &Group, call: &Call) -> Result<()> {
    let (name, owner) = (&target.group, &group.system_id);
    lvm::must(&takeover(agent, target, group), call).or_else(|error| {
        // The run of all commands at once did it, or the start of another volume of the group at the same moment.
        match group::read(name, call) {
            Ok(Some(now)) if now.system_id == group.own_system_id => Ok(()),
            _ => Err(Error::generic(format_args!("{name} still belongs to {owner}: {error}"))),
        }
    })
}

/// Asks the cluster whether the owner is still a member. Who is not known to be lost is not dead.
fn is_dead(owner: &str, name: &str, call: &Call) -> Result<()> {
    let alive = |why: &str| Err(Error::generic(format_args!("{name} is not taken from {owner}: {why}")));
    match membership::of(call, owner) {
        Ok(Membership::Lost) => Ok(()),
        Ok(Membership::Member) => alive("that node is a member of the cluster"),
        Ok(Membership::Unknown) => alive("the cluster has no node of that name"),
        Err(error) => alive(&format!("the cluster cannot be asked, {error}")),
    }
}

/// A machine that activates the group at boot would have it active while another node has it.
fn switch_off_autoactivation(target: &Target, group: &Group, call: &Call) {
    if !can_switch_off_autoactivation(group) {
        match group.autoactivation {
            None => warn_of_autoactivation(target, group, call),
            Some(false) => {}
            Some(true) => {
                let name = &target.group;
                call.log.warn(format_args!("{name} will still be activated at boot: it lacks disks"));
            }
        }
        return;
    }
    match lvm::must(&autoactivation_off(target), call) {
        Ok(()) => say_autoactivation_is_off(target, call),
        // LVM takes it for a failure where it is off already, and another run or a sibling's may have done it.
        Err(error) => match group::read(&target.group, call) {
            Ok(Some(now)) if now.autoactivation == Some(false) => say_autoactivation_is_off(target, call),
            _ => call.log.warn(format_args!("{} will still be activated at boot: {error}", target.group)),
        },
    }
}

/// It is on, and LVM changes no group that lacks disks.
fn can_switch_off_autoactivation(group: &Group) -> bool {
    group.autoactivation == Some(true) && group.missing_disks == 0
}

fn autoactivation_off(target: &Target) -> Vec<String> {
    ["vgchange", "--setautoactivation", "n", "--", &target.group].map(str::to_string).into()
}

fn say_autoactivation_is_off(target: &Target, call: &Call) {
    let name = &target.group;
    call.log.info(format_args!(
        "{name} is no longer activated at boot, on any node: vgchange --setautoactivation y {name} takes that back"
    ));
}

fn warn_of_autoactivation(target: &Target, group: &Group, call: &Call) {
    let name = &target.group;
    if group.autoactivation != Some(false)
        && Config::read(call).is_ok_and(|config| config.activates_at_boot(name, &group.tags))
    {
        call.log.warn(format_args!(
            "{name} is also activated at boot, by every node that sees it: set auto_activation_volume_list in lvm.conf{}",
            if group.autoactivation.is_some() {
                format!(", or run vgchange --setautoactivation n {name}")
            } else {
                String::new()
            }
        ));
    }
}

fn start_locks(target: &Target, call: &Call) -> Result<()> {
    if target.volume.is_none() {
        call.log
            .debug(format_args!("all volumes of {} are activated: it takes a lock for each", target.group));
    }
    lvm::must(&["vgchange", "--lockstart", "--", &target.group], call)
}
