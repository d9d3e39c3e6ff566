/**
 * Commands: what a person, a script or a hook asks of the engine, and the snapshots it is shown.
 */
import { COUNTER } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING, PHASE_NAMES } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { Drainer } from '../freeze/drain.ts';
import type { Freezer } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Synthesizer } from '../freeze/synthesis.ts';
import type { LinkEvent } from '../link/events.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import { matchesPrefix } from '../link/routes.ts';
import { type Scope, ScopeList } from '../link/scope.ts';
import { formatAddressBytes } from '../wire/address.ts';
import type { Command, FlowCounts, FlowSnapshot, LinkSnapshot, Reply, Selector } from './commands.ts';
import type { EventQueue } from './event-queue.ts';
import { LEAD_MAX, LEADS_MAX, type Plan } from './plan.ts';
import { badAddress, refused, unknownLink } from './refusal.ts';
import { labelOf, targetOf } from './selector.ts';
import type { Watch } from './watch.ts';

export interface OperatorParts {
  readonly table: FlowTable;
  readonly monitor: LinkMonitor;
  readonly scopes: ScopeList;
  readonly budget: CustodyBudget;
  readonly synthesizer: Synthesizer;
  readonly freezer: Freezer;
  readonly events: EventQueue;
  readonly counters: Float64Array;
  readonly drainer: Drainer;
  readonly watch: Watch;
  /** Whether flows still wait for being brought in line with a verdict. */
  isSettling(): boolean;
  onLinkVerdict(link: Link, now: Micros): void;
  onScopesChanged(now: Micros): void;
  /** A flow in handback ends now. */
  onEnded(flow: Flow, now: Micros): void;
}

export class Operator {
  readonly #parts: OperatorParts;
  /** Links frozen by command for a limited time. */
  readonly #timedLinks = new Map<Link, Micros>();
  /** Freezes that were announced, by label. */
  readonly #plans = new Map<string, Plan>();
  /** When a timed command ends, or a lead. */
  #deadline: Micros = NEVER;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  handle(command: Command, now: Micros): Reply {
    switch (command.kind) {
      case 'freeze':
        return this.#freeze(command.selector, command.forMicros ?? NEVER, command.leadMicros ?? 0, now);
      case 'resume':
        return this.#resume(command.selector, now);
      case 'abort':
        return this.#abort(command.selector, now);
      case 'status':
        return this.#status();
      case 'flows':
        return { kind: 'flows', flows: this.#flows(command.frozenOnly) };
    }
  }

  /** The kernel reports a change of a link. */
  onLink(event: LinkEvent, now: Micros): void {
    const link = this.#parts.monitor.onEvent(event, now);
    if (link !== null) this.#parts.watch.forget(link.port, now);
    this.#verdict(link, now);
  }

  get deadline(): Micros {
    return Math.min(this.#deadline, this.#parts.drainer.deadline, this.#parts.watch.deadline);
  }

  /** Releases commands whose time is over, and freezes what was announced. */
  onTimeout(now: Micros): void {
    this.#parts.drainer.run(now);
    this.#parts.watch.run(now);
    for (const [label, plan] of this.#plans) {
      if (plan.at > now) continue;
      this.#plans.delete(label);
      const reply = this.#freeze(plan.selector, plan.duration, 0, now);
      if (reply.kind === 'refused') this.#parts.drainer.cancel(plan);
      else this.#parts.drainer.end(plan);
    }
    if (this.#parts.drainer.isActive && !this.#parts.isSettling()) this.#parts.drainer.settled();
    if (this.#deadline > now) return;
    if (this.#parts.scopes.expire(now)) this.#parts.onScopesChanged(now);
    for (const [link, until] of this.#timedLinks) {
      if (until > now) continue;
      this.#timedLinks.delete(link);
      this.#verdict(this.#parts.monitor.onCommand(link, null, now), now);
    }
    this.#setDeadline();
  }

  #setDeadline(): void {
    this.#deadline = Math.min(this.#parts.scopes.nextExpiry(), ...this.#timedLinks.values());
    for (const plan of this.#plans.values()) this.#deadline = Math.min(this.#deadline, plan.at);
  }

  #verdict(link: Link | null, now: Micros): void {
    if (link !== null) this.#parts.onLinkVerdict(link, now);
  }

  #done(message: string): Reply {
    let flows = 0;
    this.#parts.table.forEach((flow) => {
      if (flow.phase === FROZEN) flows++;
    });
    return { kind: 'done', flows, message };
  }

