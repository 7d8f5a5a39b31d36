// HD10: a call that a busy agent refused is repeated until it is answered. A call that was executed is never repeated.
import { defineAgent, operation } from '@fame-fabric/agents';
import { FabricError } from '@fame-fabric/shared';
import { afterEach, expect, test } from 'vitest';
import { closeLinks, connectLink, serviceOf } from '../kit/our-node.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

afterEach(closeLinks);

test('HD10: 200 calls to an agent that runs one and lets one wait are all answered, each executed once', async () => {
  const { url } = await startOurSentinel();
  const [agentLink, caller] = await Promise.all([connectLink(url), connectLink(url)]);
  const executed: string[] = [];
  const run = (_: unknown, { callId }: { callId: string }) => {
    executed.push(callId);
    return callId;
  };
  await defineAgent({
    address: 'busy@fame.fabric',
    operations: { work: operation({ run }) },
    maxConcurrent: 1,
    maxWaiting: 1,
  }).serve(agentLink);
  const ids = Array.from({ length: 200 }, (_, n) => `call-${n}`);
  const answers = await Promise.all(
    ids.map((id) => caller.call('busy@fame.fabric', 'work', undefined, { id, timeoutMs: 60_000 })),
  );
  expect(answers).toEqual(ids);
  expect(executed.toSorted()).toEqual(ids.toSorted());
});

test('HD10: 6,000 calls at once of one link, more than the sentinel admits, are slowed and not refused', async () => {
  const { url } = await startOurSentinel();
  const [agentLink, caller] = await Promise.all([connectLink(url), connectLink(url)]);
  await agentLink.bind('echo@fame.fabric', serviceOf({ echo: ([n]) => n }));
  const numbers = Array.from({ length: 6_000 }, (_, n) => ({ n }));
  const answers = await Promise.all(
    numbers.map((n) => caller.call('echo@fame.fabric', 'echo', n, { timeoutMs: 60_000 })),
  );
  expect(answers).toEqual(numbers);
});

test('HD10: an operation that ran is not repeated, although it failed with NODE_BUSY', async () => {
  const { url } = await startOurSentinel();
  const [agentLink, caller] = await Promise.all([connectLink(url), connectLink(url)]);
  let executed = 0;
  const run = () => {
    executed++;
    throw new FabricError('NODE_BUSY', 'The agent behind this one is busy');
  };
  await defineAgent({ address: 'front@fame.fabric', operations: { work: operation({ run }) } }).serve(
    agentLink,
  );
  await expect(caller.call('front@fame.fabric', 'work')).rejects.toMatchObject({ code: 'NODE_BUSY' });
  // The call has ended, so no link can repeat it.
  await expect(caller.call('front@fame.fabric', 'missing')).rejects.toMatchObject({
    code: 'METHOD_NOT_FOUND',
  });
  expect(executed).toBe(1);
  expect(caller.counts.calls).toBe(0);
});
