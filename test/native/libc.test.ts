import { describe, expect, test } from 'vitest';
import { TcpfreezeError } from '../../src/base/errors.ts';
import { EAGAIN, EBADF, ENOENT, errnoName, systemError } from '../../src/native/errno.ts';
import {
  addressOf,
  close,
  eventfd,
  interfaceIndex,
  O_RDWR,
  open,
  POLLIN,
  POLLNVAL,
  PollSet,
  read,
  write,
} from '../../src/native/libc.ts';
import { openPacketSocket } from '../../src/native/packet-socket.ts';
import { isInterfaceName } from '../../src/native/tun.ts';

describe('calls by number and address', () => {
  test('what is written to an eventfd is read back from the same memory', () => {
    const fd = eventfd();
    const memory = new BigUint64Array(4);
    const address = addressOf(memory);
    expect(read(fd, address, 8)).toBe(-EAGAIN);
    memory[0] = 5n;
    expect(write(fd, address, 8)).toBe(8);
    memory[0] = 7n;
    expect(write(fd, address, 8)).toBe(8);
    expect(read(fd, address + 16, 8)).toBe(8);
    expect(memory[2]).toBe(12n);
    expect(close(fd)).toBe(0);
    expect(close(fd)).toBe(-EBADF);
  });

  test('addresses of views differ from that of their buffer by the offset', () => {
    const buffer = new ArrayBuffer(64);
    expect(addressOf(new Uint8Array(buffer, 24, 8)) - addressOf(buffer)).toBe(24);
    expect(Number.isSafeInteger(addressOf(buffer))).toBe(true);
  });

  test('failures are negative errno values', () => {
    expect(open('/nonexistent/file', O_RDWR)).toBe(-ENOENT);
    expect(read(-1, 0, 0)).toBe(-EBADF);
  });

  test('interfaces are looked up by name', () => {
    expect(interfaceIndex('lo')).toBeGreaterThan(0);
    expect(interfaceIndex('no-such-if')).toBe(0);
  });
});

describe('poll sets', () => {
  test('report which descriptor is ready, and time out with microseconds', () => {
    const first = eventfd();
    const second = eventfd();
    const set = new PollSet(2);
    const a = set.add(first, POLLIN);
    const b = set.add(second, POLLIN);
    expect(set.wait(0)).toBe(0);
    const started = performance.now();
    expect(set.wait(20_000)).toBe(0);
    const took = performance.now() - started;
    expect(took).toBeGreaterThanOrEqual(20);
    const one = BigUint64Array.of(1n);
    write(second, addressOf(one), 8);
    expect(set.wait(Number.POSITIVE_INFINITY)).toBe(1);
    expect(set.revents(a)).toBe(0);
    expect(set.revents(b)).toBe(POLLIN);
    close(first);
    close(second);
    expect(set.wait(0)).toBe(2);
    expect(set.revents(a)).toBe(POLLNVAL);
  });

  test('a past deadline does not wait', () => {
    const fd = eventfd();
    const set = new PollSet(1);
    set.add(fd, POLLIN);
    expect(set.wait(-5_000_000)).toBe(0);
    close(fd);
  });
});

describe('errors for people', () => {
  test('name the call, the errno and a remedy', () => {
    const error = systemError('socket(AF_PACKET)', -1);
    expect(error).toBeInstanceOf(TcpfreezeError);
    expect(error.code).toBe('SYSTEM_EPERM');
    expect(error.line()).toBe('socket(AF_PACKET) failed: EPERM; run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW');
    expect(systemError('x', 4095).code).toBe('SYSTEM_ERRNO_4095');
    expect(errnoName(-105)).toBe('ENOBUFS');
  });

  test('a packet socket on an unknown interface says so before it needs a privilege', () => {
    expect(() => openPacketSocket('no-such-if')).toThrow(/there is no interface no-such-if/);
  });

  test.each([
    ['tcpfreeze0', true],
    ['a', true],
    ['exactly15chars_', true],
    ['sixteen_chars_xx', false],
    ['', false],
    ['.', false],
    ['..', false],
    ['a/b', false],
    ['a:b', false],
    ['a b', false],
    ['a\0', false],
  ])('interface name %j valid: %s', (name, valid) => {
    expect(isInterfaceName(name)).toBe(valid);
  });
});
