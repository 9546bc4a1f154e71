//! The rules of nvmet (drivers/nvme/target/configfs.c of Linux 6.1), each as recorded.

use nix::errno::Errno;

use super::tree::{Answer, Tree, boolean};

const SUBSYSTEM: &[&str] = &[
    "allowed_hosts/",
    "namespaces/",
    "attr_allow_any_host=0",
    "attr_cntlid_max=65519",
    "attr_cntlid_min=1",
    "attr_model=Linux",
    "attr_pi_enable=0",
    "attr_qid_max=128",
    "attr_serial=488f607981076237b122",
    "attr_version=1.3",
];
const NAMESPACE: &[&str] = &[
    "ana_grpid=1",
    "buffered_io=0",
    "device_nguid=00000000-0000-0000-0000-000000000000",
    "device_path=(null)",
    "device_uuid=1cbbf180-2a6a-4347-b177-86375f11b5f4",
    "enable=0",
];
const PORT: &[&str] = &[
    "ana_groups/",
    "ana_groups/1/",
    "ana_groups/1/ana_state=optimized",
    "referrals/",
    "subsystems/",
    "addr_adrfam=",
    "addr_traddr=",
    "addr_treq=not specified",
    "addr_trsvcid=",
    "addr_trtype=",
    "param_inline_data_size=-1",
    "param_pi_enable=0",
];

impl Tree {
    pub(super) fn make_nvmet(&mut self, path: &str, parts: &[&str]) -> Answer {
        match parts {
            [_, "subsystems", name] if name.len() <= 223 => self.grow(path, SUBSYSTEM),
            [_, "subsystems", _, "namespaces", number] => {
                let number: u32 = number.parse().map_err(|_| Errno::EINVAL)?;
                if number == 0 {
                    return Err(Errno::EINVAL);
                }
                self.grow(path, NAMESPACE);
            }
            [_, "ports", number] => {
                number.parse::<u16>().map_err(|_| Errno::EINVAL)?;
                self.grow(path, PORT);
            }
            [_, "hosts", _] => self.grow(path, &["dhchap_key=", "dhchap_ctrl_key="]),
            _ => return Err(Errno::EPERM),
        }
        Ok(())
    }

    pub(super) fn link_nvmet(&mut self, target: &str, parts: &[&str]) -> Answer {
        match parts {
            [_, "ports", number, "subsystems", _] if target.starts_with("nvmet/subsystems/") => {
                let port = format!("nvmet/ports/{number}");
                if self.links_in(&format!("{port}/subsystems")).is_empty() {
                    self.bind(&port)?;
                }
                let enabled =
                    |number: &String| self.text(&format!("{target}/namespaces/{number}/enable")) == "1";
                if !self.names(&format!("{target}/namespaces")).iter().any(enabled) {
                    self.harm.push(format!("{target} got into a port without an enabled namespace"));
                }
                Ok(())
            }
            [_, "subsystems", name, "allowed_hosts", _] if target.starts_with("nvmet/hosts/") => {
                let any = self.text(&format!("nvmet/subsystems/{name}/attr_allow_any_host")) == "1";
                if any { Err(Errno::EINVAL) } else { Ok(()) }
            }
            _ => Err(Errno::EPERM),
        }
    }

    /// The first subsystem in a port makes it listen.
    fn bind(&self, port: &str) -> Answer {
        let read = |name: &str| self.text(&format!("{port}/addr_{name}"));
        let (kind, family, address, service) =
            (read("trtype"), read("adrfam"), read("traddr"), read("trsvcid"));
        let fits = match family.as_str() {
            "ipv4" => address.parse::<std::net::Ipv4Addr>().is_ok(),
            "ipv6" => address.parse::<std::net::Ipv6Addr>().is_ok(),
            _ => false,
        };
        if kind != "tcp" || !fits || service.parse::<u16>().is_err() {
            return Err(Errno::EINVAL);
        }
        if !["0.0.0.0", "::"].contains(&address.as_str()) && !self.addresses.contains(&address) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let others = self.names("nvmet/ports").into_iter().map(|number| format!("nvmet/ports/{number}"));
        let same = |other: &String| {
            self.text(&format!("{other}/addr_trsvcid")) == service
                && !self.links_in(&format!("{other}/subsystems")).is_empty()
        };
        if self.taken.contains(&format!("{address}:{service}"))
            || others.into_iter().any(|other| same(&other))
        {
            return Err(Errno::EADDRINUSE);
        }
        Ok(())
    }

