/** Neighbours, leases and addresses: what they bring about. */
import { describe, expect, it } from 'vitest';
import { seconds } from '../../src/base/time.ts';
import { parseAddress } from '../../src/wire/address.ts';
import { SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN } from './conversation.ts';
import { lease, neighbour, ROUTER, resolves, routeVia, standing, verdicts, watchedRig } from './detection-rig.ts';
import { LAN, type Rig } from './rig.ts';

const LAN_LOST = { ...PLAIN, lost: LAN, opener: 'far' } as const;
const HOST = parseAddress('10.1.0.2')!;
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 7);
const OTHER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 8);

const quiet = (): Rig => watchedRig({ silence: false, echo: null, damping: null });

function phases(rig: Rig): string[] {
  return rig.flows().map(({ phase }) => phase);
}

function address(rig: Rig, text: string, present: boolean, name = 'wan0', prefixLength = 24): void {
  const bytes = parseAddress(text)!;
  const family = bytes.length === 4 ? 4 : 6;
  rig.event({ kind: 'address', name, family, address: bytes, prefixLength, global: true, present });
}

describe('a neighbour that does not answer address resolution', () => {
  it('is lost if a connection wants it, and back when it resolves again; its neighbours are left alone', () => {
    const rig = quiet();
    const gone = new Conversation(rig, LAN_LOST, 40_000, 2).open();
    const stays = new Conversation(rig, LAN_LOST, 40_001, 3).open();
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    neighbour(rig, 'lan0', '10.1.0.3', 'reachable');
    gone.tick(1_500);
    gone.fromNear({ payload: new Uint8Array(10) });
    stays.acknowledge('far');
    neighbour(rig, 'lan0', '10.1.0.2', 'probing');
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2']);
    expect(standing(rig)).toEqual({ '10.1.0.2': ['does not answer address resolution'] });
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2', 'host-restored 10.1.0.2']);
    rig.settle();
    expect(phases(rig)).toEqual(['handback', 'flowing']);
  });

  it('is asked first if nobody wants it, and lost when it fails again', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST).open();
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    c.tick(30_000);
    rig.take();
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    expect(verdicts(rig)).toEqual([]);
    expect(c.seen().map(({ to }) => to)).toEqual(['far']);
    c.tick(3_000);
    neighbour(rig, 'lan0', '10.1.0.2', 'probing');
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2']);
  });

  it('is no loss: a scanned address, a host without connections, one heard just now', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST).open();
    for (let i = 10; i < 250; i++) neighbour(rig, 'lan0', `10.1.0.${i}`, 'failed');
    neighbour(rig, 'lan0', '10.1.0.9', 'reachable');
    neighbour(rig, 'lan0', '10.1.0.9', 'failed');
    // Never resolved as far as is known.
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    c.acknowledge('far');
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    expect(verdicts(rig)).toEqual([]);
  });

  it('is probed at its hardware address, again and again, as long as it is asked whether it is back', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST, 40_000, 2).open();
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    c.tick(1_500);
    c.fromNear({ payload: new Uint8Array(10) });
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2']);
    c.tick(250);
    expect(resolves(rig)).toEqual([]);
    c.tick(100);
    expect(resolves(rig)).toEqual(['lan0 10.1.0.2 020000000002']);
    c.tick(3_000);
    expect(resolves(rig)).toEqual([]);
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    c.tick(400);
    expect(resolves(rig)).toEqual(['lan0 10.1.0.2 020000000002']);
    neighbour(rig, 'lan0', '10.1.0.2', 'failed');
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    c.tick(400);
    expect(resolves(rig)).toEqual([]);
  });

  it('is left to the kernel if nobody waits for it, or nothing is known of it', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST, 40_000, 2).open();
    for (let i = 10; i < 250; i++) neighbour(rig, 'lan0', `10.1.0.${i}`, 'failed');
    neighbour(rig, 'lan0', '10.1.0.9', 'reachable');
    neighbour(rig, 'lan0', '10.1.0.9', 'failed');
    c.tick(1_000);
    expect(resolves(rig)).toEqual([]);
  });

  it('takes the link along if it is the next hop of everything', () => {
    const rig = quiet();
    routeVia(rig, ROUTER);
    const c = new Conversation(rig).open();
    neighbour(rig, 'wan0', ROUTER, 'reachable');
    c.tick(2_000);
    c.fromNear({ payload: new Uint8Array(10) });
    neighbour(rig, 'wan0', ROUTER, 'failed');
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    neighbour(rig, 'wan0', ROUTER, 'reachable');
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
  });
});

