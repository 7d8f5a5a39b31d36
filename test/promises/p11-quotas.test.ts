// P11: the state of one node is bounded, is removed when the node leaves, and slows no other node down.
import { expect, test } from 'vitest';
import { percentile } from '../kit/percentile.ts';
import type { Json } from '../kit/raw-node.ts';
import { listNodes } from '../kit/sentinel.ts';
import { startWire } from '../kit/wire.ts';

const QUOTAS = { FAME_MAX_ADDRESSES_PER_NODE: '64', FAME_MAX_SESSIONS: '20' };
const { sentinel, nodes } = startWire({ env: { ...QUOTAS, FAME_RESUME_WINDOW_MS: '500' } });

test('P11: 20,000 binds of one node stop at its quota with QUOTA_EXCEEDED, and others stay fast', async () => {
  await nodes.echo('p11@fame.fabric');
  const [caller, greedy] = [await nodes.attached(), await nodes.attached()];
  const refused: Json[] = [];
  let answered = 0;
  greedy.socket.on('message', (bytes) => {
    const { frame } = JSON.parse(String(bytes)) as Json;
    if (frame.type !== 'AddressBindAck') return;
    answered++;
    if (!frame.ok) refused.push(frame.code);
  });
  const times: number[] = [];
  for (let n = 0; n < 20_000; n++) {
    const frame = { type: 'AddressBind', address: `greedy-${n}@fame.fabric` };
    greedy.send({ rtype: 1, corrId: `b${n}`, replyTo: `__sys__@${greedy.path}`, frame });
    if (n % 200 !== 0) continue;
    const began = performance.now();
    await caller.call('p11@fame.fabric', 'echo', [n]);
    times.push(performance.now() - began);
  }
  await expect.poll(() => answered).toBe(20_000);
  expect(refused).toHaveLength(20_000 - 64);
  expect(new Set(refused)).toEqual(new Set(['QUOTA_EXCEEDED']));
  expect(percentile(times, 0.5)).toBeLessThan(100);
});

test('Q13: the addresses of a node are free again after it has left', async () => {
  await expect.poll(() => listNodes(sentinel)).toHaveLength(0);
  const node = await nodes.attached();
  for (let n = 0; n < 64; n++) await node.serve(`mine-${n}@fame.fabric`);
  expect((await listNodes(sentinel))[0]?.addresses).toHaveLength(64);
  await node.close();
  const next = await nodes.attached();
  for (let n = 0; n < 64; n++) expect((await next.bind(`mine-${n}@fame.fabric`)).frame.ok).toBe(true);
});

test('P11: the number of sessions is bounded: one more is refused with ADMIT_FULL and 1013', async () => {
  await expect.poll(() => listNodes(sentinel)).toHaveLength(0);
  // A quarter of the 20 is reserved for nodes with the key.
  for (let n = 0; n < 15; n++) await nodes.attached();
  const extra = await nodes.open();
  await expect(extra.attach()).rejects.toThrow('ADMIT_FULL');
  expect((await extra.closed).code).toBe(1013);
});
