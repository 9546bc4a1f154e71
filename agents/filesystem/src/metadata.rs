//! The table: every parameter and action, with its documentation.

use crate::fstype;
use crate::signals;
use ocf::dispatch::version;
use ocf::{Action, Host, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "Filesystem",
    also_called: &[],
    short: "Mounts and unmounts a file system",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["device", "directory", "fstype", "options"],
    positional_required: 2,
};

const LONG: &str = "\
Mounts a file system on one directory of this node, watches it, and unmounts it. It takes the parameters of
ocf:heartbeat:Filesystem and answers with its exit codes, except where listed below.

Check levels of monitor: 0 compares what is mounted on the directory with the device and asks no file system. 10 also
reads 4 KiB from the device past the page cache, and waits for an answer of the file system. 20 also writes a status
file and reads it back. What may hang is done by a helper process that is left behind when the time is over.

Differences from ocf:heartbeat:Filesystem, and why:

- A block device, an image or a bind mount is recognised by device number, inode and mount id, never by a name. Only
  what has no number, such as an export of a server, is recognised by its text; tmpfs and overlay by their type.
- What start mounted is written down. A mount whose device link or path has vanished, or that was moved, is found and
  unmounted by stop; it was left mounted with success. If the device cannot be found, and it cannot be told whether
  what is on the directory is of it, monitor, probe and stop fail with 1.
- start fails with 1 when another file system is mounted on the directory; it was covered by a second mount.
- A mount that cannot be reached because others cover its mount point is an error in every action; it was a success.
- A bind mount with options (bind,ro) changes that mount alone; the whole source file system used to become read-only.
  Its stop leaves what is mounted on the source. rbind counts as bind.
- stop ends only processes that use the mount, the mounts below it, or other mounts of its device that it takes down,
  in any mount namespace; never its own ancestors, process 1, or daemons of the cluster, and nobody when /proc shows
  another pid namespace. Both modes of force_unmount, true and safe, work like that.
- stop unmounts other mounts of the same file system only if they show a part of what this mount showed. Other btrfs
  subvolumes and devices with a similar name are left alone.
- stop waits for the processes themselves and unmounts when the last has gone. All mounts together have the
  operation's timeout, less 3 seconds (a quarter of a short one) in which it fails with 1 and the name of who holds the
  mount. Without a timeout from the cluster, those shown below hold.
- Among 500 tasks and more, the kernel is asked first who may use the mount (BPF, Linux 6.4). Each of those is looked at in
  /proc; all of /proc is searched when nobody is found, in every second round, and where the kernel does not answer.
- stop also fails while another mount namespace, a loop device or the like keeps the device in use, since the layer
  below could not be stopped.
- Network and FUSE file systems that keep stop waiting for more than 3 seconds are given up by force (MNT_FORCE).
- monitor and stop run no other program.
- start succeeds when the resource runs, also with other mounts below the directory. Otherwise it refuses all mounts
  below, also those with a hidden name.
- UUID=, LABEL=, PARTUUID= and PARTLABEL= are understood as device, and so are fuse.*, virtiofs, 9p, smb3 and every
  type that the kernel lists without a device.
- Levels 10 and 20 fail when the kernel has shut the file system down or made it read-only after an error, as far as
  its mount table tells: some kernels refuse writes to an ext4 that they still call rw, which only level 20 sees. Level 10
  reads from the device of -U, -L and loop mounts too. Level 20 compares what it reads back, and follows no links.
- A path may contain any byte. It must be absolute.
- start and validate-all fail with 6 for a boolean, run_fsck, signal or signal_delay that cannot be understood, for
  white space or more than 4095 bytes in options, for a device that begins with a dash or is a relative path, for a
  type with characters that no type has, and for .. in statusfile_prefix. monitor and stop warn and take the default.
- errors=remount-ro does not count as ro for a clone.
- The directory that the move word of force_unmount makes is removed again.
- Tools are found in fixed directories; the variables FSCK, MOUNT and their like have no effect.
- On distributions derived from Red Hat Enterprise Linux, version 9 counts as 9.0.
- Called by Heartbeat, status and monitor print one word (running, stopped) and exit with 0, 3 or 4, and the instance
  is called default.