describe('the lease of an uplink', () => {
  it.each(['nak', 'expired', 'released'] as const)('%s is a loss at once, bound again a return', (what) => {
    const rig = quiet();
    new Conversation(rig).open();
    lease(rig, 'bound', { address: parseAddress('192.0.2.7')!, leaseSeconds: 3_600 });
    lease(rig, what, { address: parseAddress('192.0.2.7')! });
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    expect(standing(rig).wan0![0]).toMatch(/^lease of 192\.0\.2\.7 /);
    expect(phases(rig)).toEqual(['frozen']);
    lease(rig, 'bound', { address: parseAddress('192.0.2.7')!, leaseSeconds: 3_600 });
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
  });

  it('renewals, rebinding and late words about an old address bring about nothing', () => {
    const rig = quiet();
    new Conversation(rig).open();
    const now = parseAddress('192.0.2.7')!;
    for (let i = 0; i < 10; i++) {
      lease(rig, 'renewed', { address: now, leaseSeconds: 60 });
      rig.advance(seconds(20));
      lease(rig, 'rebinding', { address: now });
    }
    lease(rig, 'expired', { address: parseAddress('192.0.2.99')! });
    expect(verdicts(rig)).toEqual([]);
  });

  it('that nobody renews ends by the clock, unless the link shows life', () => {
    const rig = quiet();
    const c = new Conversation(rig).open();
    lease(rig, 'bound', { address: parseAddress('192.0.2.7')!, leaseSeconds: 60 });
    rig.advance(seconds(61));
    c.data('far', 1);
    rig.advance(seconds(5));
    expect(verdicts(rig)).toEqual([]);
    lease(rig, 'bound', { address: parseAddress('192.0.2.7')!, leaseSeconds: 60 });
    rig.advance(seconds(61));
    expect(verdicts(rig)).toEqual([]);
    rig.advance(seconds(2));
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    address(rig, '192.0.2.8', true);
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
  });

  it('comes by command from hooks, too', () => {
    const rig = quiet();
    new Conversation(rig).open();
    const event = { kind: 'dhcp', name: 'wan0', lease: 'own', what: 'nak', family: 4 } as const;
    expect(rig.command({ kind: 'dhcp', event })).toMatchObject({ kind: 'done' });
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    expect(rig.command({ kind: 'dhcp', event: { ...event, name: 'eth9' } })).toMatchObject({ kind: 'refused' });
  });
});

describe('the lease of a LAN host', () => {
  const host = { name: 'lan0', lease: 'host', address: HOST, hardware: MAC } as const;

  it('released: the host is gone; asking again, or a new connection of it: it is back', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST).open();
    lease(rig, 'bound', host);
    lease(rig, 'released', host);
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2']);
    expect(phases(rig)).toEqual(['frozen']);
    lease(rig, 'asking', { ...host, address: undefined as never });
    expect(verdicts(rig)).toEqual(['host-lost 10.1.0.2', 'host-restored 10.1.0.2']);
    lease(rig, 'released', host);
    const next = new Conversation(rig, { ...LAN_LOST, opener: 'far' }, 40_001, 2);
    rig.advance(1_000);
    next.fromFar({ flags: SYN });
    rig.advance(1_000);
    expect(verdicts(rig).at(-1)).toBe('host-restored 10.1.0.2');
    expect(c.rig.flows()[0]!.phase).not.toBe('frozen');
  });

  it('of a host without connections, or told by somebody else, brings about nothing', () => {
    const rig = quiet();
    new Conversation(rig, LAN_LOST).open();
    lease(rig, 'bound', host);
    lease(rig, 'released', { ...host, address: parseAddress('10.1.0.77')! });
    lease(rig, 'released', { ...host, hardware: OTHER_MAC });
    expect(verdicts(rig)).toEqual([]);
  });

  it('with another address: its connections cannot follow', () => {
    const rig = quiet();
    new Conversation(rig, LAN_LOST).open();
    lease(rig, 'bound', host);
    lease(rig, 'bound', { ...host, address: parseAddress('10.1.0.50')! });
    expect(standing(rig)).toEqual({ '10.1.0.2': ['its host 02:00:00:00:00:07 has moved to 10.1.0.50'] });
  });

  it('whose address goes to another host: custody is not for that one', () => {
    const rig = quiet();
    new Conversation(rig, LAN_LOST).open();
    lease(rig, 'bound', host);
    rig.advance(1_000);
    lease(rig, 'bound', { ...host, hardware: OTHER_MAC });
    expect(phases(rig)).toEqual(['frozen']);
    expect(rig.events.find(({ name }) => name === 'flow-stranded')?.message).toMatch(/belongs to another host now/);
    // What the new owner opens is its own.
    new Conversation(rig, LAN_LOST, 40_001).open();
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    lease(rig, 'bound', host);
    rig.settle();
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
    rig.advance(1_000);
    lease(rig, 'bound', { ...host, hardware: OTHER_MAC });
    expect(phases(rig)).toEqual(['frozen', 'frozen']);
    rig.advance(seconds(121));
    expect(rig.events.filter(({ name }) => name === 'flow-given-up')).toHaveLength(2);
    expect(phases(rig).filter((phase) => phase === 'flowing')).toEqual([]);
  });
});

