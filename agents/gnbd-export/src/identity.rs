//! What clients know the device by. Both nodes must say the same, so all of it comes from the name.

use uuid::Uuid;

/// The identity of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// UUID of the namespace (NVMe) and unit serial number (SCSI); without dashes it is the NGUID.
    pub uuid: String,
    /// Serial number of the controller: 20 digits, the most that NVMe has room for.
    pub serial: String,
    /// Name of the NVMe subsystem.
    pub nqn: String,
    /// Name of the iSCSI target.
    pub iqn: String,
}

impl Identity {
    /// The identity of the export `name`, unless another uuid or target name is given.
    pub fn new(name: &str, uuid: &str, target: &str) -> Self {
        let uuid = match uuid {
            "" => Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("gnbd-export:{name}").as_bytes())
                .hyphenated()
                .to_string(),
            given => given.to_ascii_lowercase(),
        };
        let serial = uuid.chars().filter(|digit| *digit != '-').take(20).collect();
        let of_kind = |prefixes: &[&str]| prefixes.iter().any(|prefix| target.starts_with(prefix));
        let nqn = if of_kind(&["nqn."]) {
            target.into()
        } else {
            format!("nqn.2014-08.org.nvmexpress:uuid:{uuid}")
        };
        let iqn = if of_kind(&["iqn.", "eui.", "naa."]) {
            target.into()
        } else {
            format!("iqn.2003-01.org.linux-iscsi.gnbd-export:{uuid}")
        };
        Self { uuid, serial, nqn, iqn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `uuidgen --sha1 --namespace @url --name gnbd-export:ocfscluster` (util-linux 2.38).
    #[test]
    fn the_uuid_is_the_one_that_uuidgen_prints() {
        let identity = Identity::new("ocfscluster", "", "");
        assert_eq!(identity.uuid, "a16e5b4d-ed15-5148-aa28-46790a725619");
        assert_eq!(identity.serial.len(), 20);
        assert!(identity.nqn.ends_with(&identity.uuid) && identity.iqn.ends_with(&identity.uuid));
    }

    #[test]
    fn another_name_is_another_device() {
        let (one, other) = (Identity::new("r0", "", ""), Identity::new("r1", "", ""));
        assert_ne!(one.uuid, other.uuid);
        assert_ne!(one.serial, other.serial);
        assert_eq!(one, Identity::new("r0", "", ""));
    }

    #[test]
    fn a_uuid_and_a_target_of_one_s_own_are_taken() {
        let given = "7F1C2A52-1111-5222-8333-444455556666";
        let identity = Identity::new("r0", given, "nqn.2026-11.net.example:gnbd:r0");
        assert_eq!(identity.uuid, given.to_ascii_lowercase());
        assert_eq!(identity.serial, "7f1c2a52111152228333");
        assert_eq!(identity.nqn, "nqn.2026-11.net.example:gnbd:r0");
        assert!(identity.iqn.ends_with(&identity.uuid));
        let identity = Identity::new("r0", "", "iqn.2026-11.net.example:gnbd.r0");
        assert_eq!(identity.iqn, "iqn.2026-11.net.example:gnbd.r0");
        assert!(identity.nqn.starts_with("nqn.2014-08.org.nvmexpress:uuid:"));
    }
}
