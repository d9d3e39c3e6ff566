/**
 * What a firewall on this machine makes of steered TCP. Pure: reads what `nft -j list ruleset` printed.
 *
 * On the detour a packet is forwarded twice, as `lan0 -> TUN` and `TUN -> wan0`. A rule of a forward chain that names an
 * output interface sees the TUN instead of it, and in the second pass an input interface is the TUN. So a firewall that
 * drops what it does not know drops all steered TCP, and one that forbids a pair of interfaces forbids it no more. Both
 * are found here, not mended: the firewall is its owner's. `fib daddr oifname` says where a packet really goes.
 */

interface Expression {
  readonly match?: { readonly left?: unknown; readonly right?: unknown };
  readonly jump?: { readonly target: string };
  readonly goto?: { readonly target: string };
  readonly accept?: null;
  readonly drop?: null;
  readonly reject?: unknown;
  readonly xt?: { readonly type: string; readonly name: string };
}

interface Rule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
  readonly expr: readonly Expression[];
}

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

interface Listed {
  readonly chain?: Chain;
  readonly rule?: Rule;
  readonly flowtable?: { readonly family: string; readonly table: string; readonly name: string };
}

export interface FirewallOptions {
  readonly tun: string;
  readonly lan: readonly string[];
  readonly wan: readonly string[];
}

/** Rules that are named one by one. */
const HANDLES_NAMED = 4;

/** Something about the machine that stands in the way. */
export interface Obstacle {
  /** `fail`: steered TCP does not get through. */
  readonly state: 'warn' | 'fail';
  readonly found: string;
  /** Commands or advice. */
  readonly remedy: string;
}

/** @param json of `nft -j list ruleset` */
export function firewallObstacles(json: string, options: FirewallOptions): Obstacle[] {
  const listed = json.trim() === '' ? [] : (JSON.parse(json) as { readonly nftables: readonly Listed[] }).nftables;
  const rules = listed.flatMap(({ rule }) => (rule === undefined ? [] : [rule]));
  const chains = listed.flatMap(({ chain }) => (chain?.hook === 'forward' ? [chain] : []));
  const obstacles = chains.flatMap((chain) => obstaclesOf(chain, reachable(chain, rules), options));
  for (const { flowtable } of listed) {
    if (flowtable === undefined) continue;
    obstacles.push({
      state: 'warn',
      found: `the flow table ${flowtable.family} ${flowtable.table} ${flowtable.name} takes established connections past the gateway`,
      remedy: 'take its "flow add" rules away, or let them match no TCP: nft -a list ruleset',
    });
  }
  return obstacles;
}

/** The rules that a packet in this chain may meet. */
function reachable(chain: Chain, rules: readonly Rule[]): Rule[] {
  const found: Rule[] = [];
  const visited = new Set<string>();
  const visit = (name: string): void => {
    if (visited.has(name)) return;
    visited.add(name);
    for (const rule of rules) {
      if (rule.family !== chain.family || rule.table !== chain.table || rule.chain !== name) continue;
      found.push(rule);
      for (const { jump, goto } of rule.expr) {
        const target = jump?.target ?? goto?.target;
        if (target !== undefined) visit(target);
      }
    }
  };
  visit(chain.name);
  return found;
}

function obstaclesOf(chain: Chain, rules: readonly Rule[], options: FirewallOptions): Obstacle[] {
  const place = `${chain.family} ${chain.table} ${chain.name}`;
  if (rules.some((rule) => knowsTun(rule, options.tun))) return [];
  const obstacles: Obstacle[] = [];
  const isOpen = rules.some((rule) => isAccept(rule) && matchesAnyDestination(rule));
  if (dropsTheRest(chain, rules) && !isOpen) {
    obstacles.push({
      state: 'fail',
      found: `the firewall chain ${place} drops what it does not know, and it does not know the TUN device ${options.tun}`,
      remedy: acceptCommands(chain, options),
    });
  }
  const deaf = rules.filter((rule) => isRefusal(rule) && matches(rule, 'oif'));
  if (deaf.length > 0) {
    const first = deaf.slice(0, HANDLES_NAMED).map((rule) => `${rule.chain} ${rule.handle}`);
    const handles = [...first, ...(deaf.length > HANDLES_NAMED ? [`${deaf.length - HANDLES_NAMED} more`] : [])].join(
      ', ',
    );
    obstacles.push({
      state: 'warn',
      found: `rules below ${place} that forbid an output interface (handle ${handles}) do not see steered TCP: it leaves through ${options.tun} there`,
      remedy: 'match "fib daddr oifname" instead of "oifname" in them: nft -a list ruleset',
    });
  }
  return obstacles;
}

