import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Serving } from '../../agent/agent-types.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { ConversationStore, JournalEvent } from '../../store/store.ts';
import { FakeLink } from '../../testing/fake-link.ts';
import { callTools, gate, type Scripted, scriptedModel } from '../../testing.ts';
import type { ApprovalRule } from '../../tools/approval-rule.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import type { TurnRunner } from '../../turn/turn.ts';
import { ChatAgent } from '../chat-agent.ts';
import type { ConversationEvent } from '../conversation.ts';
import { ConversationHost, type HostOptions } from '../host.ts';
import type { LiveTurn } from '../live-turn.ts';
import { turnReport } from '../reading/turn-report.ts';

const AGENT = 'chat@fame.fabric';
const DAY_MS = 86_400_000;
const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

interface Setup {
  store?: ConversationStore;
  replies?: readonly Scripted[];
  clock?: ManualClock;
  options?: HostOptions;
  approval?: ApprovalRule<{ usd: number }>;
  eager?: boolean;
  paid?: number[];
}
const ask = (...usd: number[]) =>
  callTools(usd.map((amount) => ({ name: 'pay', arguments: { usd: amount } })));
/** Creates a process of the agent. Its tool `pay` records its runs in `paid`. */
function hostOf({ store = new MemoryStore(), replies = [], clock, options, paid = [], ...rest }: Setup) {
  const pay = tool({
    name: 'pay',
    description: 'Pays',
    parameters: z.object({ usd: z.number(), why: z.string().optional() }),
    idempotent: false,
    approval: rest.approval ?? 'always',
    eager: rest.eager,
    execute({ usd }) {
      paid.push(usd);
      return `paid ${usd}`;
    },
  });
  const model = scriptedModel(replies);
  const runner = new ChatTurns({ model, tools: new ToolSet([pay]) });
  const host = new ConversationHost({ runner, store, agent: AGENT, ...(clock ? { clock } : {}) }, options);
  hosts.push(host);
  return { host, model };
}

