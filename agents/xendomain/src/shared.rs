//! Whether a disk can be reached from another node as well: what a migration needs of every disk that is not on DRBD.

use ocf::state::mountinfo::{Mount, is_at_or_below};
use ocf::{Call, mounts};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// File systems that several nodes have at the same time.
const SHARED: [&str; 12] = [
    "nfs",
    "nfs4",
    "ocfs2",
    "gfs2",
    "glusterfs",
    "fuse.glusterfs",
    "ceph",
    "cifs",
    "smb3",
    "lustre",
    "gpfs",
    "beegfs",
];
/// Block devices that come over the network.
const NETWORK: [&str; 4] = ["rbd", "nbd", "gnbd", "drbd"];

/// A file, by the file system that it is on.
pub fn is_shared_file(call: &Call, path: &str) -> bool {
    let table = mounts::table(call).unwrap_or_default();
    let on = table
        .iter()
        .filter(|mount| is_at_or_below(Path::new(path), &mount.point))
        .max_by_key(|mount: &&Mount| mount.point.as_os_str().len());
    on.is_some_and(|mount| SHARED.contains(&mount.fstype.as_str()))
}

/// A block device, by the kernel's word for where it is: the network, iSCSI (a session) or Fibre Channel (a remote port).
pub fn is_shared_device(call: &Call, path: &str) -> bool {
    let Ok(found) = std::fs::metadata(call.host.path(Path::new(path))) else { return false };
    let number = found.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    is_shared(call, Path::new(&format!("/sys/dev/block/{major}:{minor}")), 0)
}

fn is_shared(call: &Call, directory: &Path, depth: u32) -> bool {
    let real = call.host.path(directory).into_owned();
    let entries = std::fs::read_dir(real.join("slaves")).into_iter().flatten().flatten();
    let below: Vec<PathBuf> =
        entries.map(|entry| Path::new("/sys/class/block").join(entry.file_name())).collect();
    if !below.is_empty() {
        // A stripe is shared if all its parts are.
        return depth < 10 && below.iter().all(|part| is_shared(call, part, depth + 1));
    }
    let Ok(place) = std::fs::canonicalize(real) else { return false };
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = place.to_string_lossy();
    let numbered = |kind: &&str| {
        name.strip_prefix(*kind).is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
    };
    NETWORK.iter().any(numbered) || place.contains("/session") || place.contains("/rport-")
}
