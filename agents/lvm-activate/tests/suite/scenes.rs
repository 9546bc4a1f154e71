//! Machines with a fake LVM. It keeps the group's state in files of the machine, maps devices in its sys folder, and
//! speaks the texts that were recorded of lvm2 2.03.16.

use std::fs;
use std::os::unix::fs::symlink;

use testkit::{Call, Sandbox, Tool};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lvm-activate");

pub(crate) const VG_UUID: &str = "NGItoroSSpLe6u4fkVzX8dEZoNPhu358";

/// Files of `lvm`: name, system_id, tags, missing, attr, lock_type, autoactivation (absent: this LVM has no such
/// field), lvs (name, attributes, layout, tags), host_id. `refusals/WORD` holds a line for each call to come that has WORD as
/// an argument: exit code and text; a line with `*` stays. `busy/LV`: how many deactivations fail; `*` all.
const LVM: &str = r#"
root=$OCF_TEST_ROOT
state=$root/lvm
has() { [ -e "$state/$1" ]; }
get() { cat "$state/$1" 2>/dev/null; }
complain() { echo "  $1" >&2; }
# A script: one command after the other, until one fails.
if [ "$1" = /dev/stdin ]; then
    while read -r line; do
        case $line in \#*) continue ;; esac
        eval "set -- $line"
        "$0" "$@" </dev/null || exit
    done
    exit 0
fi
for word in "$@"; do
    file=$root/refusals/${word#--}
    case $word in */*) continue ;; esac
    [ -f "$file" ] && [ -s "$file" ] || continue
    read -r code text <"$file"
    case $code in \**) code=${code#\*} ;; *) sed -i 1d "$file" ;; esac
    [ "$code" = 0 ] || { complain "$text"; exit "$code"; }
done
command=$1
shift
[ "$command" = systemid ] && { echo "  system ID: $(get host_id)"; exit 0; }
[ "$command" = lvmconfig ] && { cat "$root/etc/lvm/asked" 2>/dev/null || cat "$root/etc/lvm/lvm.conf"; exit 0; }
[ "$command" = pvscan ] && { has appears && mv "$state/appears" "$state/name"; exit 0; }
action= config= systemid= majority= addtag= deltag= auto= partial= skip= lock= foreign= last=
while [ $# -gt 0 ]; do
    case $1 in
    -a*) action=$1 ;;
    -y | --shared | --nolocking) ;;
    --majoritypvs) has majority || { complain "unrecognized option '$1'"; exit 3; }; majority=1 ;;
    --foreign) foreign=1 ;;
    --config) config=$2; shift ;;
    --systemid) systemid=$2; shift ;;
    --addtag) addtag=$2; shift ;;
    --deltag) deltag=$2; shift ;;
    --setautoactivation) auto=$2; shift ;;
    --partial) partial=1 ;;
    --activationmode) [ "$2" = degraded ] && partial=degraded; shift ;;
    --ignoreactivationskip) skip=1 ;;
    --lockstart | --lockstop) lock=$1 ;;
    --reportformat | --configreport | -o | -S) shift ;;
    --) ;;
    -*) complain "Unrecognised option $1"; exit 3 ;;
    *) last=$1 ;;
    esac
    shift
done
group=${last%%/*} volume=
[ "$group" = "$last" ] || volume=${last#*/}
if [ "$group" != "$(get name)" ]; then
    [ "$command" = fullreport ] && printf '  {\n      "report": [\n      ]\n  }\n'
    complain "Volume group \"$group\" not found"
    complain "Cannot process volume group $group"
    exit 5
fi
owner=$(get system_id)
if [ "$command" = fullreport ]; then
    auto=
    has autoactivation && auto="\"vg_autoactivation\":\"$(get autoactivation)\", "
    printf '  {\n      "report": [\n          {\n              "vg": [\n                  {"vg_name":"%s", "vg_uuid":"NGItor-oSSp-Le6u-4fkV-zX8d-EZoN-Phu358", "vg_attr":"%s", %s"vg_systemid":"%s", "vg_tags":"%s", "vg_missing_pv_count":"%s", "vg_lock_type":"%s", "lv_count":"2"}\n              ]\n              ,\n              "pv": [\n                  {"pv_name":"/dev/vdb", "pv_missing":""}\n              ]\n              ,\n              "lv": [\n' \
        "$group" "$(get attr)" "$auto" "$owner" "$(get tags)" "$(get missing)" "$(get lock_type)"
    comma=
    get lvs | while read -r name attributes layout tags; do
        printf '%s                  {"lv_name":"%s", "lv_uuid":"%s-uuid", "lv_attr":"%s", "lv_layout":"%s", "lv_tags":"%s"}' "$comma" "$name" "$name" "$attributes" "$layout" "$tags"
        comma=',
'
    done
    printf '\n              ]\n              ,\n              "pvseg": [\n              ]\n              ,\n              "seg": [\n              ]\n          }\n      ]\n  }\n'
    exit 0
