import { FabricError, type IncomingCall, isFabricError, type Service, type Task } from '@fame-fabric/shared';
import { callerOf } from '@fame-fabric/shared/internal';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Serving } from '../agent/agent-types.ts';
import type { ChatModel, ModelRequest } from '../model/model.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { failing, gate, reply, scriptedModel } from '../testing.ts';
import { OPENING_REQUEST } from '../turn/history.ts';
import { ChatAgent, type ChatAgentOptions } from './chat-agent.ts';

/** An agent served on a link in memory. `call` and `stream` return the values that a remote caller would receive. */
async function serve(model: ChatModel, options: Partial<ChatAgentOptions> = {}) {
  let service: Service | undefined;
  const late: unknown[] = [];
  const link = {
    bind: async (_: string, bound: Service) => {
      service = bound;
    },
    unbind: async () => {},
    call: () => Promise.reject(new Error('not used')),
    stream: () => {
      throw new Error('not used');
    },
    send: async (...sent: unknown[]) => void late.push(sent),
  };
  const serving = await new ChatAgent({ model, ...options }).serve(link);
  servings.push(serving);
  let ids = 0;
  const open = (method: string, params: unknown, isStream: boolean, id = `call-${++ids}`) => {
    const controller = new AbortController();
    const items: unknown[] = [];
    const done = Promise.withResolvers<unknown>();
    done.promise.catch(() => {});
    const call: IncomingCall = {
      address: 'chat@fame.fabric',
      id,
      method,
      params,
      isStream,
      replyTo: '__rpc__@/s/caller',
      caller: Promise.resolve(callerOf({ id: principal, roles: [] }, '/s/caller')),
      callerServes: async () => true,
      traceId: undefined,
      meta: undefined,
      signal: controller.signal,
      reply: async (value) => done.resolve(value),
      fail: done.reject,
      refuse: done.reject,
      push: async (item) => {
        items.push(structuredClone(item));
      },
      pushNow: (item) => void items.push(structuredClone(item)),
      end: () => done.resolve(items),
    };
    service!.onCall(call);
    return { result: done.promise, items, leave: (reason: unknown) => controller.abort(reason) };
  };
  return {
    serving,
    /** Envelopes sent outside of any call. */
    late,
    open,
    call: (method: string, params: unknown, id?: string) => open(method, params, false, id).result,
    stream: (method: string, params: unknown, id?: string) => open(method, params, true, id),
  };
}
/** Principal of the caller. */
let principal = 'anonymous';
const servings: Serving[] = [];
afterEach(async () => {
  principal = 'anonymous';
  for (const serving of servings.splice(0)) await serving.close();
});
const code = (expected: string) => expect.objectContaining({ code: expected });
const echo = (request: ModelRequest): string => `you said ${request.messages.at(-1)!.content}`;
describe('a conversation', () => {
  test('follows the chat example of the wire', async () => {
    const model = scriptedModel(['Hello! I am Nia.', 'You asked my name.']);
    const { call } = await serve(model);
    const task = (await call('tasks/send', {
      id: 'conv-1',
      sessionId: 'conv-1',
      message: {
        role: 'agent',
        parts: [{ type: 'data', data: { system_prompt: 'You are Nia.' }, metadata: null }],
        metadata: null,
      },
      historyLength: 5,
    })) as Task;
    expect(task).toMatchObject({ id: 'conv-1', sessionId: 'conv-1', artifacts: null, metadata: null });
    expect(task.status.state).toBe('working');
    expect(task.status.message!.parts).toEqual([{ type: 'text', text: '', metadata: null }]);
    expect(Date.parse(task.status.timestamp)).toBeGreaterThan(0);
    expect(await call('run_turn', { args: ['conv-1', 'Hello! What is your name?'] })).toBe(
      'Hello! I am Nia.',
    );
    expect(await call('run_turn', { args: ['conv-1', 'What did I ask?'], kwargs: {} })).toBe(
      'You asked my name.',
    );
    expect(model.requests[1]!.messages).toEqual([
      { role: 'system', content: 'You are Nia.' },
      { role: 'user', content: 'Hello! What is your name?' },
      { role: 'assistant', content: 'Hello! I am Nia.' },
      { role: 'user', content: 'What did I ask?' },
    ]);
    expect(await call('end_conversation', { args: ['conv-1'] })).toBe(null);
    model.done();
  });

  test('starts with start_task too, and an empty first message requests a greeting', async () => {
    const model = scriptedModel(['Good day!']);
    const { call } = await serve(model, { systemPrompt: 'Be kind.' });
    await call('start_task', { id: 'c', payload: { max_history_length: 3 } });
    expect(await call('run_turn', { args: ['c', ''] })).toBe('Good day!');
    expect(model.requests[0]!.messages).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: OPENING_REQUEST },
    ]);
  });

  test('FB-1: duplicate and unknown ids are clear errors, and a second end is not an error', async () => {
    const { call } = await serve(scriptedModel([]));
    await call('start_task', { id: 'c' });
    await expect(call('start_task', { id: 'c' })).rejects.toEqual(code('CONVERSATION_EXISTS'));
    await expect(call('run_turn', ['unknown', 'hi'])).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
    await expect(call('cancel_turn', ['unknown'])).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
    expect(await call('end_conversation', ['unknown'])).toBe(null);
    await call('end_conversation', ['c']);
    expect(await call('end_conversation', ['c'])).toBe(null);
    await expect(call('run_turn', ['c', 'hi'])).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  });

  test('belongs to the principal that started it', async () => {
    const store = new MemoryStore();
    const { call } = await serve(scriptedModel([]), { store });
    await call('start_task', { id: 'theirs' });
    await call('tasks/send', { id: 'sent', message: { role: 'user', parts: [] } }, undefined);
    principal = 'local';
    await call('start_task', { id: 'mine' });
    const principals = (await store.list()).map((record) => [record.id, record.principal]);
    expect(Object.fromEntries(principals)).toEqual({ theirs: 'anonymous', sent: 'anonymous', mine: 'local' });
  });

  test('the same start call again gets the same answer', async () => {
    const { call } = await serve(scriptedModel([]));
    const first = await call('start_task', { id: 'c' }, 'same');
    expect(await call('start_task', { id: 'c' }, 'same')).toEqual(first);
  });

  test('the error for an invalid setting names it', async () => {
    const { call } = await serve(scriptedModel([]));
    await expect(call('start_task', { id: 'c', payload: { max_history_length: -1 } })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining('max_history_length'),
    });
    await expect(
      call('tasks/send', {
        id: 'c',
        message: { role: 'user', parts: [{ type: 'data', data: { turn_policy: 'sometimes' } }] },
      }),
    ).rejects.toMatchObject({ code: 'PARAMS_INVALID', message: expect.stringContaining('turn_policy') });
    await expect(call('run_turn', ['c', 'x'.repeat(65_537)])).rejects.toEqual(code('PARAMS_INVALID'));
  });

  test('FB-8: conversations do not mix', async () => {
    const model = scriptedModel(
      Array.from({ length: 100 }, () => (request: ModelRequest) => reply(echo(request))),
    );
    const { call } = await serve(model);
    const ids = Array.from({ length: 10 }, (_, i) => `c${i}`);
    for (const id of ids) await call('start_task', { id, payload: { system_prompt: id } });
    await Promise.all(
      ids.map(async (id) => {
        for (let i = 0; i < 10; i++)
          expect(await call('run_turn', [id, `${id}/${i}`])).toBe(`you said ${id}/${i}`);
      }),
    );
    for (const { messages } of model.requests) {
      const id = messages[0]!.content!;
      for (const message of messages) {
        if (message.role === 'user') expect(message.content!.startsWith(`${id}/`)).toBe(true);
      }
    }
  });

  test('HI-3: a failed turn leaves the history as it was and the next one works', async () => {
    const model = scriptedModel([
      'one',
      failing(new FabricError('MODEL_UNAVAILABLE', 'gone'), 'partial'),
      'three',
    ]);
    const { call } = await serve(model);
    await call('start_task', { id: 'c', payload: { system_prompt: '' } });
    await call('run_turn', ['c', 'a']);
    await expect(call('run_turn', ['c', 'b'])).rejects.toEqual(code('MODEL_UNAVAILABLE'));
    expect(await call('run_turn', ['c', 'd'])).toBe('three');
    expect(model.requests[2]!.messages.map((message) => message.content)).toEqual(['a', 'one', 'd']);
  });

  test('an error of another kind reaches the caller as INTERNAL only', async () => {
    const { call } = await serve(scriptedModel([failing(new Error('secret path /etc/x'))]));
    await call('start_task', { id: 'c' });
    const error = await call('run_turn', ['c', 'a']).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'INTERNAL' });
    expect(String(error)).not.toContain('secret');
  });
});

