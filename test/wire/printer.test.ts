import { describe, expect, it } from 'vitest';
import { emitUnreachable, UnreachableSpec } from '../../src/wire/emit.ts';
import { describePacket, formatFlags, formatKind } from '../../src/wire/printer.ts';
import { ACK, AE, FIN, PSH, RST, SYN } from '../../src/wire/tcp-flags.ts';
import { UdpHeader } from '../../src/wire/udp.ts';
import { AT, Workbench } from './workbench.ts';

describe('one line per packet', () => {
  it('TCP data', () => {
    const bench = new Workbench();
    Object.assign(bench.spec, { seq: 1, ack: 1, hasTs: true, tsVal: 1, tsEcr: 2 });
    bench.payload(1448);
    expect(describePacket(bench.build())).toBe(
      '10.1.0.2:40000 > 10.2.0.2:80 [.] seq 1:1449 ack 1 win 502 <ts 1 2> len 1448',
    );
  });

  it('TCP SYN over IPv6, with its options', () => {
    const bench = new Workbench();
    const { spec } = bench;
    Object.assign(spec, { family: 6, seq: -1, flags: SYN, mss: 1440, windowScale: 7, sackPermitted: true });
    spec.userTimeout = 0x8002;
    expect(describePacket(bench.build())).toBe(
      '[a01:2:2001:db8:0:7:a02:2]:40000 > [a02:2:2001:db8:0:9:ffff:fffe]:80 [S] seq 4294967295:0 win 502 ' +
        '<mss 1440,wscale 7,sackOK,uto 2min> len 0',
    );
  });

  it('TCP with SACK blocks, and a super-packet', () => {
    const bench = new Workbench();
    const { spec } = bench;
    Object.assign(spec, { seq: 0, ack: -1, sack: Int32Array.from([-2, 5, 10, 20]), sackCount: 2 });
    Object.assign(spec, { vnetLength: 10, gsoSize: 500 });
    bench.payload(1200);
    expect(describePacket(bench.build())).toBe(
      '10.1.0.2:40000 > 10.2.0.2:80 [.] seq 0:1200 ack 4294967295 win 502 <sack 4294967294:5 10:20> len 1200 gso 500',
    );
  });

  it('ICMP errors with what they quote', () => {
    const bench = new Workbench();
    const spec = new UnreachableSpec();
    Object.assign(spec.quoted, bench.spec, { seq: 77 });
    Object.assign(spec, { addresses: bench.spec.addresses, srcAt: 4, dstAt: 0 });
    const { p } = bench;
    p.parse(AT, emitUnreachable(p.bytes, p.view, AT, spec), 0);
    expect(describePacket(p)).toBe(
      '10.2.0.2 > 10.1.0.2 icmp 3/0 quoting 10.1.0.2:40000 > 10.2.0.2:80 protocol 6 seq 77',
    );
    p.view.setUint8(p.payloadAt, 8);
    expect(describePacket(p)).toBe('10.2.0.2 > 10.1.0.2 icmp 8/0 len 48');
  });

  it('UDP, other protocols and malformed packets', () => {
    const bench = new Workbench(4096);
    bench.payload(12);
    bench.build();
    const raw = [...bench.raw()];
    raw[9] = 17;
    raw[24] = 0;
    raw[25] = 32;
    bench.place(raw);
    expect(describePacket(bench.p)).toBe('10.1.0.2:40000 > 10.2.0.2:80 udp len 24');
    raw[25] = 33;
    bench.place(raw);
    expect(describePacket(bench.p)).toBe('10.1.0.2 > 10.2.0.2 protocol 17 len 32');
    raw[0] = 0x55;
    bench.place(raw);
    expect(describePacket(bench.p)).toBe('malformed (ip-version) length 52');
  });

  it('flags and kinds by name', () => {
    expect(formatFlags(0)).toBe('none');
    expect(formatFlags(SYN | ACK)).toBe('S.');
    expect(formatFlags(FIN | PSH | ACK)).toBe('FP.');
    expect(formatFlags(RST | AE)).toBe('Re');
    expect([1, 2, 3, 4].map(formatKind)).toEqual(['tcp', 'fragment', 'other', 'malformed']);
  });
});

describe('UDP header', () => {
  it('reads the datagram by its stated length', () => {
    const udp = new UdpHeader();
    const view = new DataView(Uint8Array.from([0, 53, 1, 0, 0, 10, 0xab, 0xcd, 1, 2, 3]).buffer);
    expect(udp.parse(view, 0, 11)).toBe(true);
    expect({ ...udp }).toEqual({ srcPort: 53, dstPort: 256, payloadAt: 8, payloadLength: 2, checksum: 0xabcd });
    view.setUint16(4, 0);
    expect(udp.parse(view, 0, 11)).toBe(true);
    expect(udp.payloadLength).toBe(3);
    for (const [stated, end] of [
      [7, 11],
      [12, 11],
      [10, 7],
      [10, 12],
    ]) {
      view.setUint16(4, stated);
      expect(udp.parse(view, 0, end)).toBe(false);
    }
    expect(udp.parse(view, -1, 10)).toBe(false);
  });
});
