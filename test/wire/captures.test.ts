import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/wire/address.ts';
import { KIND_OTHER, KIND_TCP, type Packet } from '../../src/wire/packet.ts';
import { setAck, verifyChecksums } from '../../src/wire/rewrite.ts';
import { expectedRows, fixtureNames, readCapture } from './pcap-fixtures.ts';
import { AT, Workbench } from './workbench.ts';

/** The decoder's reading in the columns of the expectation files. */
function asRow(p: Packet, number: number): Record<string, string> {
  const { view } = p;
  const src = formatAddress(view, p.srcAt, p.family);
  const dst = formatAddress(view, p.dstAt, p.family);
  const edges = (offset: number): string =>
    Array.from({ length: p.sackCount }, (_, i) => view.getUint32(p.sackAt + 8 * i + offset)).join(',');
  const optional = (value: number): string => (value < 0 ? '' : String(value));
  return {
    number: String(number),
    ip4src: p.family === 4 ? src : '',
    ip6src: p.family === 6 ? src : '',
    ip4dst: p.family === 4 ? dst : '',
    ip6dst: p.family === 6 ? dst : '',
    srcPort: String(p.srcPort),
    dstPort: String(p.dstPort),
    seq: String(p.seq >>> 0),
    ack: String(p.ack >>> 0),
    flags: `0x${p.flags.toString(16).padStart(4, '0')}`,
    window: String(p.window),
    payload: String(p.payloadLength),
    mss: optional(p.mss),
    wscale: optional(p.windowScale),
    tsVal: p.tsAt < 0 ? '' : String(p.tsVal >>> 0),
    tsEcr: p.tsAt < 0 ? '' : String(p.tsEcr >>> 0),
    sackLeft: edges(0),
    sackRight: edges(4),
    // 1: right, 0: wrong, as tshark numbers it.
    checksum: verifyChecksums(p) ? '1' : '0',
  };
}

describe('recorded packets read as tshark reads them', () => {
  const names = fixtureNames().filter((name) => !name.startsWith('icmp'));

  it('covers what the fixtures are for', () => {
    expect(names).toHaveLength(11);
  });

  it.each(names)('%s', (name) => {
    const bench = new Workbench(1 << 15);
    const packets = readCapture(name);
    const rows = expectedRows(name);
    expect(packets).toHaveLength(rows.length);
    packets.forEach((packet, i) => {
      expect(bench.place(packet)).toBe(KIND_TCP);
      const { p } = bench;
      const { kinds, wscale, ...expected } = rows[i];
      const shift = wscale === '' ? '' : String(Math.min(Number(wscale), 14));
      expect(asRow(p, i + 1)).toEqual({ ...expected, wscale: shift });
      const kindList = kinds.split(',').map(Number);
      expect(p.mptcp).toBe(kindList.includes(30));
      expect(p.sackPermitted).toBe(kindList.includes(4));
      expect(p.userTimeout >= 0).toBe(kindList.includes(28));
      expect(p.md5 || p.ao || p.fastOpen).toBe(false);
      const right = verifyChecksums(p);
      setAck(p, p.ack + 1);
      expect(verifyChecksums(p)).toBe(right);
    });
  });

  it('option-27.pcap carries a user timeout of 1 s', () => {
    const bench = new Workbench(4096);
    bench.place(readCapture('option-27.pcap')[0]);
    expect(bench.p.userTimeout).toBe(1);
  });

  it('icmp_echo.pcapng holds eight packets of protocol 1', () => {
    const bench = new Workbench(4096);
    const packets = readCapture('icmp_echo.pcapng');
    expect(packets).toHaveLength(8);
    for (const packet of packets) {
      expect(bench.place(packet)).toBe(KIND_OTHER);
      expect(bench.p.protocol).toBe(1);
      expect([0, 8]).toContain(bench.p.bytes[AT + 20]);
    }
  });
});
