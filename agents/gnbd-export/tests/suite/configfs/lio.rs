//! The rules of LIO (drivers/target of Linux 6.1), each as recorded.

use nix::errno::Errno;

use super::tree::{Answer, DeviceIs, Tree, boolean};

const STORE: &[&str] = &[
    "alua/",
    "alua/default_tg_pt_gp/",
    "attrib/",
    "attrib/block_size=512",
    "wwn/",
    "wwn/vpd_unit_serial=T10 VPD Unit Serial Number: ",
    "alias=",
    "control=",
    "enable=0",
    "info=Status: DEACTIVATED  Max Queue Depth: 0  SectorSize: 0  HwMaxSectors: 0",
    "udev_path=",
];
const GROUP: &[&str] = &[
    "acls/",
    "attrib/",
    "auth/",
    "lun/",
    "np/",
    "param/",
    "attrib/authentication=1",
    "attrib/cache_dynamic_acls=0",
    "attrib/demo_mode_write_protect=1",
    "attrib/generate_node_acls=0",
    "dynamic_sessions=",
    "enable=0",
];

impl Tree {
    pub(super) fn make_lio(&mut self, path: &str, parts: &[&str]) -> Answer {
        match parts {
            [_, "core", adapter] => {
                adapter.strip_prefix("iblock_").and_then(|n| n.parse::<u32>().ok()).ok_or(Errno::EINVAL)?;
                self.grow(path, &["hba_info=HBA Index: 1", "hba_mode=0"]);
            }
            [_, "core", _, _] => self.grow(path, STORE),
            [_, "iscsi"] => self.grow(path, &["discovery_auth/", "lio_version=v4.1.0", "cpus_allowed_list="]),
            [_, "iscsi", _] => {}
            [_, "iscsi", _, group] => {
                group.strip_prefix("tpgt_").and_then(|n| n.parse::<u16>().ok()).ok_or(Errno::EINVAL)?;
                self.grow(path, GROUP);
            }
            [_, "iscsi", _, _, "lun", lun] | [_, "iscsi", _, _, "acls", _, lun] => {
                lun.strip_prefix("lun_").and_then(|n| n.parse::<u32>().ok()).ok_or(Errno::EINVAL)?;
                let attributes: &[&str] =
                    if parts.len() == 7 { &["write_protect=0"] } else { &["alua_tg_pt_gp="] };
                self.grow(path, attributes);
            }
            [_, "iscsi", _, _, "acls", name] => {
                let text = format!("info=No active iSCSI Session for Initiator Endpoint: {name}");
                self.grow(path, &["attrib/", "auth/", "param/", &text]);
            }
            [_, "iscsi", _, _, "np", portal] => {
                let address: std::net::SocketAddr = portal.parse().map_err(|_| Errno::EINVAL)?;
                let ip = address.ip();
                if !ip.is_unspecified() && !self.addresses.contains(&ip.to_string()) {
                    return Err(Errno::EADDRNOTAVAIL);
                }
                if self.taken.contains(&format!("{ip}:{}", address.port())) {
                    return Err(Errno::EADDRINUSE);
                }
                self.grow(path, &["iser=0"]);
            }
            _ => return Err(Errno::EPERM),
        }
        Ok(())
    }

    pub(super) fn link_lio(&mut self, target: &str, parts: &[&str]) -> Answer {
        match parts {
            [_, "iscsi", _, _, "lun", _, _] if target.starts_with("target/core/") => {
                // The kernel refuses a backstore that has no device yet.
                if self.text(&format!("{target}/enable")) == "1" { Ok(()) } else { Err(Errno::ENODEV) }
            }
            [_, "iscsi", iqn, group, "acls", _, _, _]
                if target.starts_with(&format!("target/iscsi/{iqn}/{group}/lun/")) =>
            {
                if self.links_in(target).is_empty() { Err(Errno::ENODEV) } else { Ok(()) }
            }
            _ => Err(Errno::EPERM),
        }
    }

    /// A LUN that goes while its group is enabled is an I/O error for the client.
    pub(super) fn before_unlink_lio(&mut self, path: &str) {
        let Some((group, _)) = path.split_once("/lun/").or_else(|| path.split_once("/acls/")) else { return };
        if self.has(&format!("{group}/enable")) && self.text(&format!("{group}/enable")) == "1" {
            self.harm.push(format!("{path} went while its group was enabled"));
        }
    }

