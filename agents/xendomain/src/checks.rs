//! What has to be true before a guest is created: its tools do not look.

use crate::XenDomain;
use crate::name::Description;
use crate::peers::{self, Answer, Witness};
use crate::toolstack::Toolstack;
use ocf::drbd::{self, target::Target, verdict::Verdict};
use ocf::state::drbd::{Connection, Role};
use ocf::state::mountinfo::Device;
use ocf::state::xen::config::Config;
use ocf::state::xen::disk::{self, Disk, Source};
use ocf::{Call, Error, Result, Text, holders, printable};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// A disk of the guest, and the DRBD resource that it is on.
#[derive(Debug)]
pub struct GuestDisk {
    /// What the configuration says.
    pub disk: Disk,
    /// What to ask DRBD for, if it is on DRBD.
    pub drbd: Option<Target>,
}

/// The disks that the configuration has, and what of them is on DRBD.
pub fn disks(config: &Config, call: &Call) -> Result<Vec<GuestDisk>> {
    let read = |text: &String| {
        let disk = disk::parse(text)
            .map_err(|why| Error::generic(format_args!("a disk of the guest cannot be understood: {why}")))?;
        let drbd = match &disk.source {
            Source::Device(path) => drbd_on(path, call),
            Source::Drbd(name) => Some(Target::parse(&Text::from(name.as_str())).map_err(|error| {
                Error::generic(format_args!("a disk of the guest names no DRBD resource: {error}"))
            })?),
            _ => None,
        };
        Ok(GuestDisk { disk, drbd })
    };
    config.disks.iter().map(read).collect()
}

/// The number that the kernel's developers gave to DRBD.
const DRBD_MAJOR: u32 = 147;

/// The DRBD device that the path is or leads to.
fn drbd_on(path: &str, call: &Call) -> Option<Target> {
    let by_text = Target::parse(&Text::from(path)).ok();
    if let Some(target @ (Target::Minor(_) | Target::Name(_))) = by_text {
        return Some(target);
    }
    if let Some(device) = number_of(path, call).filter(|device| device.major == DRBD_MAJOR) {
        return Some(Target::Minor(device.minor));
    }
    // A link of the administrator's own, such as /dev/guests/web.
    let mut link = std::path::PathBuf::from(path);
    for _ in 0..10 {
        let target = std::fs::read_link(call.host.path(&link)).ok()?;
        link = ocf::state::mountinfo::lexical(&link.parent()?.join(target));
        if let Some(text) = link.to_str()
            && let Ok(target @ (Target::Minor(_) | Target::Name(_))) = Target::parse(&Text::from(text))
        {
            return Some(target);
        }
    }
    None
}

fn number_of(path: &str, call: &Call) -> Option<Device> {
    let found = std::fs::metadata(call.host.path(Path::new(path))).ok()?;
    let number = found.rdev();
    found
        .file_type()
        .is_block_device()
        .then(|| Device { major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
}

/// How many disks the guest has once it runs.
pub fn attached(disks: &[GuestDisk]) -> usize {
    disks.iter().filter(|disk| !disk.disk.cdrom && disk.disk.source != Source::Empty).count()
}

/// Looks at every disk. The error is the first reason not to start.
pub fn disks_are_ready(disks: &[GuestDisk], name: &str, call: &Call) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for guest_disk in disks {
        let disk = &guest_disk.disk;
        match &disk.source {
            Source::Device(path) => {
                if seen.contains(&path.as_str()) && disk.writable {
                    return Err(Error::generic(format_args!("guest {name} has disk {} twice", show(path))));
                }
                seen.push(path);
                device_is_ready(path, guest_disk, name, call)?;
            }
            Source::File(path) => {
                if !call.host.exists(path) {
                    return Err(Error::generic(format_args!(
                        "disk {} of guest {name} does not exist",
                        show(path)
                    )));
                }
            }
            // The script that attaches it makes it Primary.
            Source::Drbd(_) | Source::Other(_) | Source::Empty => {}
        }
    }
    Ok(())
}

fn show(path: &str) -> String {
    printable(path.as_bytes())
}

fn device_is_ready(path: &str, disk: &GuestDisk, name: &str, call: &Call) -> Result<()> {
    let shown = show(path);
    call.step(&format!("looking at disk {shown}"));
    let found = match std::fs::metadata(call.host.path(Path::new(path))) {
        Ok(found) => found,
        Err(error) => {
            return Err(Error::generic(format_args!("disk {shown} of guest {name} cannot be used: {error}")));
        }
    };
    if call.host.is_real() && !found.file_type().is_block_device() {
        return Err(Error::generic(format_args!("disk {shown} of guest {name} is no block device")));
    }
    match &disk.drbd {
        Some(target) => match drbd::verdict(target, call)? {
            Verdict::Primary(trouble) => {
                if let Some(trouble) = trouble {
                    call.log.warn(trouble);
                }
            }
            Verdict::Secondary => {
                return Err(Error::generic(format_args!(
                    "disk {shown} of guest {name} is Secondary on this node: make it Primary first"
                )));
            }
            Verdict::Unconfigured => {
                return Err(Error::generic(format_args!(
                    "disk {shown} of guest {name} is not up in DRBD: bring it up and make it Primary first"
                )));
            }
            Verdict::Mixed => {
                return Err(Error::generic(format_args!(
                    "disk {shown} of guest {name} is not Primary throughout"
                )));
            }
        },
        None => is_below_drbd(path, &shown, name, call)?,
    }
    let Some(device) = number_of(path, call) else { return Ok(()) };
    let node = holders::node_of(call, device).unwrap_or_else(|| path.into());
    let users = holders::of_whole_device(call, device, &node);
    // Programs that only look at it come and go.
    let (looking, using): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| user.starts_with("process "));
    if !looking.is_empty() {
        call.log.info(format_args!("disk {shown} is open in {}", looking.join(", ")));
    }
    if !using.is_empty() && (disk.disk.writable || using.iter().any(|user| !user.starts_with("Xen domain ")))
    {
        return Err(Error::generic(format_args!(
            "disk {shown} of guest {name} is in use: {}",
            using.join(", ")
        )));
    }
    // Whatever the list does not know: RAID, a file system in a namespace that cannot be seen.
    if !call.host.is_real() || !disk.disk.writable {
        return Ok(());
    }
    match ocf::block::is_claimed(&node) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::generic(format_args!(
            "disk {shown} of guest {name} is claimed by something on this node: see lsblk and dmsetup table"
        ))),
        Err(error) => {
            Err(Error::generic(format_args!("disk {shown} of guest {name} cannot be opened: {error}")))
        }
    }
}