describe('turns', () => {
  test('the same turn id joins the running turn, and gets its answer afterwards', async () => {
    const hold = gate();
    const model = scriptedModel([['on', hold, 'ce']]);
    const { call } = await serve(model);
    await call('start_task', { id: 'c' });
    const first = call('run_turn', ['c', 'hi', 't1']);
    await hold.reached;
    const second = call('run_turn', ['c', 'hi', 't1']);
    const third = call('run_turn', ['c', 'hi'], 't1');
    hold.open();
    expect(await Promise.all([first, second, third])).toEqual(['once', 'once', 'once']);
    expect(await call('run_turn', ['c', 'hi', 't1'])).toBe('once');
    await expect(call('run_turn', ['c', 'other', 't1'])).rejects.toEqual(code('TURN_CONFLICT'));
    expect(model.count).toBe(1);
  });

  test('run_turn_stream sends the text as it arrives, then done', async () => {
    const hold = gate();
    const { call, stream } = await serve(scriptedModel([['Hel', hold, 'lo']]));
    await call('start_task', { id: 'c' });
    const open = stream('run_turn_stream', ['c', 'hi', { turn_id: 't1' }]);
    await vi.waitFor(() => expect(open.items).toHaveLength(1));
    expect(open.items[0]).toMatchObject({ type: 'text', text: 'Hel', turn_id: 't1' });
    hold.open();
    const items = (await open.result) as { type: string; seq: number; text: string }[];
    expect(items.at(-1)).toMatchObject({
      type: 'done',
      text: 'Hello',
      model: 'scripted',
      usage: { total_tokens: 15 },
    });
    expect(items.map((item) => item.seq)).toEqual([...items.map((item) => item.seq)].sort((a, b) => a - b));
    const later = (await stream('run_turn_stream', ['c', 'hi', { turn_id: 't1', after: items[0]!.seq }])
      .result) as {
      text: string;
    }[];
    expect(later).toEqual(items.slice(1));
  });

  test('a streamed turn that fails ends with an error event', async () => {
    const { call, stream } = await serve(
      scriptedModel([failing(new FabricError('MODEL_UNAVAILABLE', 'gone'), 'par')]),
    );
    await call('start_task', { id: 'c' });
    const items = (await stream('run_turn_stream', ['c', 'hi']).result) as unknown[];
    expect(items.at(-1)).toMatchObject({
      type: 'error',
      code: 'MODEL_UNAVAILABLE',
      retryable: true,
      text: 'par',
    });
  });

  test('cancel_turn closes the model request and the turn ends as cancelled', async () => {
    const hold = gate();
    const model = scriptedModel([['Hel', hold]]);
    const { call } = await serve(model);
    await call('start_task', { id: 'c' });
    const turn = call('run_turn', ['c', 'hi']);
    await hold.reached;
    expect(await call('cancel_turn', ['c'])).toBe(true);
    await expect(turn).rejects.toEqual(code('TURN_CANCELLED'));
    expect(model.calls[0]!.state).toBe('aborted');
    expect(await call('cancel_turn', ['c'])).toBe(false);
    expect(await call('get_history', ['c'])).toEqual([]);
  });

  test('FB-3: a caller that breaks out of the stream cancels the turn, unless another follows it', async () => {
    const holds = [gate(), gate()];
    const model = scriptedModel([
      ['a', holds[0]!],
      ['b', holds[1]!, 'c'],
    ]);
    const { call, stream } = await serve(model);
    await call('start_task', { id: 'c' });
    const alone = stream('run_turn_stream', ['c', 'hi']);
    await holds[0]!.reached;
    alone.leave('left');
    await vi.waitFor(() => expect(model.calls[0]!.state).toBe('aborted'));

    const first = stream('run_turn_stream', ['c', 'again', 't']);
    const second = call('run_turn', ['c', 'again', 't']);
    await holds[1]!.reached;
    first.leave('left');
    holds[1]!.open();
    expect(await second).toBe('bc');
  });

  test.each(['caller-gone', 'link-closed', 'items-lost', 'bad-reply'])(
    'a loss on the way (%s) does not cancel the turn',
    async (loss) => {
      const hold = gate();
      const { call, stream } = await serve(scriptedModel([['a', hold, 'b']]));
      await call('start_task', { id: 'c' });
      const lost = stream('run_turn_stream', ['c', 'hi', 't']);
      await hold.reached;
      lost.leave(loss);
      hold.open();
      expect(await call('run_turn', ['c', 'hi', 't'])).toBe('ab');
    },
  );

  test('FB-4: end_conversation during a turn ends it and frees the conversation', async () => {
    const hold = gate();
    const model = scriptedModel([['a', hold]]);
    const { call } = await serve(model);
    await call('start_task', { id: 'c' });
    const turn = call('run_turn', ['c', 'hi']);
    const waiting = call('run_turn', ['c', 'and']);
    await hold.reached;
    await call('end_conversation', ['c']);
    await expect(turn).rejects.toEqual(code('TURN_CANCELLED'));
    await expect(waiting).rejects.toEqual(code('TURN_CANCELLED'));
    expect(model.calls[0]!.state).toBe('aborted');
    await expect(call('run_turn', ['c', 'hi'])).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  });

  test('HI-4: a second turn waits for the first, or is refused under `reject`', async () => {
    const hold = gate();
    const model = scriptedModel([[hold, 'one'], 'two', [hold, 'three']]);
    const { call } = await serve(model);
    await call('start_task', { id: 'c' });
    const both = [call('run_turn', ['c', 'a']), call('run_turn', ['c', 'b'])];
    await hold.reached;
    expect(model.count).toBe(1);
    hold.open();
    expect(await Promise.all(both)).toEqual(['one', 'two']);
    await call('start_task', { id: 'r', turn_policy: 'reject' });
    const first = call('run_turn', ['r', 'a']);
    await expect(call('run_turn', ['r', 'b'])).rejects.toEqual(code('TURN_IN_PROGRESS'));
    expect(await first).toBe('three');
  });

  test('under `interrupt` a new message cancels the running turn', async () => {
    const hold = gate();
    const model = scriptedModel([['a', hold], 'second']);
    const { call } = await serve(model);
    await call('start_task', { id: 'c', turn_policy: 'interrupt' });
    const first = call('run_turn', ['c', 'a']);
    await hold.reached;
    expect(await call('run_turn', ['c', 'b'])).toBe('second');
    await expect(first).rejects.toEqual(code('TURN_CANCELLED'));
  });

  test('P9: many conversations are answered concurrently', async () => {
    const hold = gate();
    const model = scriptedModel(Array.from({ length: 64 }, () => [hold, 'ok']));
    const { call } = await serve(model);
    const answers = await Promise.all(
      Array.from({ length: 64 }, async (_, i) => {
        await call('start_task', { id: `c${i}` });
        return call('run_turn', [`c${i}`, 'hi']);
      }).concat([vi.waitFor(() => expect(model.count).toBe(64)).then(() => hold.open())]),
    );
    expect(answers.slice(0, 64)).toEqual(Array.from({ length: 64 }, () => 'ok'));
  });
});

