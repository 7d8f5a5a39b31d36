import { expect, test } from 'vitest';
import { type FakeNode, makeTestParts } from '../testing/sentinel-parts.ts';

const MB = 1_000_000;

test('HD14: nodes without a key leave a quarter of the budget to the queues of nodes with the key', () => {
  const { attach, budget } = makeTestParts({ queueBytes: 8 * MB, queueTotalBytes: 16 * MB });
  const sender = attach('sender');
  const payload = 'x'.repeat(100_000);
  /** Queues messages of 0.1 MB for a node that is away; returns the count of those that were accepted. */
  const fill = ({ path }: FakeNode): number => {
    for (let n = 0; ; n++) {
      const flowId = `${path}-${n}`;
      const answers = sender.send({ type: 'Data', payload }, { to: `inbox@${path}`, flowId });
      if (answers.some(({ frame }) => frame.type === 'DeliveryAck')) return n;
    }
  };
  const strangers = Array.from({ length: 40 }, (_, n) => attach(`stranger-${n}`));
  const ours = attach('ours', { principal: { id: 'local', roles: ['admin'] } });
  for (const node of [...strangers, ours]) node.lose();
  for (const stranger of strangers) fill(stranger);
  expect(budget.queuedBytes / MB).toBeGreaterThan(11);
  expect(budget.queuedBytes / MB).toBeLessThanOrEqual(12);
  expect(fill(strangers[0]!)).toBe(0);
  expect(fill(ours)).toBeGreaterThan(10);
  expect(budget.queuedBytes / MB).toBeLessThanOrEqual(16);
});
