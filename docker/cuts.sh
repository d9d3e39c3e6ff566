#!/bin/sh
# Cuts the link on a schedule, inside the gateway's network namespace.
#   CUT      the gateway's interface that is lost
#   EVERY    seconds between outages        LASTING   seconds of an outage
#   SWALLOW  1: every other outage swallows packets in the link container instead, which no carrier tells of; the gateway
#            is told by command 2 s late
set -eu
. /opt/docker/network.sh
trap 'ip link set dev "$CUT" up; echo pass >/run/tcpfreeze/link; exit 0' TERM INT
pause() { sleep "$1" & wait $!; }
every=${EVERY:-12} lasting=${LASTING:-8}
while :; do
  pause "$every"
  say "cut: $CUT is set down for $lasting s"
  ip link set dev "$CUT" down
  pause "$lasting"
  ip link set dev "$CUT" up
  say "restored: $CUT is up"
  [ "${SWALLOW:-}" = 1 ] || continue
  pause "$every"
  say "cut: the link swallows all packets for $lasting s; the gateway is told 2 s late"
  echo swallow >/run/tcpfreeze/link
  pause 2
  if [ "${TCPFREEZE_PLAIN:-}" != 1 ]; then tcpfreeze freeze --link "$CUT"; fi
  pause $((lasting - 2))
  echo pass >/run/tcpfreeze/link
  if [ "${TCPFREEZE_PLAIN:-}" != 1 ]; then tcpfreeze resume --link "$CUT"; fi
  say "restored: the link passes packets"
done
