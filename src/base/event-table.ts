/**
 * The events that the gateway tells: one list for `tcpfreeze events`, the log and the control socket. Names and codes are
 * stable; README's table is made from this one (`npm run docs`).
 *
 * Codes: 1xx links, 2xx hosts, prefixes and other scopes, 3xx flows, 4xx commands, 5xx the process and its datapath.
 * A code that was given up is not used again.
 */
export const SEVERITIES = ['debug', 'info', 'warn', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

export interface EventKind {
  readonly code: number;
  readonly severity: Severity;
  /** One sentence for the documentation. */
  readonly meaning: string;
  /** Names of the figures that may come with it, as in the JSON; durations are in seconds there. */
  readonly figures: readonly string[];
}

function kind(code: number, severity: Severity, meaning: string, ...figures: string[]): EventKind {
  return { code, severity, meaning, figures };
}

export const EVENTS = {
  'link-lost': kind(101, 'warn', 'a link is held for lost; `reason` names the evidence'),
  'link-restored': kind(102, 'info', 'the evidence against a link is gone'),
  'host-lost': kind(201, 'warn', 'one host does not answer any more, while its link does'),
  'host-restored': kind(202, 'info', 'the host answers again'),
  'scope-lost': kind(203, 'info', 'a host, prefix or flow is held by command'),
  'scope-restored': kind(204, 'info', 'a host, prefix or flow was released'),
  'address-lost': kind(205, 'warn', 'an address is gone from a link, and connections with it', 'flows'),
  'address-abandoned': kind(206, 'warn', 'an address did not return; its connections are given back as they are'),
  'flows-frozen': kind(301, 'info', 'what a loss has frozen, all flows in one event', 'flows', 'bytes', 'denied'),
  'flows-thawed': kind(302, 'info', 'what a return has thawed, all flows in one event', 'flows'),
  'handback-complete': kind(303, 'info', 'everything in custody was delivered', 'flows', 'bytes', 'duration'),
  'flows-aborted': kind(304, 'info', 'connections were ended by command', 'flows', 'bytes'),
  'flow-table-full': kind(305, 'warn', 'new connections are forwarded untracked; told every 10 s at most', 'flows'),
  'flows-rerouted': kind(306, 'info', 'routes have changed, and connections go over another link now', 'flows'),
  'host-share-full': kind(307, 'warn', 'a host has its share of flows; told every 10 s at most', 'flows'),
  'forgeries-dropped': kind(
    308,
    'warn',
    'more segments than 1,000 a second cannot be of their connections; told every 10 s at most',
    'packets',
  ),
  'newcomers-deferred': kind(
    309,
    'warn',
    'more than 1,000 connections a second begin: each is tracked from its second segment on; told every 10 s at most',
    'packets',
  ),
  'flow-reset': kind(310, 'debug', 'a far peer has reset a connection that was held', 'bytes'),
  'flow-aborted': kind(311, 'debug', 'a connection was ended by command', 'bytes', 'duration'),
  'flow-frozen': kind(312, 'debug', 'a connection is held; `reason` is the cause of the loss', 'bytes'),
  'flow-denied': kind(313, 'debug', 'a connection waits without custody: what is in flight is not held', 'bytes'),
  'flow-thawed': kind(314, 'debug', 'the loss is over for a connection', 'bytes', 'outage'),
  'flow-handed-back': kind(315, 'debug', 'the custody of a connection was delivered', 'duration'),
  'flow-bypassed': kind(316, 'debug', 'a connection is left alone; `reason` says why'),
  'flow-given-up': kind(317, 'debug', 'a frozen connection reached its limit, or made room', 'bytes', 'duration'),
  'flow-timed-out': kind(318, 'debug', 'a near endpoint gave up while it was frozen', 'bytes', 'duration', 'least'),
  'flow-near-reset': kind(319, 'debug', 'an application ended its frozen connection', 'bytes', 'duration'),
  'flow-events-left-out': kind(320, 'debug', 'more happened to single flows than is told', 'events'),
  'flow-stranded': kind(321, 'debug', 'a connection waits for its own address to return'),
  'flows-given-up': kind(330, 'warn', 'frozen connections reached a limit, or made room', 'flows', 'bytes'),
  'flows-timed-out': kind(331, 'warn', 'near endpoints gave up while they were frozen', 'flows', 'bytes'),
  'flows-undeliverable': kind(332, 'warn', 'far peers have reset connections that were held', 'flows', 'bytes'),
  'freeze-planned': kind(401, 'info', 'a freeze was announced and flows drain', 'flows', 'lead'),
  'rules-replaced': kind(402, 'info', 'another configuration applies from now on', 'rules'),
  'reload-refused': kind(403, 'error', 'a new configuration has mistakes; the old one stays'),
  'command-refused': kind(404, 'warn', 'a command of the control socket could not be carried out'),
  'capture-started': kind(430, 'info', 'a capture was started'),
  'capture-stopped': kind(431, 'info', 'a capture was stopped by command', 'packets', 'bytes', 'dropped'),
  'capture-failed': kind(
    432,
    'error',
    'a capture ended by itself: no room, an error of its output',
    'packets',
    'bytes',
    'dropped',
  ),
  'events-dropped': kind(501, 'warn', 'more happened at once than could be told', 'events'),
  'datapath-failed': kind(510, 'error', "the datapath ended; traffic takes the kernel's way until it runs again"),
  'datapath-restarted': kind(511, 'warn', 'the datapath runs again'),
  'steering-repaired': kind(520, 'warn', 'somebody removed rules or routes of the gateway, and they were put back'),
  'journal-recalled': kind(530, 'warn', 'held connections of an earlier run are held again', 'flows', 'bytes'),
  'journal-dropped': kind(
    531,
    'warn',
    'what an earlier run had in custody cannot be delivered any more',
    'flows',
    'bytes',
  ),
  'journal-failed': kind(
    532,
    'error',
    'the journal cannot be written: nothing is taken into custody',
    'flows',
    'bytes',
  ),
  'journal-mended': kind(533, 'info', 'the journal can be written again'),
} as const satisfies Readonly<Record<string, EventKind>>;

export type EventName = keyof typeof EVENTS;

export const EVENT_NAMES = Object.keys(EVENTS) as readonly EventName[];

export function eventKind(name: EventName): EventKind {
  return EVENTS[name];
}
