/** Another configuration for a running engine: what can change while it runs. */
import { type Micros, NEVER } from '../base/time.ts';
import type { CustodyBudget } from '../freeze/custody.ts';
import type { Parking } from '../freeze/parking.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import type { PolicyRule } from '../policy/policy.ts';
import type { Admission } from './admission.ts';
import type { Reply } from './commands.ts';
import type { EventQueue } from './event-queue.ts';
import type { Rulebook } from './rulebook.ts';

export interface Settings {
  readonly policy: readonly PolicyRule[];
  /** By interface name; a link that is not named sets no limit. */
  readonly maxOutages: Readonly<Record<string, Micros>>;
  readonly custodyBytesPerFlow: number;
  readonly custodyBytesTotal: number;
  readonly flowsPerHost: number | null;
  readonly parkedSyns: number;
}

export interface ConfigureParts {
  readonly monitor: LinkMonitor;
  readonly budget: CustodyBudget;
  readonly parking: Parking;
  readonly rulebook: Rulebook;
  readonly admission: Admission;
  readonly events: EventQueue;
}

/**
 * From now on these settings apply: to new connections at once, to others from their next loss on. What is frozen or being handed
 * back keeps its terms, and what is in custody stays there.
 */
export function configure(parts: ConfigureParts, settings: Settings, now: Micros): Reply {
  const { monitor, budget, parking, rulebook, admission, events } = parts;
  for (const link of monitor.links) link.maxOutage = settings.maxOutages[link.name] ?? NEVER;
  budget.perFlow = settings.custodyBytesPerFlow;
  budget.total = settings.custodyBytesTotal;
  admission.flowsPerHost = settings.flowsPerHost;
  parking.limit = settings.parkedSyns;
  rulebook.replace(settings.policy);
  const message = `${settings.policy.length} rules apply from now on`;
  events.push({ at: now, name: 'rules-replaced', message, figures: { rules: settings.policy.length } });
  return { kind: 'done', flows: 0, message };
}
