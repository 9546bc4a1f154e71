//! One disk of a guest's configuration (xl-disk-configuration(5)): `phy:/dev/drbd0,xvda,w`, `/dev/vg/lv,raw,xvda,rw`,
//! `format=raw, vdev=xvda, access=rw, target=/dev/vg/lv`, and `drbd:RES`, which a script attaches.

/// What stands behind a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A block device of this machine.
    Device(String),
    /// A file of this machine.
    File(String),
    /// A DRBD resource that the script block-drbd promotes when the disk is attached.
    Drbd(String),
    /// Something that another script attaches, or another protocol: the script or prefix.
    Other(String),
    /// Nothing: an empty drive.
    Empty,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What it is.
    pub source: Source,
    /// Its name in the guest, as far as it is given.
    pub vdev: Option<String>,
    /// The guest may write to it.
    pub writable: bool,
    /// A drive whose disk can be taken out.
    pub cdrom: bool,
}

const FORMATS: [&str; 7] = ["raw", "qcow", "qcow2", "vhd", "qed", "empty", "aio"];
/// Prefixes of old times that only say how the path is served.
const PLAIN: [&str; 7] = ["file", "tap", "tap2", "tapdisk", "aio", "ioemu", "raw"];

/// Reads one disk. The error says what is wrong.
pub fn parse(text: &str) -> Result<Disk, String> {
    let shown = || crate::printable(text.chars().take(60).collect::<String>().as_bytes());
    let mut target = None;
    let mut script = None;
    let mut disk = Disk { source: Source::Empty, vdev: None, writable: true, cdrom: false };
    let mut phy = false;
    let mut positional = 0;
    let mut rest = text;
    loop {
        // The target takes all that is left.
        if let Some(value) = rest.trim_start().strip_prefix("target=") {
            target = Some(value.to_string());
            break;
        }
        let (word, more) = rest.split_once(',').map_or((rest, None), |(word, more)| (word, Some(more)));
        let word = word.trim();
        match word.split_once('=') {
            Some(("vdev", value)) => disk.vdev(value),
            Some(("access", value)) => {
                disk.access(value).ok_or_else(|| format!("access of '{}'", shown()))?
            }
            Some(("devtype", value)) => disk.cdrom = value == "cdrom",
            Some(("backendtype", value)) => phy = value == "phy",
            Some(("script", value)) => script = Some(value.to_string()),
            Some(("format", "empty")) => target = None,
            Some((
                "format" | "backend" | "backend-protocol" | "trusted" | "discard" | "colo-host"
                | "specification" | "transport" | "filename" | "backend_type",
                _,
            )) => {}
            Some(_) if positional > 0 => {
                return Err(format!("'{}' in '{}'", crate::printable(word.as_bytes()), shown()));
            }
            _ => match word {
                "cdrom" => disk.cdrom = true,
                "direct-io-safe" | "discard" | "no-discard" => {}
                _ => {
                    positional += 1;
                    // The format may be left out: what is none is the next one.
                    if positional == 2 && !word.is_empty() && !FORMATS.contains(&word) {
                        positional = 3;
                    }
                    match positional {
                        1 => target = Some(word.to_string()),
                        2 => {}
                        3 => disk.vdev(word),
                        4 => disk.access(word).ok_or_else(|| format!("access of '{}'", shown()))?,
                        _ => return Err(format!("too much in '{}'", shown())),
                    }
                }
            },
        }
        match more {
            Some(more) => rest = more,
            None => break,
        }
    }
    disk.source = source(target.as_deref().unwrap_or_default().trim(), script.as_deref(), phy)
        .ok_or_else(|| format!("'{}'", shown()))?;
    Ok(disk)
}

impl Disk {
    fn vdev(&mut self, word: &str) {
        let word = match word.strip_suffix(":cdrom") {
            Some(vdev) => {
                self.cdrom = true;
                vdev
            }
            None => word.strip_suffix(":disk").unwrap_or(word),
        };
        self.vdev = Some(word.to_string()).filter(|word| !word.is_empty());
    }

    fn access(&mut self, word: &str) -> Option<()> {
        self.writable = match word {
            "r" | "ro" => false,
            "" | "w" | "rw" | "w!" | "!" => true,
            _ => return None,
        };
        Some(())
    }
}

