// HD8: subscriptions of one caller are bounded, and end with it: when it leaves, and when the sentinel is killed. The agent runs
// in this process, behind a real sentinel.
import { ChatAgent, offlineModel } from '@fame-fabric/agents';
import type { Client } from '@fame-fabric/client';
import { type Clock, isFabricError, systemClock } from '@fame-fabric/shared';
import { afterAll, afterEach, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { startOurSentinel } from '../kit/sentinel.ts';
import { CHAT, openClient, startStack, stopStack } from '../kit/stack.ts';

afterEach(closeLinks);
afterAll(stopStack);

const SUBSCRIPTIONS = 12_000;
const LIMIT = 4_096;

/** A clock on which the 30 s for the return of a caller last half a second. */
const impatient: Clock = {
  ...systemClock,
  after: (ms, fn, options) => systemClock.after(ms === 30_000 ? 500 : ms, fn, options),
};

async function serveChat(url: string) {
  const link = await connectLink(url, { clock: impatient });
  const serving = await new ChatAgent({ model: offlineModel() }).serve(link);
  return { link, serving };
}

const message = { role: 'user', parts: [{ type: 'text', text: 'hello' }] };

/** Opens subscriptions to one task, and waits for the first item or the error of each. Returns the number of outcomes by name. */
async function subscribe(client: Client, count: number): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  await Promise.all(
    Array.from({ length: count }, async () => {
      let outcome = 'open';
      try {
        await client
          .stream(CHAT, 'tasks/sendSubscribe', { id: 'task', message })
          [Symbol.asyncIterator]()
          .next();
      } catch (error) {
        outcome = isFabricError(error) ? error.code : String(error);
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }),
  );
  return outcomes;
}

test('HD8: 12,000 subscriptions of one caller are bounded, and end with it, twice', async () => {
  const sentinel = await startOurSentinel();
  const { link, serving } = await serveChat(sentinel.url);
  for (let round = 0; round < 2; round++) {
    const caller = await openClient(sentinel.url);
    const outcomes = await subscribe(caller, SUBSCRIPTIONS);
    expect(outcomes).toEqual({ open: LIMIT, QUOTA_EXCEEDED: SUBSCRIPTIONS - LIMIT });
    expect(link.counts.serving).toBe(LIMIT);
    await caller.close();
    await eventually(() => expect(link.counts.serving).toBe(0));
  }
  expect(link.counts).toMatchObject({ waiting: 0, held: 0 });
  const from = performance.now();
  await serving.drain(10_000);
  expect(performance.now() - from).toBeLessThan(2_000);
});

test('HD8: subscriptions end after a kill -9 of the sentinel if their caller does not return', async () => {
  const sentinel = await startOurSentinel();
  const { link, serving } = await serveChat(sentinel.url);
  const caller = await openClient(sentinel.url);
  expect(await subscribe(caller, 1_000)).toEqual({ open: 1_000 });
  await sentinel.proc.kill();
  await caller.close();
  expect(link.counts.serving).toBe(1_000);
  await startOurSentinel(sentinel);
  await eventually(() => expect(link.counts.serving).toBe(0));
  const from = performance.now();
  await serving.drain(10_000);
  expect(performance.now() - from).toBeLessThan(2_000);
});

test('HD8: an agent whose subscribers have left ends at once on SIGTERM', async () => {
  const { sentinel, agent } = await startStack();
  const caller = await openClient(sentinel.url);
  expect(await subscribe(caller, 2_000)).toEqual({ open: 2_000 });
  await caller.close();
  // The sentinel cancels them before it answers this call.
  const other = await openClient(sentinel.url);
  await other.call(CHAT, 'agent.get_card');
  const from = performance.now();
  expect(await agent.stop('SIGTERM', 20_000)).toEqual({ code: 0, signal: null });
  expect(performance.now() - from).toBeLessThan(5_000);
});
