/** Why a flow is held and since when, or since when its link is back: what the comments of a capture say (capture/narrator.ts). */
import { type Micros, NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { FROZEN, HANDBACK, OPENING } from '../flow/phase.ts';
import type { FlowTable } from '../flow/table.ts';
import type { ScopeList } from '../link/scope.ts';
import { epochOf } from './epoch.ts';
import type { Verdicts } from './verdicts.ts';

export interface Loss {
  /** "link wan0", "host 192.0.2.7" and the like. */
  readonly name: string;
  /** Evidence of a link's loss; empty where the name says it all. */
  readonly reason: string;
  /** False: it is back. */
  readonly isLost: boolean;
  /** When it was lost, or came back. */
  readonly since: Micros;
}

export class Losses {
  readonly #table: FlowTable;
  readonly #verdicts: Verdicts;
  readonly #scopes: ScopeList;
  /** By port, as long as the verdict stands: the words do not change when further evidence comes in. */
  readonly #ofLinks: (Loss | null)[];

  constructor(table: FlowTable, verdicts: Verdicts, scopes: ScopeList) {
    this.#table = table;
    this.#verdicts = verdicts;
    this.#scopes = scopes;
    this.#ofLinks = verdicts.monitor.links.map(() => null);
  }

  /** @returns null when nothing of the flow was ever lost, as far as is known */
  of(flow: Flow): Loss | null {
    const far = flow.near === 0 ? 1 : 0;
    for (const half of [far, flow.near] as const) {
      const { port } = flow.halves[half];
      if (this.#verdicts.monitor.links[port]?.isLost === true) return this.#ofLink(port);
    }
    for (const half of [far, flow.near] as const) {
      const at = flow.index * KEY_WORDS + 4 * half;
      const { index, generation, family } = flow;
      const scope = this.#scopes.find(family, this.#table.keys, at, index, generation, half);
      const { port } = flow.halves[half];
      const host = this.#verdicts.hosts.at(port, family, this.#table.keys, at);
      if (host !== null) return { name: `host ${host.address}`, reason: host.reason, isLost: true, since: host.since };
      const epoch = epochOf(this.#verdicts.monitor.epochs, this.#table.keys, flow, half);
      if (epoch !== null) return { name: `address ${epoch.label}`, reason: '', isLost: true, since: epoch.to };
      if (scope !== null) return { name: scope.label, reason: '', isLost: true, since: flow.frozenSince };
    }
    const { port } = flow.halves[far];
    const link = this.#verdicts.monitor.links[port];
    const isHeld = flow.phase === FROZEN || flow.phase === HANDBACK || flow.phase === OPENING;
    if (link !== undefined && link.since > 0 && (flow.wakeup !== null || isHeld)) return this.#ofLink(port);
    return isHeld && flow.frozenSince !== NEVER
      ? { name: 'the far side', reason: '', isLost: false, since: flow.frozenSince }
      : null;
  }

  #ofLink(port: number): Loss {
    const link = this.#verdicts.monitor.links[port]!;
    const known = this.#ofLinks[port] ?? null;
    if (known !== null && known.since === link.since && known.isLost === link.isLost) return known;
    const { isLost, since } = link;
    const loss = { name: `link ${link.name}`, reason: isLost ? link.reason : '', isLost, since };
    this.#ofLinks[port] = loss;
    return loss;
  }
}