describe('a prefix delegated to the gateway', () => {
  const six = { ...PLAIN, family: 6 } as const;

  it('that is taken back holds the connections of its hosts until it is delegated again; the link is not lost with it', () => {
    const rig = quiet();
    const c = new Conversation(rig, six, 40_000).open();
    new Conversation(rig, PLAIN, 40_001).open();
    const own = parseAddress(c.nearAddress)!;
    const delegated = {
      family: 6,
      address: Uint8Array.from(own, (byte, i) => (i < 6 ? byte : 0)),
      prefixLength: 48,
    } as const;
    const other = { ...delegated, address: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0xee, ...new Uint8Array(11)) };
    lease(rig, 'bound', delegated);
    lease(rig, 'expired', other);
    lease(rig, 'rebinding', delegated);
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
    lease(rig, 'expired', delegated);
    expect(verdicts(rig)).toEqual([]);
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    expect(rig.events.find(({ name }) => name === 'address-lost')).toMatchObject({
      link: 'wan0',
      figures: { flows: 1 },
    });
    lease(rig, 'renewed', delegated);
    rig.settle();
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
  });
});

describe('an address of the uplink that changes', () => {
  it('strands the connections that were translated to it; they go on when it returns, new ones at once', () => {
    const rig = watchedRig(
      { silence: false, echo: null, damping: null },
      {
        ports: [
          { name: 'lan0', role: 'lan' },
          { name: 'wan0', role: 'wan', isTranslated: true },
        ],
      },
    );
    address(rig, '203.0.113.5', true);
    const old = new Conversation(rig, PLAIN, 40_000).open();
    rig.advance(1_000_000);
    address(rig, '203.0.113.6', true);
    address(rig, '203.0.113.5', false);
    expect(phases(rig)).toEqual(['frozen']);
    expect(rig.events.filter(({ name }) => name === 'flow-stranded')).toHaveLength(1);
    expect(rig.events.find(({ name }) => name === 'address-lost')).toMatchObject({
      link: 'wan0',
      figures: { flows: 1 },
    });
    new Conversation(rig, PLAIN, 40_001).open();
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    expect(verdicts(rig)).toEqual([]);
    // Added beside the other one it is not what connections are translated to.
    address(rig, '203.0.113.5', true);
    rig.settle();
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    address(rig, '203.0.113.6', false);
    rig.settle();
    expect(phases(rig)).toEqual(['flowing', 'frozen']);
    expect(old.rig.flows()[0]!.phase).toBe('flowing');
  });

  it('that does not come back within two minutes gives them up to their own fate', () => {
    const rig = watchedRig(
      { silence: false, echo: null },
      {
        ports: [
          { name: 'lan0', role: 'lan' },
          { name: 'wan0', role: 'wan', isTranslated: true },
        ],
      },
    );
    address(rig, '203.0.113.5', true);
    new Conversation(rig).open();
    rig.advance(1_000_000);
    address(rig, '203.0.113.5', false);
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    address(rig, '203.0.113.6', true);
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
    expect(phases(rig)).toEqual(['frozen']);
    rig.advance(seconds(121));
    expect(phases(rig)).toEqual(['flowing']);
    expect(rig.events.some(({ name }) => name === 'address-abandoned')).toBe(true);
  });

  it('without translation strands nobody', () => {
    const rig = quiet();
    address(rig, '203.0.113.5', true);
    new Conversation(rig).open();
    address(rig, '203.0.113.6', true);
    address(rig, '203.0.113.5', false);
    expect(phases(rig)).toEqual(['flowing']);
  });

  it('and a LAN prefix that goes takes its hosts along, until it is there again', () => {
    const rig = quiet();
    address(rig, 'fd01::ffff', true, 'lan0', 64);
    address(rig, 'fd09::ffff', true, 'lan0', 64);
    const c = new Conversation(rig, { ...LAN_LOST, family: 6 }).open();
    address(rig, 'fd01::ffff', false, 'lan0', 64);
    expect(c.rig.flow.phase).toBe('frozen');
    address(rig, 'fd01::1:ffff', true, 'lan0', 64);
    rig.settle();
    expect(c.rig.flow.phase).toBe('flowing');
  });
});
