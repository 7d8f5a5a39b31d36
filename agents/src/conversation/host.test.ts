import { FabricError, type Logger } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { ChatModel } from '../model/model.ts';
import { noUsage } from '../model/usage.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Append, ConversationStore, JournalEvent } from '../store/store.ts';
import { CrashingStore, textSeen, tickingClock } from '../testing/crash-anywhere.ts';
import { callTools, failing, gate, reply, type ScriptReply, scriptedModel } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import { INTERRUPTED_MARK } from '../turn/history.ts';
import { callId } from '../turn/steps.ts';
import type { TurnRunner } from '../turn/turn.ts';
import { type ConversationEvent, textOf } from './conversation.ts';
import { ConversationHost, type HostOptions } from './host.ts';
import type { RecoveredTurn } from './requests.ts';

const AGENT = 'chat@fame.fabric';
const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

interface Setup {
  store?: ConversationStore;
  model?: ChatModel;
  runner?: TurnRunner;
  tools?: ToolSet;
  clock?: ManualClock;
  log?: Logger;
  options?: HostOptions;
  onRecovered?: (turn: RecoveredTurn) => void;
}
function hostOf({
  store = new MemoryStore(),
  model,
  tools,
  options,
  runner,
  ...deps
}: Setup): ConversationHost {
  const turns = runner ?? new ChatTurns({ model: model!, ...(tools ? { tools } : {}) });
  const host = new ConversationHost({ runner: turns, store, agent: AGENT, ...deps }, options);
  hosts.push(host);
  return host;
}
const start = (host: ConversationHost, id = 'c', more: object = {}) =>
  host.start({
    id,
    callId: `start-${id}`,
    options: { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue', ...more },
  });
const say = async (host: ConversationHost, userMessage: string, turnId: string, conversationId = 'c') =>
  textOf(await (await host.turn({ conversationId, userMessage, turnId })).outcome);
const eventsOf = async (host: ConversationHost, userMessage: string, turnId: string, after = 0) => {
  const turn = await host.turn({ conversationId: 'c', userMessage, turnId });
  const events: ConversationEvent[] = [];
  for await (const event of turn.follow(after)) events.push(event);
  return events;
};
/** Holds back the answers of `create` until the result is resolved. The store creates the conversations at once. */
function holdCreation(store: MemoryStore): PromiseWithResolvers<void> {
  const create = store.create.bind(store);
  const held = Promise.withResolvers<void>();
  store.create = async (given) => {
    const answer = await create(given);
    await held.promise;
    return answer;
  };
  return held;
}
const journal = async (store: ConversationStore, id = 'c'): Promise<readonly JournalEvent[]> =>
  store.read(id, { limit: 10_000 });
const kinds = (events: readonly JournalEvent[]): string[] =>
  events.map((event) => event.kind).filter((kind) => kind !== 'text');

/** The store of a process that died in a turn, after the turn's deadline. */
async function timeIsUp() {
  const clock = new ManualClock();
  const first = new MemoryStore({ clock });
  const hold = gate();
  const crashing = hostOf({
    store: first,
    model: scriptedModel([[hold]]),
    clock,
    options: { turnTimeoutMs: 1_000 },
  });
  await start(crashing);
  await crashing.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
  await hold.reached;
  hosts.pop();
  await first.close();
  clock.advance(2_000);
  return { clock, store: new MemoryStore({ sharedWith: first, clock }) };
}

describe('the journal of a turn', () => {
  test('has every event in order and without gaps', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['Hello']) });
    await start(host);
    await host.turn({
      conversationId: 'c',
      userMessage: 'hi',
      turnId: 't',
      answerTo: { replyTo: '__rpc__@/x', callId: 'id', isStream: false },
    });
    await say(host, 'hi', 't');
    const events = await journal(store);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 1));
    expect(kinds(events)).toEqual([
      'conversation_started',
      'turn_accepted',
      'model_called',
      'model_replied',
      'turn_completed',
    ]);
    expect(events[1]!.body).toMatchObject({ user_message: 'hi', reply_to: '__rpc__@/x', corr_id: 'id' });
    expect(events[2]!.body).toMatchObject({
      step: 1,
      messages: 2,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(events.at(-1)!.body).toMatchObject({ text: 'Hello', in_history: true });
    expect(await store.record('c')).toMatchObject({
      totals: { usage: { total_tokens: 15 }, spent: { calls: 1, tokens: 15 } },
    });
  });

  test('a model is asked only after its call is recorded', async () => {
    const store = new MemoryStore();
    const atCall: string[][] = [];
    const model = scriptedModel(['a']);
    const spying: ChatModel = {
      name: 'spy',
      stream: (request, options) => {
        void journal(store).then((events) => atCall.push(kinds(events)));
        return model.stream(request, options);
      },
    };
    const host = hostOf({ store, model: spying });
    await start(host);
    await say(host, 'hi', 't');
    expect(atCall[0]!.slice(0, 3)).toEqual(['conversation_started', 'turn_accepted', 'model_called']);
  });

  test('text is shown at once, and written with the next entry, after 1,000 ms or at 8,192 characters', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const holds = [gate(), gate(), gate()];
    const model = scriptedModel([['a', holds[0]!, 'b', holds[1]!, 'x'.repeat(8_192), holds[2]!, 'y']]);
    const host = hostOf({ store, model, clock });
    await start(host);
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    const texts = async () =>
      (await journal(store)).filter((event) => event.kind === 'text').map((event) => event.body.text);
    const live: ConversationEvent[] = [];
    const following = (async () => {
      for await (const event of turn.follow()) live.push(event);
    })();
    await holds[0]!.reached;
    await settle();
    expect(textSeen(live)).toBe('a');
    expect(await texts()).toEqual([]);
    holds[0]!.open();
    await holds[1]!.reached;
    clock.advance(999);
    await settle();
    expect(textSeen(live)).toBe('ab');
    expect(await texts()).toEqual([]);
    clock.advance(1);
    await settle();
    expect(await texts()).toEqual(['ab']);
    holds[1]!.open();
    await holds[2]!.reached;
    await vi.waitFor(async () => expect(await texts()).toEqual(['ab', 'x'.repeat(8_192)]));
    holds[2]!.open();
    const whole = `ab${'x'.repeat(8_192)}y`;
    expect(textOf(await turn.outcome)).toBe(whole);
    expect(await texts()).toEqual(['ab', 'x'.repeat(8_192), 'y']);
    await following;
    const late: ConversationEvent[] = [];
    for await (const event of turn.follow()) late.push(event);
    for (const seen of [live, late]) {
      expect(textSeen(seen)).toBe(whole);
      expect(seen.map(({ seq }) => seq)).toEqual(
        [...new Set(seen.map(({ seq }) => seq))].sort((a, b) => a - b),
      );
    }
  });

  test('a text event is never longer than fits an envelope, and never ends inside a character', async () => {
    const text = `x${'😀'.repeat(20_000)}`;
    const host = hostOf({ model: scriptedModel([text]) });
    await start(host);
    const events = await eventsOf(host, 'hi', 't');
    const pieces = events.filter((event) => event.type === 'text').map((event) => event.text);
    expect(pieces.length).toBeGreaterThan(2);
    for (const piece of pieces) {
      expect(piece.length).toBeLessThanOrEqual(16_384);
      expect(piece.isWellFormed()).toBe(true);
    }
    expect(pieces.join('')).toBe(text);
  });

  test('a cancelled turn keeps its text in the journal, but not in the history of the model', async () => {
    const hold = gate();
    const store = new MemoryStore();
    const model = scriptedModel([['half an ans', hold], 'next']);
    const host = hostOf({ store, model });
    await start(host);
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    expect(await host.cancelTurn('c', 't')).toBe(true);
    expect(await turn.outcome).toMatchObject({ state: 'cancelled', text: 'half an ans' });
    const last = (await journal(store)).at(-1)!;
    expect(last).toMatchObject({
      kind: 'turn_cancelled',
      body: { text: 'half an ans', in_history: false, error: { details: { by: 'caller' } } },
    });
    await say(host, 'again', 't2');
    expect(model.requests[1]!.messages).toHaveLength(2);
  });

  test('HI-3: the result of a tool before a failure is in the history, also after the conversation was loaded again', async () => {
    const store = new MemoryStore();
    const look = tool({ name: 'look', description: 'x', parameters: z.object({}), execute: () => 'seen' });
    const model = scriptedModel([
      callTools({ name: 'look', id: 'a', arguments: {} }, { text: 'Looking. ' }),
      failing(new FabricError('MODEL_UNAVAILABLE', 'gone'), 'I saw'),
      'fine',
      'fine too',
    ]);
    const host = hostOf({ store, model, tools: new ToolSet([look]) });
    await start(host);
    await expect(say(host, 'hi', 't')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    await say(host, 'and?', 't2');
    const live = model.requests[2]!.messages;
    expect(live.map((message) => message.role)).toEqual([
      'system',
      'user',
      'assistant',
      'tool',
      'assistant',
      'user',
    ]);
    expect(live[4]!.content).toBe(`\nI saw ${INTERRUPTED_MARK}`);
    const later = hostOf({
      store: new MemoryStore({ sharedWith: store }),
      model,
      tools: new ToolSet([look]),
    });
    await host.close();
    await say(later, 'once more', 't3');
    expect(model.requests[3]!.messages.slice(0, 5)).toEqual(live.slice(0, 5));
    model.done();
  });
});

