# Runs as process 1 of a node's namespaces: builds the node's view of the file system, then runs a command.
# Usage: sh enter.sh NODE_DIR OVERLAY_OPTIONS HOST_NAME WORKING_DIRECTORY COMMAND [ARGUMENT...]
node=$1 options=$2 name=$3 cwd=$4
shift 4
fail() { echo "patchwave lab: cannot enter the node: $1" >&2; exit 125; }
mount --make-rprivate / || fail "mount"
for dir in etc opt usr var root home srv; do
    [ -d "$node/$dir.up" ] || continue
    if [ -e "$node/$dir.bind" ]; then
        mount --bind "$node/$dir.up" "/$dir" || fail "/$dir"
    else
        mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$node/$dir.up,workdir=$node/$dir.wk$options" "/$dir" ||
            fail "/$dir"
    fi
done
hostname "$name" || fail "hostname"
# The id of this boot; without a proc that can be covered, this machine's.
[ -e "$node/boot_id" ] && mount --bind "$node/boot_id" /proc/sys/kernel/random/boot_id 2>/dev/null
mount --bind "$node/run" /run || fail "/run"
mount --bind "$node/tmp" /tmp || fail "/tmp"
cd "$cwd" || exit 1
exec "$@"
