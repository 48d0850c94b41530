# Runs as root in a mount namespace of its own: gives it a FUSE device for everybody, and mounts as a user who is not root.
# Everything is on a tmpfs that goes with the namespace.
mount -t tmpfs -o mode=755 tmpfs /mnt
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
install -m 755 "$1" /mnt/lattice
install -d -o 65534 -g 65534 -m 700 /mnt/u
mkdir -m 755 /mnt/open
export PATH=/mnt:$PATH
unset LATTICE_LOG

step() { echo "- $*"; }
as() { setpriv --reuid="$1" --regid="$1" --clear-groups env -i PATH="$PATH" HOME=/mnt/u "${@:2}"; }
user() { as 65534 "$@"; }
fails() { if "$@" >/mnt/said 2>&1; then echo "it should fail: $*"; exit 1; fi; cat /mnt/said; }
daemon() { user lattice status --json | sed -n 's/.*"daemon_pid": *\([0-9]*\).*/\1/p'; }
# The daemon ends on its own once nothing is mounted; the namespace is gone when it has.
trap 'user lattice unmount --all >/dev/null 2>&1 || true' EXIT

step "makes a store and mounts it"
user lattice init --name users
user lattice store create home
user mkdir /mnt/u/m
user lattice mount home /mnt/u/m
grep '^lattice:home /mnt/u/m fuse.lattice ' /proc/self/mounts | tee /mnt/line
for option in nosuid nodev user_id=65534 group_id=65534 default_permissions; do grep -q "[ ,]$option[, ]" /mnt/line; done
if grep -q allow_other /mnt/line; then echo "others were let in"; exit 1; fi

step "works in it"
user sh -euc 'cd /mnt/u/m; echo hello > f; cat f; mkdir d; mv f d/g; ln -s d/g l; cat l
  head -c 3000000 /dev/urandom > big; cp big copy; cmp big copy; chmod 600 big; stat -c "%u %a" big' | tee /mnt/said
grep -qx '65534 600' /mnt/said
user sh -euc 'cd /mnt/u/m; git init -q r; cd r; git config user.email u@example.org; git config user.name u
  echo x > a; git add a; git commit -qm one; git fsck --strict; git status --short'
user getfattr --only-values -n user.lattice.store /mnt/u/m/d/g >/dev/null 2>&1 || user lattice history /mnt/u/m/d/g

step "nobody else gets in, root neither"
chmod 755 /mnt/u
fails as 1 ls /mnt/u/m
fails ls /mnt/u/m
chmod 700 /mnt/u

step "a directory that isn't the user's can't be mounted on"
fails user lattice mount home /mnt/open
grep -q fusermount3 /mnt/said

step "letting others in is root's to allow"
user mkdir /mnt/u/o
fails user lattice mount --allow-other home /mnt/u/o
grep -q user_allow_other /mnt/said
echo user_allow_other > /mnt/fuse.conf
[ -e /etc/fuse.conf ] || touch /etc/fuse.conf
mount --bind /mnt/fuse.conf /etc/fuse.conf
chmod 755 /mnt/u
user lattice mount --allow-other home /mnt/u/o
as 1 cat /mnt/u/o/d/g
user lattice unmount /mnt/u/o
chmod 700 /mnt/u

step "unmounts, and refuses while it is in use"
setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'cd /mnt/u/m && exec sleep 60' & sleeper=$!
until [ "$(readlink /proc/$sleeper/cwd 2>/dev/null)" = /mnt/u/m ]; do kill -0 $sleeper; done
fails user lattice unmount /mnt/u/m
grep -q 'in use' /mnt/said
kill $sleeper; wait $sleeper || true
user lattice unmount /mnt/u/m
if grep -q ' /mnt/u/m ' /proc/self/mounts; then echo "still mounted"; exit 1; fi

step "everything is there after a new mount"
user lattice mount home /mnt/u/m
user sh -euc 'cd /mnt/u/m; cat d/g; cmp big copy; git -C r fsck --strict; git -C r log --oneline'

step "a dead mount is cleared by the next one"
pid=$(daemon)
user sh -c 'echo kept > /mnt/u/m/kept'
kill -KILL "$pid"
fails user ls /mnt/u/m
user lattice mount home /mnt/u/m
[ "$(grep -c ' /mnt/u/m ' /proc/self/mounts)" = 1 ]
[ "$(user cat /mnt/u/m/kept)" = kept ]

step "a dead mount is cleared by unmount, too"
kill -KILL "$(daemon)"
user lattice unmount /mnt/u/m
if grep -q ' /mnt/u/m ' /proc/self/mounts; then echo "still mounted"; exit 1; fi

step "a read-only mount takes nothing"
user lattice mount --read-only home /mnt/u/m
fails user sh -c 'echo x > /mnt/u/m/no'
grep -qi 'read-only' /mnt/said
user lattice unmount /mnt/u/m
user lattice doctor
echo done
