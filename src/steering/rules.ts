/**
 * Policy routing of the gateway: which TCP enters the TUN. Pure: reads what `ip -j` printed, makes argument lists.
 *
 * Per named interface `ip rule ... iif X ipproto tcp lookup T`, and in table T a default route to the TUN. What is
 * written back to the TUN enters with iif = the TUN, matches none of these rules, and is routed as usual. When the
 * process dies the TUN and its routes vanish, the rules find an empty table, and the lookup goes on: fail-open.
 * The table of local addresses comes first, so traffic to the gateway itself never matches; what the gateway sends
 * has iif lo and does not match either.
 */
import { TcpfreezeError } from '../base/errors.ts';

/**
 * Originator of our rules and routes (rtm_protocol, FRA_PROTOCOL), so that left-overs are recognised. Free in
 * iproute2's rt_protos, whose routing daemons use 8..18, 42, 99 and 186..198.
 */
export const ROUTE_PROTOCOL = 211;

/** Tables tried in turn. Nobody's reserved range; low numbers are what administrators pick by hand. */
const FIRST_TABLE = 7_100;
const LAST_TABLE = 7_199;

/** Where the rules go when nothing stands in the way. */
const USUAL_PRIORITY = 100;

/** Mark of ICMP from the TUN towards the LAN while its source is validated; see `sourceRule`. */
export const SOURCE_MARK = 0x0200_0000;

export type Family = 4 | 6;

/** A rule of `ip -j rule`, as far as it is needed here. */
export interface RuleEntry {
  readonly priority: number;
  readonly table: string;
  readonly iif?: string;
  readonly ipproto?: string;
  readonly protocol?: string;
  readonly fwmark?: string;
}

/** A route of `ip -j route show table all`, as far as it is needed here. */
export interface RouteEntry {
  readonly dst: string;
  readonly table: string;
  readonly dev?: string;
  readonly protocol?: string;
}

/** What the family's policy routing looked like, ours included. */
export interface RoutingState {
  readonly rules: readonly RuleEntry[];
  readonly routes: readonly RouteEntry[];
}

/** Names of iproute2's own tables; `ip -N` prints numbers, older versions names. */
const TABLE_NUMBERS: Readonly<Record<string, string>> = { default: '253', main: '254', local: '255' };

function tableNumber(name: string): string {
  return TABLE_NUMBERS[name] ?? name;
}

/** `ip -N` prints `ipproto-6`, `ip` without it `tcp`. */
function protocolName(text: string): string {
  return text === 'ipproto-6' || text === '6' ? 'tcp' : text.replace(/^ipproto-/, '');
}

export function parseRules(json: string): RuleEntry[] {
  const entries: unknown = json.trim() === '' ? [] : JSON.parse(json);
  if (!Array.isArray(entries)) return [];
  return entries.map((entry: Record<string, unknown>) => ({
    priority: Number(entry.priority),
    table: tableNumber(String(entry.table ?? '')),
    ...(entry.iif === undefined ? {} : { iif: String(entry.iif) }),
    ...(entry.ipproto === undefined ? {} : { ipproto: protocolName(String(entry.ipproto)) }),
    ...(entry.protocol === undefined ? {} : { protocol: String(entry.protocol) }),
    ...(entry.fwmark === undefined ? {} : { fwmark: String(entry.fwmark) }),
  }));
}

export function parseRoutes(json: string): RouteEntry[] {
  const entries: unknown = json.trim() === '' ? [] : JSON.parse(json);
  if (!Array.isArray(entries)) return [];
  return entries.map((entry: Record<string, unknown>) => ({
    dst: String(entry.dst ?? ''),
    table: tableNumber(String(entry.table ?? '254')),
    ...(entry.dev === undefined ? {} : { dev: String(entry.dev) }),
    ...(entry.protocol === undefined ? {} : { protocol: String(entry.protocol) }),
  }));
}

export function isOurs(entry: { readonly protocol?: string }): boolean {
  return entry.protocol === String(ROUTE_PROTOCOL);
}

/**
 * @param wanted from the configuration, or null
 * @param states of both families
 * @throws TcpfreezeError TABLE_IN_USE
 */
export function chooseTable(wanted: number | null, states: readonly RoutingState[]): number {
  const used = new Set<string>();
  for (const { rules, routes } of states) {
    for (const entry of [...rules, ...routes]) if (!isOurs(entry)) used.add(entry.table);
  }
  if (wanted !== null) {
    if (!used.has(String(wanted))) return wanted;
    throw new TcpfreezeError(
      'TABLE_IN_USE',
      `route table ${wanted} is used by others`,
      'choose another with steering.table in the configuration, or auto',
    );
  }
  for (let table = FIRST_TABLE; table <= LAST_TABLE; table += 1) if (!used.has(String(table))) return table;
  throw new TcpfreezeError(
    'TABLE_IN_USE',
    `route tables ${FIRST_TABLE} to ${LAST_TABLE} are all used by others`,
    'choose one with steering.table in the configuration',
  );
}