    pub(super) fn write_nvmet(&mut self, path: &str, parts: &[&str], text: &str) -> Answer {
        if !matches!(self.entries.get(path), Some(super::tree::Entry::Attribute(_))) {
            return Err(Errno::ENOENT);
        }
        match parts {
            [_, "subsystems", name, "namespaces", number, attribute] => {
                self.write_namespace(&format!("nvmet/subsystems/{name}"), number, attribute, text)?;
            }
            [_, "subsystems", _, "attr_serial"] if text.is_empty() || text.len() > 20 => {
                return Err(Errno::EINVAL);
            }
            [_, "subsystems", _, "attr_model"] if text.is_empty() || text.len() > 40 => {
                return Err(Errno::EINVAL);
            }
            [_, "subsystems", name, "attr_allow_any_host"] => {
                let hosts = self.links_in(&format!("nvmet/subsystems/{name}/allowed_hosts"));
                if boolean(text)? && !hosts.is_empty() {
                    return Err(Errno::EINVAL);
                }
            }
            [_, "subsystems", _, "attr_serial" | "attr_model"] | [_, "hosts", ..] => {}
            [_, "ports", number, attribute] => {
                if !self.links_in(&format!("nvmet/ports/{number}/subsystems")).is_empty() {
                    return Err(Errno::EACCES);
                }
                let known = match *attribute {
                    "addr_trtype" => ["tcp", "rdma", "fc", "loop"].contains(&text),
                    "addr_adrfam" => ["ipv4", "ipv6", "ib", "fc"].contains(&text),
                    "addr_traddr" | "addr_trsvcid" => true,
                    _ => false,
                };
                if !known {
                    return Err(Errno::EINVAL);
                }
            }
            _ => return Err(Errno::EACCES),
        }
        self.set(path, text);
        Ok(())
    }

    fn write_namespace(&mut self, subsystem: &str, number: &str, attribute: &str, text: &str) -> Answer {
        let namespace = format!("{subsystem}/namespaces/{number}");
        let enabled = self.text(&format!("{namespace}/enable")) == "1";
        let digits = || text.chars().filter(char::is_ascii_hexdigit).count() == 32;
        match attribute {
            "device_path" | "device_uuid" | "device_nguid" if enabled => Err(Errno::EBUSY),
            "device_path" if text.is_empty() => Err(Errno::EINVAL),
            "device_uuid" if text.len() != 36 || !digits() => Err(Errno::EINVAL),
            "device_nguid" if !digits() => Err(Errno::EINVAL),
            "device_path" | "device_uuid" | "device_nguid" => Ok(()),
            "enable" if boolean(text)? => {
                let device = self.text(&format!("{namespace}/device_path"));
                if device == "(null)" {
                    return Err(Errno::EINVAL);
                }
                // Without O_EXCL: what is mounted is taken, too.
                if enabled { Ok(()) } else { self.open(&device) }
            }
            "enable" => {
                if enabled && !self.links_to(subsystem).is_empty() {
                    self.harm.push(format!("{namespace} was disabled while its subsystem was in a port"));
                }
                Ok(())
            }
            _ => Err(Errno::EACCES),
        }
    }

    pub(super) fn held_by_nvmet(&self) -> Vec<String> {
        let enabled = self.entries.keys().filter_map(|key| key.strip_suffix("/enable"));
        let namespaces =
            enabled.filter(|key| key.starts_with("nvmet/") && self.text(&format!("{key}/enable")) == "1");
        namespaces.map(|namespace| self.text(&format!("{namespace}/device_path"))).collect()
    }
}
