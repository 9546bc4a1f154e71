//! Machines with a fake DRBD. Its tools keep the state in files of the machine and speak the recorded texts.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Call, Sandbox, Tool};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_drbddisk");

/// What drbdadm of both versions does. `refusals/ACTION` holds a line for each call to come: exit code and words; the
/// last line stays if it begins with `*`. Then the role changes wherever the machine shows it.
const DRBDADM: &str = r#"
root=$OCF_TEST_ROOT
refuse() {
    file=$root/refusals/$1
    [ -s "$file" ] || return 0
    read -r code words <"$file"
    case $code in \**) code=${code#\*} ;; *) sed -i 1d "$file" ;; esac
    [ "$code" = 0 ] || { echo "$words" >&2; exit "$code"; }
}
turn() {
    [ -f "$root/proc/drbd" ] && sed -i "s,\(ro\|st\):[A-Z][a-z]*/,\1:$1/," "$root/proc/drbd"
    [ -f "$root/list" ] && sed -i "s/\(exists resource name:[^ ]* role:\)[A-Za-z]*/\1$1/" "$root/list"
    [ -f "$root/role" ] && sed -i "s/^[A-Z][a-z]*/$1/" "$root/role"
    true
}
conf=
[ "$1" = -c ] && { conf=$2; shift 2; }
if [ -f "$root/only-with" ] && [ "$conf" != "$(cat "$root/only-with")" ]; then
    [ "$1" = sh-resources ] && exit 0
    echo "'$2' not defined in your config (for this host)." >&2
    exit 1
fi
case $1 in
primary) refuse primary; turn Primary ;;
secondary) refuse secondary; turn Secondary ;;
adjust | attach)
    refuse "$1"
    if [ -f "$root/up" ] && ! grep -q resource "$root/list"; then cp "$root/up" "$root/list"; fi
    [ -f "$root/up-proc" ] && cp "$root/up-proc" "$root/proc/drbd"
    true ;;
down)
    refuse down
    echo 'exists -' >"$root/list"
    [ -f "$root/proc/drbd" ] && sed -i '/^ [0-9]*: cs:/,/ns:/d' "$root/proc/drbd"
    true ;;
check-resize | new-resource | new-minor | outdate | unfence-peer) refuse "$1" ;;
dump) cat "$root/config/dump" ;;
role) refuse role; cat "$root/role" ;;
sh-resources) refuse sh-resources; cat "$root/config/resources" ;;
sh-dev | sh-ll-dev)
    refuse "$1"
    [ -f "$root/config/$2.$1" ] || { echo "'$2' not defined in your config (for this host)." >&2; exit 1; }
    cat "$root/config/$2.$1" ;;
*) echo "drbdadm: Unknown command '$1'" >&2; exit 1 ;;
esac
"#;

/// What drbdsetup of 8.4 and 9 does.
const DRBDSETUP: &str = r#"
root=$OCF_TEST_ROOT
case "$1 $2" in
"events2 --now")
    if [ -s "$root/refusals/events2" ]; then
        read -r code words <"$root/refusals/events2"
        echo "$words" >&2
        exit "$code"
    fi
    if [ -n "$3" ]; then grep "name:$3 " "$root/list"; echo 'exists -'; else cat "$root/list"; fi ;;
"status --json")
    [ -f "$root/json" ] || { echo "drbdsetup: unrecognized option '--json'" >&2; exit 20; }
    cat "$root/json" ;;
"down "*)
    echo 'exists -' >"$root/list"
    sed -i '/^ [0-9]*: cs:/,/ns:/d' "$root/proc/drbd" ;;
"outdate "*) ;;
"secondary "*)
    sed -i "s,ro:[A-Z][a-z]*/,ro:Secondary/," "$root/proc/drbd"
    sed -i "s/\(exists resource name:[^ ]* role:\)[A-Za-z]*/\1Secondary/" "$root/list" ;;
