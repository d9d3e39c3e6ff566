/** Raw packets that the decoder tests bend. */
import { Workbench } from './workbench.ts';

/** A plain packet of the given family as bytes. */
export function sample(family: 4 | 6, payload = 5): number[] {
  const bench = new Workbench(4096);
  bench.spec.family = family;
  bench.payload(payload);
  bench.build();
  return [...bench.raw()];
}

/** IPv6 packet whose TCP segment stands behind the given extension headers: [type, bytes] each. */
export function withExtensions(headers: readonly (readonly [number, readonly number[]])[], last = 6): number[] {
  const raw = sample(6);
  const inserted: number[] = [];
  headers.forEach(([, bytes], i) => {
    inserted.push(headers[i + 1]?.[0] ?? last, ...bytes.slice(1));
  });
  const out = [...raw.slice(0, 40), ...inserted, ...raw.slice(40)];
  const payload = out.length - 40;
  out[4] = payload >> 8;
  out[5] = payload & 0xff;
  out[6] = headers[0]?.[0] ?? last;
  return out;
}

/** Eight bytes of padding option, good as hop-by-hop and destination options. */
export const EMPTY_EXTENSION = [0, 0, 1, 4, 0, 0, 0, 0];
