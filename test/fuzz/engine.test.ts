/**
 * Fuzzing of the whole engine. TCPFREEZE_FUZZ_SECONDS sets how long (default 10), TCPFREEZE_FUZZ_INPUTS how many inputs at
 * least, TCPFREEZE_FUZZ_SEED where to begin. A failure names its seed and step, which repeat it exactly.
 */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import { ipOffset, isKnownLinkType } from '../../src/capture/link-layer.ts';
import { CAPTURES, listed } from '../capture/replayed.ts';
import { Storm } from './storm.ts';

const SECONDS = Number(process.env.TCPFREEZE_FUZZ_SECONDS ?? 10);
const INPUTS = Number(process.env.TCPFREEZE_FUZZ_INPUTS ?? 0);
const FIRST_SEED = Number(process.env.TCPFREEZE_FUZZ_SEED ?? 1);
/** Steps of one storm; many short ones reach more beginnings than a long one. */
const STEPS = 20_000;
/** Of each capture at most so many frames. */
const FRAMES = 40;

/** IP packets of the captures of this project. */
function frames(): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const path of new Set(listed().map(({ capture }) => join(CAPTURES, capture)))) {
    let count = 0;
    for (const packet of readCaptureFile(path)) {
      if (!isKnownLinkType(packet.interface.linkType)) continue;
      const at = ipOffset(packet.interface.linkType, packet.bytes);
      if (at < 0 || packet.bytes.length - at > 2_000) continue;
      found.push(packet.bytes.slice(at));
      if (++count === FRAMES) break;
    }
  }
  return found;
}

it(
  'the engine keeps its promises under a storm of near-right, damaged and recorded packets',
  () => {
    const seeds = frames();
    expect(seeds.length).toBeGreaterThan(100);
    const until = performance.now() + SECONDS * 1_000;
    const totals = {
      inputs: 0,
      sound: 0,
      transmitted: 0,
      freezes: 0,
      thaws: 0,
      custodyBytesTaken: 0,
      probesAnswered: 0,
    };
    for (let seed = FIRST_SEED; performance.now() < until || totals.inputs < INPUTS; seed++) {
      const storm = new Storm(seed, seeds);
      try {
        for (let step = 0; step < STEPS; step++) storm.step();
        storm.calm();
      } catch (error) {
        throw new Error(`seed ${seed}, step ${storm.inputs}: ${String(error)}`, { cause: error });
      }
      totals.inputs += storm.inputs;
      totals.sound += storm.sound;
      totals.transmitted += storm.transmitted;
      for (const name of ['freezes', 'thaws', 'custodyBytesTaken', 'probesAnswered'] as const) {
        totals[name] += storm.counter(name);
      }
    }
    console.log(`fuzz: ${JSON.stringify(totals)}`);
    // A storm that freezes nothing proves nothing.
    expect(totals.sound).toBeGreaterThan(totals.inputs / 2);
    for (const name of ['transmitted', 'freezes', 'thaws', 'custodyBytesTaken', 'probesAnswered'] as const) {
      expect(totals[name], name).toBeGreaterThan(totals.inputs / 10_000);
    }
  },
  Math.max(120_000, SECONDS * 3_000 + INPUTS),
);
