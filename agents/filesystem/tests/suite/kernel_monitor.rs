//! What a monitor notices, at which depth.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use testkit::call::{CONFIGURED, GENERIC, SUCCESS};
use testkit::disk::{Format, shut_down};
use testkit::fuse::HangingServer;
use testkit::kernel::{Machine, is_mounted, tool, unmount_here};

use crate::scenes::{Scene, resource, running};

/// The exit code of the monitor at depths 0, 10 and 20.
#[track_caller]
fn depths(here: &Scene, codes: [i32; 3]) {
    for (depth, code) in [0, 10, 20].into_iter().zip(codes) {
        here.data.clone().level(depth).timeout_ms(5000).monitor().answers(code).within_ms(5000);
    }
}

fn remount_read_only(directory: &Path) {
    let none = None::<&Path>;
    mount(none, directory, none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
}

#[test]
fn kernel_a_healthy_file_system_at_every_depth() {
    let Some(here) = running(Format::Ext4) else { return };
    depths(&here, [SUCCESS; 3]);
}

#[test]
fn kernel_a_file_system_remounted_read_only_cannot_be_written() {
    let Some(mut here) = running(Format::Ext4) else {
        return;
    };
    remount_read_only(&here.dir);
    depths(&here, [SUCCESS, SUCCESS, GENERIC]);
    here.data = here.data.param("check_readonly", "true");
    here.data.monitor().answers(GENERIC).names(here.dir.to_str().unwrap());
    here.data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_an_ext4_that_was_shut_down_fails_from_depth_10_on() {
    shut_down_fails_from_depth_10_on(Format::Ext4);
}

#[test]
fn kernel_an_xfs_that_was_shut_down_fails_from_depth_10_on() {
    shut_down_fails_from_depth_10_on(Format::Xfs);
}

fn shut_down_fails_from_depth_10_on(format: Format) {
    let Some(mut here) = running(format) else { return };
    shut_down(&here.dir);
    depths(&here, [SUCCESS, GENERIC, GENERIC]);
    here.data = here.data.param("check_readonly", "true");
    depths(&here, [GENERIC; 3]);
    here.data.clone().timeout_ms(5000).run("stop").answers(SUCCESS).within_ms(5000);
    assert!(!is_mounted(&here.dir));
}

/// Since Linux 6.12 an ext4 with errors=remount-ro says `emergency_ro` and stays `rw`.
#[test]
fn kernel_an_ext4_that_gave_up_writing_fails_from_depth_10_on() {
    let Some(mut here) = running(Format::Ext4) else {
        return;
    };
    here.data.run("stop").answers(SUCCESS);
    here.data = here.data.param("options", "errors=remount-ro");
    here.data.run("start").answers(SUCCESS);
    let number =
        fs::metadata(here.disk.device()).map(|it| std::os::unix::fs::MetadataExt::rdev(&it)).unwrap();
    let name = here.disk.device().file_name().unwrap().to_string_lossy().into_owned();
    assert_ne!(number, 0);
    fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").unwrap();
    depths(&here, [SUCCESS, GENERIC, GENERIC]);
    here.data = here.data.param("check_readonly", "yes");
    depths(&here, [GENERIC; 3]);
    here.data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_a_disk_that_lost_its_content_fails_from_depth_10_on() {
    for format in [Format::Ext4, Format::Xfs] {
        let Some(here) = running(format) else { return };
        here.disk.lose_content();
        depths(&here, [SUCCESS, GENERIC, GENERIC]);
        let stop = here.data.clone().timeout_ms(5000).run("stop").within_ms(5000);
        assert_eq!(stop.code, Some(SUCCESS), "{stop}");
        assert!(!is_mounted(&here.dir));
    }
}

#[test]
fn kernel_a_loop_device_detached_under_its_mount_still_serves() {
    let Some(here) = running(Format::Ext4) else { return };
    here.disk.detach();
    depths(&here, [SUCCESS; 3]);
    here.data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}

/// A file system that takes no writes until this is dropped.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(directory: &'a Path) -> Self {
        tool("fsfreeze", &["--freeze".as_ref(), directory.as_os_str()]);
        Frozen(directory)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        tool("fsfreeze", &["--unfreeze".as_ref(), self.0.as_os_str()]);
    }
}

#[test]
fn kernel_a_frozen_file_system_does_not_hang_a_monitor() {
    let Some(here) = running(Format::Ext4) else { return };
    here.data.clone().level(20).monitor().answers(SUCCESS);
    let frozen = Frozen::new(&here.dir);
    let data = here.data.clone().timeout_ms(4000);
    data.monitor().answers(SUCCESS).within_ms(500);
    data.clone().level(10).monitor().answers(SUCCESS).within_ms(2000);
    data.level(20).monitor().answers(GENERIC).within_ms(4000);
    drop(frozen);
    here.data.run("stop").answers(SUCCESS);
}

#[test]
fn kernel_a_full_file_system_fails_at_depth_20() {
    let Some(here) = running(Format::Ext4) else { return };
    let filler = fs::File::create(here.dir.join("filler")).unwrap();
    let mut source = fs::File::open("/dev/zero").unwrap();
    assert!(std::io::copy(&mut source, &mut &filler).is_err(), "until nothing fits any more");
    depths(&here, [SUCCESS, SUCCESS, GENERIC]);
}

#[test]
fn kernel_a_depth_that_nobody_knows() {
    let Some(here) = running(Format::Ext4) else { return };
    here.data.clone().level(15).monitor().answers(CONFIGURED);
    here.data.clone().level(-10).monitor().answers(SUCCESS);
    unmount_here(&here.dir);
    here.data.clone().level(15).monitor().answers(testkit::call::NOT_RUNNING);
}

#[test]
fn kernel_a_monitor_changes_nothing_on_the_file_system() {
    let Some(here) = running(Format::Ext4) else { return };
    let entries = || fs::read_dir(&here.dir).unwrap().count();
    let before = entries();
    depths(&here, [SUCCESS, SUCCESS, SUCCESS]);
    assert_eq!(entries(), before + 1, "only depth 20 writes, and only its folder");
}

/// What the agent did under strace, a line for each call of these names. None: no strace here.
fn traced(here: &crate::scenes::Scene, level: u32, calls: &str) -> Option<String> {
    let strace = Path::new("/usr/bin/strace");
    if !strace.exists() {
        eprintln!("kernel test skipped: no strace");
        return None;
    }
    let record = here.machine.path("trace");
    let mut traced = here.data.clone().level(level).program(strace).command();
    traced.args(["-f", "-e", calls, "-o"]).arg(&record).args([crate::scenes::BINARY, "monitor"]);
    assert!(traced.status().unwrap().success());
    Some(fs::read_to_string(record).unwrap())
}

/// The price of a monitor is one process: no fork, no second program.
#[test]
fn kernel_a_monitor_is_one_process() {
    let Some(here) = running(Format::Ext4) else { return };
    let Some(calls) = traced(&here, 0, "trace=process") else { return };
    assert_eq!(calls.matches("execve(").count(), 1, "{calls}");
    assert!(!["clone(", "clone3(", "fork("].iter().any(|name| calls.contains(name)), "{calls}");
}

/// What the cache remembers says nothing of the disk.
#[test]
fn kernel_depth_10_reads_the_disk_and_depth_20_its_file_past_the_cache() {
    let Some(here) = running(Format::Ext4) else { return };
    for (level, name) in [(10, "/dev/loop"), (20, "data_")] {
        let Some(calls) = traced(&here, level, "trace=openat,openat2,fcntl") else { return };
        let direct = |line: &str| line.contains(name) && line.contains("O_DIRECT");
        assert!(calls.lines().any(direct), "depth {level}: {calls}");
    }
}

/// The file system belongs to its users, who may put links where they like.
#[test]
fn kernel_a_link_at_the_place_of_the_status_file_is_not_followed() {
    let Some(here) = running(Format::Ext4) else { return };
    let outside = here.machine.tree("outside", &["precious"]);
    let untouched = || {
        fs::read_dir(&outside).unwrap().count() == 1
            && fs::read_to_string(outside.join("precious")).unwrap() == "content\n"
    };
    let node = nix::sys::utsname::uname().unwrap().nodename().to_string_lossy().into_owned();
    let folder = here.dir.join(".Filesystem_status");
    let file = folder.join(format!("data_{node}"));
    let fails = || here.data.clone().level(20).monitor().answers(GENERIC).names(".Filesystem_status");

    symlink(&outside, &folder).unwrap();
    fails();
    assert!(untouched(), "the folder is a link");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    for target in ["precious", "not-there-yet"] {
        symlink(outside.join(target), &file).unwrap();
        fails();
        assert!(untouched(), "the file is a link to {target}");
        fs::remove_file(&file).unwrap();
    }
    symlink(outside.join("precious"), &file).unwrap();
    here.data.clone().level(20).run("stop").answers(SUCCESS);
    assert!(untouched(), "a stop removes no more than the link");
}

#[test]
fn kernel_a_file_system_that_forgets_what_it_was_told_fails_at_depth_20() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let disk = machine.disk(Format::Blank);
    let server = HangingServer::serving(&dir, disk.image());
    // The only names that this server knows begin so.
    let data = resource("hang", &dir, "fuse.hang").param("statusfile_prefix", "image").timeout_ms(5000);
    data.clone().level(20).monitor().answers(SUCCESS);
    server.forget(disk.image());
    data.clone().level(10).monitor().answers(SUCCESS);
    data.level(20).monitor().answers(GENERIC).names("something else than was written");
}
