// Quotas of principals: turns a minute, tokens and cost a day. Real agents and stores, and a model that counts.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import type { ServeOptions } from '../agent/agent-types.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { SqliteStore } from '../store/sqlite/sqlite-store.ts';
import type { ConversationStore } from '../store/store.ts';
import { FakeLink } from '../testing/fake-link.ts';
import { gate, reply, type Scripted, scriptedModel } from '../testing.ts';
import { ChatAgent, type ChatAgentOptions } from './chat-agent.ts';

const AGENT = 'chat@fame.fabric';
/** Token usage of one reply of the scripted model. */
const TOKENS = 15;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function serve(
  quotas: SpendingLimits | undefined,
  more: Partial<ChatAgentOptions> & { replies?: Scripted[]; serve?: ServeOptions } = {},
) {
  const { replies = Array.from({ length: 1_000 }, () => reply('Yes.')), serve: options, ...rest } = more;
  const clock = (options?.clock as ManualClock | undefined) ?? new ManualClock();
  const model = scriptedModel(replies);
  const link = new FakeLink();
  const store = rest.store ?? new MemoryStore({ clock });
  const agent = new ChatAgent({ model, store, quotas, maxAnswerTokens: 100, ...rest });
  const serving = await agent.serve(link, { clock, ...options });
  closing.push(() => serving.close());
  const call = async (method: string, params: object, principal: string, limits?: SpendingLimits) => {
    const rights = { conversations: 'own', ...(limits ? { limits } : {}) } as const;
    const { error, result } = await link.start(AGENT, method, params, { principal, rights }).done;
    return {
      result,
      error: error as { message: string; data: { code: string; details?: object } } | undefined,
    };
  };
  let turns = 0;
  const turn = async (principal = 'ada', params: object = {}, limits?: SpendingLimits) => {
    await call('start_task', { id: 'c' }, principal);
    const turn_id = `t${++turns}`;
    return call(
      'run_turn',
      { conversation_id: 'c', user_message: 'Hi', turn_id, ...params },
      principal,
      limits,
    );
  };
  return { clock, model, link, store, call, turn };
}

const exceeded = (details: object) => ({ error: { data: { code: 'QUOTA_EXCEEDED', details } } });

describe('turns a minute', () => {
  test('are counted for each principal, until the minute is over', async () => {
    const { clock, turn, model } = await serve({ turnsPerMinute: 2 });
    clock.advance(60_000 - (clock.now() % 60_000) + 15_000);
    for (let i = 0; i < 2; i++) expect((await turn()).result).toBe('Yes.');
    const refused = await turn();
    expect(refused).toMatchObject(exceeded({ unit: 'turns', limit: 2, retryAfterMs: 45_000 }));
    expect(refused.error!.message).toMatch(/2 turns per minute.*ada.*45 s.*FAME_MAX_TURNS_PER_MINUTE/);
    expect((await turn('eve')).result).toBe('Yes.');
    expect(model.count).toBe(3);
    clock.advance(45_000);
    expect((await turn()).result).toBe('Yes.');
  });

  test('the same turn again, running or ended, counts once', async () => {
    const { turn, model } = await serve({ turnsPerMinute: 1 });
    const same = { turn_id: 'same' };
    const answers = await Promise.all([turn('ada', same), turn('ada', same)]);
    expect(answers.filter(({ result }) => result === 'Yes.').length).toBeGreaterThanOrEqual(1);
    expect((await turn('ada', same)).result).toBe('Yes.');
    expect(model.count).toBe(1);
  });

  test('usage counts for the caller, also in conversations of others', async () => {
    const { call, turn } = await serve({ turnsPerMinute: 1 });
    await call('start_task', { id: 'shared', share: ['*'] }, 'ada');
    const params = { conversation_id: 'shared', user_message: 'Hi' };
    expect((await call('run_turn', params, 'eve')).result).toBe('Yes.');
    expect(await call('run_turn', params, 'eve')).toMatchObject(exceeded({ unit: 'turns' }));
    expect((await turn('ada')).result).toBe('Yes.');
  });

  test('limits of the environment do not apply to local, and those that a sentinel states replace them', async () => {
    const { turn } = await serve({ turnsPerMinute: 1 });
    for (let i = 0; i < 3; i++) expect((await turn('local')).result).toBe('Yes.');
    const own = { turnsPerMinute: 2 };
    for (let i = 0; i < 2; i++) expect((await turn('ada', {}, own)).result).toBe('Yes.');
    expect(await turn('ada', {}, own)).toMatchObject(exceeded({ limit: 2 }));
    expect(await turn('eve', {}, { turnsPerMinute: 0 })).toMatchObject(exceeded({ limit: 0 }));
  });

  test('`serve` has the limits of agents without limits of their own', async () => {
    const { turn } = await serve(undefined, { serve: { quotas: { turnsPerMinute: 0 } } });
    expect(await turn()).toMatchObject(exceeded({ unit: 'turns', limit: 0 }));
  });
});

