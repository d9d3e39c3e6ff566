import { describe, expect, it } from 'vitest';
import {
  KIND_FRAGMENT,
  KIND_MALFORMED,
  KIND_OTHER,
  KIND_TCP,
  MALFORMED_BOUNDS,
  MALFORMED_IP_HEADER_LENGTH,
  MALFORMED_IP_TOTAL_LENGTH,
  MALFORMED_IP_TRUNCATED,
  MALFORMED_IP_VERSION,
  MALFORMED_IPV6_EXTENSION,
  MALFORMED_REASONS,
  MALFORMED_TCP_DATA_OFFSET,
  MALFORMED_TCP_TRUNCATED,
  MALFORMED_VNET_OFFLOAD,
  MALFORMED_VNET_TRUNCATED,
  Packet,
} from '../../src/wire/packet.ts';
import { ACK, AE, CWR, ECE, FIN, PSH, SYN, URG } from '../../src/wire/tcp-flags.ts';
import { sample, withExtensions } from './samples.ts';
import { AT, fieldsOf, Workbench } from './workbench.ts';

describe.each([4, 6] as const)('IPv%i', (family) => {
  it('decodes every field of the headers', () => {
    const bench = new Workbench();
    const { spec } = bench;
    spec.family = family;
    spec.ttl = 61;
    spec.flags = ACK | PSH | URG | ECE | CWR | AE;
    spec.urgent = 77;
    bench.payload(100);
    const p = bench.build();
    const ip = family === 4 ? 20 : 40;
    expect(fieldsOf(p)).toEqual({
      start: AT,
      length: ip + 120,
      vnetLength: 0,
      reason: 0,
      ipAt: AT,
      end: AT + ip + 120,
      family,
      protocol: 6,
      srcAt: AT + (family === 4 ? 12 : 8),
      dstAt: AT + (family === 4 ? 16 : 24),
      trafficClass: 0xb8,
      ttl: 61,
      flowLabel: family === 4 ? 0 : 0x9abcd,
      tcpAt: AT + ip,
      tcpHeaderLength: 20,
      payloadAt: AT + ip + 20,
      payloadLength: 100,
      srcPort: 40_000,
      dstPort: 80,
      seq: 0x7fff_fff0,
      ack: -5,
      flags: ACK | PSH | URG | ECE | CWR | AE,
      window: 502,
      urgent: 77,
      segLength: 100,
      mss: -1,
      windowScale: -1,
      sackPermitted: false,
      tsAt: -1,
      tsVal: 0,
      tsEcr: 0,
      sackAt: -1,
      sackCount: 0,
      userTimeout: -1,
      fastOpen: false,
      md5: false,
      ao: false,
      mptcp: false,
      optionsMalformed: false,
      needsChecksum: false,
      gsoType: 0,
      gsoSize: 0,
    });
  });

  it('counts SYN and FIN in the segment length', () => {
    const bench = new Workbench();
    bench.spec.family = family;
    bench.spec.flags = SYN;
    expect(bench.build().segLength).toBe(1);
    bench.payload(3);
    bench.spec.flags = SYN | FIN;
    expect(bench.build().segLength).toBe(5);
  });

  it('leaves nothing of the packet before in its fields', () => {
    const bench = new Workbench();
    const { spec, p } = bench;
    spec.family = family;
    bench.build();
    const clean = fieldsOf(p);
    spec.hasTs = true;
    spec.tsVal = 5;
    spec.mss = 1400;
    spec.windowScale = 7;
    spec.sackPermitted = true;
    spec.userTimeout = 3;
    bench.build();
    expect(p.mss).toBe(1400);
    Object.assign(spec, { hasTs: false, mss: -1, windowScale: -1, sackPermitted: false, userTimeout: -1 });
    bench.build();
    expect(fieldsOf(p)).toEqual(clean);
  });

  it('ignores bytes behind the datagram and refuses a datagram longer than the read', () => {
    const bench = new Workbench();
    const raw = sample(family);
    expect(bench.place([...raw, 1, 2, 3, 4, 5, 6])).toBe(KIND_TCP);
    expect(bench.p.payloadLength).toBe(5);
    expect(bench.p.end).toBe(AT + raw.length);
    expect(bench.place(raw.slice(0, -1))).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_IP_TOTAL_LENGTH);
  });

  it('refuses every truncation, with a reason, and never calls it TCP', () => {
    const bench = new Workbench(4096);
    const raw = sample(family);
    for (let length = 0; length < raw.length; length += 1) {
      expect(bench.place(raw.slice(0, length))).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBeGreaterThan(0);
    }
    expect(bench.place(raw)).toBe(KIND_TCP);
  });

  it('refuses a TCP header that is cut off or misstates its length', () => {
    const bench = new Workbench(4096);
    const ip = family === 4 ? 20 : 40;
    const short = sample(family).slice(0, ip + 19);
    if (family === 4) short[3] = 39;
    else short[5] = 19;
    expect(bench.place(short)).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_TCP_TRUNCATED);
    for (const offset of [0, 4, 7, 15]) {
      const raw = sample(family, 4);
      raw[ip + 12] = offset << 4;
      expect(bench.place(raw)).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBe(MALFORMED_TCP_DATA_OFFSET);
    }
  });

  it('hands UDP over as other, with its payload located', () => {
    const bench = new Workbench(4096);
    const raw = sample(family);
    raw[family === 4 ? 9 : 6] = 17;
    expect(bench.place(raw)).toBe(KIND_OTHER);
    expect(bench.p.protocol).toBe(17);
    expect(bench.p.payloadAt).toBe(AT + (family === 4 ? 20 : 40));
    expect(bench.p.payloadLength).toBe(25);
    expect(bench.p.tcpAt).toBe(-1);
  });
});

