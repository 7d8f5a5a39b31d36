// Tools that call other agents over the link of their own agent.
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineAgent } from '../agent/agent.ts';
import type { Agent } from '../agent/agent-types.ts';
import { type OperationContext, operation } from '../agent/operation.ts';
import { ChatAgent } from '../conversation/chat-agent.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { loadTeam } from '../team/load-team.ts';
import { TeamAgent } from '../team/team-agent.ts';
import { callTools, gate, type Scripted, scriptedModel, type TestFabric, testFabric } from '../testing.ts';
import { type AnyTool, type ToolContext, tool } from './tool.ts';
import { ToolSet } from './tool-set.ts';

const STOCK = 'stock@fame.fabric';
const SHOP = 'shop@fame.fabric';

const fabrics: TestFabric[] = [];
afterEach(async () => {
  for (const fabric of fabrics.splice(0)) await fabric.close();
});
async function serve(...agents: Agent[]): Promise<TestFabric> {
  const fabric = await testFabric(agents);
  fabrics.push(fabric);
  return fabric;
}

/** An agent with the operation `count`. */
const stock = (count: (context: OperationContext) => unknown): Agent =>
  defineAgent({ address: STOCK, operations: { count: operation({ run: (_, context) => count(context) }) } });

const lookUp = (execute: (ctx: ToolContext) => Promise<number | string>) =>
  tool({
    name: 'look_up',
    description: 'How many are in stock.',
    parameters: z.object({}),
    execute: (_, ctx) => execute(ctx),
  });
const CALL: Scripted = callTools({ name: 'look_up', arguments: {} });

function shop(used: AnyTool, replies: readonly Scripted[] = [CALL, 'Done.'], store = new MemoryStore()) {
  const model = scriptedModel(replies);
  const agent = new ChatAgent({ address: SHOP, model, store, tools: new ToolSet([used]) });
  /** The result of the tool, as the model received it. */
  const result = (): unknown => model.requests.at(-1)?.messages.at(-1);
  return { agent, model, result };
}
async function start({ link }: TestFabric): Promise<void> {
  await link.call(SHOP, 'start_task', { id: 'c1' });
}
const TURN = { conversation_id: 'c1', user_message: 'How many lamps?', turn_id: 't1' };

