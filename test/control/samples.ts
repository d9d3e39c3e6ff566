/** Records of the control socket, complete but empty, for tests that care for a few of their fields only. */
import type { StatusJson } from '../../src/control/api.ts';

export const NO_FLOWS = { opening: 0, flowing: 0, frozen: 0, handback: 0, closing: 0, bypass: 0 } as const;

export function sampleStatus(fields: Partial<StatusJson> = {}): StatusJson {
  return {
    version: '1',
    uptime: 1,
    tun: 't0',
    links: [],
    flows: { total: 0, ...NO_FLOWS },
    classes: {},
    custodyBytes: 0,
    counters: {},
    degraded: [],
    ...fields,
  };
}
