import type { Log } from '../control/log.ts';
import type { EngineEvent } from '../engine/commands.ts';
import type { Steering } from './steering.ts';

/**
 * Tells the steering which links are lost: the engine's verdict, so that a link whose last address went counts, too
 * (masquerade forgets its connections then as well).
 * @returns what takes the engine's events
 */
export function linkFollower(steering: Steering, log: Log): (event: EngineEvent) => void {
  // One after another: the order of loss and return must not be turned round.
  let queue: Promise<void> = Promise.resolve();
  return ({ name, link }) => {
    if (link === undefined || (name !== 'link-lost' && name !== 'link-restored')) return;
    queue = queue
      .then(() => (name === 'link-lost' ? steering.onLinkLost(link) : steering.onLinkRestored(link)))
      .catch((error: unknown) => log.warn({ err: error }, 'resets could not be suppressed'));
  };
}
