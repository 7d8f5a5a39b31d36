import { settle } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ModelRequest, ToolCall, ToolSpec } from '../model/model.ts';
import { wireMessages } from '../model/openai/message-form.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ConversationStore } from '../store/store.ts';
import { CrashingStore } from '../testing/crash-anywhere.ts';
import { checkTranscript } from '../testing/transcript-validator.ts';
import {
  callTools,
  failing,
  gate,
  type Scripted,
  type ScriptedModel,
  type ScriptReply,
  scriptedModel,
} from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import type { TurnOptions } from '../turn/turn-options.ts';
import type { TurnOutcome } from './conversation.ts';
import { ConversationHost, type HostOptions } from './host.ts';
import type { TurnRequest } from './requests.ts';

const AGENT = 'chat@fame.fabric';
const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

const ran: string[] = [];
const look = tool({
  name: 'look',
  description: 'Looks.',
  parameters: z.object({ at: z.string() }),
  execute: ({ at }) => {
    ran.push(at);
    return `saw ${at}`;
  },
});
const foreign = (name: string): ToolSpec => ({
  type: 'function',
  function: { name, parameters: { type: 'object', properties: {} } },
});
const options: TurnOptions = { tools: [foreign('open'), foreign('close')] };

function hostOf(model: ScriptedModel, store: ConversationStore = new MemoryStore(), more: HostOptions = {}) {
  const runner = new ChatTurns({ model, tools: new ToolSet([look]) });
  const host = new ConversationHost({ runner, store, agent: AGENT }, more);
  hosts.push(host);
  return host;
}
const begin = (host: ConversationHost, maxHistoryLength = 10) =>
  host.start({
    id: 'c',
    callId: 's',
    options: { systemPrompt: 'Be brief.', maxHistoryLength, turnPolicy: 'queue' },
  });
const run = async (
  host: ConversationHost,
  turnId: string,
  userMessage: string,
  more: Partial<TurnRequest> = {},
): Promise<TurnOutcome> =>
  (await host.turn({ conversationId: 'c', turnId, userMessage, options, ...more })).outcome;
const callsOf = (outcome: TurnOutcome): readonly ToolCall[] =>
  outcome.state === 'completed' ? (outcome.tool_calls ?? []) : [];
const answersTo = (outcome: TurnOutcome, content = 'done') =>
  callsOf(outcome).map(({ id }) => ({ tool_call_id: id, content }));

const mixed = () =>
  callTools([
    { name: 'open', arguments: { door: 1 } },
    { name: 'look', arguments: { at: 'it' } },
    { name: 'close', arguments: {} },
  ]);