describe('as a task', () => {
  test('it can be queried, followed and cancelled', async () => {
    const { call, stream } = await serve(scriptedModel(['yes']));
    const message = { role: 'user', parts: [{ type: 'data', data: {} }] };
    await call('tasks/send', { id: 'c', message });
    const subscription = stream('tasks/sendSubscribe', { id: 'c', message });
    await vi.waitFor(() => expect(subscription.items).toHaveLength(1));
    await call('run_turn', ['c', 'really?']);
    expect(await call('tasks/get', { id: 'c', historyLength: 5 })).toMatchObject({
      status: { state: 'working' },
      history: [
        { role: 'user', parts: [{ type: 'text', text: 'really?' }] },
        { role: 'agent', parts: [{ type: 'text', text: 'yes' }] },
      ],
    });
    expect(await call('tasks/cancel', { id: 'c' })).toMatchObject({ status: { state: 'canceled' } });
    expect(await subscription.result).toMatchObject([
      { status: { state: 'working' }, final: false },
      { status: { state: 'canceled' }, final: true },
    ]);
    await expect(call('tasks/cancel', { id: 'c' })).rejects.toEqual(code('TASK_NOT_CANCELABLE'));
    await expect(call('tasks/get', { id: 'unknown' })).rejects.toEqual(code('TASK_UNKNOWN'));
    expect(await call('tasks/sendUnsubscribe', { id: 'c' })).toBe(null);
  });

  test('`describe` names the model that answers', async () => {
    const { call } = await serve(scriptedModel([], { name: 'offline' }));
    expect(await call('describe', {})).toMatchObject({
      model: 'offline',
      offline: true,
      max_history_length: 10,
    });
  });
});