fi
case $owner in
"" | "$(get host_id)") ;;
*)
    case $config in
    *extra_system_ids*"\"$owner\""*) ;;
    *) complain "Cannot access VG $group with system ID $owner with local system ID $(get host_id)."; exit 5 ;;
    esac ;;
esac
case $(get attr) in ??x*) complain "Volume group $group is exported"; exit 5 ;; esac
changed() { echo "  Volume group \"$group\" successfully changed"; exit 0; }
if [ -n "$systemid" ]; then
    [ "$(get missing)" = 0 ] || [ -n "$majority" ] || { complain "Cannot change VG $group while PVs are missing."; exit 5; }
    [ "$systemid" = "$owner" ] && { complain "Volume Group system ID is already \"$systemid\"."; exit 5; }
    ls "$root"/sys/block/dm-* >/dev/null 2>&1 && { complain "Logical Volumes in VG $group must be deactivated before system ID can be changed."; exit 5; }
    echo "$systemid" >"$state/system_id"
    changed
fi
tags=$(get tags)
if [ -n "$addtag" ]; then
    echo "${tags:+$tags,}$addtag" >"$state/tags"
    changed
fi
if [ -n "$deltag" ]; then
    echo "$tags" | tr , '\n' | grep -vxF -e "$deltag" | paste -sd, - >"$state/tags"
    changed
fi
if [ -n "$auto" ]; then
    [ "$(get missing)" = 0 ] || { complain "Cannot change VG $group while PVs are missing."; exit 5; }
    [ "$auto" = n ] && [ -z "$(get autoactivation)" ] && { complain "Volume group autoactivation is already no."; exit 5; }
    [ "$auto" = n ] && : >"$state/autoactivation" || echo enabled >"$state/autoactivation"
    changed
fi
if [ -n "$lock" ]; then
    [ "$lock" = --lockstart ] && : >"$state/lockspace" || rm -f "$state/lockspace"
    exit 0
fi
# dm NAME: the number of the device of a volume.
number() { get lvs | cut -d' ' -f1 | grep -nxF -- "$1" | cut -d: -f1; }
mangled() { echo "$1" | sed 's/-/--/g'; }
map() {
    n=$(number "$1")
    block=$root/sys/block/dm-$n
    mkdir -p "$block/dm" "$block/slaves" "$root/sys/dev/block" "$root/dev"
    echo "253:$n" >"$block/dev"
    echo "$(mangled "$group")-$(mangled "$1")" >"$block/dm/name"
    echo "LVM-NGItoroSSpLe6u4fkVzX8dEZoNPhu358$(echo "$1-uuid" | tr -d -)" >"$block/dm/uuid"
    echo 0 >"$block/dm/suspended"
    echo "DEVNAME=dm-$n" >"$block/uevent"
    ln -sfn "../../block/dm-$n" "$root/sys/dev/block/253:$n"
    [ -e "$root/dev/dm-$n" ] || head -c 8192 /dev/zero >"$root/dev/dm-$n"
}
count=0 failed=0
get lvs >"$state/all"
while read -r name attributes layout; do
    [ -z "$volume" ] || [ "$volume" = "$name" ] || continue
    found=1
    case $action in
    -an)
        busy=$root/busy/$name
        if [ -s "$busy" ] && [ -e "$root/sys/block/dm-$(number "$name")" ]; then
            times=$(cat "$busy")
            case $times in \*) ;; 1) rm "$busy" ;; *) echo $((times - 1)) >"$busy" ;; esac
            complain "Logical volume $group/$name in use."
            failed=$((failed + 1))
            continue
        fi
        rm -rf "$root/sys/block/dm-$(number "$name")" "$root/sys/dev/block/253:$(number "$name")" ;;
    *)
        case $attributes in
        ????????p*)
            [ "$partial" = 1 ] || { [ "$partial" = degraded ] && echo "$layout" | grep -q raid; } || {
                complain "Refusing activation of partial LV $group/$name.  Use '--activationmode partial' to override."
                failed=1
                continue
            } ;;
        esac
        case $attributes in *k) [ -n "$skip" ] || continue ;; esac
        if has inert && grep -qxF -e "$name" "$state/inert"; then continue; fi
        case $config in
        *volume_list*) case ",$tags," in *",$(echo "$config" | sed 's/.*"@\(.*\)".*/\1/'),"*) ;; *) continue ;; esac ;;
        *) has volume_list && continue ;;
        esac
        map "$name"
        count=$((count + 1)) ;;
    esac
done <"$state/all"
[ -z "$volume" ] || [ -n "$found" ] || { complain "Failed to find logical volume \"$last\""; exit 5; }
[ "$command" = lvchange ] || echo "  $count logical volume(s) in volume group \"$group\" now active"
[ "$action" = -an ] || ! has unmonitored || { complain "$group/$name: event registration failed."; exit 5; }
if [ "$failed" -gt 0 ]; then
    [ "$action" = -an ] && complain "Can't deactivate volume group \"$group\" with $failed open logical volume(s)"
    exit 5
