#!/bin/sh
# Entry of the client: uploads a file, downloads it again, compares the hashes, and tells how long each transfer stood
# still at most; over and over, by each address of the server in turn.
#   SERVER         addresses of the server, of both families
#   MEBIBYTES      size of the file
#   TRANSFERS=off  set up the network only
set -eu
. /opt/docker/network.sh
keep_network &
await_names
if [ "${TRANSFERS:-on}" = off ]; then
  say "no transfers of its own"
  trap 'exit 0' TERM INT
  while :; do sleep 1 & wait $!; done
fi
# From here on without root, and without any capability.
exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --no-new-privs /opt/docker/transfers.sh
