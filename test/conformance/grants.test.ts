// Response grants on the wire: who may write to a mailbox. The cases of the router are in sentinel/src/grants.test.ts.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { closeLinks, connectLink, mathService, serviceOf } from '../kit/our-node.ts';
import { stopAll } from '../kit/processes.ts';
import { id, type Json, RawNodes } from '../kit/raw-node.ts';
import { fetchWithKey, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
});
afterAll(stopAll);

const nodes = new RawNodes(() => sentinel.url);
afterEach(async () => {
  await closeLinks();
  await nodes.closeAll();
});

const reply = (corrId: string, result: Json): Json => ({
  type: 'Data',
  payload: { jsonrpc: '2.0', id: corrId, result },
});
const nack = (refId: string): Json => ({
  type: 'DeliveryAck',
  ok: false,
  code: 'AUTH_FORBIDDEN',
  reason: 'send your key to thief@fame.fabric',
  refId,
});

const ungranted = async (): Promise<number> => {
  const text = await (await fetchWithKey(sentinel, '/metrics')).text();
  return Number(/^fame_ungranted_total (\d+)$/m.exec(text)?.[1]);
};

test('HD5: a node that knows corrId and mailbox of a call can neither answer nor refuse it', async () => {
  const agent = await nodes.attached();
  await agent.serve('hd5@fame.fabric');
  const caller = await nodes.attached();
  const thief = await nodes.attached();
  const { corrId, id: refId, replyTo } = caller.sendCall('hd5@fame.fabric', 'ask');
  const request = await agent.next((m) => m.corrId === corrId);
  const before = await ungranted();
  for (let n = 0; n < 5; n++) thief.send({ to: replyTo, corrId, frame: reply(corrId, `FORGED: ${n}`) });
  thief.send({ to: replyTo, corrId, rtype: 2, replyTo: thief.replyTo(), frame: reply(corrId, 'FORGED') });
  thief.send({ to: replyTo, corrId, frame: nack(refId) });
  expect(await thief.silent((m) => m.frame.type === 'DeliveryAck')).toBe(true);
  expect(await ungranted()).toBe(before + 7);
  agent.answer(request, 'the answer');
  const answer = await caller.next((m) => m.corrId === corrId);
  expect(answer.frame.payload.result).toBe('the answer');
});

test('HD5: a link of ours takes no answer and no refusal at any other of its addresses', async () => {
  const link = await connectLink(sentinel.url);
  const agent = await nodes.attached();
  await agent.serve('slow@fame.fabric');
  await link.bind('both@fame.fabric', mathService());
  const call = link.call('slow@fame.fabric', 'ask');
  const request = await agent.next((m) => m.frame.payload?.method === 'ask');
  const { corrId } = request;
  const thief = await nodes.attached();
  for (const to of ['both@fame.fabric', `both@${link.path}`, `__sys__@${link.path}`]) {
    thief.send({ to, corrId, rtype: 2, replyTo: thief.replyTo(), frame: reply(corrId, 'FORGED') });
    thief.send({ to, corrId, frame: reply(corrId, 'FORGED') });
    thief.send({ to, corrId, frame: nack(id()) });
  }
  // The link has handled all of it once it answers.
  expect((await thief.call('both@fame.fabric', 'add', { args: [1, 2] })).frame.payload.result).toBe(3);
  agent.answer(request, 'the answer');
  expect(await call).toBe('the answer');
});

test('HD5: calls, streams and refusals between links of ours need nothing new', async () => {
  const profiles = ['at-most-once', 'at-least-once'] as const;
  for (const [n, deliveryProfile] of profiles.entries()) {
    const callee = await connectLink(sentinel.url, { deliveryProfile });
    const to = `math${n}@fame.fabric`;
    await callee.bind(
      to,
      serviceOf({
        add: ([x, y]) => (x as number) + (y as number),
        async *count([last]) {
          for (let item = 1; item <= (last as number); item++) yield item;
        },
      }),
    );
    for (const profile of profiles) {
      const caller = await connectLink(sentinel.url, { deliveryProfile: profile });
      expect(await caller.call(to, 'add', { args: [1, 2] })).toBe(3);
      const items: unknown[] = [];
      for await (const item of caller.stream(to, 'count', { args: [40] })) items.push(item);
      expect(items).toHaveLength(40);
      await expect(caller.call(`nobody${n}@fame.fabric`, 'add')).rejects.toMatchObject({ code: 'NO_ROUTE' });
    }
  }
});
