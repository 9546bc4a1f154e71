//! NVMe over TCP by the kernel's own target, through configfs alone.
//!
//! The order is what clients live on. A namespace that is disabled while its subsystem is still in a port, or a subsystem
//! that gets into a port before its namespace is enabled, makes clients delete the disk, and what they write gets EIO. So
//! the link in the port is the last thing that is made and the first that goes. The identity must be the same on every
//! node: a client sees another uuid only after it has written.

use crate::access::{Access, Kind};
use crate::ask;
use crate::backend::{Backend, Found};
use crate::configfs::{Configfs, failed, is_absent, kernel_has};
use crate::device;
use crate::export::Export;
use nix::errno::Errno;
use ocf::{Call, Error, Result};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/kernel/config/nvmet";
/// Its transport brings the target itself along.
const MODULE: &str = "nvmet-tcp";
/// The port that IANA has given to NVMe over TCP discovery and I/O.
const USUAL_PORT: u16 = 4420;
const MODEL: &str = "gnbd-export";
/// Ports that the agent makes have numbers from here on, so that it never removes those of others.
const FIRST_PORT: u16 = 20_000;
/// How long start goes on when others make and remove ports at the same moment.
const PORT_PATIENCE: Duration = Duration::from_secs(2);

/// The backend.
#[derive(Debug)]
pub struct Nvmet;

/// What the kernel has of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// Device of the namespace, and whether it is the export's.
    device: String,
    is_it: bool,
    enabled: bool,
    /// Another namespace of the subsystem that holds a device.
    other: Option<String>,
    uuid: String,
    nguid: String,
    /// Where it is offered: type, address, service of each port.
    ports: Vec<[String; 3]>,
    any_host: bool,
    hosts: BTreeSet<String>,
}

/// What it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    uuid: String,
    port: [String; 3],
    any_host: bool,
    hosts: BTreeSet<String>,
}

impl Wanted {
    fn of(export: &Export) -> Self {
        Self {
            uuid: export.identity.uuid.clone(),
            port: ["tcp".into(), export.listen.to_string(), export.port_or(USUAL_PORT).to_string()],
            any_host: export.access == Access::Any,
            hosts: export.access.of(Kind::Host).into_iter().collect(),
        }
    }
}

/// What it means; a decision on plain values.
fn verdict(seen: Option<&Seen>, wanted: &Wanted) -> Found {
    let Some(seen) = seen else { return Found::Absent };
    if let Some(number) = &seen.other {
        return Found::Different(format!("has a namespace {number} that it should not have"));
    }
    if !seen.enabled {
        return if seen.ports.is_empty() {
            Found::Remains
        } else {
            Found::Partial("is in a port, but its namespace is not enabled".into())
        };
    }
    if !seen.is_it {
        return Found::Different(format!("offers {}", seen.device));
    }
    let digits = |text: &str| text.replace('-', "").to_ascii_lowercase();
    for (what, id) in [("uuid", &seen.uuid), ("nguid", &seen.nguid)] {
        if digits(id) != digits(&wanted.uuid) {
            return Found::Different(format!("has the {what} {id}, on which clients give up"));
        }
    }
    if seen.ports.is_empty() {
        return Found::Partial(format!("holds {}, but is in no port", seen.device));
    }
    if !seen.ports.contains(&wanted.port) {
        let [_, address, service] = seen.ports.first().cloned().unwrap_or_default();
        return Found::Different(format!("listens on {address} port {service}"));
    }
    if seen.any_host != wanted.any_host {
        let who = if seen.any_host { "admits every host" } else { "does not admit every host" };
        return Found::Whole(Some(format!("it {who}, unlike allow")));
    }
    let missing =
        wanted.hosts.difference(&seen.hosts).next().map(|host| format!("host {host} is not admitted"));
    let strange = seen.hosts.difference(&wanted.hosts).next().map(|host| format!("host {host} is admitted"));
    Found::Whole(missing.or(strange).map(|why| format!("{why}, unlike allow")))
}

fn subsystem(export: &Export) -> String {
    format!("{ROOT}/subsystems/{}", export.identity.nqn)
}

fn namespace(export: &Export) -> String {
    format!("{}/namespaces/1", subsystem(export))
}

/// The links of ports to the export, by whatever name.
fn links(export: &Export, call: &Call) -> Result<Vec<(String, String)>> {
    let configfs = Configfs(call);
    let mut found = Vec::new();
    for port in configfs.list(&format!("{ROOT}/ports"))? {
        let folder = format!("{ROOT}/ports/{port}/subsystems");
        for name in configfs.list(&folder)? {
            let link = format!("{folder}/{name}");
            if name == export.identity.nqn
                || configfs.target(&link).is_some_and(|to| to == export.identity.nqn)
            {
                found.push((port.clone(), link));
            }
        }
    }
    Ok(found)
}