describe('exactly one effect', () => {
  test('any process returns a recorded answer without asking the model', async () => {
    const store = new MemoryStore();
    const first = hostOf({ store, model: scriptedModel(['Hello']) });
    await start(first);
    const events = await eventsOf(first, 'hi', 't');
    await first.close();
    const model = scriptedModel([]);
    const second = hostOf({ store: new MemoryStore({ sharedWith: store }), model });
    expect(await say(second, 'hi', 't')).toBe('Hello');
    expect(await eventsOf(second, 'hi', 't')).toEqual(events);
    expect(await eventsOf(second, 'hi', 't', events[0]!.seq)).toEqual(events.slice(1));
    await expect(say(second, 'other', 't')).rejects.toMatchObject({ code: 'TURN_CONFLICT' });
    expect(model.count).toBe(0);
  });

  test('a recorded failure is returned again too', async () => {
    const model = scriptedModel([failing(new FabricError('MODEL_REFUSED', 'no'))]);
    const host = hostOf({ model });
    await start(host);
    for (let i = 0; i < 3; i++) {
      await expect(say(host, 'hi', 't')).rejects.toMatchObject({ code: 'MODEL_REFUSED', retryable: false });
    }
    expect(model.count).toBe(1);
  });

  test('concurrent callers with the same turn id share one turn', async () => {
    const model = scriptedModel(['once']);
    const store = new MemoryStore();
    const host = hostOf({ store, model });
    await start(host);
    const answers = await Promise.all(Array.from({ length: 20 }, () => say(host, 'hi', 't')));
    expect(new Set(answers)).toEqual(new Set(['once']));
    expect(kinds(await journal(store)).filter((kind) => kind === 'turn_accepted')).toHaveLength(1);
  });

  test('an old turn is answered from the journal even if the conversation is in memory', async () => {
    const model = scriptedModel(Array.from({ length: 41 }, (_, i) => `answer ${i}`));
    const host = hostOf({ model });
    await start(host);
    for (let i = 0; i < 40; i++) await say(host, `q${i}`, `t${i}`);
    expect(await say(host, 'q0', 't0')).toBe('answer 0');
    await expect(say(host, 'other', 't1')).rejects.toMatchObject({ code: 'TURN_CONFLICT' });
    expect(await say(host, 'new', 't40')).toBe('answer 40');
    expect(model.count).toBe(41);
  });

  test('recorded turns are answered after the conversation has ended, and new ones are refused', async () => {
    const host = hostOf({ model: scriptedModel(['Hello']) });
    await start(host);
    await say(host, 'hi', 't');
    await host.end('c');
    expect(await say(host, 'hi', 't')).toBe('Hello');
    await expect(say(host, 'hi', 't2')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    expect(await host.reads.get('c')).toMatchObject({ state: 'completed', turns: 1 });
  });

  test('conversations of other agents in the same store are unknown', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['Hello']) });
    await start(host);
    await say(host, 'hi', 't');
    const other = new ConversationHost({
      runner: new ChatTurns({ model: scriptedModel([]) }),
      store: new MemoryStore({ sharedWith: store }),
      agent: 'other@fame.fabric',
    });
    hosts.push(other);
    await expect(say(other, 'hi', 't')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    await expect(other.reads.get('c')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    const caller = { principal: 'local', mayUseAny: true };
    await expect(other.reach(caller, 'c')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    await start(other);
    expect(await other.reach(caller, 'c')).not.toBe(await host.reach(caller, 'c'));
  });
});

