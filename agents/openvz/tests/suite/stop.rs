//! stop: the two thirds, the quick end, unmounting, holders, signals.

use std::fs;
use std::time::{Duration, Instant};

use testkit::call::{GENERIC, INSTALLED, SUCCESS};
use testkit::{Sandbox, Tool};

use crate::scenes::{
    changes, container, ct101, is_running, logged, node, openvz_node, running, virtuozzo_node,
};

fn is_mounted(machine: &Sandbox) -> bool {
    machine.mounts().iter().any(|point| point == "/vz/root/101")
}

#[test]
fn an_orderly_stop_is_one_vzctl_stop_and_a_second_one_none() {
    for machine in [running(node()), running(openvz_node())] {
        ct101(&machine).run("stop").answers(SUCCESS);
        assert!(!is_running(&machine) && !is_mounted(&machine));
        ct101(&machine).run("stop").answers(SUCCESS);
        assert_eq!(changes(&machine), [["stop", "101"]]);
    }
}

#[test]
fn a_stop_where_it_never_was_is_0() {
    for machine in [node(), openvz_node()] {
        fs::remove_dir_all(machine.path("Data")).unwrap();
        machine.file("ct/exists", "deleted\n");
        ct101(&machine).run("stop").answers(SUCCESS);
        fs::remove_file(machine.path("etc/vz/conf/101.conf")).unwrap();
        ct101(&machine).run("stop").answers(SUCCESS);
        assert!(changes(&machine).is_empty());
    }
}

#[test]
fn what_does_not_shut_down_in_two_thirds_of_the_time_is_killed_and_that_is_said() {
    let machine = running(openvz_node());
    machine.file("ct/slow", "60");
    let began = Instant::now();
    let (answer, log) = logged(&machine, ct101(&machine).timeout_ms(20_000), "stop");
    answer.within_ms(20_000).answers(SUCCESS);
    let took = began.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(13), "two thirds: {took:?}");
    assert_eq!(changes(&machine), [&["stop", "101"][..], &["stop", "101", "--fast"]]);
    assert!(
        log.contains("asked to shut down and has 1") && log.contains("processes are killed now"),
        "{log}"
    );
    assert!(!is_running(&machine) && !is_mounted(&machine));
}

#[test]
fn an_orderly_stop_that_is_refused_is_followed_by_a_quick_one_at_once() {
    for code in [3, 6, 8, 15, 33, 79] {
        let machine = running(openvz_node());
        machine.file("refusals/stop", format!("*{code} no\n"));
        ct101(&machine).run("stop").within_ms(3000).answers(SUCCESS);
        assert_eq!(changes(&machine).len(), 2, "{code}");
    }
}

#[test]
fn a_container_that_survives_everything_is_a_failure() {
    let machine = running(openvz_node());
    machine.file("refusals/stop", "*33 timed out\n").file("refusals/fast", "*33 timed out\n");
    ct101(&machine).run("stop").answers(GENERIC).names("101 still runs").names("code 33");
}

/// A vzctl that says 0 and has stopped nothing.
#[test]
fn a_success_that_is_none_is_found_out() {
    let machine = running(openvz_node());
    machine.tool("vzctl", Tool::Succeeds);
    ct101(&machine).run("stop").answers(GENERIC).names("101 still runs");
    let machine = running(node());
    machine.tool("vzctl", Tool::Does("[ \"$1\" != status ] || echo CTID 101 exist mounted running".into()));
    ct101(&machine).run("stop").answers(GENERIC).names("101 still runs");
}

#[test]
fn a_lock_is_waited_for() {
    let machine = running(openvz_node());
    machine.file("refusals/stop", "9 locked\n9 locked\n");
    ct101(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["stop", "101"]; 3]);
}

fn locked_by_vzdump() -> Sandbox {
    let machine = running(openvz_node());
    machine.file("vz/lock/101.lck", "4711\nbackup\n").file("proc/4711/comm", "vzdump\n");
    machine
}

#[test]
fn a_lock_that_stays_is_told_with_its_holder() {
    let machine = locked_by_vzdump();
    machine.file("refusals/stop", "*9 locked\n").file("refusals/fast", "*9 locked\n");
    let answer = ct101(&machine).timeout_ms(8000).run("stop").within_ms(8000);
    answer.answers(GENERIC).names("vzdump[4711]");
}

