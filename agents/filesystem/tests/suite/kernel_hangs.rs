//! Nothing hangs: servers and disks that stop answering, and the deadline of the call.

use std::path::PathBuf;
use std::sync::RwLockWriteGuard;

use testkit::Call;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::fuse::HangingServer;
use testkit::kernel::{Machine, is_mounted, mount_here};
use testkit::users::User;

use crate::scenes::{a_device_may_hang, resource, running, scene};

/// Long enough for a machine that is busy with other tests.
const TIMEOUT_MS: u64 = 6000;

/// A FUSE file system whose server answered once and never again.
struct Hung {
    data: Call,
    dir: PathBuf,
    server: HangingServer,
    machine: Machine,
}

fn hung() -> Option<Hung> {
    let machine = Machine::private()?;
    let dir = machine.dir("data");
    let server = HangingServer::silent(&dir);
    let data = resource("hang", &dir, "fuse.hang").timeout_ms(TIMEOUT_MS);
    Some(Hung { data, dir, server, machine })
}

#[test]
fn kernel_a_monitor_of_a_server_that_never_answers_is_on_time() {
    let Some(here) = hung() else { return };
    here.data.monitor().answers(SUCCESS).within_ms(500);
    here.data.probe().answers(SUCCESS).within_ms(500);
    for depth in [10, 20] {
        here.data.clone().level(depth).monitor().answers(GENERIC).within_ms(TIMEOUT_MS);
    }
    drop(here.server);
}

#[test]
fn kernel_a_monitor_with_check_readonly_of_a_server_that_never_answers_is_on_time() {
    let Some(here) = hung() else { return };
    here.data.clone().param("check_readonly", "true").monitor().within_ms(TIMEOUT_MS);
    drop(here.server);
}

#[test]
fn kernel_a_start_of_a_running_server_that_never_answers_is_on_time() {
    let Some(here) = hung() else { return };
    here.data.run("start").answers(SUCCESS).within_ms(TIMEOUT_MS);
    drop(here.server);
}

#[test]
fn kernel_a_stop_of_a_server_that_never_answers_unmounts_it() {
    let Some(here) = hung() else { return };
    here.data.run("stop").answers(SUCCESS).within_ms(TIMEOUT_MS);
    assert!(!is_mounted(&here.dir));
    here.data.probe().answers(NOT_RUNNING);
    drop(here.server);
}

#[test]
fn kernel_a_stop_with_a_process_stuck_in_the_server_unmounts_it() {
    let Some(here) = hung() else { return };
    let stuck = std::process::Command::new("/usr/bin/stat").arg(here.dir.join("file")).spawn();
    let mut stuck = stuck.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let stop = here.data.run("stop").within_ms(TIMEOUT_MS);
    let left = is_mounted(&here.dir);
    drop(here.server);
    stuck.wait().unwrap();
    assert!(!left, "{stop}");
    stop.answers(SUCCESS);
}

#[test]
fn kernel_a_stop_with_a_user_of_a_server_that_went_silent() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let disk = machine.disk(Format::Blank);
    let server = HangingServer::serving(&dir, disk.image());
    let mut user = User::with_cwd(&dir);
    server.hang();
    let data = resource("hang", &dir, "fuse.hang").timeout_ms(TIMEOUT_MS);
    data.run("stop").answers(SUCCESS).within_ms(TIMEOUT_MS);
    assert!(!is_mounted(&dir) && !user.is_alive());
}

/// The scan for users must not look into a file system that hangs.
#[test]
fn kernel_a_hung_neighbour_disturbs_nobody() {
    let Some(here) = scene(Format::Ext4) else { return };
    let neighbour = here.machine.dir("neighbour");
    let disk = here.machine.disk(Format::Blank);
    let server = HangingServer::serving(&neighbour, disk.image());
    let mut user_of_neighbour = User::with_cwd(&neighbour);
    server.hang();
    here.data.run("start").answers(SUCCESS).within_ms(1000);
    let mut user = User::with_cwd(&here.dir);
    here.data.monitor().answers(SUCCESS).within_ms(500);
    here.data.run("stop").answers(SUCCESS).within_ms(2000);
    assert!(!user.is_alive() && user_of_neighbour.is_alive());
}

#[test]
fn kernel_a_start_below_a_hung_directory_fails_on_time() {
    let Some(here) = hung() else { return };
    let disk = here.machine.disk(Format::Ext4);
    let data = resource(&disk, &here.dir.join("deep/data"), "ext4").timeout_ms(TIMEOUT_MS);
    data.run("start").answers(GENERIC).within_ms(TIMEOUT_MS);
    let probe = data.probe().within_ms(TIMEOUT_MS);
    assert!(matches!(probe.code, Some(GENERIC | NOT_RUNNING)), "{probe}");
    data.run("stop").within_ms(TIMEOUT_MS);
    drop(here.server);
}

/// An ext4 on a loop device on a file of a FUSE server.
struct OnFuse {
    data: Call,
    dir: PathBuf,
    disk: Disk,
    server: HangingServer,
    machine: Machine,
    _alone: RwLockWriteGuard<'static, ()>,
}

