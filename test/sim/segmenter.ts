/** What a network card does with a super-packet: cuts it into plain packets with complete checksums. */
import { emitTcp, TcpSpec } from '../../src/wire/emit.ts';
import { KIND_TCP, Packet } from '../../src/wire/packet.ts';
import { seqAdd } from '../../src/wire/seq.ts';
import { FIN, PSH } from '../../src/wire/tcp-flags.ts';

const packet = new Packet();
const spec = new TcpSpec();
const scratch = new Uint8Array(4096);
const scratchView = new DataView(scratch.buffer);

/** The packets that leave the card; the packet itself if it is no super-packet. */
export function cutSuperPacket(bytes: Uint8Array, vnetLength: 0 | 10): Uint8Array[] {
  packet.attach(bytes.buffer as ArrayBuffer);
  if (vnetLength === 0 || packet.parse(bytes.byteOffset, bytes.length, vnetLength) !== KIND_TCP) return [bytes];
  if (packet.gsoType === 0 || packet.payloadLength <= packet.gsoSize) return [bytes];
  const words = packet.family === 4 ? 1 : 4;
  const addresses = new Int32Array(8);
  for (let word = 0; word < words; word++) {
    addresses[word] = packet.view.getInt32(packet.srcAt + 4 * word);
    addresses[4 + word] = packet.view.getInt32(packet.dstAt + 4 * word);
  }
  spec.vnetLength = vnetLength;
  spec.family = packet.family;
  spec.addresses = addresses;
  spec.srcAt = 0;
  spec.dstAt = 4;
  spec.srcPort = packet.srcPort;
  spec.dstPort = packet.dstPort;
  spec.ack = packet.ack;
  spec.window = packet.window;
  spec.ttl = packet.ttl;
  spec.trafficClass = packet.trafficClass;
  spec.flowLabel = packet.flowLabel;
  spec.hasTs = packet.tsAt >= 0;
  spec.tsVal = packet.tsVal;
  spec.tsEcr = packet.tsEcr;
  spec.gsoSize = 0;
  spec.payload = packet.bytes;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < packet.payloadLength; at += packet.gsoSize) {
    const to = Math.min(packet.payloadLength, at + packet.gsoSize);
    const isLast = to === packet.payloadLength;
    spec.seq = seqAdd(packet.seq, at);
    spec.flags = isLast ? packet.flags : packet.flags & ~(FIN | PSH);
    spec.ipId = (packet.seq + at) & 0xffff;
    spec.payloadFrom = packet.payloadAt + at;
    spec.payloadTo = packet.payloadAt + to;
    const length = emitTcp(scratch, scratchView, 0, spec);
    if (length === 0) throw new Error('a piece of a super-packet does not fit');
    pieces.push(scratch.slice(0, length));
  }
  return pieces;
}
