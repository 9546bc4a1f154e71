# Sourced by the checks in this folder: a mount namespace of its own, a folder `work` that is removed at the end, and the
# agent under test copied to where the field's tools can run it, also as an unprivileged user.
# shellcheck shell=bash
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C

if (($# != 1)) || [[ ! -x $1 ]]; then
    echo "usage: $0 AGENT      (a built binary; see tests/run)" >&2
    exit 2
fi
((EUID == 0)) || { echo "$0 needs root" >&2; exit 1; }
if [[ -z ${HOLDFAST_CHECK_INSIDE-} ]]; then
    HOLDFAST_CHECK_INSIDE=1 exec unshare --mount --propagation slave "$(realpath "$0")" "$(realpath "$1")"
fi
unset HOLDFAST_CHECK_INSIDE "${!OCF_@}" "${!HA_@}"

work=$(mktemp -d)
chmod 755 "$work"
mount -t tmpfs holdfast-check /run # in this namespace, so that no record of a mount stays behind
clean_up() {
    trap - EXIT
    local mount loop
    for mount in $(awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac); do
        umount "$mount" || umount -l "$mount" || true
    done
    for loop in $(losetup --noheadings --list --output NAME,BACK-FILE | awk -v below="$work/" 'index($2, below) == 1 { print $1 }'); do
        losetup -d "$loop" || true
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

agent=$work/resource.d/holdfast/${1##*/}
mkdir -p "${agent%/*}"
install -m 755 "$1" "$agent"

# ext4_on_loop: makes a file system and sets `device` to its loop device.
ext4_on_loop() {
    truncate -s 16M "$work/disk"
    device=$(losetup --find --show "$work/disk")
    mkfs.ext4 -q "$device"
}

failures=0
wrong() {
    echo "WRONG: $*"
    ((failures += 1))
}