/// Type, address and service of a port.
fn address_of(port: &str, call: &Call) -> Result<[String; 3]> {
    let read = |name: &str| Configfs(call).read(&format!("{ROOT}/ports/{port}/addr_{name}"));
    Ok([read("trtype")?, read("traddr")?, read("trsvcid")?].map(Option::unwrap_or_default))
}

fn see(export: &Export, call: &Call) -> Result<Option<Seen>> {
    let configfs = Configfs(call);
    if is_absent(call, ROOT, "nvmet")? || !configfs.has(&subsystem(export)) {
        return Ok(None);
    }
    let attribute = |name: &str| configfs.read(&format!("{}/{name}", namespace(export)));
    let device = attribute("device_path")?.unwrap_or_default();
    let enabled = attribute("enable")?.unwrap_or_else(|| "0".into()) != "0";
    let mut other = None;
    let namespaces = format!("{}/namespaces", subsystem(export));
    for number in configfs.list(&namespaces)?.into_iter().filter(|number| number != "1") {
        if configfs.read(&format!("{namespaces}/{number}/enable"))?.is_some_and(|text| text != "0") {
            other = Some(number);
        }
    }
    let mut ports = Vec::new();
    for (port, _) in links(export, call)? {
        ports.push(address_of(&port, call)?);
    }
    let any_host = configfs.read(&format!("{}/attr_allow_any_host", subsystem(export)))?;
    Ok(Some(Seen {
        is_it: enabled && call.action != "stop" && device::is_it(export, &device, call)?,
        device,
        enabled,
        other,
        uuid: attribute("device_uuid")?.unwrap_or_default(),
        nguid: attribute("device_nguid")?.unwrap_or_default(),
        ports,
        any_host: any_host.is_some_and(|word| word == "1"),
        hosts: configfs.list(&format!("{}/allowed_hosts", subsystem(export)))?.into_iter().collect(),
    }))
}

impl Backend for Nvmet {
    fn word(&self) -> &'static str {
        "nvmet"
    }

    fn can(&self, export: &Export, call: &Call) -> Result<()> {
        if export.readonly {
            return Err(Error::configured("nvmet cannot offer a device for reading only"));
        }
        if export.access.misses(Kind::Host) {
            return Err(Error::configured("allow names no NVMe host (nqn...)"));
        }
        if !call.host.exists(ROOT) && !kernel_has(call, MODULE) {
            return Err(Error::installed("this kernel has no module nvmet-tcp"));
        }
        Ok(())
    }

    fn look(&self, export: &Export, call: &Call) -> Result<Found> {
        Ok(verdict(see(export, call)?.as_ref(), &Wanted::of(export)))
    }

    fn start(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        configfs.bring_up(ROOT, &[MODULE])?;
        let why = |what: &'static str| move |error| failed(&export.name, what, &error);
        let (subsystem, namespace) = (subsystem(export), namespace(export));
        let identity = &export.identity;
        configfs.make(&subsystem).map_err(why("the subsystem cannot be made"))?;
        let set = |name: &str, value: &str| configfs.write(&format!("{subsystem}/{name}"), value);
        set("attr_serial", &identity.serial).map_err(why("the serial number is refused"))?;
        match set("attr_model", MODEL) {
            // Before Linux 5.8 every subsystem is called Linux.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(why("the model is refused"))?,
        }
        self.admit(export, call)?;
        configfs.make(&namespace).map_err(why("the namespace cannot be made"))?;
        let set = |name: &str, value: &str| configfs.write(&format!("{namespace}/{name}"), value);
        let node = device::node(export, call)?;
        set("device_path", &node.to_string_lossy()).map_err(why("the device is refused"))?;
        set("device_uuid", &identity.uuid).map_err(why("the uuid is refused"))?;
        set("device_nguid", &identity.uuid).map_err(why("the nguid is refused"))?;
        call.step("enabling the NVMe namespace");
        set("enable", "1").map_err(|error| {
            let shown = node.display();
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EROFS | Errno::EACCES | Errno::EMEDIUMTYPE) => Error::generic(format_args!(
                    "{shown} cannot be written here ({error}): a Secondary or write-protected?"
                )),
                _ => failed(&export.name, format_args!("{shown} cannot be enabled"), &error),
            }
        })?;
        offer(export, call)
    }

    fn stop(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let subsystem = subsystem(export);
        for (_, link) in links(export, call)? {
            configfs
                .unlink(&link)
                .map_err(|error| failed(&export.name, "cannot be taken out of its port", &error))?;
        }
        let namespaces = configfs.list(&format!("{subsystem}/namespaces"))?;
        for number in &namespaces {
            // The kernel finishes the requests that are under way first.
            call.step("disabling the NVMe namespace, which waits for the device");
            match configfs.write(&format!("{subsystem}/namespaces/{number}/enable"), "0") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&export.name, "the namespace cannot be disabled", &error));
                }
                _ => {}
            }
        }
        // The device is free now. What follows is cleaning.
        let hosts = configfs.list(&format!("{subsystem}/allowed_hosts"))?;
        for host in &hosts {
            if let Err(error) = configfs.unlink(&format!("{subsystem}/allowed_hosts/{host}")) {
                call.log.warn(format_args!("host {host} stays: {error}"));
            }
        }
        for number in &namespaces {
            configfs.tidy(&format!("{subsystem}/namespaces/{number}"));
        }
        if configfs.has(&subsystem) {
            configfs.tidy(&subsystem);
        }
        for port in configfs.list(&format!("{ROOT}/ports"))? {
            tidy_port(&port, call)?;
        }
        let named = export.access.of(Kind::Host);
        for host in hosts.into_iter().chain(named) {
            tidy_host(&host, call)?;
        }
        Ok(())
    }

    fn ask(&self, export: &Export, call: &Call) -> Result<()> {
        let host = export.access.of(Kind::Host).into_iter().next();
        ask::nvme(export.address_to_ask(USUAL_PORT), &export.identity.nqn, host.as_deref(), call).map_err(
            |error| Error::generic(format_args!("export {} does not answer over NVMe: {error}", export.name)),
        )
    }
}

