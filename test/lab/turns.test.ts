import { expect, test } from 'vitest';
import { Turns } from '../../src/lab/turns.ts';

test('one at a time, in the order of asking; ending twice gives nobody a second turn', async () => {
  const turns = new Turns();
  const order: string[] = [];
  const first = await turns.take();
  const later = ['b', 'c'].map(async (name) => {
    const end = await turns.take();
    order.push(`${name} begins`);
    await Promise.resolve();
    order.push(`${name} ends`);
    end();
  });
  order.push('a ends');
  first();
  first();
  await Promise.all(later);
  expect(order).toEqual(['a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});
