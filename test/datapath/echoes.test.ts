import { describe, expect, test } from 'vitest';
import { Echoes } from '../../src/datapath/echoes.ts';
import type { EchoEvent, EchoRequest } from '../../src/link/events.ts';
import type { loadRawSocket, openEchoSocket } from '../../src/native/echo-socket.ts';
import { ECHO_LENGTH } from '../../src/wire/echo.ts';

type Raw = NonNullable<Awaited<ReturnType<typeof loadRawSocket>>>;

/** A socket that keeps what is sent, and answers when told to. */
class Wire {
  readonly sent: { readonly bytes: Uint8Array; readonly address: string }[] = [];
  readonly opened: string[] = [];
  closed = 0;
  refuses = false;
  opens = true;
  readonly #hear = new Map<string, (bytes: Uint8Array, source: string) => void>();

  readonly open: typeof openEchoSocket = (_raw, name, family, onMessage) => {
    if (!this.opens) throw new Error('no such device');
    this.opened.push(`${name} ${family}`);
    this.#hear.set(`${name} ${family}`, onMessage);
    return {
      send: (bytes, address, done) => {
        this.sent.push({ bytes, address });
        done(this.refuses ? new Error('Network is unreachable') : null);
      },
      close: () => void this.closed++,
    };
  };

  /** The reply to what was sent last, after `change`. */
  answer(socket: string, source: string, change: (bytes: Uint8Array) => void = () => {}): void {
    const question = this.sent.at(-1)!.bytes;
    const isV4 = socket.endsWith('4');
    const reply = question.slice();
    reply[0] = isV4 ? 0 : 129;
    change(reply);
    this.#hear.get(socket)!(isV4 ? Uint8Array.of(0x45, ...Array<number>(19).fill(0), ...reply) : reply, source);
  }
}

const V4: EchoRequest = { name: 'wan0', family: 4, address: Uint8Array.of(10, 0, 0, 1), sequence: 7 };
const LINK_LOCAL = Uint8Array.of(0xfe, 0x80, ...Array<number>(13).fill(0), 1);

async function start(): Promise<{ wire: Wire; echoes: Echoes; events: EchoEvent[] }> {
  const wire = new Wire();
  const events: EchoEvent[] = [];
  const echoes = await Echoes.start(
    (event) => events.push(event),
    async () => ({}) as Raw,
    wire.open,
  );
  return { wire, echoes, events };
}

describe('echoes', () => {
  test('a reply is told once, with what was asked', async () => {
    const { wire, echoes, events } = await start();
    expect(echoes.degraded).toBeNull();
    echoes.send(V4);
    expect(wire.sent[0]!.address).toBe('10.0.0.1');
    expect(wire.sent[0]!.bytes).toHaveLength(ECHO_LENGTH);
    wire.answer('wan0 4', '10.0.0.1');
    wire.answer('wan0 4', '10.0.0.1');
    expect(events).toEqual([{ kind: 'echo', ...V4, outcome: 'reply' }]);
  });

  test('IPv6 by way of a link-local router, whose name carries the interface', async () => {
    const { wire, echoes, events } = await start();
    echoes.send({ name: 'wan0', family: 6, address: LINK_LOCAL, sequence: 65_535 });
    expect(wire.sent[0]!.address).toBe('fe80::1');
    wire.answer('wan0 6', 'fe80::1%wan0');
    expect(events).toMatchObject([{ outcome: 'reply', sequence: 65_535 }]);
  });

  test.each([
    ['from somebody else', '10.0.0.2', 0, 0],
    ['with another identifier', '10.0.0.1', 4, 1],
    ['with another sequence number', '10.0.0.1', 7, 1],
    ['with other data', '10.0.0.1', 15, 1],
    ['that is a request', '10.0.0.1', 0, 8],
  ])('a reply %s is none', async (_what, source, at, flip) => {
    const { wire, echoes, events } = await start();
    echoes.send(V4);
    wire.answer('wan0 4', source, (bytes) => {
      bytes[at]! ^= flip;
    });
    expect(events).toEqual([]);
  });

  test('what cannot be sent is told, and the next question gets a new socket', async () => {
    const { wire, echoes, events } = await start();
    wire.refuses = true;
    echoes.send(V4);
    expect(events).toMatchObject([{ outcome: 'unsendable', sequence: 7 }]);
    expect(wire.closed).toBe(1);
    wire.refuses = false;
    echoes.send({ ...V4, sequence: 8 });
    wire.answer('wan0 4', '10.0.0.1');
    expect(events[1]).toMatchObject({ outcome: 'reply', sequence: 8 });
    wire.opens = false;
    echoes.send({ ...V4, name: 'wan1' });
    expect(events[2]).toMatchObject({ outcome: 'unsendable', name: 'wan1' });
  });

  test('an interface that comes back under another index gets a new socket', async () => {
    const { wire, echoes } = await start();
    const up = { kind: 'interface', name: 'wan0', up: true, carrier: true, operState: 6, mtu: 1500 } as const;
    echoes.onLink({ ...up, index: 3 });
    echoes.send(V4);
    echoes.onLink({ ...up, index: 3, carrier: false });
    echoes.send(V4);
    expect(wire.opened).toEqual(['wan0 4']);
    echoes.onLink({ ...up, index: 4 });
    echoes.send(V4);
    echoes.onLink({ kind: 'interface-gone', name: 'wan0' });
    echoes.send(V4);
    expect(wire.opened).toHaveLength(3);
    expect(wire.closed).toBe(2);
  });

  test('questions without answers are forgotten, the oldest first', async () => {
    const { wire, echoes, events } = await start();
    for (let sequence = 0; sequence < 1_100; sequence++) echoes.send({ ...V4, sequence });
    const old = wire.sent[0]!;
    wire.sent.push(old);
    wire.answer('wan0 4', '10.0.0.1');
    expect(events).toEqual([]);
    wire.sent.push(wire.sent[1_099]!);
    wire.answer('wan0 4', '10.0.0.1');
    expect(events).toHaveLength(1);
  });

  test('without the package nothing is sent, and it says what mends that', async () => {
    const events: EchoEvent[] = [];
    const echoes = await Echoes.start(
      (event) => events.push(event),
      async () => undefined,
    );
    expect(echoes.degraded).toContain('npm rebuild raw-socket');
    echoes.send(V4);
    expect(events).toMatchObject([{ outcome: 'unsendable' }]);
  });
});