describe('after a crash', () => {
  const A = callId('t', 1, 0);
  const B = callId('t', 1, 1);
  const book = (runs: string[], idempotent = true) =>
    new ToolSet([
      tool({
        name: 'book',
        description: 'Books a seat.',
        parameters: z.object({ seat: z.string() }),
        idempotent,
        execute: ({ seat }) => {
          runs.push(seat);
          return `booked ${seat}`;
        },
      }),
    ]);
  const seats = (): ScriptReply => ({
    ...callTools(
      [
        { name: 'book', id: 'a', arguments: { seat: '1A' } },
        { name: 'book', id: 'b', arguments: { seat: '1B' } },
      ],
      { text: 'I will book two seats for you, one moment please.', chunkChars: 7 },
    ),
    when: ({ messages }) => messages.at(-1)!.role === 'user',
    times: Number.POSITIVE_INFINITY,
  });
  const booked = (): ScriptReply => ({
    ...reply('Both seats are booked. Anything else?', { chunkChars: 5 }),
    when: ({ messages }) => messages.at(-1)!.role === 'tool',
    times: Number.POSITIVE_INFINITY,
  });
  const ANSWER = 'I will book two seats for you, one moment please.\nBoth seats are booked. Anything else?';

  const quiet = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) await settle();
  };

  /** Runs a turn whose processes crash at these events, each counted from the start of its process. The last one completes it. */
  async function live(crashesAt: readonly number[], isDurable: boolean) {
    const runs: string[] = [];
    const models: ReturnType<typeof scriptedModel>[] = [];
    const seen: ConversationEvent[] = [];
    let store = new CrashingStore();
    for (const crash of [...crashesAt, Number.POSITIVE_INFINITY]) {
      const model = scriptedModel([seats(), booked()]);
      models.push(model);
      const host = hostOf({ store, model, tools: book(runs), clock: tickingClock() });
      if (models.length === 1) await start(host);
      store.eventsLeft = crash;
      store.isDurable = isDurable;
      const crashing = store;
      const isLast = crash === Number.POSITIVE_INFINITY;
      const follow = async (): Promise<void> => {
        await host.recover();
        const turn = await host.turn({ conversationId: 'c', userMessage: 'two seats', turnId: 't' });
        for await (const event of turn.follow(seen.at(-1)?.seq ?? 0)) {
          // A crashed process sends nothing. The error that its host sends here is an artifact of the test.
          if (crashing.eventsLeft > 0 && event.type !== 'error') seen.push(event);
        }
      };
      if (isLast) {
        await follow();
        return { host, store, runs, models, seen };
      }
      void follow().catch(() => undefined);
      await quiet();
      hosts.splice(hosts.indexOf(host), 1);
      await store.close();
      store = new CrashingStore({ sharedWith: store });
    }
    throw new Error('not reached');
  }

  async function check(crashesAt: readonly number[], isDurable: boolean): Promise<void> {
    const { host, store, runs, models, seen } = await live(crashesAt, isDurable);
    const where = `crashes at events ${crashesAt.join(', ')}`;
    expect(textSeen(seen), where).toBe(ANSWER);
    expect(seen.at(-1), where).toMatchObject({ type: 'done', text: ANSWER });
    expect(textSeen(await eventsOf(host, 'two seats', 't')), where).toBe(ANSWER);
    const events = await journal(store);
    expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 1));
    const count = (kind: string) => kinds(events).filter((one) => one === kind).length;
    expect(count('turn_accepted'), where).toBe(1);
    expect(count('turn_completed'), where).toBe(1);
    expect(count('turn_failed') + count('turn_cancelled'), where).toBe(0);
    // No call whose result was recorded ran again; each crash may have cut off both.
    const finished = events.filter((event) => event.kind === 'tool_finished');
    expect(finished.map((event) => event.body.call_id).toSorted(), where).toEqual([A, B].toSorted());
    expect(runs.length, where).toBeLessThanOrEqual(2 * (1 + crashesAt.length));
    const calls = models.flatMap((one) => one.requests);
    for (const role of ['user', 'tool']) {
      const made = calls.filter(({ messages }) => messages.at(-1)!.role === role).length;
      expect(made, where).toBeLessThanOrEqual(1 + crashesAt.length);
    }
    for (const one of models) one.assertValid();
    expect(await say(host, 'two seats', 't2'), where).toBe(ANSWER);
    await host.close();
  }

  for (const isDurable of [false, true]) {
    const how = isDurable ? 'just written' : 'not written yet';
    test(`at any event, ${how}, the turn has one effect and one text`, async () => {
      const { store, seen } = await live([], isDurable);
      const total = (await journal(store)).length;
      expect(seen.filter((event) => event.type === 'text').length).toBeGreaterThan(5);
      for (let crash = 1; crash < total; crash++) await check([crash], isDurable);
    }, 60_000);

    test(`twice, at any event and again soon after, ${how}, it is the same`, async () => {
      const { store } = await live([], isDurable);
      const total = (await journal(store)).length;
      for (let crash = 1; crash < total; crash += 2) {
        for (const again of [2, 5, 11]) await check([crash, again], isDurable);
      }
    }, 60_000);
  }

  test('a tool that is not idempotent does not run again, and its result is the fault `aborted`', async () => {
    const first = new CrashingStore();
    const runs: string[] = [];
    const crashing = hostOf({ store: first, model: scriptedModel([seats()]), tools: book(runs, false) });
    await start(crashing);
    const isCalled = new Promise<void>((resolve) => {
      const push = runs.push.bind(runs);
      runs.push = (...seats) => {
        // Dies with the first booking made and its result not written.
        first.eventsLeft = 0;
        first.isDurable = false;
        resolve();
        return push(...seats);
      };
    });
    await crashing.turn({ conversationId: 'c', userMessage: 'two seats', turnId: 't' });
    await isCalled;
    await settle();
    hosts.splice(hosts.indexOf(crashing), 1);
    await first.close();
    const made = runs.length;
    const model = scriptedModel([booked()]);
    const store = new MemoryStore({ sharedWith: first });
    const host = hostOf({ store, model, tools: book(runs, false) });
    await host.recover();
    await say(host, 'two seats', 't');
    const results = model.requests[0]!.messages.filter((message) => message.role === 'tool');
    expect(results.map((message) => message.tool_call_id)).toEqual([A, B]);
    expect(results.filter((message) => message.content.includes('interrupted'))).not.toHaveLength(0);
    expect(new Set(runs).size).toBe(runs.length);
    expect(runs.length).toBeGreaterThanOrEqual(made);
  });

  test('P20: a recorded reply without a usage report counts against the budget of the resumed turn too', async () => {
    const options = { budget: { turn: { maxTokens: 900 } } };
    const unreported = { ...seats(), usage: null };
    const first = new CrashingStore();
    const crashing = hostOf({ store: first, model: scriptedModel([unreported]), tools: book([]), options });
    await start(crashing);
    // Dies after the reply was recorded.
    first.eventsLeft = 6;
    void crashing.turn({ conversationId: 'c', userMessage: 'two seats', turnId: 't' }).catch(() => undefined);
    for (let i = 0; i < 12; i++) await settle();
    hosts.splice(hosts.indexOf(crashing), 1);
    await first.close();
    const model = scriptedModel([{ ...booked(), times: Number.POSITIVE_INFINITY }]);
    const host = hostOf({
      store: new MemoryStore({ sharedWith: first }),
      model,
      tools: book([]),
      options,
    });
    await host.recover();
    await expect(say(host, 'two seats', 't')).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
    expect(model.count).toBe(0);
  });

  test('waiting turns run after the resumed one, in order, and their callers are answered', async () => {
    const first = new MemoryStore();
    const hold = gate();
    const crashing = hostOf({ store: first, model: scriptedModel([[hold]]) });
    await start(crashing);
    for (const turnId of ['t1', 't2', 't3']) {
      await crashing.turn({
        conversationId: 'c',
        userMessage: turnId,
        turnId,
        answerTo: { replyTo: '__rpc__@/caller', callId: `call-${turnId}`, isStream: false },
      });
    }
    await hold.reached;
    hosts.splice(hosts.indexOf(crashing), 1);
    await first.close();
    const recovered: RecoveredTurn[] = [];
    const store = new MemoryStore({ sharedWith: first });
    const model = scriptedModel(['one', 'two', 'three']);
    const host = hostOf({ store, model, onRecovered: (turn) => recovered.push(turn) });
    await host.recover();
    await vi.waitFor(() => expect(recovered).toHaveLength(3));
    expect(
      recovered.map(({ turnId, answerTo, outcome }) => [turnId, answerTo.callId, outcome]),
    ).toMatchObject([
      ['t1', 'call-t1', { text: 'one' }],
      ['t2', 'call-t2', { text: 'two' }],
      ['t3', 'call-t3', { text: 'three' }],
    ]);
    expect((await host.reads.messages('c')).map((message) => message.content)).toEqual([
      't1',
      'one',
      't2',
      'two',
      't3',
      'three',
    ]);
  });

  test('P1: a turn without progress fails at its third resume, after three model calls', async () => {
    let store = new MemoryStore();
    const never = scriptedModel([{ steps: [gate()], times: Number.POSITIVE_INFINITY }]);
    const host = hostOf({ store, model: never });
    await start(host);
    await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    for (let i = 1; i <= 3; i++) {
      await vi.waitFor(() => expect(never.count).toBe(i));
      hosts.pop();
      await store.close();
      store = new MemoryStore({ sharedWith: store });
      const next = hostOf({ store, model: never });
      await next.recover();
      if (i === 3) {
        await expect(say(next, 'hi', 't')).rejects.toMatchObject({ code: 'TURN_CRASH_LOOP' });
        expect(await next.reads.get('c')).toMatchObject({ totals: { spent: { calls: 3 } } });
      }
    }
    // The third one too: callers may have text that is not in the journal.
    expect(kinds(await journal(store)).filter((kind) => kind === 'turn_resumed')).toHaveLength(3);
  });

  test('a turn whose deadline passed while the agent was away fails with TURN_TIMEOUT', async () => {
    const { clock, store } = await timeIsUp();
    const host = hostOf({ store, model: scriptedModel([[gate()]]), clock });
    await host.recover();
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    clock.advance(1);
    expect(await turn.outcome).toMatchObject({ state: 'failed', error: { code: 'TURN_TIMEOUT' } });
  });
});

