/** Echoes, commands, losses that overlap, planned ones: what they bring about, and how they meet. */
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

const quiet = (): Rig => watchedRig({ silence: false, echo: null, damping: null });

function phases(rig: Rig): string[] {
  return rig.flows().map(({ phase }) => phase);
}

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
