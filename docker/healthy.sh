#!/bin/sh
# Health of the gateway: it answers on its control socket. Without tcpfreeze (TCPFREEZE_PLAIN=1) there is nothing to ask.
[ "${TCPFREEZE_PLAIN:-}" = 1 ] && exit 0
exec tcpfreeze status --json
