/** A readable account of a run, for whoever looks for the reason of a failure. */
import { KIND_OTHER, Packet } from '../../src/wire/packet.ts';
import { describePacket } from '../../src/wire/printer.ts';
import type { Network } from './network.ts';

/** Appends one line per packet that leaves or reaches an endpoint; `*` marks what the gateway made itself. */
export function traceInto(network: Network, lines: string[], limit: number): void {
  const packet = new Packet();
  network.tap = (where, { bytes, synthesized }, now) => {
    if (lines.length >= limit) return;
    packet.attach(bytes.buffer as ArrayBuffer);
    const kind = packet.parse(bytes.byteOffset, bytes.length, network.vnetLength);
    const text = kind === KIND_OTHER ? `ICMP, ${bytes.length} bytes` : describePacket(packet);
    lines.push(`${(now / 1e6).toFixed(6)} ${where}${synthesized ? ' *' : ''} ${text}`);
  };
}