/// The last try may have next to no time left.
#[test]
fn a_lock_is_told_though_the_try_after_it_was_cut_off() {
    let machine = locked_by_vzdump();
    let script = r#"case $1 in
        status) echo CTID 101 exist mounted running ;;
        stop) [ ! -e "$0.locked" ] || exec sleep 600
            [ "$3" != --fast ] || : >"$0.locked"
            exit 9 ;;
        esac"#;
    machine.tool("vzctl", Tool::Does(script.into()));
    ct101(&machine).timeout_ms(8000).run("stop").answers(GENERIC).names("vzdump[4711]");
}

/// The agent itself hangs in the kernel, so that the process which waits for it has to answer.
#[test]
fn a_lock_is_told_though_the_look_after_it_hangs() {
    let machine = locked_by_vzdump();
    let script = r#"case $1 in
        status) echo CTID 101 exist mounted running ;;
        stop) rm -f PROC; mkfifo PROC; exit 9 ;;
        esac"#;
    let file = machine.path("proc/vz/veinfo").display().to_string();
    machine.tool("vzctl", Tool::Does(script.replace("PROC", &file)));
    let answer = ct101(&machine).timeout_ms(4000).run("stop").within_ms(4000).answers(GENERIC);
    answer.names("did not end in time").names("vzdump[4711]");
}

/// The exit code is not the state: the container is down, but its file system cannot be unmounted.
#[test]
fn a_root_directory_that_stays_mounted_is_a_failure_that_names_the_holder() {
    for machine in [running(node()), running(openvz_node())] {
        machine.file("ct/busy", "");
        machine.folder("proc/4711/fd").file("proc/4711/comm", "bash\n");
        std::os::unix::fs::symlink("/vz/root/101/var", machine.path("proc/4711/cwd")).unwrap();
        machine.folder("proc/4712/fd").file("proc/4712/comm", "tail\n");
        std::os::unix::fs::symlink("/vz/root/101/log", machine.path("proc/4712/fd/3")).unwrap();
        machine.folder("proc/4713/fd").file("proc/4713/comm", "other\n");
        std::os::unix::fs::symlink("/vz/root/1010", machine.path("proc/4713/cwd")).unwrap();
        let answer = ct101(&machine).timeout_ms(4000).run("stop").within_ms(4000).answers(GENERIC);
        let reason = answer.reason().unwrap();
        assert!(reason.contains("/vz/root/101") && reason.contains("bash[4711]"), "{answer}");
        assert!(reason.contains("tail[4712]") && !reason.contains("4713"), "{answer}");
        assert!(!is_running(&machine), "it is down all the same");
        // Once it is free, a second stop unmounts.
        fs::remove_file(machine.path("ct/busy")).unwrap();
        ct101(&machine).run("stop").answers(SUCCESS);
        assert!(!is_mounted(&machine));
        assert_eq!(changes(&machine).last().unwrap(), &["umount", "101"]);
    }
}

#[test]
fn a_holder_that_leaves_in_time_is_waited_for() {
    let machine = running(openvz_node());
    machine.file("ct/busy", "");
    let free = machine.path("ct/busy");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        fs::remove_file(free).unwrap();
    });
    ct101(&machine).timeout_ms(8000).run("stop").answers(SUCCESS);
    thread.join().unwrap();
    assert!(!is_mounted(&machine));
}

#[test]
fn a_mount_below_the_root_directory_counts_and_is_named() {
    let machine = openvz_node();
    machine.mounted("0:60", "/vz/root/101/proc", "proc", "proc");
    let answer = ct101(&machine).timeout_ms(3000).run("stop").answers(GENERIC);
    assert!(answer.reason().unwrap().contains("mount on /vz/root/101/proc"), "{answer}");
}

