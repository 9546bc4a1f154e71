//! A fake gnbd_serv and gnbd_export. They keep their state in files of the machine, exit with 0 or 1 as the real ones do,
//! and print the recorded list.

use testkit::{Call, Sandbox, Tool};

use crate::scenes::{BINARY, Scene, scene};

/// The number of the fake server's process.
pub(crate) const SERVER: u32 = 4_190_001;
/// The number of the process that serves its client.
pub(crate) const CHILD: u32 = 4_190_002;

const GNBD_SERV: &str = r#"
root=$OCF_TEST_ROOT state=$OCF_TEST_ROOT/gnbd
case " $* " in
*" -k "*)
    [ -d "$root/proc/4190001" ] || exit 0
    [ -z "$(ls "$state/exports")" ] || { echo 'gnbd_serv: ERROR cannot stop, devices are exported : Device or resource busy' >&2; exit 1; }
    rm -rf "$root/proc/4190001" "$root/var/run/gnbd/gnbd_serv.pid"
    exit 0 ;;
esac
[ ! -d "$root/proc/4190001" ] || { echo 'gnbd_serv: ERROR already running' >&2; exit 1; }
case " $* " in *" -n "*) echo no >"$state/cluster" ;; *)
    [ -f "$state/cman" ] || { echo 'gnbd_serv: ERROR cannot connect to cluster manager' >&2; exit 1; } ; echo yes >"$state/cluster" ;;
esac
# The list lives in the server's memory.
rm -f "$state/exports/"*
mkdir -p "$root/proc/4190001" "$root/var/run/gnbd"
echo gnbd_serv >"$root/proc/4190001/comm"
echo 4190001 >"$root/var/run/gnbd/gnbd_serv.pid"
echo 'gnbd_serv: startup succeeded'
"#;

const GNBD_EXPORT: &str = r#"
state=$OCF_TEST_ROOT/gnbd
error() { echo "gnbd_export: ERROR $*" >&2; exit 1; }
[ -d "$OCF_TEST_ROOT/proc/4190001" ] || error 'cannot connect to gnbd_serv : Connection refused'
name= device= cached=no readonly=no timeout= force= action=list
while [ $# -gt 0 ]; do
    case $1 in
    -e) action=export name=$2; shift ;;
    -d) device=$2; shift ;;
    -c) cached=yes ;;
    -o) readonly=yes ;;
    -t) timeout=$2; shift ;;
    -O) force=yes ;;
    -r) action=remove name=$2; shift ;;
    -R) action=all ;;
    -l) ;;
    *) error "unknown option $1" ;;
    esac
    shift
done
case $action in
export)
    [ -n "$device" ] || error 'no device given'
    [ ! -f "$state/exports/$name" ] || error "create request failed : File exists"
    [ "$cached" = yes ] || [ "$(cat "$state/cluster")" = yes ] || error 'create request failed : Operation not supported'
    if [ "$cached" = yes ]; then timeout=no; else timeout=${timeout:-60}; fi
    printf '      file : %s\n   sectors : 32768\n  readonly : %s\n    cached : %s\n   timeout : %s\n' \
        "$device" "$readonly" "$cached" "$timeout" >"$state/exports/$name"
    echo "gnbd_export: created GNBD $name serving file $device" ;;
remove)
    [ -f "$state/exports/$name" ] || error "remove request failed : No such device"
    if [ -d "$state/clients/$name" ]; then
        [ -n "$force" ] || error "remove request failed : Device or resource busy"
        # The server process of the client goes, unless the test wants it to stay.
        [ -f "$state/stubborn" ] || rm -rf "$OCF_TEST_ROOT/proc/4190002"
        rm -rf "$state/clients/$name"
    fi
    rm "$state/exports/$name"
    echo "gnbd_export: removed GNBD $name" ;;
all) error 'never to be used' ;;
list)
    if [ -z "$(ls "$state/exports")" ]; then echo 'no exported GNBDs'; exit 0; fi
    number=0
    for file in "$state"/exports/*; do
        number=$((number + 1))
        invalid=
        [ ! -f "$state/invalid" ] || invalid='(invalid)'
        printf 'Server[%s] : %s %s\n--------------------------\n' "$number" "${file##*/}" "$invalid"
        cat "$file"
        echo
    done ;;
esac
"#;

/// A machine with the suite, whose /dev/drbd0 has 32768 sectors.
pub(crate) fn machine() -> Option<Scene> {
    let here = scene()?;
    install(&here.sandbox);
    here.sandbox.file("sys/class/block/drbd0/size", "32768\n");
    Some(here)
}

pub(crate) fn install(sandbox: &Sandbox) {
    sandbox.folder("gnbd/exports").folder("gnbd/clients");
    sandbox.tool("gnbd_serv", Tool::Does(GNBD_SERV.into()));
    sandbox.tool("gnbd_export", Tool::Does(GNBD_EXPORT.into()));
}

/// A client: the server opens the device in a child.
pub(crate) fn connect_client(sandbox: &Sandbox, name: &str) {
    sandbox.folder(&format!("gnbd/clients/{name}"));
    sandbox.file(&format!("proc/{CHILD}/comm"), "gnbd_serv\n").folder(&format!("proc/{CHILD}/fd"));
    std::os::unix::fs::symlink("/dev/drbd0", sandbox.path(format!("proc/{CHILD}/fd/5"))).unwrap();
}

/// The export r0 by this suite.
pub(crate) fn r0(here: &Scene) -> Call {
    here.bare("gnbd").param("drain_timeout", "0")
}

/// As Heartbeat calls it for the system of old.
pub(crate) fn heartbeat(sandbox: &Sandbox) -> Call {
    let path = sandbox.path("etc/ha.d/resource.d/gnbd-export");
    if !path.exists() {
        sandbox.installed(BINARY, "etc/ha.d/resource.d/gnbd-export");
    }
    sandbox.host(Call::bare(path).env("HA_DIR", "/etc/ha.d").env("HA_CURHOST", "node1").env("LC_ALL", "C"))
}
