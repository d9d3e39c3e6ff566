import { describe, expect, it } from 'vitest';
import type { EngineConfig } from '../../src/engine/engine.ts';
import { parsePrefix } from '../../src/wire/address.ts';
import { Conversation, VARIANTS } from './conversation.ts';
import { Rig, WAN } from './rig.ts';

const PORTS: EngineConfig['ports'] = [
  { name: 'lan0', role: 'lan' },
  { name: 'wan0', role: 'wan' },
  { name: 'wan1', role: 'wan' },
];

/** A default route of both families over an interface. */
function viaOf(rig: Rig, name: string, present: boolean, metric = 0): void {
  for (const text of ['0.0.0.0/0', '::/0']) {
    const { address, prefixLength } = parsePrefix(text)!;
    const family = address.length === 4 ? 4 : 6;
    rig.event({ kind: 'route', family, destination: address, prefixLength, name, metric, present });
  }
}

function twoUplinks(ports = PORTS): Rig {
  const rig = new Rig({ ports });
  rig.event({ kind: 'interface', name: 'wan1', index: 9, up: true, carrier: true, operState: 6, mtu: 1500 });
  // What the start brought is over.
  rig.advance(200_000);
  return rig;
}

describe.each(VARIANTS.filter(({ lost }) => lost === WAN))('$name', (variant) => {
  it('a flow held for a lost uplink goes on over the one that serves it now', () => {
    const rig = twoUplinks();
    const c = new Conversation(rig, variant).open();
    c.data('near', 3);
    c.lose();
    expect(rig.flow).toMatchObject({ phase: 'frozen' });
    viaOf(rig, 'wan0', false);
    viaOf(rig, 'wan1', true);
    rig.advance(90_000);
    expect(rig.flow).toMatchObject({ phase: 'frozen' });
    rig.advance(20_000);
    expect(rig.flow.phase).not.toBe('frozen');
    expect(rig.events.filter(({ name }) => name === 'flows-rerouted')).toMatchObject([{ figures: { flows: 1 } }]);
  });

  it('the loss of the uplink that it goes over now is its loss', () => {
    const rig = twoUplinks();
    const c = new Conversation(rig, variant).open();
    viaOf(rig, 'wan0', false);
    viaOf(rig, 'wan1', true);
    rig.advance(200_000);
    c.lose();
    expect(rig.flow).toMatchObject({ phase: 'flowing' });
    rig.event({ kind: 'interface', name: 'wan1', index: 9, up: true, carrier: false, operState: 2, mtu: 1500 });
    expect(rig.flow).toMatchObject({ phase: 'frozen' });
  });
});

it('a route that comes and goes within a moment moves nothing', () => {
  const rig = twoUplinks();
  new Conversation(rig).open();
  for (let i = 0; i < 5; i++) {
    viaOf(rig, 'wan1', true, 5);
    viaOf(rig, 'wan1', false, 5);
  }
  rig.advance(500_000);
  expect(rig.events.filter(({ name }) => name === 'flows-rerouted')).toEqual([]);
});

it('with translated addresses a connection stays with its uplink', () => {
  const ports = PORTS.map((port) => (port.role === 'wan' ? { ...port, isTranslated: true } : port));
  const rig = twoUplinks(ports);
  const c = new Conversation(rig).open();
  c.data('near', 3);
  c.lose();
  viaOf(rig, 'wan0', false);
  viaOf(rig, 'wan1', true);
  rig.advance(500_000);
  expect(rig.flow).toMatchObject({ phase: 'frozen' });
});
