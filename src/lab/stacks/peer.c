/*
 * A small TCP application for stacks in which nothing larger runs: linked with the C library it speaks through the kernel below it,
 * with -DLWIP and -llwip through lwIP over a TAP device. The same program everywhere, so that only the stack differs.
 *
 *   peer                              the network is there
 *   peer ADDRESS NETMASK GATEWAY      as the first process of a kernel of its own: sets up eth0
 *   peer-lwip ADDRESS NETMASK GATEWAY the TAP device is the one named by PRECONFIGURED_TAPIF (lwIP's tapif.c)
 *
 * Lines in: open NAME MODE SEED ADDRESS PORT FIRST-LINE | line NAME TEXT | close NAME
 * Lines out: ready | opened NAME PORT | echo NAME | closed NAME BYTES ERRNO
 *
 * MODE is upload (bytes of a generator, until close) or echo (lines, which come back). FIRST-LINE, the rest of the line, is what the
 * listening application expects first and counts nowhere. Closing is a half-close after what the stack has accepted. The program ends
 * with its standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#ifdef LWIP
#include "lwip/sockets.h"
#include "lwip/tcpip.h"
#include "netif/tapif.h"
#define NET(call) lwip_##call
#else
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#define NET(call) call
#endif

enum { CONNECTIONS = 16, PIECE = 16384, TEXT = 512, LINE = 1024 };

struct connection {
  int used, fd, connected, upload, closing, finished;
  char name[32];
  uint32_t state;          /* of the generator */
  uint8_t piece[PIECE];    /* generated, from `taken` on not accepted by the stack yet */
  int taken;
  char text[TEXT];         /* the first line, then typed lines, as far as not accepted yet */
  int textLength;
  unsigned long long bytes;
};

static struct connection all[CONNECTIONS];

/* xorshift32 (Marsaglia 2003), words in little-endian order; the judge computes the same ones. */
static void generate(struct connection *c) {
  for (int at = 0; at < PIECE; at += 4) {
    uint32_t x = c->state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    c->state = x;
    for (int i = 0; i < 4; i++) c->piece[at + i] = (uint8_t)(x >> (8 * i));
  }
  c->taken = 0;
}

static struct connection *find(const char *name) {
  for (int i = 0; i < CONNECTIONS; i++)
    if (all[i].used && strcmp(all[i].name, name) == 0) return &all[i];
  return NULL;
}

static void ended(struct connection *c, int error) {
  printf("closed %s %llu %d\n", c->name, c->bytes, error);
  NET(close)(c->fd);
  c->used = 0;
}

static void give(struct connection *c) {
  while (c->textLength > 0) {
    int n = (int)NET(send)(c->fd, c->text, (size_t)c->textLength, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) ended(c, errno);
      return;
    }
    memmove(c->text, c->text + n, (size_t)(c->textLength - n));
    c->textLength -= n;
  }
  while (c->upload && !c->closing) {
    if (c->taken == PIECE) generate(c);
    int n = (int)NET(send)(c->fd, c->piece + c->taken, (size_t)(PIECE - c->taken), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) ended(c, errno);
      return;
    }
    c->taken += n;
    c->bytes += (unsigned long long)n;
  }
  if (c->closing && !c->finished) {
    c->finished = 1;
    NET(shutdown)(c->fd, SHUT_WR);
  }
}

static void take(struct connection *c) {
  char buffer[LINE];
  for (;;) {
    int n = (int)NET(recv)(c->fd, buffer, sizeof buffer, 0);
    if (n > 0) {
      for (int i = 0; i < n; i++)
        if (buffer[i] == '\n') printf("echo %s\n", c->name);
      continue;
    }
    if (n == 0) ended(c, c->finished ? 0 : ECONNABORTED);
    else if (errno != EAGAIN && errno != EWOULDBLOCK) ended(c, errno);
    return;
  }
}

static void joined(struct connection *c) {
  int error = 0;
  socklen_t length = sizeof error;
  NET(getsockopt)(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    ended(c, error);
    return;
  }
  struct sockaddr_in own;
  length = sizeof own;
  NET(getsockname)(c->fd, (struct sockaddr *)&own, &length);
  c->connected = 1;
  printf("opened %s %d\n", c->name, ntohs(own.sin_port));
}