- The parameters check_readonly and lazy_unmount are new, and off.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("device").required().doc(
        "What to mount",
        "A block device, an image file (with the option loop), -U UUID, -L LABEL, UUID=, LABEL=, PARTUUID= or
PARTLABEL= with a value, a directory for a bind mount, or what a network file system calls its source.",
    ),
    Parameter::string("directory").required().doc(
        "Where to mount it",
        "The mount point. It is made if it does not exist.",
    ),
    Parameter::string("fstype").required().doc(
        "Type of the file system",
        "As mount -t takes it. Empty: the type is read from the device.",
    ),
    Parameter::string("options").doc(
        "Mount options",
        "As mount -o takes them, without white space. For bind mounts, the word bind with options of the mount.",
    ),
    Parameter::string("statusfile_prefix").default(".Filesystem_status/").doc(
        "Prefix of the status file",
        "Check level 20 writes a status file with this prefix below the directory. If the prefix ends with a slash,
a directory of that name is made.",
    ),
    Parameter::string("run_fsck")
        .default("auto")
        .accepts(|word| matches!(word, "auto" | "force" | "no"), "auto, force or no")
        .doc(
            "Whether to run fsck before mounting",
            "auto: only for types that do not repair themselves when mounted. force: always. no: never. Only for
block devices that are given by path.",
        ),
    Parameter::boolean("fast_stop").default_of_host(default_fast_stop).doc(
        "Give stop 6 seconds only",
        "Stop gets 6 seconds for each mount instead of the operation's timeout. The default is yes on distributions
derived from Red Hat Enterprise Linux before 9, and no elsewhere; for gfs2 it is always no.",
    ),
    Parameter::boolean("force_clones").default("false").doc(
        "Allow clones of local file systems",
        "A local file system that several nodes mount at once is destroyed. Only for experiments, or where the copies
are kept apart below it.",
    ),
    Parameter::string("force_unmount").default_of_host(default_force_unmount).empty_is_a_value().doc(
        "How to deal with processes that use the file system at stop",
        "true or safe: the processes that use the mount are signalled (both mean the same here). false: nobody is
signalled and stop waits.
The word move, after a comma, moves the mount aside first, so that nobody finds it again. xargs, noxargs, ps and nops
are accepted without effect. Other words are ignored with a warning. The default is safe on distributions derived from
Red Hat Enterprise Linux 9 and later, and true elsewhere.",
    ),
    Parameter::string("term_signals")
        .default("TERM")
        .empty_is_a_value()
        .accepts(signals::are_signals, "signal names or numbers, separated by blanks")
        .doc(
            "Signals of the first half of stop",
            "Names or numbers, separated by blanks. Empty: nobody is signalled in the first half.",
        ),
    Parameter::string("kill_signals")
        .default("KILL")
        .empty_is_a_value()
        .accepts(signals::are_signals, "signal names or numbers, separated by blanks")
        .doc(
            "Signals of the second half of stop",
            "Names or numbers, separated by blanks. Empty: nobody is signalled in the second half.",
        ),
    Parameter::string("signal_delay")
        .default("1")
        .empty_is_a_value()
        .accepts(signals::is_delay, "a number of seconds, or one with s, m, h or d")
        .doc(
            "How long to wait before signalling again",
            "Time that a signalled process has before it is signalled again, as sleep(1) takes it: 1, 0.3, 1m. The
mount is tried as soon as the process has ended.",
        ),
    Parameter::boolean("check_readonly").default("false").doc(
        "Fail at check level 0 when the file system cannot be written any more",
        "With yes, a monitor of any level fails when the file system has become read-only although it was not mounted
so, or has been shut down after an error. With no, level 0 only warns, as ocf:heartbeat:Filesystem finds it running;
levels 10 and 20 fail on what the kernel did after an error.",
    ),
    Parameter::boolean("lazy_unmount").default("false").doc(
        "Detach a network file system that cannot be unmounted",
        "Only for network and FUSE file systems: when the time of stop ends, the mount is detached (MNT_DETACH) and
stop succeeds, although processes may still wait for the server.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 60),
    Action::new("stop", 60),
    Action::new("monitor", 40).every(20, 0),
    Action::new("validate-all", 5),
    Action::new("meta-data", 5),
    Action::new("users", 20).by_hand(),
];

/// Whether stop is fast when nobody says.
pub fn default_fast_stop(host: &Host) -> &'static str {
    if red_hat_version(host).is_some_and(|release| release < version("9.0")) { "yes" } else { "no" }
}

/// The words of force_unmount when nobody says.
pub fn default_force_unmount(host: &Host) -> &'static str {
    if red_hat_version(host).is_some_and(|release| release >= version("9.0")) { "safe" } else { "true" }
}

/// The version of a distribution derived from Red Hat Enterprise Linux, from os-release(5).
fn red_hat_version(host: &Host) -> Option<Vec<u32>> {
    let text = host.read("/etc/os-release").or_else(|_| host.read("/usr/lib/os-release")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_string())
    };
    fstype::RED_HAT_LIKE
        .contains(&value("ID")?.as_str())
        .then(|| version(&value("VERSION_ID").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(os_release: &str) -> (&'static str, &'static str) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/os-release"), os_release).unwrap();
        let host = Host::sandbox(dir.path());
        (default_fast_stop(&host), default_force_unmount(&host))
    }

    #[test]
    fn defaults_depend_on_the_distribution_and_9_is_9_0() {
        assert_eq!(defaults("ID=debian\nVERSION_ID=\"12\"\n"), ("no", "true"));
        assert_eq!(defaults("ID=\"rhel\"\nVERSION_ID=\"8.10\"\n"), ("yes", "true"));
        assert_eq!(defaults("ID=\"rhel\"\nVERSION_ID=\"9.4\"\n"), ("no", "safe"));
        assert_eq!(defaults("ID=\"centos\"\nVERSION_ID=\"9\"\n"), ("no", "safe"));
        assert_eq!(defaults("ID=fedora\nVERSION_ID=41\n"), ("no", "safe"));
        assert_eq!(defaults("ID='rocky'\nVERSION_ID='10.1'\n"), ("no", "safe"));
        assert_eq!(defaults(""), ("no", "true"));
    }
}
