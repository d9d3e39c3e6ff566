/**
 * Rulebook: which rule of the configuration applies to a connection. Compiled once per configuration; asked when a connection is
 * admitted, and again at its next loss when the rules have changed meanwhile. First match wins.
 */
import { NEVER } from '../base/time.ts';
import { type Flow, KEY_WORDS } from '../flow/flow.ts';
import { NO_TERMS, type Terms } from '../flow/terms.ts';
import type { LinkMonitor } from '../link/monitor.ts';
import { matchesPrefix } from '../link/routes.ts';
import { DEFAULT_RULE, FLOW_CLASSES, type PolicyRule, PRIORITIES } from '../policy/policy.ts';
import { parsePrefix } from '../wire/address.ts';

interface CompiledPrefix {
  readonly family: 4 | 6;
  readonly words: Int32Array;
  readonly length: number;
}

interface CompiledRule {
  /** Null: every address, port, interface. */
  readonly prefixes: readonly CompiledPrefix[] | null;
  readonly ports: PolicyRule['match']['port'] | null;
  /** Port indexes; an interface that is not configured matches nothing. */
  readonly links: readonly number[] | null;
  readonly terms: Terms;
}

export class Rulebook {
  readonly #monitor: LinkMonitor;
  #rules: readonly CompiledRule[] = [];
  #fallback: Terms = NO_TERMS;
  /** Counts the configurations; a flow whose own number is another has terms of earlier rules. */
  edition = 0;

  constructor(monitor: LinkMonitor, rules: readonly PolicyRule[]) {
    this.#monitor = monitor;
    this.replace(rules);
  }

  /** Other rules apply from now on. */
  replace(rules: readonly PolicyRule[]): void {
    this.#rules = rules.map((rule, index) => compile(rule, index, this.#monitor));
    this.#fallback = termsOf(DEFAULT_RULE, -1);
    this.edition++;
  }

  /** Gives a flow whose interfaces are known the terms of the first rule that matches. */
  assign(flow: Flow, keys: Int32Array): void {
    flow.edition = this.edition;
    flow.terms = this.#rules.find((rule) => matches(rule, flow, keys))?.terms ?? this.#fallback;
  }
}

function matches(rule: CompiledRule, flow: Flow, keys: Int32Array): boolean {
  const [a, b] = flow.halves;
  if (rule.links !== null && !rule.links.includes(a.port) && !rule.links.includes(b.port)) return false;
  if (rule.ports !== null && rule.ports !== undefined) {
    const { originatorPort, responderPort } = flow;
    const isCovered = rule.ports.some(
      ({ from, to }) =>
        (originatorPort >= from && originatorPort <= to) || (responderPort >= from && responderPort <= to),
    );
    if (!isCovered) return false;
  }
  if (rule.prefixes === null) return true;
  const at = flow.index * KEY_WORDS;
  return rule.prefixes.some(
    ({ family, words, length }) =>
      family === flow.family && (matchesPrefix(keys, at, words, length) || matchesPrefix(keys, at + 4, words, length)),
  );
}

function compile(rule: PolicyRule, index: number, monitor: LinkMonitor): CompiledRule {
  const { prefix, port, interface: names } = rule.match;
  return {
    prefixes: prefix === undefined ? null : prefix.flatMap(compilePrefix),
    ports: port ?? null,
    links: names === undefined ? null : names.flatMap((name) => monitor.byName(name)?.port ?? []),
    terms: termsOf(rule, index),
  };
}

function compilePrefix(text: string): CompiledPrefix[] {
  const prefix = parsePrefix(text);
  if (prefix === undefined) return [];
  const { family, address, prefixLength } = prefix;
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  const words = new Int32Array(4);
  for (let i = 0; i < address.byteLength / 4; i++) words[i] = view.getInt32(4 * i);
  return [{ family, words, length: prefixLength }];
}

function termsOf(rule: PolicyRule, index: number): Terms {
  const { trickle } = rule;
  return {
    rule: index,
    freeze: rule.freeze,
    rank: FLOW_CLASSES.indexOf(rule.class) as Terms['rank'],
    class: rule.class,
    turn: PRIORITIES.indexOf(rule.priority),
    priority: rule.priority,
    maxOutage: rule.maxOutage ?? NEVER,
    keep: rule.keep,
    custody: rule.custody,
    wakeup: rule.wakeup,
    trickle: trickle === 'off' ? 0 : trickle === 'auto' ? -1 : trickle,
    parkSyn: rule.parkSyn,
    silent: rule.giveUp === 'silent',
  };
}