const start = (host: ConversationHost, more: object = {}, principal?: string) =>
  host.start({
    id: 'c',
    callId: 'start',
    principal,
    options: { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue', ...more },
  });
const send = (host: ConversationHost, userMessage = 'pay', turnId = 't'): Promise<LiveTurn> =>
  host.turn({ conversationId: 'c', userMessage, turnId });
const journal = (store: ConversationStore): Promise<readonly JournalEvent[]> =>
  store.read('c', { limit: 10_000 });
const kinds = async (store: ConversationStore): Promise<string[]> =>
  (await journal(store)).map(({ kind }) => kind).filter((kind) => kind !== 'text');

/** The questions of a turn, once it waits for `count` of them. */
async function asked(turn: LiveTurn, count = 1) {
  await expect.poll(() => turn.approvals.pending.length, { interval: 1 }).toBe(count);
  await settle();
  return turn.approvals.pending.map(({ request }) => request);
}
const answer = (host: ConversationHost, callId: string, approve: boolean, more: object = {}) =>
  host.answerApproval({ conversationId: 'c', callId, approve, principal: 'local', ...more });

const code = (expected: string) => expect.objectContaining({ code: expected });

async function eventsOf(turn: LiveTurn): Promise<ConversationEvent[]> {
  const events: ConversationEvent[] = [];
  for await (const event of turn.follow()) events.push(event);
  return events;
}

describe('a tool that needs approval', () => {
  test('runs once when it is approved, and its question and answer are in the journal and in the stream', async () => {
    const store = new MemoryStore();
    const paid: number[] = [];
    const { host, model } = hostOf({ store, paid, replies: [ask(5), 'Done.'] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    expect(question).toMatchObject({ kind: 'tool', name: 'pay', args: { usd: 5 } });
    expect(paid).toEqual([]);
    expect(await host.reads.get('c')).toMatchObject({ state: 'input-required' });
    const events = (await journal(store)).filter(({ turnId }) => turnId === 't');
    expect(turnReport('c', events)).toMatchObject({
      state: 'input-required',
      approvals: [{ call_id: question!.id, kind: 'tool', name: 'pay', args: { usd: 5 } }],
    });

    await answer(host, question!.id, true, { note: 'fine' });
    expect((await journal(store)).some(({ kind }) => kind === 'approval_answered')).toBe(true);
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'Done.' });
    expect(paid).toEqual([5]);
    expect(await host.reads.get('c')).toMatchObject({ state: 'working' });
    expect(await kinds(store)).toEqual([
      'conversation_started',
      'turn_accepted',
      'model_called',
      'model_replied',
      'approval_requested',
      'approval_answered',
      'tool_started',
      'tool_finished',
      'model_called',
      'model_replied',
      'turn_completed',
    ]);
    const streamed = await eventsOf(turn);
    expect(streamed.map(({ type }) => type)).toEqual([
      'approval',
      'approval_answer',
      'tool_call',
      'tool_result',
      'text',
      'done',
    ]);
    expect(streamed[1]).toMatchObject({ id: question!.id, approve: true, note: 'fine' });
    model.done();
  });

  test('does not run when it is refused, and the model receives the note', async () => {
    const paid: number[] = [];
    const { host, model } = hostOf({ paid, replies: [ask(5), 'A pity.'] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    await answer(host, question!.id, false, { note: 'too much' });
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'A pity.' });
    expect(paid).toEqual([]);
    const result = model.requests[1]!.messages.at(-1)!;
    expect(result).toMatchObject({ role: 'tool' });
    expect(JSON.parse(result.content!)).toEqual({
      error: { code: 'refused', message: 'A person refused this call: too much' },
    });
    expect((await eventsOf(turn)).map(({ type }) => type)).toEqual([
      'approval',
      'approval_answer',
      'tool_result',
      'text',
      'done',
    ]);
  });

  test('asks only for the arguments that its rule names, and for all if the rule fails', async () => {
    const paid: number[] = [];
    const approval = ({ usd }: { usd: number }): boolean => {
      if (usd === 13) throw new Error('no luck');
      return usd > 10;
    };
    const { host } = hostOf({ paid, approval, replies: [ask(5, 13, 20), 'Done.'] });
    await start(host);
    const turn = await send(host);
    const questions = await asked(turn, 2);
    expect(questions.map(({ args }) => args)).toEqual([{ usd: 13 }, { usd: 20 }]);
    expect(paid).toEqual([5]);
    await answer(host, questions[1]!.id, true);
    await expect.poll(() => paid, { interval: 1 }).toEqual([5, 20]);
    expect(await host.reads.get('c')).toMatchObject({ state: 'input-required' });
    await answer(host, questions[0]!.id, false);
    expect(await turn.outcome).toMatchObject({ state: 'completed' });
    expect(paid).toEqual([5, 20]);
    expect(await host.reads.get('c')).toMatchObject({ state: 'working' });
  });

  test('calls with invalid or very long arguments are not shown to a person', async () => {
    const paid: number[] = [];
    const long = callTools([
      { name: 'pay', arguments: { usd: 'five' } },
      { name: 'pay', arguments: { usd: 5, why: 'x'.repeat(40_000) } },
      { name: 'pay', arguments: '{"usd":' },
    ]);
    const { host, model } = hostOf({ paid, replies: [long, 'Done.'] });
    await start(host);
    const turn = await send(host);
    expect(await turn.outcome).toMatchObject({ state: 'completed' });
    expect(turn.approvals.size).toBe(0);
    const results = model.requests[1]!.messages.slice(-3).map(({ content }) => JSON.parse(content!));
    expect(results.map(({ error }) => error.code)).toEqual(['invalid_args', 'too_large', 'invalid_json']);
    expect(paid).toEqual([]);
  });

  test('an eager tool asks when the reply is recorded', async () => {
    const store = new MemoryStore();
    const paid: number[] = [];
    const { host } = hostOf({ store, paid, eager: true, replies: [ask(5), 'Done.'] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    expect((await kinds(store)).slice(-2)).toEqual(['model_replied', 'approval_requested']);
    await answer(host, question!.id, true);
    expect(await turn.outcome).toMatchObject({ state: 'completed' });
    expect(paid).toEqual([5]);
  });

  test('is answered once: the same answer again has no effect, and another one is refused', async () => {
    const paid: number[] = [];
    const store = new MemoryStore();
    const { host } = hostOf({ store, paid, replies: [ask(5), 'Done.'] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    const { id } = question!;
    const answers = [answer(host, id, true), answer(host, id, true), answer(host, id, false)];
    expect(await Promise.allSettled(answers)).toEqual([
      { status: 'fulfilled', value: undefined },
      { status: 'fulfilled', value: undefined },
      { status: 'rejected', reason: code('APPROVAL_ANSWERED') },
    ]);
    await turn.outcome;
    // Also after the turn has ended, and in another process.
    await host.close();
    const { host: next } = hostOf({ store: new MemoryStore({ sharedWith: store }) });
    await answer(next, id, true);
    await expect(answer(next, id, false)).rejects.toEqual(code('APPROVAL_ANSWERED'));
    await expect(answer(next, id, true, { note: 'x' })).rejects.toEqual(code('APPROVAL_ANSWERED'));
    await expect(answer(next, 'nothing', true)).rejects.toEqual(code('APPROVAL_UNKNOWN'));
    await expect(answer(next, '\ud800', true)).rejects.toEqual(code('PARAMS_INVALID'));
    expect((await kinds(store)).filter((kind) => kind === 'approval_answered')).toHaveLength(1);
    expect(paid).toEqual([5]);
  });

  test('is answered by the principal that started the conversation, or by the local key', async () => {
    const { host } = hostOf({ replies: [ask(5), 'Done.', ask(6), 'Done.'] });
    await start(host, {}, 'ada');
    const turn = await send(host);
    const [question] = await asked(turn);
    const by = (principal: string, id = question!.id) => answer(host, id, true, { principal });
    await expect(by('anonymous')).rejects.toEqual(code('AUTH_FORBIDDEN'));
    await by('ada');
    await turn.outcome;
    const next = await send(host, 'more', 't2');
    const [other] = await asked(next);
    await by('local', other!.id);
    expect(await next.outcome).toMatchObject({ state: 'completed' });
  });
});

describe('a turn that waits for a person', () => {
  test('survives 20 restarts and a day, and runs the tool once when it is approved', async () => {
    const clock = new ManualClock();
    const paid: number[] = [];
    let store = new MemoryStore({ clock });
    const first = hostOf({ store, clock, paid, replies: [ask(5)] });
    await start(first.host);
    const [question] = await asked(await send(first.host));
    await first.host.close();
    for (let n = 0; n < 20; n++) {
      await store.close();
      store = new MemoryStore({ sharedWith: store, clock });
      clock.advance(DAY_MS / 20);
      const { host } = hostOf({ store, clock, paid });
      await host.open();
      // A client that was disconnected asks again, so every second process has the turn in memory.
      if (n % 2 === 0) await asked(await send(host));
      await settle();
      await host.close();
    }
    expect(paid).toEqual([]);
    store = new MemoryStore({ sharedWith: store, clock });
    const { host, model } = hostOf({ store, clock, paid, replies: ['Done.'] });
    await host.open();
    await answer(host, question!.id, true);
    const turn = await send(host);
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'Done.' });
    expect(paid).toEqual([5]);
    model.done();
  });

  test('survives processes that die, without counting them as a crash loop', async () => {
    const paid: number[] = [];
    let store = new MemoryStore();
    const first = hostOf({ store, paid, replies: [ask(5)] });
    await start(first.host);
    const [question] = await asked(await send(first.host));
    for (let n = 0; n < 20; n++) {
      // A dead process makes no further writes.
      await store.close();
      store = new MemoryStore({ sharedWith: store });
      const { host } = hostOf({ store, paid });
      await host.recover();
      await asked(await send(host));
    }
    await store.close();
    store = new MemoryStore({ sharedWith: store });
    const { host } = hostOf({ store, paid, replies: ['Done.'] });
    await answer(host, question!.id, true);
    expect(await (await send(host)).outcome).toMatchObject({ state: 'completed', text: 'Done.' });
    expect(paid).toEqual([5]);
    expect((await kinds(store)).filter((kind) => kind === 'turn_resumed').length).toBeGreaterThan(3);
  });

  test('is released from memory while no caller follows it, and loaded again for the answer', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const paid: number[] = [];
    const { host } = hostOf({ store, clock, paid, replies: [ask(5), 'Done.'] });
    await host.open();
    await start(host);
    const turn = await send(host);
    turn.listeners += 1;
    const [question] = await asked(turn);
    clock.advance(60_000);
    await settle();
    expect(await store.peek('c')).toMatchObject({ isDormant: false });
    turn.listeners -= 1;
    clock.advance(5_000);
    await settle();
    expect(turn.isReleased).toBe(true);
    expect(await store.peek('c')).toMatchObject({ isDormant: true, turn: undefined });
    // The search for unfinished turns does not load it.
    const reads = (await journal(store)).length;
    clock.advance(60_000);
    await settle();
    expect((await journal(store)).length).toBe(reads);
    const other = hostOf({
      store: new MemoryStore({ sharedWith: store, clock }),
      clock,
      paid,
      replies: ['Done.'],
    });
    await answer(other.host, question!.id, true);
    expect(await (await send(other.host)).outcome).toMatchObject({ state: 'completed', text: 'Done.' });
    expect(paid).toEqual([5]);
  });

  test('has no time limit while it waits, and all of it after the answer', async () => {
    const clock = new ManualClock();
    const hold = gate();
    const options = { turnTimeoutMs: 1_000 };
    const { host } = hostOf({ clock, options, replies: [ask(5), [hold]] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    clock.advance(DAY_MS);
    await answer(host, question!.id, true);
    await hold.reached;
    clock.advance(999);
    await settle();
    expect(turn.outcomeHere).toBeUndefined();
    clock.advance(1);
    expect(await turn.outcome).toMatchObject({ state: 'failed', error: code('TURN_TIMEOUT') });
  });

  test.each([
    ['cancel_turn', (host: ConversationHost) => host.cancelTurn('c')],
    ['end_conversation', (host: ConversationHost) => host.end('c')],
  ])('ends with %s, in memory or not', async (_, stop) => {
    for (const isDormant of [false, true]) {
      const clock = new ManualClock();
      const store = new MemoryStore({ clock });
      const paid: number[] = [];
      const { host } = hostOf({ store, clock, paid, replies: [ask(5)] });
      await host.open();
      await start(host);
      const [question] = await asked(await send(host));
      if (isDormant) {
        clock.advance(5_000);
        await settle();
        expect(await store.peek('c')).toMatchObject({ isDormant });
      }
      await stop(host);
      expect((await store.peek('c', 't'))!.turn).toMatchObject({ state: 'cancelled' });
      expect(await host.reads.get('c')).not.toMatchObject({ state: 'input-required' });
      await expect(answer(host, question!.id, true)).rejects.toEqual(code('APPROVAL_UNKNOWN'));
      expect(paid).toEqual([]);
    }
  });

  test('takes no slot of the running turns, and waits for one after the answer', async () => {
    const hold = gate();
    const options = { maxRunning: 1 };
    const { host } = hostOf({ options, replies: [ask(5), [hold, 'Other.'], 'Done.'] });
    await start(host);
    const turn = await send(host);
    const [question] = await asked(turn);
    await host.start({
      id: 'other',
      callId: 'start-other',
      options: { systemPrompt: '', maxHistoryLength: 1, turnPolicy: 'queue' },
    });
    const other = await host.turn({ conversationId: 'other', userMessage: 'hi', turnId: 't' });
    await hold.reached;
    await answer(host, question!.id, true);
    await settle();
    expect(turn.outcomeHere).toBeUndefined();
    hold.open();
    expect(await other.outcome).toMatchObject({ text: 'Other.' });
    expect(await turn.outcome).toMatchObject({ text: 'Done.' });
  });

  test('queue: the next turns wait behind it, with their whole time limit after the answer, also in another process', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const options = { turnTimeoutMs: 1_000 };
    const { host } = hostOf({ store, clock, options, replies: [ask(5)] });
    await start(host);
    const [question] = await asked(await send(host));
    const queued = await send(host, 'next', 't2');
    clock.advance(DAY_MS);
    await settle();
    expect(queued.outcomeHere).toBeUndefined();
    await host.close();
    const next = new MemoryStore({ sharedWith: store, clock });
    const hold = gate();
    const second = hostOf({ store: next, clock, options, replies: ['Done.', [hold, 'Next.']] });
    await answer(second.host, question!.id, true);
    const again = await send(second.host, 'next', 't2');
    await hold.reached;
    clock.advance(900);
    await settle();
    expect(await kinds(next)).toContain('turn_extended');
    hold.open();
    expect(await again.outcome).toMatchObject({ state: 'completed', text: 'Next.' });
  });

  test('queue: a turn behind it runs with its whole time limit when it is cancelled', async () => {
    const clock = new ManualClock();
    const { host } = hostOf({ clock, options: { turnTimeoutMs: 1_000 }, replies: [ask(5), 'Next.'] });
    await start(host);
    await asked(await send(host));
    const queued = await send(host, 'next', 't2');
    clock.advance(DAY_MS);
    await host.cancelTurn('c', 't');
    expect(await queued.outcome).toMatchObject({ state: 'completed', text: 'Next.' });
  });

  test('reject: it is the running turn', async () => {
    const { host } = hostOf({ replies: [ask(5)] });
    await start(host, { turnPolicy: 'reject' });
    await asked(await send(host));
    await expect(send(host, 'next', 't2')).rejects.toEqual(code('TURN_IN_PROGRESS'));
  });

  test('interrupt: the next turn cancels it', async () => {
    const paid: number[] = [];
    const { host } = hostOf({ paid, replies: [ask(5), 'Next.'] });
    await start(host, { turnPolicy: 'interrupt' });
    const turn = await send(host);
    await asked(turn);
    const next = await send(host, 'next', 't2');
    expect(await turn.outcome).toMatchObject({ state: 'cancelled' });
    expect(await next.outcome).toMatchObject({ state: 'completed', text: 'Next.' });
    expect(paid).toEqual([]);
  });

  test('an answer to a question of a dropped record does not count for another call', async () => {
    const paid: number[] = [];
    const store = new MemoryStore();
    const first = hostOf({ store, paid, replies: [ask(5)] });
    await start(first.host);
    const [question] = await asked(await send(first.host));
    await first.host.close();
    // The program of the next process asks its model another question, so the record no longer applies.
    const next = new MemoryStore({ sharedWith: store });
    const pay = tool({
      name: 'pay',
      description: 'Pays',
      parameters: z.object({ usd: z.number() }),
      approval: 'always',
      execute: ({ usd }) => void paid.push(usd),
    });
    const turns = new ChatTurns({ model: scriptedModel([ask(500), 'Done.']), tools: new ToolSet([pay]) });
    const runner: TurnRunner = {
      modelName: 'other',
      run: (turn) => {
        const more = { role: 'assistant' as const, content: 'Think.' };
        return turns.run({ ...turn, messages: [...turn.messages, more] });
      },
    };
    const host = new ConversationHost({ runner, store: next, agent: AGENT });
    hosts.push(host);
    const turn = await send(host);
    await expect.poll(() => turn.approvals.size, { interval: 1 }).toBe(2);
    const [again] = await asked(turn);
    expect(again).toMatchObject({ args: { usd: 500 } });
    expect(again!.id).not.toBe(question!.id);
    await expect(answer(host, question!.id, true)).rejects.toEqual(code('APPROVAL_UNKNOWN'));
    await answer(host, again!.id, true);
    expect(await turn.outcome).toMatchObject({ state: 'completed' });
    expect(paid).toEqual([500]);
  });
});

describe("a used-up budget with on_budget: 'ask'", () => {
  const options: HostOptions = { budget: { turn: { maxModelCalls: 1 } } };
  const free = (): boolean => false;

  test('asks, and an approval adds the limit once more', async () => {
    const store = new MemoryStore();
    const { host } = hostOf({ store, options, approval: free, replies: [ask(1), ask(2), 'Done.'] });
    await start(host, { onBudget: 'ask' });
    const turn = await send(host);
    const [first] = await asked(turn);
    expect(first).toMatchObject({
      kind: 'budget',
      name: 'budget',
      args: { of: 'turn', limit: 1, unit: 'model calls', spent: 1 },
    });
    await answer(host, first!.id, true);
    await expect.poll(() => turn.approvals.size, { interval: 1 }).toBe(2);
    const [second] = await asked(turn);
    expect(second).toMatchObject({ args: { limit: 2, spent: 2 } });
    await answer(host, second!.id, true);
    expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'Done.' });
  });

  test('fails with BUDGET_EXCEEDED when it is refused, or by default', async () => {
    const { host } = hostOf({ options, approval: free, replies: [ask(1)] });
    await start(host, { onBudget: 'ask' });
    const turn = await send(host);
    const [question] = await asked(turn);
    await answer(host, question!.id, false);
    expect(await turn.outcome).toMatchObject({ state: 'failed', error: code('BUDGET_EXCEEDED') });
    expect(await host.reads.get('c')).toMatchObject({ state: 'working' });
    const other = hostOf({ options, approval: free, replies: [ask(1)] });
    await start(other.host);
    expect(await (await send(other.host)).outcome).toMatchObject({ error: code('BUDGET_EXCEEDED') });
  });

  test('asks again for the same call until the limit is enough', async () => {
    const { host } = hostOf({ options: { budget: { turn: { maxTokens: 4 } } }, replies: ['Done.'] });
    await start(host, { onBudget: 'ask' });
    const turn = await send(host, 'a message of some more tokens than the budget has');
    for (let n = 1; turn.outcomeHere === undefined && n < 20; n++) {
      const [question] = turn.approvals.pending;
      if (question) await answer(host, question.request.id, true);
      await settle();
    }
    expect(turn.approvals.size).toBeGreaterThan(1);
    expect(await turn.outcome).toMatchObject({ text: 'Done.' });
  });

  test('an extension of the conversation holds for its next turns, in every process', async () => {
    const store = new MemoryStore();
    const budget = { conversation: { maxModelCalls: 2 } };
    const { host } = hostOf({ store, options: { budget }, replies: ['1', '2', '3'] });
    await start(host, { onBudget: 'ask' });
    for (const id of ['1', '2'])
      expect(await (await send(host, 'hi', id)).outcome).toMatchObject({ text: id });
    const turn = await send(host, 'hi', '3');
    const [question] = await asked(turn);
    expect(question).toMatchObject({ args: { of: 'conversation', limit: 2, spent: 2 } });
    await answer(host, question!.id, true);
    expect(await turn.outcome).toMatchObject({ text: '3' });
    await host.close();
    const next = hostOf({
      store: new MemoryStore({ sharedWith: store }),
      options: { budget },
      replies: ['4'],
    });
    expect(await (await send(next.host, 'hi', '4')).outcome).toMatchObject({ text: '4' });
    const last = await send(next.host, 'hi', '5');
    expect(await asked(last)).toMatchObject([{ args: { limit: 4, spent: 4 } }]);
  });

  test('the question and its answer survive the process', async () => {
    const store = new MemoryStore();
    const first = hostOf({ store, options, approval: free, replies: [ask(1)] });
    await start(first.host, { onBudget: 'ask' });
    const [question] = await asked(await send(first.host));
    await first.host.close();
    const next = new MemoryStore({ sharedWith: store });
    const second = hostOf({ store: next, options, approval: free, replies: [ask(2)] });
    await answer(second.host, question!.id, true);
    const turn = await send(second.host);
    await expect.poll(() => turn.approvals.size, { interval: 1 }).toBe(2);
    const [again] = await asked(turn);
    expect(again).toMatchObject({ args: { limit: 2, spent: 2 } });
    await second.host.close();
    const third = hostOf({
      store: new MemoryStore({ sharedWith: next }),
      options,
      approval: free,
      replies: ['Done.'],
    });
    await answer(third.host, again!.id, true);
    expect(await (await send(third.host)).outcome).toMatchObject({ text: 'Done.' });
  });
});

describe('callers', () => {
  const served: Serving[] = [];
  afterEach(async () => {
    for (const serving of served.splice(0)) await serving.close();
  });

  /** A served agent, and a call of a turn that waits for approval. */
  async function waiting() {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const paid: number[] = [];
    const pay = tool({
      name: 'pay',
      description: 'Pays',
      parameters: z.object({ usd: z.number() }),
      approval: 'always',
      execute({ usd }) {
        paid.push(usd);
      },
    });
    const link = new FakeLink();
    const model = scriptedModel([ask(5), 'Done.']);
    const agent = new ChatAgent({ model, tools: new ToolSet([pay]), store });
    served.push(await agent.serve(link, { clock }));
    const principal = 'ada';
    await link.start(AGENT, 'start_task', { id: 'c' }, { principal }).done;
    const params = { conversation_id: 'c', user_message: 'pay', turn_id: 't' };
    const meta = { 'timeout-ms': 60_000 };
    const first = link.start(AGENT, 'run_turn', params, { principal, meta });
    await expect.poll(() => kinds(store), { interval: 1 }).toContain('approval_requested');
    await settle();
    const { body } = (await journal(store)).find(({ kind }) => kind === 'approval_requested')!;
    const approve = (by: string) =>
      link.start(
        AGENT,
        'answer_approval',
        { conversation_id: 'c', call_id: body.call_id, approve: true },
        { principal: by },
      ).done;
    const again = () => link.start(AGENT, 'run_turn', params, { principal }).done;
    return { clock, store, paid, first, approve, again };
  }

  test.each([
    ['whose call times out', 'timeout'],
    ['that lost its connection', 'link-closed'],
  ])('a caller %s does not cancel the turn', async (_, how) => {
    const { clock, store, paid, first, approve, again } = await waiting();
    if (how === 'timeout') clock.advance(60_000);
    else first.cancel(how);
    await settle();
    expect((await store.peek('c', 't'))!.turn).toMatchObject({ state: 'open' });
    expect(await approve('anonymous')).toMatchObject({ error: { data: { code: 'CONVERSATION_UNKNOWN' } } });
    expect(await approve('ada')).toMatchObject({ result: null });
    expect(await again()).toMatchObject({ result: 'Done.' });
    expect(paid).toEqual([5]);
  });

  test('an agent that stops does not wait for the answer', async () => {
    const { store, paid, first } = await waiting();
    await served.pop()!.drain(60_000);
    expect(await first.done).toMatchObject({ error: { data: { code: 'NODE_GONE', retryable: true } } });
    expect(await store.peek('c', 't')).toMatchObject({ isDormant: true, turn: { state: 'open' } });
    expect(paid).toEqual([]);
  });

  test('a caller that cancels its call cancels the turn', async () => {
    const { store, paid, first, approve } = await waiting();
    first.cancel('left');
    await expect
      .poll(async () => (await store.peek('c', 't'))!.turn!.state, { interval: 1 })
      .toBe('cancelled');
    expect(await approve('ada')).toMatchObject({ error: { data: { code: 'APPROVAL_UNKNOWN' } } });
    expect(paid).toEqual([]);
  });
});
