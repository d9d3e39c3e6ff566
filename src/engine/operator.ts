/**
 * Operator: carries out what a person, a script or a hook asks of the engine, and what the kernel reports of links.
 */
import { MICROS_PER_SECOND, type Micros, NEVER } from '../base/time.ts';
import type { HostTable } from '../flow/hosts.ts';
import { FROZEN } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { Drainer } from '../freeze/drain.ts';
import type { Parking } from '../freeze/parking.ts';
import type { Suspects } from '../freeze/trickle.ts';
import type { DhcpEvent } from '../link/events.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import type { ScopeList } from '../link/scope.ts';
import { abort } from './abort.ts';
import type { Admission } from './admission.ts';
import type { Chronicle } from './chronicle.ts';
import type { Command, Reply, Selector } from './commands.ts';
import { configure } from './configure.ts';
import type { Detection } from './detection.ts';
import type { Ending } from './ending.ts';
import type { EventQueue } from './event-queue.ts';
import { LEAD_MAX, LEADS_MAX, type Plan } from './plan.ts';
import { refused, unknownLink } from './refusal.ts';
import type { Rulebook } from './rulebook.ts';
import { Selection } from './selection.ts';
import { labelOf, targetOf } from './selector.ts';
import { flowsOf, statusOf } from './snapshot.ts';
import type { Verdicts } from './verdicts.ts';

export interface OperatorParts {
  readonly table: FlowTable;
  readonly monitor: LinkMonitor;
  readonly scopes: ScopeList;
  readonly budget: CustodyBudget;
  readonly parking: Parking;
  readonly suspects: Suspects;
  readonly hosts: HostTable;
  readonly rulebook: Rulebook;
  readonly admission: Admission;
  readonly ending: Ending;
  readonly arenaBytes: number;
  readonly events: EventQueue;
  readonly chronicle: Chronicle;
  readonly drainer: Drainer;
  readonly verdicts: Verdicts;
  readonly detection: Detection;
  /** Whether flows still wait for being brought in line with a verdict. */
  isSettling(): boolean;
  onScopesChanged(now: Micros): void;
}

