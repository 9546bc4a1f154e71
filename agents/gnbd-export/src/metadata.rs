//! The table: every parameter and action, with its documentation.

use crate::{access, backend, export};
use ocf::metadata::DefaultValue;
use ocf::{Action, Metadata, Parameter};

/// What is said about the agent.
pub const METADATA: Metadata = Metadata {
    name: "gnbd-export",
    also_called: &[],
    short: "Serves a block device to the network",
    long: LONG,
    parameters: PARAMETERS,
    actions: ACTIONS,
    positional: &["name", "device", "options"],
    positional_required: 2,
};

const LONG: &str = "\
Offers one block device to other machines under a name (start) and withdraws it (stop). It is a plain resource, active
on one node at a time: it stands above the DRBD resource and, if there is one, the volume group, and below the service
address that the clients connect to. So the address comes last on start and goes first on stop:

node1 drbddisk::cluster gnbd-export::ocfscluster::/dev/drbd0 IPaddr::10.0.0.6/24/eth0

Four ways of offering a device are known:

- gnbd: gnbd_serv and gnbd_export. Clients wait for a cached export for as long as it takes.
- nvmet: NVMe over TCP by the kernel, without any tool. Clients connect with nvme connect --ctrl-loss-tmo=-1
--reconnect-delay=1 --keep-alive-tmo=2 and go through a switch with a pause of some seconds and no error.
- lio: iSCSI by the kernel, without any tool. Clients need a long replacement_timeout (86400), and noop_out_interval and
noop_out_timeout of 2.
- nbd: qemu-nbd or nbd-server. Its clients do not survive a switch, so it is never chosen by itself.

The service address must announce its move (gratuitous ARP), or clients are lost for as long as their neighbour tables
live.

Both nodes offer the same device: uuid, nguid, serial number, NQN and IQN are made from the name alone. The uuid is the
name-based one (RFC 4122, version 5, SHA-1) of gnbd-export:NAME in the URL namespace, as
uuidgen --sha1 --namespace @url --name gnbd-export:NAME prints it. The nguid is the same number, the serial number its
first 20 digits, the NQN nqn.2014-08.org.nvmexpress:uuid:UUID, the IQN iqn.2003-01.org.linux-iscsi.gnbd-export:UUID.
gnbd-export --name NAME identity prints them all. Two clusters whose exports meet at one client need different names, or
a uuid of their own. A client that finds another uuid behind the same NQN gives the disk up with I/O errors.

A warning: without listen, the device is offered on every address of the node. nvmet and lio admit nobody who is not named
in allow, but the names are not proven and the data is not encrypted; gnbd and nbd admit everybody who reaches the port.
Keep it in a network of its own. Who is taken out of allow keeps his connection until the export is restarted.

monitor compares device, identity, mode, address and allow with what the kernel or the server has; the size, where a
server keeps one of its own (gnbd, and nbd from level 10 on). Hosts or initiators other than those in allow are 190,
degraded. From level 10 on it also asks over the network with a deadline: a Connect of NVMe as the first host of allow,
or as nobody, which leaves a line in the kernel's log; a discovery of iSCSI; the handshake of NBD. gnbd is asked for its
list every time.

Differences from the resource scripts of old that promoted, exported and called gnbd_export, and why:

- A start that offers nothing fails: no tool's result is ignored.
- stop withdraws before anybody demotes, by force if need be, and ends only when nothing of the export holds the device.
- stop withdraws its own export alone, and stops gnbd_serv only if it serves nothing else.
- start clears what an earlier export of the name left before it opens the device to anybody.
- monitor looks at the server and the export, not at the role of the device.
- The export is named by the argument, so a node can have several.
- gnbd exports are cached by default, which needs no cluster manager and lets clients wait instead of failing their I/O.
- Volume groups are the business of lvm-activate, the role of drbddisk, the address of IPaddr.
- A tool that fails, hangs or answers what cannot be understood means an unknown state and never a stopped one.";

const NAME: Parameter =
    Parameter::string("name").required().unique().from_link_name().accepts(export::is_name, export::NAME_WORDS).doc(
        "Name of the export",
        "The name under which clients know the device: letters, digits, dot, dash and underscore, at most 31, and no dash
in front. Equal on all nodes.",
    );

const DEVICE: Parameter =
    Parameter::string("device").required().unique().accepts(export::is_device, export::DEVICE_WORDS).doc(
        "Block device",
        "The block device to offer, a path below /dev. Links are followed when it is started. It must not be mounted or
otherwise in use on this node, and a DRBD device must be Primary here.",
    );

const OPTIONS: Parameter = Parameter::string("options").doc(
    "The other parameters in one word",
    "For haresources, whose arguments have no names: NAME=VALUE pairs with commas between them, such as
backend=nvmet,allow=nqn.2014-08.org.example:host1,allow=nqn.2014-08.org.example:host2. What stands here counts before
the parameter of that name. allow may be repeated. Two colons in a row would end the word, so an IPv6 address has to be
written without them.",
);