/// A device on a file of the private area keeps the file system below in use as a mount does.
#[test]
fn a_disk_image_that_stays_attached_is_a_failure_that_names_its_device() {
    let machine = openvz_node();
    machine.file("sys/block/ploop12345/pdelta/0/image", "/Data/db/vm/root.hdd/root.hds\n");
    machine.file("sys/block/ploop54321/pdelta/0/image", "/Data/apps/vm/root.hdd/root.hds\n");
    let answer = ct101(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("device ploop12345");
    assert!(!answer.reason().unwrap().contains("54321"), "{answer}");
    ct101(&machine).monitor().answers(7);
    fs::remove_dir_all(machine.path("sys/block/ploop12345")).unwrap();
    ct101(&machine).run("stop").answers(SUCCESS);
}

/// Its configuration has gone, as after vzmigrate: the node's settings tell where it would be mounted.
#[test]
fn a_root_directory_without_a_configuration_counts_too() {
    let machine = running(openvz_node());
    machine.file("proc/vz/veinfo", "         0     0   120\n").file("ct/run", "down\n");
    fs::remove_file(machine.path("etc/vz/conf/101.conf")).unwrap();
    ct101(&machine).run("stop").answers(SUCCESS);
    assert!(!is_mounted(&machine));
    assert_eq!(changes(&machine), [["umount", "101"]]);
}

/// A configuration that cannot be read is not one that is absent: the node's default would be a guess.
#[test]
fn a_configuration_that_cannot_be_read_leaves_the_word_to_vzctl() {
    let machine = openvz_node();
    fs::remove_file(machine.path("etc/vz/conf/101.conf")).unwrap();
    machine.folder("etc/vz/conf/101.conf");
    machine.tool("vzctl", Tool::Does("echo CTID 101 exist mounted down".into()));
    ct101(&machine).timeout_ms(5000).run("stop").answers(GENERIC).names("mounted");
}

/// Its root directory has another name since it was started.
#[test]
fn what_only_vzctl_knows_to_be_mounted_counts() {
    let machine = node();
    machine.tool("vzctl", Tool::Does("echo CTID 101 exist mounted down".into()));
    ct101(&machine).timeout_ms(5000).run("stop").answers(GENERIC).names("mounted");
}

/// Nobody can say from the files where it would be mounted; vzctl can.
#[test]
fn an_unusable_root_directory_in_the_configuration_does_not_fail_a_stop() {
    for root in ["$HOME/101", "root"] {
        let machine = openvz_node();
        crate::scenes::configure(&machine, &format!("VE_ROOT={root}\nVE_PRIVATE=/Data/db/vm\n"));
        ct101(&machine).run("stop").answers(SUCCESS);
        machine.tool("vzctl", Tool::Does("echo CTID 101 exist mounted down".into()));
        ct101(&machine).timeout_ms(3000).run("stop").answers(GENERIC).names("mounted");
    }
}

/// It neither runs nor is it stopped: the file system below could not be unmounted.
#[test]
fn what_is_only_mounted_is_unmounted() {
    for machine in [running(node()), running(openvz_node())] {
        machine.file("ct/run", "down\n");
        if machine.path("proc/vz/veinfo").exists() {
            machine.file("proc/vz/veinfo", "         0     0   120\n");
        }
        ct101(&machine).monitor().answers(7);
        ct101(&machine).run("stop").answers(SUCCESS);
        assert!(!is_mounted(&machine));
        assert_eq!(changes(&machine), [["umount", "101"]]);
    }
}

#[test]
fn a_paused_container_is_stopped_too() {
    let machine = running(node());
    machine.file("ct/run", "paused\n");
    ct101(&machine).run("stop").answers(SUCCESS);
    assert_eq!(changes(&machine), [["stop", "101"]]);
}

#[test]
fn a_machine_that_does_not_listen_is_killed_by_prlctl() {
    let machine = virtuozzo_node("VM", "running");
    machine.file("ct/deaf", "");
    container(&machine, "vm1").run("stop").answers(SUCCESS);
    let changes: Vec<_> = machine.calls("prlctl").into_iter().filter(|call| call[0] != "status").collect();
    assert_eq!(changes, [&["stop", "vm1"][..], &["stop", "vm1", "--kill"]]);
}

#[test]
fn without_vzctl_a_stop_is_0_only_where_nothing_can_run() {
    // The kernel says that it does not run, and nothing is mounted.
    let machine = openvz_node();
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    ct101(&machine).run("stop").answers(SUCCESS);
    // No OpenVZ at all.
    let machine = node();
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    fs::remove_dir(machine.path("proc/vz")).unwrap();
    ct101(&machine).run("stop").answers(SUCCESS);
    // A kernel of OpenVZ's that does not tell, and one with the control group of some container.
    let machine = node();
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    ct101(&machine).timeout_ms(3000).run("stop").answers(INSTALLED).names("vzctl");
    fs::remove_dir(machine.path("proc/vz")).unwrap();
    machine.mounted("0:30", "/sys/fs/cgroup/memory", "cgroup", "cgroup");
    machine.file("sys/fs/cgroup/memory/vz-102/cgroup.procs", "4711\n");
    ct101(&machine).timeout_ms(3000).run("stop").answers(INSTALLED).names("vzctl");
    fs::remove_dir_all(machine.path("sys/fs/cgroup/memory/vz-102")).unwrap();
    ct101(&machine).run("stop").answers(SUCCESS);
    // It is mounted.
    let machine = running(node());
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    ct101(&machine).timeout_ms(3000).run("stop").answers(INSTALLED).names("vzctl");
    // It runs.
    let machine = running(openvz_node());
    fs::remove_file(machine.path("usr/sbin/vzctl")).unwrap();
    ct101(&machine).run("stop").answers(INSTALLED).names("101 still runs").names("vzctl");
    ct101(&machine).run("start").answers(SUCCESS);
    machine.file("proc/vz/veinfo", "         0     0   120\n");
    ct101(&machine).run("start").answers(INSTALLED).names("vzctl");
}

/// A vzctl that answers SIGTERM as the real one does: it kills the container. In Perl, because a shell takes back
/// signals that are held back when it waits for its first child.
const LISTENING: &str = r#"#!/usr/bin/perl
sub note { open my $f, ">>", "$ENV{OCF_TEST_ROOT}/$_[0]"; print $f $_[1]; close $f }
if ($ARGV[0] eq "status") { print "CTID 101 exist mounted running\n"; exit }
$SIG{TERM} = $SIG{INT} = sub { note("ct/killed", "yes"); exit 33 };
note("calls/vzctl", join("\0", @ARGV) . "\0\0");
unlink "$ENV{OCF_TEST_ROOT}/calls/vzctl.pid";
note("calls/vzctl.pid", $$);
note("ct/listens", "yes");
sleep 1 while 1;
"#;

fn listening() -> Sandbox {
    let machine = running(openvz_node());
    machine.file("listening", LISTENING);
    // By a child: a file that this process has open for writing could not be executed.
    let script = "cp \"$0/listening\" \"$0/usr/sbin/new\" && chmod 755 \"$0/usr/sbin/new\" && \
        mv \"$0/usr/sbin/new\" \"$0/usr/sbin/vzctl\"";
    let copied =
        std::process::Command::new("/bin/sh").args(["-c", script]).arg(machine.root()).status().unwrap();
    assert!(copied.success());
    machine
}

/// A caller that gives up sends SIGTERM to the group, vzctl included.
#[test]
fn a_stop_that_is_terminated_does_not_kill_the_container() {
    use std::os::unix::process::CommandExt;
    let machine = listening();
    let mut agent = ct101(&machine).command();
    let mut agent = agent.arg("stop").process_group(0).stderr(std::process::Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !machine.has_text("ct/listens") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(machine.has_text("ct/listens"));
    let group = nix::unistd::Pid::from_raw(i32::try_from(agent.id()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGTERM).unwrap();
    agent.wait().unwrap();
    assert!(!machine.tool_lives("vzctl"), "nobody is left behind");
    assert!(!machine.path("ct/killed").exists(), "the container was not killed");
}

/// The agent's own end of an orderly stop is none for the container either; the quick stop that follows is.
#[test]
fn an_orderly_stop_that_is_late_is_ended_without_its_handler() {
    let machine = listening();
    ct101(&machine).timeout_ms(9000).run("stop").within_ms(9000).answers(GENERIC).names("101 still runs");
    assert!(!machine.path("ct/killed").exists());
    assert_eq!(machine.calls("vzctl").last().unwrap(), &["stop", "101", "--fast"]);
}
