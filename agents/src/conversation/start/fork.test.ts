import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { FabricError, type Task } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import type { ChatModel, ModelRequest } from '../../model/model.ts';
import { RefineAgent } from '../../refine/refine-agent.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import { openDatabase } from '../../store/sqlite/sqlite-database.ts';
import { SqliteJournal } from '../../store/sqlite/sqlite-journal.ts';
import { SqliteStore } from '../../store/sqlite/sqlite-store.ts';
import type { ConversationStore } from '../../store/store.ts';
import { loadTeam } from '../../team/load-team.ts';
import { TeamAgent } from '../../team/team-agent.ts';
import { type ServedChat, servedChat } from '../../testing/served-chat.ts';
import { callTools, failing, gate, type Scripted, scriptedModel } from '../../testing.ts';
import { ChatAgent, type ChatAgentOptions } from '../chat-agent.ts';
import { listConversations, showConversation } from '../reading/inspect.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
const serve = async (agent: ChatAgent | TeamAgent | RefineAgent): Promise<ServedChat> => {
  const chat = await servedChat(agent);
  closing.push(() => chat.close());
  return chat;
};
const chat = (model: ChatModel, options: Partial<ChatAgentOptions> = {}): Promise<ServedChat> =>
  serve(new ChatAgent({ model, systemPrompt: 'Be brief.', ...options }));
const sqlite = async (): Promise<SqliteStore> => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-fork-'));
  closing.push(() => rmSync(directory, { recursive: true, force: true }));
  const store = await SqliteStore.open({ path: join(directory, 'conversations.db') });
  closing.push(() => store.close());
  return store;
};
/** Answers with the messages of the user that the model received. */
const recall = (request: ModelRequest): string =>
  request.messages.flatMap((one) => (one.role === 'user' ? [one.content] : [])).join(' ');
const recalls = (count = 20) => scriptedModel(Array.from({ length: count }, () => recall));
const textsOf = async ({ call }: ServedChat, conversation_id: string): Promise<(string | null)[]> =>
  (await call<{ content: string | null }[]>('get_history', { conversation_id })).map((one) => one.content);
const code = (expected: string) => expect.objectContaining({ code: expected });