describe('tools of the caller', () => {
  it('are handed out after the agent has made its own calls, and their results continue the turn', async () => {
    const model = scriptedModel([mixed(), 'The door is open.']);
    const host = hostOf(model);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    expect(first).toMatchObject({
      state: 'completed',
      finish: 'tool_calls',
      tool_calls: [
        { type: 'function', function: { name: 'open', arguments: '{"door":1}' } },
        { type: 'function', function: { name: 'close', arguments: '{}' } },
      ],
    });
    expect(await host.reads.get('c')).toMatchObject({ state: 'input-required' });
    const second = await run(host, 't2', '', { toolResults: answersTo(first).toReversed() });
    expect(second).toMatchObject({ text: 'The door is open.', finish: 'stop' });
    expect(second).not.toHaveProperty('tool_calls');
    expect(await host.reads.get('c')).toMatchObject({ state: 'working' });
    const [opened, closed] = callsOf(first).map(({ id }) => id);
    expect(model.requests[1]!.messages.slice(1)).toEqual([
      { role: 'user', content: 'open the door' },
      expect.objectContaining({ role: 'assistant' }),
      { role: 'tool', tool_call_id: opened, content: 'done' },
      expect.objectContaining({ role: 'tool', content: 'saw it' }),
      { role: 'tool', tool_call_id: closed, content: 'done' },
    ]);
    expect(model.requests[0]!.tools!.map((one) => one.function.name)).toEqual(['look', 'open', 'close']);
    model.done();
  });

  it('may be answered together with a new message', async () => {
    const model = scriptedModel([mixed(), 'Fine.']);
    const host = hostOf(model);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    await run(host, 't2', 'and hurry', { toolResults: answersTo(first) });
    expect(model.requests[1]!.messages.at(-1)).toEqual({ role: 'user', content: 'and hurry' });
    model.done();
  });

  it('need their results: a turn without them, with others or with one twice is refused', async () => {
    const model = scriptedModel([mixed(), 'Fine.']);
    const host = hostOf(model);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    const open = callsOf(first).map(({ id }) => id);
    const good = answersTo(first);
    for (const [toolResults, fault] of [
      [[], `Answer ${open.join(', ')}.`],
      [good.slice(1), `Answer ${open[0]}.`],
      [[...good, { tool_call_id: 'other', content: '' }], '"other" is not an open call'],
      [[...good, good[0]!], `"${open[0]}" is answered twice`],
    ] as const) {
      await expect(run(host, 't2', 'go on', { toolResults })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining(fault),
        details: { calls: open },
      });
    }
    await expect(run(host, 't2', '', { toolResults: good })).resolves.toMatchObject({ text: 'Fine.' });
    await expect(run(host, 't3', '', { toolResults: good })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      details: { calls: [] },
    });
    model.done();
  });

  it('fail a turn that waited behind the one that called them, and still need their results', async () => {
    const hold = gate();
    const model = scriptedModel([{ ...mixed(), steps: [hold, ...mixed().steps] }, 'Fine.']);
    const host = hostOf(model, new MemoryStore(), { failedTurns: 'keep' });
    await begin(host);
    const first = await host.turn({ conversationId: 'c', turnId: 't1', userMessage: 'open it', options });
    await hold.reached;
    const second = await host.turn({ conversationId: 'c', turnId: 't2', userMessage: 'hello?' });
    hold.open();
    const outcome = await first.outcome;
    expect(await second.outcome).toMatchObject({ state: 'failed', error: { code: 'PARAMS_INVALID' } });
    await expect(run(host, 't3', '', { toolResults: answersTo(outcome) })).resolves.toMatchObject({
      text: 'Fine.',
    });
    model.done();
  });

  it('join a turn only with the same options and results', async () => {
    const model = scriptedModel([mixed(), 'Fine.']);
    const store = new MemoryStore();
    const host = hostOf(model, store);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    const results = answersTo(first);
    await run(host, 't2', '', { toolResults: results });
    const other = hostOf(scriptedModel([]), new MemoryStore({ sharedWith: store }));
    for (const one of [host, other]) {
      expect(await run(one, 't1', 'open the door')).toEqual(first);
      expect(await run(one, 't2', '', { toolResults: results })).toMatchObject({ text: 'Fine.' });
      for (const changed of [
        { toolResults: answersTo(first, 'no') },
        { toolResults: results, options: {} },
      ]) {
        await expect(run(one, 't2', '', changed)).rejects.toMatchObject({ code: 'TURN_CONFLICT' });
      }
    }
  });

  it('may be answered in another process that has an older copy of the conversation in memory', async () => {
    const store = new MemoryStore();
    const a = hostOf(scriptedModel(['Hello.', 'Fine.']), store, { leaseMs: 1 });
    const b = hostOf(scriptedModel([mixed()]), new MemoryStore({ sharedWith: store }), { leaseMs: 1 });
    await begin(a);
    await run(a, 't0', 'hi');
    const first = await run(b, 't1', 'open the door');
    await expect(run(a, 't2', '', { toolResults: answersTo(first) })).resolves.toMatchObject({
      text: 'Fine.',
    });
  });

  it('receive only calls with valid arguments, and the model receives a fault for each of the others', async () => {
    const model = scriptedModel([
      callTools({ name: 'open', arguments: '{"door":' }),
      callTools([
        { name: 'open', arguments: '[1]' },
        { name: 'close', arguments: {} },
      ]),
      'Fine.',
    ]);
    const host = hostOf(model);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    expect(callsOf(first)).toMatchObject([{ function: { name: 'close', arguments: '{}' } }]);
    expect(model.requests[1]!.messages.at(-1)).toMatchObject({
      role: 'tool',
      content: expect.stringContaining('invalid_json'),
    });
    await run(host, 't2', '', { toolResults: answersTo(first) });
    expect(model.requests[2]!.messages.at(-2)).toMatchObject({
      content: expect.stringContaining('invalid_args'),
    });
    model.done();
  });

  it('keep the question and the calls when the previous turn is out of the window', async () => {
    const model = scriptedModel([mixed(), mixed(), mixed(), 'Fine.', 'Hello.']);
    const store = new MemoryStore();
    const host = hostOf(model, store);
    await begin(host, 1);
    let last = await run(host, 't1', 'open the doors');
    for (const turnId of ['t2', 't3', 't4'])
      last = await run(host, turnId, '', { toolResults: answersTo(last) });
    expect(last).toMatchObject({ text: 'Fine.' });
    await run(host, 't5', 'hi');
    expect(model.requests[4]!.messages.map(({ role }) => role)).toEqual([
      'system',
      'user',
      'assistant',
      ...['tool', 'tool', 'tool'],
      'assistant',
      'user',
    ]);
    model.done();
    const reloaded = scriptedModel(['Again.']);
    const next = hostOf(reloaded, new MemoryStore({ sharedWith: store }));
    await next
      .turn({ conversationId: 'c', turnId: 't6', userMessage: 'once more' })
      .then((turn) => turn.outcome);
    expect(reloaded.requests[0]!.messages.map(({ role }) => role)).toEqual([
      'system',
      'user',
      'assistant',
      'user',
    ]);
    reloaded.done();
  });

  it('may be open in the messages that a conversation starts with, and in a fork', async () => {
    const model = scriptedModel([mixed(), 'Fine.', 'Forked.', 'Started.']);
    const host = hostOf(model);
    await begin(host);
    const first = await run(host, 't1', 'open the door');
    await run(host, 't2', '', { toolResults: answersTo(first) });
    const settings = { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' as const };
    await host.fork({ conversationId: 'c', at: 't1', id: 'f', callId: 'f' });
    const call = { id: 'x', type: 'function' as const, function: { name: 'open', arguments: '{}' } };
    await host.start({
      id: 's',
      callId: 's2',
      options: settings,
      messages: [
        { role: 'user', content: 'open it' },
        { role: 'assistant', content: null, tool_calls: [call] },
      ],
    });
    for (const [conversationId, toolResults, text] of [
      ['f', answersTo(first), 'Forked.'],
      ['s', [{ tool_call_id: 'x', content: 'done' }], 'Started.'],
    ] as const) {
      await expect(run(host, 'u', 'no results', { conversationId })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
      });
      expect(await run(host, 'u', '', { conversationId, toolResults })).toMatchObject({ text });
    }
    model.done();
  });

  it('fail the turn if their calls do not fit the envelope that returns them', async () => {
    const model = scriptedModel([
      callTools({ name: 'open', arguments: { door: 'x'.repeat(240_000) } }),
      callTools({ name: 'open', arguments: { door: 'x'.repeat(200_000) } }),
    ]);
    const host = hostOf(model);
    await begin(host);
    expect(await run(host, 't1', 'open the door')).toMatchObject({
      state: 'failed',
      error: { code: 'BUFFER_OVERFLOW', message: expect.stringContaining('larger than 229376 bytes') },
    });
    expect(callsOf(await run(host, 't2', 'open the door'))).toHaveLength(1);
    model.done();
  });

  it('need a conversation that remembers the previous turn', async () => {
    const host = hostOf(scriptedModel([]));
    await begin(host, 0);
    await expect(run(host, 't1', 'open')).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining('max_history_length 0'),
    });
  });

  it('lose no call and repeat none, wherever the process crashes', async () => {
    const replies = (): ScriptReply[] => [
      { ...mixed(), when: ({ messages }) => messages.at(-1)!.role === 'user', times: Infinity },
      { steps: ['Fine.'], when: ({ messages }) => messages.at(-1)!.role === 'tool', times: Infinity },
    ];
    const both = async (host: ConversationHost) => {
      const first = await run(host, 't1', 'open the door');
      const second = await run(host, 't2', '', { toolResults: answersTo(first) });
      return { first, second };
    };
    const live = async (crashAt: number, isDurable: boolean) => {
      ran.length = 0;
      const models = [scriptedModel(replies()), scriptedModel(replies())];
      const store = new CrashingStore();
      const crashing = hostOf(models[0]!, store);
      await begin(crashing);
      store.eventsLeft = crashAt;
      store.isDurable = isDurable;
      void both(crashing).catch(() => undefined);
      for (let i = 0; i < 12; i++) await settle();
      hosts.splice(hosts.indexOf(crashing), 1);
      await store.close();
      const survivor = new CrashingStore({ sharedWith: store });
      const next = hostOf(models[1]!, survivor);
      await next.recover();
      const outcomes = await both(next);
      const events = await survivor.read('c', { limit: 1_000 });
      for (const model of models) model.assertValid();
      return { ...outcomes, events };
    };
    const whole = await live(Number.POSITIVE_INFINITY, true);
    for (const isDurable of [false, true]) {
      for (let crash = 1; crash < whole.events.length; crash++) {
        const { first, second, events } = await live(crash, isDurable);
        const where = `crash at event ${crash}, ${isDurable ? 'durable' : 'lost'}`;
        const count = (kind: string) => events.filter((event) => event.kind === kind).length;
        expect([count('turn_accepted'), count('turn_completed'), count('tool_finished')], where).toEqual([
          2, 2, 1,
        ]);
        expect(callsOf(first), where).toEqual(callsOf(whole.first));
        expect(second, where).toMatchObject({ text: 'Fine.', finish: 'stop' });
        expect(ran.length, where).toBeLessThanOrEqual(2);
      }
    }
  }, 30_000);
});