impl Nvmet {
    /// Admits those whom `allow` names.
    fn admit(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let subsystem = subsystem(export);
        let why = |what: &'static str| move |error| failed(&export.name, what, &error);
        match &export.access {
            Access::Any => configfs
                .write(&format!("{subsystem}/attr_allow_any_host"), "1")
                .map_err(why("every host cannot be admitted"))?,
            Access::Unnamed => {
                call.log
                    .warn(format_args!("export {}: no host may connect, name some in allow", export.name));
            }
            Access::List(_) => {}
        }
        for host in export.access.of(Kind::Host) {
            let item = format!("{ROOT}/hosts/{host}");
            let link = format!("{subsystem}/allowed_hosts/{host}");
            for last in [false, true] {
                configfs.make(&item).map_err(why("a host of allow cannot be made"))?;
                match configfs.link(&item, &link) {
                    // Another export that stopped took it away in between.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && !last => {}
                    result => {
                        result.map_err(why("a host of allow cannot be admitted"))?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Puts the export into a port with the address that it wants. The kernel binds an address once, so exports share it.
fn offer(export: &Export, call: &Call) -> Result<()> {
    let configfs = Configfs(call);
    let wanted = Wanted::of(export).port;
    let [_, address, service] = &wanted;
    let until = call.within(PORT_PATIENCE);
    loop {
        let mut port = None;
        for candidate in configfs.list(&format!("{ROOT}/ports"))? {
            if address_of(&candidate, call)? == wanted {
                port = Some(candidate);
                break;
            }
        }
        let port = match port {
            Some(port) => port,
            None => make_port(export, &wanted, call)?,
        };
        let link = format!("{ROOT}/ports/{port}/subsystems/{}", export.identity.nqn);
        call.step("putting the export into its NVMe port");
        let Err(error) = configfs.link(&subsystem(export), &link) else { return Ok(()) };
        tidy_port(&port, call)?;
        let errno = error.raw_os_error().map(Errno::from_raw);
        // Another export was just making or removing the port.
        let passes = matches!(errno, Some(Errno::ENOENT | Errno::EADDRINUSE));
        if !passes || Instant::now() >= until {
            let name = &export.name;
            return Err(match errno {
                Some(Errno::EADDRNOTAVAIL) => Error::generic(format_args!(
                    "export {name}: {address} is not on this node: listen on all, or set ip_nonlocal_bind"
                )),
                Some(Errno::EADDRINUSE) => Error::generic(format_args!(
                    "export {name}: {address} port {service} is taken by another program: free it or set port"
                )),
                _ => failed(name, format_args!("{address} port {service} cannot be opened"), &error),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a port with that address.
fn make_port(export: &Export, wanted: &[String; 3], call: &Call) -> Result<String> {
    let configfs = Configfs(call);
    let [kind, address, service] = wanted;
    let family = if export.listen.is_ipv6() { "ipv6" } else { "ipv4" };
    let why = |what: &'static str| move |error| failed(&export.name, what, &error);
    for number in FIRST_PORT..=u16::MAX {
        let port = format!("{ROOT}/ports/{number}");
        if configfs.has(&port) || !configfs.make(&port).map_err(why("the NVMe port cannot be made"))? {
            continue;
        }
        let set = [("trtype", kind.as_str()), ("adrfam", family), ("traddr", address), ("trsvcid", service)]
            .iter()
            .try_for_each(|(name, value)| configfs.write(&format!("{port}/addr_{name}"), value));
        if let Err(error) = set {
            if error.kind() == io::ErrorKind::NotFound {
                // Another export that stopped took it for a forgotten one; the link will fail, and it is made again.
                return Ok(number.to_string());
            }
            configfs.tidy(&port);
            return Err(failed(&export.name, "the address of its NVMe port is refused", &error));
        }
        return Ok(number.to_string());
    }
    Err(Error::generic(format_args!("export {}: all NVMe ports are in use", export.name)))
}

/// Removes a port that the agent made, unless another export is in it. The kernel sees to that.
fn tidy_port(port: &str, call: &Call) -> Result<()> {
    let configfs = Configfs(call);
    if port.parse::<u16>().is_ok_and(|number| number >= FIRST_PORT)
        && configfs.list(&format!("{ROOT}/ports/{port}/subsystems"))?.is_empty()
    {
        let _ = configfs.remove(&format!("{ROOT}/ports/{port}"));
    }
    Ok(())
}

/// Removes a host that no subsystem admits any more; the kernel keeps one that another admits. One with a key was set up
/// by somebody.
fn tidy_host(host: &str, call: &Call) -> Result<()> {
    let configfs = Configfs(call);
    let item = format!("{ROOT}/hosts/{host}");
    let key = configfs.read(&format!("{item}/dhchap_key"))?.unwrap_or_default();
    if key.is_empty() {
        let _ = configfs.remove(&item);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            uuid: "7f1c2a52-1111-5222-8333-444455556666".into(),
            port: ["tcp", "0.0.0.0", "4420"].map(String::from),
            any_host: false,
            hosts: ["nqn.client".to_string()].into(),
        }
    }

    fn whole() -> Seen {
        Seen {
            device: "/dev/drbd0".into(),
            is_it: true,
            enabled: true,
            other: None,
            uuid: wanted().uuid,
            nguid: wanted().uuid,
            ports: vec![wanted().port],
            any_host: false,
            hosts: wanted().hosts,
        }
    }

    #[test]
    fn every_state_has_its_meaning() {
        let found = |change: fn(&mut Seen)| {
            let mut seen = whole();
            change(&mut seen);
            verdict(Some(&seen), &wanted())
        };
        assert_eq!(verdict(None, &wanted()), Found::Absent);
        assert_eq!(found(|_| {}), Found::Whole(None));
        assert_eq!(found(|seen| seen.nguid = seen.nguid.replace('-', "")), Found::Whole(None));
        assert_eq!(
            found(|seen| {
                seen.enabled = false;
                seen.ports.clear();
            }),
            Found::Remains
        );
        assert!(matches!(found(|seen| seen.enabled = false), Found::Partial(_)));
        let other = |seen: &mut Seen| {
            seen.enabled = false;
            seen.ports.clear();
            seen.other = Some("2".into());
        };
        assert!(matches!(found(other), Found::Different(_)), "it holds a device");
        assert!(matches!(found(|seen| seen.ports.clear()), Found::Partial(_)));
        assert!(matches!(found(|seen| seen.is_it = false), Found::Different(_)));
        assert!(matches!(found(|seen| seen.uuid = "1".into()), Found::Different(_)));
        assert!(matches!(found(|seen| seen.nguid = "1".into()), Found::Different(_)));
        assert!(matches!(found(|seen| seen.ports[0][2] = "4421".into()), Found::Different(_)));
        assert!(matches!(found(|seen| seen.any_host = true), Found::Whole(Some(_))));
        assert!(matches!(found(|seen| seen.hosts.clear()), Found::Whole(Some(_))));
        assert!(matches!(
            found(|seen| seen.hosts = ["nqn.client", "nqn.x"].map(String::from).into()),
            Found::Whole(Some(_))
        ));
    }
}
