import { describe, expect, test } from 'vitest';
import { firewallObstacles } from '../../src/steering/firewall.ts';

const OPTIONS = { tun: 'tcpfreeze0', lan: ['lan0'], wan: ['wan0', 'wan1'] };

/** Matches as `nft -j` writes them. */
const meta = (key: string, right: unknown) => ({ match: { op: '==', left: { meta: { key } }, right } });
const state = (...right: string[]) => ({ match: { op: 'in', left: { ct: { key: 'state' } }, right } });

interface ListedRule {
  readonly chain?: string;
  readonly expr: readonly object[];
}

function ruleset(
  policy: string,
  rules: readonly ListedRule[],
  place = { family: 'inet', table: 'fw', name: 'forward' },
) {
  const { family, table, name } = place;
  const listed = rules.map(({ chain = name, expr }, index) => ({
    rule: { family, table, chain, handle: index + 3, expr },
  }));
  const chain = { ...place, handle: 1, type: 'filter', hook: 'forward', prio: 0, policy };
  return JSON.stringify({ nftables: [{ metainfo: {} }, { table: { family, name: table } }, { chain }, ...listed] });
}

const ESTABLISHED = { expr: [state('established', 'related'), { accept: null }] };
const OUTWARDS = { expr: [meta('iifname', 'lan0'), meta('oifname', { set: ['wan0'] }), { accept: null }] };

test('no rules, an empty answer, a chain that accepts: nothing', () => {
  expect(firewallObstacles('', OPTIONS)).toEqual([]);
  expect(firewallObstacles(ruleset('accept', [ESTABLISHED, OUTWARDS]), OPTIONS)).toEqual([]);
});

describe('a chain that drops the rest', () => {
  test.each([
    ['by policy', ruleset('drop', [ESTABLISHED, OUTWARDS])],
    ['by a last rule', ruleset('accept', [OUTWARDS, { expr: [{ counter: {} }, { reject: {} }] }])],
    ['by a target of iptables', ruleset('accept', [{ expr: [{ xt: { type: 'target', name: 'REJECT' } }] }])],
  ])('%s fails, with the commands that mend it', (_how, json) => {
    const [obstacle, ...more] = firewallObstacles(json, OPTIONS);
    expect(more).toEqual([]);
    expect(obstacle).toEqual({
      state: 'fail',
      found:
        'the firewall chain inet fw forward drops what it does not know, and it does not know the TUN device tcpfreeze0',
      remedy:
        "nft insert rule inet fw forward iifname lan0 oifname tcpfreeze0 fib daddr oifname '{ wan0, wan1 }' accept && " +
        "nft insert rule inet fw forward iifname '{ wan0, wan1 }' oifname tcpfreeze0 ct state established,related accept && " +
        'nft insert rule inet fw forward iifname tcpfreeze0 accept',
    });
  });

  test('the chain of iptables is mended by iptables', () => {
    const [obstacle] = firewallObstacles(
      ruleset('drop', [], { family: 'ip', table: 'filter', name: 'FORWARD' }),
      OPTIONS,
    );
    expect(obstacle!.remedy).toMatch(/^iptables -I FORWARD -i lan0 -o tcpfreeze0 -j ACCEPT && .*-m conntrack/);
  });

  test.each([
    ['the TUN is named', { expr: [meta('iifname', 'tcpfreeze0'), { accept: null }] }],
    ['a pattern fits it', { expr: [meta('oifname', 'tcpf*'), { accept: null }] }],
    ['the LAN may go anywhere', { expr: [meta('iifname', 'lan0'), { accept: null }] }],
    ['a rule in a chain that is called', { chain: 'more', expr: [meta('oifname', 'tcpfreeze0'), { accept: null }] }],
  ])('is no obstacle when %s', (_why, rule) => {
    const call = { expr: [{ jump: { target: 'more' } }] };
    expect(firewallObstacles(ruleset('drop', [ESTABLISHED, call, rule]), OPTIONS)).toEqual([]);
  });

  test.each([
    ['ping', { expr: [{ match: { left: { payload: { protocol: 'icmp', field: 'type' } } } }, { accept: null }] }],
    ['UDP', { expr: [meta('l4proto', 'udp'), { accept: null }] }],
    [
      'one port',
      { expr: [{ match: { left: { payload: { protocol: 'tcp', field: 'dport' } }, right: 22 } }, { accept: null }] },
    ],
    ['what another module matches', { expr: [{ xt: { type: 'match', name: 'conntrack' } }, { accept: null }] }],
  ])('is one though it accepts %s', (_what, rule) => {
    expect(firewallObstacles(ruleset('drop', [rule]), OPTIONS)).toHaveLength(1);
  });

  test('a chain that nobody calls does not count', () => {
    const rule = { chain: 'unused', expr: [meta('oifname', 'tcpfreeze0'), { accept: null }] };
    expect(firewallObstacles(ruleset('drop', [rule]), OPTIONS)).toHaveLength(1);
  });
});

test('a rule that forbids a pair of interfaces is told by its handle', () => {
  const rule = { expr: [meta('iifname', 'guest0'), meta('oifname', 'lan0'), { drop: null }] };
  expect(firewallObstacles(ruleset('accept', [OUTWARDS, rule]), OPTIONS)).toEqual([
    {
      state: 'warn',
      found: expect.stringMatching(/^rules below inet fw forward that forbid an output interface \(handle forward 4\)/),
      remedy: 'match "fib daddr oifname" instead of "oifname" in them: nft -a list ruleset',
    },
  ]);
  const mended = {
    expr: [meta('iifname', 'guest0'), { match: { left: { fib: { result: 'oifname' } } } }, { drop: null }],
  };
  expect(firewallObstacles(ruleset('accept', [OUTWARDS, mended]), OPTIONS)).toEqual([]);
});

test('a flow table goes past the gateway', () => {
  const json = JSON.stringify({ nftables: [{ flowtable: { family: 'inet', name: 'f', table: 'fw', handle: 2 } }] });
  expect(firewallObstacles(json, OPTIONS)).toMatchObject([
    { state: 'warn', found: 'the flow table inet fw f takes established connections past the gateway' },
  ]);
});
