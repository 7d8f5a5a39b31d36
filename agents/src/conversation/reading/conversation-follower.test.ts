// Readers of whole conversations: pages of recorded events, and followers that continue with live events.
import { FabricError } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { MemoryStore } from '../../store/memory-store.ts';
import { FakeLink } from '../../testing/fake-link.ts';
import { callTools, failing, gate, type Scripted, scriptedModel } from '../../testing.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import type { TurnRunner } from '../../turn/turn.ts';
import { ChatAgent } from '../chat-agent.ts';
import { ConversationHost, type HostOptions } from '../host.ts';
import type { StartRequest } from '../requests.ts';
import type { EventPage } from './conversation-follower.ts';
import type { RecordedEvent } from './recorded-event.ts';

const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});
const code = (expected: string) => expect.objectContaining({ code: expected });
const look = tool({
  name: 'look',
  description: 'Looks.',
  parameters: z.object({}),
  execute: () => 'seen',
});

interface Setup extends HostOptions {
  replies?: readonly Scripted[];
  runner?: TurnRunner;
  clock?: ManualClock;
  store?: MemoryStore;
}
function hostOf({ replies = [], clock = new ManualClock(), ...more }: Setup = {}) {
  const { store = new MemoryStore({ clock }), runner, ...options } = more;
  const model = scriptedModel(replies);
  const host = new ConversationHost(
    {
      runner: runner ?? new ChatTurns({ model, tools: new ToolSet([look]) }),
      store,
      agent: 'chat@fame.fabric',
      clock,
    },
    options,
  );
  hosts.push(host);
  const settings = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  const begin = (more: Partial<StartRequest> = {}) =>
    host.start({ id: 'c', callId: 's', options: settings, ...more });
  const say = (message: string) => host.turn({ conversationId: 'c', turnId: message, userMessage: message });
  const page = (after = 0, limit = 100) => host.reads.events('c', { after, limit, maxBytes: 200_000 });
  return { host, store, clock, model, begin, say, page };
}

/** Collects the events of a follower in the background. */
function reader(host: ConversationHost, after = 0) {
  const abort = new AbortController();
  const events: RecordedEvent[] = [];
  const done = (async () => {
    for await (const event of host.reads.follow('c', after, abort.signal)) events.push(event);
  })();
  done.catch(() => undefined);
  return { events, done, leave: () => abort.abort(new FabricError('CALL_CANCELLED', 'left')) };
}
const types = (events: readonly RecordedEvent[]): string[] => events.map(({ type }) => type);
const textOf = (events: readonly RecordedEvent[]): string =>
  events.reduce((text, event) => {
    if (event.type === 'text') return text + event.text;
    return event.type === 'restart' ? text.slice(0, event.keep) : text;
  }, '');
const settleMore = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) {
    await settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
};

/** Types of the events of a conversation with one turn and one model call. */
const ONE_TURN = ['started', 'turn', 'model_call', 'text', 'model_reply', 'done'];