describe.each<[string, () => Promise<ConversationStore>]>([
  ['in memory', async () => new MemoryStore()],
  ['in SQLite', sqlite],
])('a fork %s', (_, open) => {
  test('has the history up to its turn, and is independent of its origin', async () => {
    const store = await open();
    const one = await chat(recalls(), { store });
    await one.start({ id: 'origin' });
    for (const message of ['a', 'b', 'c']) await one.say('origin', message);
    const task = await one.call<Task>('fork', { conversation_id: 'origin', at: 'b', id: 'fork' });
    expect(task).toMatchObject({ id: 'fork', sessionId: 'fork', status: { state: 'working' } });
    expect(await textsOf(one, 'fork')).toEqual(['a', 'a', 'b', 'a b']);
    expect(await one.say('fork', 'x')).toBe('a b x');
    expect(await one.say('origin', 'd')).toBe('a b c d');
    expect(await one.say('fork', 'y')).toBe('a b x y');
    await one.call('end_conversation', { conversation_id: 'origin' });
    await store.remove('origin');
    expect(await one.say('fork', 'z')).toBe('a b x y z');
  });

  test('may use the id of a turn of its origin', async () => {
    const one = await chat(recalls(), { store: await open() });
    await one.start({ id: 'origin' });
    for (const message of ['a', 'b']) await one.say('origin', message);
    await one.call('fork', { conversation_id: 'origin', at: 'a', id: 'fork' });
    expect(await one.say('fork', 'b')).toBe('a b');
  });

  test('can be forked, also at a turn after which its process restarted', async () => {
    const store = await open();
    const first = await chat(recalls(), { store });
    await first.start({
      id: 'origin',
      system_prompt: 'Be kind.',
      max_history_length: 3,
      turn_policy: 'reject',
    });
    for (const message of ['a', 'b']) await first.say('origin', message);
    await first.call('fork', { conversation_id: 'origin', at: 'b', id: 'fork' });
    await first.say('fork', 'c');
    await first.close();
    const model = recalls();
    const second = await chat(model, { store });
    expect(await second.say('fork', 'd')).toBe('a b c d');
    await second.call('fork', { conversation_id: 'fork', at: 'c', id: 'third' });
    expect(await second.say('third', 'e')).toBe('a b c e');
    expect(await second.say('third', 'f')).toBe('b c e f');
    expect(model.requests.at(-1)!.messages[0]).toEqual({ role: 'system', content: 'Be kind.' });
    const shown = await showConversation(store, 'third');
    expect(shown).toMatchObject({
      forkedFrom: { conversationId: 'fork', turnId: 'c' },
      options: { systemPrompt: 'Be kind.', maxHistoryLength: 3, turnPolicy: 'reject' },
      messages: [{ content: 'a' }, {}, { content: 'b' }, {}, { content: 'c' }, {}],
      transcript: [{ user: 'e' }, { user: 'f' }],
    });
    const listed = await listConversations(store);
    expect(Object.fromEntries(listed.map(({ id, forkedFrom }) => [id, forkedFrom]))).toEqual({
      origin: undefined,
      fork: { conversationId: 'origin', turnId: 'b' },
      third: { conversationId: 'fork', turnId: 'c' },
    });
  });

  test('at a failed turn has the part of the turn that is in the history', async () => {
    const store = await open();
    const replies: Scripted[] = [recall, failing(new FabricError('MODEL_REFUSED', 'no'), 'I can'), recall];
    const one = await chat(scriptedModel(replies), { store });
    await one.start({ id: 'origin' });
    await one.say('origin', 'a');
    await expect(one.say('origin', 'b')).rejects.toEqual(code('MODEL_REFUSED'));
    await one.call('fork', { conversation_id: 'origin', at: 'b', id: 'fork' });
    expect(await one.say('fork', 'c')).toBe('a c');
  });
});

test('a repeated call is the same fork, and belongs to its caller', async () => {
  const store = new MemoryStore();
  const one = await chat(recalls(), { store });
  await one.start({ id: 'origin' });
  await one.say('origin', 'a');
  const params = { conversation_id: 'origin', at: 'a' };
  const local = { principal: 'local' };
  const task = await one.call<Task>('fork', params, { id: 'call', ...local });
  expect(task.id).toBe('call');
  const turn = { conversation_id: 'call', user_message: 'b' };
  expect(await one.call('run_turn', turn, local)).toBe('a b');
  expect(await one.call<Task>('fork', params, { id: 'call', ...local })).toMatchObject({ id: 'call' });
  await expect(textsOf(one, 'call')).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  expect(await store.record('call')).toMatchObject({ principal: 'local', turns: 1 });
  expect(await store.record('origin')).toMatchObject({ principal: 'anonymous', turns: 1 });
});

test('forks of unknown conversations and turns, of open turns, and under taken ids are refused', async () => {
  const store = new MemoryStore();
  const hold = gate();
  const one = await chat(scriptedModel([recall, [hold, 'late']]), { store });
  const other = await serve(new ChatAgent({ model: recalls(), store, address: 'other@fame.fabric' }));
  await one.start({ id: 'origin' });
  await one.say('origin', 'a');
  const running = one.say('origin', 'b');
  await hold.reached;
  const fork = (params: object): Promise<unknown> =>
    one.call('fork', { conversation_id: 'origin', at: 'a', ...params });
  await expect(fork({ at: 'b' })).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: expect.stringContaining('at: The turn has not ended'),
  });
  hold.open();
  await running;
  await expect(fork({ at: 'x' })).rejects.toEqual(code('TURN_UNKNOWN'));
  await expect(fork({ conversation_id: 'x' })).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  await expect(other.call('fork', { conversation_id: 'origin', at: 'a' })).rejects.toEqual(
    code('CONVERSATION_UNKNOWN'),
  );
  await expect(fork({ id: 'origin' })).rejects.toEqual(code('CONVERSATION_EXISTS'));
  for (const [param, value] of [
    ['at', ''],
    ['at', 'x'.repeat(257)],
    ['at', 7],
    ['at', undefined],
    ['id', ''],
    ['id', 'x'.repeat(257)],
    ['conversation_id', null],
  ] as const) {
    await expect(fork({ [param]: value })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringMatching(new RegExp(`^${param}: `)),
    });
  }
  await expect(fork({ at: '\ud800' })).rejects.toEqual(code('PARAMS_INVALID'));
  await expect(fork({ id: '\ud800' })).rejects.toEqual(code('PARAMS_INVALID'));
  expect((await store.list()).map(({ id }) => id)).toEqual(['origin']);
});

