//! The table: every parameter and action, with its documentation.

use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "xendomain",
    also_called: &["Xen", "haxendomains"],
    short: "Runs a Xen guest on one node",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["name"],
    positional_required: 1,
};

const LONG: &str = "\
Starts, stops, watches and moves a Xen guest that xl manages, or xm where xl is absent. It takes the place of the agent
ocf:heartbeat:Xen, whose parameters it has, and of the scripts xendomain and haxendomains in haresources
(node1 drbddisk::domain1 xendomain::domain1) and as an init script (a link xendomain-domain1).

A guest is found by its name, in xenstored or in the whole list of domains; xl is only ever given its number, so that a
name of digits is a name. What runs is asked of xl once in a monitor, and not at all while xenstored knows no such guest.

Before a guest is created, every disk is looked at: it exists, is Primary here if it is on DRBD, is not below a DRBD
resource, and nothing else on this node uses it (mounts, stacked devices, swap, storage targets, other guests). The nodes
in peers are asked whether they run the guest. After it was created or has come, every disk's back end has to be
connected: xl succeeds over a DRBD device that is Secondary, and the guest's disk is dead for good then.

Differences from the agent Xen, and why:

- A guest that crashed, is suspended, is dying, or was left over by a migration is a failure. With xl, whatever existed
  was running. One that has switched itself off is cleaned up after 5 seconds and is stopped.
- A tool or xenstored that is missing, fails, hangs or cannot be understood is a failure; it was stopped. On a node that
  does not run under Xen nothing can run.
- A name with a comment or blanks behind it in the configuration is a name; a configuration that cannot be understood
  is a failure. The resource's id became the domain's name.
- xmfile is not required: the configuration is found by the guest's name. Its default was only an example.
- Start waits for the disks, and takes back what it created if they do not connect. It refuses a guest that libvirt
  manages.
- Stop does not wait for a guest that cannot be asked to shut down, destroys one that comes back after a shutdown, and
  succeeds once nothing holds the guest's disks any more.
- Copies that a migration left under the names NAME--incoming, NAME--migratedaway and migrating-NAME are cleaned up by
  stop; a stale NAME--incoming also by start and by both actions of a migration.
- A copy that a crash left under the name NAME-TIME is destroyed by stop if it holds disks, and is left alone otherwise.
- Migrations look at both nodes afterwards, over ssh. migrate_to fails with 1 if the guest stays and with 6 if nobody
  knows which copy runs: after that a cluster stops both and starts none until somebody has looked.
- A guest with a disk that is on this node alone is not moved (shared_disks).
- Start warns if DRBD's module hands the memory of guests itself to the network (its option disable_sendpage is not 1):
  then a link that is lost can keep a stopped guest's memory and disk, with current kernels until the node is booted, and
  stop does not succeed before.
- Two Primaries are allowed for the time of a migration only, if they were not allowed before (drbd_dual_primary). What
  a killed migration, or one with an unclear end, leaves of that is taken back by a later action on the same node, once
  one node alone has the guest; DRBD never takes the role from a node that has the disk open.
- The memory of guests of others is never touched, guests get what they can take, and no file is edited; the
  configuration was. No memory is divided while xl takes it from domain 0 by itself.
- A recurring monitor of a guest that is gone waits only if a process of xl could start it again, up to reboot_wait; a
  start and a stop do not run monitor_scripts.
- At check level 10, monitor also looks at the disks' back ends.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("xmfile").doc(
        "The guest's configuration",
        "Absolute path of the file that xl create takes. Without it, the file is looked for under the guest's name (or
