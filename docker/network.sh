# Sourced by the entry scripts: interfaces by address, routes, the rate of the link. Safe to call again and again.
#
# The engine names interfaces as it likes, and differently after `docker network disconnect` and `connect`; what is
# constant is the address. So:
#   NAMES   "ADDRESS=NAME ..."            what has this IPv4 address is found under this name
#   ROUTES  "PREFIX=NEXTHOP ..."          routes of both families, put back when an interface returns; `default` is a prefix, too
#   SHAPE   "NAME=MBITS ..."              outgoing rate of an interface, in Mb/s
#   DELAY   milliseconds of one-way delay on shaped interfaces, where the kernel has netem

say() { echo "$(date +%H:%M:%S) $*"; }

# The interface with an address, other than the one that is to have it.
interface_of() { ip -o -4 address show | awk -v want="$1/" -v but="$2" 'index($4, want) == 1 && $2 != but { print $2, $4; exit }'; }

# The constant name is a bridge with the engine's interface as its only port, and has its addresses. Renaming that interface would
# be simpler, but then the engine does not find it any more and `docker network disconnect` leaves it where it is
# (measured with Docker Engine 20.10). A bridge without a port has no carrier: it is as if the cable had been pulled.
apply_names() {
  for pair in ${NAMES:-}; do
    name=${pair#*=}
    if [ -d "/sys/class/net/$name" ] && [ -z "$(ls "/sys/class/net/$name/brif")" ]; then
      # The engine refuses to bring an address back that is here already.
      ip address flush dev "$name" scope global
    fi
    found=$(interface_of "${pair%%=*}" "$name")
    if [ -n "$found" ]; then
      current=${found% *} address=${found#* }
      ip -4 address flush dev "$current"
      if ! [ -d "/sys/class/net/$name" ]; then
        # The port's own hardware address, for good: neighbours go on knowing it while there is no port.
        ip link add name "$name" address "$(cat "/sys/class/net/$current/address")" type bridge
        # Without a link-local address nothing resolves IPv6 neighbours.
        ip link set dev "$name" addrgenmode eui64 up
      fi
      # Before the link is there, so that what waits for it does not leave by another way.
      take_over "$current" "$name"
      ip link set dev "$current" master "$name" up && ip address add "$address" dev "$name" && say "${pair%%=*} came on $current: $name"
    fi
    for port in "/sys/class/net/$name/brif"/*; do
      if [ -e "$port" ]; then take_over "${port##*/}" "$name"; fi
    done
  done
}

# IPv6 addresses of a port become the bridge's: the engine sets them after the IPv4 one, so perhaps only now. Routes outlive them.
take_over() {
  for address6 in $(ip -o -6 address show dev "$1" scope global | awk '{ print $4 }'); do
    ip address delete "$address6" dev "$1"
    # Nobody else has it: waiting for the answer of a duplicate would only delay what is under way.
    ip address add "$address6" dev "$2" nodad
  done
  ip -6 route delete default dev "$1" 2>/dev/null || true
}

apply_routes() {
  for pair in ${ROUTES:-}; do
    case ${pair#*=} in *:*) family=-6 ;; *) family=-4 ;; esac
    [ -n "$(ip $family route show exact "${pair%%=*}" via "${pair#*=}")" ] && continue
    # Fails while the interface towards the next hop is down; the next change of an interface brings another attempt.
    ip $family route replace "${pair%%=*}" via "${pair#*=}" 2>/dev/null || true
  done
}

apply_shape() {
  for pair in ${SHAPE:-}; do
    dev=${pair%%=*} rate=${pair#*=}
    [ -d "/sys/class/net/$dev" ] || continue
    case $(tc qdisc show dev "$dev" root) in *"qdisc tbf"* | *"qdisc netem"*) continue ;; esac
    if tc qdisc replace dev "$dev" root netem delay "${DELAY:-20}ms" rate "${rate}mbit" limit 400 2>/dev/null; then
      say "$dev: $rate Mb/s, ${DELAY:-20} ms (netem)"
    elif tc qdisc replace dev "$dev" root tbf rate "${rate}mbit" burst 32kb latency 60ms 2>/dev/null; then
      say "$dev: $rate Mb/s (tbf; this kernel has no netem, so the delay is that of the queue, 60 ms at most)"
    else
      say "$dev: no rate limit, this kernel has neither netem nor tbf; transfers are over in a moment"
    fi
  done
}

apply_network() {
  apply_names
  apply_shape
  apply_routes
}

# Once now, and then whenever an interface or an address changes.
keep_network() {
  apply_network
  ip -o monitor link address | while read -r _; do apply_network; done
}

# Waits until every interface of NAMES is there. Fails after PATIENCE seconds (15), and says which address is missing.
await_names() {
  for pair in ${NAMES:-}; do
    tries=0
    until ip -o -4 address show dev "${pair#*=}" 2>/dev/null | grep -q " ${pair%%=*}/"; do
      tries=$((tries + 1))
      if [ "$tries" -gt $((${PATIENCE:-15} * 10)) ]; then
        echo "no interface of this container has the address ${pair%%=*}: give it that address in its network (ipv4_address)" >&2
        exit 1
      fi
      sleep 0.1
    done
  done
}
