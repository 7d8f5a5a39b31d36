// Turns with a retry key, on hosts whose stores share their conversations as processes share a file.
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryStore } from '../store/memory-store.ts';
import { FakeLink } from '../testing/fake-link.ts';
import { gate, type ScriptedModel, type ScriptStep, scriptedModel } from '../testing.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import { ChatAgent } from './chat-agent.ts';
import { ConversationHost, type HostOptions } from './host.ts';
import type { LiveTurn } from './live-turn.ts';
import type { TurnRequest } from './requests.ts';

const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});
const TIMEOUT_MS = 60_000;
const code = (expected: string) => expect.objectContaining({ code: expected });
/** Answers every request in the same way. */
const always = (...steps: ScriptStep[]): ScriptedModel =>
  scriptedModel([{ steps, times: Number.POSITIVE_INFINITY }]);

function hostOf(model: ScriptedModel, store: MemoryStore, more: HostOptions & { clock?: ManualClock } = {}) {
  const { clock, ...options } = more;
  const host = new ConversationHost(
    { runner: new ChatTurns({ model }), store, agent: 'chat@fame.fabric', clock },
    { turnTimeoutMs: TIMEOUT_MS, ...options },
  );
  hosts.push(host);
  const settings = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  return {
    host,
    start: (...ids: string[]) =>
      Promise.all(ids.map((id) => host.start({ id, callId: id, options: settings }))),
    /** Sends a turn to the conversation that the first letter of its id names. */
    turn: (turnId: string, count: number, request: Partial<TurnRequest> = {}): Promise<LiveTurn> =>
      host.turn({
        conversationId: turnId[0]!,
        turnId,
        userMessage: 'hi',
        retry: { principal: 'local', key: 'k', count },
        ...request,
      }),
  };
}

describe('a retry', () => {
  test('joins the running turn, and the ended one, in any conversation', async () => {
    const held = gate();
    const model = always(held, 'the answer');
    const { start, turn } = hostOf(model, new MemoryStore());
    await start('a', 'b');
    const first = await turn('a1', 0);
    const again = await turn('b1', 1);
    expect(again).toBe(first);
    expect(again).toMatchObject({ id: 'a1', conversationId: 'a' });
    held.open();
    expect(await again.outcome).toMatchObject({ text: 'the answer' });
    expect(await (await turn('b2', 2)).outcome).toMatchObject({ text: 'the answer' });
    expect(model.count).toBe(1);
    expect(await (await turn('b3', 0)).outcome).toMatchObject({ state: 'completed' });
    expect(model.count).toBe(2);
    expect((await turn('a2', 1)).id).toBe('b3');
  });

  test('runs a turn if no other request did, and a first request that comes late joins it once', async () => {
    const clock = new ManualClock();
    const model = always('the answer');
    const { start, turn } = hostOf(model, new MemoryStore({ clock }), { clock });
    await start('a', 'b');
    const retry = await turn('b1', 1);
    expect(retry.id).toBe('b1');
    expect((await turn('a1', 0)).id).toBe('b1');
    // The link of the caller repeats its message.
    expect((await turn('a1', 0)).id).toBe('b1');
    expect((await turn('a2', 0)).id).toBe('a2');
    await turn('b2', 0, { retry: { principal: 'local', key: 'other', count: 1 } });
    clock.advance(TIMEOUT_MS);
    const late = await turn('a3', 0, { retry: { principal: 'local', key: 'other', count: 0 } });
    expect(late.id).toBe('a3');
    await late.outcome;
    expect(model.count).toBe(4);
  });

  test('does not join a turn of another message, or of another principal', async () => {
    const { start, turn } = hostOf(always('the answer'), new MemoryStore());
    await start('a', 'b');
    await turn('a1', 0);
    await expect(turn('b1', 1, { userMessage: 'other' })).rejects.toEqual(code('TURN_CONFLICT'));
    const other = { retry: { principal: 'anonymous', key: 'k', count: 1 } };
    expect((await turn('b2', 1, other)).id).toBe('b2');
    await expect(turn('b3', 1, { retry: { principal: 'x', key: '\ud800', count: 1 } })).rejects.toEqual(
      code('PARAMS_INVALID'),
    );
  });

  test('is in the journal with its turn', async () => {
    const store = new MemoryStore();
    const { start, turn } = hostOf(always('the answer'), store);
    await start('a');
    await (await turn('a1', 0)).outcome;
    expect((await store.read('a'))[1]!.body).toMatchObject({ retry_key: 'k' });
  });
});

test.each([1, 3, 50])('%i requests at once in as many conversations are one turn', async (requests) => {
  const model = always('the answer');
  const { start, turn } = hostOf(model, new MemoryStore());
  const letters = Array.from({ length: requests }, (_, n) => String.fromCodePoint(0x4e00 + n));
  await start(...letters);
  const turns = await Promise.all(letters.map((letter, n) => turn(`${letter}1`, requests - 1 - n)));
  expect(new Set(turns.map(({ conversationId, id }) => `${conversationId} ${id}`)).size).toBe(1);
  await Promise.all(turns.map(({ outcome }) => outcome));
  expect(model.count).toBe(1);
});

