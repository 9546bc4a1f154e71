//! The table: every parameter and action, with its documentation.

use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "openvz",
    also_called: &["ManageVE"],
    short: "Runs an OpenVZ or Virtuozzo container on one node",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["ctid"],
    positional_required: 1,
};

const LONG: &str = "\
Runs a container of OpenVZ (vzctl 2.7 to 4.11) or Virtuozzo 7 to 9 on one node at a time. Its private area lies on a
file system that the cluster mounts first; its configuration, /etc/vz/conf/CTID.conf, is on every node, with ONBOOT=no.

It takes the place of the script openvz in haresources (openvz::101 behind Filesystem), works as an init script
(a link openvz-101) and by hand, and takes the place of the agent ManageVE, under that name too, with its parameter veid.

States: running and paused are running. Down, suspended, mounted only, and deleted (private area or configuration not
visible, as on the passive node) are stopped, for status with that word behind. Anything else is an error.

start refuses a private area that is not here or not on a file system of its own, moves a memory dump aside that is not
the cluster's, waits while another vzctl works on the container, and warns of ONBOOT=yes and of a configuration that
differs from that of the last start. That one is kept beside the private area, as .holdfast-openvz-CTID.conf.

stop gives the container two thirds of the time for an orderly shutdown and kills it then. It succeeds only when nothing
of the container runs or is mounted, and otherwise names who holds its root directory. If stop itself is ended by
somebody, the container is not killed, but goes on shutting down.

monitor at depth 10 also runs the command true in the container. Counters that the kernel has refused to the container
(failcnt) are warned of, once for each refusal that is new.

Migration (migrate_mode, and the resource's meta-attribute allow-migrate=true): both nodes must have the container's files
at the same time between migrate_to and migrate_from. That is so with a cluster file system or NFS, and with
vzmigrate, which copies them. It is not so with a file system on DRBD below the container, in a group or with order
constraints: it would have to be unmounted here and mounted there in between, and a cluster does that by stopping the
container. Leave migrate_mode=none there. A dump of a migration has a name of its own and is never resumed by start,
nor by the node that has written it.

Differences from the script openvz, and why:

- There is no default container: without one, the usage is printed, exit code 1. The script took 101.
- A start that fails is 1. The script always said 0, and nobody took over.
- Warnings on standard error are never taken for the state.
- A state that cannot be told is printed as running (unverified), exit code 4. The script printed stopped.

Differences from the agent ManageVE, and why:

- Names and UUIDs are accepted. What no container can be called is 2 for every action, as it was.
- The kernel's /proc/vz/veinfo decides, without vzctl. Otherwise vzctl is run once, not twice, and its exit code counts.
- A private area that is not visible is no error and is not logged; but while processes run, the container runs.
- A missing vzctl is 5. If the kernel shows no trace of a container, it is 7 for a probe and 0 for a stop; if it does, and
cannot tell whether it is this one, it is 1 for a probe.
- A start that vzctl refuses because the container is not on this node (its codes 5, 10, 14, 22 to 24, 43) is 5, and
  because of DISABLED=yes it is 6. All other failures are 1.
- A paused container of Virtuozzo is running; a suspended one is stopped, and start does not resume its old memory unless
  dump_policy says so.
- Migration has to be switched on by migrate_mode. ManageVE always wrote a dump where the next start found it.
- vzmigrate is told to remove no private area, neither here nor there.
- usage and status are known; a stop that is late kills the container, and is verified.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("ctid").required().unique().aliases(&["veid"]).shown_as(&[("ManageVE", "veid")]).from_link_name().doc(
        "Which container",
        "The id of the container, its UUID or its name. 0, which is the node itself, is not accepted.",
    ),
    Parameter::string("tool").default("auto").accepts(is_tool, "auto, vzctl or prlctl").doc(
        "The program to use",
        "vzctl, or prlctl, which knows Virtuozzo's virtual machines too. With auto, vzctl if it is installed. A virtual
machine's files are not looked at, and its memory dump is not moved aside: start refuses a suspended one.",
    ),
    Parameter::boolean("require_mount").default("yes").doc(
        "The private area must be on a mounted file system",
        "With yes, start fails if the private area is on the root file system: then what should be mounted there is not.
Set it to no if the private area is meant to be on the root file system.",
    ),
    Parameter::string("dump_policy").default("discard").accepts(is_dump_policy, "discard, resume or fail").doc(
        "What start does with a memory dump",
        "vzctl start resumes a container from a memory dump that it finds, however old it is, on files that have changed
since. With discard, the dump is renamed to NAME.discarded and the container boots. With resume, vzctl may use it. With
fail, start fails. A dump left by an unfinished migration is always discarded.",
    ),
    Parameter::boolean("wait").default("no").doc(
        "Wait until the container has booted",
        "With yes, start runs vzctl start with --wait, which ends when the container has reached its run level. The
timeout of start must allow for that.",
    ),
    Parameter::string("migrate_mode")
        .default("none")
        .accepts(is_migrate_mode, "none, chkpnt or vzmigrate")
        .doc(
            "How the container migrates",
            "With none, migrate_to fails, and the cluster stops and starts the container. With chkpnt, its memory is written
to dump_dir by vzctl chkpnt and read by vzctl restore; its files and dump_dir must be on storage that both nodes have
mounted. With vzmigrate, that tool (or prlctl migrate) moves it over ssh to the other node, by the name that the cluster
has for it.",
        ),
    Parameter::string("dump_dir").accepts(is_absolute, "an absolute path").doc(
        "Where a migration leaves the memory",
        "A directory that both nodes have mounted, for migrate_mode=chkpnt. Without it, DUMPDIR of the container.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 75),
    Action::new("stop", 75),
    Action::new("monitor", 10).every(10, 0),
    Action::new("migrate_to", 75),
    Action::new("migrate_from", 75),
    Action::new("validate-all", 5),
    Action::new("meta-data", 5),
];

fn is_tool(text: &str) -> bool {
    matches!(text, "auto" | "vzctl" | "prlctl")
}

fn is_dump_policy(text: &str) -> bool {
    matches!(text, "discard" | "resume" | "fail")
}

fn is_migrate_mode(text: &str) -> bool {
    matches!(text, "none" | "chkpnt" | "vzmigrate")
}

fn is_absolute(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}