describe('IPv4 particulars', () => {
  it('refuses bad header lengths', () => {
    const bench = new Workbench(4096);
    for (const ihl of [0, 4, 15]) {
      const raw = sample(4, 0);
      raw[0] = 0x40 | ihl;
      expect(bench.place(raw)).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBe(MALFORMED_IP_HEADER_LENGTH);
    }
  });

  it('refuses a total length below its own header', () => {
    const bench = new Workbench(4096);
    const raw = sample(4);
    raw[3] = 19;
    expect(bench.place(raw)).toBe(KIND_MALFORMED);
    expect(bench.p.reason).toBe(MALFORMED_IP_TOTAL_LENGTH);
  });

  it('sees fragments by offset and by the more-fragments bit, not by DF', () => {
    const bench = new Workbench(4096);
    for (const [high, low, kind] of [
      [0x20, 0, KIND_FRAGMENT],
      [0, 1, KIND_FRAGMENT],
      [0x1f, 0xff, KIND_FRAGMENT],
      [0x40, 0, KIND_TCP],
      [0x80, 0, KIND_TCP],
      [0, 0, KIND_TCP],
    ]) {
      const raw = sample(4);
      raw[6] = high;
      raw[7] = low;
      expect(bench.place(raw)).toBe(kind);
      expect(bench.p.protocol).toBe(6);
    }
  });

  it('steps over IP options but does not follow source routes', () => {
    const bench = new Workbench(4096);
    const withOptions = (options: number[]): number[] => {
      const raw = sample(4);
      const out = [...raw.slice(0, 20), ...options, ...raw.slice(20)];
      out[0] = 0x40 | (5 + options.length / 4);
      out[3] += options.length;
      return out;
    };
    expect(bench.place(withOptions([148, 4, 0, 0]))).toBe(KIND_TCP);
    expect(bench.p.tcpAt).toBe(AT + 24);
    expect(bench.p.payloadLength).toBe(5);
    expect(bench.place(withOptions([1, 131, 7, 4, 1, 2, 3, 4]))).toBe(KIND_OTHER);
    expect(bench.place(withOptions([7, 3, 4, 137, 3, 4, 0, 0]))).toBe(KIND_OTHER);
    // Behind the end of the list, or inside another option, 131 is no source route.
    expect(bench.place(withOptions([0, 131, 3, 4]))).toBe(KIND_TCP);
    expect(bench.place(withOptions([148, 4, 131, 131]))).toBe(KIND_TCP);
    expect(bench.place(withOptions([7, 0, 131, 131]))).toBe(KIND_TCP);
  });
});

