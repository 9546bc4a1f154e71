//! iSCSI by the kernel's own target, through configfs alone.
//!
//! The portal group is enabled last and disabled first: a LUN that goes under a client is a remote I/O error for it, and
//! one whose target does not answer waits. The kernel holds the device (O_EXCL) for as long as the backstore exists.

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
use std::net::SocketAddr;

const ROOT: &str = "/sys/kernel/config/target";
const MODULES: [&str; 3] = ["target_core_mod", "target_core_iblock", "iscsi_target_mod"];
/// The port that IANA has given to iSCSI.
const USUAL_PORT: u16 = 3260;
/// The adapter that the backstores hang on; exports share it.
const ADAPTER: &str = "/sys/kernel/config/target/core/iblock_0";
const FABRIC: &str = "/sys/kernel/config/target/iscsi";

/// The backend.
#[derive(Debug)]
pub struct Lio;

/// The backstore of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Store {
    device: String,
    is_it: bool,
    enabled: bool,
    serial: String,
    readonly: bool,
}

/// What the kernel has of the export.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    store: Option<Store>,
    /// The target: whether it is there, its portal group is on, and the backstore is LUN 0.
    target: bool,
    enabled: bool,
    lun: bool,
    portals: BTreeSet<String>,
    any_initiator: bool,
    initiators: BTreeSet<String>,
}

/// What it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    serial: String,
    readonly: bool,
    portal: String,
    any_initiator: bool,
    initiators: BTreeSet<String>,
}

impl Wanted {
    fn of(export: &Export) -> Self {
        Self {
            serial: export.identity.uuid.clone(),
            readonly: export.readonly,
            portal: SocketAddr::new(export.listen, export.port_or(USUAL_PORT)).to_string(),
            any_initiator: export.access == Access::Any,
            initiators: export.access.of(Kind::Initiator).into_iter().collect(),
        }
    }
}

/// What it means; a decision on plain values.
fn verdict(seen: &Seen, wanted: &Wanted) -> Found {
    let Some(store) = seen.store.as_ref().filter(|store| store.enabled) else {
        return if seen.enabled {
            Found::Partial("has a target without a device".into())
        } else if seen.store.is_none() && !seen.target {
            Found::Absent
        } else {
            Found::Remains
        };
    };
    if !store.is_it {
        return Found::Different(format!("offers {}", store.device));
    }
    if store.serial != wanted.serial {
        return Found::Different(format!("has the serial number {}, as another disk", store.serial));
    }
    if store.readonly != wanted.readonly {
        let mode = if store.readonly { "for reading only" } else { "for writing" };
        return Found::Different(format!("offers {} {mode}", store.device));
    }
    if !seen.enabled || !seen.lun {
        return Found::Partial(format!("holds {}, but no client can reach it", store.device));
    }
    if !seen.portals.contains(&wanted.portal) {
        let portals: Vec<&str> = seen.portals.iter().map(String::as_str).collect();
        return Found::Different(format!("listens on '{}'", portals.join(" ")));
    }
    if seen.any_initiator != wanted.any_initiator {
        let who =
            if seen.any_initiator { "admits every initiator" } else { "does not admit every initiator" };
        return Found::Whole(Some(format!("it {who}, unlike allow")));
    }
    let missing = wanted.initiators.difference(&seen.initiators).next();
    let strange = seen.initiators.difference(&wanted.initiators).next();
    let missing = missing.map(|name| format!("initiator {name} is not admitted"));
    let strange = strange.map(|name| format!("initiator {name} is admitted"));
    Found::Whole(missing.or(strange).map(|why| format!("{why}, unlike allow")))
}

fn store(export: &Export) -> String {
    format!("{ADAPTER}/{}", export.name)
}

fn target(export: &Export) -> String {
    format!("{FABRIC}/{}", export.identity.iqn)
}

fn group(export: &Export) -> String {
    format!("{}/tpgt_1", target(export))
}