describe('a page of events', () => {
  const conversation = async () => {
    const setup = hostOf({
      replies: [
        callTools([{ name: 'look', arguments: {} }], { text: 'Let me see. ' }),
        'All is well.',
        failing(new FabricError('MODEL_REFUSED', 'no')),
      ],
    });
    await setup.begin({ messages: [{ role: 'user', content: 'earlier' }] });
    await (await setup.say('one')).outcome;
    await (await setup.say('two')).outcome;
    return setup;
  };

  test('has every event for readers, in order, each with a time and a rising cursor', async () => {
    const { host, page, clock } = await conversation();
    await host.end('c');
    const { events, next } = await page();
    const at = new Date(clock.now()).toISOString();
    expect(events).toEqual([
      expect.objectContaining({
        type: 'started',
        system_prompt: 'Be brief.',
        messages: [{ role: 'user', content: 'earlier' }],
      }),
      expect.objectContaining({ type: 'turn', turn_id: 'one', user_message: 'one' }),
      expect.objectContaining({ type: 'model_call', turn_id: 'one', step: 1 }),
      expect.objectContaining({ type: 'text', turn_id: 'one', text: 'Let me see. ' }),
      expect.objectContaining({ type: 'model_reply', turn_id: 'one', step: 1, finish: 'tool_calls' }),
      expect.objectContaining({ type: 'tool_call', name: 'look' }),
      expect.objectContaining({ type: 'tool_result', name: 'look', ok: true, content: 'seen' }),
      expect.objectContaining({ type: 'model_call', turn_id: 'one', step: 2 }),
      expect.objectContaining({ type: 'text', text: expect.stringContaining('All is well.') }),
      expect.objectContaining({ type: 'model_reply', turn_id: 'one', step: 2, finish: 'stop' }),
      expect.objectContaining({ type: 'done', turn_id: 'one' }),
      expect.objectContaining({ type: 'turn', turn_id: 'two' }),
      expect.objectContaining({ type: 'model_call', turn_id: 'two', step: 1 }),
      expect.objectContaining({ type: 'error', turn_id: 'two', code: 'MODEL_REFUSED' }),
      expect.objectContaining({ type: 'ended', state: 'completed' }),
    ]);
    expect(new Set(events.map((event) => event.at))).toEqual(new Set([at]));
    const seqs = events.map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    expect(new Set(seqs).size).toBe(seqs.length);
    expect(next).toBe(seqs.at(-1));
    expect(await page(next)).toEqual({ events: [], next });
  });

  test('has the times of a turn: in the inbox, to the first token of each reply, and of the tools', async () => {
    const clock = new ManualClock();
    const [first, second] = [gate(), gate()];
    const slow = tool({
      name: 'look',
      description: 'Looks.',
      parameters: z.object({}),
      execute: () => {
        clock.advance(70);
        return 'x'.repeat(5_000);
      },
    });
    const model = scriptedModel([
      { steps: [first, 'Done.'] },
      callTools([{ name: 'look', arguments: {} }], { text: 'Let me see. ' }),
      { steps: [second, 'All is well.'] },
    ]);
    const { begin, say, page } = hostOf({
      clock,
      runner: new ChatTurns({ model, tools: new ToolSet([slow]) }),
    });
    await begin();
    const one = await say('one');
    const two = await say('two');
    await first.reached;
    clock.advance(40);
    first.open();
    await one.outcome;
    await second.reached;
    clock.advance(300);
    second.open();
    await two.outcome;
    const events = (await page()).events.filter((event) => 'turn_id' in event && event.turn_id === 'two');
    const [call, next] = events.filter(({ type }) => type === 'model_call');
    expect(call).toMatchObject({ step: 1, model: 'scripted', waited_ms: 40 });
    expect(next).not.toHaveProperty('waited_ms');
    expect(events.filter(({ type }) => type === 'model_reply')).toMatchObject([
      { step: 1, first_token_ms: 0, journal_ms: 0, usage: { total_tokens: 15 } },
      { step: 2, first_token_ms: 300 },
    ]);
    const timeOf = (type: string) => Date.parse(events.find((event) => event.type === type)!.at);
    expect(timeOf('tool_result') - timeOf('tool_call')).toBe(70);
    expect(events.find(({ type }) => type === 'tool_result')).toMatchObject({
      content: 'x'.repeat(4_096),
      left_out: 904,
    });
    expect(events.at(-1)).toMatchObject({ type: 'done', waited_ms: 40, journal_ms: 0 });
  });

  test.each([1, 2, 7])('continues after the last one, %i at a time', async (limit) => {
    const { page } = await conversation();
    const whole = (await page()).events;
    const read: RecordedEvent[] = [];
    for (let after = 0; ; ) {
      const { events, next }: EventPage = await page(after, limit);
      expect(events.length).toBeLessThanOrEqual(limit);
      if (events.length === 0) break;
      expect(next).toBeGreaterThan(after);
      read.push(...events);
      after = next;
    }
    expect(read).toEqual(whole);
    for (const [i, { seq }] of whole.entries()) expect((await page(seq)).events).toEqual(whole.slice(i + 1));
  });

  test('continues inside a text', async () => {
    const { page } = await conversation();
    const { events } = await page();
    const text = events.find((event) => event.type === 'text')!;
    const [rest] = (await page(text.seq - 4)).events;
    expect(rest).toEqual({ ...text, text: 'ee. ' });
  });

  test('fits one envelope, regardless of the message contents', async () => {
    const setup = hostOf({ replies: Array.from({ length: 8 }, () => 'ok') });
    const { begin, host, page } = setup;
    await begin({
      messages: Array.from({ length: 8 }, () => ({ role: 'user', content: '\u0001'.repeat(10_000) })),
    });
    for (let n = 0; n < 6; n++) {
      const userMessage = '\u0001'.repeat(n === 0 ? 60_000 : 12_000);
      await (await host.turn({ conversationId: 'c', turnId: `${n}`, userMessage })).outcome;
    }
    const read: RecordedEvent[] = [];
    for (let after = 0; ; ) {
      const { events, next } = await page(after, 500);
      if (events.length === 0) break;
      expect(Buffer.byteLength(JSON.stringify(events))).toBeLessThan(240_000);
      read.push(...events);
      after = next;
    }
    expect(read.filter(({ type }) => type === 'turn')).toHaveLength(6);
    expect(read[0]).toMatchObject({ type: 'started', left_out: 6 });
    expect(read[1]).toMatchObject({ is_cut: true, user_message: '\u0001'.repeat(16_384) });
  });

  test('names the end of a conversation that its turn completed', async () => {
    const runner: TurnRunner = {
      modelName: 'none',
      run: async ({ emitText }) => {
        await emitText('bye', { from: 'runner' } as never);
        return {
          usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
          model: 'none',
          taskState: 'completed',
        } as never;
      },
    };
    const { begin, say, page, host } = hostOf({ runner });
    await begin();
    const live = reader(host);
    await settleMore();
    await (await say('one')).outcome;
    await live.done;
    const { events, next } = await page();
    expect(types(events)).toEqual(['started', 'turn', 'text', 'done', 'ended']);
    expect(types(live.events)).toEqual(types(events));
    expect((await page(next)).events).toEqual([]);
    const late = reader(host, next);
    await late.done;
    expect(late.events).toEqual([]);
    const [done, ended] = events.slice(-2);
    const last = reader(host, done!.seq);
    await last.done;
    expect(last.events).toEqual([ended]);
  });

  test('of an unknown conversation, or of another agent, is an error', async () => {
    const { host, begin, store, clock } = hostOf();
    await begin();
    await expect(host.reads.events('no', { after: 0, limit: 1, maxBytes: 1 })).rejects.toEqual(
      code('CONVERSATION_UNKNOWN'),
    );
    const other = new ConversationHost({
      runner: new ChatTurns({ model: scriptedModel([]) }),
      store,
      agent: 'other@fame.fabric',
      clock,
    });
    hosts.push(other);
    await expect(other.reads.events('c', { after: 0, limit: 1, maxBytes: 1 })).rejects.toEqual(
      code('CONVERSATION_UNKNOWN'),
    );
    await expect(other.reads.follow('c', 0, new AbortController().signal).next()).rejects.toEqual(
      code('CONVERSATION_UNKNOWN'),
    );
  });
});