describe('any sequence of own and foreign calls', () => {
  type Move = {
    calls: readonly ('look' | 'open' | 'close' | 'unknown' | 'broken')[];
    fails: boolean;
    says: boolean;
    restarts: boolean;
  };
  const move: fc.Arbitrary<Move> = fc.record({
    calls: fc.array(fc.constantFrom('look', 'open', 'close', 'unknown', 'broken'), { maxLength: 4 }),
    fails: fc.boolean(),
    says: fc.boolean(),
    restarts: fc.boolean(),
  });
  const scripted = ({ calls }: Move): Scripted =>
    calls.length === 0
      ? 'Fine.'
      : callTools(
          calls.map((name) =>
            name === 'broken'
              ? { name: 'open', arguments: '[1]' }
              : { name, arguments: name === 'look' ? { at: 'x' } : {} },
          ),
        );

  async function play(moves: readonly Move[], maxHistoryLength: number, restarts: boolean) {
    const requests: unknown[] = [];
    let store = new MemoryStore();
    let model = scriptedModel([]);
    let host = hostOf(model, store);
    await begin(host, maxHistoryLength);
    let open: TurnOutcome | undefined;
    for (const [i, one] of moves.entries()) {
      if (one.restarts && restarts) {
        requests.push(...model.requests);
        await host.close();
        store = new MemoryStore({ sharedWith: store });
        model = scriptedModel([]);
        host = hostOf(model, store);
      }
      const toolResults = open ? answersTo(open) : [];
      const userMessage = one.says || toolResults.length === 0 ? `message ${i}` : '';
      if (one.fails) {
        model.push(failing(new Error('cut')));
        expect((await run(host, `f${i}`, userMessage, { toolResults })).state).toBe('failed');
      }
      model.push(scripted(one));
      // A reply that calls no tool of the caller continues the turn; the script then ends it.
      if (one.calls.length > 0 && !one.calls.some((name) => name === 'open' || name === 'close')) {
        model.push('Fine.');
      }
      const outcome = await run(host, `t${i}`, userMessage, { toolResults });
      expect(outcome.state).toBe('completed');
      const handedOut = callsOf(outcome);
      expect(handedOut.map((call) => call.function.name)).toEqual(
        one.calls.filter((name) => name === 'open' || name === 'close'),
      );
      open = handedOut.length > 0 ? outcome : undefined;
      model.assertValid();
    }
    requests.push(...model.requests);
    return requests;
  }

  it('leaves a history that model servers accept, the same in memory and from the journal', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(move, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 4 }),
        async (moves, maxHistoryLength) => {
          const inMemory = await play(moves, maxHistoryLength, false);
          for (const request of inMemory as ModelRequest[]) {
            const messages = wireMessages(request.messages, 'm');
            expect(checkTranscript({ ...request, messages })).toEqual([]);
          }
          expect(await play(moves, maxHistoryLength, true)).toEqual(inMemory);
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);
});