test('the next process answers the waiting caller of a process that died', async () => {
  const hold = gate();
  const first = new MemoryStore();
  const { call, stream } = await serve(
    scriptedModel([
      ['half', hold],
      ['half', hold],
    ]),
    { store: first },
  );
  for (const id of ['c', 'd', 'e']) await call('start_task', { id });
  void call('run_turn', ['c', 'hi'], 'id-1').catch(() => undefined);
  void stream('run_turn_stream', ['d', 'hi'], 'id-2').result.catch(() => undefined);
  await hold.reached;
  await vi.waitFor(async () => expect((await first.peek('d', 'id-2'))?.turn).toBeDefined());
  await first.close();
  const store = new MemoryStore({ sharedWith: first });
  const model = scriptedModel(['whole', 'whole']);
  const next = await serve(model, { store });
  await vi.waitFor(() => expect(next.late).toHaveLength(1));
  expect(next.late).toEqual([
    ['__rpc__@/s/caller', { jsonrpc: '2.0', id: 'id-1', result: 'whole' }, { corrId: 'id-1' }],
  ]);
  expect(await next.call('run_turn', ['c', 'hi'], 'id-1')).toBe('whole');
  expect(await next.call('run_turn', ['d', 'hi', 'id-2'])).toBe('whole');
  expect(model.count).toBe(2);
});

