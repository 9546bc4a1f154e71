//! Machines with a fake vzctl. It keeps the state in files of the machine and speaks the texts of every version.

use std::fs;

use testkit::{Answer, Call, Sandbox, Tool};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_openvz");

pub(crate) const UUID: &str = "37e5c5b6-b2a8-4a2e-9f6e-0a1b2c3d4e5f";

/// What vzctl does. `refusals/ACTION` holds a line for each call to come: exit code and words; the last line stays if
/// it begins with `*`. `ct/run` is the state, `ct/word` the first word of the status line, `ct/exists` the third.
/// With `ct/busy`, it cannot be unmounted. With `ct/slow`, an ordinary stop takes that many seconds.
const VZCTL: &str = r#"
root=$OCF_TEST_ROOT
id=$(cat "$root/ct/id")
table=$root/proc/self/mountinfo
refuse() {
    file=$root/refusals/$1
    [ -s "$file" ] || return 0
    read -r code words <"$file"
    case $code in \**) code=${code#\*} ;; *) sed -i 1d "$file" ;; esac
    [ "$code" = 0 ] || { echo "$words" >&2; exit "$code"; }
}
is_mounted() { grep -q " /vz/root/$id " "$table"; }
mount_it() { is_mounted || echo "90 22 0:50 / /vz/root/$id rw - simfs /Data/db/vm rw" >>"$table"; }
umount_it() {
    [ -e "$root/ct/busy" ] && { echo "Unable to unmount: Device or resource busy" >&2; exit 51; }
    sed -i "\\, /vz/root/$id ,d" "$table"
}
turn() {
    echo "$1" >"$root/ct/run"
    [ -e "$root/proc/vz/veinfo" ] || return 0
    sed -i "/^ *$id /d" "$root/proc/vz/veinfo"
    [ "$1" != running ] || echo "       $id     0    21  192.168.5.103" >>"$root/proc/vz/veinfo"
}
option() { while [ $# -gt 1 ]; do [ "$1" = --dumpfile ] && echo "$2"; shift; done; }
run=$(cat "$root/ct/run")
dump=$root/vz/dump/Dump.$id
case $1 in
status)
    refuse status
    [ -s "$root/ct/noise" ] && cat "$root/ct/noise" >&2
    is_mounted && mounted=mounted || mounted=unmounted
    suspended=; [ "$run" != down ] || [ ! -e "$dump" ] || suspended=' suspended'
    echo "$(cat "$root/ct/word") $id $(cat "$root/ct/exists") $mounted $run$suspended" ;;
start)
    refuse start
    [ "$run" = down ] || { echo "Container is already running"; exit 32; }
    [ -e "$dump" ] && { echo "Dump file $dump exists, trying to restore from it"; echo yes >"$root/ct/resumed"; }
    rm -f "$dump"
    mount_it; turn running
    echo "Container is mounted"; echo "Container start in progress..." ;;
stop)
    if [ "$3" = --fast ]; then refuse fast; else
        refuse stop
        [ ! -s "$root/ct/slow" ] || sleep "$(cat "$root/ct/slow")"
    fi
    echo "Stopping container ..."; turn down; umount_it
    echo "Container is unmounted" ;;
umount)
    refuse umount
    is_mounted || { echo "CT is not mounted" >&2; exit 40; }
    umount_it ;;
exec) refuse exec; [ "$run" = running ] || { echo "Container is not running." >&2; exit 31; } ;;
chkpnt)
    refuse chkpnt
    file=$(option "$@"); echo memory >"$root$file"
    turn down; umount_it ;;
restore)
    refuse restore
    file=$(option "$@"); [ -s "$root$file" ] || { echo "Unable to open $file" >&2; exit 17; }
    mount_it; turn running ;;
*) echo "Bad command: $1" >&2; exit 20 ;;
esac
true
"#;

/// What prlctl does.
const PRLCTL: &str = r#"
root=$OCF_TEST_ROOT
state=$(cat "$root/ct/prl")
case $1 in
status)
    [ "$state" = absent ] && { echo "Failed to get VM config: The virtual machine could not be found." >&2; exit 255; }
    echo "$(cat "$root/ct/prlword") $2 exist $state" ;;
