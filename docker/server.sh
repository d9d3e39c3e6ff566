#!/bin/sh
# Entry of the server: nginx on port 8080, which takes files by PUT and gives them back by GET.
set -eu
. /opt/docker/network.sh
keep_network &
await_names
data=/srv/www
mkdir -p "$data" /tmp/nginx
chmod 0777 "$data" /tmp/nginx
# From here on without root, and without any capability.
exec setpriv --reuid=www-data --regid=www-data --clear-groups --inh-caps=-all --no-new-privs \
  nginx -c /opt/docker/nginx.conf -e stderr