test('first requests of one key do not wait for each other', async () => {
  const model = always('the answer');
  const { start, turn } = hostOf(model, new MemoryStore());
  await start('a', 'b', 'c');
  const turns = await Promise.all(['a1', 'b1', 'c1'].map((id) => turn(id, 0)));
  expect(turns.map(({ id }) => id)).toEqual(['a1', 'b1', 'c1']);
});

test('a retry does not disturb the turn that runs in its conversation', async () => {
  const held = gate();
  const model = always(held, 'the answer');
  const { start, turn } = hostOf(model, new MemoryStore());
  await start('a', 'b');
  const running = await turn('b0', 0, { retry: undefined });
  const joined = await Promise.all([turn('a1', 0), ...[1, 2, 3].map((n) => turn(`b${n}`, n))]);
  expect(joined.map(({ id }) => id)).toEqual(['a1', 'a1', 'a1', 'a1']);
  held.open();
  expect(await running.outcome).toMatchObject({ state: 'completed' });
  await joined[0]!.outcome;
  expect(model.count).toBe(2);
});

describe('with two processes', () => {
  test('retries that arrive at both in the same moment are one turn', async () => {
    const clock = new ManualClock();
    const one = new MemoryStore({ clock });
    const other = new MemoryStore({ clock, sharedWith: one });
    const model = always('the answer');
    const [here, there] = [hostOf(model, one, { clock }), hostOf(model, other, { clock })];
    await here.start('a', 'b');
    const turns = Promise.all([here.turn('a1', 1), there.turn('b1', 2)]);
    // The process that was refused waits until the other one releases the conversation of the turn.
    let isSettled = false;
    void turns.then(() => (isSettled = true));
    for (let step = 0; step < 200 && !isSettled; step++) {
      clock.advance(1_000);
      await settle();
    }
    const [mine, theirs] = await turns;
    expect(mine.id).toBe(theirs.id);
    expect(await mine.outcome).toMatchObject({ text: 'the answer' });
    expect(await theirs.outcome).toMatchObject({ text: 'the answer' });
    expect(model.count).toBe(1);
  });

  test('a retry after the death of the process joins the turn that the next one finishes', async () => {
    const clock = new ManualClock();
    const held = gate();
    const store = new MemoryStore({ clock });
    const first = hostOf(always(held, 'lost'), store, { clock });
    await first.start('a', 'b');
    await first.turn('a1', 0);
    await held.reached;
    const model = always('the answer');
    const second = hostOf(model, new MemoryStore({ clock, sharedWith: store }), { clock });
    await store.close();
    const retry = await second.turn('b1', 1);
    expect(retry.id).toBe('a1');
    expect(await retry.outcome).toMatchObject({ text: 'the answer' });
    expect(model.count).toBe(1);
  });
});

describe('on the wire', () => {
  const serve = async (model: ScriptedModel) => {
    const link = new FakeLink();
    const serving = await new ChatAgent({ model }).serve(link);
    const [address] = link.bound.keys();
    const call = (method: string, params: object, principal = 'local') =>
      link.start(address!, method, params, { principal });
    return { call, close: () => serving.close() };
  };
  const turnOf = (conversation_id: string, more: object = {}) => ({
    conversation_id,
    user_message: 'hi',
    retry_key: 'k',
    ...more,
  });

  test('keys belong to the principal of the caller, and each answer is the one of the joined turn', async () => {
    const model = scriptedModel(['one', 'two']);
    const { call, close } = await serve(model);
    for (const id of ['a', 'b', 'c']) await call('start_task', { id, share: ['*'] }).done;
    expect(await call('run_turn', turnOf('a')).done).toMatchObject({ result: 'one' });
    expect(await call('run_turn', turnOf('b', { retry_count: 1 })).done).toMatchObject({ result: 'one' });
    const report = await call('run_turn', turnOf('b', { retry_count: 2, answer: 'outcome' })).done;
    expect(report.result).toMatchObject({ conversation_id: 'a', text: 'one' });
    const stranger = await call('run_turn', turnOf('c', { retry_count: 1 }), 'anonymous').done;
    expect(stranger).toMatchObject({ result: 'two' });
    model.done();
    await close();
  });

  test('a caller that joined a turn of another conversation cancels that turn, unless another one follows it', async () => {
    const held = gate();
    const { call, close } = await serve(always('part', held));
    for (const id of ['a', 'b']) await call('start_task', { id }).done;
    const first = call('run_turn', turnOf('a', { turn_id: 'first' }));
    await held.reached;
    const second = call('run_turn', turnOf('b', { retry_count: 1 }));
    await settle();
    const state = async () => {
      await settle();
      const turns = await call('get_turn', { conversation_id: 'a', turn_id: 'first' }).done;
      return (turns.result as { state: string }).state;
    };
    first.cancel('cancelled');
    expect(await state()).toBe('open');
    second.cancel('cancelled');
    expect(await state()).toBe('cancelled');
    await close();
  });

  test.each([
    [{ retry_key: 'x'.repeat(129) }, 'retry_key'],
    [{ retry_key: '' }, 'retry_key'],
    [{ retry_count: -1 }, 'retry_count'],
    [{ retry_count: 0.5 }, 'retry_count'],
  ])('refuses %j', async (params, name) => {
    const { call, close } = await serve(always('x'));
    const { error } = await call('run_turn', turnOf('a', params)).done;
    expect(error).toMatchObject({ message: expect.stringContaining(name), data: { code: 'PARAMS_INVALID' } });
    await close();
  });
});