fi
exit 0
"#;

const PROC_MISC: &str = "236 device-mapper\n237 loop-control\n";

/// The group vg1 with these volumes, none active, without an owner.
pub(crate) fn vg(volumes: &[&str]) -> Sandbox {
    vg_called("vg1", volumes)
}

pub(crate) fn vg_called(name: &str, volumes: &[&str]) -> Sandbox {
    let machine = Sandbox::new();
    machine.tool("lvm", Tool::Does(LVM.into()));
    machine.folder("refusals").folder("busy").folder("sys/block").file("proc/misc", PROC_MISC);
    machine.file("etc/lvm/lvm.conf", "global {\n\tsystem_id_source = \"uname\"\n}\n");
    for (file, text) in [
        ("name", name),
        ("system_id", ""),
        ("tags", ""),
        ("missing", "0"),
        ("attr", "wz--n-"),
        ("host_id", "node1"),
    ] {
        set(&machine, file, text);
    }
    let lines: Vec<String> = volumes.iter().map(|name| format!("{name} -wi------- linear\n")).collect();
    machine.file("lvm/lvs", lines.concat());
    machine
}

/// The same, owned by this system ID, as recorded with autoactivation on.
pub(crate) fn owned_by(owner: &str) -> Sandbox {
    let machine = vg(&["lv1", "lv2"]);
    set(&machine, "system_id", owner);
    set(&machine, "autoactivation", "enabled");
    machine
}

/// The same, on a node that keeps it inactive without a tag.
pub(crate) fn tagged(tags: &str) -> Sandbox {
    let machine = vg(&["lv1", "lv2"]);
    set(&machine, "tags", tags);
    set(&machine, "volume_list", "");
    machine.file("etc/lvm/lvm.conf", "activation {\n\tvolume_list = [ \"rootvg\" ]\n}\n");
    machine
}

/// Changes the group.
pub(crate) fn set(machine: &Sandbox, what: &str, text: &str) {
    machine.file(&format!("lvm/{what}"), if text.is_empty() { String::new() } else { format!("{text}\n") });
}

pub(crate) fn get(machine: &Sandbox, what: &str) -> String {
    fs::read_to_string(machine.path("lvm").join(what)).unwrap_or_default().trim().to_owned()
}

/// The agent for vg1 in this mode, called as Pacemaker does.
pub(crate) fn mode(machine: &Sandbox, mode: &str) -> Call {
    machine.host(Call::ocf(BINARY).param("vgname", "vg1").param("vg_access_mode", mode))
}

/// Maps a device as the kernel shows it.
pub(crate) fn map(machine: &Sandbox, number: u32, name: &str, uuid: &str) {
    let block = format!("sys/block/dm-{number}");
    machine.file(&format!("{block}/dev"), format!("253:{number}\n"));
    machine.file(&format!("{block}/dm/name"), format!("{name}\n"));
    machine.file(&format!("{block}/dm/uuid"), format!("{uuid}\n"));
    machine.file(&format!("{block}/dm/suspended"), "0\n");
    machine.file(&format!("{block}/uevent"), format!("DEVNAME=dm-{number}\n"));
    machine.folder("sys/dev/block").folder(&format!("{block}/slaves"));
    let _ = symlink(format!("../../block/dm-{number}"), machine.path(format!("sys/dev/block/253:{number}")));
    machine.file(&format!("dev/dm-{number}"), vec![0_u8; 8192]);
}

pub(crate) fn unmap(machine: &Sandbox, number: u32) {
    fs::remove_dir_all(machine.path(format!("sys/block/dm-{number}"))).unwrap();
}

/// Names of the mapped devices.
pub(crate) fn mapped(machine: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(machine.path("sys/block")).unwrap() {
        let name = fs::read_to_string(entry.unwrap().path().join("dm/name")).unwrap();
        found.push(name.trim().to_owned());
    }
    found.sort();
    found
}

/// The LVM commands so far, by their names and what tells them apart. The commands of a script follow it.
pub(crate) fn commands(machine: &Sandbox) -> Vec<String> {
    let is_telling = |word: &&String| {
        matches!(
            word.as_str(),
            "-ay" | "-an" | "-aey" | "-asy" | "--systemid" | "--addtag" | "--deltag" | "--setautoactivation"
        ) || word.starts_with("--lockst")
    };
    let shown = |call: Vec<String>| {
        let telling: Vec<&String> = call.iter().skip(1).filter(is_telling).collect();
        let words: Vec<&str> = call.iter().take(1).chain(telling).map(String::as_str).collect();
        words.join(" ").replace("/dev/stdin", "script")
    };
    machine.calls("lvm").into_iter().map(shown).collect()
}

/// Forgets the commands so far.
pub(crate) fn forget_commands(machine: &Sandbox) {
    let _ = fs::remove_file(machine.path("calls/lvm"));
}
