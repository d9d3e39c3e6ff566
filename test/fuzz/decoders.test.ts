/**
 * Structure-aware damage to everything that is decoded, packets apart (wire.test.ts). TCPFREEZE_FUZZ_SECONDS sets how long in all
 * (default 15); TCPFREEZE_FUZZ_SEED where to begin. A failure names a case for cases/decoders.json.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Prng } from '../../src/base/prng.ts';
import { decoders } from './decoders.ts';
import { mutateBytes, mutateText } from './mutate.ts';

interface Case {
  readonly decoder: string;
  readonly hex: string;
  readonly why: string;
}

const SECONDS = Number(process.env.TCPFREEZE_FUZZ_SECONDS ?? 15);
const SEED = Number(process.env.TCPFREEZE_FUZZ_SEED ?? 1);
const CASES = JSON.parse(readFileSync(new URL('./cases/decoders.json', import.meta.url), 'utf8')) as Case[];
const all = decoders();

describe('damaged input', () => {
  it.each(all)(
    'of $name ends in an error for people, or in nothing',
    { timeout: 60_000 + 3_000 * SECONDS },
    (decoder) => {
      const { name, samples, words } = decoder;
      expect(samples.length).toBeGreaterThan(0);
      for (const sample of samples) decoder.decode(sample.slice());
      const random = new Prng(SEED);
      const texts = samples.map((sample) => Buffer.from(sample).toString());
      const until = performance.now() + (SECONDS * 1_000) / all.length;
      let inputs = 0;
      for (; inputs < 50 || performance.now() < until; inputs++) {
        const bytes =
          words === undefined
            ? mutateBytes(random, samples)
            : new Uint8Array(Buffer.from(mutateText(random, texts, words)));
        try {
          decoder.decode(bytes.slice());
        } catch (error) {
          const found: Case = { decoder: name, hex: Buffer.from(bytes).toString('hex'), why: String(error) };
          throw new Error(JSON.stringify(found), { cause: error });
        }
      }
      console.log(`fuzz: ${name}, ${inputs} inputs`);
    },
  );
});

it('what once failed does so no more', () => {
  for (const { decoder, hex, why } of CASES) {
    const found = all.find(({ name }) => name === decoder)!;
    expect(() => found.decode(new Uint8Array(Buffer.from(hex, 'hex'))), why).not.toThrow();
  }
});