fn see_store(export: &Export, call: &Call) -> Result<Option<Store>> {
    let configfs = Configfs(call);
    let store = store(export);
    if !configfs.has(&store) {
        return Ok(None);
    }
    let read = |name: &str| Ok(configfs.read(&format!("{store}/{name}"))?.unwrap_or_default());
    let enabled = read("enable")? == "1";
    // "T10 VPD Unit Serial Number: ..."
    let serial = read("wwn/vpd_unit_serial")?;
    let info = read("info")?;
    // The attribute udev_path would be a note of targetcli's; this is what the kernel has open.
    let path = info.split_once("UDEV PATH: ").and_then(|(_, rest)| rest.split_once("  readonly: "));
    let device = path.map(|(path, _)| path.to_owned()).unwrap_or_default();
    Ok(Some(Store {
        is_it: enabled && call.action != "stop" && device::is_it(export, &device, call)?,
        device,
        enabled,
        serial: serial.rsplit(": ").next().unwrap_or_default().to_string(),
        readonly: info.contains("readonly: 1"),
    }))
}

fn see(export: &Export, call: &Call) -> Result<Seen> {
    let configfs = Configfs(call);
    let nothing = Seen {
        store: None,
        target: false,
        enabled: false,
        lun: false,
        portals: BTreeSet::new(),
        any_initiator: false,
        initiators: BTreeSet::new(),
    };
    if is_absent(call, ROOT, "target_core_mod")? {
        return Ok(nothing);
    }
    let store = see_store(export, call)?;
    if !configfs.has(&target(export)) {
        return Ok(Seen { store, ..nothing });
    }
    let group = group(export);
    let is_on = |name: &str| -> Result<bool> {
        Ok(configfs.read(&format!("{group}/{name}"))?.is_some_and(|text| text == "1"))
    };
    let luns = configfs.list(&format!("{group}/lun/lun_0"))?;
    let is_ours = |name: &String| {
        configfs.target(&format!("{group}/lun/lun_0/{name}")).is_some_and(|store| store == export.name)
    };
    let mut initiators = BTreeSet::new();
    for name in configfs.list(&format!("{group}/acls"))? {
        // Who is admitted, but has no disk, is not.
        let entries = configfs.list(&format!("{group}/acls/{name}/lun_0"))?;
        let mapped =
            |entry: &String| configfs.target(&format!("{group}/acls/{name}/lun_0/{entry}")).is_some();
        if entries.iter().any(mapped) {
            initiators.insert(name);
        }
    }
    Ok(Seen {
        store,
        target: true,
        enabled: is_on("enable")?,
        lun: luns.iter().any(is_ours),
        portals: configfs.folders(&format!("{group}/np"))?.into_iter().collect(),
        any_initiator: is_on("attrib/generate_node_acls")?,
        initiators,
    })
}