fn source(target: &str, script: Option<&str>, mut phy: bool) -> Option<Source> {
    let mut path = target;
    let mut script = script.map(str::to_string);
    while let Some((prefix, more)) = path.split_once(':').filter(|(prefix, _)| is_prefix(prefix)) {
        match prefix {
            "phy" => phy = true,
            _ if PLAIN.contains(&prefix) || FORMATS.contains(&prefix) => {}
            _ => {
                script = Some(format!("block-{prefix}"));
                path = more;
                break;
            }
        }
        path = more;
    }
    if let Some(script) = script {
        let name = script.rsplit('/').next().unwrap_or_default();
        return Some(match name {
            "block-drbd" => Source::Drbd(path.to_string()),
            // xen's own script, which only attaches the path.
            "block" => return source(path, None, phy),
            _ => Source::Other(name.to_string()),
        });
    }
    Some(match path {
        "" => Source::Empty,
        _ if path.starts_with("/dev/") => Source::Device(path.into()),
        _ if path.starts_with('/') => Source::File(path.into()),
        // xl and xm take the name of a device.
        _ if phy && !path.starts_with('-') => Source::Device(format!("/dev/{path}")),
        _ => return None,
    })
}

fn is_prefix(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_disk_is_understood() {
        let device = |path: &str| Source::Device(path.into());
        for (text, source, vdev, writable) in [
            ("phy:/dev/drbd0,xvda,w", device("/dev/drbd0"), "xvda", true),
            ("phy:/dev/drbd0,sda1,r", device("/dev/drbd0"), "sda1", false),
            ("phy:drbd0,sda1,w", device("/dev/drbd0"), "sda1", true),
            ("phy:vg0/root100,sda1,w", device("/dev/vg0/root100"), "sda1", true),
            ("/dev/vg/guest-volume,,hda", device("/dev/vg/guest-volume"), "hda", true),
            ("/dev/vg/guest-volume,raw,hda,rw", device("/dev/vg/guest-volume"), "hda", true),
            (
                "format=raw, vdev=hda, access=rw, target=/dev/vg/guest,x",
                device("/dev/vg/guest,x"),
                "hda",
                true,
            ),
            (
                "vdev=xvda,access=ro,backendtype=phy,target=/dev/drbd/by-res/r0",
                device("/dev/drbd/by-res/r0"),
                "xvda",
                false,
            ),
            ("file:/srv/a.img,xvda,w", Source::File("/srv/a.img".into()), "xvda", true),
            ("tap:aio:/srv/a.img,xvda,w", Source::File("/srv/a.img".into()), "xvda", true),
            ("tap:qcow2:/srv/a.img,xvda,w", Source::File("/srv/a.img".into()), "xvda", true),
            ("/srv/a.qcow2,qcow2,xvda,w", Source::File("/srv/a.qcow2".into()), "xvda", true),
            ("drbd:r0,xvda,w", Source::Drbd("r0".into()), "xvda", true),
            ("script=block-drbd,vdev=xvda,target=r0", Source::Drbd("r0".into()), "xvda", true),
            (
                "vdev=xvda,script=/etc/xen/scripts/block-drbd,target=r0",
                Source::Drbd("r0".into()),
                "xvda",
                true,
            ),
            ("nbd:host:port,xvda,w", Source::Other("block-nbd".into()), "xvda", true),
            (
                "vdev=xvda,script=block-iscsi,target=iqn=x,portal=y",
                Source::Other("block-iscsi".into()),
                "xvda",
                true,
            ),
            (",empty,hdc,r", Source::Empty, "hdc", false),
        ] {
            let disk = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(
                (disk.source, disk.vdev.as_deref(), disk.writable),
                (source, Some(vdev), writable),
                "{text}"
            );
        }
    }

    #[test]
    fn a_drive_for_compact_discs_is_one() {
        for text in [
            "file:/srv/a.iso,hdc:cdrom,r",
            "/srv/a.iso,raw,hdc,ro,cdrom",
            "devtype=cdrom,vdev=hdc,target=/srv/a.iso",
        ] {
            assert!(parse(text).unwrap().cdrom, "{text}");
        }
        assert!(!parse("phy:/dev/drbd0,xvda,w").unwrap().cdrom);
    }

    #[test]
    fn what_names_no_path_is_refused() {
        for text in
            ["phy:/dev/x,xvda,maybe", "r0,xvda,w", "phy:-x,xvda,w", "a,b,c,w,more,more", "/dev/x,unheard=1"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