describe('HD30: a crash that left 300 open turns', () => {
  async function crashed() {
    const first = new MemoryStore();
    const asked = { systemPrompt: '', maxHistoryLength: 1, turnPolicy: 'queue' as const };
    const host = hostOf({ store: first, model: scriptedModel([]) });
    for (let i = 0; i < 300; i++) {
      const id = `c${i}`;
      await host.start({ id, callId: id, options: asked });
      const { fence } = (await first.acquire(id, 60_000))!;
      const body = {
        user_message: 'hi',
        reply_to: '',
        corr_id: '',
        stream: false,
        deadline: Date.now() + 600_000,
      };
      const accepted = { kind: 'turn_accepted' as const, at: Date.now(), turnId: 't', body };
      await first.append({ conversationId: id, fence, after: 1, events: [accepted], leaseMs: 60_000 });
    }
    const second = new MemoryStore({ sharedWith: first });
    await first.close();
    return second;
  }
  /** A runner that counts its turns and holds those of the crash. */
  function heldRunner() {
    const gateOpened = Promise.withResolvers<void>();
    const counts = { running: 0, most: 0, ended: 0 };
    const runner: TurnRunner = {
      modelName: 'held',
      async run({ conversationId }) {
        if (conversationId !== 'new') {
          counts.running += 1;
          counts.most = Math.max(counts.most, counts.running);
          await gateOpened.promise;
          await settle();
          counts.running -= 1;
          counts.ended += 1;
        }
        return { text: 'ok', usage: noUsage(), model: 'held' };
      },
    };
    return { runner, counts, open: gateOpened.resolve };
  }

  test('the agent opens at once, serves new turns, and recovers 64 at a time', async () => {
    const { runner, counts, open } = heldRunner();
    const host = hostOf({ store: await crashed(), runner });
    await host.open();
    await vi.waitFor(() => expect(counts.running).toBe(64));
    await start(host, 'new');
    expect(await say(host, 'hello', 'n', 'new')).toBe('');
    // A caller that asks for an open turn does not wait for the others.
    const joined = await host.turn({ conversationId: 'c299', userMessage: 'hi', turnId: 't' });
    await vi.waitFor(() => expect(counts.running).toBe(65));
    open();
    expect(await joined.outcome).toMatchObject({ state: 'completed' });
    await vi.waitFor(() => expect(counts.ended).toBe(300), { timeout: 10_000 });
    expect(counts.most).toBe(65);
  });

  test('closing ends the recovery, and the rest stays open for the next process', async () => {
    const { runner, counts } = heldRunner();
    const store = await crashed();
    const host = hostOf({ store, runner });
    await host.open();
    await vi.waitFor(() => expect(counts.running).toBe(64));
    await host.close();
    expect(await store.unfinished(AGENT, 1_000)).toHaveLength(300);
  });
});

describe('two processes on one store', () => {
  const pair = (setup: Setup = {}) => {
    const clock = new ManualClock();
    const one = new MemoryStore({ clock });
    const two = new MemoryStore({ clock, sharedWith: one });
    return { clock, one, two, ...setup };
  };

  test('the second waits until the first releases the conversation, and both see the same history', async () => {
    const { clock, one, two } = pair();
    const hold = gate();
    const first = hostOf({ store: one, clock, model: scriptedModel([['a', hold, 'b']]) });
    const second = hostOf({ store: two, clock, model: scriptedModel(['c']) });
    await start(first);
    const running = say(first, 'hi', 't1');
    await hold.reached;
    const later = say(second, 'and', 't2');
    await settle();
    hold.open();
    expect(await running).toBe('ab');
    await clock.run(1_000, 100);
    expect(await later).toBe('c');
    expect((await second.reads.messages('c')).map((message) => message.content)).toEqual([
      'hi',
      'ab',
      'and',
      'c',
    ]);
    // The first one notices that its own copy is old.
    expect((await eventsOf(first, 'and', 't2')).at(-1)).toMatchObject({ text: 'c' });
  });

  test.each([-86_400_000, 31 * 86_400_000])(
    'HD11: a step of the clock by %i ms does not change how long a caller waits for the other process',
    async (ms) => {
      const { clock, one, two } = pair();
      const hold = gate();
      const first = hostOf({ store: one, clock, model: scriptedModel([['a', hold]]) });
      const second = hostOf({ store: two, clock, model: scriptedModel([]), options: { leaseWaitMs: 3_000 } });
      await start(first);
      const running = await first.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' });
      await hold.reached;
      const refused = second.turn({ conversationId: 'c', userMessage: 'and', turnId: 't2' });
      let isRefused = false;
      refused.catch(() => {
        isRefused = true;
      });
      await settle();
      clock.stepWall(ms);
      await clock.run(2_500, 100);
      expect(isRefused).toBe(false);
      await clock.run(1_000, 100);
      await expect(refused).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
      hold.open();
      expect(await running.outcome).toMatchObject({ state: 'completed' });
    },
  );

  test('P2: a paused process is fenced off: its late writes are refused, and its callers get a retryable error', async () => {
    const { clock, one, two } = pair();
    const hold = gate();
    const log = new CaptureLog();
    const paused = hostOf({ store: one, clock, log, model: scriptedModel([['a', hold, 'b']]) });
    await start(paused);
    const late = await paused.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    // The write of the text renews the lease.
    clock.advance(1_000);
    await settle();
    clock.advance(15_001);
    const other = hostOf({ store: two, clock, model: scriptedModel(['fresh']) });
    await other.recover();
    expect(await say(other, 'hi', 't')).toBe('fresh');
    const before = await journal(two);
    hold.open();
    expect(await late.outcome).toMatchObject({
      state: 'failed',
      error: { code: 'STORE_CONFLICT', retryable: true },
    });
    expect(await journal(two)).toEqual(before);
    expect(await say(paused, 'hi', 't')).toBe('fresh');
  });

  test('a turn that joins the acquisition of a recovery waits for its own time', async () => {
    const { clock, one, two } = pair();
    const hold = gate();
    const first = hostOf({ store: one, clock, model: scriptedModel([['a', hold, 'b']]) });
    await start(first);
    const running = say(first, 'hi', 't1');
    await hold.reached;
    const recovered = vi.spyOn(two, 'unfinished').mockResolvedValueOnce(['c']);
    const second = hostOf({ store: two, clock, model: scriptedModel(['c']) });
    const recovery = second.recover();
    const later = say(second, 'and', 't2');
    await settle();
    hold.open();
    expect(await running).toBe('ab');
    await clock.run(1_000, 100);
    expect(await later).toBe('c');
    await recovery;
    expect(recovered).toHaveBeenCalled();
  });

  test('a lease is renewed while a turn runs long', async () => {
    const { clock, one, two } = pair();
    const hold = gate();
    const first = hostOf({ store: one, clock, model: scriptedModel([[hold, 'done']]) });
    await first.open();
    await start(first);
    const running = say(first, 'hi', 't');
    await hold.reached;
    await clock.run(60_000, 1_000);
    expect(await two.unfinished(AGENT, 10)).toEqual([]);
    await expect(two.acquire('c', 1)).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
    hold.open();
    expect(await running).toBe('done');
  });

  test('a process that is closed writes the text that it has shown', async () => {
    const { clock, one } = pair();
    const hold = gate();
    const host = hostOf({ store: one, clock, model: scriptedModel([['shown', hold]]) });
    await start(host);
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    const seen: ConversationEvent[] = [];
    for await (const event of turn.follow()) {
      seen.push(event);
      if (seen.length === 1) void host.close();
    }
    expect(seen).toMatchObject([
      { type: 'text', text: 'shown' },
      { type: 'error', code: 'NODE_GONE' },
    ]);
    expect(await one.read('c', { after: 3 })).toMatchObject([
      { kind: 'text', cursor: seen[0]!.seq, body: { text: 'shown' } },
    ]);
  });

  test('a conversation that has written most rows of its acquisition is acquired anew after a turn', async () => {
    const store = new MemoryStore();
    const rows = 50_001;
    const runner: TurnRunner = {
      modelName: 'none',
      async run(turn) {
        // Texts of different calls are rows of their own.
        for (let i = 0; i < rows; i++) await turn.emitText('x', { from: 'tool', step: 1, index: i % 2 });
        return { usage: noUsage(), model: 'none' };
      },
    };
    const host = hostOf({ store, runner });
    await start(host);
    const epochs: number[] = [];
    for (const turnId of ['t1', 't2', 't3', 't4', 't5']) {
      expect(await say(host, 'hi', turnId)).toHaveLength(rows);
      epochs.push((await store.peek('c'))!.epoch);
      await settle();
    }
    expect(epochs).toEqual([1, 1, 1, 1, 2]);
  });

  test('another process resumes at once the turn of a process that was closed', async () => {
    const { clock, one, two } = pair();
    const hold = gate();
    const first = hostOf({ store: one, clock, model: scriptedModel([['a', hold]]) });
    await start(first);
    const turn = await first.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    await first.close();
    expect(await turn.outcome).toMatchObject({
      state: 'failed',
      error: { code: 'NODE_GONE', retryable: true },
    });
    const second = hostOf({ store: two, clock, model: scriptedModel(['whole']) });
    await second.recover();
    expect(await say(second, 'hi', 't')).toBe('whole');
  });
});

