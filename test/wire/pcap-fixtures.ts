/**
 * Just enough of classic pcap and pcapng to read the fixtures beside this file; apart from src/capture, so that decoder
 * tests do not depend on it.
 */
import { readdirSync, readFileSync } from 'node:fs';

const FIXTURES = new URL('./fixtures/', import.meta.url);

/** Bytes of link-layer header before the IP header, by LINKTYPE: raw (12, 101), Ethernet (1), Linux cooked (113). */
const LINK_HEADER: Readonly<Record<number, number>> = { 1: 14, 12: 0, 101: 0, 113: 16 };

export function fixtureNames(): string[] {
  return readdirSync(FIXTURES)
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .sort();
}

/** What tshark read in the capture: one row per TCP packet, columns as in the file's first line. */
export function expectedRows(name: string): Record<string, string>[] {
  const [head, ...lines] = readFileSync(new URL(`${name}.tsv`, FIXTURES), 'utf8')
    .trimEnd()
    .split('\n');
  const columns = head.replace('# ', '').split('|');
  return lines.map((line) => Object.fromEntries(line.split('|').map((value, i) => [columns[i], value])));
}

/** The IP datagrams of a capture, link-layer headers taken off, padding left on. */
export function readCapture(name: string): Uint8Array[] {
  const bytes = Uint8Array.from(readFileSync(new URL(name, FIXTURES)));
  const view = new DataView(bytes.buffer);
  return view.getUint32(0) === 0x0a0d0d0a ? readPcapng(bytes, view) : readPcap(bytes, view);
}

function readPcap(bytes: Uint8Array, view: DataView): Uint8Array[] {
  const magic = view.getUint32(0, true);
  const little = magic === 0xa1b2c3d4 || magic === 0xa1b23c4d;
  const skip = linkHeader(view.getUint32(20, little) & 0x0fff_ffff);
  const packets: Uint8Array[] = [];
  for (let at = 24; at < bytes.length; ) {
    const captured = view.getUint32(at + 8, little);
    packets.push(bytes.slice(at + 16 + skip, at + 16 + captured));
    at += 16 + captured;
  }
  return packets;
}

function readPcapng(bytes: Uint8Array, view: DataView): Uint8Array[] {
  const little = view.getUint32(8, true) === 0x1a2b3c4d;
  const skips: number[] = [];
  const packets: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, little)) {
    const type = view.getUint32(at, little);
    if (type === 1) skips.push(linkHeader(view.getUint16(at + 8, little)));
    if (type !== 6) continue;
    const skip = skips[view.getUint32(at + 8, little)];
    packets.push(bytes.slice(at + 28 + skip, at + 28 + view.getUint32(at + 20, little)));
  }
  return packets;
}

function linkHeader(linkType: number): number {
  const length = LINK_HEADER[linkType];
  if (length === undefined) throw new Error(`fixture with unknown link type ${linkType}`);
  return length;
}
