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
    Parameter::string("crash_dump_directory").default("").doc(
        "Where the memory of a crashed guest is saved",
        "If set, stop runs xl dump-core for a guest that crashed and was preserved, for at most half of its time.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 60),
    Action::new("stop", 40),
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