the resource's, if there is none) in /etc/xen, /etc/xen/vm, /etc/xen/auto and /etc/xend, as NAME, NAME.cfg, NAME.conf
and NAME.sxp.",
    ),
    Parameter::string("name").unique().from_link_name().doc(
        "The guest's name",
        "The name of the domain. Without it, the name in the configuration is taken, or the resource's own if there is
none. The domain is created with this name whatever the configuration says.",
    ),
    Parameter::integer("shutdown_timeout").accepts(is_seconds, SECONDS).doc(
        "Seconds for an orderly shutdown",
        "How long stop waits for the guest to shut down before it is destroyed. Without it, two thirds of the stop
action's timeout; 0 destroys the guest at once.",
    ),
    Parameter::boolean("shutdown_acpi").default("0").doc(
        "Shut down by the power button",
        "Stop presses the guest's power button (xl trigger power) instead of asking it through Xen's own drivers.",
    ),
    Parameter::boolean("allow_mem_management").default("0").doc(
        "Divide the memory among guests",
        "Start, stop and migration divide the machine's memory, less reserved_Dom0_memory, among the running guests of
this agent on this node that have this parameter set, each between minimum_memory and the most it can take. Other
guests are never touched and no file is edited. Nothing is done while xl takes memory from domain 0 by itself
(autoballoon in xl.conf).",
    ),
    Parameter::string("node_ip_attribute").default("").accepts(is_word, "the name of a node attribute").doc(
        "Node attribute with the address for migrations",
        "The name of a permanent node attribute that holds the address under which a node takes guests in. Without it,
or if a node does not have it, the node's name is taken.",
    ),
    Parameter::integer("reserved_Dom0_memory").default("512").accepts(is_megabytes, MEGABYTES).doc(
        "Megabytes that are not divided",
        "What allow_mem_management leaves to domain 0.",
    ),
    Parameter::boolean("autoset_utilization_cpu").default("false").doc(
        "Tell the cluster the guest's processors",
        "A recurring monitor sets the resource's utilization cpu to the number of the guest's virtual processors.",
    ),
    Parameter::boolean("autoset_utilization_hv_memory").default("false").doc(
        "Tell the cluster the guest's memory",
        "A recurring monitor sets the resource's utilization hv_memory to the guest's memory in megabytes.",
    ),
    Parameter::string("monitor_scripts").default("").doc(
        "Programs that look at the guest",
        "Programs, separated by blanks, that a recurring monitor of a running guest runs: by absolute path, or by name
in the directories of the system's tools. If one fails, so does monitor.",
    ),
    Parameter::string("peers").default("").doc(
        "Other nodes that must not run the guest",
        "Names or addresses, separated by blanks. Before a start each of them is asked with ssh, as root and with keys
only, for its domains. This node's own name may be among them and is left out.",
    ),
    Parameter::string("peer_unknown").default("refuse").accepts(is_refusal, "refuse or allow").doc(
        "What start does if a peer does not answer",
        "With refuse, a peer that cannot be asked is a reason not to start, unless all disks are on DRBD and Secondary
there. With allow it is none, unless one of them is Primary there.",
    ),
    Parameter::string("paused").default("ok").accepts(is_paused, "ok, fail or unpause").doc(
        "What a paused guest is",
        "With ok, monitor takes a paused guest for a running one and logs a warning; with fail it is a failure; with
unpause monitor lets it go on.",
    ),
    Parameter::integer("reboot_wait").default("10").accepts(is_seconds, SECONDS).doc(
        "Seconds for the gap in a reboot",
        "How long a guest may be gone, or wait, while it is started again after a reboot of its own.",
    ),
    Parameter::string("drbd_dual_primary").default("auto").accepts(is_dual, "auto or no").doc(
        "Two Primaries for a migration",
        "With auto, migrate_to allows two Primaries and makes each of the guest's DRBD disks Primary on the target, if
it is not, and takes both back when the migration has ended, on the node that has not got the guest. With no it
refuses to move a guest whose disks are not Primary on the target.",
    ),
    Parameter::boolean("shared_disks").default("no").doc(
        "All disks can be reached from all nodes",
        "With yes, migrate_to believes that disks which look local are not. Without it, a disk has to be on DRBD, a
network block device, iSCSI, Fibre Channel, or a file on a network or cluster file system.",
    ),
    Parameter::integer("minimum_memory").default("128").accepts(is_megabytes, MEGABYTES).doc(
        "Megabytes that a guest keeps",
        "Less than this allow_mem_management gives to no guest.",
    ),
    Parameter::string("crash_dump_directory").default("").accepts(is_directory, "an absolute path").doc(
        "Where the memory of a crashed guest is saved",
        "If set, stop runs xl dump-core for a guest that crashed and was preserved, for at most half of its time.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 60),
    Action::new("stop", 40),
    Action::new("migrate_to", 120),
    Action::new("migrate_from", 120),
    Action::new("monitor", 30).every(10, 0),
    Action::new("validate-all", 5),
    Action::new("meta-data", 5),
];

const SECONDS: &str = "a whole number of seconds up to 86400";

fn is_seconds(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u32>().is_ok_and(|seconds| seconds <= 86_400)
}

fn is_refusal(text: &str) -> bool {
    matches!(text, "refuse" | "allow")
}

fn is_paused(text: &str) -> bool {
    matches!(text, "ok" | "fail" | "unpause")
}

const MEGABYTES: &str = "a whole number of megabytes";

fn is_megabytes(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

fn is_dual(text: &str) -> bool {
    matches!(text, "auto" | "no")
}

fn is_word(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !text.starts_with('-'))
}

fn is_directory(text: &str) -> bool {
    text.is_empty() || text.starts_with('/')
}
