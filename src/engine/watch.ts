/**
 * Watch: what connections show of the links they use. Every packet from beyond a link is proof of life; segments that stay without
 * an answer are questions (link/silence.ts). Silence of one far host alone is a loss of that host; silence of several is a
 * loss of their link. Hosts of a LAN are judged each by themselves as well (host-watch.ts), and where nobody asks anything,
 * suspicion does (suspicion.ts).
 */
import { type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FLOWING, HANDBACK } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import { ADVANCED_DATA } from '../flow/tracker.ts';
import { type Host, isSameAddress } from '../link/hosts.ts';
import { Link } from '../link/monitor.ts';
import type { Packet } from '../wire/packet.ts';
import { seqDiff } from '../wire/seq.ts';
import { HostWatch } from './host-watch.ts';
import type { Inquiries } from './inquiry.ts';
import type { PortWatch } from './port-watch.ts';
import type { Suspicions } from './suspicion.ts';
import type { Verdicts } from './verdicts.ts';

export class Watch {
  readonly #table: FlowTable;
  readonly #verdicts: Verdicts;
  readonly #inquiries: Inquiries;
  readonly suspicions: Suspicions;
  readonly #hosts: HostWatch;
  /** By port plus one: the first stands for all that lies behind no configured link. */
  readonly #watches: readonly PortWatch[];
  /** When `run` has something to do about silence. */
  #silenceAt: Micros = NEVER;

  /** @param watches by port plus one */
  constructor(
    table: FlowTable,
    verdicts: Verdicts,
    inquiries: Inquiries,
    suspicions: Suspicions,
    watches: readonly PortWatch[],
  ) {
    this.#table = table;
    this.#verdicts = verdicts;
    this.#inquiries = inquiries;
    this.suspicions = suspicions;
    this.#watches = watches;
    this.#hosts = new HostWatch(table, watches.slice(1));
  }