describe('the model of a fork', () => {
  const naming = (request: ModelRequest): string => request.model ?? 'its own';
  const names = () =>
    scriptedModel(
      Array.from({ length: 9 }, () => naming),
      { name: 'small' },
    );

  test('answers the turns that name none, also in forks of the fork and after a restart', async () => {
    const store = new MemoryStore();
    const first = await chat(names(), { models: ['large', 'huge'], store });
    await first.start({ id: 'origin' });
    await first.say('origin', 'a');
    await first.call('fork', { conversation_id: 'origin', at: 'a', id: 'fork', model: 'large' });
    expect(await first.say('fork', 'b')).toBe('large');
    expect(await first.say('origin', 'b')).toBe('its own');
    await first.close();
    const second = await chat(names(), { models: ['large', 'huge'], store });
    const params = { conversation_id: 'fork', user_message: 'c', options: { model: 'huge' } };
    expect(await second.call('run_turn', params)).toBe('huge');
    await second.call('fork', { conversation_id: 'fork', at: 'b', id: 'third' });
    expect(await second.say('third', 'd')).toBe('large');
    await second.call('fork', { conversation_id: 'fork', at: 'b', id: 'last', model: 'small' });
    expect(await second.say('last', 'e')).toBe('small');
    const { verified } = await second.call<{ verified: boolean }>('get_prompt', {
      conversation_id: 'third',
      turn_id: 'd',
      step: 1,
    });
    expect(verified).toBe(true);
  });

  test('must be one that the agent offers', async () => {
    const store = new MemoryStore();
    const one = await chat(names(), { models: ['large'], store });
    await one.start({ id: 'origin' });
    await one.say('origin', 'a');
    const fork = (model: unknown) =>
      one.call('fork', { conversation_id: 'origin', at: 'a', id: 'fork', model });
    await expect(fork('huge')).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: 'model: This agent does not offer "huge". Choose one of: small, large.',
    });
    await expect(fork('')).rejects.toEqual(code('PARAMS_INVALID'));
    await expect(fork('x'.repeat(257))).rejects.toEqual(code('PARAMS_INVALID'));
    await fork('large');
    await one.close();
    // An agent that no longer offers it says so, and answers with no other model.
    const later = await chat(names(), { store });
    await expect(later.say('fork', 'b')).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining('"large"'),
    });
    expect(
      await later.call('run_turn', {
        conversation_id: 'fork',
        user_message: 'c',
        options: { model: 'small' },
      }),
    ).toBe('small');
  });

  test('cannot be chosen for a team', async () => {
    const model = scriptedModel(['A']);
    const team = await loadTeam(
      { start: 'a', agents: { a: { system_directives: 'A.' } } },
      { models: { default: model } },
    );
    const one = await serve(new TeamAgent({ team }));
    await one.start({ id: 'origin' });
    await one.say('origin', 'a');
    await expect(
      one.call('fork', { conversation_id: 'origin', at: 'a', model: 'scripted' }),
    ).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: 'model: This agent does not offer "scripted".',
    });
  });
});