describe('limits', () => {
  test('a turn that exceeds its time limit fails with TURN_TIMEOUT', async () => {
    const clock = new ManualClock();
    const hold = gate();
    const model = scriptedModel([['a', hold]]);
    const host = hostOf({ model, clock, options: { turnTimeoutMs: 5_000 } });
    await start(host);
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    clock.advance(5_000);
    expect(await turn.outcome).toMatchObject({ state: 'failed', error: { code: 'TURN_TIMEOUT' }, text: 'a' });
    expect(model.calls[0]!.state).toBe('aborted');
  });

  test.each([31_000, 3_600_000, -86_400_000, 31 * 86_400_000])(
    'HD11: a step of the clock by %i ms while turns run and wait changes none of their deadlines',
    async (ms) => {
      const clock = new ManualClock();
      const hold = gate();
      const host = hostOf({
        store: new MemoryStore({ clock }),
        model: scriptedModel([['a', hold], [gate()]]),
        clock,
        options: { turnTimeoutMs: 60_000 },
      });
      await start(host);
      const first = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' });
      const second = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't2' });
      await hold.reached;
      clock.stepWall(ms);
      hold.open();
      expect(await first.outcome).toMatchObject({ state: 'completed' });
      clock.advance(59_999);
      await settle();
      expect(second.outcomeHere).toBeUndefined();
      clock.advance(1);
      expect(await second.outcome).toMatchObject({ error: { code: 'TURN_TIMEOUT' } });
    },
  );

  test.each([-86_400_000, -31 * 86_400_000])(
    'HD11: a turn that is resumed after the clock was set back by %i ms has its time limit once more, and no longer',
    async (ms) => {
      const { clock, store } = await timeIsUp();
      clock.stepWall(ms);
      const host = hostOf({ store, model: scriptedModel([[gate()]]), clock });
      await host.recover();
      const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
      clock.advance(999);
      await settle();
      expect(turn.outcomeHere).toBeUndefined();
      clock.advance(1);
      expect(await turn.outcome).toMatchObject({ error: { code: 'TURN_TIMEOUT' } });
    },
  );

  test('a runner that ignores its signal is abandoned after the grace period', async () => {
    const clock = new ManualClock();
    const stubborn: TurnRunner = {
      modelName: 'stubborn',
      run: () => new Promise(() => {}),
    };
    const host = hostOf({ runner: stubborn, clock, options: { graceMs: 2_000 } });
    await start(host);
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    const cancelled = host.cancelTurn('c');
    await settle();
    clock.advance(1_999);
    await settle();
    expect(turn.outcomeHere).toBeUndefined();
    clock.advance(1);
    expect(await cancelled).toBe(true);
    expect(turn.outcomeHere).toMatchObject({ state: 'cancelled' });
  });

  test('P20: a budget stops the next model call before it is made', async () => {
    const model = scriptedModel(['one', 'two', 'three']);
    const host = hostOf({ model, options: { budget: { conversation: { maxModelCalls: 2 } } } });
    await start(host);
    await say(host, 'a', 't1');
    await say(host, 'b', 't2');
    await expect(say(host, 'c', 't3')).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
      details: { of: 'conversation', unit: 'model calls', limit: 2 },
    });
    expect(model.count).toBe(2);
  });

  test('P20: tokens and cost are counted as the provider reports them, per turn and per conversation', async () => {
    const usage = { prompt_tokens: 1_000_000, completion_tokens: 500_000, total_tokens: 1_500_000 };
    const look = tool({ name: 'look', description: 'x', parameters: z.object({}), execute: () => 'seen' });
    const model = scriptedModel([callTools({ name: 'look', arguments: {} }, { usage }), 'unused'], {
      name: 'dear',
    });
    const prices = { dear: { input: 2, output: 8 } };
    const host = hostOf({
      model,
      tools: new ToolSet([look]),
      options: { budget: { turn: { maxUsd: 5 }, prices } },
    });
    await start(host);
    await expect(say(host, 'a', 't')).rejects.toMatchObject({
      code: 'BUDGET_EXCEEDED',
      details: { of: 'turn', unit: 'USD', spent: 6 },
    });
    expect(model.count).toBe(1);
    expect(await host.reads.get('c')).toMatchObject({
      totals: { spent: { calls: 1, tokens: 1_500_000, usd: 6 } },
    });
  });

  test('P20: a failed model call is counted, and with its reservation if a part of the answer arrived', async () => {
    const broken = new FabricError('MODEL_UNAVAILABLE', 'gone');
    const host = hostOf({ model: scriptedModel([failing(broken), failing(broken, 'half')]) });
    await start(host);
    await expect(say(host, 'a', 't1')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(await host.reads.get('c')).toMatchObject({ totals: { spent: { calls: 1, tokens: 0 } } });
    await expect(say(host, 'b', 't2')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    const { totals } = await host.reads.get('c');
    expect(totals.spent.calls).toBe(2);
    expect(totals.spent.tokens).toBeGreaterThan(1_000);
  });

  test('a full store fails the turn with a clear error, and recorded turns stay readable', async () => {
    const store = new MemoryStore({ maxBytes: 2_000 });
    const host = hostOf({ store, model: scriptedModel(['x'.repeat(3_000)]) });
    await start(host);
    await say(host, 'a', 't1');
    await expect(say(host, 'b', 't2')).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(await say(host, 'a', 't1')).toHaveLength(3_000);
    expect(await host.reads.messages('c')).toHaveLength(2);
  });

  test('idle conversations are evicted and loaded again unchanged', async () => {
    const model = scriptedModel(['one', 'two', 'three']);
    const host = hostOf({ model, options: { maxIdle: 1 } });
    await start(host, 'c');
    await start(host, 'd');
    await say(host, 'a', 't1', 'c');
    await say(host, 'b', 't1', 'd');
    await say(host, 'again', 't2', 'c');
    expect(model.requests[2]!.messages.map((message) => message.content)).toEqual([
      'Be brief.',
      'a',
      'one',
      'again',
    ]);
  });

  test('the payload of a conversation counts toward the limit of idle ones', async () => {
    const store = new MemoryStore();
    const acquire = vi.spyOn(store, 'acquire');
    const host = hostOf({ store, model: scriptedModel(['one', 'two']), options: { maxIdleChars: 3_000 } });
    const payload = { text: 'x'.repeat(2_000) };
    await start(host, 'c', { payload });
    await start(host, 'd', { payload });
    await say(host, 'a', 't1', 'd');
    expect(acquire).not.toHaveBeenCalled();
    await say(host, 'a', 't1', 'c');
    expect(acquire.mock.calls.map(([id]) => id)).toEqual(['c']);
  });

  test('busy conversations do not evict idle ones, and are not evicted', async () => {
    const store = new MemoryStore();
    const acquire = vi.spyOn(store, 'acquire');
    const busy = gate();
    const model = scriptedModel([['one', busy], ['two', busy], 'three', 'four']);
    const host = hostOf({ store, model, options: { maxIdle: 1 } });
    for (const id of ['c', 'd', 'e']) await start(host, id);
    const running = ['c', 'd'].map((conversationId) =>
      host.turn({ conversationId, userMessage: 'a', turnId: 't1' }),
    );
    await busy.reached;
    await say(host, 'b', 't1', 'e');
    await settle();
    await say(host, 'b', 't2', 'e');
    busy.open();
    for (const turn of running) expect(await (await turn).outcome).toMatchObject({ state: 'completed' });
    // `e` is still in memory from its start.
    expect(acquire.mock.calls.map(([id]) => id)).toEqual(['c', 'd']);
  });

  test('conversations whose turns were all refused are evicted too', async () => {
    const store = new MemoryStore();
    const acquire = vi.spyOn(store, 'acquire');
    const host = hostOf({ store, model: scriptedModel(['one']), options: { maxIdle: 1 } });
    for (const id of ['c', 'd']) await start(host, id);
    const toolResults = [{ tool_call_id: 'unknown', content: '' }];
    for (const conversationId of ['c', 'd', 'c']) {
      const turn = host.turn({ conversationId, userMessage: 'a', turnId: 't0', toolResults });
      await expect(turn).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
    }
    expect(acquire.mock.calls.map(([id]) => id)).toEqual(['c', 'd', 'c']);
    expect(await say(host, 'a', 't1')).toBe('one');
  });

  test('turns of conversations that evict each other while they are loaded have all of their events', async () => {
    const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
    const model = scriptedModel([{ steps: ['Hello'], times: ids.length }]);
    const host = hostOf({ model, options: { maxIdle: 0 } });
    for (const id of ids) await start(host, id);
    const turns = await Promise.all(
      ids.map((conversationId) => host.turn({ conversationId, userMessage: 'a', turnId: 't' })),
    );
    for (const turn of turns) {
      const types: string[] = [];
      for await (const { type } of turn.follow()) types.push(type);
      expect(types).toEqual(['text', 'done']);
    }
  });

  test('a few long idle conversations are evicted too', async () => {
    const store = new MemoryStore();
    const wake = vi.spyOn(store, 'acquire');
    const wakes = (id: string): number => wake.mock.calls.filter(([one]) => one === id).length;
    const long = 'x'.repeat(2_000);
    const model = scriptedModel([long, 'short', 'short', long]);
    const host = hostOf({ store, model, options: { maxIdleChars: 3_000 } });
    await start(host, 'c');
    await start(host, 'd');
    await say(host, long, 't1', 'c');
    await say(host, 'b', 't1', 'd');
    await settle();
    await say(host, 'b', 't2', 'd');
    expect([wakes('c'), wakes('d')]).toEqual([0, 0]);
    await say(host, 'again', 't2', 'c');
    expect(wakes('c')).toBe(1);
    expect(model.requests[3]!.messages.map(({ content }) => content!.length)).toEqual([9, 2_000, 2_000, 5]);
  });

  test('the next turn receives the state of the runner, also after a restart', async () => {
    const store = new MemoryStore();
    const counting: TurnRunner = {
      modelName: 'counting',
      async run({ state, emitText }) {
        const next = ((state as number | undefined) ?? 0) + 1;
        await emitText(`turn ${next}`, { from: 'runner' });
        return { usage: noUsage(), model: 'counting', state: next, taskState: 'input-required' };
      },
    };
    const first = hostOf({ store, runner: counting });
    await start(first);
    expect(await say(first, 'a', 't1')).toBe('turn 1');
    expect(await first.reads.get('c')).toMatchObject({ state: 'input-required' });
    await first.close();
    const second = hostOf({ store: new MemoryStore({ sharedWith: store }), runner: counting });
    expect(await say(second, 'b', 't2')).toBe('turn 2');
  });

  test('ids with a lone surrogate are refused', async () => {
    const host = hostOf({ model: scriptedModel([]) });
    const refused = { code: 'PARAMS_INVALID' };
    await expect(start(host, 'a\ud800')).rejects.toMatchObject(refused);
    await start(host);
    await expect(say(host, 'hi', 't\udc00')).rejects.toMatchObject(refused);
    await expect(say(host, 'hi', 't', 'c\ud800')).rejects.toMatchObject(refused);
    await expect(host.cancelTurn('c\ud800')).rejects.toMatchObject(refused);
    await expect(host.end('c\ud800')).rejects.toMatchObject(refused);
  });

  test('a closed host accepts nothing', async () => {
    const host = hostOf({ model: scriptedModel([]) });
    await start(host);
    await host.close();
    await expect(say(host, 'hi', 't')).rejects.toMatchObject({ code: 'NODE_GONE' });
  });
});

