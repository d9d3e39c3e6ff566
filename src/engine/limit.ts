/**
 * Pre-negotiation: for how long a connection may stay frozen. The smallest of what the user (rule), the endpoints (RFC 5482 user
 * timeout options) and the network (maximum of the link) say.
 */
import { type Micros, NEVER } from '../base/time.ts';
import type { Flow } from '../flow/flow.ts';
import type { Limit } from '../freeze/context.ts';
import { trickleInterval } from '../freeze/trickle.ts';
import type { LinkMonitor } from '../link/monitor.ts';

/**
 * @param near endpoint that is held, or would be
 * @param suspected limit of the near endpoint that was inferred from an earlier death (micros), 0: none
 */
export function limitOf(flow: Flow, near: 0 | 1, suspected: Micros, monitor: LinkMonitor): Limit {
  const far = near === 0 ? 1 : 0;
  const ofNear = flow.halves[near].userTimeout;
  const ofFar = flow.halves[far].userTimeout;
  const ofLink = monitor.links[flow.halves[far].port]?.maxOutage ?? NEVER;
  let micros = flow.terms.maxOutage;
  let by: Limit['by'] = micros === NEVER ? null : 'rule';
  if (ofLink < micros) {
    micros = ofLink;
    by = 'link';
  }
  // What the trickle keeps alive is not bound by its own limit.
  const isCarried = trickleInterval(flow.terms.trickle, ofNear, suspected) > 0;
  if (ofNear > 0 && !isCarried && ofNear < micros) {
    micros = ofNear;
    by = near === 0 ? 'originator' : 'responder';
  }
  if (ofFar > 0 && ofFar < micros) {
    micros = ofFar;
    by = far === 0 ? 'originator' : 'responder';
  }
  return { micros, by };
}