*) echo "$1: unrecognized" >&2; exit 20 ;;
esac
true
"#;

/// The agent for the resource r0, called as Pacemaker does.
pub(crate) fn r0(machine: &Sandbox) -> Call {
    resource(machine, "r0")
}

pub(crate) fn resource(machine: &Sandbox, name: &str) -> Call {
    machine.host(Call::ocf(BINARY).param("drbd_resource", name))
}

fn machine() -> Sandbox {
    let machine = Sandbox::new();
    machine.tool("drbdadm", Tool::Does(DRBDADM.into())).tool("drbdsetup", Tool::Does(DRBDSETUP.into()));
    machine.folder("refusals").folder("sys/module/drbd");
    configure(&machine, &[("r0", "/dev/drbd0\n", "/dev/vg0/lv0\n")]);
    machine.file("dev/vg0/lv0", "").file("dev/drbd0", "");
    machine.tool("crm_attribute", Tool::Succeeds).tool("crm_master", Tool::Succeeds);
    machine
}

/// An instance of a promotable clone for r0, called as Pacemaker 2.1 does on the node that it calls `here`.
pub(crate) fn instance(machine: &Sandbox) -> Call {
    let meta = [
        ("promoted_max", "1"),
        ("promoted_node_max", "1"),
        ("master_max", "1"),
        ("master_node_max", "1"),
        ("clone_max", "2"),
        ("clone_node_max", "1"),
        ("notify", "true"),
        ("on_node", "here"),
    ];
    meta.iter().fold(r0(machine), |call, (name, value)| call.meta(name, value))
}

/// What the cluster was told, the words after `crm_attribute --promotion --lifetime=reboot`.
pub(crate) fn scores(machine: &Sandbox) -> Vec<String> {
    let calls = machine.calls("crm_attribute");
    let told = |call: &Vec<String>| {
        assert_eq!(call[..2], ["--promotion", "--lifetime=reboot"]);
        call[2..].join(" ").replace("--update=", "")
    };
    calls.iter().map(told).collect()
}

/// What drbdadm was told to change.
pub(crate) fn changes(machine: &Sandbox) -> Vec<String> {
    let calls = machine.calls("drbdadm").into_iter();
    calls.filter(|call| !call[0].starts_with("sh-") && call[0] != "role").map(|call| call.join(" ")).collect()
}

/// DRBD 9 with r0 not up; drbdadm adjust brings it up as Secondary.
pub(crate) fn new_down() -> Sandbox {
    let machine = new_not_up();
    fs::remove_dir_all(machine.path("refusals")).unwrap();
    machine.folder("refusals").file("up", list_9("Secondary", &[]));
    machine
}

/// The same for 8.4.
pub(crate) fn old_down() -> Sandbox {
    let machine = old(SECONDARY);
    machine
        .file("up-proc", proc_84(&[(0, SECONDARY)]))
        .file("proc/drbd", proc_84(&[]))
        .file("list", "exists -\n");
    machine
}

/// The configuration: names, devices, disks.
pub(crate) fn configure(machine: &Sandbox, resources: &[(&str, &str, &str)]) {
    let names: Vec<&str> = resources.iter().map(|(name, ..)| *name).collect();
    machine.file("config/resources", names.join("\n") + "\n");
    for (name, devices, disks) in resources {
        machine.file(&format!("config/{name}.sh-dev"), devices);
        machine.file(&format!("config/{name}.sh-ll-dev"), disks);
    }
}

/// A link of udev's: `by-res/r0`, to /dev/drbd`minor`.
pub(crate) fn link(machine: &Sandbox, inside: &str, minor: u32) {
    let path = machine.path("dev/drbd").join(inside);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let up = "../".repeat(inside.split('/').count());
    symlink(format!("{up}drbd{minor}"), path).unwrap();
}

