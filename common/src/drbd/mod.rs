//! A DRBD resource on this node: what names it, what it is, what that means.
//!
//! What the kernel and the tools say of the resource, the cheapest and surest first.
//!
//! Up to 8.4 /proc/drbd has everything and needs no other program. Since 9 it has only the version, and
//! `drbdsetup events2 --now` is asked; where that cannot answer, `drbdsetup status --json`, and then `drbdadm role`. Who
//! cannot answer is never taken for "stopped".

pub mod score;
pub mod target;
pub mod verdict;

use self::target::{Target, minor_on};
use self::verdict::Verdict;
use crate::state::drbd::answers::RoleAnswer;
use crate::state::drbd::proc::Proc;
use crate::state::drbd::{Resource, Role, answers, events, json, proc};
use crate::{Call, Error, Output, Result};
use std::io::ErrorKind;
use std::path::Path;

/// What the kernel says by itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Kernel {
    /// DRBD is not loaded, so nothing can be Primary.
    Absent,
    /// DRBD 0.7 to 8.4, with all its devices.
    Old(Proc),
    /// DRBD 9, which tells its tools.
    New,
    /// It is loaded, but what it says is not to be understood.
    Garbled,
}

/// Reads /proc/drbd.
pub fn kernel(call: &Call) -> Kernel {
    let kernel = match call.host.read("/proc/drbd") {
        Ok(text) => match proc::parse(&text) {
            Ok(proc) if proc.major < 9 => Kernel::Old(proc),
            Ok(_) => Kernel::New,
            Err(why) => {
                call.log.warn(format_args!("/proc/drbd cannot be understood: {why}"));
                Kernel::Garbled
            }
        },
        // Without a mounted /proc the file would be missing too.
        Err(error)
            if error.kind() == ErrorKind::NotFound
                && call.host.exists("/proc/self/mountinfo")
                && !call.host.exists("/sys/module/drbd") =>
        {
            Kernel::Absent
        }
        Err(_) => Kernel::Garbled,
    };
    call.log.trace(format_args!("kernel: {kernel:?}"));
    kernel
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// DRBD is not loaded.
    NoModule,
    /// It is not up on this node.
    NotUp,
    /// Only the roles are known, and nothing of its data.
    Roles(Vec<RoleAnswer>),
    /// All that DRBD tells: since 9 a part for each resource, before one for each volume.
    Parts(Vec<Resource>),
}

impl Observed {
    fn parts(parts: Vec<Resource>) -> Self {
        if parts.is_empty() { Self::NotUp } else { Self::Parts(parts) }
    }

    /// The parts of one resource as one; none if not all is known.
    pub fn whole(&self) -> Option<Resource> {
        let Self::Parts(parts) = self else { return None };
        let mut parts = parts.iter();
        let mut whole = parts.next()?.clone();
        for part in parts {
            whole.join(part);
        }
        Some(whole)
    }
}

/// What the target is at this moment.
pub fn verdict(target: &Target, call: &Call) -> Result<Verdict> {
    judge(target, &observe(target, call)?)
}

/// What the observed state of the target means for a simple disk.
pub fn judge(target: &Target, observed: &Observed) -> Result<Verdict> {
    let verdict = match observed {
        Observed::NoModule | Observed::NotUp => Ok(Verdict::Unconfigured),
        Observed::Roles(roles) => verdict::of_roles(roles),
        Observed::Parts(parts) => verdict_of(target, parts),
    };
    verdict.map_err(Error::generic)
}

/// All that can be known of the target at this moment.
pub fn observe(target: &Target, call: &Call) -> Result<Observed> {
    let kernel = kernel(call);
    if kernel == Kernel::Absent {
        return Ok(Observed::NoModule);
    }
    if let Kernel::Old(proc) = &kernel
        && let Some(parts) = by_kernel(target, proc, call)
    {
        return Ok(Observed::parts(parts));
    }
    match by_list(target, &kernel, call) {
        Ok(Some(parts)) => Ok(Observed::parts(parts)),
        // Nothing that is up is it. A disk that a resource has lost is no longer in the list: its name decides.
        Ok(None) => by_role(target, &kernel, call).map_err(|error| match configured(call) {
            // Nor does a configuration without any resource know whose the disk was.
            Ok(all) if all.is_empty() => Error::generic(error),
            _ => error,
        }),
        Err(error) => {
            call.log.debug(format_args!("{error}; drbdadm is asked instead"));
            by_role(target, &kernel, call).map_err(|second| {
                // Code 1: that the tools are missing does not mean that the disk is not in use.
                Error::generic(format_args!("{second}, {error}"))
            })
        }
    }
}

fn verdict_of(target: &Target, parts: &[Resource]) -> Result<Verdict, String> {
    if target.is_several() {
        let each = parts.iter().map(|part| verdict::of_parts(std::slice::from_ref(part)));
        return Ok(verdict::of_several(&each.collect::<Result<Vec<_>, _>>()?));
    }
    verdict::of_parts(parts)
}

