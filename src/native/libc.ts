/**
 * System calls through the C library. The only module that imports koffi.
 *
 * Memory crosses as addresses in plain numbers (`uintptr_t`): user addresses of 64-bit Linux are below 2^47 and so exact
 * in a double, and no wrapper object is made per call (native-notes/koffi.md has the cost). Whoever passes an address
 * keeps the typed array it came from alive for as long as the kernel may use it.
 *
 * Every call returns what the kernel returns: 0 or more on success, a negative errno on failure. Nothing throws.
 */
import koffi from 'koffi';
import { TcpfreezeError } from '../base/errors.ts';
import { EINTR } from './errno.ts';

if (koffi.sizeof('void *') !== 8) {
  throw new TcpfreezeError(
    'PLATFORM_UNSUPPORTED',
    `tcpfreeze needs a 64-bit system, this Node.js is ${process.arch}`,
    'install a 64-bit Node.js',
  );
}

// The process itself: Node.js is linked with the C library, glibc or musl, so its symbols are found there.
const libc = koffi.load(null);

type Call = (...values: (number | string | null)[]) => number;

function bind(definition: string): Call {
  return libc.func(definition) as Call;
}

// intptr_t stands for ssize_t, which koffi does not know; both are the register width.
const cRead = bind('intptr_t read(int fd, uintptr_t buffer, size_t length)');
const cWrite = bind('intptr_t write(int fd, uintptr_t buffer, size_t length)');
const cRecv = bind('intptr_t recv(int fd, uintptr_t buffer, size_t length, int flags)');
const cSend = bind('intptr_t send(int fd, uintptr_t buffer, size_t length, int flags)');
const cPpoll = bind('int ppoll(uintptr_t fds, unsigned long count, uintptr_t timeout, uintptr_t sigmask)');
const cOpen = bind('int open(const char *path, int flags, ...)');
const cClose = bind('int close(int fd)');
const cFlock = bind('int flock(int fd, int operation)');
const cIoctl = bind('int ioctl(int fd, unsigned long request, ...)');
const cEventfd = bind('int eventfd(unsigned int initial, int flags)');
const cSocket = bind('int socket(int family, int type, int protocol)');
const cBind = bind('int bind(int fd, uintptr_t address, unsigned int length)');
const cConnect = bind('int connect(int fd, uintptr_t address, unsigned int length)');
const cSetsockopt = bind('int setsockopt(int fd, int level, int name, uintptr_t value, unsigned int length)');
const cMadvise = bind('int madvise(uintptr_t address, size_t length, int advice)');
const cPrctl = bind('int prctl(int option, ...)');
const cCapset = bind('int capset(uintptr_t header, uintptr_t data)');
const cSetrlimit = bind('int setrlimit(int resource, uintptr_t limit)');
const cGettid = bind('int gettid()');
const cSetns = bind('int setns(int fd, int type)');
const cIfNametoindex = bind('unsigned int if_nametoindex(const char *name)');

/** Open flags, uapi/asm-generic/fcntl.h. */
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

/** uapi/asm-generic/fcntl.h. */
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Socket types and flags, include/linux/net.h. */
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
const SOCK_NONBLOCK = O_NONBLOCK;
const SOCK_CLOEXEC = O_CLOEXEC;

/** uapi/asm-generic/socket.h. */
export const SOL_SOCKET = 1;
export const SO_RCVBUF = 8;
export const SO_RCVBUFFORCE = 33;

/** recv flags, include/linux/socket.h. */
export const MSG_TRUNC = 0x20;

/** poll events, uapi/asm-generic/poll.h. */
export const POLLIN = 0x1;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;

/** uapi/linux/prctl.h. */
const PR_SET_PDEATHSIG = 1;
const PR_CAPBSET_DROP = 24;
const PR_SET_TIMERSLACK = 29;
const SIGKILL = 9;

/** uapi/linux/sched.h. */
export const CLONE_NEWNET = 0x40000000;

/** madvise advice, uapi/asm-generic/mman-common.h. */
export const MADV_HUGEPAGE = 14;

/**
 * Address of a buffer's first byte. A backing store never moves and lives as long as an ArrayBuffer over it, so the
 * address stays right while the caller holds the buffer (a detached or resized one is a different matter: don't).
 */
export function addressOf(memory: ArrayBuffer | SharedArrayBuffer | ArrayBufferView): number {
  return Number(koffi.address(memory));
}

