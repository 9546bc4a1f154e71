//! Who in the kernel still holds a mount or a block device: what no signal can end, and a person has to know.

use crate::drbd::target::same_disk;
use crate::state::mountinfo::{Device, Mount, is_at_or_below};
use crate::{Call, printable};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What inside the kernel uses files below the mount point `point`: swap, loop devices, NFS exports, overlays.
pub fn of_mount(call: &Call, point: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in swap_files(&call.host.read("/proc/swaps").unwrap_or_default()) {
        if is_at_or_below(&file, point) {
            found.push(format!("swap file {}", show(&file)));
        }
    }
    for (name, file) in loop_devices(call) {
        if is_at_or_below(&file, point) {
            found.push(format!("loop device /dev/{name} on {}", show(&file)));
        }
    }
    for path in nfs_exports(&call.host.read("/proc/net/rpc/nfsd.export/content").unwrap_or_default()) {
        if is_at_or_below(&path, point) {
            found.push(format!("NFS export of {}", show(&path)));
        }
    }
    found.extend(overlays(call, point));
    found
}

/// Overlay mounts that have a layer at or below `point`: they keep the file system of the layer in use.
fn overlays(call: &Call, point: &Path) -> Vec<String> {
    let table = crate::mounts::table(call).unwrap_or_default();
    let uses = |mount: &Mount| {
        let layers = ["lowerdir", "upperdir", "workdir"].iter().filter_map(|name| mount.super_option(name));
        layers.flat_map(|list| list.split(':')).any(|layer| is_at_or_below(Path::new(layer), point))
    };
    let overlays = table.iter().filter(|mount| mount.fstype == "overlay" && uses(mount));
    overlays.map(|mount| format!("overlay mount on {}", show(&mount.point))).collect()
}

/// What holds the block device `device` beside the mounts of this namespace: devices stacked on it, swap, and mounts
/// in other mount namespaces.
pub fn of_device(call: &Call, device: Device) -> Vec<String> {
    let mut found = Vec::new();
    let stacked = call.host.path(Path::new(&format!("/sys/dev/block/{device}/holders"))).into_owned();
    for entry in std::fs::read_dir(stacked).into_iter().flatten().flatten() {
        found.push(stacked_device(call, &printable(entry.file_name().as_bytes())));
    }
    if let Some(node) = node_of(call, device) {
        for file in swap_files(&call.host.read("/proc/swaps").unwrap_or_default()) {
            if file == node {
                found.push(format!("swap on {}", show(&file)));
            }
        }
    }
    found.extend(of_other_namespaces(|mount| mount.device == device));
    found
}

/// The block device `name` as a holder of another. Nobody knows a mapped device by its number.
pub fn stacked_device(call: &Call, name: &str) -> String {
    match call.host.read_line(format!("/sys/block/{name}/dm/name")) {
        Some(mapped) => format!("block device {name} ({})", printable(mapped.as_bytes())),
        None => format!("block device {name}"),
    }
}

/// All that uses the block device `device`, whose node is `node`, wherever it is: what [`of_device`] finds, mounts of
/// this namespace, loop devices, storage targets, Xen block back ends, and processes that have it open.
pub fn of_whole_device(call: &Call, device: Device, node: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for mount in crate::mounts::table(call).unwrap_or_default() {
        // A file system with several devices has a number of its own.
        if mount.device == device || (mount.device.is_anonymous() && Path::new(&mount.source) == node) {
            found.push(format!("mount on {}", show(&mount.point)));
        }
    }
    found.extend(of_device(call, device));
    for (name, file) in loop_devices(call) {
        if file == node {
            found.push(format!("loop device {name}"));
        }
    }
    found.extend(storage_targets(call, node));
    found.extend(xen_back_ends(call, device));
    found.extend(openers(call, node));
    found
}

