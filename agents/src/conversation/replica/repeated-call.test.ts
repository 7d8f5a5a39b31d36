import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { OperationContext } from '../../agent/operation.ts';
import { CallNotPassed } from './pass.ts';
import { RepeatedCall } from './repeated-call.ts';

function repeatedCall(
  of: { elsewhere?: () => string | undefined; isStopping?: boolean; isStart?: boolean } = {},
) {
  const clock = new ManualClock();
  const leaving = new AbortController();
  const placement = {
    own: 'me',
    isStopping: of.isStopping ?? false,
    elsewhere: async () => of.elsewhere?.(),
  };
  const context = { signal: leaving.signal, callId: 'call' } as OperationContext;
  const one = new RepeatedCall(
    { placement: placement as never, clock },
    of.isStart
      ? { context, conversation: undefined, holder: undefined }
      : { context, conversation: 'c', holder: 'a' },
  );
  const next = async (error: unknown): Promise<void> => {
    const found = one.next(error);
    clock.advance(400);
    await found;
  };
  return { one, next, clock, leaving };
}
const conflict = (holder?: string) =>
  new FabricError('STORE_CONFLICT', 'Held.', holder === undefined ? {} : { details: { holder } });

test('the holder that an error names comes before a search of the store', async () => {
  const { one, next } = repeatedCall({ elsewhere: () => 'c' });
  await next(new CallNotPassed({ holder: 'b' }));
  expect(one.holder).toBe('b');
  await next(conflict('me'));
  expect(one.holder).toBeUndefined();
  await next(conflict());
  expect(one.holder).toBe('c');
  // The one that was just asked may be wrong about itself.
  await next(conflict('c'));
  expect(one.holder).toBe('c');
});

test('each attempt has a call id of its own, and the first one that of the caller', async () => {
  const { one, next } = repeatedCall();
  const ids = [one.callId];
  for (let n = 0; n < 2; n++) {
    await next(new CallNotPassed());
    ids.push(one.callId);
  }
  expect(ids).toEqual(['call', 'call~1', 'call~2']);
  expect(one.here.callId).toBe('call~2');
});

test('a call that starts a conversation keeps its id, because it must not start a second one', async () => {
  const { one, next } = repeatedCall({ isStart: true });
  await next(conflict('b'));
  expect(one).toMatchObject({ holder: 'b', callId: 'call' });
  await next(new CallNotPassed());
  expect(one).toMatchObject({ holder: undefined, callId: 'call' });
  expect(one.here.callId).toBe('call');
});

test('no attempt follows an answer: any other error, the end of the call, or of the agent', async () => {
  const answer = new FabricError('TURN_CONFLICT', 'Used.');
  await expect(repeatedCall().next(answer)).rejects.toBe(answer);
  const left = repeatedCall();
  left.leaving.abort(new FabricError('CALL_CANCELLED', 'Left.'));
  await expect(left.next(new CallNotPassed())).rejects.toMatchObject({ code: 'NODE_GONE' });
  const stopping = repeatedCall({ isStopping: true });
  await expect(stopping.next(conflict())).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
});

test('attempts that fail for more than 30 s end with NODE_GONE; one that lasted long, or an event, begins anew', async () => {
  const { one, next, clock } = repeatedCall({ elsewhere: () => 'a' });
  const fail = async (seconds: number): Promise<void> => {
    for (let n = 0; n < seconds; n++) {
      clock.advance(600);
      await next(new CallNotPassed());
    }
  };
  await fail(25);
  one.received();
  await fail(25);
  clock.advance(20_001);
  await fail(25);
  await expect(fail(10)).rejects.toMatchObject({ code: 'NODE_GONE', retryable: true });
});
