import { expect, test } from 'vitest';
import { residueOf } from '../../src/lab/residue.ts';

test('the same lines in another order are no residue', () => {
  expect(residueOf(['a', 'b', 'b'], ['b', 'a', 'b'])).toEqual([]);
});

test('what is gone and what is new is named, repeated lines counted', () => {
  expect(residueOf(['rule 1', 'rule 1', 'route'], ['rule 1', 'nft table'])).toEqual([
    '- rule 1',
    '- route',
    '+ nft table',
  ]);
});