describe('tokens a day', () => {
  test('P20: a flood of 300 turns at once exceeds the limit by less than one call', async () => {
    const limit = 2_000;
    const { call, model, turn } = await serve({ tokensPerDay: limit });
    const flood = await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        await call('start_task', { id: `c${i}` }, 'ada');
        return call('run_turn', { conversation_id: `c${i}`, user_message: 'Hi' }, 'ada');
      }),
    );
    const refused = flood.filter(({ error }) => error);
    for (const one of refused) expect(one).toMatchObject(exceeded({ unit: 'tokens', limit }));
    expect(refused.length).toBeGreaterThan(0);
    expect(model.count * TOKENS).toBeLessThan(limit + TOKENS);
    // The others reserved room that they did not use.
    let last = await turn();
    for (let i = 0; i < 200 && !last.error; i++) last = await turn();
    expect(last).toMatchObject(exceeded({ unit: 'tokens' }));
    expect(model.count * TOKENS).toBeGreaterThanOrEqual(limit);
    expect(model.count * TOKENS).toBeLessThan(limit + TOKENS);
    expect((await turn('eve')).result).toBe('Yes.');
  });

  test('a call in flight reserves its maximum usage; a refusal then has a short wait', async () => {
    const held = gate();
    const { call, link } = await serve({ tokensPerDay: 50 }, { replies: [[held, 'No.'], reply('Yes.')] });
    for (const id of ['c', 'd']) await call('start_task', { id }, 'ada');
    const first = { conversation_id: 'c', user_message: 'Hi', turn_id: 'first' };
    const running = link.start(AGENT, 'run_turn', first, { principal: 'ada' });
    await held.reached;
    const second = { conversation_id: 'd', user_message: 'Hi', turn_id: 'second' };
    expect(await call('run_turn', second, 'ada')).toMatchObject(
      exceeded({ unit: 'tokens', retryAfterMs: 1_000 }),
    );
    // Nothing was answered, so nothing was used.
    running.cancel('cancelled');
    await expect.poll(async () => (await call('run_turn', second, 'ada')).result).toBe('Yes.');
  });

  test('a new day begins at midnight UTC', async () => {
    const { clock, turn } = await serve({ tokensPerDay: TOKENS });
    expect((await turn()).result).toBe('Yes.');
    expect(await turn()).toMatchObject(exceeded({ unit: 'tokens' }));
    clock.advance(86_400_000 - (clock.now() % 86_400_000));
    expect((await turn()).result).toBe('Yes.');
  });
});

test('cost a day, by the price list', async () => {
  const prices = { scripted: { input: 0, output: 1_000_000 } };
  // Five tokens of a reply cost 5.
  const { turn } = await serve({ moneyPerDay: 9 }, { budget: { prices } });
  for (let i = 0; i < 2; i++) expect((await turn()).result).toBe('Yes.');
  const refused = await turn();
  expect(refused).toMatchObject(exceeded({ unit: 'cost', limit: 9 }));
  expect(refused.error!.message).toContain('FAME_MAX_COST_PER_DAY');
});

test.each<[string, (clock: ManualClock) => Promise<{ open(): Promise<ConversationStore> }>]>([
  [
    'in memory',
    async (clock) => {
      const store = new MemoryStore({ clock });
      return { open: async () => store };
    },
  ],
  [
    'in SQLite',
    async (clock) => {
      const directory = mkdtempSync(join(tmpdir(), 'fame-quotas-'));
      closing.push(() => rmSync(directory, { recursive: true, force: true }));
      const path = join(directory, 'journal.db');
      return {
        open: async () => {
          const store = await SqliteStore.open({ path, clock });
          closing.push(() => store.close());
          return store;
        },
      };
    },
  ],
])('counters %s hold across a restart', async (_, make) => {
  const clock = new ManualClock();
  const { open } = await make(clock);
  const first = await serve({ tokensPerDay: 2 * TOKENS }, { store: await open(), serve: { clock } });
  expect((await first.turn()).result).toBe('Yes.');
  expect((await first.turn()).result).toBe('Yes.');
  for (const close of closing.splice(1).reverse()) await close();
  const again = await serve({ tokensPerDay: 2 * TOKENS }, { store: await open(), serve: { clock } });
  const params = { conversation_id: 'c', user_message: 'Hi', turn_id: 'later' };
  expect(await again.call('run_turn', params, 'ada')).toMatchObject(exceeded({ unit: 'tokens' }));
});

test('without limits the store is not accessed', async () => {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  store.changeQuota = () => {
    throw new Error('asked');
  };
  const { turn } = await serve(undefined, { store });
  expect((await turn()).result).toBe('Yes.');
});
