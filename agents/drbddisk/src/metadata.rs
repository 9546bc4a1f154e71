//! The table: every parameter and action, with its documentation.

use crate::adm::DRBD_CONF;
use crate::clone::rules::{is_path, is_version};
use ocf::params::parse_bool;
use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "drbddisk",
    also_called: &["drbd"],
    short: "A DRBD resource as a simple disk or as a promotable clone",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["drbd_resource"],
    positional_required: 0,
};

const LONG: &str = "\
A DRBD resource, in one of two ways. DRBD 0.7 (simple disk only), 8.0 to 8.4 and 9 are understood.

As a simple disk it is made Primary on this node (start) and Secondary again (stop), so that a file system or a guest
can use its device. It is a plain resource, active on one node at a time; DRBD itself must be up on both, or adjust be
set. It takes the place of the script drbddisk in haresources, as an init script and by hand, and is a primitive in
Pacemaker.

As a promotable clone it takes the place of ocf:linbit:drbd: start brings the resource up as Secondary on each node,
promote makes one Primary. The agent behaves so when the cluster gives promoted-max or master-max with the action (it
does for each action of a promotable clone and for nothing else) or promotable=true (as crm_resource --force-start does),
for the actions promote, demote and notify, and when it is called by the name drbd.

Called as the script is (drbddisk r0 start), it answers with the script's words and exit codes: running (Primary) and 0,
stopped (Secondary) or stopped (Unconfigured) and 3, 4 if the role cannot be told, 1 for a failed start or stop, and
10 for the status of no or all resources. A link drbddisk-r0 is an init script for the resource r0.

Differences from the script drbddisk, and why:

- A role that cannot be told is printed as running (unverified), exit code 4. The script printed words that Heartbeat
  took for stopped.
- On DRBD 9, and whenever a tool fails, hangs or answers what cannot be understood, the state is unknown and never
  stopped. The script called it Unconfigured.
- A resource with several volumes is Primary if one of them is; start goes on until all are.
- Without a name, start and stop work if the configuration has one resource, and fail if it has several: the script
  took all of them, also for a blank in place of two colons in haresources. The word all still means all.
- start of a resource that is Primary, and stop of one that is not, run no tool that changes anything.
- start does not try again when there is no UpToDate data, no such resource or no kernel module. While the only obstacle
  is another node that is Primary, or not yet known to be dead, it tries for as long as the action may take, for Heartbeat
  and init 58 seconds.
- stop tries for as long as the action may take, not three times, and then names who holds the device: mounts in any
  namespace, stacked devices, swap, loop devices, storage targets, guests of Xen, processes. For Heartbeat that is 10
  seconds: it calls a failed stop ten times more by itself before it reboots the node, so that a peer would wait for
  eleven times as long.
- start and stop are believed only after a second look: drbdadm secondary succeeds without a kernel module, too.
- The argument may also be a device, a link in /dev/drbd/by-res, or the disk below the resource.
- Up to DRBD 8.4, monitor runs no other program; since 9 it runs drbdsetup once.
- A disk below the resource that does not exist is named when start fails for it.
- An unknown action is 3 for an init script's callers; it was 1.
- /etc/default/drbd is not read and DRBDADM has no effect: tools are found in fixed directories.
- Nothing is ever forced, and no data is ever given up by itself.

Differences from ocf:linbit:drbd, and why:

- A state that cannot be read is an error (1), never stopped, and a stop that cannot be proven fails. The shell agent
  took a failing drbdsetup for not running, and answered 0 to a stop whose drbdadm down had failed.
- The promotion score is never touched while the resource is not up or its state is unknown. The shell agent gave
  9999 to one that was not up.
- Missing device nodes do not make a resource that DRBD has stopped; the log, or 190 and 191, name the node.
- A disk that is being attached or negotiates is never taken for UpToDate.
- A resource without quorum, with failing or suspended I/O has no score, a diskless client neither. A Primary whose I/O
  waits for a peer to be fenced, or was suspended by a person, keeps the score it has.
