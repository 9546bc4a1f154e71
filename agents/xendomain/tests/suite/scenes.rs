//! Machines with a fake Xen. xl keeps its domains in the file `domains` (number, name, state) and in the tree that the
//! fake xenstored serves, and speaks the recorded texts.

use std::fs;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use testkit::{Call, Sandbox, Tool};

use crate::xenstored::{Manner, serve};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_xendomain");

/// What xl and xm do. `on/WORD` says how they behave: see each case. `on/WORD.once` holds for one call.
const XL: &str = r#"
root=$OCF_TEST_ROOT store=$root/store/local/domain list=$root/domains
how() {
    if [ -f "$root/on/$1.once" ]; then cat "$root/on/$1.once"; rm "$root/on/$1.once"; return; fi
    cat "$root/on/$1" 2>/dev/null
}
refuse() { echo "$2" >&2; exit "$1"; }
add() { # number name state
    echo "$1 $2 $3" >>"$list"
    mkdir -p "$store/$1"
    echo "$2" >"$store/$1/name"
}
drop() {
    sed -i "/^$1 /d" "$list"
    rm -rf "$store/$1" "$root/store/libxl/$1" "$root"/store/local/domain/0/backend/*/"$1"
    rm -rf "$root"/sys/bus/xen-backend/devices/*-"$1"-*
}
turn() { sed -i "s/^\($1 [^ ]*\) .*/\1 $2/" "$list"; }
here() { grep -q "^$1 " "$list"; }
next() { n=$(cat "$root/next"); echo $((n + 1)) >"$root/next"; echo "$n"; }
attach() { # number: the disks in the file `disks` (vdev state path)
    [ -f "$root/disks" ] || return 0
    while read -r vdev state path; do
        back=local/domain/0/backend/vbd/$1/$vdev
        mkdir -p "$root/store/libxl/$1/device/vbd/$vdev" "$root/store/$back" \
            "$root/sys/bus/xen-backend/devices/vbd-$1-$vdev"
        echo "/$back" >"$root/store/libxl/$1/device/vbd/$vdev/backend"
        echo "$state" >"$root/store/$back/state"
        echo "$path" >"$root/store/$back/params"
    done <"$root/disks"
}
[ "$(how all)" = hang ] && exec sleep 600
command=$1
shift
[ "$1" = -F ] && shift
case $command in
list)
    case $(how list) in
    hang) exec sleep 600 ;;
    dead) refuse 1 'xencall: error: Could not obtain handle on privileged command interface' ;;
    esac
    printf 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n'
    while read -r id name state; do
        printf '%-40s %5d %5d %5d     %-6s %9.1f\n' "$name" "$id" 96 1 "$state" 3.9
    done <"$list" ;;
create)
    file=$1
    name=${2#name=} name=${name#\"} name=${name%\"}
    echo "Parsing config from $file" >&2
    how=$(how create)
    case $how in
    hang) exec sleep 600 ;;
    refuse*) refuse 3 "libxl: error: libxl_x.c:1:f: Domain 2:${how#refuse }" ;;
    exists) refuse 3 "libxl: error: libxl_domain.c:81:r: Domain 2:Domain with name \"$name\" already exists." ;;
    half) add "$(next)" "$name" --p---; exec sleep 600 ;;
    nothing) exit 0 ;;
    crash) add "$(next)" "$name" ---sc- ; exit 0 ;;
    esac
    id=$(next)
    add "$id" "$name" -b----
    attach "$id"
    [ -z "$(how daemon)" ] || { sleep 30 </dev/null >/dev/null 2>&1 & echo $! >"$root/daemon.pid"; } ;;
destroy)
    here "$1" || refuse 1 "$1 is an invalid domain identifier (rc=-6)"
    case $(how destroy) in
    hang) exec sleep 600 ;;
    refuse) refuse 1 'libxl: error: libxl_domain.c:1:d: Domain 5:Destruction of domain failed' ;;
    ignore) ;;
    dying) rm -rf "$store/$1"; sed -i "s/^$1 .*/$1 (null) --p--d/" "$list" ;;
    leaves-disk) rm -rf "$store/$1"; sed -i "/^$1 /d" "$list" ;;
    *) drop "$1" ;;
    esac ;;
