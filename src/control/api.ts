/**
 * The JSON of the control socket: what other programs may rely on. Conversions between it and the engine's records.
 */
import { isIP } from 'node:net';
import { TcpfreezeError } from '../base/errors.ts';
import { MICROS_PER_SECOND, type Micros } from '../base/time.ts';
import type {
  Command,
  FlowCounts,
  FlowSnapshot,
  HostSnapshot,
  LinkSnapshot,
  PhaseCounts,
  Reply,
  ResourceSnapshot,
  Selector,
} from '../engine/commands.ts';
import { FLOW_CLASSES } from '../policy/policy.ts';
import { toLeaseEvent } from './lease-api.ts';

export interface LinkJson {
  readonly name: string;
  readonly role: 'lan' | 'wan';
  readonly state: 'up' | 'lost';
  readonly since: string;
  readonly reason: string;
  readonly evidence: readonly string[];
}

/** A host that is held for lost while its link works. */
export interface HostJson {
  readonly address: string;
  readonly link: string;
  readonly since: string;
  readonly reason: string;
  readonly evidence: readonly string[];
}

export interface StatusJson {
  readonly version: string;
  /** Seconds since the gateway was ready. */
  readonly uptime: number;
  /** Null while the datapath is being restarted. */
  readonly tun: string | null;
  readonly links: readonly LinkJson[];
  readonly hosts: readonly HostJson[];
  readonly flows: FlowCounts;
  readonly classes: Readonly<Record<string, PhaseCounts>>;
  readonly custodyBytes: number;
  readonly resources: ResourceSnapshot;
  readonly counters: Readonly<Record<string, number>>;
  /** What the gateway does without on this machine, and what mends it; one line each. */
  readonly degraded: readonly string[];
}

export interface FlowJson extends Omit<FlowSnapshot, 'frozenSince' | 'limit' | 'deadline'> {
  readonly frozenSince: string | null;
  /** Seconds. */
  readonly limit: number | null;
  readonly deadline: string | null;
}

export interface DoneJson {
  readonly flows: number;
  readonly message: string;
}

export interface ErrorJson {
  readonly error: { readonly code: string; readonly message: string; readonly remedy: string };
}

/** Body of POST /freeze, /resume and /abort. One selector at most; durations in seconds. */
export interface ActionJson {
  readonly link?: string;
  readonly host?: string;
  readonly prefix?: string;
  readonly flow?: string;
  /** Abort only: connections of this class. */
  readonly class?: string;
  readonly lead?: number;
  readonly for?: number;
}

export type Action = 'freeze' | 'resume' | 'abort' | 'dhcp-event';

/** Turns an instant of the engine into wall-clock time. */
export type ToDate = (at: Micros) => Date;

export function toLinkJson(link: LinkSnapshot, toDate: ToDate): LinkJson {
  const { name, role, state, since, reason, evidence } = link;
  return { name, role, state, since: toDate(since).toISOString(), reason, evidence };
}

export function toHostJson(host: HostSnapshot, toDate: ToDate): HostJson {
  return { ...host, since: toDate(host.since).toISOString() };
}

export function toFlowJson(flow: FlowSnapshot, toDate: ToDate): FlowJson {
  const { id, family, originator, responder, phase, near, frozenSince, custodyBytes, bypassReason } = flow;
  const { priority, rule, limit, limitBy, deadline, trickling } = flow;
  return {
    id,
    family,
    originator,
    responder,
    phase,
    near,
    frozenSince: frozenSince === null ? null : toDate(frozenSince).toISOString(),
    custodyBytes,
    class: flow.class,
    priority,
    rule,
    limit: limit === null ? null : limit / MICROS_PER_SECOND,
    limitBy,
    deadline: deadline === null ? null : toDate(deadline).toISOString(),
    trickling,
    bypassReason,
    windowScales: flow.windowScales,
  };
}

export function toErrorJson(error: TcpfreezeError): ErrorJson {
  return { error: { code: error.code, message: error.message, remedy: error.remedy } };
}

const SELECTORS = ['link', 'host', 'prefix', 'flow'] as const;