static void start(const char *name, const char *mode, uint32_t seed, const char *address, int port, const char *first) {
  struct connection *c = NULL;
  for (int i = 0; i < CONNECTIONS && c == NULL; i++)
    if (!all[i].used) c = &all[i];
  if (c == NULL) {
    printf("closed %s 0 %d\n", name, ENOBUFS);
    return;
  }
  memset(c, 0, sizeof *c);
  c->used = 1;
  c->upload = strcmp(mode, "upload") == 0;
  c->state = seed;
  c->taken = PIECE;
  snprintf(c->name, sizeof c->name, "%s", name);
  c->textLength = snprintf(c->text, sizeof c->text, "%s\n", first);
  c->fd = NET(socket)(AF_INET, SOCK_STREAM, 0);
  int one = 1;
  NET(setsockopt)(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  NET(fcntl)(c->fd, F_SETFL, O_NONBLOCK);
  struct sockaddr_in to;
  memset(&to, 0, sizeof to);
  to.sin_family = AF_INET;
  to.sin_port = htons((uint16_t)port);
  to.sin_addr.s_addr = inet_addr(address);
  if (NET(connect)(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) ended(c, errno);
}

static void obey(char *line) {
  char verb[16], name[32], mode[16], address[64];
  unsigned seed;
  int port, at = 0;
  if (sscanf(line, "%15s %31s %n", verb, name, &at) != 2) return;
  if (strcmp(verb, "open") == 0) {
    char *rest = line + at;
    if (sscanf(rest, "%15s %u %63s %d %n", mode, &seed, address, &port, &at) == 4)
      start(name, mode, seed, address, port, rest + at);
    return;
  }
  struct connection *c = find(name);
  if (c == NULL) return;
  if (strcmp(verb, "line") == 0)
    c->textLength += snprintf(c->text + c->textLength, (size_t)(TEXT - c->textLength), "%s\n", line + at);
  else if (strcmp(verb, "close") == 0) c->closing = 1;
  if (c->connected && c->used) give(c);
}

static void quit(void) {
#ifndef LWIP
  if (getpid() == 1) reboot(RB_POWER_OFF);
#endif
  exit(0);
}

static void listenToOrders(void) {
  static char line[LINE];
  static int length = 0;
  char piece[LINE];
  ssize_t n = read(0, piece, sizeof piece);
  if (n <= 0) quit();
  for (ssize_t i = 0; i < n; i++) {
    if (piece[i] == '\n') {
      line[length] = 0;
      length = 0;
      obey(line);
    } else if (length < LINE - 1) line[length++] = piece[i];
  }
}

#ifdef LWIP
static struct netif tap;
static ip4_addr_t own[3];

static void attach(void *done) {
  netif_add(&tap, &own[0], &own[1], &own[2], NULL, tapif_init, tcpip_input);
  netif_set_default(&tap);
  netif_set_up(&tap);
  netif_set_link_up(&tap);
  sys_sem_signal(done);
}

static void setUp(char **address) {
  sys_sem_t done;
  for (int i = 0; i < 3; i++) ip4addr_aton(address[i], &own[i]);
  sys_sem_new(&done, 0);
  tcpip_init(attach, &done);
  sys_sem_wait(&done);
}
#else
static struct sockaddr internet(const char *text) {
  struct sockaddr_in in;
  struct sockaddr out;
  memset(&in, 0, sizeof in);
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = inet_addr(text);
  memcpy(&out, &in, sizeof out);
  return out;
}

/* The console is a terminal line: no echo of the orders, no carriage returns. */
static void setUp(char **address) {
  struct termios raw;
  if (tcgetattr(0, &raw) == 0) {
    cfmakeraw(&raw);
    tcsetattr(0, TCSANOW, &raw);
  }
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "eth0");
  request.ifr_addr = internet(address[0]);
  int bad = ioctl(fd, SIOCSIFADDR, &request);
  request.ifr_netmask = internet(address[1]);
  bad |= ioctl(fd, SIOCSIFNETMASK, &request);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  bad |= ioctl(fd, SIOCSIFFLAGS, &request);
  struct rtentry route;
  memset(&route, 0, sizeof route);
  route.rt_dst = internet("0.0.0.0");
  route.rt_genmask = internet("0.0.0.0");
  route.rt_gateway = internet(address[2]);
  route.rt_flags = RTF_UP | RTF_GATEWAY;
  bad |= ioctl(fd, SIOCADDRT, &route);
  close(fd);
  if (bad) printf("eth0: %s\n", strerror(errno));
}
#endif

/* How long the stack's sockets are waited for between two looks at the orders, where one call cannot wait for both. */
enum { LOOK_MILLIS = 5 };

int main(int count, char **arguments) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  /* A kernel may add parameters of its own to the arguments of its first process. */
  if (count >= 4) setUp(arguments + 1);
  printf("ready\n");
  for (;;) {
    struct pollfd polled[CONNECTIONS + 1];
    struct connection *of[CONNECTIONS];
    int n = 0;
    for (int i = 0; i < CONNECTIONS; i++) {
      struct connection *c = &all[i];
      if (!c->used) continue;
      int wantsRoom = !c->connected || c->textLength > 0 || (c->upload && !c->closing);
      polled[n].fd = c->fd;
      polled[n].events = (short)(POLLIN | (wantsRoom ? POLLOUT : 0));
      polled[n].revents = 0;
      of[n++] = c;
    }
    struct pollfd *orders = &polled[n];
    orders->fd = 0;
    orders->events = POLLIN;
    orders->revents = 0;
#ifdef LWIP
    if (n > 0) lwip_poll(polled, (nfds_t)n, LOOK_MILLIS);
    poll(orders, 1, n > 0 ? 0 : LOOK_MILLIS);
#else
    poll(polled, (nfds_t)n + 1, -1);
#endif
    for (int i = 0; i < n; i++) {
      struct connection *c = of[i];
      int seen = polled[i].revents;
      if (seen != 0 && !c->connected) joined(c);
      if (c->used && c->connected && (seen & POLLOUT)) give(c);
      if (c->used && c->connected && (seen & (POLLIN | POLLHUP | POLLERR))) take(c);
    }
    if (orders->revents != 0) listenToOrders();
  }
}
