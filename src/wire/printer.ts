/** One line per packet, for logs, tests and replays. Builds strings, so never called in the steady state. */
import { formatAddress, formatEndpoint } from './address.ts';
import { ICMP_HEADER_LENGTH, IcmpError } from './icmp.ts';
import {
  KIND_FRAGMENT,
  KIND_MALFORMED,
  KIND_TCP,
  MALFORMED_NONE,
  MALFORMED_REASONS,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_UDP,
} from './kinds.ts';
import type { Packet } from './packet.ts';
import { ACK, AE, CWR, ECE, FIN, PSH, RST, SYN, URG } from './tcp-flags.ts';
import { UdpHeader } from './udp.ts';
import { GSO_ECN, GSO_NONE } from './virtio.ts';

export { formatAddress, formatEndpoint } from './address.ts';

/** Letters as in tcpdump, so that what is known from there can be read here. */
const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [FIN, 'F'],
  [SYN, 'S'],
  [RST, 'R'],
  [PSH, 'P'],
  [ACK, '.'],
  [URG, 'U'],
  [ECE, 'E'],
  [CWR, 'W'],
  [AE, 'e'],
];

/** Control bits as letters, e.g. "S." for SYN and ACK; "none" when no bit is set. */
export function formatFlags(flags: number): string {
  const text = FLAG_LETTERS.filter(([bit]) => (flags & bit) !== 0).map(([, letter]) => letter);
  return text.length === 0 ? 'none' : text.join('');
}

/**
 * The packet that `p` decoded last, in one line such as
 * `10.1.0.2:40000 > 10.2.0.2:80 [.] seq 1:1449 ack 1 win 502 <ts 1 2> len 1448`. Sequence numbers are absolute.
 */
export function describePacket(p: Packet): string {
  if (p.reason !== MALFORMED_NONE) return `malformed (${MALFORMED_REASONS[p.reason]}) length ${p.length}`;
  return p.tcpAt >= 0 ? describeTcp(p) : describeOther(p);
}

/** The name of a KIND_ constant. */
export function formatKind(kind: number): string {
  if (kind === KIND_TCP) return 'tcp';
  if (kind === KIND_FRAGMENT) return 'fragment';
  return kind === KIND_MALFORMED ? 'malformed' : 'other';
}

function describeTcp(p: Packet): string {
  const { view, family } = p;
  const parts = [
    formatEndpoint(view, p.srcAt, family, p.srcPort),
    '>',
    formatEndpoint(view, p.dstAt, family, p.dstPort),
    `[${formatFlags(p.flags)}]`,
    `seq ${p.seq >>> 0}${p.segLength > 0 ? `:${(p.seq + p.segLength) >>> 0}` : ''}`,
  ];
  if ((p.flags & ACK) !== 0) parts.push(`ack ${p.ack >>> 0}`);
  parts.push(`win ${p.window}`);
  if ((p.flags & URG) !== 0) parts.push(`urg ${p.urgent}`);
  const options = describeOptions(p);
  if (options.length > 0) parts.push(`<${options.join(',')}>`);
  parts.push(`len ${p.payloadLength}`);
  if ((p.gsoType & ~GSO_ECN) !== GSO_NONE) parts.push(`gso ${p.gsoSize}`);
  return parts.join(' ');
}

function describeOptions(p: Packet): string[] {
  const options: string[] = [];
  if (p.mss >= 0) options.push(`mss ${p.mss}`);
  if (p.windowScale >= 0) options.push(`wscale ${p.windowScale}`);
  if (p.sackPermitted) options.push('sackOK');
  if (p.tsAt >= 0) options.push(`ts ${p.tsVal >>> 0} ${p.tsEcr >>> 0}`);
  if (p.sackAt >= 0) {
    let blocks = '';
    for (let i = 0; i < p.sackCount; i += 1) {
      blocks += ` ${p.view.getUint32(p.sackAt + 8 * i)}:${p.view.getUint32(p.sackAt + 8 * i + 4)}`;
    }
    options.push(`sack${blocks}`);
  }
  if (p.userTimeout >= 0) {
    options.push(`uto ${p.userTimeout & 0x7fff}${(p.userTimeout & 0x8000) === 0 ? 's' : 'min'}`);
  }
  if (p.fastOpen) options.push('tfo');
  if (p.md5) options.push('md5');
  if (p.ao) options.push('ao');
  if (p.mptcp) options.push('mptcp');
  if (p.optionsMalformed) options.push('malformed');
  return options;
}

function describeOther(p: Packet): string {
  const { view, family } = p;
  const src = formatAddress(view, p.srcAt, family);
  const dst = formatAddress(view, p.dstAt, family);
  if (p.protocol === PROTOCOL_UDP) {
    const udp = new UdpHeader();
    if (udp.parse(view, p.payloadAt, p.end)) {
      const from = formatEndpoint(view, p.srcAt, family, udp.srcPort);
      return `${from} > ${formatEndpoint(view, p.dstAt, family, udp.dstPort)} udp len ${udp.payloadLength}`;
    }
  }
  const isIcmp = p.protocol === (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
  if (isIcmp && p.payloadLength >= ICMP_HEADER_LENGTH) {
    const type = `${view.getUint8(p.payloadAt)}/${view.getUint8(p.payloadAt + 1)}`;
    const error = new IcmpError();
    if (!error.parse(view, p.payloadAt, p.end, family)) return `${src} > ${dst} icmp ${type} len ${p.payloadLength}`;
    const from = formatEndpoint(view, error.srcAt, family, error.srcPort);
    const to = formatEndpoint(view, error.dstAt, family, error.dstPort);
    const mtu = error.mtu > 0 ? ` mtu ${error.mtu}` : '';
    const seq = error.hasSeq ? ` seq ${error.seq >>> 0}` : '';
    return `${src} > ${dst} icmp ${type}${mtu} quoting ${from} > ${to} protocol ${error.protocol}${seq}`;
  }
  return `${src} > ${dst} protocol ${p.protocol} len ${p.payloadLength}`;
}