test('an ended conversation can be forked', async () => {
  const one = await chat(recalls());
  await one.start({ id: 'origin' });
  await one.say('origin', 'a');
  await one.call('end_conversation', { conversation_id: 'origin' });
  await one.call('fork', { conversation_id: 'origin', at: 'a', id: 'fork' });
  expect(await one.say('fork', 'b')).toBe('a b');
});

test('a fork of a team continues with the whole exchange, functions included', async () => {
  const answer = (request: ModelRequest) =>
    request.messages.at(-1)!.role === 'tool' ? 'Three.' : callTools({ name: 'stock', arguments: {} });
  const model = scriptedModel([answer, answer, recall]);
  const agents = { shop: { system_directives: 'Shop.', functions: [{ name: 'stock' }] } };
  const team = await loadTeam(
    { start: 'shop', agents },
    { models: { default: model }, abilities: [{ stock: () => ({ left: 3 }) }] },
  );
  const one = await serve(new TeamAgent({ team }));
  await one.start({ id: 'origin' });
  expect(await one.say('origin', 'How many?')).toBe('Three.');
  await one.call('fork', { conversation_id: 'origin', at: 'How many?', id: 'fork' });
  expect(await one.say('fork', 'And now?')).toBe('How many? And now?');
  expect(model.requests.at(-1)!.messages.map(({ role }) => role)).toEqual([
    'system',
    'user',
    'assistant',
    'tool',
    'assistant',
    'user',
  ]);
  model.assertValid();
});

test('a fork of a refining dialogue continues from the state of its turn', async () => {
  const asks = (goal: string, ...questions: string[]) =>
    callTools({ name: 'refine_requirements', arguments: { reformulated_goal: goal, questions } });
  const confirms = (goal: string) =>
    callTools({ name: 'request_confirmation', arguments: { reformulated_goal: goal, question: 'Right?' } });
  const hands = (goal: string) =>
    callTools({ name: 'validate_requirements', arguments: { goal_sentence: goal, goals: [goal] } });
  const model = scriptedModel([
    asks('A site', 'For whom?'),
    confirms('A site'),
    hands('A site'),
    asks('A shop', 'Where?'),
  ]);
  const one = await serve(new RefineAgent({ models: { default: model, smart: model } }));
  await one.start({ id: 'origin' });
  for (const message of ['A site', 'For me']) await one.say('origin', message);
  // The origin completes; the fork answers the same question in another way.
  expect(await one.say('origin', 'yes')).toContain('- A site');
  await one.call('fork', { conversation_id: 'origin', at: 'For me', id: 'fork' });
  await one.call('fork', { conversation_id: 'origin', at: 'For me', id: 'other' });
  expect(await one.say('fork', 'No, a shop')).toContain('1. Where?');
  model.push(hands('A shop'));
  expect(await one.say('other', 'yes')).toContain('- A shop');
  model.done();
});

