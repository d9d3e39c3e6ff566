# Three images from one file:
#   gateway   tcpfreeze itself: Node.js, the compiled program, ip and nft. Needs NET_ADMIN, NET_RAW and /dev/net/tun.
#   endpoint  client, server and link of docker-compose.yml: nginx and curl, sshd and ssh, mosquitto; ip, tc, nft.
#   build     compiles; nothing of it but the result goes further.

FROM node:24-bookworm-slim AS build
WORKDIR /opt/tcpfreeze
# raw-socket, the gateway's echo requests, is compiled against the headers that the official image brings with its Node.js.
# Where they are not there it is left out: the gateway does without echoes and says so.
RUN apt-get update && apt-get install -y --no-install-recommends g++ make python3 && rm -rf /var/lib/apt/lists/*
ENV npm_config_nodedir=/usr/local
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
COPY src ./src
# `npm ci` compiles, too (the prepare script); afterwards only what runs is kept.
RUN npm ci --no-audit --no-fund \
 && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
 && find dist -name '*.map' -delete -o -name '*.d.ts' -delete

FROM debian:bookworm-slim AS endpoint
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl iproute2 iputils-ping mosquitto mosquitto-clients nftables nginx \
      openssh-client openssh-server procps \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
# Both ends of the ssh sessions in these networks come from this image, and so do their keys: good for nothing else.
RUN useradd --create-home --shell /bin/sh guest && rm -f /etc/ssh/ssh_host_* && mkdir /opt/keys \
 && ssh-keygen -q -t ed25519 -N '' -f /opt/keys/host && ssh-keygen -q -t ed25519 -N '' -f /opt/keys/guest \
 && chown -R guest /opt/keys
COPY docker /opt/docker
EXPOSE 8080
CMD ["/opt/docker/client.sh"]

FROM debian:bookworm-slim AS gateway
# netbase: /etc/protocols, without which ip does not know the word tcp.
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 netbase nftables \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log /var/log/apt
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /opt/tcpfreeze/package.json /opt/tcpfreeze/package.json
COPY --from=build /opt/tcpfreeze/node_modules /opt/tcpfreeze/node_modules
COPY --from=build /opt/tcpfreeze/dist /opt/tcpfreeze/dist
COPY LICENSE /opt/tcpfreeze/
COPY docker /opt/docker
RUN chmod 755 /opt/tcpfreeze/dist/cli.js && ln -s /opt/tcpfreeze/dist/cli.js /usr/local/bin/tcpfreeze && mkdir -p /run/tcpfreeze
# Root, because a container gives other users no ambient capabilities, and ip and nft inherit theirs only as such
# (capabilities(7)). docker-compose.yml drops all but two of root's.
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=3 CMD ["node", "/opt/docker/healthy.mjs"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/docker/gateway.sh"]
