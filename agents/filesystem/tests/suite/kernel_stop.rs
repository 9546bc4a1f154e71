//! How stop deals with users: the signals, their order, and the time it takes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::Sandbox;
use testkit::call::{GENERIC, NOT_RUNNING, SUCCESS};
use testkit::disk::{Disk, Format};
use testkit::kernel::{Machine, is_mounted, mount_here, mounts_on, unmount_here};
use testkit::users::User;

use crate::scenes::{resource, running, scene};

#[test]
fn kernel_a_stop_without_users_is_immediate() {
    let Some(here) = running(Format::Ext4) else { return };
    here.data.run("stop").answers(SUCCESS).within_ms(500);
}

#[test]
fn kernel_a_stop_ends_with_its_last_user_and_not_after_a_sleep() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::ending_slowly(&here.dir, "0.7");
    let stop = here.data.param("signal_delay", "5").run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir) && !user.is_alive());
    assert!(stop.elapsed > Duration::from_millis(600), "the user had the time it asked for: {stop}");
    assert!(stop.elapsed < Duration::from_millis(2200), "and no more: {stop}");
    mount_here(&here.disk, &here.dir, "ext4", "");
    assert!(here.dir.join("farewell").exists(), "it ended by itself");
}

#[test]
fn kernel_a_user_that_ignores_term_is_killed_in_the_second_half() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::ignoring_term(&here.dir);
    let stop = here.data.timeout_ms(6000).run("stop").answers(SUCCESS).within_ms(6000);
    assert!(!user.is_alive());
    assert!(stop.elapsed > Duration::from_millis(2000), "TERM has the first half: {stop}");
}

#[test]
fn kernel_fast_stop_gives_up_after_six_seconds() {
    let Some(here) = running(Format::Ext4) else { return };
    let _user = User::with_cwd(&here.dir);
    let data = here.data.param("fast_stop", "yes").param("force_unmount", "false").timeout_ms(60_000);
    let stop = data.run("stop").answers(GENERIC).within_ms(7000);
    assert!(stop.elapsed > Duration::from_secs(4), "{stop}");
}

/// The default of Red Hat's older releases, which has one exception. There is no gfs2 here: the table says so, and
/// what keeps it busy is a tmpfs in its place.
#[test]
fn kernel_fast_stop_is_not_the_default_of_gfs2() {
    let Some(_machine) = Machine::private() else { return };
    let stop = |fstype: &str| {
        let host = Sandbox::new();
        host.os_release("rocky", "8.9").block_device("dev/sda1", 1).folder("mnt/data");
        host.mounted("8:1", "/mnt/data", fstype, "/dev/sda1");
        let dir = host.path("mnt/data");
        mount_here("busy", &dir, "tmpfs", "");
        let user = User::with_cwd(&dir);
        let data = resource("/dev/sda1", Path::new("/mnt/data"), fstype).param("force_unmount", "false");
        let stop = host.host(data).timeout_ms(10_000).run("stop");
        drop(user);
        unmount_here(&dir);
        stop.answers(GENERIC).names("/mnt/data").within_ms(10_000)
    };
    std::thread::scope(|scope| {
        let ext4 = scope.spawn(|| stop("ext4"));
        let gfs2 = stop("gfs2");
        assert!(gfs2.elapsed > Duration::from_millis(7500), "all the time there is: {gfs2}");
        ext4.join().unwrap().within_ms(7000);
    });
}

#[test]
fn kernel_force_unmount_false_signals_nobody() {
    for value in ["false", "no", "", "no-such-word", "true,false"] {
        let Some(here) = running(Format::Ext4) else { return };
        let mut user = User::with_cwd(&here.dir);
        let data = here.data.param("force_unmount", value).timeout_ms(3000);
        data.run("stop").answers(GENERIC).names(here.dir.to_str().unwrap());
        assert!(user.is_alive() && is_mounted(&here.dir), "{value:?}");
    }
}

#[test]
fn kernel_force_unmount_false_still_waits_for_users_to_end() {
    let Some(here) = running(Format::Ext4) else { return };
    let data = here.data.param("force_unmount", "false").timeout_ms(8000);
    let user = User::with_cwd(&here.dir);
    let mut agent = data.spawn("stop");
    std::thread::sleep(Duration::from_millis(500));
    drop(user);
    let freed = Instant::now();
    assert_eq!(agent.wait().unwrap().code(), Some(SUCCESS));
    assert!(freed.elapsed() < Duration::from_millis(1500), "{:?}", freed.elapsed());
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_every_other_word_of_force_unmount_ends_users() {
    let words = [
        "true",
        "yes",
        "1",
        "ja",
        "on",
        "safe",
        "safe,move",
        "move",
        "false,safe",
        "true,nops",
        "safe,xargs,bad",
    ];
    for value in words {
        let Some(here) = running(Format::Ext4) else { return };
        let mut user = User::with_cwd(&here.dir);
        here.data.param("force_unmount", value).run("stop").answers(SUCCESS).within_ms(4000);
        assert!(!user.is_alive() && !is_mounted(&here.dir), "{value:?}");
        assert!(!here.machine.path(".data").exists(), "{value:?} leaves nothing beside the mount point");
    }
}

#[test]
fn kernel_the_signals_are_those_that_were_asked_for() {
    let Some(here) = running(Format::Ext4) else { return };
    let record = here.machine.path("signals");
    // Not HUP or INT: whoever started the tests with nohup, or in the background, may ignore them.
    let mut user = User::recording(&here.dir, &record, &["USR1", "USR2", "TERM"]);
    let usr2 = nix::libc::SIGUSR2;
    let data = here.data.param("term_signals", format!("USR1 {usr2}")).param("kill_signals", "WINCH KILL");
    let data = data.timeout_ms(3000);
    data.run("stop").answers(SUCCESS).within_ms(3000);
    assert!(!user.is_alive() && !is_mounted(&here.dir));
    let recorded = fs::read_to_string(record).unwrap();
    assert!(recorded.contains("USR1") && recorded.contains("USR2"), "{recorded}");
    assert!(!recorded.contains("TERM"), "{recorded}");
}

#[test]
fn kernel_signal_names_may_have_the_prefix_of_c() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::ignoring_term(&here.dir);
    let data = here.data.param("term_signals", "SIGKILL");
    data.run("stop").answers(SUCCESS).within_ms(2000);
    assert!(!user.is_alive());
}

