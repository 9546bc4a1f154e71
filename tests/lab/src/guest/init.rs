//! Process 1 of a node: what an init system does before the first daemon, and nothing after it. The cluster software is
//! started by the scenarios, as an administrator would.

use lab::{Doing, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::wait;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Never returns.
pub fn run() -> Result {
    let command_line = fs::read_to_string("/proc/cmdline")?;
    let argument = |name: &str| {
        command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name))
            .unwrap_or_default()
            .to_owned()
    };
    attempt(Command::new("modprobe").arg("configfs"));
    mounts();
    nix::unistd::sethostname(argument("lab.name="))?;
    network(&argument("lab.address="))?;
    for (command, arguments) in [
        // Its tmpfiles make what packages expect in /run.
        ("systemd-tmpfiles", &["--create", "--prefix=/run", "--prefix=/var/lib", "--prefix=/var/log"][..]),
        ("/lib/systemd/systemd-udevd", &["--daemon"]),
        ("udevadm", &["trigger", "--type=subsystems", "--action=add"]),
        ("udevadm", &["trigger", "--type=devices", "--action=add"]),
        ("udevadm", &["settle", "--timeout=60"]),
        ("rsyslogd", &[]),
    ] {
        attempt(Command::new(command).args(arguments));
    }
    let mut server = serve()?;
    loop {
        match wait() {
            Ok(status) if status.pid().map(nix::unistd::Pid::as_raw) == i32::try_from(server.id()).ok() => {
                eprintln!("lab-guest: the server ended: {status:?}");
                server = serve()?;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a node may also do without: a kernel without debugfs still runs most scenarios.
fn mounts() {
    let none: Option<&str> = None;
    for (kind, target, options) in [
        ("devpts", "/dev/pts", "gid=5,mode=620"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", ""),
        ("debugfs", "/sys/kernel/debug", ""),
        ("configfs", "/sys/kernel/config", ""),
        ("xenfs", "/proc/xen", ""),
    ] {
        if kind == "xenfs" && !Path::new("/proc/xen").exists() {
            continue;
        }
        // Those below /sys and /proc are there if the kernel has them, and cannot be made.
        let made = if Path::new(target).exists() { Ok(()) } else { fs::create_dir_all(target) };
        let made = made.map_err(|_| Errno::ENOENT);
        let options = Some(options).filter(|options| !options.is_empty());
        if let Err(error) =
            made.and_then(|()| mount(none.or(Some(kind)), target, Some(kind), MsFlags::empty(), options))
        {
            eprintln!("lab-guest: {target} is not mounted: {error}");
        }
    }
    // Xen's hotplug scripts spin without /dev/stdin.
    for (name, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/etc/mtab", "/proc/self/mounts"),
    ] {
        if let Err(error) = symlink(target, name)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            eprintln!("lab-guest: {name}: {error}");
        }
    }
    for directory in ["/run/lock", "/run/lvm", "/run/heartbeat", "/var/log/pacemaker"] {
        if let Err(error) = fs::create_dir_all(directory) {
            eprintln!("lab-guest: {directory}: {error}");
        }
    }
    for (file, value) in
        [("/proc/sys/kernel/printk", "4 4 1 7"), ("/proc/sys/kernel/hung_task_timeout_secs", "0")]
    {
        if let Err(error) =
            OpenOptions::new().write(true).open(file).and_then(|mut file| file.write_all(value.as_bytes()))
        {
            eprintln!("lab-guest: {file}: {error}");
        }
    }
}

/// eth0 leads to the other nodes, eth1 to the host.
fn network(address: &str) -> Result {
    let mut ip =
        Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().doing("starting ip")?;
    let lines = format!(
        "link set lo up\naddr add {address}/24 brd + dev eth0\nlink set eth0 up\naddr add 10.0.2.15/24 dev eth1\n\
         link set eth1 up\n"
    );
    if let Some(mut input) = ip.stdin.take() {
        input.write_all(lines.as_bytes())?;
    }
    ip.wait()?;
    Ok(())
}

fn attempt(command: &mut Command) {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("lab-guest: {command:?}: {status}"),
        Err(error) => eprintln!("lab-guest: {command:?}: {error}"),
    }
}

fn serve() -> Result<Child> {
    Command::new("/run/lab-guest")
        .arg("serve")
        .stdin(Stdio::null())
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LANG", "C.UTF-8")
        .current_dir("/root")
        .spawn()
        .doing("starting the server")
}