/** Bytes read, 0 at the end of the file, or -errno. */
export function read(fd: number, address: number, length: number): number {
  const result = cRead(fd, address, length);
  return result < 0 ? -koffi.errno() : result;
}

/** Bytes written or -errno. */
export function write(fd: number, address: number, length: number): number {
  const result = cWrite(fd, address, length);
  return result < 0 ? -koffi.errno() : result;
}

/** Bytes received or -errno. @param flags MSG_* */
export function recv(fd: number, address: number, length: number, flags = 0): number {
  const result = cRecv(fd, address, length, flags);
  return result < 0 ? -koffi.errno() : result;
}

/** Bytes sent or -errno. @param flags MSG_* */
export function send(fd: number, address: number, length: number, flags = 0): number {
  const result = cSend(fd, address, length, flags);
  return result < 0 ? -koffi.errno() : result;
}

/**
 * New descriptor or -errno. `flags` O_*; close-on-exec is always added, so that child processes inherit nothing.
 * @param mode permissions of a file that is made (O_CREAT)
 */
export function open(path: string, flags: number, mode = 0): number {
  const result = cOpen(path, flags | O_CLOEXEC, 'unsigned int', mode);
  return result < 0 ? -koffi.errno() : result;
}

/** 0 or -errno. */
export function close(fd: number): number {
  return cClose(fd) < 0 ? -koffi.errno() : 0;
}

/** Takes the exclusive lock of an open file without waiting; it goes with the last descriptor of that opening. 0 or -errno. */
export function lockFile(fd: number): number {
  return cFlock(fd, LOCK_EX | LOCK_NB) < 0 ? -koffi.errno() : 0;
}

/** The call's result or -errno; `argument` is an integer or an address, as the request has it. */
export function ioctl(fd: number, request: number, argument: number): number {
  // The variadic part needs its type spelled out in koffi; a real variadic call is what every ABI expects of ioctl.
  const result = cIoctl(fd, request, 'uintptr_t', argument);
  return result < 0 ? -koffi.errno() : result;
}

/** New descriptor of a non-blocking event counter, or -errno (eventfd(2)). */
export function eventfd(): number {
  const result = cEventfd(0, O_CLOEXEC | O_NONBLOCK);
  return result < 0 ? -koffi.errno() : result;
}

/** New descriptor or -errno; close-on-exec and non-blocking are always added to `type`. */
export function socket(family: number, type: number, protocol: number): number {
  const result = cSocket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  return result < 0 ? -koffi.errno() : result;
}

/** 0 or -errno. @param address a sockaddr of the socket's family */
export function bindSocket(fd: number, address: Uint8Array): number {
  return cBind(fd, addressOf(address), address.byteLength) < 0 ? -koffi.errno() : 0;
}

/** 0 or -errno. @param address a sockaddr of the socket's family */
export function connectSocket(fd: number, address: Uint8Array): number {
  return cConnect(fd, addressOf(address), address.byteLength) < 0 ? -koffi.errno() : 0;
}

/** 0 or -errno. */
export function setsockopt(fd: number, level: number, name: number, value: Uint8Array | Int32Array): number {
  return cSetsockopt(fd, level, name, addressOf(value), value.byteLength) < 0 ? -koffi.errno() : 0;
}

/** 0 or -errno. The range is shrunk to whole pages of 4 KiB, because madvise wants an aligned start. */
export function madvise(address: number, length: number, advice: number): number {
  const start = Math.ceil(address / 4096) * 4096;
  const end = Math.floor((address + length) / 4096) * 4096;
  return cMadvise(start, Math.max(0, end - start), advice) < 0 ? -koffi.errno() : 0;
}

/**
 * How late the kernel may wake the calling thread to save wake-ups (PR_SET_TIMERSLACK); 50 us unless set. 0 or -errno.
 * @param nanos 1 or more; 0 restores the default
 */
export function setTimerSlack(nanos: number): number {
  return cPrctl(PR_SET_TIMERSLACK, 'unsigned long', nanos) < 0 ? -koffi.errno() : 0;
}

/** Thread id of the calling thread, as in /proc/self/task (gettid(2); glibc 2.30). */
export function gettid(): number {
  return cGettid();
}

/** The kernel kills this process when the one that started it ends (prctl(2), PR_SET_PDEATHSIG). 0 or -errno. */
export function dieWithParent(): number {
  return cPrctl(PR_SET_PDEATHSIG, 'unsigned long', SIGKILL) < 0 ? -koffi.errno() : 0;
}

