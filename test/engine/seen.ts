/**
 * What was seen on the wire, in the terms of one conversation, and small statements about it that can be combined:
 *
 *   expectPacket(seen, toNear, flags('.'), ack(1001), window(0), ts(2000, 1000));
 *
 * A statement returns a complaint or null. Checksums are verified for every packet, whether it is asked for or not.
 */
import { expect } from 'vitest';
import { IcmpError } from '../../src/wire/icmp.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { describePacket, formatFlags } from '../../src/wire/printer.ts';
import { slowSum, slowTcpResidue } from '../wire/workbench.ts';

/** Who is who, for turning absolute into relative sequence numbers. */
export interface Parties {
  readonly nearPort: number;
  readonly farPort: number;
  readonly nearIsn: number;
  readonly farIsn: number;
  readonly vnet: 0 | 10;
}

export interface Seen {
  readonly at: number;
  readonly text: string;
  readonly isTcp: boolean;
  readonly to: 'near' | 'far';
  readonly flags: number;
  /** Relative: 0 is the sender's SYN. */
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly tsVal: number | null;
  readonly tsEcr: number | null;
  /** Relative edges, flat. */
  readonly sack: readonly number[];
  readonly payload: Uint8Array;
  readonly ttl: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly checksumsRight: boolean;
  /** ICMP: type, code and relative sequence number of the quoted segment. */
  readonly icmp: { readonly type: number; readonly code: number; readonly seq: number } | null;
}

/** Decodes a packet; throws when it is neither TCP nor an ICMP error of this conversation. */
export function decode(bytes: Uint8Array, at: number, parties: Parties): Seen {
  const p = new Packet();
  const copy = bytes.slice();
  p.attach(copy.buffer);
  const kind = p.parse(0, copy.length, parties.vnet);
  const text = describePacket(p);
  if (kind !== KIND_TCP) return decodeIcmp(p, text, at, parties);
  const fromNear = p.srcPort === parties.nearPort && p.dstPort === parties.farPort;
  if (!fromNear && !(p.srcPort === parties.farPort && p.dstPort === parties.nearPort))
    throw new Error(`alien: ${text}`);
  const [own, other] = fromNear ? [parties.nearIsn, parties.farIsn] : [parties.farIsn, parties.nearIsn];
  const sack: number[] = [];
  for (let i = 0; i < 2 * p.sackCount; i++) sack.push((p.view.getInt32(p.sackAt + 4 * i) - other) | 0);
  return {
    at,
    text,
    isTcp: true,
    to: fromNear ? 'far' : 'near',
    flags: p.flags,
    seq: (p.seq - own) | 0,
    ack: (p.ack - other) | 0,
    window: p.window,
    tsVal: p.tsAt >= 0 ? p.tsVal : null,
    tsEcr: p.tsAt >= 0 ? p.tsEcr : null,
    sack,
    payload: copy.slice(p.payloadAt, p.end),
    ttl: p.ttl,
    trafficClass: p.trafficClass,
    flowLabel: p.flowLabel,
    checksumsRight: p.needsChecksum || (slowTcpResidue(p) === 0xffff && ipSumRight(p)),
    icmp: null,
  };
}

function ipSumRight(p: Packet): boolean {
  return p.family === 6 || slowSum(p.bytes, p.ipAt, p.ipAt + ((p.bytes[p.ipAt]! & 15) << 2)) === 0xffff;
}