describe('the link of a tool', () => {
  test('calls another agent with the trace id, one hop less and the remaining time', async () => {
    const seen: unknown[] = [];
    const { agent, result } = shop(lookUp(async ({ link }) => (await link.call(STOCK, 'count')) as number));
    const fabric = await serve(
      agent,
      stock(({ traceId, ttl, meta }) => {
        seen.push(traceId, ttl, meta?.['timeout-ms']);
        return 7;
      }),
    );
    await start(fabric);
    const text = await fabric.link.call(SHOP, 'run_turn', TURN, { traceId: 'trace-1', ttl: 5 });
    expect(text).toBe('Done.');
    expect(seen).toEqual(['trace-1', 4, expect.any(Number)]);
    // The limit of the tool, not that of the turn.
    expect(seen[2]).toBeLessThanOrEqual(30_000);
    expect(result()).toMatchObject({ role: 'tool', content: '7' });
  });

  test('keeps the trace id and the hops after a restart', async () => {
    const seen: unknown[] = [];
    const [store, isRunning] = [new MemoryStore(), gate()];
    const stuck = lookUp(async () => {
      isRunning.open();
      return new Promise<never>(() => {});
    });
    const first = await serve(shop(stuck, [CALL], store).agent);
    await start(first);
    first.link.call(SHOP, 'run_turn', TURN, { traceId: 'trace-1', ttl: 5 }).catch(() => {});
    await isRunning.wait;
    await first.close();
    const used = lookUp(async ({ link }) => (await link.call(STOCK, 'count')) as number);
    const { agent } = shop(used, ['Seven.'], store);
    const second = await serve(
      agent,
      stock(({ traceId, ttl }) => {
        seen.push(traceId, ttl);
        return 7;
      }),
    );
    expect(await second.link.call(SHOP, 'run_turn', TURN)).toBe('Seven.');
    expect(seen).toEqual(['trace-1', 4]);
  });

  test('sends messages with one hop less than the turn', async () => {
    const received = Promise.withResolvers<number | undefined>();
    const report = lookUp(async ({ link }) => {
      link.send(STOCK, 'sold');
      return 'sent';
    });
    const { agent } = shop(report);
    const inbox = defineAgent({ address: STOCK, onMessage: (_, { ttl }) => received.resolve(ttl) });
    const fabric = await serve(agent, inbox);
    await start(fabric);
    await fabric.link.call(SHOP, 'run_turn', TURN, { ttl: 5 });
    expect(await received.promise).toBe(4);
  });

  test('cancels a stream when its turn is cancelled', async () => {
    const items: unknown[] = [];
    const cancelled = gate();
    const third = gate();
    const { agent } = shop(
      lookUp(async ({ link }) => {
        for await (const item of link.stream(STOCK, 'count')) {
          items.push(item);
          if (items.length === 3) third.open();
        }
        return 'all';
      }),
    );
    const counter = defineAgent({
      address: STOCK,
      operations: {
        count: operation({
          async *run(_, { signal }) {
            signal.addEventListener('abort', () => cancelled.open());
            for (let n = 1; !signal.aborted; n++) {
              if (n > 3) await cancelled.wait;
              yield n;
            }
          },
        }),
      },
    });
    const fabric = await serve(agent, counter);
    await start(fabric);
    const turn = fabric.link.call(SHOP, 'run_turn', TURN);
    const failure = expect(turn).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    await third.wait;
    await fabric.link.call(SHOP, 'cancel_turn', { conversation_id: 'c1' });
    await Promise.all([cancelled.wait, failure]);
    expect(items).toEqual([1, 2, 3]);
  });

  test('cancels the call of a tool that has timed out', async () => {
    const [isCalled, cancelled] = [gate(), gate()];
    const clock = new ManualClock();
    const used = lookUp(async ({ link }) => (await link.call(STOCK, 'count')) as number);
    const model = scriptedModel([CALL, 'Done.']);
    const fabric = await serve(
      new ChatAgent({ address: SHOP, model, tools: new ToolSet([used], { clock }) }),
      stock(async ({ signal }) => {
        signal.addEventListener('abort', () => cancelled.open());
        isCalled.open();
        await cancelled.wait;
      }),
    );
    await start(fabric);
    const turn = fabric.link.call(SHOP, 'run_turn', TURN);
    await isCalled.wait;
    await clock.run(30_000);
    expect(await turn).toBe('Done.');
    await cancelled.wait;
    expect(model.requests[1]!.messages.at(-1)).toMatchObject({
      content: expect.stringContaining('"code":"timeout"'),
    });
  });

  test('reports the error of the called agent to the model, with its code', async () => {
    const { agent, result } = shop(lookUp(async ({ link }) => (await link.call(STOCK, 'count')) as number));
    const fabric = await serve(agent);
    await start(fabric);
    expect(await fabric.link.call(SHOP, 'run_turn', TURN)).toBe('Done.');
    const { content } = result() as { content: string };
    expect(JSON.parse(content)).toEqual({
      error: { code: 'NO_ROUTE', message: expect.stringContaining(STOCK) },
    });
  });

  test('is the one given to a tool set that runs by itself; without one each use fails', async () => {
    const set = new ToolSet([lookUp(async ({ link }) => (await link.call(STOCK, 'count')) as number)]);
    const calls = [{ ok: true, id: '1', index: 0, name: 'look_up', args: {}, rawArguments: '{}' }] as const;
    const { signal } = new AbortController();
    const { link } = await serve(stock(() => 7));
    expect(await set.executeAll(calls, { signal, link })).toMatchObject([{ ok: true, value: 7 }]);
    expect(await set.executeAll(calls, { signal })).toMatchObject([
      { ok: false, error: { code: 'LINK_MISSING', message: expect.stringContaining('testFabric') } },
    ]);
  });
});

test('a function of a team calls another agent', async () => {
  const model = scriptedModel([callTools({ name: 'count', arguments: {} })]);
  const team = await loadTeam(
    { start: 'clerk', agents: { clerk: { system_directives: 'Help.', functions: [{ name: 'count' }] } } },
    {
      models: { default: model },
      abilities: [{ count: async (_, { link }) => `There are ${await link.call(STOCK, 'count')}.` }],
    },
  );
  const fabric = await serve(
    new TeamAgent({ team, address: SHOP }),
    stock(() => 7),
  );
  await start(fabric);
  expect(await fabric.link.call(SHOP, 'run_turn', TURN)).toBe('There are 7.');
});