test('a link that repeats its call at the next process is refused, and its client continues with a new call', async () => {
  const hold = gate();
  const first = new MemoryStore();
  const link = 'AbCdEfGhIjKlMnOp';
  const { call, stream } = await serve(scriptedModel([['half', hold]]), { store: first });
  await call('start_task', { id: 'c' });
  const turn = { conversation_id: 'c', user_message: 'hi', turn_id: 't' };
  void stream('run_turn_stream', turn, link).result.catch(() => undefined);
  await hold.reached;
  await first.close();
  const next = await serve(scriptedModel(['whole']), { store: new MemoryStore({ sharedWith: first }) });
  await expect(next.stream('run_turn_stream', turn, link).result).rejects.toEqual(code('NODE_GONE'));
  const items = (await next.stream('run_turn_stream', turn, 'ZyXwVuTsRqPoNmLk').result) as { type: string }[];
  expect(items.at(-1)).toMatchObject({ type: 'done', text: 'whole' });
});

test('the next process answers a waiting caller of the outcome with the report of the turn', async () => {
  const hold = gate();
  const first = new MemoryStore();
  const { call } = await serve(scriptedModel([[hold]]), { store: first });
  await call('start_task', { id: 'c' });
  const params = { conversation_id: 'c', user_message: 'hi', answer: 'outcome' };
  void call('run_turn', params, 'id-1').catch(() => undefined);
  await hold.reached;
  await first.close();
  const next = await serve(scriptedModel(['whole']), { store: new MemoryStore({ sharedWith: first }) });
  await vi.waitFor(() => expect(next.late).toHaveLength(1));
  const report = await next.call('run_turn', params, 'id-1');
  expect(report).toMatchObject({ turn_id: 'id-1', state: 'completed', text: 'whole', steps: [{ step: 1 }] });
  expect(next.late).toEqual([
    ['__rpc__@/s/caller', { jsonrpc: '2.0', id: 'id-1', result: report }, { corrId: 'id-1' }],
  ]);
});