    pub(super) fn write_lio(&mut self, path: &str, parts: &[&str], text: &str) -> Answer {
        if !matches!(self.entries.get(path), Some(super::tree::Entry::Attribute(_))) {
            return Err(Errno::ENOENT);
        }
        match parts {
            [_, "core", adapter, name, attribute @ ..] => {
                let store = format!("target/core/{adapter}/{name}");
                let enabled = self.text(&format!("{store}/enable")) == "1";
                match attribute {
                    ["control"] => return self.write_control(&store, text),
                    ["wwn", "vpd_unit_serial"] => {
                        self.set(path, &format!("T10 VPD Unit Serial Number: {text}"));
                        return Ok(());
                    }
                    // Once on, it stays on until the item goes.
                    ["enable"] if enabled || !boolean(text)? => return Err(Errno::EINVAL),
                    ["enable"] => self.claim(&store)?,
                    _ => return Err(Errno::EACCES),
                }
            }
            [_, "iscsi", iqn, group, "enable"] => {
                let group = format!("target/iscsi/{iqn}/{group}");
                let luns = self.names(&format!("{group}/lun"));
                let offers = luns.iter().any(|lun| !self.links_in(&format!("{group}/lun/{lun}")).is_empty());
                let enable = boolean(text)?;
                if enable == (self.text(path) == "1") {
                    return Err(Errno::EINVAL);
                }
                if enable {
                    if self.names(&format!("{group}/np")).is_empty() {
                        return Err(Errno::EINVAL);
                    }
                    if !offers {
                        self.harm.push(format!("{group} was enabled without a LUN"));
                    }
                }
            }
            [_, "iscsi", _, _, "attrib", _] | [_, "iscsi", _, _, "acls", _, _, "write_protect"] => {
                boolean(text)?;
            }
            _ => return Err(Errno::EACCES),
        }
        self.set(path, text);
        Ok(())
    }

    fn write_control(&mut self, store: &str, text: &str) -> Answer {
        let mut readonly = "0";
        let mut device = None;
        for option in text.split(',') {
            match option.split_once('=') {
                Some(("udev_path", path)) => device = Some(path),
                Some(("readonly", flag)) => readonly = flag,
                _ => return Err(Errno::EINVAL),
            }
        }
        let device = device.ok_or(Errno::EINVAL)?;
        // The attribute udev_path stays empty.
        self.info(store, "DEACTIVATED", device, readonly);
        Ok(())
    }

    fn info(&mut self, store: &str, status: &str, device: &str, readonly: &str) {
        let text = format!(
            "Status: {status}  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 2048\n        iBlock device: drbd0  \
             UDEV PATH: {device}  readonly: {readonly}\n        Major: 147 Minor: 0  CLAIMED: IBLOCK"
        );
        self.set(&format!("{store}/info"), &text);
    }

    /// The device of `info`.
    pub fn opened(&self, store: &str) -> String {
        let info = self.text(&format!("{store}/info"));
        let path = info.split_once("UDEV PATH: ").and_then(|(_, rest)| rest.split_once("  readonly"));
        path.map(|(path, _)| path.to_owned()).unwrap_or_default()
    }

    /// With O_EXCL, unlike nvmet.
    fn claim(&mut self, store: &str) -> Answer {
        let device = self.opened(store);
        let readonly = self.text(&format!("{store}/info")).contains("readonly: 1");
        if device.is_empty() {
            return Err(Errno::EINVAL);
        }
        match self.devices.get(&device) {
            Some(DeviceIs::InUse) => return Err(Errno::EBUSY),
            Some(DeviceIs::ReadOnly) if readonly => {}
            _ => self.open(&device)?,
        }
        if self.held_by_lio().contains(&device) {
            return Err(Errno::EBUSY);
        }
        self.info(store, "ACTIVATED", &device, if readonly { "1" } else { "0" });
        Ok(())
    }

    pub(super) fn held_by_lio(&self) -> Vec<String> {
        let enabled = self.entries.keys().filter_map(|key| key.strip_suffix("/enable"));
        let stores = enabled
            .filter(|key| key.starts_with("target/core/") && self.text(&format!("{key}/enable")) == "1");
        stores.map(|store| self.opened(store)).collect()
    }
}
