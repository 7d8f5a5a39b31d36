// P12: one hundred clients with the same systemId, as copies of one script on one host have: no client is evicted, no call lost.
import { expect, test } from 'vitest';
import { id } from '../kit/raw-node.ts';
import { startWire } from '../kit/wire.ts';

const COPIES = 100;
const { nodes } = startWire();

test('P12, Q9: 100 copies with one systemId make 2,000 calls at once and lose none', async () => {
  await nodes.echo('p12@fame.fabric');
  const systemId = id();
  const copies = await Promise.all(Array.from({ length: COPIES }, () => nodes.attached({ systemId })));
  expect(new Set(copies.map((copy) => copy.path)).size).toBe(COPIES);
  const results = await Promise.all(
    copies.flatMap((copy) =>
      Array.from({ length: 20 }, async (_, n) => {
        const reply = await copy.call('p12@fame.fabric', 'echo', [copy.path, n], {}, 10_000);
        return JSON.stringify(reply.frame.payload.result) === JSON.stringify([copy.path, n]);
      }),
    ),
  );
  expect(results.filter((right) => right)).toHaveLength(COPIES * 20);
  expect(copies.filter((copy) => copy.isClosed)).toHaveLength(0);
});

test('P12: copies that attach and disconnect do not disturb another copy', async () => {
  await nodes.echo('p12-churn@fame.fabric');
  const systemId = id();
  const steady = await nodes.attached({ systemId });
  let stop = false;
  const churn = (async () => {
    while (!stop) await (await nodes.attached({ systemId })).cut();
  })();
  for (let n = 0; n < 200; n++) {
    const reply = await steady.call('p12-churn@fame.fabric', 'echo', [n]);
    expect(reply.frame.payload.result).toEqual([n]);
  }
  stop = true;
  await churn;
  expect(steady.isClosed).toBe(false);
});
