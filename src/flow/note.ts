/**
 * Notes: what the gateway did with a packet, as a number. The datapath sets them as it goes, captures and replays turn them into
 * words (capture/narrator.ts). A number costs a store per packet whether or not somebody listens; words would cost much more.
 */
import type { Flow } from './flow.ts';

/** Notes of packets that went on, perhaps changed. */
const PASSED_NAMES = ['forwarded', 'drained', 'eased', 'late-data', 'handback-data', 'handed-back'] as const;

/**
 * Names are stable: they are the `action` in comments of captures, which Wireshark's filters and colouring rules use. Order is free,
 * but for those passed on being the first.
 */
export const NOTE_NAMES = [
  ...PASSED_NAMES,
  // Kept from going on.
  'custody',
  'retained',
  'probe',
  'stray',
  'denied',
  'parked',
  'reset-held',
  'ack-kept',
  'clock',
  'late-ack',
  'unsound',
  'out-of-window',
  'absorbed',
  'no-link',
  // Made.
  'ack',
  'zero-window',
  'custody-ack',
  'probe-answer',
  'refresh',
  'trickle',
  'drain',
  'window-update',
  'ack-clock',
  'replay',
  'replay-again',
  'head-replay',
  'ack-sync',
  'wake-up',
  'unreachable',
  'question',
  'reset',
] as const;

export type NoteName = (typeof NOTE_NAMES)[number];

/** Number of each note. */
export const NOTE: Readonly<Record<NoteName, number>> = Object.freeze(
  Object.fromEntries(NOTE_NAMES.map((name, index) => [name, index])) as Record<NoteName, number>,
);

/** Whether a note is about a packet that went on, perhaps changed. */
export function isPassing(code: number): boolean {
  return code < PASSED_NAMES.length;
}

/** What was done with the packet at hand; one object, filled anew for each. */
export class Note {
  /** NOTE_ number. */
  code = 0;
  /** The connection; null where none is tracked. */
  flow: Flow | null = null;
  /** Half that sent the packet, or in whose name it was made. */
  from: 0 | 1 = 0;
  /** Bytes that were taken into custody, for `custody`. */
  value = 0;
  /** ACK and window as the packet came; meaningful when it was passed on by a flow that is not simply flowing. */
  ack = 0;
  window = 0;
  /** SACK blocks were cut. */
  isCut = false;
  // Of the flow, when the packet was dealt with.
  phase = 0;
  custodyBytes = 0;

  /** A new packet, of which nothing is known yet. */
  begin(): void {
    this.code = 0;
    this.flow = null;
    this.value = 0;
    this.isCut = false;
  }

  /** Takes down how the flow stands now. */
  settle(): void {
    const { flow } = this;
    this.phase = flow === null ? 0 : flow.phase;
    this.custodyBytes = flow === null || flow.frozen === null ? 0 : flow.frozen.custodyBytes;
  }
}
