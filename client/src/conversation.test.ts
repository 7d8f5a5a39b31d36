import { type ErrorCode, FabricError, type LinkState } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import type { Caller } from './chat-operations.ts';
import { Conversation, type ConversationOptions, type TurnOptions } from './conversation.ts';
import { items, scriptedAgent } from './testing/scripted-agent.ts';
import { isUndecided, type TurnEvent } from './turn-event.ts';

const collect = async (events: AsyncIterable<TurnEvent>): Promise<TurnEvent[]> => {
  const all: TurnEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
};

test('the first turn starts the conversation, once, with its system prompt', async () => {
  const { caller, requests, methods } = scriptedAgent({
    run_turn_stream: () => items({ type: 'text', text: 'Hi' }, { type: 'done', text: 'Hi' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric', {
    id: 'c1',
    systemPrompt: 'Be kind',
    maxHistoryLength: 3,
  });
  expect(await chat.ask('Hello')).toBe('Hi');
  expect(await chat.ask('Again')).toBe('Hi');
  expect(methods()).toEqual(['tasks/send', 'run_turn_stream', 'run_turn_stream']);
  expect(requests[0]?.params).toMatchObject({
    id: 'c1',
    message: { parts: [{ type: 'data', data: { system_prompt: 'Be kind', max_history_length: 3 } }] },
  });
  expect(requests[1]?.params).toMatchObject({ conversation_id: 'c1', user_message: 'Hello' });
  const turnIds = requests.slice(1).map(({ params }) => (params as { turn_id: string }).turn_id);
  expect(new Set(turnIds).size).toBe(2);
});

/** Starts a conversation as naylence's chat agents do: a missing `system_prompt` is an exception. */
function startWithPrompt(params: unknown): object {
  const [part] = (params as { message: { parts: { data: { system_prompt?: string } }[] } }).message.parts;
  if (part?.data.system_prompt === undefined)
    throw new FabricError('INTERNAL', "Internal error: 'system_prompt'");
  return {};
}
const promptsOf = (requests: { method: string; params: unknown }[]): unknown[] =>
  requests.flatMap(({ method, params }) =>
    method === 'tasks/send'
      ? [
          (params as { message: { parts: { data: { system_prompt?: string } }[] } }).message.parts[0]!.data
            .system_prompt,
        ]
      : [],
  );

test('NF2: an agent of naylence that needs a system prompt gets the default one', async () => {
  const { caller, requests, methods } = scriptedAgent({
    'tasks/send': startWithPrompt,
    run_turn: () => 'hi',
  });
  expect(await new Conversation(caller, 'chat@fame.fabric').ask('a')).toBe('hi');
  expect(methods()).toEqual(['tasks/send', 'describe', 'tasks/send', 'run_turn_stream', 'run_turn']);
  expect(promptsOf(requests)).toEqual([undefined, 'You are a helpful assistant.']);
  const [first, second] = requests.filter(({ method }) => method === 'tasks/send');
  expect(first!.options?.id).not.toBe(second!.options?.id); // the agent may remember the outcome of the first call
});

test('NF2: once the agent is known to have no description, the first start has the default prompt', async () => {
  const { caller, requests, methods } = scriptedAgent({ 'tasks/send': startWithPrompt });
  const chat = new Conversation(caller, 'chat@fame.fabric', { maxHistoryLength: 3 });
  expect(await chat.describe()).toEqual({});
  await chat.start();
  expect(methods()).toEqual(['describe', 'tasks/send']);
  expect(requests[1]!.params).toMatchObject({
    message: { parts: [{ data: { system_prompt: 'You are a helpful assistant.', max_history_length: 3 } }] },
  });
});

test('NF2: a system prompt that was set is sent as it is', async () => {
  const { caller, requests } = scriptedAgent({ 'tasks/send': startWithPrompt });
  const chat = new Conversation(caller, 'chat@fame.fabric', { systemPrompt: 'Be kind' });
  await chat.describe();
  await chat.start();
  expect(promptsOf(requests)).toEqual(['Be kind']);
});

test.each(['INTERNAL', 'PARAMS_INVALID'] as const)(
  'NF2: an agent that describes itself has a prompt of its own: its %s is thrown',
  async (code) => {
    const { caller, methods } = scriptedAgent({
      describe: () => ({ system_prompt: 'Mine' }),
      'tasks/send': () => {
        throw new FabricError(code, 'no');
      },
    });
    await expect(new Conversation(caller, 'chat@fame.fabric').start()).rejects.toMatchObject({ code });
    expect(methods()).toEqual(['tasks/send', 'describe']);
  },
);

test('the next turn retries a start that failed', async () => {
  const start = vi.fn().mockImplementationOnce(() => {
    throw new FabricError('NO_ROUTE', 'No node serves chat@fame.fabric');
  });
  const { caller } = scriptedAgent({
    'tasks/send': start,
    run_turn_stream: () => items({ type: 'done', text: 'ok' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  await expect(chat.ask('a')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  expect(await chat.ask('b')).toBe('ok');
});

test('for an agent without run_turn_stream, this and later turns use run_turn', async () => {
  const { caller, methods } = scriptedAgent({ run_turn: () => 'whole answer' });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  expect(await collect(chat.stream('a'))).toEqual([{ type: 'done', text: 'whole answer' }]);
  expect(await chat.ask('b')).toBe('whole answer');
  expect(methods()).toEqual(['tasks/send', 'run_turn_stream', 'run_turn', 'run_turn']);
});

test('events that are repeated after a reconnect are yielded once', async () => {
  const { caller } = scriptedAgent({
    run_turn_stream: () =>
      items(
        { type: 'text', seq: 1, text: 'a' },
        { type: 'text', seq: 2, text: 'b' },
        { type: 'text', seq: 1, text: 'a' },
        { type: 'text', seq: 2, text: 'b' },
        { type: 'text', seq: 3, text: 'c' },
        { type: 'done', seq: 4, text: 'abc' },
      ),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  const events = await collect(chat.stream('x'));
  expect(events.flatMap((event) => (event.type === 'text' ? [event.text] : [])).join('')).toBe('abc');
});

test('the part of a text that was received before is not yielded again', async () => {
  const start = 3 * 2 ** 32 + 5 * 2 ** 14;
  const attempts = [
    [{ type: 'text', seq: start + 3, text: 'abc' }],
    [
      { type: 'text', seq: start + 3, text: 'abc' },
      { type: 'text', seq: start + 8, text: 'abcdefgh' },
      { type: 'text', seq: start + 2 ** 14 + 1, text: 'i' },
      { type: 'restart', seq: 4 * 2 ** 32 + 2 ** 14, keep: 2 },
      { type: 'text', seq: 4 * 2 ** 32 + 2 ** 14 + 9, text: 'CDEFGHIJK' },
      { type: 'done', seq: 4 * 2 ** 32 + 3 * 2 ** 14, text: 'abCDEFGHIJK' },
    ],
  ];
  const { caller } = scriptedAgent({
    run_turn_stream: () => {
      const [first] = attempts;
      return (async function* () {
        yield* attempts.shift()!;
        if (first!.length === 1) throw new FabricError('LINK_CLOSED', 'lost');
      })();
    },
  });
  const clock = new ManualClock();
  const events = collect(new Conversation(caller, 'chat@fame.fabric', { clock }).stream('x'));
  await clock.run(5_000);
  expect((await events).flatMap((event) => (event.type === 'text' ? [event.text] : []))).toEqual([
    'abc',
    'defgh',
    'i',
    'CDEFGHIJK',
  ]);
});

test('a turn starts over where the agent does not know the cursor, such as after its store was restored', async () => {
  const afters: unknown[] = [];
  const { caller } = scriptedAgent({
    run_turn_stream: (params) => {
      const { after } = params as { after?: number };
      afters.push(after);
      return items(
        { type: 'restart', seq: 0, keep: 0 },
        { type: 'text', seq: 2 * 2 ** 32 + 2 ** 14 + 5, text: 'Hello' },
        { type: 'done', seq: 2 * 2 ** 32 + 3 * 2 ** 14, text: 'Hello' },
      );
    },
  });
  const after = 9 * 2 ** 32 + 7;
  const events = await collect(new Conversation(caller, 'chat@fame.fabric').stream('x', { after }));
  expect(afters).toEqual([after]);
  expect(events.map(({ type }) => type)).toEqual(['restart', 'text', 'done']);
});

describe('an agent that is lost during a turn', () => {
  // Each attempt yields some events; all but the last then fail.
  const attempts = (...list: { yields: unknown[]; fails?: FabricError }[]) => {
    const waiting = [...list];
    return scriptedAgent({
      run_turn_stream: () =>
        (async function* () {
          const { yields, fails } = waiting.shift()!;
          yield* yields;
          if (fails) throw fails;
        })(),
    });
  };
  const gone = (code: ErrorCode = 'NODE_GONE') => new FabricError(code, 'away');
  const turn = async (
    caller: Caller,
    options: ConversationOptions = {},
    turnOptions: TurnOptions = {},
    wallStepMs = 0,
  ) => {
    const clock = new ManualClock();
    const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', clock, ...options });
    const events: TurnEvent[] = [];
    let isOver = false;
    const reading = (async () => {
      for await (const event of chat.stream('x', { turnId: 't1', ...turnOptions })) events.push(event);
    })().finally(() => {
      isOver = true;
    });
    reading.catch(() => {});
    while (!isOver) {
      await clock.run(500, 100);
      clock.stepWall(wallStepMs);
    }
    return { reading, events };
  };
  const text = (events: TurnEvent[]) =>
    events.reduce((all, event) => {
      if (event.type === 'text') return all + event.text;
      return event.type === 'restart' ? all.slice(0, event.keep) : all;
    }, '');

  test('receives the start request again, with the same call id', async () => {
    const fails: (FabricError | undefined)[] = [gone(), gone('NO_ROUTE'), gone('LINK_CLOSED'), undefined];
    const { caller, requests, methods } = scriptedAgent({
      'tasks/send': () => {
        const error = fails.shift();
        if (error) throw error;
        return {};
      },
      run_turn_stream: () => items({ type: 'done', text: 'ok' }),
    });
    const onAway = vi.fn();
    const { reading, events } = await turn(caller, {}, { onAway });
    await reading;
    expect(events).toEqual([{ type: 'done', text: 'ok' }]);
    expect(methods()).toEqual([...Array(4).fill('tasks/send'), 'run_turn_stream']);
    expect(new Set(requests.slice(0, 4).map(({ options }) => options?.id)).size).toBe(1);
    expect(onAway.mock.calls).toEqual([['agent']]);
  });

  test('fails the start at once if no node has served it', async () => {
    const send = vi.fn(() => {
      throw gone('NO_ROUTE');
    });
    const { reading } = await turn(scriptedAgent({ 'tasks/send': send }).caller);
    await expect(reading).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(send).toHaveBeenCalledOnce();
  });

  test('and does not return in time fails the start of the conversation', async () => {
    const send = vi.fn(() => {
      throw gone();
    });
    const { caller } = scriptedAgent({ 'tasks/send': send });
    const { reading } = await turn(caller, { reconnectTimeoutMs: 3_000 });
    await expect(reading).rejects.toMatchObject({ code: 'NODE_GONE' });
    expect(send.mock.calls.length).toBeGreaterThan(1);
  });

  test('is requested again with the same turn id, from the last event on', async () => {
    const { caller, requests } = attempts(
      { yields: [{ type: 'text', seq: 3, text: 'one ' }], fails: gone() },
      { yields: [], fails: gone('NO_ROUTE') },
      {
        yields: [{ type: 'error', seq: 5, code: 'NODE_GONE', message: 'The agent stopped', retryable: true }],
      },
      {
        yields: [
          { type: 'text', seq: 3, text: 'one ' },
          { type: 'restart', seq: 4, keep: 2 },
          { type: 'text', seq: 5, text: 'ly' },
          { type: 'done', seq: 6, text: 'only' },
        ],
      },
    );
    const onAway = vi.fn();
    const { reading, events } = await turn(caller, {}, { onAway });
    await reading;
    expect(text(events)).toBe('only');
    expect(events.map((event) => event.seq)).toEqual([3, 4, 5, 6]);
    const turnRequests = requests
      .filter(({ method }) => method === 'run_turn_stream')
      .map(({ params }) => params);
    const same = { conversation_id: 'c1', user_message: 'x', turn_id: 't1' };
    expect(turnRequests).toEqual([same, { ...same, after: 3 }, { ...same, after: 3 }, { ...same, after: 3 }]);
    expect(requests.some(({ method }) => method === 'cancel_turn')).toBe(false);
    expect(onAway.mock.calls).toEqual([['agent']]);
  });

  test('fails the turn after `reconnectTimeoutMs`, with the error of the last attempt', async () => {
    const { caller, requests } = attempts(
      ...Array.from({ length: 100 }, () => ({ yields: [], fails: gone() })),
    );
    const { reading } = await turn(caller, { reconnectTimeoutMs: 10_000 });
    await expect(reading).rejects.toMatchObject({ code: 'NODE_GONE' });
    expect(requests.length).toBeGreaterThan(5);
    expect(requests.length).toBeLessThan(20);
  });

  test.each([-86_400_000, 31 * 86_400_000])(
    'HD11: fails the turn after `reconnectTimeoutMs`, whatever steps of %i ms the clock makes',
    async (ms) => {
      const { caller, requests } = attempts(
        ...Array.from({ length: 100 }, () => ({ yields: [], fails: gone() })),
      );
      const { reading } = await turn(caller, { reconnectTimeoutMs: 10_000 }, {}, ms);
      await expect(reading).rejects.toMatchObject({ code: 'NODE_GONE' });
      expect(requests.length).toBeGreaterThan(5);
      expect(requests.length).toBeLessThan(20);
    },
  );

  test.each([
    ['MODEL_AUTH', {}],
    ['CONVERSATION_UNKNOWN', {}],
    ['LINK_CLOSED', { state: 'closed' as const }],
  ] as const)('is not requested again after %s', async (code, more) => {
    const { caller, requests } = attempts({ yields: [], fails: gone(code) });
    const { reading } = await turn({ ...caller, ...more }, { isResumed: true });
    await expect(reading).rejects.toMatchObject({ code });
    expect(requests).toHaveLength(1);
  });

  test('fails the turn at once if it never answered', async () => {
    const start = () => {
      throw gone('NO_ROUTE');
    };
    const { caller, requests } = scriptedAgent({ 'tasks/send': start });
    const { reading } = await turn(caller);
    await expect(reading).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(requests).toHaveLength(1);
  });

  test('is not reported as away after a mere loss of the connection to the sentinel', async () => {
    const { caller } = attempts(
      { yields: [{ type: 'text', seq: 1, text: 'a' }], fails: gone('LINK_CLOSED') },
      { yields: [{ type: 'done', seq: 2, text: 'ab' }] },
    );
    const onAway = vi.fn();
    const { reading } = await turn(caller, {}, { onAway });
    await reading;
    expect(onAway).not.toHaveBeenCalled();
  });

  test('is not requested again after the signal aborted', async () => {
    const { caller, requests } = attempts({ yields: [], fails: gone() });
    const stop = new AbortController();
    const onAway = (): void => stop.abort(new FabricError('CALL_CANCELLED', 'stopped'));
    const { reading } = await turn(caller, {}, { signal: stop.signal, onAway });
    await expect(reading).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
    expect(requests.map(({ method }) => method)).toEqual(['tasks/send', 'run_turn_stream', 'cancel_turn']);
  });
});

describe('a connection that is lost during a turn', () => {
  // A turn that receives no event until `say` or the abort of its signal. The test sets the state of the connection.
  const silent = (state: LinkState = 'attached') => {
    const clock = new ManualClock();
    const next = Promise.withResolvers<unknown>();
    const { caller, methods } = scriptedAgent({
      run_turn_stream: (_params, options) =>
        (async function* () {
          options?.signal?.throwIfAborted();
          options?.signal?.addEventListener('abort', () => next.reject(options.signal?.reason));
          yield await next.promise;
        })(),
    });
    const listeners = new Set<(state: LinkState) => void>();
    const link = {
      ...caller,
      state,
      onState(listener: (state: LinkState) => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const become = (now: LinkState): void => {
      link.state = now;
      for (const listener of listeners) listener(now);
    };
    const chat = new Conversation(link, 'chat@fame.fabric', {
      clock,
      isResumed: true,
      reconnectTimeoutMs: 60_000,
    });
    const onAway = vi.fn();
    const turn = collect(chat.stream('x', { onAway }));
    turn.catch(() => {});
    return { clock, turn, become, onAway, methods, listeners, say: next.resolve };
  };

  test('is reported at once; after `reconnectTimeoutMs` the turn fails and is not cancelled', async () => {
    const { clock, turn, become, onAway, methods, listeners } = silent();
    await clock.run(500_000, 100_000); // a long turn is fine
    become('reconnecting');
    expect(onAway.mock.calls).toEqual([['sentinel']]);
    await clock.run(59_000, 10_000);
    await clock.run(1_000, 500);
    await expect(turn).rejects.toMatchObject({
      code: 'LINK_TIMEOUT',
      message: expect.stringContaining('60 s'),
    });
    expect(methods()).toEqual(['run_turn_stream']);
    expect({ timers: clock.timerCount, listeners: listeners.size }).toEqual({ timers: 0, listeners: 0 });
  });

  test('and returns resets the deadline for the next loss', async () => {
    const { clock, turn, become, say } = silent();
    await settle();
    for (let round = 0; round < 3; round++) {
      become('reconnecting');
      await clock.run(50_000, 10_000);
      become('attached');
    }
    await clock.run(200_000, 50_000);
    say({ type: 'done', text: 'late' });
    expect(await turn).toEqual([{ type: 'done', text: 'late' }]);
    expect(clock.timerCount).toBe(0);
  });

  test('has the same deadline if it was lost before the turn began', async () => {
    const { clock, turn, onAway } = silent('reconnecting');
    await clock.run(60_000, 10_000);
    await expect(turn).rejects.toMatchObject({ code: 'LINK_TIMEOUT' });
    expect(onAway.mock.calls).toEqual([['sentinel']]);
  });
});

test('some errors leave the turn undecided', () => {
  const undecided = (code: ErrorCode) => isUndecided(new FabricError(code, 'x'));
  expect(
    ['LINK_TIMEOUT', 'LINK_CLOSED', 'NODE_GONE', 'NO_ROUTE'].every((code) => undecided(code as ErrorCode)),
  ).toBe(true);
  expect(undecided('MODEL_AUTH') || undecided('CALL_TIMEOUT') || isUndecided(new Error('x'))).toBe(false);
});

test('a resumed conversation is not started again', async () => {
  const { caller, methods } = scriptedAgent({
    run_turn_stream: () => items({ type: 'done', seq: 9, text: 'x' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
  await collect(chat.stream('x', { turnId: 't1', after: 7 }));
  expect(methods()).toEqual(['run_turn_stream']);
});

test('a turn whose events were all received yields its last event again', async () => {
  const { caller, requests } = scriptedAgent({
    run_turn_stream: (params) =>
      (params as { after?: number }).after
        ? items()
        : items({ type: 'text', seq: 5, text: 'x' }, { type: 'done', seq: 7, text: 'x' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
  expect(await collect(chat.stream('x', { turnId: 't1', after: 7 }))).toEqual([
    { type: 'done', seq: 7, text: 'x' },
  ]);
  expect(requests).toHaveLength(2);
});

test('a stream that ends without `done` yields its text, with restarts applied', async () => {
  const { caller } = scriptedAgent({
    run_turn_stream: () =>
      items({ type: 'text', text: 'one two' }, { type: 'restart', keep: 4 }, { type: 'text', text: 'three' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  expect(await chat.ask('x')).toBe('one three');
});

test('an error event rejects with that error and cancels nothing', async () => {
  const { caller, methods } = scriptedAgent({
    run_turn_stream: () =>
      items({ type: 'text', text: 'x' }, { type: 'error', code: 'MODEL_AUTH', message: 'Wrong key' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  await expect(chat.ask('x')).rejects.toMatchObject({ code: 'MODEL_AUTH', message: 'Wrong key' });
  expect(methods()).not.toContain('cancel_turn');
  expect(await chat.history()).toEqual([]);
});

test('leaving the loop cancels that turn only', async () => {
  const { caller, requests } = scriptedAgent({
    run_turn_stream: () => items({ type: 'text', text: 'a' }, { type: 'text', text: 'b' }),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1' });
  for await (const _ of chat.stream('x', { turnId: 't1' })) break;
  expect(requests.at(-1)).toMatchObject({ method: 'cancel_turn', params: { args: ['c1', 't1'] } });
});

test.each([
  ['continue', 'left', 'continue'],
  ['continue', 'aborted', 'continue'],
  // The agent ends the turn with the last call that follows it.
  ['release', 'left', 'cancel'],
  ['release', 'aborted', 'cancel'],
] as const)(
  'with onLeave `%s`, a turn whose reader has %s is not cancelled for other readers',
  async (onLeave, how, ofCall) => {
    const { caller, requests, methods } = scriptedAgent({
      run_turn_stream: () => items({ type: 'text', text: 'a' }, { type: 'text', text: 'b' }),
    });
    const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
    const abort = new AbortController();
    const events = chat.stream('Hi', { onLeave, signal: abort.signal });
    await events.next();
    if (how === 'aborted') abort.abort();
    await events.return();
    expect(methods()).toEqual(['run_turn_stream']);
    expect(requests[0]!.options).toMatchObject({ onLeave: ofCall });
  },
);

test('aborting the signal cancels the turn at the agent and rejects', async () => {
  const controller = new AbortController();
  const { caller, methods } = scriptedAgent({
    run_turn_stream: (_params, options) =>
      (async function* () {
        yield { type: 'text', text: 'a' };
        options?.signal?.throwIfAborted();
      })(),
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  const turn = (async () => {
    for await (const event of chat.stream('x', { signal: controller.signal })) {
      if (event.type === 'text') controller.abort(new FabricError('CALL_CANCELLED', 'stopped'));
    }
  })();
  await expect(turn).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
  expect(methods().at(-1)).toBe('cancel_turn');
});

test('history returns the messages of users and the model that the agent remembers', async () => {
  const { caller } = scriptedAgent({
    get_history: () => [
      { role: 'system', content: 'rules' },
      { role: 'user', content: 'Q' },
      { role: 'assistant', content: null, tool_calls: [] },
      { role: 'tool', content: '4', tool_call_id: 'x' },
      { role: 'assistant', content: 'A' },
    ],
  });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  await chat.start();
  expect(await chat.history()).toEqual([
    { role: 'user', text: 'Q' },
    { role: 'assistant', text: 'A' },
  ]);
});

test('a second end sends nothing, and no turn can follow', async () => {
  const { caller, methods } = scriptedAgent({ run_turn_stream: () => items({ type: 'done', text: 'x' }) });
  {
    await using chat = new Conversation(caller, 'chat@fame.fabric');
    await chat.ask('x');
    await chat.end();
    await expect(chat.ask('y')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  }
  expect(methods().filter((method) => method === 'end_conversation')).toHaveLength(1);
});

test('a conversation that never started sends no end', async () => {
  const { caller, requests } = scriptedAgent({});
  await new Conversation(caller, 'chat@fame.fabric').end();
  expect(requests).toEqual([]);
});

describe('a turn that waits for an approval', () => {
  const approval = {
    type: 'approval',
    seq: 2,
    id: 'call_1',
    kind: 'tool',
    name: 'send',
    args: { to: 'Ada' },
  };
  const timeout = () => new FabricError('CALL_TIMEOUT', 'No item');

  /** One stream for each list; a list that ends with an error fails with it. */
  const streams = (...lists: unknown[][]) => {
    const waiting = [...lists];
    return scriptedAgent({
      run_turn_stream: () =>
        (async function* () {
          for (const item of waiting.shift()!) {
            if (item instanceof Error) throw item;
            yield item;
          }
        })(),
      answer_approval: () => null,
    });
  };

  test('outlasts its silence, however often, and is not cancelled', async () => {
    const answered = { type: 'approval_answer', seq: 3, id: 'call_1', approve: true };
    const { caller, requests } = streams(
      [{ type: 'text', seq: 1, text: 'a' }, approval, timeout()],
      [timeout()],
      [answered, { type: 'done', seq: 4, text: 'a', finish: 'stop' }],
    );
    const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
    const events = await collect(chat.stream('x', { turnId: 't1' }));
    expect(events.map(({ type }) => type)).toEqual(['text', 'approval', 'approval_answer', 'done']);
    expect(requests.map(({ params }) => (params as { after?: number }).after)).toEqual([undefined, 2, 2]);
  });

  test('has its time limit again after the answer', async () => {
    const answered = { type: 'approval_answer', seq: 3, id: 'call_1', approve: true };
    const { caller, methods } = streams([approval, answered, timeout()]);
    const chat = new Conversation(caller, 'chat@fame.fabric', { isResumed: true });
    await expect(chat.ask('x')).rejects.toMatchObject({ code: 'CALL_TIMEOUT' });
    expect(methods()).toEqual(['run_turn_stream', 'cancel_turn']);
  });

  test('gets the answer', async () => {
    const { caller, requests } = streams();
    const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
    await chat.answerApproval('call_1', { approve: false, note: 'Not to her' });
    expect(requests).toMatchObject([
      {
        method: 'answer_approval',
        params: { conversation_id: 'c1', call_id: 'call_1', approve: false, note: 'Not to her' },
        options: { resend: true },
      },
    ]);
  });
});

describe('options of a turn', () => {
  const call = { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } };
  const done = { type: 'done', text: '', finish: 'tool_calls', tool_calls: [call] };

  test('travel with the turn, and its end has the calls', async () => {
    const { caller, requests, methods } = scriptedAgent({
      describe: () => ({ options: ['tools', 'temperature'] }),
      run_turn_stream: () => items(done),
    });
    const chat = new Conversation(caller, 'chat@fame.fabric', { id: 'c1', isResumed: true });
    const options = { temperature: 0, tools: [] };
    expect(await chat.runTurn('x', { options, turnId: 't1', retryKey: 'k', retryCount: 1 })).toEqual(done);
    const toolResults = [{ tool_call_id: 'call_1', content: '42' }];
    await chat.ask('', { toolResults, turnId: 't2' });
    const same = { conversation_id: 'c1' };
    expect(requests.filter(({ method }) => method === 'run_turn_stream').map(({ params }) => params)).toEqual(
      [
        { ...same, user_message: 'x', turn_id: 't1', options, retry_key: 'k', retry_count: 1 },
        { ...same, user_message: '', turn_id: 't2', tool_results: toolResults },
      ],
    );
    expect(methods().filter((method) => method === 'describe')).toHaveLength(1);
  });

  test('wait for an agent that is away before it is asked', async () => {
    const clock = new ManualClock();
    const describe = vi.fn(() => ({ options: [] }));
    for (let attempt = 0; attempt < 3; attempt++) {
      describe.mockImplementationOnce(() => {
        throw new FabricError('NODE_GONE', 'away');
      });
    }
    const { caller } = scriptedAgent({
      describe,
      run_turn_stream: () => items({ type: 'done', text: 'ok' }),
    });
    const chat = new Conversation(caller, 'chat@fame.fabric', { isResumed: true, clock });
    const asking = chat.ask('x', { retryKey: 'k' });
    await clock.run(10_000, 100);
    expect(await asking).toBe('ok');
    expect(describe).toHaveBeenCalledTimes(4);
  });

  test.each([
    ['of version 0.1', { describe: () => ({ model: 'offline' }) }],
    ['of another implementation', {}],
  ])('fail for an agent %s, which would ignore them', async (_which, answers) => {
    const { caller, methods } = scriptedAgent({
      ...answers,
      run_turn: () => 'x',
      run_turn_stream: () => items(done),
    });
    const chat = new Conversation(caller, 'chat@fame.fabric', { isResumed: true });
    await expect(chat.ask('x', { options: { temperature: 0 } })).rejects.toMatchObject({
      code: 'METHOD_NOT_FOUND',
      message: expect.stringMatching(/^The agent chat@fame.fabric does not support `options`/),
    });
    await expect(chat.ask('x', { retryKey: 'k' })).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
    const begun = new Conversation(caller, 'chat@fame.fabric', {
      messages: [{ role: 'user', content: 'Hi' }],
    });
    await expect(begun.ask('x')).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
    expect(new Set(methods())).toEqual(new Set(['describe']));
  });
});

test('a conversation starts with its messages and settings', async () => {
  const { caller, requests } = scriptedAgent({
    describe: () => ({ options: [] }),
    start_task: () => ({}),
  });
  const messages = [{ role: 'user', content: 'Hi' }] as const;
  const chat = new Conversation(caller, 'chat@fame.fabric', {
    messages,
    isEphemeral: true,
    onBudget: 'ask',
    share: ['bob'],
  });
  await chat.start();
  expect(requests.at(-1)).toMatchObject({
    method: 'start_task',
    params: { id: chat.id, messages, ephemeral: true, on_budget: 'ask', share: ['bob'] },
    options: { resend: true },
  });
});

test('`isEphemeral: false` does not hide the settings beside it', async () => {
  const { caller, requests } = scriptedAgent({
    describe: () => ({ options: ['model'] }),
    start_task: () => ({}),
  });
  await new Conversation(caller, 'chat@fame.fabric', { isEphemeral: false, onBudget: 'ask' }).start();
  expect(requests.at(-1)).toMatchObject({ method: 'start_task', params: { on_budget: 'ask' } });
});
