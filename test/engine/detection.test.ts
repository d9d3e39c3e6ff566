/** Neighbours, leases, addresses, echoes and commands: what they bring about, and how they meet. */
import { describe, expect, it } from 'vitest';
import { seconds } from '../../src/base/time.ts';
import { parseAddress } from '../../src/wire/address.ts';
import { RST, SYN } from '../../src/wire/tcp-flags.ts';
import { Conversation, PLAIN } from './conversation.ts';
import { echoes, lease, neighbour, ROUTER, routeVia, standing, verdicts, watchedRig } from './detection-rig.ts';
import { LAN, type Rig, WAN } from './rig.ts';

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
    lease(rig, 'bound', { ...host, hardware: OTHER_MAC });
    expect(standing(rig)['10.1.0.2']![0]).toMatch(/belongs to 02:00:00:00:00:08 now/);
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
    address(rig, '203.0.113.5', true);
    rig.settle();
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
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

describe('echoes', () => {
  it('go to the router only, once a second at most, and only while there is somebody to protect', () => {
    const rig = watchedRig({ silence: false });
    routeVia(rig, ROUTER);
    rig.advance(seconds(30));
    expect(echoes(rig)).toEqual([]);
    expect(rig.isIdle).toBe(true);
    new Conversation(rig).open();
    rig.advance(seconds(10));
    const asked = echoes(rig);
    expect(new Set(asked.map((one) => `${one.name} ${one.address}`))).toEqual(new Set([`wan0 ${ROUTER}`]));
    expect(asked.length).toBeLessThanOrEqual(11);
  });

  it('of a target that never answered are no evidence', () => {
    const rig = watchedRig({ silence: false });
    routeVia(rig, ROUTER);
    new Conversation(rig).open();
    rig.advance(seconds(120));
    expect(verdicts(rig)).toEqual([]);
  });

  /** Answers everything that is asked for `length`. */
  function answered(rig: Rig, length: number): void {
    for (let at = 0; at < length; at += 50_000) {
      rig.advance(50_000);
      for (const { name, sequence } of echoes(rig)) {
        const target = parseAddress(ROUTER)!;
        rig.event({ kind: 'echo', name, family: 4, address: target, sequence, outcome: 'reply' });
      }
    }
  }

  it('that stay unanswered are a loss within 5 s, an answer a return; what cannot be sent, neither', () => {
    const rig = watchedRig({ silence: false });
    routeVia(rig, ROUTER);
    new Conversation(rig).open();
    answered(rig, seconds(10));
    rig.advance(seconds(5));
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    expect(standing(rig).wan0![0]).toMatch(/^\d+ echoes unanswered in 2\.\d s$/);
    answered(rig, seconds(3));
    expect(verdicts(rig)).toEqual(['link-lost wan0', 'link-restored wan0']);
    for (let i = 0; i < 200; i++) {
      rig.advance(100_000);
      for (const { name, sequence } of echoes(rig)) {
        const target = parseAddress(ROUTER)!;
        rig.event({ kind: 'echo', name, family: 4, address: target, sequence, outcome: 'unsendable' });
      }
    }
    expect(verdicts(rig)).toHaveLength(2);
  });

  it('lost while a connection goes on are no loss: progress outranks them', () => {
    const rig = watchedRig({ silence: false });
    routeVia(rig, ROUTER);
    const c = new Conversation(rig).open();
    answered(rig, seconds(5));
    for (let i = 0; i < 60; i++) {
      c.data('far', 1);
      rig.advance(900_000);
    }
    expect(verdicts(rig)).toEqual([]);
  });

  it('that nobody asked for, or of somebody else, are no answer', () => {
    const rig = watchedRig({ silence: false });
    routeVia(rig, ROUTER);
    new Conversation(rig).open();
    answered(rig, seconds(5));
    rig.advance(seconds(5));
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
    for (let sequence = 0; sequence < 65_536; sequence += 7) {
      const forged = parseAddress('192.0.2.66')!;
      rig.event({ kind: 'echo', name: 'wan0', family: 4, address: forged, sequence, outcome: 'reply' });
    }
    expect(verdicts(rig)).toEqual(['link-lost wan0']);
  });
});