/**
 * A priority after the table of local addresses (so that the gateway's own traffic stays out of the TUN) and before
 * every other rule (one that matched earlier would decide alone, and the packet would never see the TUN).
 * @throws TcpfreezeError PRIORITY_IN_USE
 */
export function choosePriority(wanted: number | null, states: readonly RoutingState[]): number {
  const foreign = states.flatMap(({ rules }) => rules.filter((rule) => !isOurs(rule)));
  const local = Math.max(0, ...foreign.filter(isLocalTable).map((rule) => rule.priority));
  if (wanted !== null) {
    if (wanted > local) return wanted;
    throw new TcpfreezeError(
      'PRIORITY_IN_USE',
      `rule priority ${wanted} comes before the table of local addresses (${local})`,
      'choose a larger one with steering.priority in the configuration, or auto',
    );
  }
  const first = Math.min(
    ...foreign.filter((rule) => !isLocalTable(rule) && rule.priority > local).map((r) => r.priority),
  );
  const priority = Math.min(Math.max(USUAL_PRIORITY, local + 1), first - 1);
  if (priority > local) return priority;
  throw new TcpfreezeError(
    'PRIORITY_IN_USE',
    `there is no room for a rule between the table of local addresses (priority ${local}) and the rule with priority ${first}`,
    'move that rule, or choose a place with steering.priority in the configuration',
  );
}

function isLocalTable(rule: RuleEntry): boolean {
  return rule.table === TABLE_NUMBERS.local;
}

function familyFlag(family: Family): string {
  return family === 4 ? '-4' : '-6';
}

/** One thing to add, and how to take it away again. */
export interface RoutingStep {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

/** `ip rule` that sends the TCP of one interface to the table. */
export function steeringRule(family: Family, name: string, table: number, priority: number): RoutingStep {
  // By number: names need /etc/protocols (Debian's netbase), which a minimal system lacks.
  const what = ['iif', name, 'ipproto', '6', ...tail(table, priority)];
  return step(family, 'rule', what);
}

/**
 * `ip rule` for source validation of ICMP that the gateway sends to a LAN host in the name of an address that has no
 * route while the link is lost. The reverse lookup (__mkroute_input and fib_validate_source, Linux net/ipv4) is that of
 * the answer coming in by the LAN interface. For TCP the steering rule answers it with the TUN, and the source is valid;
 * ICMP is not steered, so a mark stands for the protocol. Nothing that really comes in by the LAN carries it.
 */
export function sourceRule(name: string, table: number, priority: number): RoutingStep {
  const what = ['iif', name, 'fwmark', `0x${SOURCE_MARK.toString(16)}`, ...tail(table, priority)];
  return step(4, 'rule', what);
}

/** What all our rules end with. */
function tail(table: number | string, priority: number): string[] {
  return ['lookup', `${table}`, 'priority', `${priority}`, 'protocol', `${ROUTE_PROTOCOL}`];
}

/** Default route of the table. */
export function tunRoute(family: Family, tun: string, table: number): RoutingStep {
  return step(family, 'route', ['default', 'dev', tun, 'table', `${table}`, 'protocol', `${ROUTE_PROTOCOL}`]);
}

function step(family: Family, object: 'rule' | 'route', what: readonly string[]): RoutingStep {
  const head = [familyFlag(family), object];
  return { add: [...head, 'add', ...what], remove: [...head, 'del', ...what] };
}

/** Arguments that delete a rule found by listing. */
export function deleteRule(family: Family, rule: RuleEntry): string[] {
  const selectors = [
    ...(rule.iif === undefined ? [] : ['iif', rule.iif]),
    ...(rule.fwmark === undefined ? [] : ['fwmark', rule.fwmark]),
    ...(rule.ipproto === undefined ? [] : ['ipproto', rule.ipproto === 'tcp' ? '6' : rule.ipproto]),
  ];
  return [familyFlag(family), 'rule', 'del', ...selectors, ...tail(rule.table, rule.priority)];
}

/** Arguments that delete our routes of a table. */
export function flushRoutes(family: Family, table: string): string[] {
  return [familyFlag(family), 'route', 'flush', 'table', table, 'protocol', `${ROUTE_PROTOCOL}`];
}
