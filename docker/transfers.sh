#!/bin/sh
# The client's transfers; see client.sh.
set -eu
. /opt/docker/network.sh
mebibytes=${MEBIBYTES:-64}
directory=$(mktemp -d)
trap 'exit 0' TERM INT
sent=$directory/sent received=$directory/received
head -c "${mebibytes}M" /dev/urandom >"$sent"
hash=$(sha256sum <"$sent")
curl="curl --silent --show-error --fail --max-time 900"

hundredths() { awk '{ printf "%d", $1 * 100 }' /proc/uptime; }

# Bytes that have crossed the network card, both ways; all of it is the transfer's.
crossed() { cat /sys/class/net/net0/statistics/tx_bytes /sys/class/net/net0/statistics/rx_bytes | awk '{ n += $1 } END { printf "%d", n }'; }

# Runs a transfer and prints its time and its longest silence: less than 16 KiB in 0.1 s is silence.
timed() {
  name=$1
  shift
  start=$(hundredths) last=$(hundredths) longest=0 before=$(crossed)
  "$@" &
  while kill -0 $! 2>/dev/null; do
    sleep 0.1
    now=$(hundredths) bytes=$(crossed)
    if [ $((bytes - before)) -gt 16384 ]; then last=$now; fi
    if [ $((now - last)) -gt "$longest" ]; then longest=$((now - last)); fi
    before=$bytes
  done
  if wait $!; then
    took=$(($(hundredths) - start))
    say "$name: $mebibytes MiB in $(seconds $took), longest silence $(seconds "$longest")"
  else
    say "$name: FAILED, curl ended with exit code $?"
    return 1
  fi
}

seconds() { awk -v h="$1" 'BEGIN { printf "%.1f s", h / 100 }'; }

# As it stands in a URL.
host_of() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

for server in $SERVER; do
  until $curl --max-time 2 "http://$(host_of "$server"):8080/alive" 2>/dev/null; do sleep 0.5; done
done
say "the server answers; a file of $mebibytes MiB goes to and fro"
while :; do
  for server in $SERVER; do
    url="http://$(host_of "$server"):8080/file"
    case $server in *:*) family=IPv6 ;; *) family=IPv4 ;; esac
    timed "upload, $family" $curl --upload-file "$sent" "$url" || { sleep 1; continue; }
    timed "download, $family" $curl --output "$received" "$url" || { sleep 1; continue; }
    if [ "$(sha256sum <"$received")" = "$hash" ]; then say "hashes equal"; else say "HASHES DIFFER"; exit 1; fi
  done
done
