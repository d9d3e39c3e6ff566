import { describe, expect, test } from 'vitest';
import { ipOffset } from '../../src/capture/link-layer.ts';

const IP4 = [0x45, 0, 0, 20];
const IP6 = [0x60, 0, 0, 0];
const MACS = new Array<number>(12).fill(0xaa);
const pad = (count: number): number[] => new Array<number>(count).fill(0);

describe('the IP packet in a frame', () => {
  test.each<[string, number, number[], number]>([
    ['raw', 101, IP4, 0],
    ['raw IPv6', 101, IP6, 0],
    ['raw, numbered as by OpenBSD', 14, IP4, 0],
    ['raw, numbered as by FreeBSD', 12, IP6, 0],
    ['LINKTYPE_IPV4', 228, IP4, 0],
    ['LINKTYPE_IPV6', 229, IP6, 0],
    ['raw, but neither version', 101, [0x55, 0], -1],
    ['raw, empty', 101, [], -1],
    ['Ethernet', 1, [...MACS, 8, 0, ...IP4], 14],
    ['Ethernet, IPv6', 1, [...MACS, 0x86, 0xdd, ...IP6], 14],
    ['Ethernet, ARP', 1, [...MACS, 8, 6, ...IP4], -1],
    ['Ethernet, 802.3 length', 1, [...MACS, 0, 46, ...IP4], -1],
    ['Ethernet, cut behind the type', 1, [...MACS, 8, 0], -1],
    ['Ethernet, cut in the type', 1, [...MACS, 8], -1],
    ['VLAN', 1, [...MACS, 0x81, 0, 0, 5, 8, 0, ...IP4], 18],
    ['VLAN in VLAN', 1, [...MACS, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 5, 0x86, 0xdd, ...IP6], 22],
    ['VLAN, cut in the tag', 1, [...MACS, 0x81, 0, 0], -1],
    ['tags without end', 1, [...MACS, ...new Array(20).fill([0x81, 0, 0, 1]).flat(), 8, 0, ...IP4], -1],
    ['Linux cooked v1', 113, [...pad(14), 8, 0, ...IP4], 16],
    ['Linux cooked v1 with VLAN', 113, [...pad(14), 0x81, 0, 0, 9, 8, 0, ...IP4], 20],
    ['Linux cooked v1, no IP', 113, [...pad(14), 0, 4, ...IP4], -1],
    ['Linux cooked v2', 276, [8, 0, ...pad(18), ...IP4], 20],
    ['Linux cooked v2, no IP', 276, [8, 6, ...pad(18), ...IP4], -1],
    ['loopback, little-endian', 0, [2, 0, 0, 0, ...IP4], 4],
    ['loopback, big-endian', 0, [0, 0, 0, 2, ...IP4], 4],
    ['loopback, IPv6 of macOS', 0, [30, 0, 0, 0, ...IP6], 4],
    ['loopback, IPv6 of FreeBSD', 0, [0, 0, 0, 28, ...IP6], 4],
    ['loopback of OpenBSD', 108, [0, 0, 0, 24, ...IP6], 4],
    ['loopback, another family', 0, [7, 0, 0, 0, ...IP4], -1],
    ['loopback, cut', 0, [2, 0], -1],
    ['a link type that is not known', 147, IP4, -1],
  ])('%s', (_name, linkType, bytes, offset) => {
    expect(ipOffset(linkType, Uint8Array.from(bytes))).toBe(offset);
  });
});
