/**
 * Commands: what a person, a script or a hook asks of the engine, and the snapshots it is shown.
 */
import { COUNTER } from '../base/counters.ts';
import { MICROS_PER_SECOND, type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { BYPASS, CLOSING, FLOWING, FROZEN, HANDBACK, OPENING, PHASE_NAMES } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { Freezer } from '../freeze/freeze.ts';
import type { Frozen } from '../freeze/frozen.ts';
import type { Synthesizer } from '../freeze/synthesis.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import { matchesPrefix } from '../link/routes.ts';
import type { Scope, ScopeList } from '../link/scope.ts';
import { formatAddressBytes, formatPrefix, parseAddress, parsePrefix } from '../wire/address.ts';
import type { Command, FlowCounts, FlowSnapshot, LinkSnapshot, Reply, Selector } from './commands.ts';
import type { EventQueue } from './event-queue.ts';

export interface OperatorParts {
  readonly table: FlowTable;
  readonly monitor: LinkMonitor;
  readonly scopes: ScopeList;
  readonly budget: CustodyBudget;
  readonly synthesizer: Synthesizer;
  readonly freezer: Freezer;
  readonly events: EventQueue;
  readonly counters: Float64Array;
  onLinkVerdict(link: Link, now: Micros): void;
  onScopesChanged(now: Micros): void;
  /** A flow in handback ends now. */
  onEnded(flow: Flow, now: Micros): void;
}

interface Target {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly prefixLength: number;
}

export class Operator {
  readonly #parts: OperatorParts;
  /** Links frozen by command for a limited time. */
  readonly #timedLinks = new Map<Link, Micros>();
  /** When a timed command ends. */
  deadline: Micros = NEVER;

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

  /** Releases commands whose time is over. */
  onTimeout(now: Micros): void {
    if (this.deadline > now) return;
    if (this.#parts.scopes.expire(now)) this.#parts.onScopesChanged(now);
    for (const [link, until] of this.#timedLinks) {
      if (until > now) continue;
      this.#timedLinks.delete(link);
      this.#verdict(this.#parts.monitor.onCommand(link, null, now), now);
    }
    this.#setDeadline();
  }

  #setDeadline(): void {
    this.deadline = Math.min(this.#parts.scopes.nextExpiry(), ...this.#timedLinks.values());
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
    if (lead > 0) {
      return refused('LEAD_UNSUPPORTED', 'a planned freeze with a lead time is not available', 'freeze without --lead');
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

  #resume(selector: Selector, now: Micros): Reply {
    if (selector.kind === 'link' || selector.kind === 'all') {
      const links = this.#linksOf(selector);
      if (links === null) return unknownLink(selector);
      for (const link of links) {
        this.#timedLinks.delete(link);
        this.#verdict(this.#parts.monitor.onCommand(link, null, now), now);
      }
      if (selector.kind === 'all' && this.#parts.scopes.clear() > 0) this.#parts.onScopesChanged(now);
      this.#setDeadline();
      const still = links.filter((link) => link.isLost).map((link) => `${link.name} (${link.reason})`);
      return this.#done(still.length === 0 ? 'resumed' : `released, but still lost: ${still.join(', ')}`);
    }
    if (!this.#parts.scopes.remove(labelOf(selector))) {
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
    if (selector.kind === 'all') return this.#parts.monitor.links;
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

function refused(code: string, message: string, remedy: string): Reply {
  return { kind: 'refused', code, message, remedy };
}

function untilText(duration: Micros): string {
  return duration === NEVER ? 'until resumed' : `for ${duration / MICROS_PER_SECOND} s`;
}

function unknownLink(selector: Selector): Reply {
  return refused('UNKNOWN_LINK', `no link ${labelOf(selector)}`, 'see "tcpfreeze status" for the links');
}

function badAddress(label: string): Reply {
  return refused(
    'BAD_ADDRESS',
    `${label} is not an address or prefix`,
    'give an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/8',
  );
}

function labelOf(selector: Selector): string {
  switch (selector.kind) {
    case 'link':
      return selector.name;
    // As parsed, so that every spelling of an address is the same scope.
    case 'host': {
      const address = parseAddress(selector.address);
      return address === undefined ? selector.address : formatAddressBytes(address);
    }
    case 'prefix': {
      const prefix = parsePrefix(selector.prefix);
      return prefix === undefined ? selector.prefix : formatPrefix(prefix);
    }
    case 'flow':
      return `flow ${selector.id}`;
    case 'all':
      return 'everything';
  }
}

function targetOf(selector: Selector): Target | null {
  const text = selector.kind === 'host' ? selector.address : selector.kind === 'prefix' ? selector.prefix : '';
  const prefix = selector.kind === 'prefix' ? parsePrefix(text) : undefined;
  const address = prefix?.address ?? parseAddress(text);
  if (address === undefined) return null;
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const words = new Int32Array(4);
  for (let i = 0; i < address.byteLength / 4; i++) words[i] = view.getInt32(4 * i);
  return {
    family: address.byteLength === 4 ? 4 : 6,
    words,
    prefixLength: prefix?.prefixLength ?? address.byteLength * 8,
  };
}