/// The target's devices in the kernel's own list. None: the links of udev do not tell which they are.
fn by_kernel(target: &Target, proc: &Proc, call: &Call) -> Option<Vec<Resource>> {
    let in_use = |name: &str, minors: &[u32]| -> Option<Vec<Resource>> {
        let found: Option<Vec<_>> = minors.iter().map(|minor| proc.minor(*minor)).collect();
        Some(found?.iter().filter_map(|minor| minor.resource(name)).collect())
    };
    if target.is_several() {
        let resource = |minor: &proc::Minor| minor.resource(&format!("drbd{}", minor.minor));
        return Some(proc.minors.iter().filter_map(resource).collect());
    }
    let links = target::links(&call.host);
    let minor = match target {
        Target::Name(name) => links.iter().find(|(found, _)| found == name)?.1,
        Target::Minor(minor) => *minor,
        Target::Backing(path) => minor_on(&call.host, path)?,
        Target::All | Target::Unnamed => return None,
    };
    let mut owners = links.iter().filter(|(_, found)| *found == minor);
    match (owners.next(), owners.next()) {
        // Two names for one device: one of the links is a leftover.
        (_, Some(_)) => None,
        (Some((name, _)), None) => {
            let minors: Vec<u32> =
                links.iter().filter(|(found, _)| found == name).map(|(_, minor)| *minor).collect();
            in_use(name, &minors)
        }
        (None, None) => in_use(&format!("drbd{minor}"), &[minor]),
    }
}

/// The target in the list of `drbdsetup`, which 8.4 and 9 have alike. None: a disk that no resource in the list has.
fn by_list(target: &Target, kernel: &Kernel, call: &Call) -> Result<Option<Vec<Resource>>> {
    let mut list = call.tool("drbdsetup")?.arg("events2").arg("--now").within(call.remaining() / 3);
    if let (Target::Name(name), Kernel::New) = (target, kernel) {
        list = list.arg(name);
    }
    let output = list.run()?;
    let listed = if output.succeeded() {
        events::parse(&output.stdout).map_err(|why| format!("cannot be understood: {why}"))
    } else {
        Err(output.complaint())
    };
    let resources = listed.or_else(|why| {
        call.log.debug(format_args!("drbdsetup events2: {why}; status --json is asked instead"));
        by_json(kernel, call).ok_or_else(|| Error::generic(format_args!("drbdsetup events2: {why}")))
    })?;
    Ok(of_target(target, resources, call))
}

/// The same as JSON, which only DRBD 9 has. None: it does not help.
fn by_json(kernel: &Kernel, call: &Call) -> Option<Vec<Resource>> {
    if !matches!(kernel, Kernel::New | Kernel::Garbled) {
        return None;
    }
    let tool = call.tool("drbdsetup").ok()?.arg("status").arg("--json");
    let output = tool.within(call.remaining() / 2).run().ok()?;
    if !output.succeeded() {
        return None;
    }
    let parsed = json::parse(&output.stdout);
    parsed.inspect_err(|why| call.log.debug(format_args!("drbdsetup status --json: {why}"))).ok()
}

/// Those of the resources that the target means. None: a disk that no resource has, while one of them is Primary.
fn of_target(target: &Target, mut resources: Vec<Resource>, call: &Call) -> Option<Vec<Resource>> {
    let has = |resource: &Resource, minor: u32| resource.volumes.iter().any(|volume| volume.minor == minor);
    match target {
        Target::All | Target::Unnamed => {}
        Target::Name(name) => resources.retain(|resource| resource.name == *name),
        Target::Minor(minor) => resources.retain(|resource| has(resource, *minor)),
        Target::Backing(path) => {
            let minor = minor_on(&call.host, path);
            let none_is_primary = resources.iter().all(|resource| resource.role == Role::Secondary);
            resources.retain(|resource| {
                minor.is_some_and(|minor| has(resource, minor)) || is_on(resource, path, call)
            });
            if resources.is_empty() && !none_is_primary {
                return None;
            }
        }
    }
    Some(resources)
}

fn is_on(resource: &Resource, path: &Path, call: &Call) -> bool {
    let mut disks = resource.volumes.iter().filter_map(|volume| volume.backing.as_deref());
    disks.any(|disk| target::same_disk(&call.host, Path::new(disk), path))
}

/// The last resort: the configuration tells the name and the devices, the kernel or drbdadm the role.
fn by_role(target: &Target, kernel: &Kernel, call: &Call) -> Result<Observed> {
    let name = match target {
        Target::All | Target::Unnamed => {
            return Err(Error::generic("the state of all resources cannot be read"));
        }
        target => name_of(target, call)?,
    };
    if let Kernel::Old(proc) = kernel
        && let Ok(minors) = configured_minors(&name, call)
    {
        // The file was whole, so what it does not have is not up.
        let found = minors.iter().filter_map(|minor| proc.minor(*minor)?.resource(&name));
        return Ok(Observed::parts(found.collect()));
    }
    let output = drbdadm(call, "role", &name)?;
    if output.succeeded() {
        let roles = answers::roles(&output.stdout)
            .map_err(|why| Error::generic(format_args!("drbdadm role {name} cannot be understood: {why}")))?;
        return Ok(Observed::Roles(roles));
    }
    if is_not_up(&output) {
        return Ok(Observed::NotUp);
    }
    Err(Error::generic(format_args!("the role of {name} is unknown: drbdadm: {}", output.complaint())))
}