impl Backend for Lio {
    fn word(&self) -> &'static str {
        "lio"
    }

    fn can(&self, export: &Export, call: &Call) -> Result<()> {
        if export.access.misses(Kind::Initiator) {
            return Err(Error::configured("allow names no iSCSI initiator (iqn...)"));
        }
        match MODULES.iter().find(|module| !kernel_has(call, module)) {
            Some(_) if call.host.exists(FABRIC) && call.host.exists(ADAPTER) => Ok(()),
            Some(module) => Err(Error::installed(format_args!("this kernel has no module {module}"))),
            None => Ok(()),
        }
    }

    fn look(&self, export: &Export, call: &Call) -> Result<Found> {
        Ok(verdict(&see(export, call)?, &Wanted::of(export)))
    }

    fn start(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        configfs.bring_up(ROOT, &MODULES)?;
        self.make_store(export, call)?;
        let why = |what: &'static str| move |error| failed(&export.name, what, &error);
        let (group, store) = (group(export), store(export));
        for item in [FABRIC, &target(export), &group, &format!("{group}/lun/lun_0")] {
            configfs.make(item).map_err(why("the iSCSI target cannot be made"))?;
        }
        configfs
            .link(&store, &format!("{group}/lun/lun_0/{}", export.name))
            .map_err(why("the LUN cannot be made"))?;
        let set = |name: &str, value: &str| configfs.write(&format!("{group}/{name}"), value);
        // Initiators are known by their names alone.
        set("attrib/authentication", "0").map_err(why("the target's attributes are refused"))?;
        self.admit(export, call)?;
        let portal = Wanted::of(export).portal;
        configfs.make(&format!("{group}/np/{portal}")).map_err(|error| {
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EADDRNOTAVAIL) => Error::generic(format_args!(
                    "export {}: {portal} is not on this node: listen on all, or set ip_nonlocal_bind",
                    export.name
                )),
                Some(Errno::EADDRINUSE) => Error::generic(format_args!(
                    "export {}: {portal} is taken by another program: free it or set port",
                    export.name
                )),
                _ => failed(&export.name, format_args!("the portal {portal} cannot be opened"), &error),
            }
        })?;
        set("enable", "1").map_err(why("the iSCSI target cannot be enabled"))
    }

    fn stop(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let (group, store) = (group(export), store(export));
        // Only once: the kernel refuses to disable what is disabled.
        let enable = format!("{group}/enable");
        if configfs.read(&enable)?.is_some_and(|text| text == "1") {
            call.step("disabling the iSCSI target");
            let written = configfs.write(&enable, "0");
            written.map_err(|error| failed(&export.name, "the iSCSI target cannot be disabled", &error))?;
        }
        self.dismiss(export, call)?;
        for portal in configfs.folders(&format!("{group}/np"))? {
            configfs.tidy(&format!("{group}/np/{portal}"));
        }
        call.step("taking the device out of the iSCSI target, which waits for the device");
        for lun in configfs.folders(&format!("{group}/lun"))? {
            let folder = format!("{group}/lun/{lun}");
            for entry in configfs.list(&folder)? {
                let link = format!("{folder}/{entry}");
                if configfs.target(&link).is_some() {
                    let gone = configfs.unlink(&link);
                    gone.map_err(|error| failed(&export.name, "the LUN cannot be removed", &error))?;
                }
            }
            configfs.tidy(&folder);
        }
        for item in [&group, &target(export)] {
            if configfs.has(item) {
                configfs.tidy(item);
            }
        }
        if configfs.has(&store) {
            call.step("removing the iSCSI backstore, which waits for the device");
            let gone = configfs.remove(&store);
            gone.map_err(|error| failed(&export.name, "the backstore cannot be removed", &error))?;
        }
        // It stays while another export hangs on it.
        if configfs.folders(ADAPTER)?.is_empty() {
            let _ = configfs.remove(ADAPTER);
        }
        Ok(())
    }

    fn ask(&self, export: &Export, call: &Call) -> Result<()> {
        let address = export.address_to_ask(USUAL_PORT);
        ask::iscsi(address, &export.identity.iqn, call).map_err(|why| {
            Error::generic(format_args!("export {} does not answer over iSCSI: {why}", export.name))
        })
    }
}

