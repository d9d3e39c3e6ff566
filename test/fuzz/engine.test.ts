/**
 * Fuzzing of the whole engine. TCPFREEZE_FUZZ_SECONDS sets how long (default 35), TCPFREEZE_FUZZ_INPUTS how many inputs at
 * least, TCPFREEZE_FUZZ_SEED where to begin. A failure names its seed and step, which repeat it exactly: a case for cases/storms.json.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readCaptureFile } from '../../src/capture/capture-file.ts';
import { ipOffset, isKnownLinkType } from '../../src/capture/link-layer.ts';
import { CAPTURES, listed } from '../capture/replayed.ts';
import { Storm } from './storm.ts';

const SECONDS = Number(process.env.TCPFREEZE_FUZZ_SECONDS ?? 35);
const INPUTS = Number(process.env.TCPFREEZE_FUZZ_INPUTS ?? 0);
const FIRST_SEED = Number(process.env.TCPFREEZE_FUZZ_SEED ?? 1);
/** Storms that once broke a promise: they are run to a little beyond the step. */
const CASES = JSON.parse(readFileSync(new URL('./cases/storms.json', import.meta.url), 'utf8')) as {
  readonly seed: number;
  readonly step: number;
  readonly why: string;
}[];
/** Steps of one storm; many short ones reach more beginnings than a long one. */
const STEPS = 20_000;
/** Long runs say so often how far they are. */
const TELL_INTERVAL_MS = 60_000;
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

it.each(CASES)('seed $seed, step $step: $why', ({ seed, step }) => {
  const storm = new Storm(seed, frames());
  while (storm.inputs < step + 100) storm.step();
  storm.calm();
});

it(
  'the engine keeps its promises under a storm of near-right, damaged and recorded packets',
  () => {
    const seeds = frames();
    expect(seeds.length).toBeGreaterThan(100);
    const began = performance.now();
    const until = began + SECONDS * 1_000;
    let toldAt = began;
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
      if (performance.now() - toldAt > TELL_INTERVAL_MS) {
        toldAt = performance.now();
        console.log(`fuzz: ${totals.inputs} inputs, seeds ${FIRST_SEED} to ${seed}`);
      }
      totals.sound += storm.sound;
      totals.transmitted += storm.transmitted;
      for (const name of ['freezes', 'thaws', 'custodyBytesTaken', 'probesAnswered'] as const) {
        totals[name] += storm.counter(name);
      }
    }
    console.log(`fuzz: ${JSON.stringify(totals)}, ${((performance.now() - began) / 1_000).toFixed(0)} s`);
    // A storm that freezes nothing proves nothing.
    expect(totals.sound).toBeGreaterThan(totals.inputs / 2);
    for (const name of ['transmitted', 'freezes', 'thaws', 'custodyBytesTaken', 'probesAnswered'] as const) {
      expect(totals[name], name).toBeGreaterThan(totals.inputs / 10_000);
    }
  },
  Math.max(120_000, SECONDS * 3_000 + INPUTS),
);
