#!/bin/sh
# A machine within this one: boots systemd in an overlay of the root file system. To be started in mount, process, cgroup, UTS
# and IPC namespaces of its own (unshare --mount --pid --fork --cgroup --uts --ipc --kill-child); network as it is.
#   boot.sh DIRECTORY     DIRECTORY/root is the machine's root, DIRECTORY/exchange its /mnt; nothing outside of the
#                         namespaces is changed
set -e
directory=$1
mkdir -p "$directory/layer" "$directory/root"
mount -t tmpfs -o size=1g tmpfs "$directory/layer"
mkdir "$directory/layer/upper" "$directory/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$directory/layer/upper,workdir=$directory/layer/work" "$directory/root"
cd "$directory/root"
mount -t proc proc proc
# The kernel's own settings are everybody's: systemd would raise some of them. Those of the network are this namespace's.
for tree in fs kernel vm; do
    mount --bind "proc/sys/$tree" "proc/sys/$tree"
    mount -o remount,ro,bind "proc/sys/$tree"
done
mount -t sysfs -o ro sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
umask 0
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
# As the kernel makes it, before anybody has given it other rights.
mknod -m 600 dev/net/tun c 10 200
umask 022
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# What comes from outside.
mount --bind "$(readlink -f "$directory/exchange")" mnt
# Only what a service needs: journal, message bus, users.
rm -rf etc/systemd/system/*.wants
: >etc/fstab
# Build machines forbid packages to start services.
rm -f usr/sbin/policy-rc.d
ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
for unit in systemd-udevd systemd-networkd systemd-logind systemd-resolved systemd-timesyncd systemd-modules-load systemd-sysctl \
    systemd-random-seed systemd-update-utmp systemd-binfmt systemd-journal-flush getty@tty1 console-getty; do
    ln -sf /dev/null "etc/systemd/system/$unit.service"
done
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --system --log-target=journal