fn on_fuse() -> Option<OnFuse> {
    let machine = Machine::private()?;
    let _alone = a_device_may_hang();
    let store = machine.dir("store");
    let real = machine.disk(Format::Ext4);
    let server = HangingServer::serving(&store, real.image());
    let disk = Disk::of_image(&store.join("image"));
    let dir = machine.dir("data");
    let data = resource(&disk, &dir, "ext4");
    data.run("start").answers(SUCCESS);
    data.clone().level(10).monitor().answers(SUCCESS);
    Some(OnFuse { data: data.timeout_ms(TIMEOUT_MS), dir, disk, server, machine, _alone })
}

#[test]
fn kernel_a_disk_whose_backing_hangs_is_noticed_on_time() {
    let Some(here) = on_fuse() else { return };
    here.server.hang();
    here.data.monitor().answers(SUCCESS).within_ms(500);
    here.data.clone().level(10).monitor().answers(GENERIC).within_ms(TIMEOUT_MS);
    here.data.clone().level(20).monitor().answers(GENERIC).within_ms(TIMEOUT_MS);
    let stop = here.data.run("stop").within_ms(TIMEOUT_MS);
    assert!(matches!(stop.code, Some(SUCCESS | GENERIC)), "{stop}");
    drop((here.server, here.disk, here.machine));
}

#[test]
fn kernel_a_disk_whose_backing_is_gone_is_noticed_and_stopped() {
    let Some(here) = on_fuse() else { return };
    drop(here.server);
    here.data.monitor().answers(SUCCESS).within_ms(500);
    here.data.clone().level(10).monitor().answers(GENERIC).within_ms(TIMEOUT_MS);
    here.data.clone().level(20).monitor().answers(GENERIC).within_ms(TIMEOUT_MS);
    here.data.run("stop").answers(SUCCESS).within_ms(TIMEOUT_MS);
    assert!(!is_mounted(&here.dir));
    drop((here.disk, here.machine));
}

#[test]
fn kernel_a_stop_that_cannot_succeed_answers_before_the_cluster_kills_it() {
    for timeout_ms in [1000, 2500] {
        let Some(here) = running(Format::Ext4) else { return };
        let _user = User::with_cwd(&here.dir);
        let data = here.data.clone().param("force_unmount", "false").timeout_ms(timeout_ms);
        data.run("stop").answers(GENERIC).names(here.dir.to_str().unwrap()).within_ms(timeout_ms);
        assert!(is_mounted(&here.dir));
    }
}

#[test]
fn kernel_lazy_unmount_frees_the_directory_at_the_end_of_the_budget() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let disk = machine.disk(Format::Blank);
    let _server = HangingServer::serving(&dir, disk.image());
    let mut user = User::with_cwd(&dir);
    let data = resource("hang", &dir, "fuse.hang").param("force_unmount", "false").timeout_ms(TIMEOUT_MS);
    data.run("stop").answers(GENERIC).within_ms(TIMEOUT_MS);
    assert!(is_mounted(&dir), "never lazy unasked");
    data.param("lazy_unmount", "true").run("stop").answers(SUCCESS).within_ms(TIMEOUT_MS);
    assert!(!is_mounted(&dir) && user.is_alive());
}

/// A tmpfs and an overlay are neither network nor block class.
#[test]
fn kernel_a_busy_tmpfs_is_not_unmounted_lazily_unasked() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    mount_here("tmpfs", &dir, "tmpfs", "");
    let _user = User::with_cwd(&dir);
    let data = resource("tmpfs", &dir, "tmpfs").param("force_unmount", "false").timeout_ms(3000);
    data.run("stop").answers(GENERIC).within_ms(3000);
    assert!(is_mounted(&dir));
}

/// What a FUSE server calls its source may be anything: another text is no proof of another mount.
#[test]
fn kernel_a_fuse_mount_of_another_source_is_never_taken_for_stopped() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let disk = machine.disk(Format::Blank);
    let _server = HangingServer::serving(&dir, disk.image());
    let other = resource("other", &dir, "fuse.hang");
    for answer in [other.probe(), other.monitor(), other.run("stop"), other.run("start")] {
        answer.answers(GENERIC);
    }
    assert!(is_mounted(&dir), "unknown is never stopped");
    let same = resource("hang", &dir, "fuse.hang");
    same.probe().answers(SUCCESS);
    same.monitor().answers(SUCCESS);
    same.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&dir));
}

#[test]
fn kernel_a_log_file_that_hangs_delays_no_answer() {
    let Some(here) = scene(Format::Ext4) else { return };
    let logs = here.machine.dir("logs");
    let disk = here.machine.disk(Format::Blank);
    let server = HangingServer::serving(&logs, disk.image());
    server.hang();
    for name in ["HA_LOGFILE", "HA_DEBUGLOG"] {
        let data = here.data.clone().env(name, logs.join("image")).env("HA_debug", "1");
        let data = data.timeout_ms(TIMEOUT_MS);
        data.run("start").answers(SUCCESS).within_ms(TIMEOUT_MS);
        data.monitor().exits(SUCCESS).within_ms(TIMEOUT_MS);
        data.run("stop").answers(SUCCESS).within_ms(TIMEOUT_MS);
        assert!(!is_mounted(&here.dir));
    }
}
