//! The table: every parameter and action, with its documentation.

use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "drbddisk",
    also_called: &[],
    short: "Makes a DRBD resource usable on one node",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["drbd_resource"],
    positional_required: 0,
};

const LONG: &str = "\
Makes a DRBD resource Primary on this node (start) and Secondary again (stop), so that a file system or a guest can use
its device. It is a plain resource, active on one node at a time; DRBD itself must be up on both, or adjust be set. It
takes the place of the script drbddisk in haresources, as an init script and by hand, and is a primitive in Pacemaker.
DRBD 0.7, 8.0 to 8.4 and 9 are understood.

Called as the script is (drbddisk r0 start), it answers with the script's words and exit codes: running (Primary) and 0,
stopped (Secondary) or stopped (Unconfigured) and 3, 4 if the role cannot be told, 1 for a failed start or stop, and
10 for the status of no or all resources. A link drbddisk-r0 is an init script for the resource r0.

Differences from the script drbddisk, and why:

- A role that cannot be told is printed as running (unverified), exit code 4. The script printed words that Heartbeat
  took for stopped.
- On DRBD 9, and whenever a tool fails, hangs or answers what cannot be understood, the state is unknown and never
  stopped. The script called it Unconfigured.
- A resource with several volumes is Primary if one of them is.
- Without a name, start and stop work if the configuration has one resource, and fail if it has several: the script
  took all of them, also for a blank in place of two colons in haresources. The word all still means all.
- start of a resource that is Primary, and stop of one that is not, run no tool that changes anything.
- start does not try again when there is no UpToDate data, no such resource or no kernel module. While the only obstacle
  is another node that is Primary, or not yet known to be dead, it tries for as long as the action may take.
- stop tries for as long as the action may take, not three times, and then names who holds the device: mounts in any
  namespace, stacked devices, swap, loop devices, storage targets, guests of Xen, processes.
- start and stop are believed only after a second look: drbdadm secondary succeeds without a kernel module, too.
- The argument may also be a device, a link in /dev/drbd/by-res, or the disk below the resource.
- Up to DRBD 8.4, monitor runs no other program; since 9 it runs drbdsetup once.
- A disk below the resource that does not exist is named when start fails for it.
- An unknown action is 3 for an init script's callers; it was 1.
- /etc/default/drbd is not read and DRBDADM has no effect: tools are found in fixed directories.
- Nothing is ever forced, and no data is ever given up by itself.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("drbd_resource").required().unique().aliases(&["resource"]).from_link_name().doc(
        "Which resource",
        "The name of a DRBD resource, a device of it (/dev/drbd0, /dev/drbd/by-res/r0), or the block device below it
(/dev/vg0/lv0). A resource with several volumes is always taken as a whole.",
    ),
    Parameter::integer("tries").default("6").accepts(is_count, "a whole number from 1 to 1000").doc(
        "How often start tries",
        "How often start tries to become Primary, a second apart. Tries that fail because another node is Primary do
not count.",
    ),
    Parameter::boolean("adjust").default("no").doc(
        "Bring the resource up first",
        "With yes, start runs drbdadm adjust for a resource that is not up. stop leaves it up.",
    ),
    Parameter::boolean("report_degraded").default("no").doc(
        "Report trouble that does not stop the disk",
        "With yes, monitor answers 190 instead of 0 if the resource is Primary but its I/O is suspended, quorum or a
peer is lost, a copy is not good, the nodes are in a split brain, or a resynchronisation is under way. With no it
writes a warning to the log. Clusters older than Pacemaker 2.0.5 get 0.",
    ),
    Parameter::boolean("exit_codes_of_0_7").default("no").doc(
        "Exit code 20 for a failed start",
        "With yes, a failed start exits with 20 instead of 1, as the script of DRBD 0.7 did. Only for callers other
than Pacemaker.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 60),
    Action::new("stop", 60),
    Action::new("monitor", 20).every(20, 0),
    Action::new("validate-all", 10),
    Action::new("meta-data", 5),
];

fn is_count(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|count| (1..=1000).contains(&count))
}