export class Operator {
  readonly #parts: OperatorParts;
  readonly #selection: Selection;
  /** Links frozen by command for a limited time. */
  readonly #timedLinks = new Map<Link, Micros>();
  /** Freezes that were announced, by label. */
  readonly #plans = new Map<string, Plan>();
  /** When a timed command ends, or a lead. */
  #deadline: Micros = NEVER;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    this.#selection = new Selection(parts.table, parts.monitor);
  }

  handle(command: Command, now: Micros): Reply {
    switch (command.kind) {
      case 'freeze':
        return this.#freeze(command.selector, command.forMicros ?? NEVER, command.leadMicros ?? 0, now);
      case 'resume':
        return this.#resume(command.selector, now);
      case 'abort':
        return abort(this.#parts, this.#selection, command.selector, command.className, now);
      case 'configure':
        return configure(this.#parts, command.settings, now);
      case 'status':
        return statusOf(this.#parts);
      case 'flows':
        return { kind: 'flows', flows: flowsOf(this.#parts, command.frozenOnly) };
      case 'dhcp':
        return this.#lease(command.event, now);
    }
  }

  /** A DHCP client or server reports by its hook. */
  #lease(event: DhcpEvent, now: Micros): Reply {
    const { monitor, detection } = this.#parts;
    if (monitor.byName(event.name) === undefined) return unknownLink({ kind: 'link', name: event.name });
    detection.onEvent(event, now);
    return this.#done(`${event.name}: lease ${event.what}`);
  }

  get deadline(): Micros {
    return Math.min(this.#deadline, this.#parts.drainer.deadline);
  }

  /** Releases commands whose time is over, and freezes what was announced. */
  onTimeout(now: Micros): void {
    this.#parts.drainer.run(now);
    for (const [label, plan] of this.#plans) {
      if (plan.at > now) continue;
      this.#plans.delete(label);
      const reply = this.#freeze(plan.selector, plan.duration, 0, now);
      if (reply.kind === 'refused') this.#parts.drainer.cancel(plan);
      else this.#parts.drainer.end(plan);
    }
    if (this.#parts.drainer.isActive && !this.#parts.isSettling()) this.#parts.drainer.settled();
    if (this.#deadline > now) return;
    this.#released(this.#parts.scopes.expire(now), now);
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

  #released(scopes: readonly { readonly label: string }[], now: Micros): void {
    if (scopes.length === 0) return;
    for (const { label } of scopes) {
      this.#parts.events.push({ at: now, name: 'scope-restored', message: `${label} released` });
    }
    this.#parts.onScopesChanged(now);
  }

  #verdict(link: Link | null, now: Micros): void {
    if (link !== null) this.#parts.verdicts.announce(link, now, 'by command');
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
      const links = this.#selection.linksOf(selector);
      if (links === null) return unknownLink(selector);
      for (const link of links) {
        if (duration !== NEVER) this.#timedLinks.set(link, until);
        else this.#timedLinks.delete(link);
        this.#verdict(this.#parts.monitor.onCommand(link, 'frozen by command', now), now);
      }
      this.#setDeadline();
      return this.#done(`${links.map((link) => link.name).join(', ')} held by command ${untilText(duration)}`);
    }
    const scope = this.#selection.scopeOf(selector, until);
    if ('kind' in scope) return scope;
    if (!this.#parts.scopes.add(scope)) {
      return refused('TOO_MANY_SCOPES', 'too many scopes are frozen by command', 'resume some, or freeze a prefix');
    }
    const message = `${scope.label} held by command`;
    this.#parts.events.push({ at: now, name: 'scope-lost', message, reason: 'frozen by command' });
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
    const lostMaskOf = this.#selection.concerned(selector, now);
    if (typeof lostMaskOf !== 'function') return lostMaskOf;
    const earlier = this.#plans.get(label);
    const plan: Plan = { selector, duration, at: now + lead, lostMaskOf };
    this.#plans.set(label, plan);
    const flows = this.#parts.drainer.begin(plan);
    if (earlier !== undefined) this.#parts.drainer.end(earlier);
    this.#setDeadline();
    const message = `${label} will be held by command in ${lead / 1e6} s, ${untilText(duration)}`;
    this.#parts.events.push({ at: now, name: 'freeze-planned', message, figures: { flows, leadMicros: lead } });
    return { kind: 'done', flows, message };
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
      const links = selector.kind === 'all' ? this.#parts.monitor.links : this.#selection.linksOf(selector);
      if (links === null) return unknownLink(selector);
      for (const link of links) {
        this.#timedLinks.delete(link);
        // Whoever says that a link is back is believed more than an inference.
        this.#parts.detection.resume(link, now);
        this.#verdict(this.#parts.monitor.onCommand(link, null, now), now);
      }
      if (selector.kind === 'all') this.#released(this.#parts.scopes.clear(), now);
      this.#setDeadline();
      const still = links.filter((link) => link.isLost).map((link) => `${link.name} (${link.reason})`);
      return this.#done(still.length === 0 ? 'resumed' : `released, but still lost: ${still.join(', ')}`);
    }
    const label = labelOf(selector);
    const target = selector.kind === 'host' ? targetOf(selector) : null;
    const wasInferred = target !== null && this.#parts.detection.resumeHost(target.family, target.words, now);
    const wasHeld = this.#parts.scopes.remove(label);
    if (!wasHeld && !wasPlanned && !wasInferred) {
      return refused('NOT_FROZEN', `${labelOf(selector)} is not frozen by command`, 'see "tcpfreeze flows --frozen"');
    }
    if (wasHeld) this.#released([{ label }], now);
    this.#setDeadline();
    return this.#done(`${label} resumed`);
  }
}

function untilText(duration: Micros): string {
  return duration === NEVER ? 'until resumed' : `for ${duration / MICROS_PER_SECOND} s`;
}