describe('a follower', () => {
  test('receives recorded events, then live ones of every turn, and text before it is written', async () => {
    const [first, second] = [gate(), gate()];
    const { host, begin, say, store } = hostOf({
      replies: ['Hello.', { steps: ['One ', first, 'two', second] }],
    });
    await begin();
    await (await say('a')).outcome;
    const live = reader(host);
    await settleMore();
    expect(types(live.events)).toEqual(ONE_TURN);
    const turn = await say('b');
    await first.reached;
    await settleMore();
    expect(live.events.slice(ONE_TURN.length)).toMatchObject([
      { type: 'turn', turn_id: 'b' },
      { type: 'model_call', turn_id: 'b' },
      { type: 'text', text: 'One ' },
    ]);
    expect((await store.read('c')).at(-1)!.kind).toBe('model_called');
    const late = reader(host, live.events.at(-1)!.seq - 2);
    first.open();
    await second.reached;
    await settleMore();
    expect(textOf(late.events)).toBe('e two');
    second.open();
    await turn.outcome;
    await host.end('c');
    await live.done;
    await late.done;
    expect(types(live.events).slice(-2)).toEqual(['done', 'ended']);
    expect(textOf(live.events)).toBe('Hello.One two');
    const recorded = await host.reads.events('c', { after: 0, limit: 100, maxBytes: 100_000 });
    expect(textOf(recorded.events)).toBe('Hello.One two');
    expect(recorded.next).toBe(live.events.at(-1)!.seq);
  });

  test('waits for a conversation that is not in memory, and leaves nothing behind', async () => {
    const { host, begin, say, clock } = hostOf({ replies: ['Hello.', 'Again.'], maxIdle: 0 });
    await begin();
    const live = reader(host);
    await settleMore();
    expect(types(live.events)).toEqual(['started']);
    await (await say('a')).outcome;
    await settleMore();
    expect(types(live.events)).toEqual(ONE_TURN);
    await (await say('b')).outcome;
    await settleMore();
    expect(textOf(live.events)).toBe('Hello.Again.');
    live.leave();
    await live.done;
    expect(clock.timerCount).toBe(0);
  });

  test('receives the events that another process writes, and the end', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const here = hostOf({ clock, store });
    const there = hostOf({
      clock,
      store: new MemoryStore({ clock, sharedWith: store }),
      replies: ['Hello.'],
    });
    await here.begin();
    const live = reader(here.host);
    await settleMore();
    await (await there.say('a')).outcome;
    await clock.run(8_000);
    await settleMore();
    expect(types(live.events)).toEqual(ONE_TURN);
    await there.host.end('c');
    await clock.run(8_000);
    await live.done;
    expect(types(live.events).at(-1)).toBe('ended');
  });

  test('notices that another process has acquired the conversation after a turn in this one', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const here = hostOf({ clock, store, replies: ['Here.'] });
    const there = hostOf({
      clock,
      store: new MemoryStore({ clock, sharedWith: store }),
      replies: ['There.'],
    });
    await here.begin();
    await (await here.say('a')).outcome;
    const live = reader(here.host);
    await settleMore();
    expect(textOf(live.events)).toBe('Here.');
    await (await there.say('b')).outcome;
    await clock.run(8_000);
    await settleMore();
    expect(textOf(live.events)).toBe('Here.There.');
    live.leave();
    await live.done;
    expect(clock.timerCount).toBe(0);
  });

  test('retracts text that was lost with its process', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const held = gate();
    const first = hostOf({ clock, store, replies: [{ steps: ['Lost text', held] }] });
    await first.begin();
    const before = reader(first.host);
    await first.say('a');
    await held.reached;
    await settleMore();
    expect(textOf(before.events)).toBe('Lost text');
    const after = before.events.at(-1)!.seq;
    before.leave();
    const second = hostOf({
      clock,
      store: new MemoryStore({ clock, sharedWith: store }),
      replies: ['The answer.'],
    });
    await store.close();
    const live = reader(second.host, after);
    await second.host.recover();
    await settleMore();
    await second.host.end('c');
    await live.done;
    expect(live.events[0]).toMatchObject({ type: 'restart', turn_id: 'a', keep: 0, attempt: 1 });
    expect(textOf([...before.events, ...live.events])).toBe('The answer.');
    expect((await second.page(after)).events[0]).toMatchObject({ type: 'restart', keep: 0 });
  });

  test('restarts the last turn if its cursor is of a journal that was not restored', async () => {
    const { host, begin, say, page } = hostOf({ replies: ['Hello.', 'Again.'] });
    await begin();
    await (await say('a')).outcome;
    await (await say('b')).outcome;
    const ahead = 2 ** 32 * 9 + 5;
    const { events } = await page(ahead);
    expect(events).toMatchObject([
      { type: 'restart', turn_id: 'b', keep: 0 },
      { type: 'turn', turn_id: 'b' },
      { type: 'model_call' },
      { type: 'text', text: 'Again.' },
      { type: 'model_reply' },
      { type: 'done' },
    ]);
    const live = reader(host, ahead);
    await settleMore();
    expect(live.events).toEqual(events);
    live.leave();
    await live.done;
  });

  test('that does not read is ended, and continues from its cursor', async () => {
    const pieces = Array.from({ length: 5 }, (_, n) => `${n}`.repeat(12_000));
    const opened = gate();
    const { host, begin, say } = hostOf({
      replies: Array.from({ length: 30 }, () => ({ steps: [opened, ...pieces] })),
    });
    await begin();
    const follow = host.reads.follow('c', 0, new AbortController().signal);
    expect((await follow.next()).value).toMatchObject({ type: 'started' });
    opened.open();
    await (await say('0')).outcome;
    const seen: RecordedEvent[] = [];
    while (seen.at(-1)?.type !== 'done') seen.push((await follow.next()).value!);
    const live = follow.next();
    await settleMore();
    for (let n = 1; n < 12; n++) await (await say(`${n}`)).outcome;
    const read = (async () => {
      seen.push((await live).value!);
      for await (const event of follow) seen.push(event);
    })();
    await expect(read).rejects.toEqual(code('READER_TOO_SLOW'));
    const rest = reader(host, seen.at(-1)!.seq);
    await host.end('c');
    await rest.done;
    const turns = [...seen, ...rest.events].filter(({ type }) => type === 'done');
    expect(turns).toHaveLength(12);
    expect(textOf([...seen, ...rest.events])).toContain(pieces.join(''));
  });

  test('has the whole text without gap or repeat, wherever it leaves and returns', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 6 }),
        async (pieces, stops) => {
          const { host, begin, say, clock } = hostOf({ replies: [{ steps: pieces }, { steps: pieces }] });
          await begin();
          const events: RecordedEvent[] = [];
          const readers = (async () => {
            let after = 0;
            for (const stop of [...stops, Number.POSITIVE_INFINITY]) {
              const abort = new AbortController();
              let count = 0;
              for await (const event of host.reads.follow('c', after, abort.signal)) {
                events.push(event);
                after = event.seq;
                if (++count <= stop) continue;
                // A reader may return to the middle of a text.
                if (event.type === 'text' && event.text.length > 1) {
                  events[events.length - 1] = { ...event, text: event.text.slice(0, -1) };
                  after -= 1;
                }
                break;
              }
            }
          })();
          for (const message of ['a', 'b']) {
            await (await say(message)).outcome;
            clock.advance(500);
          }
          await host.end('c');
          await readers;
          const text = pieces.join('');
          expect(textOf(events)).toBe(text + text);
          expect(events.filter(({ type }) => type === 'done')).toHaveLength(2);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('read_events', () => {
  const serve = async () => {
    const link = new FakeLink();
    const serving = await new ChatAgent({ model: scriptedModel(['Hello.']) }).serve(link);
    const [address] = link.bound.keys();
    const start = (params: object, more: object = {}) => link.start(address!, 'read_events', params, more);
    await link.start(address!, 'start_task', { id: 'c' }).done;
    return { start, close: () => serving.close(), link, address: address! };
  };

  test('answers a page, and streams with follow', async () => {
    const { start, link, address, close } = await serve();
    const items: unknown[] = [];
    const onItem = (item: unknown): void => void items.push(item);
    const stream = start({ conversation_id: 'c', follow: true }, { isStream: true, onItem });
    await link.start(address, 'run_turn', { conversation_id: 'c', user_message: 'hi' }).done;
    await link.start(address, 'end_conversation', { conversation_id: 'c' }).done;
    expect(await stream.done).toMatchObject({ ended: true });
    const { result } = await start({ conversation_id: 'c' }).done;
    expect(types((result as EventPage).events)).toEqual([...ONE_TURN, 'ended']);
    expect(items).toEqual((result as EventPage).events);
    await close();
  });

  test.each([
    [{ follow: true }, 'follow'],
    [{ limit: 0 }, 'limit'],
    [{ limit: 501 }, 'limit'],
    [{ after: -1 }, 'after'],
    [{ after: 2 ** 60 }, 'after'],
    [{ after: 'x' }, 'after'],
  ])('refuses %j', async (params, name) => {
    const { start, close } = await serve();
    const { error } = await start({ conversation_id: 'c', ...params }).done;
    expect(error).toMatchObject({ message: expect.stringContaining(name), data: { code: 'PARAMS_INVALID' } });
    await close();
  });
});

describe('an agent that stops', () => {
  test('ends its followers at once, and they continue in another process', async () => {
    const held = gate();
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const { host, begin, say } = hostOf({ replies: [['Hel', held, 'lo']], clock, store });
    await begin();
    const early = reader(host);
    const turn = await say('one');
    await held.reached;
    const live = reader(host);
    await settleMore();
    expect(textOf(live.events)).toBe('Hel');
    host.drain();
    for (const { done } of [early, live]) await expect(done).rejects.toEqual(code('NODE_GONE'));
    await expect(reader(host).done).rejects.toEqual(code('NODE_GONE'));
    held.open();
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'Hello' });
    const other = hostOf({ clock, store: new MemoryStore({ sharedWith: store, clock }) });
    const rest = reader(other.host, live.events.at(-1)!.seq);
    await settleMore();
    await other.host.end('c');
    await rest.done;
    expect(textOf([...live.events, ...rest.events])).toBe('Hello');
  });
});
