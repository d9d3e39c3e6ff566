/**
 * ICMP watch: which connection an error is about, whether it may be believed, and what follows (link/icmp.ts has the rules).
 */
import { type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FLOWING } from '../flow/phase.ts';
import { addressText, isSameAddress } from '../link/hosts.ts';
import { IcmpReader, type IcmpReport, IcmpSuspects, type Suspect } from '../link/icmp.ts';
import type { Link } from '../link/monitor.ts';
import { formatAddressBytes } from '../wire/address.ts';
import { Packet } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';
import type { WatchContext } from './watch-context.ts';

/** Connections whose quoted source was translated are searched for one by one: at most so often in a second. */
const SEARCHES_PER_SECOND = 50;
/** Connections to other hosts over the same link that are asked as well. */
const OTHERS = 3;
/** Connections to the suspected host that are asked. */
const ASKERS = 2;

export class IcmpWatch {
  readonly #context: WatchContext;
  readonly #reader = new IcmpReader();
  readonly #suspects = new IcmpSuspects();
  readonly #quoted = new Packet();
  #half: 0 | 1 = 0;
  #searches = 0;
  #searchesSince: Micros = -NEVER;
  /** Hosts other than the suspect's that were asked, by its key. */
  readonly #othersAsked = new Map<string, number>();

  constructor(context: WatchContext) {
    this.#context = context;
  }

  get deadline(): Micros {
    return this.#suspects.deadline;
  }

