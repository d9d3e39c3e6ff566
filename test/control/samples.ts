/** Records of the control socket, complete but empty, for tests that care for a few of their fields only. */
import type { FlowJson, StatusJson } from '../../src/control/api.ts';

export const NO_FLOWS = { opening: 0, flowing: 0, frozen: 0, handback: 0, closing: 0, bypass: 0 } as const;

export const NO_RESOURCES: StatusJson['resources'] = {
  flows: 0,
  maxFlows: 65_536,
  hosts: 0,
  busiestHostFlows: 0,
  flowsPerHost: 65_536,
  custodyBytes: 0,
  maxCustodyBytes: 4_096,
  maxCustodyBytesPerFlow: 1_024,
  parkedSyns: 0,
  maxParkedSyns: 1_024,
  halfOpen: 0,
  suspects: 0,
  arenaBytes: 65_536,
};

/** What the policy says of a flow that no rule names. */
export const NO_LIMIT = {
  priority: 'normal',
  rule: null,
  limit: null,
  limitBy: null,
  deadline: null,
  trickling: false,
} as const satisfies Partial<FlowJson>;

export function sampleStatus(fields: Partial<StatusJson> = {}): StatusJson {
  return {
    version: '1',
    uptime: 1,
    tun: 't0',
    links: [],
    hosts: [],
    flows: { total: 0, ...NO_FLOWS },
    classes: {},
    custodyBytes: 0,
    resources: NO_RESOURCES,
    counters: {},
    degraded: [],
    ...fields,
  };
}
