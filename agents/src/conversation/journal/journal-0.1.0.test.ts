// Open turns in a journal of release 0.1.0 finish: see test/fixtures/journal-0.1.0.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { RefineTurns } from '../../refine/refine-turns.ts';
import { SqliteStore } from '../../store/sqlite/sqlite-store.ts';
import type { JournalEvent } from '../../store/store.ts';
import { loadTeam } from '../../team/load-team.ts';
import { TeamTurns } from '../../team/team-turns.ts';
import { textSeen } from '../../testing/crash-anywhere.ts';
import { callTools, reply, type Scripted, type ScriptedModel, scriptedModel } from '../../testing.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import type { TurnRunner } from '../../turn/turn.ts';
import type { ConversationEvent } from '../conversation.ts';
import { ConversationHost } from '../host.ts';

const FIXTURE = fileURLToPath(
  new URL('../../../../test/fixtures/journal-0.1.0/open-turns.db', import.meta.url),
);
let directory: string;
let store: SqliteStore;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fame-journal-'));
  const path = join(directory, 'journal.db');
  copyFileSync(FIXTURE, path);
  store = await SqliteStore.open({ path });
});
afterAll(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Life {
  runner: TurnRunner;
  models: ScriptedModel[];
  runs: string[];
}
const forever = Number.POSITIVE_INFINITY;

function chat(): Life {
  const runs: string[] = [];
  const parameters = z.object({ at: z.string() });
  const named = (name: string, more: object = {}) =>
    tool({
      name,
      description: 'x',
      parameters,
      execute: ({ at }) => {
        runs.push(name);
        return `done at ${at}`;
      },
      ...more,
    });
  const calls = callTools(
    [
      { name: 'peek', arguments: { at: 'sky' } },
      { name: 'look', arguments: { at: 'sea' } },
      { name: 'pay', arguments: { at: 'till' } },
    ],
    { text: 'Three things to do.', chunkChars: 10 },
  );
  const model = scriptedModel([
    { ...calls, when: ({ messages }) => messages.at(-1)!.role === 'user', times: forever },
    {
      ...reply('All three are done.'),
      when: ({ messages }) => messages.at(-1)!.role === 'tool',
      times: forever,
    },
  ]);
  const tools = new ToolSet([
    named('peek', { eager: true }),
    named('look'),
    named('pay', { idempotent: false }),
  ]);
  return { runner: new ChatTurns({ model, tools }), models: [model], runs };
}

async function team(): Promise<Life> {
  const runs: string[] = [];
  const agents = {
    switchboard: {
      functions: [{ name: 'route', parameters: [{ name: 'topic', type: 'string' }] }],
      function_call: { name: 'route' },
      state_map: { function_name: 'route', argument_name: 'topic', values_map: { shop: { agent: 'shop' } } },
    },
    shop: { system_directives: 'Shop.', functions: [{ name: 'stock' }, { name: 'hours' }] },
  };
  const answer: Scripted = (request) => {
    if (request.tools?.[0]?.function.name === 'route') {
      return callTools({ name: 'route', arguments: { topic: 'shop' } }, { text: 'One moment. ' });
    }
    if (request.messages.some(({ content }) => content === '{"left":3}')) return 'Three are left.';
    const calls = [
      { name: 'stock', arguments: {} },
      { name: 'hours', arguments: {} },
    ];
    return callTools(calls, { text: 'Let me look. ' });
  };
  const model = scriptedModel(Array.from({ length: 3 }, () => answer));
  const noting =
    <T>(name: string, value: T) =>
    () => {
      runs.push(name);
      return value;
    };
  const loaded = await loadTeam(
    { start: 'switchboard', agents },
    {
      models: { default: model },
      abilities: [{ stock: noting('stock', { left: 3 }), hours: noting('hours', 'Nine to five.') }],
    },
  );
  return { runner: new TeamTurns(loaded), models: [model], runs };
}

function refine(replied: number): Life {
  const asks = callTools({
    name: 'refine_requirements',
    arguments: { reformulated_goal: 'A site', questions: ['For whom?'] },
  });
  const model = scriptedModel([...(replied === 0 ? ['Hm.'] : []), { ...asks, times: forever }]);
  return { runner: new RefineTurns({ models: { default: model, smart: model } }), models: [model], runs: [] };
}

const journalOf = (id: string): Promise<readonly JournalEvent[]> => store.read(id, { limit: 10_000 });
const of = (events: readonly JournalEvent[], kind: string): JournalEvent[] =>
  events.filter((event) => event.kind === kind);

test.each([
  ['chat', 14, 'Three things to do.\nAll three are done.', 2, chat],
  ['team', 17, 'One moment. \nLet me look. \nNine to five.\nThree are left.', 3, team],
  ['refine', 6, 'A site\n\n1. For whom?', 2, refine],
] as const)('%s: each of its open turns finishes', async (kind, count, answer, steps, live) => {
  for (let n = 1; n <= count; n++) {
    const id = `${kind}-${n}`;
    const before = await journalOf(id);
    const replied = of(before, 'model_replied').length;
    const finished = of(before, 'tool_finished').map(({ body }) => String(body.name));
    const started = of(before, 'tool_started').map(({ body }) => String(body.name));
    const { runner, models, runs } = await live(replied);
    const [model] = models;
    const clock = new ManualClock();
    clock.advance(before[1]!.at - clock.now());
    const host = new ConversationHost({ runner, store, agent: `${kind}@fame.fabric`, clock });
    const turn = await host.turn({ conversationId: id, userMessage: 'Please.', turnId: 't' });
    const events: ConversationEvent[] = [];
    for await (const event of turn.follow()) events.push(event);
    expect(events.at(-1), id).toMatchObject({ type: 'done', text: answer });
    expect(textSeen(events), id).toBe(answer);
    // A client of 0.1.0 continues from the seq of the last event that it received.
    for (const { seq } of before) {
      const rest: ConversationEvent[] = [];
      for await (const event of turn.follow(seq)) rest.push(event);
      const had = events.filter((event) => event.seq <= seq);
      expect([...had, ...rest], `${id} after ${seq}`).toEqual(events);
    }
    expect(model!.count, id).toBe(steps - replied);
    for (const name of finished) expect(runs, id).not.toContain(name);
    if (replied > 0 && started.includes('pay')) expect(runs, id).not.toContain('pay');
    expect(new Set(runs).size, id).toBe(runs.length);
    model!.assertValid();
    expect(of(await journalOf(id), 'turn_completed'), id).toHaveLength(1);
    // Every prompt can be rebuilt, also those that 0.1.0 sent.
    for (let step = 1; step <= steps; step++) {
      const { verified } = await host.reads.prompt(id, 't', step, AbortSignal.timeout(10_000));
      expect({ id, step, verified }).toEqual({ id, step, verified: true });
    }
    await host.close();
  }
});
