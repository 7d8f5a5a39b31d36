import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { MemoryStore } from '../../store/memory-store.ts';
import { Sweeper } from '../../store/sweeper.ts';
import type { Statistics } from '../../telemetry/turn-statistics.ts';
import { type ServedChat, servedChat } from '../../testing/served-chat.ts';
import { failing, type Scripted, scriptedModel } from '../../testing.ts';
import { ChatAgent, type ChatAgentOptions } from '../chat-agent.ts';
import type { ConversationList } from './reading-operations.ts';

const closing: ServedChat[] = [];
afterEach(async () => {
  for (const chat of closing.splice(0)) await chat.close();
});
const local = { principal: 'local' };
const code = (expected: string, message?: RegExp) =>
  expect.objectContaining({
    code: expected,
    ...(message ? { message: expect.stringMatching(message) } : {}),
  });

async function chat(more: Partial<ChatAgentOptions> & { replies?: Scripted[]; clock?: ManualClock } = {}) {
  const { replies = [], clock = new ManualClock(), ...options } = more;
  const model = scriptedModel(replies);
  const served = await servedChat(new ChatAgent({ model, systemPrompt: 'Be brief.', ...options }), { clock });
  closing.push(served);
  const list = (params: object = {}) => served.call<ConversationList>('list_conversations', params, local);
  return { ...served, clock, list };
}
const idsOf = ({ conversations }: ConversationList): string[] => conversations.map(({ id }) => id);

describe('list_conversations', () => {
  test('returns the fields for a choice among conversations, latest change first, page by page', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore({ clock });
    const { start, say, list } = await chat({
      clock,
      store,
      replies: ['Hello.', failing(new FabricError('MODEL_REFUSED', 'no'))],
    });
    for (const id of ['a', 'b', 'c']) {
      await start({ id });
      clock.advance(1_000);
    }
    const created = clock.now() - 3_000;
    await say('a', 'hi');
    clock.advance(1_000);
    await expect(say('b', 'hi')).rejects.toThrow();
    const page = await list({ limit: 2 });
    expect(page).toEqual({
      conversations: [
        expect.objectContaining({ id: 'b', last_outcome: 'failed' }),
        {
          id: 'a',
          state: 'working',
          owner: 'anonymous',
          turns: 1,
          created_at: new Date(created).toISOString(),
          changed_at: new Date(created + 3_000).toISOString(),
          usage: expect.objectContaining({ total_tokens: expect.any(Number) }),
          cost: 'unknown',
          last_outcome: 'completed',
        },
      ],
      next: expect.any(String),
    });
    const rest = await list({ limit: 2, before: page.next });
    expect(rest).toMatchObject({ conversations: [{ id: 'c', turns: 0, last_outcome: null }], next: null });
    expect(idsOf(await list({ failed: true }))).toEqual(['b']);
    expect(idsOf(await list({ search: 'HI' }))).toEqual(['b', 'a']);
    expect(idsOf(await list({ search: '' }))).toEqual(['b', 'a', 'c']);
    expect(idsOf(await list({ state: 'completed' }))).toEqual([]);
  });

  test('of one owner is for that owner and for callers that may list all', async () => {
    const { start, call, list } = await chat();
    await start({ id: 'a' });
    expect(idsOf(await list({ owner: 'anonymous' }))).toEqual(['a']);
    expect(idsOf(await list({ owner: 'ada' }))).toEqual([]);
    const asAda = { principal: 'ada' };
    expect(await call('list_conversations', { owner: 'anonymous' }, asAda)).toEqual({
      conversations: [],
      next: null,
    });
  });

  test('shows no ids of others', async () => {
    const { start, call } = await chat();
    await start({ id: 'secret-id' });
    const refused = call('list_conversations', {}, { principal: 'anonymous' });
    await expect(refused).rejects.toEqual(code('AUTH_FORBIDDEN', /local key/));
    for (const principal of ['Local', 'ada'])
      expect(await call('list_conversations', {}, { principal })).toEqual({ conversations: [], next: null });
  });

  test('is the list of this agent only, and without ephemeral conversations', async () => {
    const store = new MemoryStore();
    const other = await chat({ store, address: 'other@fame.fabric' });
    const { start, list } = await chat({ store });
    await other.start({ id: 'theirs' });
    await start({ id: 'mine' });
    await start({ id: 'passing', ephemeral: true });
    expect(idsOf(await list())).toEqual(['mine']);
    expect(idsOf(await list({ search: 'passing' }))).toEqual([]);
    expect(idsOf(await other.list())).toEqual(['theirs']);
  });

  test('fits one envelope with the longest ids', async () => {
    const { start, list } = await chat();
    const expected = new Set<string>();
    for (let n = 0; n < 200; n++) {
      const id = `${n}`.padEnd(256, '\u0001');
      expected.add(id);
      await start({ id });
    }
    const seen: string[] = [];
    let before: string | undefined;
    do {
      const page: ConversationList = await list({ limit: 200, ...(before ? { before } : {}) });
      expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(210_000);
      seen.push(...idsOf(page));
      before = page.next ?? undefined;
    } while (before);
    expect(seen).toHaveLength(200);
    expect(new Set(seen)).toEqual(expected);
  });

  test.each([
    [{ limit: 0 }, 'limit'],
    [{ limit: 201 }, 'limit'],
    [{ search: 'x'.repeat(201) }, 'search'],
    [{ state: 'open' }, 'state'],
    [{ before: 'x' }, 'before'],
    [{ before: 'x'.repeat(10_000) }, 'before'],
    [{ before: Buffer.from('[1]').toString('base64url') }, 'before'],
    [{ before: Buffer.from(`[1,"${'x'.repeat(600)}"]`).toString('base64url') }, 'before'],
    [{ before: Buffer.from('[-1,"c"]').toString('base64url') }, 'before'],
    [{ after: 1 }, 'after'],
  ])('refuses %j', async (params, name) => {
    const { list } = await chat();
    await expect(list(params)).rejects.toEqual(code('PARAMS_INVALID', new RegExp(`^${name}`)));
  });
});