describe('a full store, a crash loop and a failing end', () => {
  test('a turn that the full store refuses does not affect the running one', async () => {
    const store = new MemoryStore({ maxBytes: 20_000 });
    const half = gate();
    const host = hostOf({ store, model: scriptedModel([['part', half, ' end']]) });
    await start(host);
    const running = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' });
    await half.reached;
    await start(host, 'large', { systemPrompt: 'x'.repeat(30_000) });
    await expect(say(host, 'more', 't2')).rejects.toMatchObject({ code: 'STORE_FULL' });
    half.open();
    expect(textOf(await running.outcome)).toBe('part end');
    expect(kinds(await journal(store))).toContain('turn_completed');
  });

  test('after a crash loop the next turn shows the model which tools ran', async () => {
    const pay = tool({
      name: 'pay',
      description: 'Pays.',
      parameters: z.object({}),
      idempotent: false,
      execute: () => 'paid 100',
    });
    const tools = new ToolSet([pay]);
    const store = new MemoryStore();
    const firstGate = gate();
    const first = hostOf({
      store,
      tools,
      model: scriptedModel([callTools({ name: 'pay', arguments: '{}', id: 'call1' }), ['wait', firstGate]]),
    });
    await start(first);
    await first.turn({ conversationId: 'c', userMessage: 'pay please', turnId: 't1' });
    await firstGate.reached;
    await first.close();
    for (let crash = 0; crash < 2; crash++) {
      const standing = gate();
      const next = hostOf({ store, tools, model: scriptedModel([['wait', standing]]) });
      await next.open();
      await standing.reached;
      await next.close();
    }
    const model = scriptedModel(['It is paid.']);
    const last = hostOf({ store, tools, model });
    await last.open();
    await expect(say(last, 'pay please', 't1')).rejects.toMatchObject({ code: 'TURN_CRASH_LOOP' });
    await say(last, 'did you pay?', 't2');
    const shown = model.requests.at(-1)!.messages;
    expect(shown).toContainEqual({ role: 'tool', tool_call_id: callId('t1', 1, 0), content: 'paid 100' });
  });

  test('an end that cannot be written fails for every caller', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['hello']) });
    await start(host);
    await say(host, 'hi', 't1');
    const append = store.append.bind(store);
    store.append = (given: Append) =>
      given.state === 'completed'
        ? Promise.reject(new FabricError('STORE_UNAVAILABLE', 'The disk is away.'))
        : append(given);
    const ends = await Promise.allSettled([host.end('c'), host.end('c')]);
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    store.append = append;
    await host.end('c');
    expect(await host.reads.get('c')).toMatchObject({ state: 'completed' });
  });
});