describe('commands', () => {
  it('hold against every sign of life, and release what was inferred', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST).open();
    lease(rig, 'bound', { name: 'lan0', lease: 'host', address: HOST, hardware: MAC });
    lease(rig, 'released', { name: 'lan0', lease: 'host', address: HOST, hardware: MAC });
    expect(standing(rig)).toHaveProperty('10.1.0.2');
    const selector = { kind: 'host', address: '10.1.0.2' } as const;
    expect(rig.command({ kind: 'resume', selector })).toMatchObject({ kind: 'done' });
    expect(standing(rig)).toEqual({});
    expect(phases(rig)).toEqual(['flowing']);
    expect(rig.command({ kind: 'resume', selector })).toMatchObject({ kind: 'refused' });
    rig.command({ kind: 'freeze', selector });
    c.acknowledge('far');
    neighbour(rig, 'lan0', '10.1.0.2', 'reachable');
    rig.advance(seconds(5));
    expect(phases(rig)).toEqual(['frozen']);
  });

  it('resume of a link clears what was inferred of it and of its hosts', () => {
    const rig = quiet();
    new Conversation(rig, LAN_LOST).open();
    lease(rig, 'released', { name: 'lan0', lease: 'host', address: HOST, hardware: MAC });
    lease(rig, 'nak', { name: 'lan0' });
    expect(Object.keys(standing(rig))).toEqual(['lan0', '10.1.0.2']);
    rig.command({ kind: 'resume', selector: { kind: 'link', name: 'lan0' } });
    expect(standing(rig)).toEqual({});
    expect(phases(rig)).toEqual(['flowing']);
  });
});

describe('losses that overlap', () => {
  it('host lost, link lost, link back: the host still has to answer', () => {
    const rig = quiet();
    const c = new Conversation(rig, LAN_LOST, 40_000, 2).open();
    const other = new Conversation(rig, LAN_LOST, 40_001, 3).open();
    lease(rig, 'released', { name: 'lan0', lease: 'host', address: HOST, hardware: MAC });
    c.tick(100);
    rig.link(LAN, false);
    expect(phases(rig)).toEqual(['frozen', 'frozen']);
    c.tick(2_000);
    rig.link(LAN, true);
    rig.settle();
    expect(phases(rig)).toEqual(['frozen', 'flowing']);
    other.data('far', 1);
    c.tick(500);
    expect(phases(rig)[0]).toBe('frozen');
    c.acknowledge('far');
    c.tick(1);
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
    expect(verdicts(rig)).toEqual([
      'host-lost 10.1.0.2',
      'link-lost lan0',
      'link-restored lan0',
      'host-restored 10.1.0.2',
    ]);
  });

  it('connections that appear during a loss are held like the others', () => {
    const rig = quiet();
    new Conversation(rig).open();
    lease(rig, 'nak');
    const late = new Conversation(rig, PLAIN, 40_001);
    late.fromNear({ flags: SYN });
    expect(rig.take().filter(({ bytes }) => bytes.length > 0)).toHaveLength(1);
    expect(phases(rig)).toEqual(['frozen', 'opening']);
    lease(rig, 'bound');
    rig.settle();
    expect(phases(rig)).toEqual(['flowing', 'opening']);
    late.fromFar({ flags: SYN | 0x10 });
    late.fromNear();
    expect(phases(rig)).toEqual(['flowing', 'flowing']);
    late.fromFar({ flags: RST });
  });
});

describe('a planned freeze', () => {
  it('ends without ICMP: both ends wait for a window, nobody is in a back-off', () => {
    const rig = quiet();
    const c = new Conversation(rig).open();
    c.data('near', 2);
    c.data('far', 2);
    c.acknowledge('far');
    c.acknowledge('near');
    rig.command({ kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros: 100_000 });
    c.tick(50);
    c.acknowledge('far');
    c.acknowledge('near');
    c.tick(100);
    rig.link(WAN, false);
    c.tick(10_000);
    rig.take();
    rig.link(WAN, true);
    rig.command({ kind: 'resume', selector: { kind: 'link', name: 'wan0' } });
    c.tick(6_000);
    const seen = c.seen();
    expect(seen.filter(({ isTcp }) => !isTcp)).toEqual([]);
    expect(rig.counter('wakeups')).toBe(0);
    expect(seen.filter(({ to, window }) => to === 'far' && window > 0).length).toBeGreaterThan(1);
    expect(seen.filter(({ to, window }) => to === 'near' && window > 0).length).toBeGreaterThan(0);
  });

  it('with data of the far peer that never arrived is woken like any other', () => {
    const rig = quiet();
    const c = new Conversation(rig).open();
    c.data('near', 1);
    c.acknowledge('far');
    rig.command({ kind: 'freeze', selector: { kind: 'link', name: 'wan0' }, leadMicros: 100_000 });
    c.fromFar({ payload: new Uint8Array(100) });
    c.tick(150);
    rig.link(WAN, false);
    c.tick(10_000);
    rig.link(WAN, true);
    rig.command({ kind: 'resume', selector: { kind: 'link', name: 'wan0' } });
    c.tick(1_000);
    expect(rig.counter('wakeups')).toBeGreaterThan(0);
  });
});
