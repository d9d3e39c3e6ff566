/** The kernel's filter programs of the packet tap, run by a small machine of the test's own. */
import { describe, expect, test } from 'vitest';
import {
  emitProgram,
  type Instruction,
  JEQ,
  JSET,
  LDB,
  LDB_X,
  LDH,
  LDH_X,
  LDX_HEADER,
  RET,
  TAP_BYTES,
  TAP_IPV4,
  TAP_IPV6,
} from '../../src/native/packet-filter.ts';
import { udp4, udp6 } from '../wire/dhcp-messages.ts';

/** As bpf(4) and net/core/filter.c say: a load beyond the packet ends with 0. */
function run(program: readonly Instruction[], packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  let a = 0;
  let x = 0;
  for (let at = 0; at < program.length; at++) {
    const { code, jt, jf, k } = program[at]!;
    const relative = code === LDB_X || code === LDH_X ? x + k : k;
    const size = code === LDH || code === LDH_X ? 2 : 1;
    if (code !== RET && code !== JEQ && code !== JSET && relative + size > packet.length) return 0;
    if (code === LDB || code === LDB_X) a = view.getUint8(relative);
    else if (code === LDH || code === LDH_X) a = view.getUint16(relative);
    else if (code === LDX_HEADER) x = 4 * (view.getUint8(k) & 0x0f);
    else if (code === JEQ) at += a === k ? jt : jf;
    else if (code === JSET) at += (a & k) !== 0 ? jt : jf;
    else if (code === RET) return k;
    else throw new Error(`code ${code}`);
  }
  throw new Error('no return');
}

function ip4(protocol: number, payload: readonly number[], { options = 0, fragment = 0 } = {}): Uint8Array {
  const header = Array<number>(20 + options).fill(0);
  header[0] = 0x40 | (header.length / 4);
  header[6] = fragment >> 8;
  header[7] = fragment & 0xff;
  header[9] = protocol;
  return Uint8Array.of(...header, ...payload, 0, 0, 0, 0, 0, 0);
}

function ip6(next: number, payload: readonly number[]): Uint8Array {
  const header = Array<number>(40).fill(0);
  header[0] = 0x60;
  header[6] = next;
  return Uint8Array.of(...header, ...payload, 0, 0, 0, 0, 0, 0);
}

describe('IPv4', () => {
  test.each([
    ['net unreachable', ip4(1, [3, 0]), true],
    ['host unreachable behind IP options', ip4(1, [3, 1], { options: 8 }), true],
    ['administratively prohibited', ip4(1, [3, 13]), true],
    ['time exceeded', ip4(1, [11, 0]), true],
    ['fragmentation needed', ip4(1, [3, 4]), true],
    ['echo request', ip4(1, [8, 0]), false],
    ['echo reply', ip4(1, [0, 0]), false],
    ['a later fragment', ip4(1, [3, 0], { fragment: 100 }), false],
    ['a first fragment', ip4(1, [3, 0], { fragment: 0x2000 }), true],
    ['to the DHCP server', udp4([10, 0, 0, 9], 68, 67, new Uint8Array(4)), true],
    ['to the DHCP client', udp4([10, 0, 0, 1], 67, 68, new Uint8Array(4)), true],
    ['from the DHCP port to another', udp4([10, 0, 0, 1], 67, 69, new Uint8Array(4)), false],
    ['TCP', ip4(6, [0, 67, 0, 67]), false],
    ['cut off', ip4(1, []).slice(0, 20), false],
  ])('%s', (_name, packet, passes) => {
    expect(run(TAP_IPV4, packet)).toBe(passes ? TAP_BYTES : 0);
  });
});

describe('IPv6', () => {
  test.each([
    ['unreachable', ip6(58, [1, 0]), true],
    ['time exceeded', ip6(58, [3, 0]), true],
    ['packet too big', ip6(58, [2, 0]), true],
    ['echo request', ip6(58, [128, 0]), false],
    ['neighbour solicitation', ip6(58, [135, 0]), false],
    ['to the DHCPv6 server', udp6(546, 547, new Uint8Array(4)), true],
    ['to the DHCPv6 client', udp6(547, 546, new Uint8Array(4)), true],
    ['other UDP', udp6(547, 548, new Uint8Array(4)), false],
    ['TCP', ip6(6, [0, 0, 2, 0x22]), false],
  ])('%s', (_name, packet, passes) => {
    expect(run(TAP_IPV6, packet)).toBe(passes ? TAP_BYTES : 0);
  });
});

test('a program is eight bytes an instruction', () => {
  const bytes = emitProgram(TAP_IPV4);
  expect(bytes.length).toBe(8 * TAP_IPV4.length);
  const halves = new Uint16Array(bytes.buffer);
  const words = new Uint32Array(bytes.buffer);
  expect(TAP_IPV4.every(({ code, k }, at) => halves[4 * at] === code && words[2 * at + 1] === k)).toBe(true);
});
