//! The tables: every parameter and action, with its documentation.

use crate::{access, group};
use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "lvm-activate",
    also_called: &["LVM-activate"],
    short: "Activates an LVM volume group or volume on one node",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["vgname", "vg_access_mode"],
    positional_required: 1,
};

/// What is said under the name of ocf:heartbeat:LVM.
pub const LVM: Metadata = Metadata {
    name: "LVM",
    also_called: &["LVM"],
    short: "Activates an LVM volume group, with the parameters of the agent LVM",
    long: LONG_LVM,
    parameters: PARAMETERS_LVM,
    actions: ACTIONS_LVM,
    positional: &["volgrpname"],
    positional_required: 1,
};

const LONG: &str = "\
Activates an LVM volume group, or one logical volume of it, on this node (start) and deactivates it (stop). The access
mode says what keeps it from being active on two nodes; it must fit the group's metadata. Takes the place of
ocf:heartbeat:LVM-activate with its parameters, codes and guards, and called as LVM that of ocf:heartbeat:LVM. In
haresources, lvm-activate::vg1 activates the group vg1 as it is (mode plain), lvm-activate::vg1::system_id takes it over.

Answers: 2 if lvm.conf of this node does not fit the access mode; 6 if the group does not fit it, has no volume, or not
the one that lvname names; 1 for what may pass: the group is not visible, disks are missing, a daemon does not run.

monitor asks the kernel alone, and runs no other program while all that start activated is active. Volumes of the group
that were removed since do not matter; one that somebody deactivated makes the state degraded. At level 10 it reads
from every active volume past the page cache, and looks for the devices below. A recurring monitor answers 7 if nothing
is active and the group is there, and 1 if the group has vanished; a probe answers 7 for both.

Differences from ocf:heartbeat:LVM-activate, and why:

- vg_access_mode has the word plain: the group as it is, kept apart by the cluster alone. clvmd is refused with 6: LVM
  has none since 2.03.
- For a whole group, start activates every volume that is not active and verifies each; one used to be enough. Volumes
  with the flag to be skipped are left out, unless ignore_activation_skip is set.
- What LVM's commands answer decides nothing: vgchange -ay succeeds with nothing activated. Device-mapper decides.
- A group that is active already is verified, too: owner, tag or locks must be this node's.
- Missing disks are also noticed in a group that belongs to another node. A takeover that fails is a failed start.
- tagging: a group that has a tag other than ours is another owner's and is not started, unless ignored_tags has that
  tag. stop removes only its own tag, also when nothing is active, but not while another volume is.
- tagging: a volume_list in lvm.conf that has * or @*, the group, a volume of it, or any tag of these is refused with 2:
  the group could be active without our tag. The shell agent looked for our tag and the group alone.
- lvmlockd: groups of sanlock and idm are accepted. Daemons are looked for by their exact names.
- Groups with a system ID or tag must not be clones: 6.
- stop tries again, with growing pauses, for as long as it may take, and then names who holds which volume: mounts in any
  namespace, stacked devices, swap, loop devices, targets, guests of Xen, processes. It deactivates a group that another
  node has taken meanwhile, and removes the devices of one that has vanished. With an unknown access mode it
  deactivates, too.
- A cleanly inactive group is 7 for a recurring monitor; it was 1. Depths other than 0 and 10 mean the next lower.
- A stop does not fail over a parameter that it does not need. An empty value is one that is not given.
- validate-all looks at the group only at level 10 and above; below, the parameters alone are checked.
- LVM is asked once, by one report without locks; all commands have a deadline. pvscan --cache is only run where lvmetad
  is. lvm.conf is read directly; LVM is asked for it where it has tags of hosts.
- system_id: start runs LVM twice: a report, and one script (lvm(8)) that takes over, switches autoactivation off and
  activates. Tags of hosts, and the source appmachineid, make it one run more each. If the script fails, its steps are
  gone through one by one.
- Activation at boot is switched off for good in mode system_id, where LVM can, and warned of in mode plain.";

const LONG_LVM: &str = "\
Activates an LVM volume group on this node (start) and deactivates it (stop), with the parameters of ocf:heartbeat:LVM.
It is the agent lvm-activate under another name: exclusive=false is its mode plain, exclusive=true its mode tagging.

Differences from ocf:heartbeat:LVM, and why:

