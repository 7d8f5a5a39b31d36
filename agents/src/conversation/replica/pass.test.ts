import { FabricError } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { OperationContext } from '../../agent/operation.ts';
import { passCall } from './pass.ts';
import { Placement } from './placement.ts';

const KEY = Buffer.alloc(32, 7).toString('base64url');

/** A passed call; `replicaKey` and `items` are what the store and the link return. */
function passing({ replicaKey = async () => KEY, items = [] as unknown[] } = {}) {
  const clock = new ManualClock();
  const checks = { holder: 0, key: 0 };
  const store = {
    holder: 'me',
    async peek() {
      checks.holder += 1;
      return { holder: 'other' };
    },
    replicaKey() {
      checks.key += 1;
      return replicaKey();
    },
  };
  const placement = new Placement({
    store: store as never,
    conversations: {} as never,
    stopping: new AbortController().signal,
  });
  const link = {
    async *stream() {
      yield* items;
    },
  };
  const context = {
    signal: new AbortController().signal,
    caller: Promise.resolve(undefined),
    replyTo: '__rpc__x@/s/n',
    isStream: false,
  } as unknown as OperationContext;
  const call = async (): Promise<unknown> => {
    const answer = passCall(
      { agent: 'chat@fame.fabric', link: link as never, placement, clock },
      {
        holder: 'other',
        conversation: 'c',
        method: 'run_turn',
        params: {},
        context,
        callId: 'c',
        startedAt: 0,
      },
    );
    for (;;) {
      const { done, value } = await answer.next();
      if (done) return value;
    }
  };
  return { clock, checks, call };
}

test('a call that is not passed, because the store is away, leaves nothing that asks the store', async () => {
  const away = new FabricError('STORE_UNAVAILABLE', 'The store is away.');
  const { clock, checks, call } = passing({ replicaKey: () => Promise.reject(away) });
  await expect(call()).rejects.toBe(away);
  for (let second = 0; second < 3; second++) {
    clock.advance(1_000);
    await settle();
  }
  expect(checks.holder).toBe(0);
});

test('the secret of the store is read once, and again after an error', async () => {
  let isAway = true;
  const { checks, call } = passing({
    replicaKey: async () => {
      if (isAway) throw new FabricError('STORE_UNAVAILABLE', 'The store is away.');
      return KEY;
    },
    items: [{ kind: 'result', result: 42 }],
  });
  await expect(call()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  isAway = false;
  expect(await call()).toBe(42);
  expect(await call()).toBe(42);
  expect(checks.key).toBe(2);
});
