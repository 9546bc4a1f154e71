//! Holders that no signal ends: they are named, and nobody spins for them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use testkit::Answer;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{is_mounted, mount_here, tool, unmount_here, wait_until};
use testkit::users::User;

use crate::scenes::{Scene, running};

const TIMEOUT_MS: u64 = 6000;

fn stop(here: &Scene) -> Answer {
    here.data.clone().timeout_ms(TIMEOUT_MS).run("stop").within_ms(TIMEOUT_MS)
}

/// A swap file in use; off again when dropped.
struct Swap(PathBuf);

impl Swap {
    fn on(file: PathBuf) -> Swap {
        fs::write(&file, vec![0; 1 << 20]).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        tool("mkswap", &[file.as_ref()]);
        tool("swapon", &[file.as_ref()]);
        Swap(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        tool("swapoff", &[self.0.as_ref()]);
    }
}

#[test]
fn kernel_a_swap_file_is_named() {
    let Some(here) = running(Format::Ext4) else { return };
    let swap = Swap::on(here.dir.join("swapfile"));
    stop(&here).answers(GENERIC).names("swap");
    assert!(is_mounted(&here.dir));
    drop(swap);
    stop(&here).answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_a_loop_device_on_a_file_is_named() {
    let Some(here) = running(Format::Ext4) else { return };
    let image = here.dir.join("inner.img");
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let inner = Disk::of_image(&image);
    stop(&here).answers(GENERIC).names(inner.device().to_str().unwrap());
    assert!(is_mounted(&here.dir));
    inner.detach();
    drop(inner);
    stop(&here).answers(SUCCESS);
}

#[test]
fn kernel_another_mount_namespace_is_named() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut holder = User::namespace_holder(&here.dir);
    stop(&here).answers(GENERIC).names("namespace");
    assert!(!is_mounted(&here.dir), "here it is gone");
    assert!(holder.is_alive(), "it uses nothing, so it is not signalled");
    here.data.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_user_in_another_mount_namespace_is_ended() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::in_other_namespace(&here.dir);
    here.data.run("stop").answers(SUCCESS);
    assert!(!user.is_alive() && !is_mounted(&here.dir));
    assert!(free(here.disk.device()), "nobody holds the device any more");
}

/// Whether the kernel gives the device to one exclusive user.
fn free(device: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let exclusive = File::options().read(true).custom_flags(nix::libc::O_EXCL).open(device);
    exclusive.is_ok()
}

#[test]
fn kernel_a_successful_stop_leaves_the_device_free() {
    for format in [Format::Ext4, Format::Xfs, Format::Btrfs] {
        let Some(here) = running(format) else { return };
        assert!(!free(here.disk.device()));
        here.data.run("stop").answers(SUCCESS);
        assert!(free(here.disk.device()), "{format:?}");
    }
}

#[test]
fn kernel_the_same_disk_mounted_elsewhere_too_is_unmounted_there() {
    let Some(here) = running(Format::Ext4) else { return };
    let elsewhere = here.machine.dir("elsewhere");
    mount_here(&here.disk, &elsewhere, "ext4", "");
    let mut user = User::with_cwd(&elsewhere);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir) && !is_mounted(&elsewhere) && !user.is_alive());
    assert!(free(here.disk.device()));
}

#[test]
fn kernel_an_overlay_on_top_fails_the_stop_in_time() {
    let Some(here) = running(Format::Ext4) else { return };
    for folder in ["lower", "upper", "work"] {
        fs::create_dir(here.dir.join(folder)).unwrap();
    }
    let top = here.machine.dir("top");
    let at = here.dir.display();
    let layers = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
    mount_here("overlay", &top, "overlay", &layers);
    stop(&here).answers(GENERIC).names(here.dir.to_str().unwrap()).names("overlay");
    unmount_here(&top);
    stop(&here).answers(SUCCESS);
}

#[test]
fn kernel_waiting_for_a_kernel_holder_does_not_spin() {
    let Some(here) = running(Format::Ext4) else { return };
    let image = here.dir.join("inner.img");
    File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let inner = Disk::of_image(&image);
    let mut agent = here.data.clone().timeout_ms(TIMEOUT_MS).spawn("stop");
    let pid = agent.id();
    wait_until("the agent has ended", || fields_of(pid)[0] == "Z");
    let ticks = cpu_ticks(pid);
    assert!(agent.wait().unwrap().code() == Some(GENERIC));
    // A hundred ticks are a second.
    assert!(ticks < 120, "5 s of waiting took {ticks} ticks of CPU");
    drop(inner);
}

/// `/proc/<pid>/stat` after the name: the first field is the state.
fn fields_of(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').map(str::to_owned).collect()
}

/// User and system time of a process that has ended, with that of all the children it reaped.
fn cpu_ticks(pid: u32) -> u64 {
    fields_of(pid)[11..15].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}