shutdown | trigger)
    here "$1" || refuse 1 "$1 is an invalid domain identifier (rc=-6)"
    case $(how shutdown) in
    hang) exec sleep 600 ;;
    refuse) refuse 1 'libxl: error: libxl_domain.c:1:s: Domain 5:no PV drivers' ;;
    usage) [ "$command" = shutdown ] && refuse 2 "Option \`F' not supported." ;;
    ignore) ;;
    preserve) turn "$1" ---s-- ;;
    restart) name=$(sed -n "s/^$1 \([^ ]*\) .*/\1/p" "$list"); drop "$1"; add "$(next)" "$name" -b---- ;;
    leaves-disk) rm -rf "$store/$1"; sed -i "/^$1 /d" "$list" ;;
    slow) (sleep 1.5; drop "$1") >/dev/null 2>&1 & ;;
    *) drop "$1" ;;
    esac
    echo "Shutting down domain $1" >&2 ;;
unpause)
    case $(how unpause) in
    refuse) refuse 1 'no' ;;
    ignore) ;;
    *) turn "$1" -b---- ;;
    esac ;;
dump-core) case $(how dump-core) in hang) exec sleep 600 ;; refuse) refuse 1 no ;; *) echo core >"$2" ;; esac ;;
block-list)
    case $(how block-list) in hang) exec sleep 600 ;; esac
    echo 'Vdev  BE  handle state evt-ch ring-ref BE-path                       '
    for disk in "$root"/store/local/domain/0/backend/vbd/"$1"/*; do
        [ -d "$disk" ] || continue
        printf '%s 0   %s      %s     7      8        %s\n' "${disk##*/}" "$1" "$(cat "$disk/state")" "${disk#"$root/store"}"
    done ;;
*) [ -f "$root/on/$command.sh" ] && { . "$root/on/$command.sh"; exit; }
    refuse 1 'command not implemented' ;;
esac
true
"#;

/// What ssh does: `peer` holds the other node's domains as it lists them, or else it fails as recorded.
const SSH: &str = r#"
root=$OCF_TEST_ROOT
for word; do last3=$last2 last2=$last1 last1=$word; done
case "$last2 $last1" in
"xl list" | "xm list")
    [ -f "$root/peer" ] || { echo 'ssh: connect to host node2 port 22: No route to host' >&2; exit 255; }
    cat "$root/peer" ;;
*) [ -f "$root/on/ssh.sh" ] && . "$root/on/ssh.sh" ;;
esac
"#;

pub(crate) const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
    Domain-0                                     0   768     1     r-----      17.7\n";

pub(crate) const DISK: &str = "51712 4 /dev/vg0/web\n";

/// A node under Xen without any guest, with the guest web in /etc/xen/web.cfg, on a disk that is not DRBD's.
pub(crate) fn node() -> Sandbox {
    let machine = bare();
    serve(machine.root(), Manner::Serves);
    machine
}

/// The same, and nobody serves xenstored's socket.
pub(crate) fn bare() -> Sandbox {
    let machine = Sandbox::new();
    machine.tool("xl", Tool::Does(XL.into()));
    machine.file("proc/xen/capabilities", "control_d\n").file("proc/xen/privcmd", "");
    machine.file("domains", "0 Domain-0 r-----\n").file("next", "5\n").folder("on");
    machine.file("store/local/domain/0/name", "Domain-0\n").folder("sys/bus/xen-backend/devices");
    machine.file("store/local/domain/0/backend/x", "");
    machine.file("disks", DISK);
    config(&machine, "phy:/dev/vg0/web,xvda,w");
    machine.file("dev/vg0/web", "");
    machine
}

pub(crate) fn config(machine: &Sandbox, disk: &str) {
    let text = format!("name = \"web\"\nmemory = 256\nvcpus = 1\ndisk = [ \"{disk}\" ]\n");
    machine.file("etc/xen/web.cfg", text);
}