describe('the work of a fork does not grow with its origin', () => {
  /** Fills a conversation with turns of four events each. */
  function fill(journal: SqliteJournal, id: string, turns: number): void {
    const started = {
      kind: 'conversation_started' as const,
      at: 1,
      body: JSON.stringify({ system_prompt: '', max_history_length: 10, turn_policy: 'queue' }),
    };
    const agent = 'chat@fame.fabric';
    journal.create(1, { id, agent, startCallId: id, historyTurns: 10, totals: '{}', started });
    const { fence } = journal.acquire(1, id, 1_000)!;
    for (let i = 0; i < turns; i++) {
      const turnId = `t${i}`;
      const content = `turn ${i}`;
      const bodies = [
        ['turn_accepted', { user_message: content, reply_to: '', corr_id: '', stream: false, deadline: 1 }],
        ['text', { text: content, offset: 0 }],
        ['model_replied', { step: 1, model: 'm', message: { role: 'assistant', content }, finish: 'stop' }],
        ['turn_completed', { text: content, whole_chars: 1, usage: {}, model: 'm', in_history: true }],
      ] as const;
      const events = bodies.map(([kind, body]) => ({ kind, at: 1, turnId, body: JSON.stringify(body) }));
      journal.append(1, { conversationId: id, fence, after: 1 + 4 * i, events, leaseMs: 0 });
    }
  }

  /** Counts the rows that statements return, and collects their texts. */
  function counting(db: DatabaseSync) {
    const seen = { rows: 0, statements: new Set<string>() };
    const prepare: DatabaseSync['prepare'] = (sql, ...more) => {
      const statement = db.prepare(sql, ...more);
      const { get, all } = statement;
      seen.statements.add(sql);
      statement.get = (...values: unknown[]) => {
        const row = get.apply(statement, values as never);
        if (row) seen.rows += 1;
        return row;
      };
      statement.all = (...values: unknown[]) => {
        const rows = all.apply(statement, values as never);
        seen.rows += rows.length;
        return rows;
      };
      return statement;
    };
    return { seen, db: { prepare, exec: (sql: string) => db.exec(sql) } as DatabaseSync };
  }

  test('reads as many rows at 10,000 turns as at 10, by indexes only', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fame-fork-'));
    closing.push(() => rmSync(directory, { recursive: true, force: true }));
    const db = openDatabase({ path: join(directory, 'c.db'), busyMs: 0, hardMaxBytes: 0 });
    closing.push(() => db.close());
    const options = { holder: 'h', maxBytes: 0, isDead: () => false };
    db.exec('BEGIN');
    const filling = new SqliteJournal(db, options);
    fill(filling, 'short', 10);
    fill(filling, 'long', 10_000);
    db.exec('COMMIT');
    const work = (id: string, at: string) => {
      const { seen, db: counted } = counting(db);
      const journal = new SqliteJournal(counted, options);
      const turn = journal.peek(2, id, at)!.turn!;
      const [started] = journal.read(id, { limit: 1 });
      const history = journal.history(id, { until: turn.endedSeq });
      journal.create(2, {
        id: `fork-${id}`,
        agent: 'chat@fame.fabric',
        startCallId: 'f',
        historyTurns: 10,
        totals: '{}',
        started: started!,
      });
      const acquired = journal.acquire(3, `fork-${id}`, 1_000)!;
      expect(history.map((events) => events.length)).toEqual(Array(10).fill(3));
      expect(acquired.history).toEqual([]);
      return seen;
    };
    const short = work('short', 't9');
    const middle = work('long', 't5000');
    expect(middle.rows).toBe(short.rows);
    // Every statement finds its rows by an index; none scans a table or sorts its rows.
    for (const sql of middle.statements) {
      if (!/^\s*SELECT/.test(sql)) continue;
      const values = Array.from({ length: sql.split('?').length - 1 }, () => 1);
      const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...values);
      for (const { detail } of plan) expect(`${detail}: ${sql}`).not.toMatch(/^SCAN|TEMP B-TREE/);
    }
  });

  test('a fork reads as much from the store at 300 turns as at 30', async () => {
    class CountingStore extends MemoryStore {
      events = 0;
      override async read(...args: Parameters<MemoryStore['read']>) {
        const events = await super.read(...args);
        this.events += events.length;
        return events;
      }
      override async history(...args: Parameters<MemoryStore['history']>) {
        const turns = await super.history(...args);
        this.events += turns.flat().length;
        return turns;
      }
      override async acquire(...args: Parameters<MemoryStore['acquire']>) {
        const acquired = await super.acquire(...args);
        this.events += acquired!.history.flat().length + acquired!.open.flat().length;
        return acquired;
      }
    }
    const store = new CountingStore({ clock: new ManualClock() });
    const one = await chat(recalls(400), { store });
    const work = async (id: string, turns: number): Promise<number> => {
      await one.start({ id });
      for (let i = 0; i < turns; i++) await one.say(id, `${i}`);
      store.events = 0;
      await one.call('fork', { conversation_id: id, at: `${turns - 5}`, id: `fork-${id}` });
      expect(await one.say(`fork-${id}`, 'x')).toMatch(/ x$/);
      return store.events;
    };
    expect(await work('long', 300)).toBe(await work('short', 30));
  });
});
