//! A helper that does not do what it says would make the tests of the agents pass or fail for nothing.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::disk::{Disk, Format, shut_down};
use crate::fuse::HangingServer;
use crate::kernel::{Machine, is_mounted, mount_here, mounts_on, tool, unmount_here, wait_until};
use crate::users::User;
use crate::{Call, Sandbox, Tool};

#[test]
fn kernel_a_machine_leaves_nothing_mounted_or_attached() {
    let (base, device, image) = {
        let Some(machine) = Machine::private() else { return };
        let disk = machine.disk(Format::Ext4);
        mount_here(&disk, &machine.dir("data"), "ext4", "");
        assert!(is_mounted(machine.path("data")));
        (machine.base().to_owned(), disk.device().to_owned(), disk.image().to_owned())
    };
    assert!(!is_mounted(&base) && !base.exists());
    let backing = Path::new("/sys/block").join(device.file_name().unwrap()).join("loop/backing_file");
    let attached = || fs::read_to_string(&backing).is_ok_and(|file| file.trim() == image.to_str().unwrap());
    wait_until("the loop device is free", || !attached());
}

#[test]
fn kernel_mounts_are_seen_by_this_thread_only() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("per%cent \t[x]\\040");
    mount_here("x y", &dir, "tmpfs", "");
    assert_eq!(mounts_on(&dir)[0].source, "x y");
    let table_of_the_process = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table_of_the_process.contains("per%cent"));
    let child = tool("cat", &["/proc/self/mountinfo".as_ref()]);
    assert!(child.contains("per%cent"), "a process that this thread starts sees them");
}

#[test]
fn kernel_every_user_keeps_the_mount_busy() {
    let Some(machine) = Machine::private() else { return };
    let (disk, dir) = (machine.disk(Format::Ext4), machine.dir("data"));
    mount_here(&disk, &dir, "ext4", "");
    let makers: [(&str, &dyn Fn() -> User); 9] = [
        ("cwd", &|| User::with_cwd(&dir)),
        ("file", &|| User::with_open_file(&dir.join("log"))),
        ("program", &|| User::with_program(&dir)),
        ("mapping", &|| User::with_mapping(&dir)),
        ("root", &|| User::with_root(&dir)),
        ("ignoring", &|| User::ignoring_term(&dir)),
        ("slow", &|| User::ending_slowly(&dir, "0.1")),
        ("respawning", &|| User::respawning(&dir)),
        ("daemon", &|| User::named("pacemakerd", machine.base(), &dir)),
    ];
    for (kind, make) in makers {
        let mut user = make();
        let unmounted = nix::mount::umount2(&dir, nix::mount::MntFlags::empty());
        assert_eq!(unmounted, Err(nix::errno::Errno::EBUSY), "{kind}");
        assert!(user.is_alive(), "{kind}");
        drop(user);
    }
    // A group that was killed takes a moment to go.
    wait_until("the mount is free", || nix::mount::umount2(&dir, nix::mount::MntFlags::empty()).is_ok());
}

#[test]
fn kernel_a_namespace_holder_holds_the_device_and_not_the_mount() {
    let Some(machine) = Machine::private() else { return };
    let (disk, dir) = (machine.disk(Format::Ext4), machine.dir("data"));
    mount_here(&disk, &dir, "ext4", "");
    let holder = User::namespace_holder(&dir);
    unmount_here(&dir);
    let exclusive = || {
        use std::os::unix::fs::OpenOptionsExt;
        File::options().read(true).custom_flags(nix::libc::O_EXCL).open(disk.device())
    };
    assert!(exclusive().is_err());
    drop(holder);
    wait_until("the device is free", || exclusive().is_ok());
}

#[test]
fn kernel_a_fuse_server_serves_and_then_hangs_and_then_is_gone() {
    let Some(machine) = Machine::private() else { return };
    let (real, store, dir) = (machine.disk(Format::Ext4), machine.dir("store"), machine.dir("data"));
    let server = HangingServer::serving(&store, real.image());
    assert_eq!(fs::metadata(store.join("image")).unwrap().len(), 16 << 20);
    let disk = Disk::of_image(&store.join("image"));
    mount_here(&disk, &dir, "ext4", "");
    fs::write(dir.join("file"), "text").unwrap();
    tool("sync", &["-f".as_ref(), dir.as_os_str()]);
    server.hang();
    let mut stat =
        Command::new("/usr/bin/stat").arg(store.join("other")).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(stat.try_wait().unwrap().is_none(), "it hangs");
    drop(server);
    assert!(!stat.wait().unwrap().success());
    let mut first = Vec::new();
    tool("blockdev", &["--flushbufs".as_ref(), disk.device().as_os_str()]);
    assert!(
        File::open(disk.device()).unwrap().take(1 << 20).read_to_end(&mut first).is_err(),
        "the backing is gone"
    );
}