  get deadline(): Micros {
    return Math.min(this.#silenceAt, this.suspicions.deadline, this.#hosts.deadline);
  }

  /** A segment of a flow in FLOWING passes; already tracked, with `found`. */
  onPassing(flow: Flow, direction: 0 | 1, packet: Packet, found: number, now: Micros): void {
    const sender = flow.halves[direction];
    const receiver = flow.halves[direction === 0 ? 1 : 0];
    sender.heardAt = now;
    const from = this.#watches[sender.port + 1]!;
    from.onHeard(now);
    if (from.streamAt === NEVER) this.suspicions.arm(from, now);
    if (packet.payloadLength === 0) return;
    from.streamed++;
    const to = this.#watches[receiver.port + 1]!;
    if (to.silence === null) return;
    const isRepeat = (found & ADVANCED_DATA) === 0;
    to.silence.onAsked(isRepeat, sender.srtt, now);
    if (to.silence.checkAt < this.#silenceAt) this.#silenceAt = to.silence.checkAt;
    if (isRepeat && to.judgesHosts) this.#hosts.onRepeat(flow, direction === 0 ? 1 : 0, now);
  }

  /** The responder answered the SYN of `flow`: a round trip, or a longer one where the SYN was repeated. */
  onAnswered(flow: Flow, now: Micros): void {
    const watch = this.#watches[flow.halves[1].port + 1]!;
    watch.onHeard(now);
    watch.silence?.onRoundTrip(now - flow.createdAt, now);
  }

  /** Custody was delivered towards half `far` of a flow in HANDBACK: a question once the link has shown life. */
  onReplayed(flow: Flow, far: 0 | 1, isRepeat: boolean, now: Micros): void {
    const half = flow.halves[far];
    const watch = this.#watches[half.port + 1]!;
    if (watch.silence === null || watch.pacer.aliveSince === NEVER) return;
    watch.silence.onAsked(isRepeat, flow.halves[far === 0 ? 1 : 0].srtt, now);
    if (watch.silence.checkAt < this.#silenceAt) this.#silenceAt = watch.silence.checkAt;
    if (isRepeat && watch.judgesHosts) this.#hosts.onRepeat(flow, far, now);
  }

  /** A plausible packet came from half `half` of a flow that is held, or one end of which is lost. */
  onLife(flow: Flow, half: 0 | 1, now: Micros): void {
    flow.halves[half].heardAt = now;
    this.#watches[flow.halves[half].port + 1]!.onHeard(now);
    this.#inquiries.onLife(flow, half, now);
  }

  /** When a packet of a connection last came from behind `port`. */
  heardAt(port: number): Micros {
    return this.#watches[port + 1]!.heardAt;
  }

  /** Other evidence has changed the state of a link: questions begin anew. */
  reset(port: number, now: Micros): void {
    this.#watches[port + 1]!.silence?.reset(now);
    this.suspicions.end(port);
  }

  run(now: Micros): void {
    this.suspicions.run(now);
    if (this.#hosts.deadline <= now) {
      for (const { port, family, words, text } of this.#hosts.run(now)) {
        const host = this.#verdicts.hostOf(port, family, words, now);
        if (host !== null && !this.#verdicts.monitor.links[port]!.isLost) this.#lose(host, text, now);
      }
    }
    // Keepalives are questions too, asked behind the back of `#silenceAt`.
    for (const { silence } of this.#watches) {
      if (silence !== null && silence.checkAt < this.#silenceAt) this.#silenceAt = silence.checkAt;
    }
    if (this.#silenceAt > now) return;
    this.#silenceAt = NEVER;
    for (const watch of this.#watches) {
      const { silence, link } = watch;
      if (silence === null || link === null) continue;
      if (silence.check(now)) this.#onSilent(watch, link, now);
      if (silence.checkAt < this.#silenceAt) this.#silenceAt = silence.checkAt;
    }
  }

  #lose(subject: Link | Host, text: string, now: Micros): void {
    // Without a sign of life since its return, a link is lost as it was before.
    const isNew = !(subject instanceof Link) || subject.since === 0 || this.heardAt(subject.port) > subject.since;
    if (isNew) this.#verdicts.say(subject, 'silence', text, now);
    else this.#verdicts.sayAgain(subject, 'silence', text, now);
    this.#inquiries.begin(subject, now);
  }

  #onSilent(watch: PortWatch, link: Link, now: Micros): void {
    const { port } = watch;
    const silence = watch.silence!;
    const asked = this.suspicions.asked(port);
    const millisSilent = Math.round((now - silence.heardAt) / 1_000);
    const text = `silent for ${millisSilent} ms, ${silence.unanswered} segments unanswered`;
    const silentFor = now - silence.heardAt;
    this.reset(port, now);
    if (link.isLost) return;
    let first: { flow: Flow; half: 0 | 1 } | null = null;
    let isOneHost = true;
    const wait = (flow: Flow, half: 0 | 1): void => {
      if (first === null) first = { flow, half };
      else if (!this.#isSameHost(first.flow, first.half, flow, half)) isOneHost = false;
    };
    for (const { flow, far, generation } of asked) if (flow.generation === generation) wait(flow, far);
    this.#table.forEach((flow) => {
      if (flow.phase !== FLOWING && flow.phase !== HANDBACK) return;
      for (const half of [0, 1] as const) {
        if (flow.halves[half].port !== port || (flow.lostMask & (half + 1)) !== 0) continue;
        if (seqDiff(flow.halves[half === 0 ? 1 : 0].sndNxt, flow.halves[half].rcvNxt) > 0) wait(flow, half);
      }
    });
    const found = first as { flow: Flow; half: 0 | 1 } | null;
    if (found === null) return;
    this.#verdicts.observeDelay(silentFor);
    if (!isOneHost) {
      this.#lose(link, text, now);
      return;
    }
    const at = found.flow.index * KEY_WORDS + 4 * found.half;
    const { family } = found.flow;
    const words = this.#table.keys.slice(at, at + (family === 4 ? 1 : 4));
    const host = this.#verdicts.hostOf(port, family, words, now);
    if (host !== null) this.#lose(host, text, now);
  }

  #isSameHost(a: Flow, aHalf: 0 | 1, b: Flow, bHalf: 0 | 1): boolean {
    if (a.family !== b.family) return false;
    const at = a.index * KEY_WORDS + 4 * aHalf;
    const words = this.#table.keys.subarray(at, at + (a.family === 4 ? 1 : 4));
    return isSameAddress(this.#table.keys, b.index * KEY_WORDS + 4 * bHalf, words);
  }
}
