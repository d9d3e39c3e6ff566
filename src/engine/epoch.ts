/** Which change of addresses (link/epochs.ts) has taken an end of a tracked connection away. */
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import type { Epoch, EpochList } from '../link/epochs.ts';

/**
 * @param keys key words of the flow table
 * @param half the end in question
 * @returns null: it is where it was
 */
export function epochOf(epochs: EpochList, keys: Int32Array, flow: Flow, half: 0 | 1): Epoch | null {
  const at = flow.index * KEY_WORDS;
  const { port } = flow.halves[half];
  return epochs.covers(port, flow.family, keys, at + 4 * half, at + 4 * (1 - half), flow.createdAt);
}
