import { type CallOptions, FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { Conversations, type FollowOptions } from './conversations.ts';
import { scriptedAgent } from './testing/scripted-agent.ts';
import type { ConversationEvent } from './turn-event.ts';

const ADDRESS = 'chat@fame.fabric';

test('each operation sends its parameters, and the answer comes back unchanged', async () => {
  const answers = Object.fromEntries(
    ['list_conversations', 'read_events', 'get_turn', 'get_prompt', 'fork', 'answer_approval'].map(
      (method) => [method, () => ({ method })],
    ),
  );
  const { caller, requests } = scriptedAgent(answers);
  const all = new Conversations(caller, ADDRESS);
  expect(await all.list({ state: 'working', failed: true, search: 'x', before: 'b', limit: 2 })).toEqual({
    method: 'list_conversations',
  });
  expect(await all.readEvents('c1', { after: 3, limit: 4 })).toEqual({ method: 'read_events' });
  expect(await all.turn('c1', 't1')).toEqual({ method: 'get_turn' });
  expect(await all.prompt('c1', 't1', 1)).toEqual({ method: 'get_prompt' });
  expect(await all.answerApproval('c1', 'call_1', { approve: true })).toBe(undefined);
  const fork = await all.fork('c1', { at: 't1', model: 'small' });
  expect(fork).toMatchObject({ address: ADDRESS, id: expect.any(String) });
  expect(requests.map(({ method, params }) => [method, JSON.parse(JSON.stringify(params))])).toEqual([
    ['list_conversations', { state: 'working', failed: true, search: 'x', before: 'b', limit: 2 }],
    ['read_events', { conversation_id: 'c1', after: 3, limit: 4 }],
    ['get_turn', { conversation_id: 'c1', turn_id: 't1' }],
    ['get_prompt', { conversation_id: 'c1', turn_id: 't1', step: 1 }],
    ['answer_approval', { conversation_id: 'c1', call_id: 'call_1', approve: true }],
    ['fork', { conversation_id: 'c1', at: 't1', id: fork.id, model: 'small' }],
  ]);
});

test('the error for an agent that lacks an operation names both', async () => {
  const all = new Conversations(scriptedAgent({}).caller, ADDRESS);
  const follow = async () => {
    for await (const _ of all.follow('c1'));
  };
  const attempts: [string, () => Promise<unknown>][] = [
    ['list_conversations', () => all.list()],
    ['read_events', () => all.readEvents('c1')],
    ['read_events', follow],
    ['get_turn', () => all.turn('c1', 't1')],
    ['get_prompt', () => all.prompt('c1', 't1', 1)],
    ['fork', () => all.fork('c1', { at: 't1' })],
    ['answer_approval', () => all.answerApproval('c1', 'x', { approve: true })],
  ];
  for (const [method, attempt] of attempts) {
    await expect(attempt()).rejects.toMatchObject({
      code: 'METHOD_NOT_FOUND',
      message: `The agent ${ADDRESS} does not support ${method}.`,
      details: { fix: 'Agents of Fame Fabric 0.2 and later do.' },
    });
  }
});

describe('follow', () => {
  const at = '2026-11-29T12:00:00.000Z';
  const text = (seq: number) => ({ type: 'text', seq, at, turn_id: 't', text: String(seq) });
  const ended = { type: 'ended', seq: 9, at, state: 'completed' };
  const error = (code: ConstructorParameters<typeof FabricError>[0]) => new FabricError(code, 'away');

  /** Follows an agent that answers each attempt with a list of items, which may end with an error. */
  async function follow(lists: unknown[][], options: FollowOptions = {}) {
    const clock = new ManualClock();
    const waiting = [...lists];
    const { caller, requests } = scriptedAgent({
      read_events: (_params, { signal }: CallOptions = {}) =>
        (async function* () {
          signal?.throwIfAborted();
          for (const item of waiting.shift() ?? [error('NO_ROUTE')]) {
            if (item instanceof Error) throw item;
            yield item;
          }
        })(),
    });
    const events: ConversationEvent[] = [];
    let isOver = false;
    const reading = (async () => {
      const all = new Conversations(caller, ADDRESS, { clock });
      for await (const event of all.follow('c1', options)) events.push(event);
    })().finally(() => {
      isOver = true;
    });
    reading.catch(() => {});
    while (!isOver) await clock.run(5_000, 1_000);
    const afters = requests.map(({ params }) => (params as { after: number }).after);
    return { reading, seqs: events.map(({ seq }) => seq), afters, elapsedMs: clock.monotonic() };
  }

  test('continues from its cursor after losses, a slow read and silence, and yields each event once', async () => {
    const onAway = vi.fn();
    const { reading, seqs, afters } = await follow(
      [
        [text(1), error('LINK_CLOSED')],
        [error('CALL_TIMEOUT')],
        [text(2), error('READER_TOO_SLOW')],
        [error('NODE_GONE')],
        [error('NO_ROUTE')],
        [text(2), text(3), ended],
      ],
      { onAway },
    );
    await reading;
    expect(seqs).toEqual([1, 2, 3, 9]);
    expect(afters).toEqual([0, 1, 1, 2, 2, 2]);
    expect(onAway).toHaveBeenCalledTimes(1);
  });

  test('starts after a cursor', async () => {
    const { reading, afters } = await follow([[text(8), ended]], { after: 7 });
    await reading;
    expect(afters).toEqual([7]);
  });

  test('fails if the agent does not return in time, and at once if it never answered', async () => {
    const lost = await follow([[text(1), error('NODE_GONE')]]);
    await expect(lost.reading).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(lost.elapsedMs).toBeGreaterThanOrEqual(60_000);
    const never = await follow([]);
    await expect(never.reading).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(never.afters).toEqual([0]);
  });

  test('waits for an agent that has answered before', async () => {
    const { reading, seqs } = await follow([[error('NODE_GONE')], [error('NO_ROUTE')], [text(1), ended]], {
      hasAnswered: true,
    });
    await reading;
    expect(seqs).toEqual([1, 9]);
  });

  test.each(['CONVERSATION_UNKNOWN', 'AUTH_FORBIDDEN', 'READER_TOO_SLOW'] as const)(
    'fails at once with %s if nothing was read',
    async (code) => {
      const { reading, afters } = await follow([[error(code)]]);
      await expect(reading).rejects.toMatchObject({ code });
      expect(afters).toHaveLength(1);
    },
  );

  test('ends with its signal', async () => {
    const { reading } = await follow([[text(1), error('NODE_GONE')]], {
      signal: AbortSignal.abort(error('CALL_CANCELLED')),
    });
    await expect(reading).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
  });
});