  #freeze(selector: Selector, duration: Micros, lead: Micros, now: Micros): Reply {
    if (lead > 0) return this.#plan(selector, duration, lead, now);
    const announced = this.#plans.get(labelOf(selector));
    if (announced !== undefined) {
      // Sooner than announced: the same freeze, with what has drained so far.
      this.#plans.delete(labelOf(selector));
      const reply = this.#freeze(selector, duration, 0, now);
      this.#parts.drainer.end(announced);
      return reply;
    }
    const until = now + duration;
    if (selector.kind === 'link' || selector.kind === 'all') {
      const links = this.#linksOf(selector);
      if (links === null) return unknownLink(selector);
      for (const link of links) {
        if (duration !== NEVER) this.#timedLinks.set(link, until);
        else this.#timedLinks.delete(link);
        this.#verdict(this.#parts.monitor.onCommand(link, 'frozen by command', now), now);
      }
      this.#setDeadline();
      return this.#done(`${links.map((link) => link.name).join(', ')} held by command ${untilText(duration)}`);
    }
    const scope = this.#scopeOf(selector, until);
    if ('kind' in scope) return scope;
    if (!this.#parts.scopes.add(scope)) {
      return refused('TOO_MANY_SCOPES', 'too many scopes are frozen by command', 'resume some, or freeze a prefix');
    }
    this.#parts.onScopesChanged(now);
    this.#setDeadline();
    return this.#done(`${scope.label} held by command ${untilText(duration)}`);
  }

  /** The freeze comes after `lead`; until then the flows drain (freeze/drain.ts). */
  #plan(selector: Selector, duration: Micros, lead: Micros, now: Micros): Reply {
    const label = labelOf(selector);
    if (lead > LEAD_MAX) return refused('LEAD_TOO_LONG', `a lead of ${lead / 1e6} s is too long`, 'give at most 60 s');
    if (this.#plans.size >= LEADS_MAX && !this.#plans.has(label)) {
      return refused('TOO_MANY_LEADS', 'too many planned freezes are under way', 'wait for them, or resume some');
    }
    const lostMaskOf = this.#concerned(selector, now);
    if (typeof lostMaskOf !== 'function') return lostMaskOf;
    const earlier = this.#plans.get(label);
    const plan: Plan = { selector, duration, at: now + lead, lostMaskOf };
    this.#plans.set(label, plan);
    const flows = this.#parts.drainer.begin(plan);
    if (earlier !== undefined) this.#parts.drainer.end(earlier);
    this.#setDeadline();
    const message = `${label} will be held by command in ${lead / 1e6} s, ${untilText(duration)}`;
    this.#parts.events.push({ at: now, name: 'freeze-planned', message, figures: { flows, micros: lead } });
    return { kind: 'done', flows, message };
  }

  /** Which endpoints of a flow a freeze would put out of reach. */
  #concerned(selector: Selector, now: Micros): ((flow: Flow) => number) | Reply {
    if (selector.kind === 'link' || selector.kind === 'all') {
      const ports = this.#linksOf(selector)?.map((link) => link.port);
      if (ports === undefined) return unknownLink(selector);
      return ({ halves }) => (ports.includes(halves[0].port) ? 1 : 0) | (ports.includes(halves[1].port) ? 2 : 0);
    }
    const scope = this.#scopeOf(selector, now);
    if ('kind' in scope) return scope;
    const list = new ScopeList();
    list.add(scope);
    const { keys } = this.#parts.table;
    const covers = (flow: Flow, half: 0 | 1): boolean =>
      list.covers(flow.family, keys, flow.index * KEY_WORDS + 4 * half, flow.index, flow.generation, half);
    return (flow) => (covers(flow, 0) ? 1 : 0) | (covers(flow, 1) ? 2 : 0);
  }

  /** Takes back what was announced for the selector; both ends get their windows again. */
  #cancelPlans(selector: Selector): boolean {
    let found = false;
    for (const [label, plan] of this.#plans) {
      if (selector.kind !== 'all' && label !== labelOf(selector)) continue;
      found = true;
      this.#plans.delete(label);
      this.#parts.drainer.cancel(plan);
    }
    return found;
  }

  #resume(selector: Selector, now: Micros): Reply {
    const wasPlanned = this.#cancelPlans(selector);
    if (selector.kind === 'link' || selector.kind === 'all') {
      const links = selector.kind === 'all' ? this.#parts.monitor.links : this.#linksOf(selector);
      if (links === null) return unknownLink(selector);
      for (const link of links) {
        this.#timedLinks.delete(link);
        // Whoever says that a link is back is believed more than an inference.
        this.#parts.watch.forget(link.port, now);
        this.#verdict(this.#parts.monitor.onCommand(link, null, now), now);
      }
      if (selector.kind === 'all' && this.#parts.scopes.clear() > 0) this.#parts.onScopesChanged(now);
      this.#setDeadline();
      const still = links.filter((link) => link.isLost).map((link) => `${link.name} (${link.reason})`);
      return this.#done(still.length === 0 ? 'resumed' : `released, but still lost: ${still.join(', ')}`);
    }
    if (!this.#parts.scopes.remove(labelOf(selector)) && !wasPlanned) {
      return refused('NOT_FROZEN', `${labelOf(selector)} is not frozen by command`, 'see "tcpfreeze flows --frozen"');
    }
    this.#parts.onScopesChanged(now);
    this.#setDeadline();
    return this.#done(`${labelOf(selector)} resumed`);
  }

  /** Ends connections now: RST to both ends; a far end beyond a loss is told when it is back. */
  #abort(selector: Selector, now: Micros): Reply {
    const matches = this.#matcher(selector);
    if (typeof matches !== 'function') return matches;
    const { synthesizer, freezer, events } = this.#parts;
    let count = 0;
    this.#parts.table.forEach((flow) => {
      if (!matches(flow) || flow.phase === BYPASS || flow.phase === CLOSING) return;
      count++;
      const [a, b] = flow.halves;
      for (const half of [0, 1] as const) {
        const addressee = flow.halves[half];
        if (addressee.rcvKnown && (flow.lostMask & (half + 1)) === 0) {
          synthesizer.reset(flow, half === 0 ? 1 : 0, addressee.rcvNxt, half === 0 ? b.rcvNxt : a.rcvNxt);
        } else if (addressee.sndKnown && (flow.lostMask & (half + 1)) === 0) {
          // In SYN-SENT only the ACK of the SYN makes a reset acceptable (RFC 9293 3.10.7.3).
          synthesizer.reset(flow, half === 0 ? 1 : 0, 0, addressee.sndNxt);
        }
      }
      const lost = flow.frozen?.custodyBytes ?? 0;
      const message = `aborted by command, ${lost} bytes undelivered`;
      events.push({ at: now, name: 'flow-aborted', message, flow: flow.id, figures: { bytes: lost } });
      this.#parts.counters[COUNTER.undeliverableBytes]! += lost;
      this.#parts.onEnded(flow, now);
      if (flow.phase === FROZEN && flow.frozen !== null) {
        const frozen = flow.frozen as Frozen;
        frozen.custody.discard();
        frozen.nearReset = true;
      } else {
        freezer.release(flow);
        flow.phase = CLOSING;
      }
    });
    return { kind: 'done', flows: count, message: `${count} connections ended` };
  }

  #linksOf(selector: Selector): readonly Link[] | null {
    const { links } = this.#parts.monitor;
    // Everything: what lies beyond the uplinks. Freezing the LAN side as well would leave nobody to hold.
    if (selector.kind === 'all') return links.some(isWan) ? links.filter(isWan) : links;
    const link = selector.kind === 'link' ? this.#parts.monitor.byName(selector.name) : undefined;
    return link === undefined ? null : [link];
  }

  #scopeOf(selector: Selector, until: Micros): Scope | Reply {
    const label = labelOf(selector);
    if (selector.kind === 'flow') {
      const flow = this.#parts.table.byId(selector.id);
      if (flow === null) return refused('UNKNOWN_FLOW', `no flow ${selector.id}`, 'see "tcpfreeze flows"');
      // The side beyond a WAN link is the one that gets lost; between two links of one role, the responder's.
      const wan = flow.halves.findIndex(
        (half) => half.port >= 0 && this.#parts.monitor.links[half.port]!.role === 'wan',
      );
      const flowHalf = wan === 0 ? 0 : 1;
      const empty = new Int32Array(4);
      const { index, generation } = flow;
      return {
        label,
        family: 0,
        words: empty,
        prefixLength: 0,
        flowIndex: index,
        flowGeneration: generation,
        flowHalf,
        until,
      };
    }
    const target = targetOf(selector);
    if (target === null) return badAddress(label);
    return { label, ...target, flowIndex: -1, flowGeneration: 0, flowHalf: 0, until };
  }

  #matcher(selector: Selector): ((flow: Flow) => boolean) | Reply {
    if (selector.kind === 'all') return () => true;
    if (selector.kind === 'flow') {
      const wanted = this.#parts.table.byId(selector.id);
      if (wanted === null) return refused('UNKNOWN_FLOW', `no flow ${selector.id}`, 'see "tcpfreeze flows"');
      return (flow) => flow === wanted;
    }
    if (selector.kind === 'link') {
      const links = this.#linksOf(selector);
      if (links === null) return unknownLink(selector);
      return (flow) => flow.halves.some((half) => links.some((link) => link.port === half.port));
    }
    const target = targetOf(selector);
    if (target === null) return badAddress(labelOf(selector));
    const { keys } = this.#parts.table;
    return (flow) => {
      const at = flow.index * KEY_WORDS;
      return (
        flow.family === target.family &&
        (matchesPrefix(keys, at, target.words, target.prefixLength) ||
          matchesPrefix(keys, at + 4, target.words, target.prefixLength))
      );
    };
  }

  #status(): Reply {
    const counts = new Array<number>(PHASE_NAMES.length).fill(0);
    this.#parts.table.forEach((flow) => {
      counts[flow.phase]!++;
    });
    const flows: FlowCounts = {
      total: this.#parts.table.size,
      opening: counts[OPENING]!,
      flowing: counts[FLOWING]!,
      frozen: counts[FROZEN]!,
      handback: counts[HANDBACK]!,
      closing: counts[CLOSING]!,
      bypass: counts[BYPASS]!,
    };
    const links: LinkSnapshot[] = this.#parts.monitor.links.map((link) => ({
      name: link.name,
      role: link.role,
      state: link.isLost ? 'lost' : 'up',
      since: link.since,
      reason: link.reason,
      evidence: link.standing(),
    }));
    return { kind: 'status', links, flows, custodyBytes: this.#parts.budget.used };
  }

  #flows(frozenOnly: boolean): FlowSnapshot[] {
    const list: FlowSnapshot[] = [];
    this.#parts.table.forEach((flow) => {
      const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK;
      if (frozenOnly && !isHeld) return;
      list.push({
        id: flow.id,
        family: flow.family,
        originator: this.#endpoint(flow, 0),
        responder: this.#endpoint(flow, 1),
        phase: PHASE_NAMES[flow.phase]!,
        near: isHeld ? (flow.near === 0 ? 'originator' : 'responder') : null,
        frozenSince: isHeld ? flow.frozenSince : null,
        custodyBytes: flow.frozen?.custodyBytes ?? 0,
        class: 'temporary',
        bypassReason: flow.bypassReason,
      });
    });
    return list;
  }

  #endpoint(flow: Flow, half: 0 | 1): string {
    const words = flow.family === 4 ? 1 : 4;
    const bytes = new Uint8Array(4 * words);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < words; i++)
      view.setInt32(4 * i, this.#parts.table.keys[flow.index * KEY_WORDS + 4 * half + i]!);
    const text = formatAddressBytes(bytes);
    const port = half === 0 ? flow.originatorPort : flow.responderPort;
    return flow.family === 6 ? `[${text}]:${port}` : `${text}:${port}`;
  }
}

function isWan(link: Link): boolean {
  return link.role === 'wan';
}

function untilText(duration: Micros): string {
  return duration === NEVER ? 'until resumed' : `for ${duration / MICROS_PER_SECOND} s`;
}