- exclusive=true on a group for clvmd is refused: LVM has none since 2.03.
- Tags other than ours make start fail, and stop removes only ours: it removed all.
- Every volume that start activates is verified. stop tries for as long as it may take, and names who holds a volume.
- Nothing but the kernel's list of mapped devices says what is active: directories in /dev may be left over.
- The action methods, which only listed the actions and which no cluster calls, is not there: 3.";

const PARAMETERS: &[Parameter] = &[
    Parameter::string("vgname").required().from_link_name().aliases(&["volgrpname"]).doc(
        "Name of the volume group",
        "The volume group. Several resources may each have a volume of the same group.",
    ),
    Parameter::string("lvname").doc(
        "Name of the logical volume",
        "Only this volume of the group. Without it, all of them.",
    ),
    Parameter::string("vg_access_mode")
        .required()
        .accepts(is_mode, "lvmlockd, clvmd, system_id, tagging or plain")
        .doc(
            "How the group is kept from being active on two nodes",
            "lvmlockd: a shared group, whose locks lvmlockd holds. system_id: the group's system ID names its owner; start
makes this node the owner. tagging: lvm.conf keeps the group inactive, and a tag lets it be activated. plain: nothing but
the cluster. clvmd is refused. Heartbeat, init scripts and people may leave it out and get plain.",
        ),
    Parameter::string("activation_mode")
        .default("exclusive")
        .accepts(|word| matches!(word, "exclusive" | "shared"), "exclusive or shared")
        .doc(
            "How many nodes may activate a volume",
            "With lvmlockd: exclusive for one node, shared for several. The other modes know only one node.",
        ),
    TAG,
    Parameter::string("ignored_tags")
        .default("")
        .accepts(|list| access::tags_in(list).all(group::is_tag), "a list of tags, separated by blanks or commas")
        .doc(
            "Tags that say nothing about the owner",
            "With tagging, any tag but our own is taken for that of another owner, and start fails. Tags in this list,
separated by blanks or commas, are not.",
        ),
    PARTIAL,
    Parameter::boolean("degraded_activation").default("false").doc(
        "Activate RAID volumes with missing disks",
        "With true, volumes with a copy on a missing disk are activated (activation mode degraded). It has precedence over
partial_activation. Missing disks must be allowed for by partial_activation or majority_pvs as well.",
    ),
    Parameter::boolean("majority_pvs").default("false").doc(
        "Go on when disks are missing",
        "With true, start goes on although disks of the group are missing, and with system_id it tells LVM that a majority
is enough, where LVM has that option.",
    ),
    Parameter::boolean("ignore_activation_skip").default("false").doc(
        "Activate volumes with the flag to be skipped",
        "With true, volumes that have LVM's flag to be skipped, such as thin snapshots, are activated as well.",
    ),
    Parameter::boolean("require_owner_dead").default("false").doc(
        "Ask the cluster about the owner before taking over",
        "With true and system_id, a group that belongs to another node is only taken over if the cluster (crm_node, or else
corosync-cmapctl) has that node in its list and says that it is lost. System IDs must be the names of the nodes
(system_id_source uname).",
    ),
];

const PARAMETERS_LVM: &[Parameter] = &[
    Parameter::string("volgrpname")
        .required()
        .unique()
        .aliases(&["vgname"])
        .doc("Name of the volume group", "The volume group."),
    Parameter::boolean("exclusive").default("false").doc(
        "Activate it by a tag",
        "With true, lvm.conf must keep the group inactive (volume_list), and a tag lets it be activated by this resource.",
    ),
    TAG,
    PARTIAL,
];

const TAG: Parameter = Parameter::string("tag")
    .default("pacemaker")
    .accepts(group::is_tag, "a tag that LVM takes")
    .doc("Tag of the group while it is active", "With tagging, the group has this tag while it is active.");

const PARTIAL: Parameter = Parameter::boolean("partial_activation").default("false").doc(
    "Activate volumes with missing disks",
    "With true, start goes on although disks of the group are missing, and also activates what can be read only in part.",
);

const ACTIONS: &[Action] = &[
    Action::new("start", 90),
    Action::new("stop", 90),
    Action::new("monitor", 90).every(30, 0),
    Action::new("validate-all", 20),
    Action::new("meta-data", 10),
];

const ACTIONS_LVM: &[Action] = &[
    Action::new("start", 30),
    Action::new("stop", 30),
    Action::new("monitor", 30).every(10, 0),
    Action::new("validate-all", 5),
    Action::new("meta-data", 5),
];

fn is_mode(word: &str) -> bool {
    matches!(word, "lvmlockd" | "clvmd" | "system_id" | "tagging" | "plain")
}
