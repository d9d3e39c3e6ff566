import { describe, expect, test } from 'vitest';
import { type Action, accepted, toCommand, toFlowJson } from '../../src/control/api.ts';

describe('requests become commands', () => {
  test.each<[Action, unknown, unknown]>([
    ['freeze', {}, { kind: 'freeze', selector: { kind: 'all' } }],
    [
      'freeze',
      { link: 'wan0', lead: 0.2, for: 5 },
      { kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros: 200_000, forMicros: 5_000_000 },
    ],
    ['freeze', { host: '::1' }, { kind: 'freeze', selector: { kind: 'host', address: '::1' } }],
    ['resume', { prefix: '10.0.0.0/8' }, { kind: 'resume', selector: { kind: 'prefix', prefix: '10.0.0.0/8' } }],
    ['resume', { prefix: '2001:db8::/32' }, { kind: 'resume', selector: { kind: 'prefix', prefix: '2001:db8::/32' } }],
    ['abort', { flow: '3' }, { kind: 'abort', selector: { kind: 'flow', id: '3' } }],
  ])('%s %j', (action, body, command) => expect(toCommand(action, body)).toEqual(command));

  test.each<[Action, unknown, RegExp]>([
    ['freeze', null, /JSON object/],
    ['freeze', [], /JSON object/],
    ['freeze', { links: 'x' }, /has no links/],
    ['freeze', { link: 'a', host: '1.1.1.1' }, /one of link, host/],
    ['freeze', { link: 7 }, /link must be a text/],
    ['freeze', { link: '' }, /link must be a text/],
    ['freeze', { host: 'example.org' }, /not an IP address/],
    ['freeze', { prefix: '10.0.0.0' }, /not a prefix/],
    ['freeze', { prefix: '10.0.0.0/33' }, /not a prefix/],
    ['freeze', { prefix: 'fe80::%lan0/64' }, /not a prefix/],
    ['freeze', { lead: -1 }, /lead must be/],
    ['freeze', { for: '5s' }, /for must be/],
    ['freeze', { for: Number.NaN }, /for must be/],
    ['resume', { for: 5 }, /resume has no for/],
    ['abort', {}, /flow or a host/],
    ['abort', { prefix: '10.0.0.0/8' }, /flow or a host/],
  ])('%s %j is refused', (action, body, words) => expect(() => toCommand(action, body)).toThrow(words));
});

