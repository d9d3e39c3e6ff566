#!/bin/sh
# Entry of the gateway: names the interfaces lan0 and wan0, masquerades where it is told to, and becomes tcpfreeze.
#   NAMES, ROUTES, SHAPE, DELAY   see network.sh
#   CAPTURE=FILE                  what passes is captured there, 128 bytes of each packet, 4 files of 32 MiB at most
#   MASQUERADE=1                  what leaves by wan0 gets the gateway's address
#   TCPFREEZE_PLAIN=1             forward only, without tcpfreeze: for comparison
set -eu
# Any other command runs as it is: docker run IMAGE doctor
case ${1:-run} in
run) ;;
sh | bash | node | ip | nft) exec "$@" ;;
*) exec tcpfreeze "$@" ;;
esac
. /opt/docker/network.sh
if [ -n "${NAMES:-}" ]; then
  keep_network &
  await_names
fi
if [ "${MASQUERADE:-}" = 1 ]; then
  nft -f - <<'NFT'
table inet home {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" masquerade
    # The engine's own interface, for the moment in which it has an IPv6 address and is not yet the port of wan0: a connection
    # that is tracked untranslated stays so.
    oifname "eth*" masquerade
  }
}
NFT
fi
if [ "${TCPFREEZE_PLAIN:-}" = 1 ]; then
  say "plain forwarding, without tcpfreeze"
  trap 'exit 0' TERM INT
  while :; do sleep 1 & wait $!; done
fi
[ $# -gt 0 ] || set -- run --lan lan0 --wan wan0
if [ -n "${CAPTURE:-}" ] && [ "$1" = run ]; then
  if [ -w "${CAPTURE%/*}" ]; then
    printf 'capture: {file: %s, snaplen: 128, rotate: {size: 32MiB, count: 4}}\n' "$CAPTURE" >/tmp/tcpfreeze.yaml
    set -- "$@" --config /tmp/tcpfreeze.yaml
  else
    say "no capture: ${CAPTURE%/*} is not writable for root without further capabilities"
  fi
fi
exec tcpfreeze "$@"
