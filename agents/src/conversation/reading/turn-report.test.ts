import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MemoryStore } from '../../store/memory-store.ts';
import type { ConversationStore, JournalEvent } from '../../store/store.ts';
import { callTools, failing, gate, reply, type Scripted, scriptedModel } from '../../testing.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import type { ConversationEvent } from '../conversation.ts';
import { ConversationHost, type HostOptions } from '../host.ts';
import { turnEvent } from '../journal/journal.ts';
import { ConversationBudget } from '../spending.ts';
import { turnReport } from './turn-report.ts';

const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

const look = tool({
  name: 'look',
  description: 'Looks.',
  parameters: z.object({}),
  execute: () => 'seen',
});
const prices = { scripted: { input: 1, output: 2 } };

async function started(replies: readonly Scripted[], options: HostOptions = {}) {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const runner = new ChatTurns({ model: scriptedModel(replies), tools: new ToolSet([look]) });
  const host = new ConversationHost({ runner, store, agent: 'chat@fame.fabric', clock }, options);
  hosts.push(host);
  await host.start({
    id: 'c',
    callId: 's',
    options: { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' },
  });
  return { clock, store, host };
}
const request = { conversationId: 'c', userMessage: 'hi', turnId: 't' };
const eventsOf = (store: ConversationStore): Promise<readonly JournalEvent[]> =>
  store.read('c', { turnId: 't', limit: 500 });

describe('the figures of a turn', () => {
  it('are in the outcome, the last event and the journal', async () => {
    const hold = gate();
    const { clock, store, host } = await started([callTools({ name: 'look', arguments: {} }), [hold, 'ab']], {
      budget: { prices },
    });
    const turn = await host.turn(request);
    const live: ConversationEvent[] = [];
    const following = (async () => {
      for await (const event of turn.follow()) live.push(event);
    })();
    await hold.reached;
    clock.advance(250);
    hold.open();
    const outcome = await turn.outcome;
    expect(outcome).toEqual({
      state: 'completed',
      text: 'ab',
      model: 'scripted',
      finish: 'stop',
      usage: { prompt_tokens: 20, completion_tokens: 10, total_tokens: 30 },
      cost: { amount: 0.000_04, currency: 'USD' },
      first_token_ms: 0,
      duration_ms: 250,
    });
    await following;
    const { state: _, ...figures } = outcome;
    expect(live.at(-1)).toMatchObject({ type: 'done', turn_id: 't', ...figures });
    expect(turnEvent((await eventsOf(store)).at(-1)!)).toEqual(live.at(-1));
    expect(await store.record('c')).toMatchObject({
      totals: { cost: { amount: 0.000_04, currency: 'USD' } },
    });
  });

  it('count the time to the first token from the acceptance of the turn', async () => {
    const hold = gate();
    const { clock, host } = await started([[hold, 'a']]);
    const turn = await host.turn(request);
    await hold.reached;
    clock.advance(40);
    hold.open();
    expect(await turn.outcome).toMatchObject({ first_token_ms: 40, cost: 'unknown' });
  });

  it('keep the first token of an earlier process', async () => {
    const hold = gate();
    const first = await started([callTools({ name: 'look', arguments: {} }), [hold]]);
    await first.host.turn(request);
    await hold.reached;
    first.clock.advance(900);
    await first.host.close();
    const { clock } = first;
    const store = new MemoryStore({ sharedWith: first.store, clock });
    const runner = new ChatTurns({ model: scriptedModel(['late']), tools: new ToolSet([look]) });
    const next = new ConversationHost({ runner, store, agent: 'chat@fame.fabric', clock });
    hosts.push(next);
    clock.advance(100);
    expect(await (await next.turn(request)).outcome).toMatchObject({
      text: 'late',
      first_token_ms: 0,
      duration_ms: 1_000,
    });
  });

  it('have the currency of the prices', async () => {
    const { host } = await started(['ab'], {
      budget: { prices: { 'script*': { input: 1, output: 2 } }, currency: 'EUR' },
    });
    const outcome = await (await host.turn(request)).outcome;
    expect(outcome).toMatchObject({ cost: { amount: 0.000_02, currency: 'EUR' } });
    expect(() => new ConversationBudget({ prices, currency: 'EUR', turn: { maxUsd: 1 } })).toThrow(
      /limit in USD, and the prices are in EUR/,
    );
  });

  it('have an unknown cost without a usage report, and the finish of the last reply', async () => {
    const { host } = await started([reply('ab', { finish: 'length', usage: null })], { budget: { prices } });
    expect(await (await host.turn(request)).outcome).toMatchObject({ finish: 'length', cost: 'unknown' });
  });
});

describe('the report of a turn', () => {
  it('has its steps with the calls of their replies', async () => {
    const { store, host } = await started([callTools({ name: 'look', arguments: {} }, { text: 'x' }), 'ab'], {
      budget: { prices },
    });
    await (await host.turn(request)).outcome;
    const report = turnReport('c', await eventsOf(store));
    expect(report).toMatchObject({
      conversation_id: 'c',
      turn_id: 't',
      state: 'completed',
      text: 'x\nab',
      finish: 'stop',
      first_token_ms: 0,
      duration_ms: 0,
      model: 'scripted',
      usage: { total_tokens: 30 },
      steps: [
        {
          step: 1,
          model: 'scripted',
          finish: 'tool_calls',
          usage: { total_tokens: 15 },
          cost: { amount: 0.000_02, currency: 'USD' },
          digest: expect.stringMatching(/^[0-9a-f]{64}$/),
          calls: [{ id: expect.any(String), name: 'look', ok: true }],
        },
        { step: 2, finish: 'stop', calls: [] },
      ],
    });
    expect(report.ended_at).toBe(report.accepted_at);
    expect(report).not.toHaveProperty('error');
  });

  it('has the text and the figures of an open turn so far', async () => {
    const hold = gate();
    const { clock, store, host } = await started([
      callTools({ name: 'look', arguments: {} }, { text: 'x' }),
      ['ab', hold],
    ]);
    await host.turn(request);
    await hold.reached;
    clock.advance(2_000);
    await settle();
    expect(turnReport('c', await eventsOf(store))).toMatchObject({
      state: 'open',
      ended_at: null,
      duration_ms: null,
      finish: null,
      first_token_ms: 0,
      text: 'x\nab',
      usage: { total_tokens: 15 },
      cost: 'unknown',
      model: 'scripted',
      steps: [{ finish: 'tool_calls' }, { finish: null, usage: null }],
    });
  });

  it('has the error of a failed turn', async () => {
    const { store, host } = await started([failing(new Error('broken'), 'part')]);
    await (await host.turn(request)).outcome;
    expect(turnReport('c', await eventsOf(store))).toMatchObject({
      state: 'failed',
      finish: null,
      text: 'part',
      error: { code: 'INTERNAL', retryable: false },
      steps: [{ finish: null }],
    });
  });
});

describe('a report that would not fit one envelope', () => {
  const at = 1;
  const accepted: JournalEvent = {
    kind: 'turn_accepted',
    seq: 1,
    cursor: 1,
    turnId: 't',
    at,
    body: { user_message: 'hi', reply_to: '', corr_id: '', stream: false, deadline: 2 },
  };
  const fitsEnvelope = (report: object): boolean => Buffer.byteLength(JSON.stringify(report)) < 262_144;

  it('leaves out the arguments of questions first', () => {
    const questions = Array.from(
      { length: 10 },
      (_, i): JournalEvent => ({
        kind: 'approval_requested',
        seq: i + 2,
        cursor: i + 2,
        turnId: 't',
        at,
        body: {
          call_id: `${i}`,
          name: 'pay',
          kind: 'tool',
          args: { note: 'x'.repeat(30_000) },
          step: 1,
          index: i,
        },
      }),
    );
    const whole = turnReport('c', [accepted, ...questions.slice(0, 7)]);
    expect(whole.approvals![6]!.args).toEqual({ note: 'x'.repeat(30_000) });
    expect(whole).not.toHaveProperty('is_cut');
    const report = turnReport('c', [accepted, ...questions]);
    expect(report).toMatchObject({ state: 'input-required', is_cut: true });
    expect(report.approvals!.map(({ call_id, name }) => [call_id, name])).toEqual(
      questions.map((_, i) => [`${i}`, 'pay']),
    );
    expect(report.approvals!.every((approval) => approval.args === undefined)).toBe(true);
    expect(fitsEnvelope(report)).toBe(true);
  });

  it('leaves out the calls of its steps, then the end of a text full of escapes', () => {
    const tool_calls = Array.from({ length: 128 }, (_, i) => ({
      id: `call-${i}`,
      type: 'function',
      function: { name: 'n'.repeat(64), arguments: '{}' },
    }));
    const steps = Array.from({ length: 20 }, (_, i): JournalEvent[] => {
      const place = { turnId: 't', at, seq: 2 * i + 2, cursor: 2 * i + 2 };
      const message = { role: 'assistant', content: null, tool_calls };
      return [
        { ...place, kind: 'model_called', body: { step: i + 1, model: 'm', messages: 1, digest: 'd' } },
        {
          ...place,
          kind: 'model_replied',
          body: { step: i + 1, model: 'm', message, finish: 'stop', usage: null },
        },
      ];
    }).flat();
    const end = (text: string): JournalEvent => ({
      kind: 'turn_completed',
      seq: 99,
      cursor: 99,
      turnId: 't',
      at,
      body: { text, whole_chars: text.length, usage: {}, model: 'm', in_history: true },
    });
    const report = turnReport('c', [accepted, ...steps, end('Hello')]);
    expect(report).toMatchObject({ text: 'Hello', is_cut: true });
    expect(report.steps).toHaveLength(20);
    expect(fitsEnvelope(report)).toBe(true);
    const escapes = turnReport('c', [accepted, end('\u0001'.repeat(65_536))]);
    expect(escapes).toMatchObject({ text: '\u0001'.repeat(16_384), is_cut: true });
    expect(fitsEnvelope(escapes)).toBe(true);
  });
});
