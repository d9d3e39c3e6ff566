/**
 * What the gateway did with a packet, in words of an engineer: the comment in a capture and the line of a trace.
 *
 *     custody ACK: 437,296 bytes held, window 0; link wan0 lost 12 ms ago: no carrier [tcpfreeze fate=made action=custody-ack
 *     flow=3.1 phase=frozen custody=437296 reason="no carrier"]
 *
 * The sentence is for people and may change; what is in brackets is for programs (packaging/wireshark/tcpfreeze.lua) and may only
 * grow. Keys come in this order; `flow` and `reason` are left out where there is none, and `reason` is quoted.
 */
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';
import { isPassing, NOTE_NAMES, type NoteName } from '../flow/note.ts';
import { PHASE_NAMES } from '../flow/phase.ts';
import { FIN, SYN } from '../wire/tcp-flags.ts';

export type Fate = 'made' | 'held' | 'changed';

/** What is told of one packet. */
export interface Deed {
  fate: Fate;
  /** NOTE number. */
  code: number;
  /** Public identifier of the connection; empty where none is tracked. */
  flow: string;
  phase: number;
  custodyBytes: number;
  /** Bytes newly in custody. */
  value: number;
  /** Of the segment as it left, or as it came when it was held. */
  flags: number;
  ack: number;
  window: number;
  payloadLength: number;
  /** Of the segment as it came; meaningful when it was changed. */
  wasAck: number;
  wasWindow: number;
  /** What is or was lost; empty: nothing. */
  lossName: string;
  lossReason: string;
  isLost: boolean;
  /** Since the loss, or since the return. */
  elapsed: Micros;
}

/** A deed to be filled. */
export function newDeed(): Deed {
  return {
    fate: 'made',
    code: 0,
    flow: '',
    phase: 0,
    custodyBytes: 0,
    value: 0,
    flags: 0,
    ack: 0,
    window: 0,
    payloadLength: 0,
    wasAck: 0,
    wasWindow: 0,
    lossName: '',
    lossReason: '',
    isLost: false,
    elapsed: 0,
  };
}

type Teller = (deed: Deed) => string;

/** 437,296 */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

const bytes = (count: number): string => `${grouped(count)} byte${count === 1 ? '' : 's'}`;

const changed: Teller = ({ wasAck, ack, wasWindow, window }) => {
  const differences: string[] = [];
  if (wasAck !== ack) differences.push(`ack ${wasAck >>> 0} -> ${ack >>> 0}`);
  if (wasWindow !== window) differences.push(`window ${wasWindow} -> ${window}`);
  return differences.length === 0 ? 'SACK blocks cut' : differences.join(', ');
};

const replayed: Teller = ({ payloadLength }) =>
  payloadLength > 0 ? `${bytes(payloadLength)} delivered` : 'FIN delivered';

const stillHeld: Teller = ({ custodyBytes }) => `${bytes(custodyBytes)} in custody`;

const heldText: Teller = ({ custodyBytes, window }) =>
  `${custodyBytes > 0 ? `${bytes(custodyBytes)} held, ` : ''}window ${window}`;

