import type { AgentDescription } from '@fame-fabric/shared';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { mathAgent } from '../builtin/math-agent.ts';
import { ChatAgent } from '../conversation/chat-agent.ts';
import { offlineModel } from '../model/offline/offline-model.ts';
import { FakeLink } from '../testing/fake-link.ts';
import { defineAgent } from './agent.ts';
import type { Agent, Serving } from './agent-types.ts';
import { type Operation, operation } from './operation.ts';

const ADDRESS = 'shop@fame.fabric';
let serving: Serving | undefined;
afterEach(() => serving?.close());

async function described(agent: Agent): Promise<AgentDescription> {
  const link = new FakeLink();
  serving = await agent.serve(link);
  return (await link.call(agent.address, 'describe')) as AgentDescription;
}

const shop = (operations: Record<string, Operation>): Agent => defineAgent({ address: ADDRESS, operations });

describe('D9: describe', () => {
  it('lists the operations of an agent with their parameters', async () => {
    const agent = defineAgent({
      address: ADDRESS,
      description: 'Sells tea.',
      operations: {
        order: operation({
          description: 'Places an order.',
          params: z.object({ item: z.string().describe('What to order.'), count: z.int().default(1) }),
          run: () => 'o-1',
        }),
        watch: operation({
          immediate: true,
          async *run() {
            yield 1;
          },
        }),
        move: operation({ params: z.tuple([z.number(), z.date()]), run: () => null }),
      },
    });
    expect(await described(agent)).toEqual({
      address: ADDRESS,
      description: 'Sells tea.',
      operations: [
        {
          name: 'order',
          description: 'Places an order.',
          params: {
            type: 'object',
            properties: {
              item: { type: 'string', description: 'What to order.' },
              count: {
                type: 'integer',
                default: 1,
                minimum: Number.MIN_SAFE_INTEGER,
                maximum: Number.MAX_SAFE_INTEGER,
              },
            },
            required: ['item'],
          },
          streams: false,
        },
        { name: 'watch', params: { type: 'object', properties: {} }, streams: true, immediate: true },
        {
          name: 'move',
          params: {
            type: 'array',
            prefixItems: [{ type: 'number' }, {}],
            items: false,
            minItems: 2,
            maxItems: 2,
          },
          streams: false,
        },
      ],
    });
  });

  it('notes that an agent runs tasks, and lists no task method', async () => {
    const { operations, tasks } = await described(mathAgent());
    expect(operations.map(({ name }) => name)).toEqual(['add', 'multiply', 'fib_stream', 'count']);
    expect(tasks).toBe(true);
    expect((await described(shop({}))).tasks).toBeUndefined();
  });

  it('lists the operations of a chat agent beside its model', async () => {
    const answer = await described(new ChatAgent({ model: offlineModel() }));
    expect(answer).toMatchObject({ address: 'chat@fame.fabric', model: 'offline', tasks: true });
    expect(answer.operations.map(({ name }) => name)).toContain('run_turn');
    expect(answer.operations.find(({ name }) => name === 'run_turn_stream')?.streams).toBe(true);
  });

  it('can be replaced by an operation of that name', async () => {
    expect(await described(shop({ describe: operation({ run: () => 'A shop.' }) }))).toBe('A shop.');
  });

  it('reduces a large schema to the names of its parameters', async () => {
    const values = Array.from({ length: 5_000 }, (_, i) => `value-${i}`);
    const params = z.object({ one: z.enum(values), other: z.string().optional() });
    const [order] = (await described(shop({ order: operation({ params, run: () => null }) }))).operations;
    expect(order).toEqual({
      name: 'order',
      params: { type: 'object', properties: { one: {}, other: {} }, required: ['one'] },
      streams: false,
      truncated: true,
    });
  });

  it('lists an operation whose parameters have no JSON Schema', async () => {
    const params = z.object({ one: z.string().meta({ id: 'id' }), other: z.number().meta({ id: 'id' }) });
    const operations = { order: operation({ params, run: () => null }), list: operation({ run: () => [] }) };
    expect((await described(shop(operations))).operations).toEqual([
      { name: 'order', params: {}, streams: false, truncated: true },
      expect.objectContaining({ name: 'list' }),
    ]);
  });

  it('leaves out the operations for which there is no room', async () => {
    const one = operation({ description: 'x'.repeat(5_000), run: () => null });
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`operation_${i}`, one]));
    const answer = await described(shop(many));
    expect(answer.truncated).toBe(true);
    expect(answer.operations.length).toBeGreaterThan(20);
    expect(JSON.stringify(answer).length).toBeLessThan(100_000);
  });

  it('is not among the operations that an error suggests to callers', async () => {
    const link = new FakeLink();
    serving = await shop({ order: operation({ run: () => null }) }).serve(link);
    const error = await link.start(ADDRESS, 'zzzzzzzz').done;
    expect(error.error?.message).toBe('There is no operation "zzzzzzzz". There are: order');
  });
});