#[test]
fn kernel_empty_term_signals_leave_the_first_half_quiet() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::with_cwd(&here.dir);
    let data = here.data.param("term_signals", "").timeout_ms(3000);
    let stop = data.run("stop").answers(SUCCESS).within_ms(3000);
    assert!(!user.is_alive());
    assert!(stop.elapsed > Duration::from_millis(1000), "{stop}");
}

#[test]
fn kernel_empty_kill_signals_kill_nobody() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::ignoring_term(&here.dir);
    let data = here.data.param("kill_signals", "").timeout_ms(4000);
    data.run("stop").answers(GENERIC).within_ms(4000);
    assert!(user.is_alive() && is_mounted(&here.dir));
}

#[test]
fn kernel_every_form_of_signal_delay_is_taken() {
    for delay in ["1", "0.1", "0", "", "1s", "2m"] {
        let Some(here) = running(Format::Ext4) else { return };
        let mut user = User::with_cwd(&here.dir);
        here.data.param("signal_delay", delay).run("stop").answers(SUCCESS).within_ms(3000);
        assert!(!user.is_alive(), "{delay:?}");
    }
}

#[test]
fn kernel_bad_signal_settings_do_not_fail_a_stop() {
    for (name, value) in [("term_signals", "NOSUCH"), ("kill_signals", "99"), ("signal_delay", "soon")] {
        let Some(here) = running(Format::Ext4) else { return };
        let mut user = User::with_cwd(&here.dir);
        here.data.param(name, value).timeout_ms(4000).run("stop").answers(SUCCESS).within_ms(4000);
        assert!(!user.is_alive(), "{name}={value}: the default takes its place");
    }
}

#[test]
fn kernel_a_stop_needs_no_tool_and_no_path() {
    let Some(here) = running(Format::Ext4) else { return };
    for folder in ["/usr/sbin", "/usr/bin"] {
        // This thread's namespace only. The shared libraries stay, so that the user can live.
        mount_here("no-tools", Path::new(folder), "tmpfs", "");
    }
    here.data.clone().without("PATH").monitor().answers(SUCCESS);
    here.data.clone().without("PATH").run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
    for folder in ["/usr/sbin", "/usr/bin"] {
        unmount_here(Path::new(folder));
    }
}

#[test]
fn kernel_ten_stops_one_after_another_are_fast() {
    let Some(machine) = Machine::private() else {
        return;
    };
    let scenes: Vec<_> =
        (0..10).map(|number| (machine.disk(Format::Ext4), machine.dir(format!("data{number}")))).collect();
    let resources: Vec<_> = scenes.iter().map(|(disk, dir)| resource(disk, dir, "ext4")).collect();
    resources.iter().for_each(|data| drop(data.run("start").answers(SUCCESS)));
    let began = Instant::now();
    resources.iter().for_each(|data| drop(data.run("stop").answers(SUCCESS)));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "a debug build on a busy machine: {:?}",
        began.elapsed()
    );
}

/// Nothing that the agent started may go on signalling and unmounting when the agent itself is gone: the next
/// action of the cluster may be a start.
#[test]
fn kernel_a_killed_stop_does_not_go_on_in_a_child() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut user = User::ignoring_term(&here.dir);
    let mut agent = here.data.timeout_ms(2000).spawn("stop");
    std::thread::sleep(Duration::from_millis(400));
    agent.kill().unwrap();
    agent.wait().unwrap();
    std::thread::sleep(Duration::from_millis(2000));
    assert!(user.is_alive() && is_mounted(&here.dir), "its second half would have killed the user");
}

#[test]
fn kernel_a_mount_that_was_left_aside_is_not_stopped() {
    let Some(here) = scene(Format::Ext4) else { return };
    let aside = here.machine.dir(".data");
    mount_here(&here.disk, &aside, "ext4", "");
    let data = here.data.param("force_unmount", "true,move");
    let name = aside.to_str().unwrap();
    data.run("start").answers(GENERIC).names(name);
    assert!(!is_mounted(&here.dir));
    data.monitor().answers(GENERIC).names(name);
    data.probe().answers(GENERIC).names(name);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&aside));
    data.probe().answers(NOT_RUNNING);
}

#[test]
fn kernel_a_failed_stop_brings_the_mount_back_to_its_place() {
    let Some(here) = running(Format::Ext4) else { return };
    let image = here.dir.join("inner.img");
    fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    let holder = Disk::of_image(&image);
    let before = mounts_on(&here.dir)[0].id;
    let data = here.data.param("force_unmount", "true,move");
    data.clone().timeout_ms(4000).run("stop").answers(GENERIC).within_ms(4000);
    assert_eq!(mounts_on(&here.dir)[0].id, before);
    assert!(!here.machine.path(".data").exists());
    data.monitor().answers(SUCCESS);
    holder.detach();
    drop(holder);
    data.run("stop").answers(SUCCESS);
    assert!(!is_mounted(&here.dir));
}