describe('late answers of the store, outdated copies and other processes', () => {
  test('a store that fails while a tool emits much text leaves no rejection unhandled', async () => {
    const unhandled = vi.fn();
    process.on('unhandledRejection', unhandled);
    try {
      const store = new MemoryStore();
      const hold = gate();
      const dump = tool({
        name: 'dump',
        description: 'x',
        parameters: z.object({}),
        execute: async (_, { emit }) => {
          emit('x'.repeat(40_000));
          emit('y'.repeat(2_000));
          hold.arrive?.();
          await hold.wait;
          return 'done';
        },
      });
      const host = hostOf({
        store,
        model: scriptedModel([callTools({ name: 'dump', arguments: {} })]),
        tools: new ToolSet([dump]),
      });
      await start(host);
      const append = store.append.bind(store);
      vi.spyOn(store, 'append').mockImplementation(async (batch) => {
        if (!batch.events.some(({ kind }) => kind === 'text')) return append(batch);
        throw new FabricError('STORE_UNAVAILABLE', 'The disk is gone.');
      });
      const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
      await hold.reached;
      await settle();
      hold.open();
      expect(await turn.outcome).toMatchObject({ state: 'failed', error: { code: 'STORE_UNAVAILABLE' } });
      await settle();
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off('unhandledRejection', unhandled);
    }
  });

  test('a conversation is not evicted while the cancellation of its waiting turn is written', async () => {
    const store = new MemoryStore();
    const busy = gate();
    const model = scriptedModel([['one', busy], 'two']);
    const host = hostOf({ store, model, options: { maxRunning: 1, maxIdle: 0 } });
    await start(host, 'd');
    await start(host);
    const running = await host.turn({ conversationId: 'd', userMessage: 'b', turnId: 't1' });
    await busy.reached;
    const waiting = await host.turn({ conversationId: 'c', userMessage: 'a', turnId: 't1' });
    const append = store.append.bind(store);
    const written = Promise.withResolvers<void>();
    vi.spyOn(store, 'append').mockImplementation(async (batch) => {
      if (batch.events.some(({ kind }) => kind === 'turn_cancelled')) await written.promise;
      return append(batch);
    });
    const cancelled = host.cancelTurn('c', 't1');
    await settle();
    busy.open();
    await running.outcome;
    await settle();
    // The same turn id again: a copy loaded now would run the turn that is being cancelled.
    const again = host.turn({ conversationId: 'c', userMessage: 'a', turnId: 't1' });
    await settle();
    written.resolve();
    await cancelled;
    expect(await waiting.outcome).toMatchObject({ state: 'cancelled' });
    expect(await (await again).outcome).toMatchObject({ state: 'cancelled' });
    expect(model.count).toBe(1);
  });

  test('the first turn of a new conversation only writes to the store', async () => {
    const store = new MemoryStore();
    const read = (['reach', 'peek', 'acquire', 'retried'] as const).map((name) => vi.spyOn(store, name));
    const model = scriptedModel(['one']);
    const chat = new ChatTurns({ model });
    let payload: unknown;
    const runner: TurnRunner = {
      modelName: chat.modelName,
      run: (turn) => {
        payload = turn.payload;
        return chat.run(turn);
      },
    };
    const host = hostOf({ store, runner });
    await start(host, 'c', { payload: { left_out: undefined, kept: 1 } });
    const id = await host.reach({ principal: 'local', mayUseAny: false }, 'c');
    expect(await say(host, 'hi', 't1', id)).toBe('one');
    for (const method of read) expect(method).not.toHaveBeenCalled();
    expect(model.requests[0]!.messages.map(({ content }) => content)).toEqual(['Be brief.', 'hi']);
    // As the store would return it.
    expect(payload).toStrictEqual({ kept: 1 });
  });

  test('a turn that joins while its conversation is removed and started again does not run with the old settings', async () => {
    const store = new MemoryStore();
    const model = scriptedModel(['one']);
    const host = hostOf({ store, model });
    await start(host);
    await store.remove('c');
    const created = holdCreation(store);
    const starting = start(host, 'c', { systemPrompt: 'Be long.' });
    await settle();
    // The answer of the store is on its way, and this process still has the removed conversation in memory.
    const early = host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' }).catch((error) => error);
    await settle();
    created.resolve();
    await starting;
    await early;
    expect(await say(host, 'hi', 't1')).toBe('one');
    expect(model.requests.map(({ messages }) => messages[0]!.content)).toEqual(['Be long.']);
  });

  test('a process continues a conversation that it started and another one has acquired since', async () => {
    const store = new MemoryStore();
    const model = scriptedModel(['one', 'two', 'three']);
    const first = hostOf({ store, model });
    const second = hostOf({ store: new MemoryStore({ sharedWith: store }), model });
    await start(first);
    expect(await say(second, 'a', 't1')).toBe('one');
    expect(await say(first, 'b', 't2')).toBe('two');
    expect(await say(second, 'c', 't3')).toBe('three');
    expect(model.requests[2]!.messages.map(({ content }) => content)).toEqual([
      'Be brief.',
      'a',
      'one',
      'b',
      'two',
      'c',
    ]);
  });

  test('a conversation that is acquired again before its start returns is loaded once', async () => {
    const store = new MemoryStore();
    const created = holdCreation(store);
    const hold = gate();
    const host = hostOf({ store, model: scriptedModel([['a', hold, 'b'], 'c']) });
    const starting = start(host);
    await settle();
    const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' });
    await hold.reached;
    created.resolve();
    await starting;
    hold.open();
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'ab' });
    expect(await say(host, 'and', 't2')).toBe('c');
  });

  test('replicas do not acquire the conversations that they start', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['one']), options: { isReplica: true } });
    await start(host);
    expect(await store.peek('c')).toMatchObject({ epoch: 0 });
    expect(await say(host, 'hi', 't1')).toBe('one');
  });

  test('a late answer of the store does not end a running turn', async () => {
    const store = new MemoryStore();
    const hold = gate();
    const model = scriptedModel([['a', hold, 'b'], 'c']);
    await start(hostOf({ store, model }));
    // This process has not loaded the conversation, so the turns look it up in the store.
    const host = hostOf({ store, model });
    const look = store.peek.bind(store);
    const late = Promise.withResolvers<void>();
    store.peek = async (id, turnId) => {
      const peek = await look(id, turnId);
      if (turnId === 't2') await late.promise;
      return peek;
    };
    const second = say(host, 'and', 't2');
    const first = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't1' });
    await hold.reached;
    late.resolve();
    await settle();
    hold.open();
    expect(await first.outcome).toMatchObject({ state: 'completed', text: 'ab' });
    expect(await second).toBe('c');
    expect(kinds(await journal(store))).not.toContain('turn_resumed');
    expect(model.count).toBe(2);
  });

  test('under `interrupt` a superseded turn is cancelled after a crash too', async () => {
    const first = new MemoryStore();
    const hold = gate();
    const stubborn: TurnRunner = {
      modelName: 'stubborn',
      async run({ emitText }) {
        await emitText('half', { from: 'runner' });
        await hold.reached;
        return new Promise(() => {});
      },
    };
    const crashing = hostOf({ store: first, runner: stubborn });
    await start(crashing, 'c', { turnPolicy: 'interrupt' });
    const answerTo = { replyTo: '__rpc__@/x', callId: 'call', isStream: false };
    await crashing.turn({ conversationId: 'c', userMessage: 'old', turnId: 't1', answerTo });
    await crashing.turn({ conversationId: 'c', userMessage: 'new', turnId: 't2', answerTo });
    hosts.pop();
    await first.close();
    const recovered: RecoveredTurn[] = [];
    const store = new MemoryStore({ sharedWith: first });
    const model = scriptedModel(['answer']);
    const host = hostOf({ store, model, onRecovered: (turn) => recovered.push(turn) });
    await host.recover();
    await vi.waitFor(() => expect(recovered).toHaveLength(2));
    expect(recovered.map(({ turnId, outcome }) => [turnId, outcome])).toMatchObject([
      ['t1', { state: 'cancelled', error: { code: 'TURN_CANCELLED' } }],
      ['t2', { state: 'completed', text: 'answer' }],
    ]);
    expect(model.count).toBe(1);
  });

  test('a late answer of the store does not reopen a conversation that has ended', async () => {
    const store = new MemoryStore();
    const model = scriptedModel(['a']);
    const host = hostOf({ store, model });
    await start(host);
    await say(host, 'hi', 't1');
    const look = store.peek.bind(store);
    const late = Promise.withResolvers<void>();
    store.peek = async (id, turnId) => {
      const peek = await look(id, turnId);
      if (turnId === 't2') await late.promise;
      return peek;
    };
    await host.close();
    const next = hostOf({ store, model });
    const second = say(next, 'and', 't2');
    await next.end('c');
    late.resolve();
    await expect(second).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    expect(await next.reads.get('c')).toMatchObject({ state: 'completed', turns: 1 });
  });

  test('a caller that waits for the end does not miss one during the query of the store', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel([]) });
    await start(host);
    const look = store.peek.bind(store);
    const late = Promise.withResolvers<void>();
    store.peek = async (id, turnId) => {
      const peek = await look(id, turnId);
      await late.promise;
      return peek;
    };
    const ended = host.whenEnded('c', new AbortController().signal);
    await settle();
    store.peek = look;
    await host.end('c');
    late.resolve();
    expect(await ended).toBe(true);
  });

  test('a turn that waits when the task is completed does not reopen it', async () => {
    const store = new MemoryStore();
    const hold = Promise.withResolvers<void>();
    const runs: string[] = [];
    const finishing: TurnRunner = {
      modelName: 'finishing',
      async run({ userMessage, emitText }) {
        runs.push(userMessage);
        await emitText('x', { from: 'runner' });
        await hold.promise;
        return {
          usage: noUsage(),
          model: 'm',
          ...(userMessage === 'last' ? { taskState: 'completed' as const } : {}),
        };
      },
    };
    const host = hostOf({ store, runner: finishing });
    await start(host);
    const last = await host.turn({ conversationId: 'c', userMessage: 'last', turnId: 't1' });
    const waiting = await host.turn({ conversationId: 'c', userMessage: 'more', turnId: 't2' });
    hold.resolve();
    expect(await last.outcome).toMatchObject({ state: 'completed' });
    expect(await waiting.outcome).toMatchObject({ state: 'failed', error: { code: 'CONVERSATION_UNKNOWN' } });
    expect(runs).toEqual(['last']);
    expect(await host.reads.get('c')).toMatchObject({ state: 'completed' });
  });

  test('the turn of a dead process is resumed also where an old copy of its conversation is in memory', async () => {
    const clock = new ManualClock();
    const one = new MemoryStore({ clock });
    const two = new MemoryStore({ clock, sharedWith: one });
    const hold = gate();
    const living = hostOf({ store: one, clock, model: scriptedModel(['first', 'second']) });
    await living.open();
    await start(living);
    await say(living, 'a', 't1');
    const crashing = hostOf({ store: two, clock, model: scriptedModel([[hold]]) });
    await crashing.turn({ conversationId: 'c', userMessage: 'b', turnId: 't2' });
    await hold.reached;
    hosts.pop();
    await two.close();
    await clock.run(15_000, 1_000);
    expect(kinds(await journal(one)).filter((kind) => kind === 'turn_completed')).toHaveLength(2);
  });

  test('the messages of a conversation are those of the store, also when it was removed or another process continued it', async () => {
    const one = new MemoryStore();
    const two = new MemoryStore({ sharedWith: one });
    const first = hostOf({ store: one, model: scriptedModel(['x']) });
    const second = hostOf({ store: two, model: scriptedModel(['y']) });
    await start(first);
    await say(first, 'a', 't1');
    await say(second, 'b', 't2');
    expect((await first.reads.messages('c')).map((message) => message.content)).toEqual(['a', 'x', 'b', 'y']);
    await one.remove('c');
    await expect(second.reads.messages('c')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  });

  test('a conversation that was removed and started again under its id can be ended', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['x']) });
    await start(host);
    await say(host, 'a', 't1');
    await store.remove('c');
    await start(host);
    await host.end('c');
    expect(await host.reads.get('c')).toMatchObject({ state: 'completed', turns: 0 });
  });

  test('a resumed turn that is cancelled while waiting still charges calls that may have been billed', async () => {
    const first = new MemoryStore();
    const hold = gate();
    const crashing = hostOf({ store: first, model: scriptedModel([[hold]]) });
    await start(crashing);
    await crashing.turn({ conversationId: 'c', userMessage: 'a', turnId: 't1' });
    await hold.reached;
    hosts.pop();
    await first.close();
    const busy = gate();
    const host = hostOf({
      store: new MemoryStore({ sharedWith: first }),
      model: scriptedModel([[busy]]),
      options: { maxRunning: 1 },
    });
    await start(host, 'd');
    await host.turn({ conversationId: 'd', userMessage: 'b', turnId: 't1' });
    await busy.reached;
    await host.recover();
    expect(await host.cancelTurn('c', 't1')).toBe(true);
    expect(await host.reads.get('c')).toMatchObject({ totals: { spent: { calls: 1 } } });
  });

  test('a turn whose deadline passed before it ran asks no model', async () => {
    const { clock, store } = await timeIsUp();
    const model = scriptedModel(['late']);
    const host = hostOf({ store, model, clock });
    await host.recover();
    await settle();
    await expect(say(host, 'hi', 't')).rejects.toMatchObject({ code: 'TURN_TIMEOUT' });
    expect(model.count).toBe(0);
  });

  test('a turn that hangs in an outdated copy of the conversation does not hold up its successor', async () => {
    const clock = new ManualClock();
    const one = new MemoryStore({ clock });
    const two = new MemoryStore({ clock, sharedWith: one });
    const hold = gate();
    const host = hostOf({ store: one, clock, model: scriptedModel([[hold], 'fresh', 'next']) });
    await start(host);
    const stale = await host.turn({ conversationId: 'c', userMessage: 'a', turnId: 't1' });
    await hold.reached;
    clock.advance(15_001);
    // Another process acquired the conversation and died.
    await two.acquire('c', 15_000);
    await two.close();
    const next = say(host, 'b', 't2');
    await settle();
    expect(await stale.outcome).toMatchObject({ error: { code: 'STORE_CONFLICT', retryable: true } });
    expect(await say(host, 'a', 't1')).toBe('fresh');
    expect(await next).toBe('next');
  });

  test('an outdated copy is loaded again for a reader with a cursor of a later acquisition', async () => {
    const clock = new ManualClock();
    const one = new MemoryStore({ clock });
    const two = new MemoryStore({ clock, sharedWith: one });
    const hold = gate();
    const first = hostOf({ store: one, clock, model: scriptedModel([['old', hold], 'fresh']) });
    await start(first);
    await first.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    clock.advance(1_000);
    await settle();
    clock.advance(15_001);
    const second = hostOf({ store: two, clock, model: scriptedModel([['new', gate()]]) });
    const running = await second.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
    const seen: ConversationEvent[] = [];
    for await (const event of running.follow()) {
      seen.push(event);
      if (textSeen(seen) === 'new') break;
    }
    await two.close();
    hosts.pop();
    const { seq: after } = seen.at(-1)!;
    // Without the cursor the caller gets the copy, which hangs.
    const turn = await first.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't', after });
    for await (const event of turn.follow(after)) seen.push(event);
    expect(textSeen(seen)).toBe('fresh');
    expect(seen.map(({ seq }) => seq)).toEqual(seen.map(({ seq }) => seq).toSorted((a, b) => a - b));
  });

  test('a reader with a cursor that the store never had gets the turn from its beginning', async () => {
    const store = new MemoryStore();
    const host = hostOf({ store, model: scriptedModel(['Hello']) });
    await start(host);
    const whole = await eventsOf(host, 'hi', 't');
    // The store was restored from a backup, which has fewer acquisitions.
    const restarted = [{ type: 'restart', seq: 0, turn_id: 't', keep: 0 }, ...whole];
    expect(await eventsOf(host, 'hi', 't', 9 * 2 ** 32 + 70_000)).toEqual(restarted);
    const later = hostOf({ store: new MemoryStore({ sharedWith: store }), model: scriptedModel([]) });
    expect(await eventsOf(later, 'hi', 't', 9 * 2 ** 32 + 70_000)).toEqual(restarted);
  });

  test('cancelling without an id reaches a turn that waits to run', async () => {
    const busy = gate();
    const host = hostOf({ model: scriptedModel([[busy]]), options: { maxRunning: 1 } });
    await start(host, 'd');
    await start(host);
    await host.turn({ conversationId: 'd', userMessage: 'b', turnId: 't1' });
    await busy.reached;
    const turn = await host.turn({ conversationId: 'c', userMessage: 'a', turnId: 't1' });
    expect(await host.cancelTurn('c')).toBe(true);
    expect(await turn.outcome).toMatchObject({ state: 'cancelled' });
  });
});