  /** A datagram came in on `link`. @returns whether it is evidence */
  onDatagram(link: Link, datagram: Uint8Array, now: Micros): boolean {
    if (link.isLost || !this.#reader.read(datagram)) return false;
    const { report } = this.#reader;
    // What the gateway itself says of routes that are gone is known from the routes.
    if (this.#context.verdicts.monitor.isOwn(report.senderBytes)) return false;
    const flow = this.#flowOf(report, now);
    if (flow === null || flow.phase !== FLOWING || flow.lostMask !== 0) return false;
    const half = this.#half;
    const peer = flow.halves[half];
    if (peer.port !== link.port) return false;
    const at = flow.index * KEY_WORDS + 4 * half;
    const words = this.#context.table.keys.slice(at, at + (flow.family === 4 ? 1 : 4));
    const key = `${link.port} ${addressText(words)}`;
    const sender = formatAddressBytes(report.senderBytes);
    const host = { port: link.port, family: flow.family, words, key };
    const suspect = this.#suspects.onMessage(host, report.meaning, sender, peer.heardAt, now);
    if (suspect !== null) this.#question(suspect, now);
    return true;
  }

  run(now: Micros): void {
    if (this.#suspects.deadline > now) return;
    const due = this.#suspects.due(now);
    for (const suspect of due) this.#judge(suspect, due, now);
  }

  /** All evidence about what lies behind a link is void. */
  forget(port: number): void {
    this.#suspects.forget(port);
  }

  /** The connection that the quoted segment belongs to, or null; sets `#half` to the one it was sent to. */
  #flowOf(report: IcmpReport, now: Micros): Flow | null {
    const quoted = this.#quoted;
    const view = quotedView(report);
    quoted.view = view;
    quoted.family = report.family;
    quoted.srcAt = 0;
    quoted.dstAt = 16;
    quoted.srcPort = report.sourcePort;
    quoted.dstPort = report.destinationPort;
    const flow = this.#context.table.find(quoted);
    if (flow !== null) {
      this.#half = this.#context.table.direction === 0 ? 1 : 0;
      return isInFlight(flow, this.#half, report.seq) ? flow : null;
    }
    return this.#search(report, now);
  }

  /** Behind address translation the quote names the gateway: the far end, its port and the sequence number still tell. */
  #search(report: IcmpReport, now: Micros): Flow | null {
    if (now - this.#searchesSince > 1e6) {
      this.#searchesSince = now;
      this.#searches = 0;
    }
    const source = new Uint8Array(16);
    const view = new DataView(source.buffer);
    for (let i = 0; i < 4; i++) view.setInt32(4 * i, report.source[i]!);
    if (!this.#context.verdicts.monitor.isOwn(source.subarray(0, report.family === 4 ? 4 : 16))) return null;
    if (this.#searches++ >= SEARCHES_PER_SECOND) return null;
    let found: Flow | null = null;
    let half: 0 | 1 = 0;
    const destination = report.destination.subarray(0, report.family === 4 ? 1 : 4);
    this.#context.table.forEach((flow) => {
      if (flow.family !== report.family || flow.phase !== FLOWING) return;
      for (const far of [0, 1] as const) {
        const port = far === 0 ? flow.originatorPort : flow.responderPort;
        if (port !== report.destinationPort) continue;
        if (!isSameAddress(this.#context.table.keys, flow.index * KEY_WORDS + 4 * far, destination)) continue;
        if (!isInFlight(flow, far, report.seq)) continue;
        found = flow;
        half = far;
      }
    });
    this.#half = half;
    return found;
  }

  /** Connections to the host, and a few to others over the same link, ask whether anybody answers. */
  #question(suspect: Suspect, now: Micros): void {
    let asked = 0;
    let others = 0;
    this.#context.table.forEach((flow) => {
      if (flow.phase !== FLOWING || (asked >= ASKERS && others >= OTHERS)) return;
      for (const far of [0, 1] as const) {
        if (flow.halves[far].port !== suspect.port) continue;
        const isHost = flow.family === suspect.family && this.#isHost(flow, far, suspect);
        if (isHost ? asked >= ASKERS : others >= OTHERS) continue;
        if (!this.#context.asker.askFlowing(flow, far)) continue;
        if (isHost) asked++;
        else others++;
      }
    });
    this.#othersAsked.set(suspect.key, others);
    this.#context.watch.suspicions.begin(suspect.port, now);
  }

  #judge(suspect: Suspect, due: readonly Suspect[], now: Micros): void {
    const { port, since, words, family, key } = suspect;
    const others = this.#othersAsked.get(key) ?? 0;
    this.#othersAsked.delete(key);
    const link = this.#context.verdicts.monitor.links[port]!;
    if (link.isLost) return;
    let heardAt = -NEVER;
    this.#context.table.forEach((flow) => {
      for (const far of [0, 1] as const) {
        if (flow.family === family && this.#isHost(flow, far, suspect))
          heardAt = Math.max(heardAt, flow.halves[far].heardAt);
      }
    });
    if (heardAt > since) return;
    this.#context.verdicts.observeDelay(now - since);
    const text = `${suspect.meaning}, says ${suspect.sender} (${suspect.count} messages)`;
    const isSilent = this.#context.watch.heardAt(port) <= since;
    const isSeveral =
      [...due, ...this.#suspects.behind(port)].some((other) => other.port === port && other.key !== key) ||
      this.#context.verdicts.hosts.lost.some((host) => host.port === port && host.evidence.icmp !== null);
    const isNextHop = this.#context.hops
      .defaultsOf(port)
      .some((hop) => formatAddressBytes(hop.address) === suspect.sender);
    if (isSilent && (isSeveral || (isNextHop && others > 0))) {
      this.#context.verdicts.say(link, 'icmp', text, now);
      this.#context.inquiries.begin(link, now);
      return;
    }
    const host = this.#context.verdicts.hostOf(port, family, words, now);
    if (host === null) return;
    this.#context.verdicts.say(host, 'icmp', text, now);
    this.#context.inquiries.begin(host, now);
  }

  #isHost(flow: Flow, far: 0 | 1, suspect: Suspect): boolean {
    return isSameAddress(this.#context.table.keys, flow.index * KEY_WORDS + 4 * far, suspect.words);
  }
}

/** Addresses of the quoted segment in network byte order: source at 0, destination at 16. */
function quotedView(report: IcmpReport): DataView {
  const view = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < 4; i++) {
    view.setInt32(4 * i, report.source[i]!);
    view.setInt32(16 + 4 * i, report.destination[i]!);
  }
  return view;
}

/**
 * Whether a segment with this sequence number towards half `far` may have been under way: between SND.UNA and SND.NXT of its
 * sender (RFC 5927 4.1), or a keepalive just below.
 */
function isInFlight(flow: Flow, far: 0 | 1, seq: number): boolean {
  const sender = flow.halves[far === 0 ? 1 : 0];
  const receiver = flow.halves[far];
  if (!sender.sndKnown || !receiver.rcvKnown) return false;
  const offset = seqDiff(seq, receiver.rcvNxt);
  return offset >= -1 && offset <= seqDiff(sender.sndNxt, receiver.rcvNxt);
}
