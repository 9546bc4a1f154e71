//! The initramfs: load the modules that reach the disks, then lay the node's own disk over the image and start from there.

use lab::{Doing, Result, failed};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const NONE: Option<&str> = None;

/// Never returns when all is well: process 1 becomes `lab-guest init`.
pub fn run() -> Result {
    kernel_file_systems()?;
    load_modules()?;
    for device in ["/dev/vda", "/dev/vdb"] {
        wait_for(device)?;
    }
    mount(Some("/dev/vda"), "/base", Some("ext4"), MsFlags::MS_RDONLY, NONE).doing("mounting the image")?;
    mount(Some("/dev/vdb"), "/state", Some("ext4"), MsFlags::MS_NOATIME, NONE)
        .doing("mounting the node's disk")?;
    for directory in ["/state/upper", "/state/work"] {
        fs::create_dir_all(directory)?;
    }
    let layers = "lowerdir=/base,upperdir=/state/upper,workdir=/state/work";
    mount(Some("overlay"), "/new", Some("overlay"), MsFlags::MS_NOATIME, Some(layers))
        .doing("mounting the root")?;
    for target in ["dev", "proc", "sys"] {
        let from = format!("/{target}");
        let to = format!("/new/{target}");
        mount(Some(from.as_str()), to.as_str(), NONE, MsFlags::MS_MOVE, NONE)
            .doing(format_args!("moving {from}"))?;
    }
    mount(
        Some("tmpfs"),
        "/new/run",
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )?;
    fs::copy("/init", "/new/run/lab-guest")?;
    std::env::set_current_dir("/new")?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE).doing("moving the root")?;
    nix::unistd::chroot(".")?;
    std::env::set_current_dir("/")?;
    Err(Command::new("/run/lab-guest").arg("init").exec().into())
}

/// What every process 1 needs first.
pub fn kernel_file_systems() -> Result {
    for (kind, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), NONE)
            .doing(format_args!("mounting {target}"))?;
    }
    Ok(())
}

/// Those of the initramfs, in their order.
pub fn load_modules() -> Result {
    for name in fs::read_to_string("/modules/order")?.lines() {
        load(&Path::new("/modules").join(name)).doing(format_args!("loading {name}"))?;
    }
    Ok(())
}

fn load(module: &Path) -> Result {
    match finit_module(File::open(module)?, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(nix::Error::EEXIST) => Ok(()),
        // A processor without the instructions that a faster variant needs.
        Err(nix::Error::ENODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the device is there.
pub fn wait_for(device: &str) -> Result {
    let begin = Instant::now();
    while !Path::new(device).exists() {
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(failed(format!("{device} does not appear")));
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