/** What an action may say besides its selector. */
const MORE_FIELDS: Readonly<Record<Action, readonly string[]>> = {
  freeze: ['lead', 'for'],
  resume: [],
  abort: ['class'],
  'dhcp-event': [],
};

/** Lead and hold times beyond this are typing errors. */
const LONGEST_SECONDS = 30 * 86_400;

/**
 * The command for a request.
 * @param body parsed JSON, whatever it is
 * @throws TcpfreezeError BAD_REQUEST
 */
export function toCommand(action: Action, body: unknown): Command {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw badRequest('the body must be a JSON object');
  const fields = body as Record<string, unknown>;
  if (action === 'dhcp-event') return { kind: 'dhcp', event: toLeaseEvent(fields) };
  const known: readonly string[] = [...SELECTORS, ...MORE_FIELDS[action]];
  const unknown = Object.keys(fields).find((name) => !known.includes(name));
  if (unknown !== undefined) throw badRequest(`${action} has no ${unknown}; it has ${known.join(', ')}`);
  const selector = toSelector(fields);
  if (action === 'resume') return { kind: 'resume', selector };
  if (action === 'abort') {
    const className = fields.class;
    if (className !== undefined && !FLOW_CLASSES.some((name) => name === className))
      throw badRequest(`class must be one of ${FLOW_CLASSES.join(', ')}`);
    if (selector.kind !== 'flow' && selector.kind !== 'host' && !(selector.kind === 'all' && className !== undefined))
      throw badRequest('abort needs a flow or a host, or a class');
    return { kind: 'abort', selector, ...(className === undefined ? {} : { className: className as string }) };
  }
  return {
    kind: 'freeze',
    selector,
    ...(fields.lead === undefined ? {} : { leadMicros: toMicros('lead', fields.lead) }),
    ...(fields.for === undefined ? {} : { forMicros: toMicros('for', fields.for) }),
  };
}

function toSelector(fields: Record<string, unknown>): Selector {
  const given = SELECTORS.filter((name) => fields[name] !== undefined);
  if (given.length === 0) return { kind: 'all' };
  if (given.length > 1) throw badRequest(`choose one of ${given.join(', ')}`);
  const kind = given[0]!;
  const value = fields[kind];
  if (typeof value !== 'string' || value === '') throw badRequest(`${kind} must be a text`);
  switch (kind) {
    case 'link':
      return { kind, name: value };
    case 'host':
      if (isIP(value) === 0) throw badRequest(`${value} is not an IP address`);
      return { kind, address: value };
    case 'prefix':
      if (!isPrefix(value)) throw badRequest(`${value} is not a prefix such as 192.0.2.0/24 or 2001:db8::/32`);
      return { kind, prefix: value };
    case 'flow':
      return { kind, id: value };
  }
}

function isPrefix(text: string): boolean {
  const match = /^([^/%]+)\/(\d{1,3})$/.exec(text);
  const family = isIP(match?.[1] ?? '');
  return family !== 0 && Number(match?.[2]) <= (family === 4 ? 32 : 128);
}

function toMicros(name: string, value: unknown): Micros {
  if (typeof value !== 'number' || !(value >= 0 && value <= LONGEST_SECONDS)) {
    throw badRequest(`${name} must be a number of seconds, 0 to ${LONGEST_SECONDS}`);
  }
  return Math.round(value * MICROS_PER_SECOND);
}

/** @throws TcpfreezeError with the engine's words when it refused */
export function accepted<K extends Reply['kind']>(reply: Reply, kind: K): Extract<Reply, { kind: K }> {
  if (reply.kind === 'refused') throw new TcpfreezeError(reply.code, reply.message, reply.remedy);
  if (reply.kind !== kind) throw new TcpfreezeError('BAD_REPLY', `the engine answered ${reply.kind} to ${kind}`, '');
  return reply as Extract<Reply, { kind: K }>;
}

export function badRequest(message: string): TcpfreezeError {
  return new TcpfreezeError('BAD_REQUEST', message, '', 2);
}