- A good copy without any connection set up gets the third score, not the fourth.
- Other diskless clients are no copies that a diskless client could miss.
- monitor of a resource that is not in the configuration and not up is 7, not 5.
- demote, stop and reload work without notify=true; start and promote insist on it as the shell agent does. To the cluster
  a reload that fails is a failed start.
- demote and stop work also if the configuration cannot be understood: then drbdsetup does what drbdadm cannot.
- With a peer that stays Primary, promote tries for as long as the action may take. What has no UpToDate data (17) fails
  after 15 seconds at the latest. promote asks DRBD and does not decide from what it shows: after the death of a Primary
  it is shown for ten seconds more, but the first attempt succeeds.
- Every program has a deadline, and crm_attribute cannot fail an action. Pacemaker before 2.1.0 is told by crm_master.
- The cluster's name of the node is taken from the cluster and not from uname.
- start waits for connections by looking, not with drbdsetup wait-connect; one that has to be resolved by a person
  (StandAlone) is not waited for.
- The other data is outdated with drbdsetup while the disk is attached; drbdadm cannot.
- unfence-peer runs when the resource becomes whole again and every ten minutes, not with every monitor.
- A monitor for the role Promoted needs another interval than the one for all roles, as with every agent: Pacemaker runs
  only one of two that have the same. There is no monitor for the role Unpromoted in the list of actions because a
  simple disk is in neither role; configuring one works.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("drbd_resource").required().unique().aliases(&["resource"]).from_link_name().doc(
        "Which resource",
        "The name of a DRBD resource, a device of it (/dev/drbd0, /dev/drbd/by-res/r0), or the block device below it
(/dev/vg0/lv0). A resource with several volumes is always taken as a whole.",
    ),
    Parameter::string("drbdconf").default(DRBD_CONF).accepts(is_path, "the path of a file").doc(
        "Configuration of DRBD",
        "Given to drbdadm with -c if it is not the default. start answers 5 if it cannot be read.",
    ),
    Parameter::boolean("report_degraded").default("no").doc(
        "Report trouble that does not stop the resource",
        "With yes, monitor answers 190 instead of 0 and 191 instead of 8 if I/O is suspended, quorum or a peer is lost, a
copy is not good, the nodes are in a split brain, or a resynchronisation is under way. With no it writes a warning to
the log. Clusters older than Pacemaker 2.0.5 get 0 and 8.",
    ),
    Parameter::string("dmtab").accepts(is_absolute, "the path of a file").doc(
        "Device-mapper table below the resource",
        "A file with a device-mapper table, such as /etc/dmtab.100. start first makes the device from it (dmsetup create)
that the configuration has below the resource: the one in /dev/mapper, or the one whose name ends as the file's name
does (root100). Then it runs drbdadm adjust. stop removes the device once the resource is down, which a clone's stop
brings about. The stop of a simple disk leaves a Secondary that still mirrors to the device, and so the device stays
for as long as the resource is up: a stop after drbdadm down removes it. A device that somebody else has made is never removed.",
    ),
    Parameter::integer("tries").default("6").accepts(is_count, "a whole number from 1 to 1000").doc(
        "Simple disk: how often start tries",
        "How often start tries to become Primary, a second apart. Tries that fail because another node is Primary do
not count.",
    ),
    Parameter::boolean("adjust").default("no").doc(
        "Simple disk: bring the resource up first",
        "With yes, start runs drbdadm adjust for a resource that is not up. stop leaves it up.",
    ),
    Parameter::boolean("exit_codes_of_0_7").default("no").doc(
        "Simple disk: exit code 20 for a failed start",
        "With yes, a failed start exits with 20 instead of 1, as the script of DRBD 0.7 did. Only for callers other
than Pacemaker.",
    ),
    Parameter::string("adjust_master_score").default("0 10 1000 10000").doc(
        "Clone: promotion scores",
        "Four whole numbers, none less than the one before it: for a copy that is consistent and perhaps of the past, for
good data on a peer alone, for a good copy here while a peer is lost, and for a good copy here while all is known or it
is Primary. 0 is no score. Anything else is reported and the default counts.",
    ),
    Parameter::string("score_source").default("table").accepts(is_source, "table or drbd").doc(
        "Clone: who decides on the promotion score",
        "With table, the four numbers above. With drbd, DRBD 9's own promotion_score and may_promote; where DRBD has none,
the table.",
    ),
    Parameter::boolean("stop_outdates_secondary").default("false").doc(
        "Clone: outdate data that a promoted peer goes on to change",
        "With true, a stop, and a notification while a peer is not connected, mark the local data as outdated if
another node is promoted and stays so.",
    ),
    Parameter::boolean("ignore_missing_notifications").default("false").doc(
        "Clone: do without notifications",
        "With true, the clone need not have notify=true. Then scores and connections follow changes of the peers only
with the next monitor.",
    ),
    Parameter::string("wfc_timeout").default("5").empty_is_a_value().doc(
        "Clone: how long start waits for connections",
        "In seconds. Empty or not a number: start does not wait. That no peer is there is no failure.",
    ),
    Parameter::string("remove_master_score_if_peer_primary")
        .default("false")
        .accepts(is_removal, "true, false or unexpected")
        .doc(
            "Clone: no score while a healthy peer is Primary",
            "With true, an instance has no promotion score while a connected peer is Primary and a peer has good data.
With unexpected, only if promoted-max is 1 and crm_resource knows no promoted instance on any node.",
        ),
    Parameter::boolean("fail_promote_early_if_peer_primary").default("false").doc(
        "Clone: give up a promotion against an unexpected Primary",
        "With true, promote fails after one try if a connected node is Primary that the cluster does not know to be
promoted.",
    ),
    Parameter::boolean("unfence_if_all_uptodate").default("false").doc(
        "Clone: lift the fencing constraint when all is well",
        "With true, a monitor of a Primary runs drbdadm unfence-peer when all copies have become UpToDate.",
    ),
    Parameter::string("unfence_extra_args")
        .default("--quiet --flock-required --flock-timeout 0 --unfence-only-if-owner-match")
        .empty_is_a_value()
        .doc(
            "Clone: options for the unfence handler",
            "In the environment of drbdadm unfence-peer, where the handler crm-unfence-peer reads them.",
        ),
    Parameter::string("require_drbd_module_version_ge")
        .default("8.0.0")
        .empty_is_a_value()
        .accepts(is_version, "a version such as 9.2.0")
        .doc(
            "Clone: least version of the kernel module",
            "start answers 5 where the kernel module is older. Empty: any version.",
        ),
    Parameter::string("require_drbd_module_version_lt")
        .default("10.0.0")
        .empty_is_a_value()
        .accepts(is_version, "a version such as 10.0.0")
        .doc(
            "Clone: the kernel module is older than this version",
            "start answers 5 where the kernel module has this version or a newer one. Empty: any version.",
        ),
    Parameter::boolean("connect_only_after_promote").default("false").doc(
        "Clone: connect only when promoted",
        "With true, start sets up no connections, promote does, and notifications of a start do not.",
    ),
];

const ACTIONS: &[Action] = &[
    Action::new("start", 240),
    Action::new("reload", 30),
    Action::new("promote", 90),
    Action::new("demote", 90),
    Action::new("notify", 90),
    Action::new("stop", 100),
    Action::new("monitor", 20).every(20, 0),
    Action::new("monitor", 20).every(10, 0).role("Promoted"),
    Action::new("validate-all", 10),
    Action::new("meta-data", 5),
];

fn is_count(text: &str) -> bool {
    text.parse::<u32>().is_ok_and(|count| (1..=1000).contains(&count))
}

fn is_absolute(text: &str) -> bool {
    text.starts_with('/')
}

fn is_source(text: &str) -> bool {
    matches!(text, "table" | "drbd")
}

fn is_removal(text: &str) -> bool {
    text == "unexpected" || parse_bool(text).is_some()
}