/// The entries of a directory of the kernel's.
fn entries(call: &Call, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(call.host.path(Path::new(directory))).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// NVMe and SCSI targets in the kernel that offer the device to others (configfs).
pub fn storage_targets(call: &Call, node: &Path) -> Vec<String> {
    const NVME: &str = "/sys/kernel/config/nvmet/subsystems";
    const SCSI: &str = "/sys/kernel/config/target/core";
    // The path stands there as somebody wrote it, which may be a link such as /dev/drbd/by-res/r0.
    let is_node = |file: String| {
        call.host.read_line(file).is_some_and(|path| same_disk(&call.host, Path::new(&path), node))
    };
    // udev_path is what a tool has noted there, if any did. What the kernel has open stands in info.
    let name = node.strip_prefix("/dev").unwrap_or(node).display().to_string().replace('/', "!");
    let opened = format!("iBlock device: {name} ");
    let has_open = |store: &str| {
        let info = call.host.read(format!("{store}/info")).unwrap_or_default();
        String::from_utf8_lossy(&info).contains(&opened)
    };
    let mut found = Vec::new();
    for subsystem in entries(call, NVME) {
        for namespace in entries(call, &format!("{NVME}/{subsystem}/namespaces")) {
            let directory = format!("{NVME}/{subsystem}/namespaces/{namespace}");
            // A namespace that is not enabled does not have the device open.
            if is_node(format!("{directory}/device_path"))
                && call.host.read_line(format!("{directory}/enable")).is_none_or(|enabled| enabled != "0")
            {
                found.push(format!("NVMe target {}", printable(subsystem.as_bytes())));
            }
        }
    }
    for adapter in entries(call, SCSI) {
        for store in entries(call, &format!("{SCSI}/{adapter}")) {
            let directory = format!("{SCSI}/{adapter}/{store}");
            if is_node(format!("{directory}/udev_path")) || has_open(&directory) {
                found.push(format!("SCSI target {}", printable(store.as_bytes())));
            }
        }
    }
    found
}

/// Guests of Xen that have the device as a disk: `vbd-DOMAIN-DISK` with the number in hexadecimal digits.
fn xen_back_ends(call: &Call, device: Device) -> Vec<String> {
    const BACK_ENDS: &str = "/sys/bus/xen-backend/devices";
    let number = format!("{:x}:{:x}", device.major, device.minor);
    let mut found = Vec::new();
    for name in entries(call, BACK_ENDS) {
        let domain = name.strip_prefix("vbd-").and_then(|rest| rest.split('-').next());
        if let Some(domain) = domain
            && call
                .host
                .read_line(format!("{BACK_ENDS}/{name}/physical_device"))
                .is_some_and(|is| is == number)
        {
            found.push(format!(
                "Xen domain {} ({})",
                printable(domain.as_bytes()),
                printable(name.as_bytes())
            ));
        }
    }
    found
}

/// Processes that have `node` open, by the text of their links: nothing is asked of a file system that may hang.
fn openers(call: &Call, node: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for pid in entries(call, "/proc") {
        if !pid.bytes().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        let directory = format!("/proc/{pid}/fd");
        let opens = entries(call, &directory).iter().any(|fd| {
            let link = format!("{directory}/{fd}");
            std::fs::read_link(call.host.path(Path::new(&link))).is_ok_and(|target| target == node)
        });
        if opens {
            let name = call.host.read_line(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!("process {}[{pid}]", printable(name.as_bytes())));
        }
    }
    found
}

/// Mounts in other mount namespaces that `ours` recognises, with a process to look at for each namespace.
pub fn of_other_namespaces(ours: impl Fn(&Mount) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (pid, mounts) in crate::mounts::other_namespaces() {
        if let Some(mount) = mounts.iter().find(|mount| ours(mount)) {
            let name = crate::process::name(pid);
            found.push(format!("mount namespace of {name}[{pid}] at {}", show(&mount.point)));
        }
    }
    found
}

/// The device node that the kernel gives to the number, whatever links or names others made.
pub fn node_of(call: &Call, device: Device) -> Option<PathBuf> {
    let text = call.host.read(format!("/sys/dev/block/{device}/uevent")).ok()?;
    let name = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"DEVNAME="))?;
    Some(Path::new("/dev").join(OsString::from_vec(name.to_vec())))
}

/// The disk's sequence number (Linux 5.15), which tells it from another that gets its device number later. A partition has
/// that of its disk. None: it cannot be read, which says nothing about the disk.
pub fn disk_sequence(call: &Call, device: Device) -> Option<u64> {
    let numbers = ["diskseq", "../diskseq"];
    numbers
        .iter()
        .find_map(|file| call.host.read_line(format!("/sys/dev/block/{device}/{file}"))?.parse().ok())
}

/// The name of the device-mapper device with that number, as below /dev/mapper.
pub fn mapper_name_of(call: &Call, device: Device) -> Option<String> {
    call.host.read_line(format!("/sys/dev/block/{device}/dm/name"))
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// The loop devices in use, with their files.
pub fn loop_devices(call: &Call) -> Vec<(String, PathBuf)> {
    let block = call.host.path(Path::new("/sys/block")).into_owned();
    let entries = std::fs::read_dir(block).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let loops = names.filter(|name| name.starts_with("loop")).filter_map(|name| {
        let mut file = call.host.read(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        file.truncate(file.trim_ascii_end().len());
        (!file.is_empty()).then(|| (name, PathBuf::from(OsString::from_vec(file))))
    });
    loops.collect()
}

/// The first column of /proc/swaps, where blanks and their like are `\040` (proc(5)).
fn swap_files(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n').skip(1);
    lines.filter_map(first_column).collect()
}

/// The first column of /proc/net/rpc/nfsd.export/content: path and client of each export in use.
fn nfs_exports(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.filter_map(first_column).collect()
}

fn first_column(line: &[u8]) -> Option<PathBuf> {
    let column = line.split(|byte| byte.is_ascii_whitespace()).next().filter(|column| !column.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(crate::state::mountinfo::unescape(column))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_files_are_read_with_their_escapes() {
        let text = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/dm-1                               partition\t1003516\t0\t-2\n\
            /mnt/a\\040b/swap                        file\t\t1020\t0\t-3\n";
        assert_eq!(swap_files(text), [PathBuf::from("/dev/dm-1"), PathBuf::from("/mnt/a b/swap")]);
        assert!(swap_files(b"Filename Type Size Used Priority\n").is_empty());
    }

    #[test]
    fn exports_are_read_without_the_comment_lines() {
        let text = b"#path domain(flags)\n/srv/data\t10.0.0.0/24(rw,root_squash)\n";
        assert_eq!(nfs_exports(text), [PathBuf::from("/srv/data")]);
    }
}