function decodeIcmp(p: Packet, text: string, at: number, parties: Parties): Seen {
  const error = new IcmpError();
  if (!error.parse(p.view, p.payloadAt, p.end, p.family)) throw new Error(`neither TCP nor an ICMP error: ${text}`);
  const toNear = error.srcPort === parties.nearPort && error.dstPort === parties.farPort;
  if (!toNear && !(error.srcPort === parties.farPort && error.dstPort === parties.nearPort)) {
    throw new Error(`alien: ${text}`);
  }
  const { bytes } = p;
  const length = p.end - p.payloadAt;
  // ICMPv6 covers a pseudo-header (RFC 4443 2.3), ICMP does not.
  const pseudo =
    p.family === 6
      ? slowSum([0, 0, length >> 8, length & 255, 0, 0, 0, 58], 0, 8, slowSum(bytes, p.srcAt, p.srcAt + 32))
      : 0;
  return {
    at,
    text,
    isTcp: false,
    to: toNear ? 'near' : 'far',
    flags: 0,
    seq: 0,
    ack: 0,
    window: 0,
    tsVal: null,
    tsEcr: null,
    sack: [],
    payload: new Uint8Array(0),
    ttl: p.ttl,
    trafficClass: p.trafficClass,
    flowLabel: p.flowLabel,
    checksumsRight: slowSum(bytes, p.payloadAt, p.end, pseudo) === 0xffff && ipSumRight(p),
    icmp: {
      type: error.type,
      code: error.code,
      seq: (error.seq - (toNear ? parties.nearIsn : parties.farIsn)) | 0,
    },
  };
}

export type Statement = (seen: Seen) => string | null;

function equal(name: string, pick: (seen: Seen) => unknown, wanted: unknown): Statement {
  return (seen) => {
    const got = pick(seen);
    return Object.is(got, wanted) ? null : `${name} ${String(got)} instead of ${String(wanted)}`;
  };
}

export const toNear: Statement = equal('sent to', (seen) => seen.to, 'near');
export const toFar: Statement = equal('sent to', (seen) => seen.to, 'far');
/** Letters as the printer writes them: "." is ACK, "F." FIN and ACK. */
export const flags = (letters: string): Statement => equal('flags', (seen) => formatFlags(seen.flags), letters);
export const seq = (value: number): Statement => equal('seq', (seen) => seen.seq, value);
export const ack = (value: number): Statement => equal('ack', (seen) => seen.ack, value);
export const window = (raw: number): Statement => equal('window', (seen) => seen.window, raw);
export const tsVal = (value: number | null): Statement => equal('TSval', (seen) => seen.tsVal, value);
export const tsEcr = (value: number | null): Statement => equal('TSecr', (seen) => seen.tsEcr, value);
export const payloadLength = (bytes: number): Statement => equal('payload', (seen) => seen.payload.length, bytes);
export const ttl = (value: number): Statement => equal('TTL', (seen) => seen.ttl, value);
export const trafficClass = (value: number): Statement => equal('traffic class', (seen) => seen.trafficClass, value);
export const flowLabel = (value: number): Statement => equal('flow label', (seen) => seen.flowLabel, value);
export const sack = (...edges: number[]): Statement => equal('SACK', (seen) => seen.sack.join(','), edges.join(','));
/** ICMP that says "network unreachable" and quotes this sequence number. */
export const unreachable = (quoted: number, family: 4 | 6): Statement =>
  equal(
    'ICMP',
    (seen) => (seen.icmp === null ? 'none' : Object.values(seen.icmp).join('/')),
    `${family === 4 ? 3 : 1}/0/${quoted}`,
  );
export const content =
  (bytes: Uint8Array): Statement =>
  (seen) =>
    seen.payload.length === bytes.length && seen.payload.every((byte, i) => byte === bytes[i])
      ? null
      : `payload of ${seen.payload.length} bytes is not the ${bytes.length} bytes expected`;

/** Every statement about one packet holds, and its checksums are right. */
export function expectPacket(seen: Seen | undefined, ...statements: Statement[]): void {
  if (seen === undefined) {
    expect.fail('no packet');
  }
  const complaints = statements.map((statement) => statement(seen)).filter((complaint) => complaint !== null);
  if (!seen.checksumsRight) complaints.push('wrong checksum');
  expect(complaints, seen.text).toEqual([]);
}

/** As many packets as lists of statements, each as stated. */
export function expectPackets(all: readonly Seen[], ...wanted: readonly (readonly Statement[])[]): void {
  expect(all.map((seen) => seen.text)).toHaveLength(wanted.length);
  wanted.forEach((statements, i) => {
    expectPacket(all[i], ...statements);
  });
}
