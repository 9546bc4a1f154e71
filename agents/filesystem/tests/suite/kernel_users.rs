//! Who counts as a user of the mount, who is never signalled.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::call::{GENERIC, SUCCESS};
use testkit::disk::Format;
use testkit::kernel::{is_mounted, mount_here};
use testkit::users::User;

use crate::scenes::{Scene, running};

/// Stop ends exactly this user.
#[track_caller]
fn is_ended(here: &Scene, mut user: User) {
    let mut bystander = User::with_cwd(here.machine.base());
    here.data.run("stop").answers(SUCCESS).within_ms(3000);
    assert!(!is_mounted(&here.dir));
    assert!(!user.is_alive(), "the user is ended");
    assert!(bystander.is_alive(), "nobody else is");
}

#[test]
fn kernel_a_user_by_its_working_directory() {
    let Some(here) = running(Format::Ext4) else { return };
    fs::create_dir_all(here.dir.join("deep/er")).unwrap();
    is_ended(&here, User::with_cwd(&here.dir.join("deep/er")));
}

#[test]
fn kernel_a_user_by_an_open_file() {
    let Some(here) = running(Format::Xfs) else { return };
    is_ended(&here, User::with_open_file(&here.dir.join("log")));
}

#[test]
fn kernel_a_user_by_a_deleted_file() {
    let Some(here) = running(Format::Ext4) else { return };
    let user = User::with_open_file(&here.dir.join("log"));
    fs::remove_file(here.dir.join("log")).unwrap();
    is_ended(&here, user);
}

#[test]
fn kernel_a_user_by_its_program() {
    let Some(here) = running(Format::Ext4) else { return };
    is_ended(&here, User::with_program(&here.dir));
}

#[test]
fn kernel_a_user_by_its_program_whose_first_thread_has_ended() {
    let Some(here) = running(Format::Ext4) else { return };
    is_ended(&here, User::without_first_thread(&here.dir));
}

#[test]
fn kernel_a_user_by_a_mapping() {
    for format in [Format::Ext4, Format::Btrfs] {
        let Some(here) = running(format) else { return };
        is_ended(&here, User::with_mapping(&here.dir));
    }
}

#[test]
fn kernel_a_user_by_its_root_directory() {
    let Some(here) = running(Format::Ext4) else { return };
    is_ended(&here, User::with_root(&here.dir));
}

#[test]
fn kernel_a_user_in_another_mount_namespace() {
    let Some(here) = running(Format::Ext4) else { return };
    is_ended(&here, User::in_other_namespace(&here.dir));
}

#[test]
fn kernel_a_user_of_a_submount() {
    let Some(here) = running(Format::Ext4) else { return };
    let sub = here.machine.dir("data/sub");
    mount_here("tmpfs", &sub, "tmpfs", "");
    is_ended(&here, User::with_cwd(&sub));
}

#[test]
fn kernel_a_user_whose_names_are_strange() {
    let Some(here) = running(Format::Ext4) else { return };
    is_ended(&here, User::with_program_named(&here.dir, ") R 1 1\n(x"));
}

#[test]
fn kernel_many_users_at_once() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut users: Vec<User> = (0..60).map(|_| User::with_cwd(&here.dir)).collect();
    here.data.run("stop").answers(SUCCESS).within_ms(3000);
    assert!(users.iter_mut().all(|user| !user.is_alive()));
}

/// One descriptor for each user would be too many here. All of them get their signal at once all the same: the first
/// one, which ignores it, has two seconds.
#[test]
fn kernel_more_users_than_the_agent_may_have_descriptors() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut stubborn = User::ignoring_term(&here.dir);
    let mut users: Vec<User> = (0..100).map(|_| User::with_cwd(&here.dir)).collect();
    let stop = here.data.clone().param("signal_delay", "2").timeout_ms(8000).program("/bin/sh");
    let script = "ulimit -n 64; exec \"$0\" \"$@\"";
    let began = Instant::now();
    let mut agent = stop.command().args(["-c", script, crate::scenes::BINARY, "stop"]).spawn().unwrap();
    while users.iter_mut().any(User::is_alive) && began.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = users.iter_mut().filter_map(|user| user.is_alive().then_some(())).count();
    let code = agent.wait().unwrap().code();
    assert_eq!((left, code), (0, Some(SUCCESS)), "users left after 1.5 s, exit code");
    assert!(!stubborn.is_alive() && !is_mounted(&here.dir));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn kernel_a_user_that_respawns_is_outrun() {
    let Some(here) = running(Format::Ext4) else { return };
    let _respawner = User::respawning(&here.dir);
    here.data.clone().timeout_ms(8000).run("stop").answers(SUCCESS).within_ms(8000);
    assert!(!is_mounted(&here.dir));
}

/// A same-named path elsewhere, as a chroot or another namespace shows it, is not our mount.
#[test]
fn kernel_a_process_with_the_same_path_on_another_mount_is_no_user() {
    let Some(here) = running(Format::Ext4) else { return };
    let script = "mount -t tmpfs other \"$0\" && cd \"$0\" && : >is-there && exec sleep 600";
    let mut other = Command::new("/usr/bin/unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(&here.dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let seen = format!("/proc/{}/cwd/is-there", other.id());
    testkit::kernel::wait_until("the other namespace is ready", || fs::exists(&seen).unwrap_or(false));
    // Its namespace has a copy of our mount below its own, so the device is held: that is a failure, not a kill.
    here.data.clone().timeout_ms(4000).run("stop").answers(GENERIC).names("namespace");
    let alive = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(alive, "its working directory is on another file system");
}

#[test]
fn kernel_the_ancestors_of_the_agent_are_never_signalled() {
    let Some(here) = running(Format::Ext4) else { return };
    let mut shell = here.data.clone().timeout_ms(4000).program("/bin/sh").from_directory(&here.dir).command();
    let script = "trap 'echo caught' TERM HUP INT; \"$0\" stop; echo code $?";
    let output = shell.args(["-c", script, crate::scenes::BINARY]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout, "code 1\n", "the shell lives, unsignalled, and saw the stop fail");
    assert!(is_mounted(&here.dir));
    here.data.run("stop").answers(SUCCESS);
}

/// Its own working directory in the mount must not keep the agent from stopping it.
#[test]
fn kernel_an_agent_that_stands_in_the_mount_steps_out() {
    let Some(here) = running(Format::Ext4) else { return };
    here.data.clone().from_directory(&here.dir).run("stop").answers(SUCCESS).within_ms(2000);
    assert!(!is_mounted(&here.dir));
}

#[test]
fn kernel_cluster_daemons_are_never_signalled() {
    for name in ["pacemakerd", "pacemaker-execd", "pacemaker-contr", "corosync", "heartbeat", "lrmd"] {
        let Some(here) = running(Format::Ext4) else { return };
        let mut daemon = User::named(name, here.machine.base(), &here.dir);
        let mut ordinary = User::with_cwd(&here.dir);
        let stop = here.data.clone().timeout_ms(3000).run("stop").answers(GENERIC).within_ms(3000);
        assert!(daemon.is_alive(), "{name}: {stop}");
        assert!(!ordinary.is_alive());
        assert!(is_mounted(&here.dir));
    }
}