/// True if the kernel said that it has no such resource or device.
pub fn is_not_up(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr).to_ascii_lowercase();
    output.code == Some(10)
        && ["unknown resource", "unknown minor", "device minor not allocated"]
            .iter()
            .any(|why| text.contains(why))
}

fn drbdadm(call: &Call, action: &str, name: &str) -> Result<Output> {
    call.tool("drbdadm")?.arg(action).arg(name).within(call.remaining() / 2).run()
}

/// The lines that `drbdadm` answers, which come from the configuration alone.
fn lines(call: &Call, words: &[&str]) -> Result<Vec<String>> {
    let mut tool = call.tool("drbdadm")?;
    for word in words {
        tool = tool.arg(word);
    }
    let output = tool.within(call.remaining() / 2).run()?;
    if output.succeeded() {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // It ends its last line too.
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(Error::generic(format_args!("drbdadm {} broke off", words.join(" "))));
        }
        return Ok(text.split_ascii_whitespace().map(str::to_string).collect());
    }
    let error = format!("drbdadm {}: {}", words.join(" "), output.complaint());
    // Known to be missing from this node's configuration, or drbdadm in trouble. A configuration without any resource
    // knows nothing of what is up.
    Err(if complains(&output, NOT_DEFINED) { Error::installed(error) } else { Error::generic(error) })
}

const NOT_DEFINED: &str = "not defined in your config";

fn complains(output: &Output, words: &str) -> bool {
    output.code == Some(1) && String::from_utf8_lossy(&output.stderr).contains(words)
}

/// True if drbdadm found no such resource in the configuration, or none at all.
pub fn is_not_defined(output: &Output) -> bool {
    complains(output, NOT_DEFINED) || complains(output, "no resources defined")
}

/// All resources of this node's configuration.
pub fn configured(call: &Call) -> Result<Vec<String>> {
    lines(call, &["sh-resources"])
}

/// The devices that the configuration gives to a resource.
fn configured_minors(name: &str, call: &Call) -> Result<Vec<u32>> {
    let devices = lines(call, &["sh-dev", name])?;
    let minors: Option<Vec<u32>> =
        devices.iter().map(|device| minor_on(&call.host, Path::new(device))).collect();
    minors
        .filter(|minors| !minors.is_empty())
        .ok_or_else(|| Error::generic(format_args!("the devices of {name} are not known")))
}

/// Fails if this node's configuration does not have the target.
pub fn is_configured(target: &Target, call: &Call) -> Result<()> {
    let name = name_of(target, call)?;
    lines(call, &["sh-dev", &name]).map(drop)
}

/// The disks of the resource that are not there.
pub fn missing_disks(name: &str, call: &Call) -> Vec<String> {
    let mut disks = lines(call, &["sh-ll-dev", name]).unwrap_or_default();
    disks.retain(|disk| disk.starts_with("/dev/") && !call.host.exists(disk));
    disks
}

/// The target's name, for drbdadm.
pub fn name_of(target: &Target, call: &Call) -> Result<String> {
    let links = target::links(&call.host);
    let by_minor = |minor: u32| links.iter().find(|(_, found)| *found == minor).map(|(name, _)| name.clone());
    let (found, what) = match target {
        Target::Name(name) => return Ok(name.clone()),
        Target::All => return Ok("all".into()),
        Target::Unnamed => return the_only_one(call),
        Target::Minor(minor) => (by_minor(*minor), format!("/dev/drbd{minor}")),
        Target::Backing(path) => (
            minor_on(&call.host, path).and_then(by_minor),
            crate::printable(path.as_os_str().as_encoded_bytes()),
        ),
    };
    if let Some(name) = found {
        return Ok(name);
    }
    for name in configured(call)? {
        let is_it = match target {
            Target::Minor(minor) => configured_minors(&name, call)?.contains(minor),
            Target::Backing(path) => lines(call, &["sh-ll-dev", &name])?
                .iter()
                .any(|disk| target::same_disk(&call.host, Path::new(disk), path)),
            _ => false,
        };
        if is_it {
            return Ok(name);
        }
    }
    Err(Error::installed(format_args!("no DRBD resource in this node's configuration has {what}")))
}

/// Without a name, the old script meant all resources. That is what somebody wants who has one.
fn the_only_one(call: &Call) -> Result<String> {
    let names = configured(call)?;
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err(Error::installed("no DRBD resource is in this node's configuration")),
        several => Err(Error::args(format_args!(
            "no resource is named and this node has {} ({}): name one, or all",
            several.len(),
            several.join(", ")
        ))),
    }
}

/// The devices that a resource has now, as far as anything tells.
pub fn minors(name: &str, call: &Call) -> Vec<u32> {
    let links = target::links(&call.host).into_iter();
    let linked: Vec<u32> =
        links.filter(|(found, _)| found == name || name == "all").map(|(_, minor)| minor).collect();
    if linked.is_empty() { configured_minors(name, call).unwrap_or_default() } else { linked }
}