/** Whether a rule names the TUN, or a pattern that it fits. */
function knowsTun(rule: Rule, tun: string): boolean {
  const words = [...JSON.stringify(rule.expr).matchAll(/"([^"]+)"/g)].map((match) => match[1]!);
  return words.some(
    (word) => word === tun || (word.endsWith('*') && word.length > 1 && tun.startsWith(word.slice(0, -1))),
  );
}

/** Whether what no other rule decides is dropped: by policy, or by a last rule without conditions. */
function dropsTheRest(chain: Chain, rules: readonly Rule[]): boolean {
  if (chain.policy === 'drop') return true;
  return rules.some((rule) => rule.chain === chain.name && isRefusal(rule) && !hasConditions(rule));
}

function isAccept({ expr }: Rule): boolean {
  return expr.some((one) => 'accept' in one);
}

function isRefusal({ expr }: Rule): boolean {
  return expr.some(
    (one) => 'drop' in one || 'reject' in one || (one.xt?.type === 'target' && /^(DROP|REJECT)$/.test(one.xt.name)),
  );
}

function hasConditions({ expr }: Rule): boolean {
  return expr.some((one) => 'match' in one || one.xt?.type === 'match');
}

/** Whether a rule looks at the output interface or the input interface (`oif`, `oifname`; `iif`, `iifname`). */
function matches({ expr }: Rule, which: 'oif' | 'iif'): boolean {
  return expr.some((one) => JSON.stringify(one.match?.left ?? '').includes(`"key":"${which}`));
}

/** Whether an accepting rule accepts all TCP of some interfaces or sources, whatever interface it leaves by, hence by the TUN. */
function matchesAnyDestination({ expr }: Rule): boolean {
  return expr.every((one) => {
    if (one.xt?.type === 'match') return false;
    if (one.match === undefined) return true;
    const left = one.match.left as {
      readonly meta?: { readonly key: string };
      readonly payload?: { readonly field: string };
    };
    if (left.meta?.key === 'l4proto') return one.match.right === 'tcp' || one.match.right === 6;
    return left.payload?.field === 'saddr' || /^(iif|nfproto|protocol)/.test(left.meta?.key ?? '');
  });
}

/** The commands that let steered TCP through as the firewall would without the detour: LAN to WAN, and answers. */
function acceptCommands({ family, table, name }: Chain, { tun, lan, wan }: FirewallOptions): string {
  const isIptables = (family === 'ip' || family === 'ip6') && table === 'filter' && name === 'FORWARD';
  if (isIptables) {
    const program = family === 'ip' ? 'iptables' : 'ip6tables';
    return [
      ...lan.map((one) => `${program} -I FORWARD -i ${one} -o ${tun} -j ACCEPT`),
      ...wan.map(
        (one) => `${program} -I FORWARD -i ${one} -o ${tun} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`,
      ),
      `${program} -I FORWARD -i ${tun} -j ACCEPT`,
    ].join(' && ');
  }
  const rule = `nft insert rule ${family} ${table} ${name}`;
  return [
    `${rule} iifname ${nameSet(lan)} oifname ${tun} fib daddr oifname ${nameSet(wan)} accept`,
    `${rule} iifname ${nameSet(wan)} oifname ${tun} ct state established,related accept`,
    `${rule} iifname ${tun} accept`,
  ].join(' && ');
}

/** A set for nft on a shell's command line. */
function nameSet(names: readonly string[]): string {
  if (names.length === 0) return 'INTERFACE';
  return names.length === 1 ? names[0]! : `'{ ${names.join(', ')} }'`;
}
