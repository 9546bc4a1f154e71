//! The guests' share of this machine's memory, if somebody wants it managed: among the guests that say so and nobody
//! else's, never below a minimum or above what a guest can take, and no file is edited.

use crate::store::Store;
use crate::toolstack::Toolstack;
use crate::{XenDomain, record};
use ocf::state::xen::config::Config;
use ocf::state::xen::list::Run;
use ocf::state::xen::tables;
use ocf::{Call, Error, Result};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

/// What each of `guests` gets, in megabytes.
fn share(total_mb: u64, reserved_mb: u64, guests: u64) -> u64 {
    total_mb.saturating_sub(reserved_mb) / guests.max(1)
}

fn clamp(share_mb: u64, least_mb: u64, most_mb: u64) -> u64 {
    share_mb.max(least_mb).min(most_mb)
}

/// What the create line says of the guest's memory; nothing if it is not managed or cannot be told.
pub fn for_create(agent: &XenDomain, config: &Config, call: &Call) -> Vec<String> {
    let Some(memory_mb) = config.memory_mb.filter(|_| agent.allow_mem_management) else { return Vec::new() };
    match distribute(agent, 1, call) {
        Ok(Some(share_mb)) => {
            let most_mb = config.maxmem_mb.unwrap_or(memory_mb);
            let own_mb = clamp(share_mb, u64::from(agent.minimum_memory), most_mb);
            // Without the second it could never grow again.
            vec![format!("memory={own_mb}"), format!("maxmem={most_mb}")]
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            call.log.warn(format_args!("the memory is not divided: {error}"));
            Vec::new()
        }
    }
}

/// Gives the guests that are there their share. What goes wrong decides nothing.
pub fn balance(agent: &XenDomain, call: &Call) {
    if agent.allow_mem_management
        && let Err(error) = distribute(agent, 0, call)
    {
        call.log.warn(format_args!("the memory is not divided: {error}"));
    }
}

/// Sets the share of the managed guests that run, with room for `more` guests; what each gets. None: xl does it itself.
fn distribute(agent: &XenDomain, more: u64, call: &Call) -> Result<Option<u64>> {
    let tool = Toolstack::find(call)?;
    let info = tool.run(call, LIMIT.min(call.remaining() / 4), &["info"])?;
    if !info.succeeded() {
        return Err(Error::generic(format_args!("{} info: {}", tool.name(), info.complaint())));
    }
    if tool == Toolstack::Xl && balloons_by_itself(&info.stdout, call) {
        call.log.info("xl takes memory from domain 0 by itself (autoballoon): the memory is not divided");
        return Ok(None);
    }
    let total_mb: u64 = tables::info(&info.stdout, "total_memory")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::generic("the machine's memory is unknown"))?;
    let domains = tool.list(call)?;
    let managed: Vec<u32> = record::all(call)
        .into_iter()
        .filter(|record| record.memory_managed && record.id != 0)
        .filter(|record| {
            let same = |name: &Option<String>| name.as_deref() == Some(record.name.as_str());
            domains
                .iter()
                .any(|domain| domain.id == record.id && same(&domain.name) && domain.run == Run::Live)
        })
        .map(|record| record.id)
        .collect();
    let count = u64::try_from(managed.len()).unwrap_or(u64::MAX).saturating_add(more);
    let share_mb = share(total_mb, u64::from(agent.reserved_dom0_memory), count);
    for id in managed {
        if call.remaining() < Duration::from_secs(3) {
            break;
        }
        let Some(most_mb) = static_max(call, id) else { continue };
        let own_mb = clamp(share_mb, u64::from(agent.minimum_memory), most_mb);
        if !call.change(format_args!("set the memory of domain {id} to {own_mb} MB")) {
            continue;
        }
        let size = match tool {
            Toolstack::Xl => format!("{own_mb}m"),
            Toolstack::Xm => own_mb.to_string(),
        };
        let output = tool.on(call, LIMIT.min(call.remaining() / 4), &["mem-set"], id, &[&size])?;
        if !output.succeeded() {
            call.log.warn(format_args!("mem-set of domain {id}: {}", output.complaint()));
        }
    }
    Ok(Some(share_mb))
}

/// The most that a guest can take, in megabytes.
fn static_max(call: &Call, id: u32) -> Option<u64> {
    let mut store = Store::open(call).ok()??;
    let kib: u64 = store.read(&format!("/local/domain/{id}/memory/static-max")).ok()??.parse().ok()?;
    Some(kib / 1024)
}

/// xl.conf(5): `auto`, which is the default, means yes unless Xen was told how much domain 0 has.
fn balloons_by_itself(info: &[u8], call: &Call) -> bool {
    let text = call.host.read("/etc/xen/xl.conf").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let set = text.lines().map(str::trim).filter(|line| !line.starts_with('#')).rev().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "autoballoon").then(|| value.trim().trim_matches(['"', '\'']).to_string())
    });
    match set.as_deref() {
        Some("off" | "0") => false,
        Some("on" | "1") => true,
        _ => !tables::info(info, "xen_commandline").unwrap_or_default().contains("dom0_mem="),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_divided_and_clamped() {
        assert_eq!(share(1535, 512, 2), 511);
        assert_eq!(share(1535, 512, 0), 1023);
        assert_eq!(share(400, 512, 1), 0);
        assert_eq!(clamp(511, 128, 256), 256);
        assert_eq!(clamp(50, 128, 256), 128);
        // What a guest can take is a wall, the minimum a wish.
        assert_eq!(clamp(50, 128, 96), 96);
    }
}
