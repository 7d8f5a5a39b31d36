// A5, P15: SIGTERM drains the sentinel. Its readiness page fails, it admits no new node, lets running turns finish, closes every
// connection with 1001, and exits with 0. A second signal ends it at once.
import { gate, stall } from '@fame-fabric/agents/testing';
import { afterAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { RawNode } from '../kit/raw-node.ts';
import { converse, openClient, type Stack, startStack, stopStack } from '../kit/stack.ts';

afterAll(stopStack);

const readiness = async ({ sentinel }: Stack): Promise<number> => {
  const answer = await fetch(`${sentinel.http}/readyz`);
  await answer.body?.cancel();
  return answer.status;
};

/** A turn whose answer has begun. */
async function begunTurn(stack: Stack) {
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client);
  const begun = Promise.withResolvers<void>();
  const whole = (async () => {
    let text = '';
    for await (const event of conversation.stream('go on')) {
      if (event.type === 'text') text += event.text;
      begun.resolve();
    }
    return text;
  })();
  whole.catch(begun.reject); // for a turn that fails before it begins
  await begun.promise;
  return { whole };
}

test('A5: SIGTERM: not ready, the running turn finishes, then 1001 and exit 0', async () => {
  const held = gate();
  const stack = await startStack({ model: { respond: () => ['The begin', held, 'ning and the end'] } });
  const { proc, url } = stack.sentinel;
  const turn = await begunTurn(stack);
  const bystander = await RawNode.attached(url);
  expect(await readiness(stack)).toBe(200);

  proc.child.kill('SIGTERM');
  await eventually(async () => expect(await readiness(stack)).toBe(503));
  await expect(RawNode.attached(url)).rejects.toThrow();
  expect(bystander.isClosed).toBe(false);

  held.open();
  expect(await turn.whole).toBe('The beginning and the end');
  expect(await bystander.closed).toMatchObject({
    code: 1001,
    reason: expect.stringMatching(/shutting down/),
  });
  expect(await proc.exited).toEqual({ code: 0, signal: null });
});

test('A5: a turn that is not finished after FAME_DRAIN_MS does not delay the exit', async () => {
  const stack = await startStack({
    model: { respond: () => ['The begin', stall()] },
    sentinel: { env: { FAME_DRAIN_MS: '300' } },
  });
  const { proc } = stack.sentinel;
  const turn = await begunTurn(stack);
  turn.whole.catch(() => {}); // it waits for the sentinel until the client is closed
  const began = performance.now();
  expect(await proc.stop('SIGTERM', 20_000)).toEqual({ code: 0, signal: null });
  const tookMs = performance.now() - began;
  expect(tookMs).toBeGreaterThanOrEqual(300);
  expect(tookMs).toBeLessThan(2_000);
});

test('A5: a second signal ends the sentinel at once', async () => {
  const stack = await startStack({
    model: { respond: () => ['The begin', stall()] },
    sentinel: { env: { FAME_DRAIN_MS: '600000' } },
  });
  const { proc } = stack.sentinel;
  const turn = await begunTurn(stack);
  turn.whole.catch(() => {});
  proc.child.kill('SIGTERM');
  await proc.waitFor(/draining; a second signal ends it at once/);
  const began = performance.now();
  proc.child.kill('SIGTERM');
  expect((await proc.exited).code).toBe(143);
  const tookMs = Math.round(performance.now() - began);
  console.info(`A5: exit ${tookMs} ms after the second signal`);
  expect(tookMs).toBeLessThanOrEqual(1_000);
});
