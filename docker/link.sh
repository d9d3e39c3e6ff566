#!/bin/sh
# Entry of the link: a router that limits the rate both ways, and swallows everything while the file /run/tcpfreeze/link
# says `swallow`.
set -eu
. /opt/docker/network.sh
keep_network &
await_names
nft add table inet link
nft add chain inet link forward '{ type filter hook forward priority filter; policy accept; }'
trap 'exit 0' TERM INT
state=pass
while :; do
  wanted=$(cat /run/tcpfreeze/link 2>/dev/null || echo pass)
  if [ "$wanted" != "$state" ]; then
    if [ "$wanted" = swallow ]; then nft add rule inet link forward counter drop; else nft flush chain inet link forward; fi
    state=$wanted
    say "the link is told: $state"
  fi
  sleep 0.1 & wait $!
done