#[test]
fn kernel_a_silent_server_answers_nobody() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    let server = HangingServer::silent(&dir);
    let mut stat = Command::new("/usr/bin/stat").arg("-f").arg(&dir).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(stat.try_wait().unwrap().is_none(), "it hangs");
    drop(server);
    assert!(!stat.wait().unwrap().success());
}

#[test]
fn kernel_disks_can_be_lost_shut_down_and_damaged() {
    let Some(machine) = Machine::private() else { return };
    let dir = machine.dir("data");
    for format in [Format::Ext4, Format::Xfs] {
        let disk = machine.disk(format);
        mount_here(&disk, &dir, format.fstype(), "");
        shut_down(&dir);
        assert!(fs::write(dir.join("file"), "text").is_err(), "{format:?}");
        unmount_here(&dir);
        disk.lose_content();
        let mut first = [0u8; 4096];
        let read = File::open(disk.device()).unwrap().read_exact(&mut first);
        assert!(read.is_err(), "{format:?}");
    }
    let disk = machine.disk(Format::Ext4);
    disk.damage();
    let fsck = Command::new("fsck").args(["-t", "ext4", "-p"]).arg(disk.device()).output().unwrap();
    assert!(fsck.status.code().is_some_and(|code| code >= 4), "{fsck:?}");
}

#[test]
fn a_fake_tool_records_its_calls() {
    let machine = Sandbox::new();
    machine.tool("mount", Tool::Mounts).tool("fsck", Tool::Fails(4, "bad"));
    let mount = machine.path("usr/sbin/mount");
    for words in [vec!["-t", "nfs", "-o", "a b", "--", "s:/x", "/mnt/x"], vec![]] {
        Command::new(&mount).args(words).env("LC_ALL", "C").status().unwrap();
    }
    assert_eq!(machine.calls("mount"), [vec!["-t", "nfs", "-o", "a b", "--", "s:/x", "/mnt/x"], vec![]]);
    assert_eq!(machine.tool_environment("mount")["LC_ALL"], "C");
    assert_eq!(machine.mounts()[0], "/mnt/x");
    assert!(machine.tool_descriptors("mount").iter().any(|line| line.contains(" 0 -> ")));
    let fsck = Command::new(machine.path("usr/sbin/fsck")).output().unwrap();
    assert_eq!((fsck.status.code(), fsck.stderr.as_slice()), (Some(4), &b"bad\n"[..]));
    assert!(machine.calls("modprobe").is_empty());
}

#[test]
fn a_snapshot_sees_every_change() {
    let machine = Sandbox::new();
    let before = machine.snapshot();
    machine.file("etc/os-release", "ID=other\n");
    assert_ne!(machine.snapshot(), before);
    let before = machine.snapshot();
    machine.folder("mnt/new");
    assert_ne!(machine.snapshot(), before);
}

#[test]
fn an_answer_is_held_against_the_rules_of_output() {
    let says = |script: &str| {
        let machine = Sandbox::new();
        machine.tool("agent", Tool::Does(script.into()));
        let call = Call::ocf(machine.path("usr/sbin/agent"));
        std::panic::catch_unwind(|| call.run("monitor").answers(1)).is_ok()
    };
    assert!(says("echo 'ocf-exit-reason:the disk is gone' >&2; exit 1"));
    let wrong = [
        "echo 'ocf-exit-reason:the disk is gone' >&2; exit 5",
        "exit 1",
        "echo 'ocf-exit-reason:the disk is gone' >&2; echo more >&2; exit 1",
        "echo 'ocf-exit-reason:the disk is gone' >&2; echo 'ocf-exit-reason:and the cable too' >&2; exit 1",
        "echo word; echo 'ocf-exit-reason:the disk is gone' >&2; exit 1",
        "printf 'ocf-exit-reason:the disk is \\033[31mgone\\n' >&2; exit 1",
        "printf 'ocf-exit-reason:the disk is gone %0200d\\n' 1 >&2; exit 1",
    ];
    for script in wrong {
        assert!(!says(script), "{script}");
    }
}

#[test]
fn a_tool_that_runs_is_seen_alive_and_then_dead() {
    let machine = Sandbox::new();
    machine.tool("mount", Tool::Hangs);
    let mut tool = Command::new(machine.path("usr/sbin/mount")).spawn().unwrap();
    wait_until("the tool has recorded itself", || machine.has_text("calls/mount.pid"));
    assert!(machine.tool_lives("mount"));
    tool.kill().unwrap();
    tool.wait().unwrap();
    assert!(!machine.tool_lives("mount"));
}