/** Takes a capability out of the calling thread's bounding set (prctl(2), PR_CAPBSET_DROP). 0 or -errno. */
export function dropBounding(capability: number): number {
  return cPrctl(PR_CAPBSET_DROP, 'unsigned long', capability) < 0 ? -koffi.errno() : 0;
}

/** Sets the calling thread's capabilities (capset(2)). 0 or -errno. @param header, data addresses of the call's structures */
export function capset(header: number, data: number): number {
  return cCapset(header, data) < 0 ? -koffi.errno() : 0;
}

/** Sets both limits of a resource (setrlimit(2)). 0 or -errno. @param value 0 or more, below 2^32 */
export function setrlimit(resource: number, value: number): number {
  const limits = BigUint64Array.of(BigInt(value), BigInt(value));
  return cSetrlimit(resource, addressOf(limits)) < 0 ? -koffi.errno() : 0;
}

/** Moves the calling thread into a namespace. 0 or -errno. @param type CLONE_*, which the descriptor must be of */
export function setns(fd: number, type: number): number {
  return cSetns(fd, type) < 0 ? -koffi.errno() : 0;
}

/** Index of an interface of the current network namespace, 0 if there is none of that name, -errno otherwise. */
export function interfaceIndex(name: string): number {
  const index = cIfNametoindex(name);
  if (index > 0) return index;
  const errno = koffi.errno();
  return errno === 19 ? 0 : -errno;
}

/**
 * Descriptors to wait for together (ppoll(2)). Filled once, waited on many times without allocating.
 */
export class PollSet {
  /** struct pollfd {int fd; short events; short revents} (uapi/asm-generic/poll.h), 8 bytes each. */
  readonly #fds: Int32Array;
  readonly #shorts: Int16Array;
  readonly #address: number;
  /** struct timespec {long seconds; long nanoseconds}, set before each wait. */
  readonly #timespec = new BigInt64Array(2);
  readonly #timespecLow: Uint32Array;
  readonly #timespecAddress: number;
  #count = 0;

  /** @param capacity most descriptors that will be added */
  constructor(capacity: number) {
    this.#fds = new Int32Array(capacity * 2);
    this.#shorts = new Int16Array(this.#fds.buffer);
    this.#address = addressOf(this.#fds);
    this.#timespecLow = new Uint32Array(this.#timespec.buffer);
    this.#timespecAddress = addressOf(this.#timespec);
  }

  /** Adds a descriptor and returns its slot. A negative descriptor is ignored by the kernel. */
  add(fd: number, events: number): number {
    const slot = this.#count++;
    this.#fds[slot * 2] = fd;
    this.#shorts[slot * 4 + 2] = events;
    return slot;
  }

  /** Watches another descriptor in a slot; a negative one pauses it. */
  set(slot: number, fd: number): void {
    this.#fds[slot * 2] = fd;
    this.#shorts[slot * 4 + 3] = 0;
  }

  /** What happened on a slot at the last `wait`: POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL. */
  revents(slot: number): number {
    return this.#shorts[slot * 4 + 3]!;
  }

  /**
   * Waits until a descriptor is ready.
   * @param timeoutMicros how long at most; 0 looks without waiting; Infinity waits for ever
   * @returns ready descriptors; 0 on time-out or a signal; -errno
   */
  wait(timeoutMicros: number): number {
    let timeout = 0;
    if (timeoutMicros < 4e12) {
      const micros = timeoutMicros > 0 ? Math.ceil(timeoutMicros) : 0;
      const whole = Math.floor(micros / 1e6);
      // Low halves only: a BigInt per wait would allocate. Seconds stay below 2^32 by the limit above.
      this.#timespecLow[LOW] = whole;
      this.#timespecLow[2 + LOW] = (micros - whole * 1e6) * 1000;
      timeout = this.#timespecAddress;
    }
    const result = cPpoll(this.#address, this.#count, timeout, 0);
    if (result >= 0) return result;
    const errno = koffi.errno();
    // revents are unspecified after a failure: a signal must not leave stale ones to be acted upon.
    for (let slot = 0; slot < this.#count; slot++) this.#shorts[slot * 4 + 3] = 0;
    return errno === EINTR ? 0 : -errno;
  }
}

/** Index of the low half of a 64-bit value seen as two 32-bit ones: 0 on little-endian machines. */
const LOW = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;