/// xm takes the place of xl.
pub(crate) fn only_xm(machine: &Sandbox) {
    let xl = fs::read_to_string(machine.path("usr/sbin/xl")).unwrap();
    machine.tool("xm", Tool::Does(xl.lines().skip(5).collect::<Vec<_>>().join("\n")));
    fs::remove_file(machine.path("usr/sbin/xl")).unwrap();
}

/// Puts a domain there, in this state.
pub(crate) fn put(machine: &Sandbox, id: u32, name: &str, state: &str) {
    let list = fs::read_to_string(machine.path("domains")).unwrap();
    machine.file("domains", format!("{list}{id} {name} {state}\n"));
    machine.file(&format!("store/local/domain/{id}/name"), format!("{name}\n"));
}

/// A node with the guest web in this state, as domain 3.
pub(crate) fn with(name: &str, state: &str) -> Sandbox {
    let machine = node();
    put(&machine, 3, name, state);
    machine
}

/// How a command of xl behaves from now on.
pub(crate) fn on(machine: &Sandbox, command: &str, how: &str) {
    machine.file(&format!("on/{command}"), format!("{how}\n"));
}

/// The names and states of the domains, without domain 0.
pub(crate) fn domains(machine: &Sandbox) -> Vec<String> {
    let list = fs::read_to_string(machine.path("domains")).unwrap();
    list.lines().filter(|line| !line.starts_with("0 ")).map(str::to_owned).collect()
}

/// The agent for the guest web, called as Pacemaker does.
pub(crate) fn web(machine: &Sandbox) -> Call {
    machine.host(Call::ocf(BINARY).param("name", "web"))
}

/// What xl was run with, without the looks.
pub(crate) fn changes(machine: &Sandbox) -> Vec<Vec<String>> {
    let looks = ["list", "block-list", "info"];
    machine.calls("xl").into_iter().filter(|call| !looks.contains(&call[0].as_str())).collect()
}

/// The other node, with these domains.
pub(crate) fn peer(machine: &Sandbox, domains: &[(u32, &str)]) {
    let line = |(id, name): &(u32, &str)| format!("{name:<40} {id:5}    96     1     -b----       3.9\n");
    let lines: String = domains.iter().map(line).collect();
    machine.file("peer", format!("{HEADER}{lines}")).tool("ssh", Tool::Does(SSH.into()));
}

/// The other node does not answer.
pub(crate) fn no_peer(machine: &Sandbox) {
    machine.tool("ssh", Tool::Does(SSH.into()));
}

/// A block special file. Needs root.
pub(crate) fn block(machine: &Sandbox, inside: &str, major: u64, minor: u64) {
    let path = machine.path(inside);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&path);
    mknod(&path, SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), makedev(major, minor)).unwrap();
}

/// The guest's disk is /dev/drbd0 of DRBD 8.4, in the words of its line in /proc/drbd.
pub(crate) fn on_drbd(line: &str) -> Sandbox {
    let machine = node();
    drbd(&machine, line);
    machine
}

pub(crate) fn drbd(machine: &Sandbox, line: &str) {
    let text = format!(
        "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: F73C670A7EC572DB9CF3E5B \n 0: cs:{line}\n    ns:65496 nr:0 dw:0 dr:65496 al:8 bm:0 lo:0 pe:0\n"
    );
    machine.file("proc/drbd", text).folder("sys/module/drbd").folder("dev/drbd/by-res");
    let _ = fs::remove_file(machine.path("dev/drbd/by-res/r0"));
    std::os::unix::fs::symlink("../../drbd0", machine.path("dev/drbd/by-res/r0")).unwrap();
    block(machine, "dev/drbd0", 147, 0);
    config(machine, "phy:/dev/drbd0,xvda,w");
    machine.file("disks", "51712 4 /dev/drbd0\n");
}

pub(crate) const PRIMARY: &str = "Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----";
pub(crate) const SECONDARY: &str = "Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----";
pub(crate) const ALONE: &str = "WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----";
