import type { Log } from '../control/log.ts';
import type { EngineEvent } from '../engine/commands.ts';
import type { Steering } from './steering.ts';

/**
 * Tells the steering which links are lost: the engine's verdict, so that a link whose last address went counts, too
 * (masquerade forgets its connections then as well), and which have got another address.
 * @returns what takes the engine's events
 */
export function linkFollower(steering: Steering, log: Log): (event: EngineEvent) => void {
  // One after another: the order of loss and return must not be turned round.
  let queue: Promise<void> = Promise.resolve();
  return ({ name, link }) => {
    if (link === undefined) return;
    const told = {
      'link-lost': () => steering.onLinkLost(link),
      'link-restored': () => steering.onLinkRestored(link),
      'address-lost': () => steering.onAddressLost(link),
    };
    if (!(name in told)) return;
    queue = queue
      .then(told[name as keyof typeof told])
      .catch((error: unknown) => log.warn({ err: error }, 'resets could not be suppressed'));
  };
}