impl Lio {
    /// The backstore: the kernel opens the device here.
    fn make_store(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let store = store(export);
        let why = |what: &'static str| move |error| failed(&export.name, what, &error);
        for last in [false, true] {
            configfs.make(ADAPTER).map_err(why("the adapter of the backstores cannot be made"))?;
            match configfs.make(&store) {
                // Another export that stopped took it away in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !last => {}
                result => {
                    result.map_err(why("the backstore cannot be made"))?;
                    break;
                }
            }
        }
        let node = device::node(export, call)?;
        let shown = node.display();
        let mode = if export.readonly { ",readonly=1" } else { "" };
        let set = |name: &str, value: &str| configfs.write(&format!("{store}/{name}"), value);
        set("control", &format!("udev_path={shown}{mode}")).map_err(why("the device is refused"))?;
        set("wwn/vpd_unit_serial", &export.identity.uuid).map_err(why("the serial number is refused"))?;
        call.step("enabling the iSCSI backstore");
        set("enable", "1").map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EROFS | Errno::EACCES | Errno::EMEDIUMTYPE) => Error::generic(format_args!(
                "{shown} cannot be written here ({error}): a Secondary or write-protected?"
            )),
            Some(Errno::EBUSY) => Error::generic(format_args!("{shown} is in use here: free it first")),
            _ => failed(&export.name, format_args!("{shown} cannot be enabled"), &error),
        })
    }

    /// Admits those whom `allow` names.
    fn admit(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let group = group(export);
        let why = |what: &'static str| move |error| failed(&export.name, what, &error);
        match &export.access {
            Access::Any => {
                let protect = if export.readonly { "1" } else { "0" };
                for (name, value) in [
                    ("demo_mode_write_protect", protect),
                    ("cache_dynamic_acls", "1"),
                    ("generate_node_acls", "1"),
                ] {
                    configfs
                        .write(&format!("{group}/attrib/{name}"), value)
                        .map_err(why("every initiator cannot be admitted"))?;
                }
            }
            Access::Unnamed => {
                call.log.warn(format_args!(
                    "export {}: no initiator may connect, name some in allow",
                    export.name
                ));
            }
            Access::List(_) => {}
        }
        for name in export.access.of(Kind::Initiator) {
            let acl = format!("{group}/acls/{name}");
            for item in [&acl, &format!("{acl}/lun_0")] {
                configfs.make(item).map_err(why("an initiator of allow cannot be made"))?;
            }
            configfs
                .link(&format!("{group}/lun/lun_0"), &format!("{acl}/lun_0/lun_0"))
                .map_err(why("an initiator of allow cannot be given the LUN"))?;
        }
        Ok(())
    }

    /// Removes whoever is admitted. What stays of it keeps the target's directory, but not the device.
    fn dismiss(&self, export: &Export, call: &Call) -> Result<()> {
        let configfs = Configfs(call);
        let acls = format!("{}/acls", group(export));
        for name in configfs.folders(&acls)? {
            let acl = format!("{acls}/{name}");
            for lun in configfs.folders(&acl)?.iter().filter(|name| name.starts_with("lun_")) {
                let folder = format!("{acl}/{lun}");
                for entry in configfs.list(&folder)? {
                    let link = format!("{folder}/{entry}");
                    if configfs.target(&link).is_some()
                        && let Err(error) = configfs.unlink(&link)
                    {
                        call.log.warn(format_args!("{link} stays: {error}"));
                    }
                }
                configfs.tidy(&folder);
            }
            configfs.tidy(&acl);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            serial: "7f1c2a52-1111-5222-8333-444455556666".into(),
            readonly: false,
            portal: "0.0.0.0:3260".into(),
            any_initiator: false,
            initiators: ["iqn.client".to_string()].into(),
        }
    }

    fn whole() -> Seen {
        Seen {
            store: Some(Store {
                device: "/dev/drbd0".into(),
                is_it: true,
                enabled: true,
                serial: wanted().serial,
                readonly: false,
            }),
            target: true,
            enabled: true,
            lun: true,
            portals: [wanted().portal].into(),
            any_initiator: false,
            initiators: wanted().initiators,
        }
    }

    #[test]
    fn every_state_has_its_meaning() {
        let found = |change: fn(&mut Seen)| {
            let mut seen = whole();
            change(&mut seen);
            verdict(&seen, &wanted())
        };
        let of_store = |change: fn(&mut Store)| {
            let mut seen = whole();
            seen.store.as_mut().map(change);
            verdict(&seen, &wanted())
        };
        assert_eq!(found(|_| {}), Found::Whole(None));
        assert!(matches!(found(|seen| seen.store = None), Found::Partial(_)));
        assert!(matches!(of_store(|store| store.enabled = false), Found::Partial(_)));
        let off = |seen: &mut Seen| {
            seen.enabled = false;
            seen.store = None;
        };
        assert_eq!(found(off), Found::Remains);
        let mut nothing = whole();
        off(&mut nothing);
        nothing.target = false;
        assert_eq!(verdict(&nothing, &wanted()), Found::Absent);
        assert!(matches!(of_store(|store| store.is_it = false), Found::Different(_)));
        assert!(matches!(of_store(|store| store.serial.clear()), Found::Different(_)));
        assert!(matches!(of_store(|store| store.readonly = true), Found::Different(_)));
        assert!(matches!(found(|seen| seen.enabled = false), Found::Partial(_)));
        assert!(matches!(found(|seen| seen.lun = false), Found::Partial(_)));
        assert!(matches!(found(|seen| seen.portals.clear()), Found::Different(_)));
        assert!(matches!(found(|seen| seen.any_initiator = true), Found::Whole(Some(_))));
        assert!(matches!(found(|seen| seen.initiators.clear()), Found::Whole(Some(_))));
    }
}