const WORDS: Readonly<Record<NoteName, Teller>> = {
  forwarded: (deed) => `changed: ${changed(deed)}`,
  drained: (deed) => `changed: ${changed(deed)}; both ends drain ahead of a planned freeze`,
  eased: (deed) => `changed: ${changed(deed)}; the window opens at the pace of the path`,
  'late-data': (deed) => `changed: ${changed(deed)}; data from beyond the loss must not open the window`,
  'handback-data': (deed) => `changed: ${changed(deed)}; ${stillHeld(deed)}`,
  'handed-back': (deed) => `changed: ${changed(deed)}; custody is delivered`,
  custody: ({ value, custodyBytes }) => `held: ${bytes(value)} taken into custody, ${bytes(custodyBytes)} in all`,
  retained: () => 'held: bytes before it are missing; it joins custody when they come',
  probe: () => 'held: answered in the name of the far peer',
  stray: () => 'held: outside the window, or acknowledges what never passed; answered like a probe',
  denied: () => 'held: does not fit into custody, answered with unreachable',
  parked: () => 'held: the handshake waits for the link',
  'reset-held': (deed) => `held: the reset is passed on after custody; ${stillHeld(deed)}`,
  'ack-kept': () => 'held: this acknowledgement is shown later, so that the sender does not look idle',
  clock: (deed) => `held: its acknowledgement drives the delivery; ${stillHeld(deed)}`,
  'late-ack': (deed) => `dropped: late acknowledgement from beyond the loss, taken note of; ${stillHeld(deed)}`,
  unsound: () => 'dropped: its checksum is wrong, nothing is done on its word',
  'out-of-window': () => 'dropped: outside the window, or acknowledges what never passed',
  absorbed: () => 'dropped: it says nothing that is not known',
  'no-link': () => 'dropped: the link is lost, and this flow is not held',
  ack: ({ window }) => `ACK in the name of the peer: window ${window}`,
  'zero-window': ({ window }) => `zero-window ACK: nothing in flight, window ${window}`,
  'custody-ack': ({ custodyBytes, window }) => `custody ACK: ${bytes(custodyBytes)} held, window ${window}`,
  'probe-answer': (deed) => `answer to a probe: ${heldText(deed)}`,
  refresh: (deed) => `refresh, so that nobody gives up: ${heldText(deed)}`,
  trickle: ({ window }) => `trickle: window ${window}, below one segment, against a user timeout`,
  drain: () => 'zero-window ACK: both ends drain ahead of a planned freeze',
  'window-update': ({ window }) => `window update: handed back, window ${window}`,
  'ack-clock': ({ custodyBytes, window }) =>
    `ack clock: ${bytes(custodyBytes)} still to be delivered, window ${window}`,
  replay: (deed) => `replay: ${replayed(deed)}; ${stillHeld(deed)}`,
  'replay-again': (deed) => `replay: ${replayed(deed)} again; ${stillHeld(deed)}`,
  'head-replay': ({ flags }) =>
    (flags & SYN) !== 0 ? 'handshake that waited for the link, sent on' : 'newest copy of what was in flight, sent on',
  'ack-sync': () => 'ACK sync: the far sender learns what its peer has received',
  'wake-up': () =>
    'wake-up: unreachable to the far sender, which undoes its back-off and retransmits at once (RFC 6069)',
  unreachable: () => 'unreachable instead of a zero window: what is in flight is not held (RFC 6069)',
  question: ({ flags }) =>
    `question: does anybody answer beyond the loss? ${(flags & SYN) !== 0 ? 'SYN' : 'keepalive'}`,
  reset: ({ flags }) => `reset: the connection is over${(flags & FIN) !== 0 ? ' (FIN)' : ''}`,
};

/** What happened so shortly before belongs to the same moment. */
const NOW: Micros = 50;

/** "0.4 ms", "12 ms", "3.25 s", "4 min 10 s" */
export function elapsedText(micros: Micros): string {
  const millis = micros / 1_000;
  if (millis < 10) return `${millis.toFixed(1)} ms`;
  if (millis < 1_000) return `${Math.round(millis)} ms`;
  const seconds = micros / MICROS_PER_SECOND;
  if (seconds < 120) return `${seconds.toFixed(2)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

function lossText({ lossName, lossReason, isLost, elapsed }: Deed): string {
  if (lossName === '') return '';
  const isNow = elapsed < NOW;
  if (!isLost) return `; ${lossName} back ${isNow ? 'now' : `for ${elapsedText(elapsed)}`}`;
  return `; ${lossName} lost ${isNow ? 'now' : `${elapsedText(elapsed)} ago`}${lossReason === '' ? '' : `: ${lossReason}`}`;
}

/** The sentence alone. */
export function sentenceOf(deed: Deed): string {
  const isStopped = deed.fate === 'held' && isPassing(deed.code);
  const what = isStopped
    ? 'dropped: its receiver cannot be reached either'
    : WORDS[NOTE_NAMES[deed.code] ?? 'forwarded'](deed);
  return `${what}${lossText(deed)}`;
}

/** The whole comment. */
export function commentOf(deed: Deed): string {
  const { fate, code, flow, phase, custodyBytes, lossReason, lossName, isLost } = deed;
  const where = flow === '' ? '' : ` flow=${flow} phase=${PHASE_NAMES[phase] ?? ''} custody=${custodyBytes}`;
  const cause = isLost ? (lossReason === '' ? lossName : lossReason) : '';
  const reason = cause === '' ? '' : ` reason="${cause.replace(/["\]\n]/g, "'")}"`;
  return `${sentenceOf(deed)} [tcpfreeze fate=${fate} action=${NOTE_NAMES[code] ?? 'forwarded'}${where}${reason}]`;
}
