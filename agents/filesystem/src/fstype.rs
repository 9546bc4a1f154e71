//! What is known about types of file systems by their name.

use ocf::Host;

/// os-release(5) identifiers of the distributions whose defaults differ.
pub const RED_HAT_LIKE: [&str; 8] =
    ["almalinux", "centos", "fedora", "ol", "redhat", "rhel", "rocky", "scientific"];

/// Types without a block device below, beside those that the kernel marks `nodev`.
const WITHOUT_DEVICE: [&str; 22] = [
    "nfs",
    "nfs4",
    "aznfs",
    "efs",
    "cifs",
    "smb3",
    "smbfs",
    "none",
    "ceph",
    "glusterfs",
    "lustre",
    "tmpfs",
    "overlay",
    "overlayfs",
    "rozofs",
    "zfs",
    "cvfs",
    "virtiofs",
    "9p",
    "beegfs",
    "gpfs",
    "fuse",
];

/// Types of local disks, for which the kernel's list need not be read.
const WITH_DEVICE: [&str; 10] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "gfs2", "ocfs2", "fuseblk"];

/// Types whose server may go away, and that umount2(2) with MNT_FORCE can give up.
const NETWORK: [&str; 12] =
    ["nfs", "nfs4", "aznfs", "efs", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "9p", "virtiofs"];

/// Types that must be unmounted before the network goes down.
const REMOTE: [&str; 13] = [
    "nfs4",
    "nfs",
    "aznfs",
    "efs",
    "smbfs",
    "smb3",
    "cifs",
    "gfs2",
    "glusterfs",
    "ceph",
    "ocfs2",
    "cvfs",
    "lustre",
];

/// Local types that a clone may use only with force_clones.
const CLONES_BY_FORCE: [&str; 7] = ["ext4", "ext4dev", "ext3", "reiserfs", "reiser4", "xfs", "jfs"];

/// Types that repair themselves when mounted, or that fsck knows nothing of.
const WITHOUT_FSCK: [&str; 28] = [
    "ext4",
    "ext4dev",
    "ext3",
    "reiserfs",
    "reiser4",
    "nss",
    "xfs",
    "jfs",
    "vfat",
    "fat",
    "nfs4",
    "nfs",
    "aznfs",
    "efs",
    "cifs",
    "smbfs",
    "smb3",
    "ocfs2",
    "gfs2",
    "none",
    "lustre",
    "glusterfs",
    "ceph",
    "tmpfs",
    "overlay",
    "overlayfs",
    "rozofs",
    "zfs",
];

/// Types that nobody can write to.
const READ_ONLY: [&str; 6] = ["iso9660", "squashfs", "erofs", "cramfs", "romfs", "udf"];

/// True for FUSE in all its forms that have no block device.
pub fn is_fuse(fstype: &str) -> bool {
    fstype == "fuse" || fstype.starts_with("fuse.")
}

/// True if the type is mounted from something other than a block device.
pub fn is_without_device(fstype: &str, host: &Host) -> bool {
    if WITHOUT_DEVICE.contains(&fstype) || is_fuse(fstype) {
        return true;
    }
    if fstype.is_empty() || WITH_DEVICE.contains(&fstype) {
        return false;
    }
    kernel_types(host).iter().any(|known| known.name == fstype && known.nodev)
}

/// True if a mount of this type shows the number of its block device.
pub fn has_one_device(fstype: &str) -> bool {
    WITH_DEVICE.contains(&fstype) && fstype != "btrfs"
}

/// True if what the parameter calls `wanted` may appear as `mounted` in the mount table.
pub fn may_be(wanted: &str, mounted: &str) -> bool {
    let known = |name: &str| WITH_DEVICE.contains(&name) || WITHOUT_DEVICE.contains(&name);
    let family =
        |name: &str| if matches!(name, "ext2" | "ext3" | "ext4") { "ext".to_string() } else { name.into() };
    // A helper may show another name than it was called by, but not that of a type which needs none.
    family(wanted) == family(mounted) || wanted.is_empty() || !known(wanted) || !known(mounted)
}

/// True if a server may keep an unmount waiting.
pub fn is_network(fstype: &str) -> bool {
    NETWORK.contains(&fstype) || is_fuse(fstype)
}

/// True if it must be stopped before the network.
pub fn is_remote(fstype: &str) -> bool {
    REMOTE.contains(&fstype)
}

/// True if several nodes may mount it at the same time.
pub fn is_safe_for_clones(fstype: &str) -> bool {
    matches!(fstype, "none" | "overlay" | "overlayfs" | "tmpfs") || is_remote(fstype)
}

/// True if force_clones has a say.
pub fn is_cloned_by_force(fstype: &str) -> bool {
    CLONES_BY_FORCE.contains(&fstype)
}

/// True if run_fsck=auto means that fsck runs.
pub fn wants_fsck(fstype: &str) -> bool {
    !WITHOUT_FSCK.contains(&fstype) && fstype != "cvfs"
}

/// True if being read-only is no failure.
pub fn is_always_read_only(fstype: &str) -> bool {
    READ_ONLY.contains(&fstype)
}

/// The type's name in /proc/filesystems.
pub fn kernel_name(fstype: &str) -> &str {
    match fstype {
        "glusterfs" | "rozofs" => "fuse",
        "efs" | "aznfs" => "nfs4",
        "overlayfs" => "overlay",
        other if is_fuse(other) => "fuse",
        other => other,
    }
}

/// One line of /proc/filesystems.
#[derive(Debug, PartialEq, Eq)]
pub struct KernelType {
    /// The name.
    pub name: String,
    /// It needs no block device.
    pub nodev: bool,
}

/// The types that the running kernel knows now (proc(5)). Empty if it cannot be read.
pub fn kernel_types(host: &Host) -> Vec<KernelType> {
    parse_kernel_types(&String::from_utf8_lossy(&host.read("/proc/filesystems").unwrap_or_default()))
}

fn parse_kernel_types(text: &str) -> Vec<KernelType> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(flag, name)| KernelType { name: name.trim().into(), nodev: flag == "nodev" }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_list_is_read_by_whole_names() {
        let types = parse_kernel_types("nodev\tsysfs\n\text3\nnodev\tfuse\n\tfuseblk\n");
        assert_eq!(types.len(), 4);
        assert_eq!(types[3], KernelType { name: "fuseblk".into(), nodev: false });
        assert!(types[2].nodev);
    }

    #[test]
    fn only_a_type_that_is_surely_another_is_told_apart() {
        assert!(!may_be("ext4", "tmpfs") && !may_be("ext4", "xfs"));
        assert!(
            may_be("ext3", "ext4") && may_be("", "xfs") && may_be("ntfs", "fuseblk") && may_be("xfs", "xfs")
        );
    }

    #[test]
    fn types_that_the_shell_agent_took_for_block_devices_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::sandbox(dir.path());
        for fstype in ["fuse.sshfs", "fuse.glusterfs", "virtiofs", "9p", "smb3", "beegfs"] {
            assert!(is_without_device(fstype, &host), "{fstype}");
        }
        for fstype in ["ext4", "fuseblk", "", "btrfs", "bcachefs"] {
            assert!(!is_without_device(fstype, &host), "{fstype}");
        }
    }
}