describe('the packet as a whole', () => {
  it('reads no byte behind a packet that ends within a header', () => {
    // Behind the end stands what would complete an option or an extension header.
    const bench = new Workbench(4096);
    const tcp = sample(4, 0);
    tcp[3] += 4;
    tcp[32] = 6 << 4;
    for (const [options, behind] of [
      [
        [1, 1, 1, 3],
        [3, 7],
      ],
      [
        [1, 1, 3, 3],
        [7, 0],
      ],
      [
        [1, 1, 1, 4],
        [2, 0],
      ],
      [
        [1, 1, 2, 4],
        [5, 5],
      ],
    ]) {
      expect(bench.place([...tcp, ...options, ...behind])).toBe(KIND_TCP);
      expect([bench.p.windowScale, bench.p.mss, bench.p.sackPermitted]).toEqual([-1, -1, false]);
      expect(bench.p.optionsMalformed).toBe(true);
      // With the buffer's end right behind it, a look further would throw.
      const exact = new Packet();
      exact.attach(Uint8Array.from([...tcp, ...options]).buffer);
      expect(exact.parse(0, tcp.length + 4, 0)).toBe(KIND_TCP);
      expect(exact.optionsMalformed).toBe(true);
    }
    for (let kept = 1; kept < 8; kept += 1) {
      for (const type of [0, 43, 44, 60]) {
        const raw = withExtensions([[type, [0, 0, 0, 0, 0, 0, 0, 0]]]);
        raw[5] = kept;
        expect(bench.place(raw)).toBe(KIND_MALFORMED);
        expect(bench.p.reason).toBe(MALFORMED_IPV6_EXTENSION);
      }
    }
  });

  it('refuses other IP versions', () => {
    const bench = new Workbench(4096);
    for (let version = 0; version < 16; version += 1) {
      if (version === 4 || version === 6) continue;
      const raw = sample(4);
      raw[0] = (version << 4) | 5;
      expect(bench.place(raw)).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBe(MALFORMED_IP_VERSION);
    }
  });

  it('refuses ranges outside the buffer and reads shorter than the virtio-net header', () => {
    const { p } = new Workbench(4096);
    for (const [offset, length] of [
      [-1, 40],
      [4090, 7],
      [0, -1],
      [5000, 10],
    ]) {
      expect(p.parse(offset, length, 0)).toBe(KIND_MALFORMED);
      expect(p.reason).toBe(MALFORMED_BOUNDS);
    }
    expect(p.parse(0, 10, 10)).toBe(KIND_MALFORMED);
    expect(p.reason).toBe(MALFORMED_VNET_TRUNCATED);
    expect(p.parse(0, 0, 0)).toBe(KIND_MALFORMED);
    expect(p.parse(0, 1, 0)).toBe(KIND_MALFORMED);
    p.bytes[0] = 0x45;
    expect(p.parse(0, 19, 0)).toBe(KIND_MALFORMED);
    expect(p.reason).toBe(MALFORMED_IP_TRUNCATED);
  });

  it('decodes a super-packet and its offload request', () => {
    const bench = new Workbench();
    bench.spec.vnetLength = 10;
    bench.spec.gsoSize = 1448;
    bench.payload(60_000);
    const p = bench.build();
    expect(p.needsChecksum).toBe(true);
    expect(p.gsoType).toBe(1);
    expect(p.gsoSize).toBe(1448);
    expect(p.payloadLength).toBe(60_000);
    expect(p.ipAt).toBe(AT + 10);
  });

  it('refuses offload requests that contradict the packet', () => {
    const raw = sample(4);
    const bench = new Workbench();
    const good = [1, 1, 40, 0, 2, 0, 20, 0, 16, 0];
    expect(bench.place([...good, ...raw], 10)).toBe(KIND_TCP);
    for (const bad of [
      [1, 0, 0, 0, 0, 0, 21, 0, 16, 0],
      [1, 0, 0, 0, 0, 0, 20, 0, 6, 0],
      [1, 0, 0, 0, 0, 0, 255, 255, 16, 0],
      [1, 4, 40, 0, 2, 0, 20, 0, 16, 0],
      [1, 3, 40, 0, 2, 0, 20, 0, 16, 0],
      [1, 1, 40, 0, 0, 0, 20, 0, 16, 0],
    ]) {
      expect(bench.place([...bad, ...raw], 10)).toBe(KIND_MALFORMED);
      expect(bench.p.reason).toBe(MALFORMED_VNET_OFFLOAD);
    }
  });

  it('has a name for every reason', () => {
    expect(MALFORMED_REASONS).toHaveLength(MALFORMED_TCP_DATA_OFFSET + 1);
    expect(new Set(MALFORMED_REASONS).size).toBe(MALFORMED_REASONS.length);
  });
});