describe('what a DHCP hook reports', () => {
  const own = { kind: 'dhcp', name: 'wan0', lease: 'own', family: 4 };
  test.each<[unknown, unknown]>([
    [
      { event: 'expired', interface: 'wan0' },
      { ...own, what: 'expired' },
    ],
    [
      { event: 'bound', interface: 'wan0', address: '192.0.2.7', renew: 30, rebind: 50, lease: 60 },
      {
        ...own,
        what: 'bound',
        address: Uint8Array.of(192, 0, 2, 7),
        renewSeconds: 30,
        rebindSeconds: 50,
        leaseSeconds: 60,
      },
    ],
    // As clients write a lease without end.
    [
      { event: 'bound', interface: 'wan0', lease: 4294967295 },
      { ...own, what: 'bound' },
    ],
    [
      { event: 'released', interface: 'wan0', family: 6 },
      { ...own, what: 'released', family: 6 },
    ],
    [
      { event: 'asking', interface: 'lan0', host: true, hardware: '06-02:00:00:00:81:07' },
      { ...own, name: 'lan0', lease: 'host', what: 'asking', hardware: Uint8Array.of(2, 0, 0, 0, 0x81, 7) },
    ],
    [
      { event: 'bound', interface: 'wan0', address: '2001:db8::7' },
      {
        ...own,
        what: 'bound',
        family: 6,
        address: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7),
      },
    ],
    [
      { event: 'expired', interface: 'wan0', prefix: '2001:db8:7:8::/48' },
      {
        ...own,
        what: 'expired',
        family: 6,
        address: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        prefixLength: 48,
      },
    ],
  ])('%j', (body, event) => expect(toCommand('dhcp-event', body)).toEqual({ kind: 'dhcp', event }));

  test.each<[unknown, RegExp]>([
    [{}, /event must be one of bound, renewed/],
    [{ event: 'lost', interface: 'wan0' }, /event must be one of/],
    [{ event: 'bound' }, /interface must be/],
    [{ event: 'bound', interface: 'a/b' }, /interface must be/],
    [{ event: 'bound', interface: 'wan0', adress: '192.0.2.7' }, /has no adress/],
    [{ event: 'bound', interface: 'wan0', address: '192.0.2.700' }, /address must be an IP address/],
    [{ event: 'bound', interface: 'wan0', address: '0.0.0.0' }, /unspecified/],
    [{ event: 'bound', interface: 'wan0', address: 7 }, /address must be an IP address/],
    [{ event: 'bound', interface: 'wan0', address: '192.0.2.7', family: 6 }, /family is not that of address/],
    [{ event: 'bound', interface: 'wan0', family: 5 }, /family must be 4 or 6/],
    [{ event: 'bound', interface: 'wan0', host: 'yes' }, /host must be true or false/],
    [{ event: 'released', interface: 'lan0', host: true }, /address or hardware/],
    [{ event: 'bound', interface: 'lan0', host: true, hardware: '02:00:00' + ':zz' }, /hardware must be/],
    [{ event: 'bound', interface: 'wan0', lease: -1 }, /lease must be a whole number/],
    [{ event: 'bound', interface: 'wan0', lease: 1.5 }, /lease must be a whole number/],
    [{ event: 'bound', interface: 'wan0', renew: '60' }, /renew must be a whole number/],
    [{ event: 'bound', interface: 'wan0', prefix: '2001:db8::' }, /prefix must be an IPv6 prefix/],
    [{ event: 'bound', interface: 'wan0', prefix: '::/0' }, /16 to 127 bits/],
    [{ event: 'bound', interface: 'wan0', prefix: '10.0.0.0/24' }, /prefix must be an IPv6 prefix/],
    [{ event: 'bound', interface: 'wan0', prefix: '2001:db8:7::/48', address: '2001:db8::7' }, /instead of address/],
    [{ event: 'bound', interface: 'wan0', prefix: '2001:db8:7::/48', family: 4 }, /family is not that of address/],
    [[], /JSON object/],
  ])('%j is refused', (body, words) => expect(() => toCommand('dhcp-event', body)).toThrow(words));
});

test('a refusal of the engine becomes its error', () => {
  expect(() => accepted({ kind: 'refused', code: 'X', message: 'no such link', remedy: 'r' }, 'done')).toThrow(
    'no such link',
  );
  expect(accepted({ kind: 'done', flows: 2, message: 'm' }, 'done').flows).toBe(2);
});

test('a flow for programs', () => {
  const flow = {
    id: '1.2',
    family: 4,
    originator: '10.0.0.1:1',
    responder: '10.0.0.2:2',
    phase: 'frozen',
    near: 'originator',
    frozenSince: 5_000_000,
    custodyBytes: 9,
    class: 'temporary',
    priority: 'normal',
    rule: 0,
    limit: 60_000_000,
    limitBy: 'rule',
    deadline: 65_000_000,
    trickling: false,
    bypassReason: null,
    windowScales: [7, null],
  } as const;
  const json = toFlowJson(flow, (at) => new Date(at / 1_000));
  expect(json).toEqual({
    ...flow,
    frozenSince: '1970-01-01T00:00:05.000Z',
    limit: 60,
    deadline: '1970-01-01T00:01:05.000Z',
  });
  expect(toFlowJson({ ...flow, frozenSince: null }, () => new Date(0)).frozenSince).toBeNull();
});
