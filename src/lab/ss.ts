/**
 * What the kernel says about its TCP sockets: `ss -tinHO`, one line per socket. Parsed by name, because fields come and go with
 * the state of the connection and the version of iproute2 (misc/ss.c, tcp_stats_print).
 */
import type { Namespace } from './namespace.ts';

export interface SocketReading {
  /** `ESTAB`, `FIN-WAIT-1`, ... */
  readonly state: string;
  /** "address:port", brackets around IPv6, as ss prints it. */
  readonly local: string;
  readonly peer: string;
  /** Congestion control. */
  readonly congestion: string;
  /** Congestion window and slow-start threshold, segments; ssthresh is undefined while still infinite. */
  readonly cwnd: number;
  readonly ssthresh: number | undefined;
  /** Retransmission time-out, milliseconds, back-off included; and the number of back-offs. */
  readonly rtoMillis: number;
  readonly backoff: number;
  /** Smoothed round-trip time, milliseconds. */
  readonly rttMillis: number;
  readonly mss: number;
  /** Segments in flight. */
  readonly unacked: number;
  /** Segments held to be lost, and those that the receiver reported out of order (SACK): both 0 outside of loss recovery. */
  readonly lost: number;
  readonly sacked: number;
  /** Retransmitted segments outstanding now, and ever. */
  readonly retransmitsNow: number;
  readonly retransmitsTotal: number;
  readonly bytesRetransmitted: number;
  readonly bytesSent: number;
  readonly bytesAcked: number;
  readonly bytesReceived: number;
  /** Bytes per second that were delivered at the last measurement. */
  readonly deliveryRate: number;
  /** Send queue, bytes not acknowledged or not sent. */
  readonly sendQueue: number;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** Parses the output of `ss -tinHO`. Lines that are no sockets are left out. */
export function parseSs(text: string): SocketReading[] {
  const readings: SocketReading[] = [];
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    const [state, , sendQueue, local, peer] = words;
    if (state === undefined || local === undefined || peer === undefined || !/^\d+$/.test(sendQueue ?? '')) continue;
    readings.push(reading(state, Number(sendQueue), local, peer, words.slice(5)));
  }
  return readings;
}

function reading(state: string, sendQueue: number, local: string, peer: string, words: string[]): SocketReading {
  const fields = new Map<string, string>();
  const flags: string[] = [];
  for (const [index, word] of words.entries()) {
    const colon = word.indexOf(':');
    if (colon > 0) fields.set(word.slice(0, colon), word.slice(colon + 1));
    else if (word === 'delivery_rate') fields.set(word, words[index + 1] ?? '');
    else flags.push(word);
  }
  const number = (name: string): number => Number.parseFloat(fields.get(name) ?? '0');
  const retransmits = (fields.get('retrans') ?? '0/0').split('/');
  return {
    state,
    local,
    peer,
    // Printed without a name, after the flags of the handshake.
    congestion: flags.find((flag) => CONGESTION.has(flag)) ?? '',
    cwnd: number('cwnd'),
    ssthresh: fields.has('ssthresh') ? number('ssthresh') : undefined,
    rtoMillis: number('rto'),
    backoff: number('backoff'),
    rttMillis: number('rtt'),
    mss: number('mss'),
    unacked: number('unacked'),
    lost: number('lost'),
    sacked: number('sacked'),
    retransmitsNow: Number(retransmits[0]),
    retransmitsTotal: Number(retransmits[1] ?? 0),
    bytesRetransmitted: number('bytes_retrans'),
    bytesSent: number('bytes_sent'),
    bytesAcked: number('bytes_acked'),
    bytesReceived: number('bytes_received'),
    deliveryRate: rate(fields.get('delivery_rate') ?? ''),
    sendQueue,
  };
}

const CONGESTION: ReadonlySet<string> = new Set([
  'cubic',
  'reno',
  'bbr',
  'dctcp',
  'vegas',
  'westwood',
  'htcp',
  'illinois',
]);

/** "93.5Mbps" or "93500000bps" to bytes per second. */
function rate(text: string): number {
  const match = /^([\d.]+)([KMGT]?)bps$/.exec(text);
  return match ? (Number(match[1]) * (UNITS[match[2]!] ?? 1)) / 8 : 0;
}

/**
 * The connection of a given port in a namespace, seen from the end that opened it (`local`) or the other (`peer`).
 * @returns undefined when there is none (any more)
 */
export async function readSocket(
  namespace: Namespace,
  side: 'local' | 'peer',
  port: number,
): Promise<SocketReading | undefined> {
  const filter = side === 'local' ? 'sport' : 'dport';
  return parseSs(await namespace.exec('ss', ['-tinHO', filter, '=', `:${port}`]))[0];
}
