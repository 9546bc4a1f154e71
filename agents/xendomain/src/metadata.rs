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
Starts, stops and watches a Xen guest that is managed by xl, or by xm where xl is absent.";

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
only, for its domains.",
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