start) echo running >"$root/ct/prl"; echo "Starting the VM..." ;;
stop) [ "$3" = --kill ] || [ ! -e "$root/ct/deaf" ] || exit 255; echo stopped >"$root/ct/prl" ;;
exec) [ "$state" = running ] ;;
migrate) echo absent >"$root/ct/prl" ;;
*) exit 1 ;;
esac
"#;

/// The agent for the container 101, called as Pacemaker does.
pub(crate) fn ct101(machine: &Sandbox) -> Call {
    container(machine, "101")
}

pub(crate) fn container(machine: &Sandbox, ctid: &str) -> Call {
    machine.host(Call::ocf(BINARY).param("ctid", ctid))
}

/// A node of the pair: 101 with its private area on /Data/db, which is mounted; the container is down. vzctl alone
/// knows of it, for there is no table of the kernel's.
pub(crate) fn node() -> Sandbox {
    let machine = Sandbox::new();
    machine.tool("vzctl", Tool::Does(VZCTL.into()));
    machine.folder("refusals").folder("vz/dump").folder("vz/root/101").folder("vz/lock").folder("proc/vz");
    machine.file("etc/vz/vz.conf", "LOCKDIR=/vz/lock\nDUMPDIR=/vz/dump\nVE_ROOT=/vz/root/$VEID\n");
    configure(&machine, "ONBOOT=\"no\"\nVE_PRIVATE=\"/Data/db/vm\"\nIP_ADDRESS=\"192.168.5.103\"\n");
    machine.folder("Data/db/vm").mounted("147:0", "/Data/db", "ext3", "/dev/drbd0");
    machine
        .file("ct/id", "101\n")
        .file("ct/word", "CTID\n")
        .file("ct/exists", "exist\n")
        .file("ct/run", "down\n");
    machine
}

pub(crate) fn configure(machine: &Sandbox, text: &str) {
    machine.file("etc/vz/conf/101.conf", text);
}

/// The same on OpenVZ's kernel, which lists what runs.
pub(crate) fn openvz_node() -> Sandbox {
    let machine = node();
    machine.file("proc/vz/veinfo", "       102     0     9  192.168.5.104\n         0     0   120\n");
    machine
}

/// Makes the container run, as vzctl would.
pub(crate) fn running(machine: Sandbox) -> Sandbox {
    ct101(&machine).param("require_mount", "no").run("start").answers(0);
    fs::remove_file(machine.path("calls/vzctl")).unwrap();
    machine
}

/// A node with a virtual machine and prlctl alone.
pub(crate) fn virtuozzo_node(kind: &str, state: &str) -> Sandbox {
    let machine = Sandbox::new();
    machine.tool("prlctl", Tool::Does(PRLCTL.into()));
    machine.file("proc/vz/veinfo", "         0     0   120\n");
    machine.file("ct/prl", format!("{state}\n")).file("ct/prlword", format!("{kind}\n"));
    machine
}

/// Which actions vzctl was asked for, in order.
pub(crate) fn actions(machine: &Sandbox) -> Vec<String> {
    machine.calls("vzctl").iter().map(|call| call[0].clone()).collect()
}

/// The same without looks.
pub(crate) fn changes(machine: &Sandbox) -> Vec<Vec<String>> {
    machine.calls("vzctl").into_iter().filter(|call| call[0] != "status").collect()
}

pub(crate) fn is_running(machine: &Sandbox) -> bool {
    fs::read_to_string(machine.path("ct/run")).unwrap() == "running\n"
}

/// Runs the action with a log file, and gives the log too.
pub(crate) fn logged(machine: &Sandbox, call: Call, action: &str) -> (Answer, String) {
    let log = machine.path("ha-log");
    let answer = call.env("HA_LOGFILE", &log).run(action);
    (answer, fs::read_to_string(log).unwrap_or_default())
}