test('closing the agent ends running calls with a clear error', async () => {
  const hold = gate();
  const { call, serving } = await serve(scriptedModel([['a', hold]]));
  await call('start_task', { id: 'c' });
  const turn = call('run_turn', ['c', 'hi']).catch((error: unknown) => error);
  await hold.reached;
  await serving.close();
  const error = await turn;
  expect(isFabricError(error)).toBe(true);
});

describe('HD9: many calls at once', () => {
  /** A store that counts the histories that are read at the same time. */
  class CountingStore extends MemoryStore {
    reading = 0;
    most = 0;
    override async history(id: string) {
      this.most = Math.max(this.most, ++this.reading);
      await new Promise((resolve) => setImmediate(resolve));
      this.reading--;
      return super.history(id);
    }
  }

  test('2,000 reads of one caller are all answered, few at a time', async () => {
    const store = new CountingStore();
    const { call } = await serve(scriptedModel([echo]), { store });
    await call('start_task', { id: 'c' });
    await call('run_turn', { args: ['c', 'hi'] });
    store.most = 0;
    const reads = await Promise.all(
      Array.from({ length: 2_000 }, () => call('get_history', { args: ['c'] })),
    );
    expect(reads.every((messages) => (messages as unknown[]).length === 2)).toBe(true);
    expect(store.most).toBeLessThanOrEqual(16);
  });

  test('1,000 open turns and 1,000 subscriptions of one caller block no other call', async () => {
    const hold = gate();
    const model = scriptedModel([{ steps: [hold, 'late'], times: Number.POSITIVE_INFINITY }]);
    const { call, stream, open } = await serve(model);
    const ids = Array.from({ length: 1_000 }, (_, i) => `c${i}`);
    await Promise.all(ids.map((id) => call('start_task', { id })));
    const turns = ids.map((id, i) =>
      open(i % 2 ? 'run_turn' : 'run_turn_stream', { args: [id, 'hi'] }, i % 2 === 0),
    );
    const subscriptions = ids.map((id) => stream('tasks/resubscribe', { id }));
    await vi.waitFor(() => expect(subscriptions.every(({ items }) => items.length === 1)).toBe(true), {
      timeout: 10_000,
    });
    expect(await call('get_history', { args: ['c1'] })).toEqual([]);
    expect(await call('cancel_turn', { args: ['c999'] })).toBe(true);
    hold.open();
    const results = await Promise.allSettled(turns.map(({ result }) => result));
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    await Promise.all(ids.map((id) => call('end_conversation', { args: [id] })));
    await Promise.all(subscriptions.map(({ result }) => result));
  });
});
