/** What a selector picks out of the links and flows that exist now. */
import type { Micros } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { FlowTable } from '../flow/table.ts';
import type { Link, LinkMonitor } from '../link/monitor.ts';
import { matchesPrefix } from '../link/routes.ts';
import { type Scope, ScopeList } from '../link/scope.ts';
import type { Reply, Selector } from './commands.ts';
import { badAddress, refused, unknownLink } from './refusal.ts';
import { labelOf, targetOf } from './selector.ts';

export class Selection {
  readonly #table: FlowTable;
  readonly #monitor: LinkMonitor;

  constructor(table: FlowTable, monitor: LinkMonitor) {
    this.#table = table;
    this.#monitor = monitor;
  }

  /** Which endpoints of a flow a freeze would put out of reach. */
  concerned(selector: Selector, now: Micros): ((flow: Flow) => number) | Reply {
    if (selector.kind === 'link' || selector.kind === 'all') {
      const ports = this.linksOf(selector)?.map((link) => link.port);
      if (ports === undefined) return unknownLink(selector);
      return ({ halves }) => (ports.includes(halves[0].port) ? 1 : 0) | (ports.includes(halves[1].port) ? 2 : 0);
    }
    const scope = this.scopeOf(selector, now);
    if ('kind' in scope) return scope;
    const list = new ScopeList();
    list.add(scope);
    const { keys } = this.#table;
    const covers = (flow: Flow, half: 0 | 1): boolean =>
      list.covers(flow.family, keys, flow.index * KEY_WORDS + 4 * half, flow.index, flow.generation, half);
    return (flow) => (covers(flow, 0) ? 1 : 0) | (covers(flow, 1) ? 2 : 0);
  }

  linksOf(selector: Selector): readonly Link[] | null {
    const { links } = this.#monitor;
    // Everything: what lies beyond the uplinks. Freezing the LAN side as well would leave nobody to hold.
    if (selector.kind === 'all') return links.some(isWan) ? links.filter(isWan) : links;
    const link = selector.kind === 'link' ? this.#monitor.byName(selector.name) : undefined;
    return link === undefined ? null : [link];
  }

  scopeOf(selector: Selector, until: Micros): Scope | Reply {
    const label = labelOf(selector);
    if (selector.kind === 'flow') {
      const flow = this.#table.byId(selector.id);
      if (flow === null) return refused('UNKNOWN_FLOW', `no flow ${selector.id}`, 'see "tcpfreeze flows"');
      // The side beyond a WAN link is the one that gets lost; between two links of one role, the responder's.
      const wan = flow.halves.findIndex((half) => half.port >= 0 && this.#monitor.links[half.port]!.role === 'wan');
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

  matcher(selector: Selector): ((flow: Flow) => boolean) | Reply {
    if (selector.kind === 'all') return () => true;
    if (selector.kind === 'flow') {
      const wanted = this.#table.byId(selector.id);
      if (wanted === null) return refused('UNKNOWN_FLOW', `no flow ${selector.id}`, 'see "tcpfreeze flows"');
      return (flow) => flow === wanted;
    }
    if (selector.kind === 'link') {
      const links = this.linksOf(selector);
      if (links === null) return unknownLink(selector);
      return (flow) => flow.halves.some((half) => links.some((link) => link.port === half.port));
    }
    const target = targetOf(selector);
    if (target === null) return badAddress(labelOf(selector));
    const { keys } = this.#table;
    return (flow) => {
      const at = flow.index * KEY_WORDS;
      return (
        flow.family === target.family &&
        (matchesPrefix(keys, at, target.words, target.prefixLength) ||
          matchesPrefix(keys, at + 4, target.words, target.prefixLength))
      );
    };
  }
}

function isWan(link: Link): boolean {
  return link.role === 'wan';
}