/// Refuses the disk below a DRBD resource: writing past DRBD is lost with the next failover.
fn is_below_drbd(path: &str, shown: &str, name: &str, call: &Call) -> Result<()> {
    if call.host.tool("drbdadm").is_none() {
        return match drbd::kernel(call) {
            drbd::Kernel::Absent => Ok(()),
            _ => Err(Error::generic(format_args!(
                "whether disk {shown} of guest {name} is below DRBD is unknown: drbdadm is not installed"
            ))),
        };
    }
    let below = Target::parse(&Text::from(path))
        .map_err(|_| Error::generic(format_args!("disk {shown} of guest {name} has no usable path")))?;
    match drbd::name_of(&below, call) {
        Ok(resource) => Err(Error::generic(format_args!(
            "disk {shown} of guest {name} is below DRBD resource {resource}: use its device instead"
        ))),
        // The whole configuration was read, and no resource has it.
        Err(error) if error.code() == ocf::ExitCode::Installed => Ok(()),
        Err(error) => Err(Error::generic(format_args!(
            "whether disk {shown} of guest {name} is below DRBD is unknown: {error}"
        ))),
    }
}

/// What DRBD says of the other nodes, for all disks together.
pub fn witness(disks: &[GuestDisk], call: &Call) -> Witness {
    let mut all_secondary = None;
    for target in disks.iter().filter_map(|disk| disk.drbd.as_ref()) {
        let Ok(drbd::Observed::Parts(parts)) = drbd::observe(target, call) else { return Witness::Nothing };
        let peers: Vec<_> = parts.iter().flat_map(|part| &part.peers).collect();
        if peers.iter().any(|peer| peer.role == Role::Primary) {
            return Witness::Primary;
        }
        let secondary = !peers.is_empty()
            && peers
                .iter()
                .all(|peer| peer.connection == Connection::Connected && peer.role == Role::Secondary);
        all_secondary = Some(all_secondary.unwrap_or(true) && secondary);
    }
    // A disk that is not on DRBD has no witness.
    let local = disks
        .iter()
        .any(|disk| disk.drbd.is_none() && disk.disk.writable && disk.disk.source != Source::Empty);
    if all_secondary == Some(true) && !local { Witness::Secondary } else { Witness::Nothing }
}

impl XenDomain {
    /// The guest may not run on any of the other nodes.
    pub fn is_nowhere_else(
        &self,
        tool: Toolstack,
        disks: &[GuestDisk],
        name: &str,
        call: &Call,
    ) -> Result<()> {
        // A cluster has one value for all nodes, so this node may be among them.
        let own = call.host.read_line("/proc/sys/kernel/hostname").unwrap_or_default();
        let mut hosts = peers::parse(&self.peers)?;
        hosts.retain(|host| !peers::is_this_node(host, &own));
        if hosts.is_empty() {
            return Ok(());
        }
        let witness = witness(disks, call);
        for host in hosts {
            call.step(&format!("asking {host} for guest {name}"));
            let answer = peers::ask(call, &host, name, tool.name());
            call.log.trace(format_args!("{host}: {answer:?}, DRBD: {witness:?}"));
            if let Answer::Unknown(why) = &answer {
                call.log.warn(format_args!("{host} does not say whether guest {name} runs there: {why}"));
            }
            peers::verdict(name, &host, &answer, witness, self.peer_unknown == crate::PeerUnknown::Allow)
                .map_err(Error::generic)?;
        }
        Ok(())
    }
}

/// What libvirt manages, nobody else may start.
pub fn is_not_libvirts(name: &str, call: &Call) -> Result<()> {
    if call.host.exists(format!("/etc/libvirt/libxl/{name}.xml")) {
        return Err(Error::generic(format_args!(
            "guest {name} belongs to libvirt (/etc/libvirt/libxl): use VirtualDomain, or undefine it there"
        )));
    }
    Ok(())
}

/// The configuration that a guest is created from.
pub fn description(agent: &XenDomain, name: &str, call: &Call) -> Result<(std::path::PathBuf, Config)> {
    match agent.describe(call)? {
        Some(Description { path, config: Ok(config) }) => Ok((path, config)),
        Some(Description { path, config: Err(why) }) => Err(Error::generic(format_args!(
            "{} cannot be understood: {why}",
            printable(path.as_os_str().as_encoded_bytes())
        ))),
        None if agent.xmfile.is_empty() => Err(Error::installed(format_args!(
            "no configuration of guest {name} is in /etc/xen, its vm and auto, or /etc/xend"
        ))),
        None => Err(Error::installed(format_args!("the configuration {} does not exist", agent.xmfile))),
    }
}