test('an ephemeral conversation works like others, and is gone 15 minutes after its end', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const sweeper = new Sweeper(store, { clock });
  sweeper.start();
  const { start, say, call } = await chat({ clock, store, replies: ['Hello.', 'Again.'] });
  await start({ id: 'passing', ephemeral: true });
  await start({ id: 'staying' });
  expect(await say('passing', 'hi')).toBe('Hello.');
  await clock.run(3_600_000);
  expect(await say('passing', 'still there?')).toBe('Again.');
  for (const conversation_id of ['passing', 'staying']) await call('end_conversation', { conversation_id });
  const turn = { conversation_id: 'passing', turn_id: 'hi' };
  await clock.run(899_000);
  expect(await call('get_turn', turn)).toMatchObject({ text: 'Hello.' });
  await clock.run(61_000);
  await expect(call('get_turn', turn)).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  expect((await store.list()).map(({ id }) => id)).toEqual(['staying']);
  expect(await store.list({ inTrash: true })).toEqual([]);
  await sweeper.stop();
  expect(clock.timerCount).toBeLessThan(4);
});

describe('get_turn', () => {
  test('returns the report of a turn, or an error for the unknown id', async () => {
    const { start, say, call } = await chat({ replies: ['Hello.', 'Good.'] });
    await start({ id: 'c' });
    await say('c', 'hi');
    await say('c', 'how are you?');
    expect(await call('get_turn', { conversation_id: 'c', turn_id: 'hi' })).toMatchObject({
      conversation_id: 'c',
      turn_id: 'hi',
      state: 'completed',
      text: 'Hello.',
      finish: 'stop',
      steps: [{ step: 1, finish: 'stop' }],
    });
    const unknownTurn = call('get_turn', { conversation_id: 'c', turn_id: 'no' });
    await expect(unknownTurn).rejects.toEqual(code('TURN_UNKNOWN'));
    const unknownConversation = call('get_turn', { conversation_id: 'unknown', turn_id: 'hi' });
    await expect(unknownConversation).rejects.toEqual(code('CONVERSATION_UNKNOWN'));
  });
});

test('read_statistics returns the turns of all callers, to callers with the right to use all conversations', async () => {
  const { call, clock, start, say } = await chat({
    replies: ['Hello.', failing(new FabricError('MODEL_REFUSED', 'no'))],
  });
  const began = clock.now();
  await start({ id: 'a' });
  await say('a', 'hi');
  await expect(say('a', 'again')).rejects.toThrow();
  clock.advance(10_000);
  const statistics = await call<Statistics>('read_statistics', {}, local);
  expect(statistics.interval_ms).toBe(5_000);
  const { samples } = statistics;
  expect(samples.map(({ turns, failed }) => [turns, failed])).toEqual([
    [2, 1],
    [0, 0],
  ]);
  expect(samples[0]!.tokens_out).toBeGreaterThan(0);
  expect(samples[0]!.first_token_ms).toEqual({ p50: 0, p99: 0 });
  const later = await call<Statistics>('read_statistics', { since: samples[0]!.t }, local);
  expect(later.samples).toEqual(samples.slice(1));
  expect(samples[0]!.t).toBeGreaterThan(began);
  for (const other of [{ principal: 'ada' }, {}]) {
    await expect(call('read_statistics', {}, other)).rejects.toEqual(code('AUTH_FORBIDDEN', /role admin/));
  }
});
