#!/bin/sh
# Entry of the server: nginx on port 8080, which takes files by PUT and gives them back by GET; sshd on port 2222; an MQTT broker
# on port 1883.
set -eu
. /opt/docker/network.sh
keep_network &
await_names
data=/srv/www
mkdir -p "$data" /tmp/nginx
chmod 0777 "$data" /tmp/nginx
# From here on without root, and without any capability.
setpriv --reuid=guest --regid=guest --clear-groups --inh-caps=-all --no-new-privs /usr/sbin/sshd -D -e -f /opt/docker/sshd.conf &
setpriv --reuid=guest --regid=guest --clear-groups --inh-caps=-all --no-new-privs mosquitto -c /opt/docker/mosquitto.conf &
exec setpriv --reuid=www-data --regid=www-data --clear-groups --inh-caps=-all --no-new-privs \
  nginx -c /opt/docker/nginx.conf -e stderr
