//! start: from the parameters to a mounted file system, and the checks that come before it.

use crate::force_unmount::{self, ForceUnmount};
use crate::options::KernelOptions;
use crate::source::{self, Identity, Source};
use crate::verdict::Verdict;
use crate::{Filesystem, RunFsck, fstype, options, record, superblock};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use ocf::state::mountinfo::{Device, is_at_or_below, lexical};
use ocf::{Call, Context, Error, Result, block, holders, mounts, printable, systemd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Checks the parameters that only start needs, and at level 10 and above whether this node can mount the type.
pub fn validate(filesystem: &Filesystem, call: &Call) -> Result<()> {
    let refuse = |name: &str, value: &dyn std::fmt::Display, accepted: &str| {
        Err(Error::configured(format_args!(
            "parameter {name} is '{}': {accepted}",
            shorten(&value.to_string())
        )))
    };
    let source = Source::new(filesystem, call);
    if filesystem.device.bytes().starts_with(b"-") && !matches!(source, Source::Tag(..)) {
        return refuse(
            "device",
            &filesystem.device,
            "of the forms with a dash, -U, -L, --uuid and --label are accepted",
        );
    }
    if let Source::Path(path) | Source::Image(path) | Source::Bind(path) = &source
        && !path.is_absolute()
        && !filesystem.device.bytes().contains(&b':')
    {
        return refuse(
            "device",
            &filesystem.device,
            "accepted is an absolute path, a tag such as UUID=, or host:path",
        );
    }
    let type_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-,".contains(byte);
    if !filesystem.fstype.bytes().iter().all(type_byte) || filesystem.fstype.bytes().starts_with(b"-") {
        return refuse("fstype", &filesystem.fstype, "accepted is the name of a type, such as ext4");
    }
    if filesystem.options.bytes().iter().any(u8::is_ascii_whitespace) {
        return refuse(
            "options",
            &filesystem.options,
            "accepted is a list with commas and without white space",
        );
    }
    if filesystem.options.len() > LONGEST_OPTIONS {
        return refuse("options", &filesystem.options, "accepted are at most 4095 bytes");
    }
    if Path::new(&*filesystem.statusfile_prefix).components().any(|part| part.as_os_str() == "..") {
        return refuse(
            "statusfile_prefix",
            &filesystem.statusfile_prefix,
            "accepted is a path below the mount point",
        );
    }
    if filesystem.lazy_unmount && !fstype::is_network(&filesystem.fstype.to_string_lossy()) {
        return refuse("lazy_unmount", &"yes", "only network and FUSE file systems can be detached");
    }
    if call.check_level >= 10 {
        supported(filesystem, &source, call)?;
    }
    Ok(())
}

/// mount(2) takes one page, and forgets the rest without a word.
const LONGEST_OPTIONS: usize = 4095;

/// Enough of a value to recognise it.
fn shorten(value: &str) -> String {
    match value.get(..40) {
        Some(start) if value.len() > 40 => format!("{start}..."),
        _ => value.to_string(),
    }
}

/// Mounts the file system. Called when it is not mounted.
pub fn start(filesystem: &Filesystem, call: &Call) -> Result<()> {
    call.log.info(format_args!("start of {} on {}", filesystem.device, filesystem.directory));
    let source = Source::new(filesystem, call);
    order_shutdown(filesystem, call);
    allow_clone(filesystem, call)?;
    let (verdict, stack) = filesystem.verdict(call)?;
    if verdict != Verdict::Absent {
        return Err(filesystem.trouble(&verdict));
    }
    nothing_below(&stack.directory, call)?;
    nothing_aside(filesystem, &stack.directory, call)?;
    supported(filesystem, &source, call)?;
    let identity = await_device(&source, call)?;
    if let (Source::Path(path), Identity::Block(_)) = (&source, &identity) {
        check_before(filesystem, path, call)?;
    }
    make_mount_point(filesystem, call)?;
    if !call.change(format_args!("mount {source} on {}", filesystem.directory)) {
        return Ok(());
    }
    let result = mount_it(filesystem, &source, &identity, call).or_else(|error| {
        // Somebody else may have started it at the same moment.
        match filesystem.verdict(call) {
            Ok((Verdict::Mounted(_), _)) => Ok(()),
            _ => Err(error),
        }
    });
    if result.is_ok() {
        write_down(filesystem, &identity, call);
    }
    result
}

/// The cluster stops before what remote file systems need.
fn order_shutdown(filesystem: &Filesystem, call: &Call) {
    let fstype = filesystem.fstype.to_string_lossy();
    if fstype::is_remote(&fstype) || (filesystem.force_clones && fstype::is_cloned_by_force(&fstype)) {
        systemd::stop_cluster_before("remote-fs.target", "99-Filesystem-remote.conf", false, call);
    }
}

/// A clone mounts the file system on several nodes: most do not survive that.
fn allow_clone(filesystem: &Filesystem, call: &Call) -> Result<()> {
    let fstype = filesystem.fstype.to_string_lossy();
    if call.meta("clone_max").is_none() || fstype::is_safe_for_clones(&fstype) {
        return Ok(());
    }
    let by_force = fstype::is_cloned_by_force(&fstype);
    if by_force && filesystem.force_clones {
        call.log.warn(format_args!("{fstype} as a clone: the data is at risk unless it is kept apart below"));
        return Ok(());
    }
    if !by_force && options::has_word(&filesystem.options.to_string_lossy(), "ro") {
        call.log.warn(format_args!("{fstype} as a read-only clone: nobody may write to it anywhere"));
        return Ok(());
    }
    Err(Error::configured(format_args!(
        "{fstype} on {} must not be mounted on several nodes: do not clone it",
        filesystem.device
    )))
}

/// What is mounted below would be covered, and nobody could reach it any more.
fn nothing_below(directory: &Path, call: &Call) -> Result<()> {
    let below = mounts::table(call)?
        .into_iter()
        .find(|mount| mount.point != directory && is_at_or_below(&mount.point, directory));
    match below {
        None => Ok(()),
        Some(mount) => Err(Error::configured(format_args!(
            "{} is mounted below {}: it would be covered",
            show(&mount.point),
            show(directory)
        ))),
    }
}

fn nothing_aside(filesystem: &Filesystem, directory: &Path, call: &Call) -> Result<()> {
    if let Some(aside) = ForceUnmount::new(filesystem, call).aside(directory)
        && force_unmount::is_mounted(&aside, call)?
    {
        return Err(Error::generic(format_args!(
            "something is mounted on {}, where stop has to move {} to: unmount it first",
            show(&aside),
            filesystem.device
        )));
    }
    Ok(())
}

/// The kernel knows the type, or a module teaches it.
fn supported(filesystem: &Filesystem, source: &Source, call: &Call) -> Result<()> {
    let fstype = filesystem.fstype.to_string_lossy().into_owned();
    if fstype.is_empty() || fstype == "none" || matches!(source, Source::Bind(_)) {
        return Ok(());
    }
    if matches!(fstype.as_str(), "efs" | "aznfs") {
        call.tool(&format!("mount.{fstype}"))?;
    }
    let name = fstype::kernel_name(&fstype);
    let known = || fstype::kernel_types(&call.host).iter().any(|found| found.name == name);
    if known() {
        return Ok(());
    }
    let unknown =
        |why: &str| Err(Error::installed(format_args!("file system type {fstype} is not known here: {why}")));
    if fstype == "auto" {
        return unknown("leave fstype empty to have it read from the device");
    }
    if !call.change(format_args!("load the kernel module of {name}")) {
        return Ok(());
    }
    let output = call.tool("modprobe")?.arg("--").arg(name).run()?;
    if !output.succeeded() {
        return unknown(&output.complaint());
    }
    let until = call.within(Duration::from_secs(5).min(call.remaining() / 2));
    while !known() {
        if Instant::now() >= until {
            return unknown("modprobe succeeded, but the kernel does not list it");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Finds the device; waits for udev if it has events to work on.
fn await_device(source: &Source, call: &Call) -> Result<Identity> {
    let mut identity = source::identify(source, call)?;
    let (Source::Path(path), Identity::Missing(_)) = (source, &identity) else {
        return Ok(identity);
    };
    if let Some(disk) = disk_of(path).filter(|disk| call.host.exists(disk))
        && call.change(format_args!("read the partition table of {} again", show(&disk)))
        && let Err(error) = block::reread_partitions(&call.host.path(&disk))
    {
        call.log.debug(format_args!("partitions of {}: {error}", show(&disk)));
    }
    call.step("waiting for udev");
    let until = Instant::now() + call.remaining() / 2;
    loop {
        identity = source::identify(source, call)?;
        let Identity::Missing(why) = &identity else {
            return Ok(identity);
        };
        // udevd keeps this file while it has events to work on (systemd, src/udev/udev-manager.c).
        if !call.host.exists("/run/udev/queue") || Instant::now() >= until {
            return Err(Error::installed(format_args!("device {why}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The whole disk of a node named like a partition: sda of sda1, nvme0n1 of nvme0n1p1.
fn disk_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let stem = name.trim_end_matches(|digit: char| digit.is_ascii_digit());
    if stem.len() == name.len() || stem.is_empty() {
        return None;
    }
    let numbered = stem.strip_suffix('p').filter(|disk| disk.ends_with(|last: char| last.is_ascii_digit()));
    Some(path.with_file_name(numbered.unwrap_or(stem)))
}

/// fsck, for the types that need it.
fn check_before(filesystem: &Filesystem, device: &Path, call: &Call) -> Result<()> {
    /// From this exit code on, errors are left or it did not run at all (fsck(8)).
    const ERRORS_LEFT: i32 = 4;
    let fstype = filesystem.fstype.to_string_lossy();
    let wanted = match filesystem.run_fsck {
        RunFsck::Force => true,
        RunFsck::Auto => fstype::wants_fsck(&fstype),
        RunFsck::No => false,
    };
    if !wanted || !call.change(format_args!("check {} with fsck", show(device))) {
        return Ok(());
    }
    let mut tool = call.tool("fsck")?;
    if !fstype.is_empty() {
        tool = tool.arg("-t").arg(&*fstype);
    }
    let output = tool.arg("-p").arg(device).run()?;
    match output.code {
        Some(0) => Ok(()),
        Some(code) if (1..ERRORS_LEFT).contains(&code) => {
            call.log.info(format_args!("fsck of {}: {}", show(device), output.complaint()));
            Ok(())
        }
        _ => Err(Error::generic(format_args!("fsck of {} failed: {}", show(device), output.complaint()))),
    }
}

fn make_mount_point(filesystem: &Filesystem, call: &Call) -> Result<()> {
    let path = call.host.path(filesystem.directory.as_path()).into_owned();
    call.step("making the mount point");
    let mut missing: Vec<&Path> = Vec::new();
    let mut at = Some(path.as_path());
    while let Some(directory) = at.filter(|directory| !directory.as_os_str().is_empty()) {
        if std::fs::symlink_metadata(directory).is_ok() {
            break;
        }
        missing.push(directory);
        at = directory.parent();
    }
    for directory in missing.into_iter().rev() {
        if !call.change(format_args!("make directory {}", show(directory))) {
            return Ok(());
        }
        std::fs::create_dir(directory)
            // Whatever the caller's umask is.
            .and_then(|()| std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)))
            .or_installed(format_args!("mount point {} cannot be made", filesystem.directory))?;
    }
    if path.is_dir() {
        return Ok(());
    }
    Err(Error::installed(format_args!("mount point {} is not a directory", filesystem.directory)))
}

fn mount_it(filesystem: &Filesystem, source: &Source, identity: &Identity, call: &Call) -> Result<()> {
    call.step(&format!("mounting {source}"));
    let node = match identity {
        Identity::Block(device) => Some(node_to_mount(source, *device, call)),
        _ => None,
    };
    if let Some(node) = &node
        && let Err(error) = block::flush_buffers(&call.host.path(node))
    {
        call.log.debug(format_args!("buffers of {}: {error}", show(node)));
    }
    let options = options::for_kernel(&filesystem.options.to_string_lossy());
    if let Some(options) = options.filter(|_| call.host.is_real()) {
        if let Source::Bind(path) = source {
            return bind(filesystem, path, &options, call);
        }
        if let Some(fstype) = type_for_kernel(filesystem, source, node.as_deref(), call) {
            return mount_by_kernel(filesystem, node.as_deref(), &fstype, &options, call);
        }
    }
    mount_by_tool(filesystem, source, identity, call)
}

/// The name that others expect in the mount table: without links, and a mapped device by its name.
fn node_to_mount(source: &Source, device: Device, call: &Call) -> PathBuf {
    if let Some(name) = holders::mapper_name_of(call, device) {
        let mapped = Path::new("/dev/mapper").join(name);
        if call.host.exists(&mapped) {
            return mapped;
        }
    }
    let given = match source {
        Source::Path(path) if call.host.is_real() => std::fs::canonicalize(path).ok(),
        Source::Path(path) => Some(path.clone()),
        _ => None,
    };
    given.or_else(|| holders::node_of(call, device)).unwrap_or_else(|| PathBuf::from(&*source.to_string()))
}

/// The type, if mount(2) can mount it without the help of a program.
fn type_for_kernel(
    filesystem: &Filesystem,
    source: &Source,
    node: Option<&Path>,
    call: &Call,
) -> Option<String> {
    let fstype = filesystem.fstype.to_string_lossy().into_owned();
    match source {
        Source::Image(_) | Source::Bind(_) => return None,
        Source::Named(_) if fstype::is_network(&fstype) && !matches!(fstype.as_str(), "9p" | "virtiofs") => {
            return None;
        }
        Source::Path(_) | Source::Tag(..) if node.is_none() => return None,
        _ => {}
    }
    if fstype.is_empty() {
        let found = superblock::read(&call.host.path(node?)).ok().flatten()?;
        return Some(found.fstype.to_string());
    }
    let helper = call.host.tool(&format!("mount.{fstype}")).is_some();
    (!helper && fstype != "none" && !fstype.contains(',')).then_some(fstype)
}

fn mount_by_kernel(
    filesystem: &Filesystem,
    node: Option<&Path>,
    fstype: &str,
    options: &KernelOptions,
    call: &Call,
) -> Result<()> {
    let target = filesystem.directory.as_path();
    let source = node.unwrap_or_else(|| filesystem.device.as_path());
    let fstype = if fstype == "overlayfs" { "overlay" } else { fstype };
    let attempt =
        |flags: MsFlags| mount(Some(source), target, Some(fstype), flags, Some(options.data.as_str()));
    let mut result = attempt(options.flags);
    if let Err(Errno::EROFS | Errno::EACCES) = result
        && !options.flags.contains(MsFlags::MS_RDONLY)
    {
        result = attempt(options.flags | MsFlags::MS_RDONLY);
        if result.is_ok() {
            call.log.warn(format_args!("{} is write-protected and was mounted read-only", show(source)));
        }
    }
    result.map_err(|errno| mount_error(errno, source, fstype, node.is_some()))?;
    set_propagation(target, options)
}

/// What a person can do about it, as far as the error and the device tell.
fn mount_error(errno: Errno, source: &Path, fstype: &str, on_device: bool) -> Error {
    let why = match errno {
        Errno::EINVAL if on_device => match superblock::read(source) {
            Ok(Some(found)) if found.fstype != fstype => format!("it holds {}, not {fstype}", found.fstype),
            Ok(Some(_)) => "an option is not known, or the file system is damaged".to_string(),
            Ok(None) => format!("it holds no {fstype}, or an option is not known"),
            Err(error) => format!("it cannot be read: {error}"),
        },
        Errno::EBUSY => "something else uses it".to_string(),
        Errno::ENXIO => "there is nothing behind it".to_string(),
        Errno::EMEDIUMTYPE => "it may not be opened here (is DRBD Secondary?)".to_string(),
        Errno::EUCLEAN => "the file system is damaged: run fsck".to_string(),
        Errno::ENODEV => format!("the kernel does not know {fstype}"),
        other => other.desc().to_string(),
    };
    Error::generic(format_args!("{} cannot be mounted: {why}", show(source)))
}

fn set_propagation(target: &Path, options: &KernelOptions) -> Result<()> {
    for flags in &options.propagation {
        if let Err(errno) = mount(None::<&str>, target, None::<&str>, *flags, None::<&str>) {
            let _ = umount2(target, MntFlags::empty());
            return Err(errno).or_generic(format_args!("propagation of {} cannot be set", show(target)));
        }
    }
    Ok(())
}

/// A bind mount takes its options in a second step, which must touch this mount alone: MS_REMOUNT without MS_BIND
/// would change the whole source file system.
fn bind(filesystem: &Filesystem, source: &Path, options: &KernelOptions, call: &Call) -> Result<()> {
    const OF_MOUNT: [(&str, MsFlags); 8] = [
        ("nosymfollow", options::NOSYMFOLLOW),
        ("ro", MsFlags::MS_RDONLY),
        ("nosuid", MsFlags::MS_NOSUID),
        ("nodev", MsFlags::MS_NODEV),
        ("noexec", MsFlags::MS_NOEXEC),
        ("noatime", MsFlags::MS_NOATIME),
        ("nodiratime", MsFlags::MS_NODIRATIME),
        ("relatime", MsFlags::MS_RELATIME),
    ];
    let target = filesystem.directory.as_path();
    let how = options.flags & (MsFlags::MS_BIND | MsFlags::MS_REC);
    if !options.data.is_empty() {
        call.log.warn(format_args!("options {} have no effect on a bind mount", options.data));
    }
    mount(Some(source), target, None::<&str>, how, None::<&str>).map_err(|errno| {
        Error::generic(format_args!("{} cannot be bound: {}", show(source), errno.desc()))
    })?;
    let wanted = options.flags - how;
    let second_step = || -> Result<()> {
        if !wanted.is_empty() {
            // What the source's mount forbids must stay forbidden, or the kernel refuses.
            let stack = mounts::at(call, target)?;
            let now = stack.visible.first().map(|mount| mount.options.as_str()).unwrap_or_default();
            let kept = OF_MOUNT.iter().filter(|(word, _)| options::has_word(now, word));
            let kept = kept.fold(MsFlags::empty(), |flags, (_, flag)| flags | *flag);
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept | wanted;
            mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(|errno| {
                Error::generic(format_args!("options of {} cannot be set: {}", show(target), errno.desc()))
            })?;
        }
        set_propagation(target, options)
    };
    second_step().inspect_err(|_| {
        // Nobody uses yet what has just been made; with rbind there may be mounts below.
        let _ = umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    })
}

fn mount_by_tool(filesystem: &Filesystem, source: &Source, identity: &Identity, call: &Call) -> Result<()> {
    let mut tool = call.tool("mount")?;
    if !filesystem.fstype.is_empty() {
        tool = tool.arg("-t").arg(&*filesystem.fstype);
    }
    if !filesystem.options.is_empty() {
        tool = tool.arg("-o").arg(&*filesystem.options);
    }
    let what = match source {
        Source::Tag(tag, value) => {
            let mut what = std::ffi::OsString::from(format!("{}=", tag.name()));
            what.push(value);
            what
        }
        _ => filesystem.device.to_os_string(),
    };
    // After the dashes nothing is an option, whatever it begins with.
    let output = tool.arg("--").arg(what).arg(&*filesystem.directory).run().map_err(|error| {
        match (source, identity) {
            // Then it looks into every block device of the machine, also into one that does not answer.
            (Source::Tag(..), Identity::Missing(_)) => Error::generic(format_args!(
                "{source} has no udev link, so mount searched all disks (one may be dead): {error}"
            )),
            _ => error,
        }
    })?;
    if output.succeeded() {
        return Ok(());
    }
    Err(Error::generic(format_args!("{source} cannot be mounted: {}", output.complaint())))
}

/// Writes down what was mounted. Without it stop still works, unless every name of the device vanishes.
fn write_down(filesystem: &Filesystem, identity: &Identity, call: &Call) {
    let block = match identity {
        Identity::Block(device) => Some(*device),
        _ => None,
    };
    let written = mounts::at(call, &lexical(filesystem.directory.as_path())).and_then(|stack| {
        match stack.visible.first() {
            Some(mount) => record::write(call, filesystem, mount, block),
            None => Ok(()),
        }
    });
    if let Err(error) = written {
        call.log.warn(format_args!("the mount is not written down: {error}"));
    }
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_partition_is_found_by_name() {
        let disk = |path: &str| disk_of(Path::new(path)).map(|disk| disk.display().to_string());
        assert_eq!(disk("/dev/sda1").as_deref(), Some("/dev/sda"));
        assert_eq!(disk("/dev/nvme0n1p2").as_deref(), Some("/dev/nvme0n1"));
        assert_eq!(disk("/dev/mapper/data"), None);
        assert_eq!(disk("/dev/sda"), None);
    }

    #[test]
    fn the_reason_names_what_the_device_really_holds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let error = mount_error(Errno::EINVAL, file.path(), "ext4", true);
        assert!(error.reason().ends_with("it holds no ext4, or an option is not known"), "{error}");
    }
}