const BACKEND: Parameter = Parameter::string("backend").default("auto").accepts(backend::is_choice, backend::CHOICES).doc(
    "How the device is offered",
    "auto, gnbd, nvmet, lio, nbd, qemu-nbd or nbd-server. auto takes the first of gnbd, nvmet and lio that this machine and
this kernel can do with the other parameters; status by hand says which. Where nodes differ, name one: clients of one
cannot connect to another. nbd is qemu-nbd if that is installed and nothing is in allow, else nbd-server.",
);

const ALLOW: Parameter = Parameter::string("allow").accepts(access::is_list, access::WORDS).doc(
    "Who may connect",
    "Names with blanks or commas between them: NQNs of hosts for nvmet (/etc/nvme/hostnqn), names of initiators for lio
(/etc/iscsi/initiatorname.iscsi), addresses or networks (10.0.0.0/24) for nbd-server. Each backend takes those of its
kind. any admits everybody. With nothing here, nvmet and lio admit nobody, gnbd and nbd everybody. gnbd and qemu-nbd
cannot refuse anybody, so they are not used when somebody is named.",
);

const LISTEN: Parameter = Parameter::string("listen").default("0.0.0.0").accepts(export::is_address, export::ADDRESS_WORDS).doc(
    "Address to listen on",
    "An address of this node, 0.0.0.0 for all of IPv4, :: for all. The service address itself comes after the export, so
it can stand here only with the kernel setting net.ipv4.ip_nonlocal_bind=1. gnbd listens on all addresses. A warning:
by default the device is offered on every network that this node is in.",
);

const PORT: Parameter = Parameter::integer("port").accepts(export::is_port, export::PORT_WORDS).doc(
    "TCP port",
    "By default the usual one of the backend: 14567 for gnbd, 4420 for nvmet, 3260 for lio, 10809 for nbd. Exports of
nvmet and lio share a port, those of nbd need one each, and gnbd_serv has one for all.",
);

const READONLY: Parameter = Parameter::boolean("readonly").default("no").doc(
    "Offer it for reading only",
    "With yes, clients cannot write. nvmet has no such mode, so auto passes it over then.",
);

const CACHED: Parameter = Parameter::boolean("cached").default("yes").doc(
    "gnbd: cached export",
    "With yes, gnbd_serv runs without a cluster manager (-n) and the export is cached (-c): clients wait until it is there
again. With no, gnbd_serv needs the cluster manager of its time, and clients fence this node and fail their I/O after
the timeout. Only for gnbd.",
);

const GNBD_TIMEOUT: Parameter =
    Parameter::integer("gnbd_timeout").accepts(export::is_seconds, export::SECONDS_WORDS).doc(
        "gnbd: timeout of an export that is not cached",
        "In seconds; gnbd_export itself takes 60. Only for gnbd with cached=no.",
    );

const UUID: Parameter = Parameter::string("uuid").accepts(export::is_uuid, export::UUID_WORDS).doc(
    "UUID in place of the one made from the name",
    "For an export that clients know already under another identity. Equal on all nodes. nguid, serial number, NQN and
IQN follow it.",
);

const TARGET: Parameter = Parameter::string("target").accepts(export::is_target, export::TARGET_WORDS).doc(
    "NQN or IQN in place of the one made from the name",
    "The name of the subsystem (nvmet) or the target (lio). Equal on all nodes. It belongs to this export alone.",
);

const FORCE_STOP: Parameter = Parameter::boolean("force_stop").default("yes").doc(
    "Cut off clients that do not let go",
    "With yes, stop cuts off clients that are still connected when drain_timeout is over. With no, it fails then, and the
cluster fences the node. nvmet and lio finish the requests that are under way, and then cut off whoever is connected.",
);

const DRAIN_TIMEOUT: Parameter =
    Parameter::integer("drain_timeout").default("2").accepts(export::is_seconds, export::SECONDS_WORDS).doc(
        "How long stop lets clients go by themselves",
        "In seconds, for gnbd and nbd-server. Clients that lost the service address do not say good-bye, so a long time here
is a long pause for them.",
    );

const PARAMETERS: &[Parameter] = &[
    NAME,
    DEVICE,
    OPTIONS,
    BACKEND,
    ALLOW,
    LISTEN,
    PORT,
    READONLY,
    CACHED,
    GNBD_TIMEOUT,
    UUID,
    TARGET,
    FORCE_STOP,
    DRAIN_TIMEOUT,
];

/// The rows that may stand in `options`: the same, without defaults.
pub const IN_OPTIONS: &[Parameter] = &[
    given(BACKEND),
    given(ALLOW),
    given(LISTEN),
    given(PORT),
    given(READONLY),
    given(CACHED),
    given(GNBD_TIMEOUT),
    given(UUID),
    given(TARGET),
    given(FORCE_STOP),
    given(DRAIN_TIMEOUT),
];

const fn given(row: Parameter) -> Parameter {
    Parameter { default: DefaultValue::None, ..row }
}

const ACTIONS: &[Action] = &[
    Action::new("start", 60),
    Action::new("stop", 60),
    Action::new("monitor", 20).every(20, 0),
    Action::new("validate-all", 10),
    Action::new("meta-data", 5),
    Action::new("identity", 5).by_hand(),
];