/// DRBD 8.4 with r0 on /dev/drbd0, in the words of its line in /proc/drbd after `cs:`.
pub(crate) fn old(line: &str) -> Sandbox {
    let machine = machine();
    machine.file("proc/drbd", proc_84(&[(0, line)]));
    link(&machine, "by-res/r0", 0);
    link(&machine, "by-disk/vg0/lv0", 0);
    machine.file("role", line_role(line));
    machine.file("list", format!("exists resource name:r0 role:{} suspended:no\nexists -\n", own_role(line)));
    machine
}

fn own_role(line: &str) -> &str {
    line.split("ro:").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or("Secondary")
}

fn line_role(line: &str) -> String {
    line.split("ro:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("Unconfigured").to_owned()
        + "\n"
}

/// /proc/drbd of 8.4.11.
pub(crate) fn proc_84(lines: &[(u32, &str)]) -> String {
    let mut text = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B \n".to_string();
    for (minor, line) in lines {
        text += &format!(" {minor}: cs:{line}\n    ns:65496 nr:0 dw:0 dr:65496 al:8 bm:0 lo:0 pe:0\n");
    }
    text
}

pub(crate) const PRIMARY: &str = "Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----";
pub(crate) const SECONDARY: &str = "Connected ro:Secondary/Secondary ds:UpToDate/UpToDate C r-----";

/// The list of DRBD 9 for r0 as recorded with a peer, with these words in place of the good ones.
pub(crate) fn list_9(role: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = format!(
        "exists resource name:r0 role:{role} suspended:no force-io-failures:no may_promote:no promotion_score:10102\n\
         exists connection name:r0 peer-node-id:1 conn-name:node2 connection:Connected role:Secondary\n\
         exists device name:r0 volume:0 minor:0 backing_dev:/dev/vg0/lv0 disk:UpToDate client:no quorum:yes\n\
         exists peer-device name:r0 peer-node-id:1 conn-name:node2 volume:0 replication:Established \
         peer-disk:UpToDate peer-client:no resync-suspended:no\n\
         exists path name:r0 peer-node-id:1 conn-name:node2 local:ipv4:192.168.77.1:7788 \
         peer:ipv4:192.168.77.2:7788 established:yes\nexists -\n"
    );
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// DRBD 9 with r0 in this role.
pub(crate) fn new(role: &str) -> Sandbox {
    new_with(&list_9(role, &[]))
}

/// DRBD 9 with this list.
pub(crate) fn new_with(list: &str) -> Sandbox {
    let machine = machine();
    let version = "version: 9.2.18 (api:2/proto:118-124)\nGIT-hash: drbd-9.2.18 build by @vm\nTransports (api:21): tcp (9.2.18)\n";
    machine.file("proc/drbd", version).file("list", list);
    let role = list.split("role:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("");
    machine.file("role", format!("{role}\n"));
    link(&machine, "by-res/r0", 0);
    machine
}

/// DRBD 9 with r0 in the configuration and not up.
pub(crate) fn new_not_up() -> Sandbox {
    let machine = new_with("exists -\n");
    fs::remove_dir_all(machine.path("dev/drbd")).unwrap();
    let unknown = "*10 r0: Failure: (158) Unknown resource\n";
    for action in ["primary", "secondary", "role"] {
        machine.file(&format!("refusals/{action}"), unknown);
    }
    machine
}

/// No DRBD in the kernel; the tools say so.
pub(crate) fn without_module() -> Sandbox {
    let machine = machine();
    fs::remove_dir(machine.path("sys/module/drbd")).unwrap();
    let modprobe = "20 Failed to modprobe drbd (No such file or directory)\n";
    machine.file("refusals/primary", format!("*{modprobe}")).file("refusals/events2", modprobe);
    machine.file("refusals/role", format!("*{modprobe}"));
    machine
}

pub(crate) fn never_ran_a_tool(machine: &Sandbox) -> bool {
    machine.calls("drbdadm").is_empty() && machine.calls("drbdsetup").is_empty()
}
