// Errors with codes of agents' own, from where they are thrown to the caller and to the model.
import { AgentError } from '@fame-fabric/shared';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { ChatAgent } from '../conversation/chat-agent.ts';
import { loadTeam } from '../team/load-team.ts';
import { TeamAgent } from '../team/team-agent.ts';
import { callTools, scriptedModel, type TestFabric, testFabric } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { defineAgent } from './agent.ts';
import type { Agent } from './agent-types.ts';
import { operation } from './operation.ts';

const SHOP = 'shop@fame.fabric';
let fabric: TestFabric;
const log = new CaptureLog();
afterEach(() => fabric.close());

const soldOut = (): never => {
  throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details: { left: 0 } });
};
const SOLD_OUT = {
  code: 'OUT_OF_STOCK',
  message: 'No lamps are left',
  details: { left: 0 },
  retryable: false,
};

/** The parts of an error that its caller sees. */
async function failureOf(call: Promise<unknown>) {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(AgentError);
  const { code, message, details, retryable } = error as AgentError;
  return { code, message, details, retryable };
}
async function serve(agent: Agent): Promise<TestFabric> {
  fabric = await testFabric([agent], { log });
  return fabric;
}

test('an operation and a stream fail with the code, the message and the details; nothing is logged', async () => {
  const { link } = await serve(
    defineAgent({
      address: SHOP,
      operations: {
        buy: operation({ run: soldOut }),
        watch: operation({
          async *run() {
            yield 1;
            soldOut();
          },
        }),
      },
    }),
  );
  expect(await failureOf(link.call(SHOP, 'buy'))).toEqual(SOLD_OUT);
  const items: unknown[] = [];
  const read = async (): Promise<void> => {
    for await (const item of link.stream(SHOP, 'watch')) items.push(item);
  };
  expect(await failureOf(read())).toEqual(SOLD_OUT);
  expect(items).toEqual([1]);
  expect(log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
});

test('details that JSON cannot represent, or that are too large, still end the call', async () => {
  const fail = (details: Record<string, unknown>) =>
    operation({
      run: () => {
        throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details });
      },
    });
  const { link } = await serve(
    defineAgent({
      address: SHOP,
      operations: { odd: fail({ left: 0n }), large: fail({ text: 'x'.repeat(300_000) }) },
    }),
  );
  await expect(link.call(SHOP, 'odd')).rejects.toMatchObject({ code: 'INTERNAL' });
  await expect(link.call(SHOP, 'large')).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
});

test('a tool reports the code and the message to the model', async () => {
  const buy = tool({ name: 'buy', description: 'Buys', parameters: z.object({}), execute: soldOut });
  const model = scriptedModel([callTools({ name: 'buy', arguments: {} }), 'Sorry, sold out.']);
  const { link } = await serve(new ChatAgent({ address: SHOP, model, tools: new ToolSet([buy]) }));
  await link.call(SHOP, 'start_task', { id: 'c1' });
  expect(await link.call(SHOP, 'run_turn', { args: ['c1', 'A lamp, please'] })).toBe('Sorry, sold out.');
  const { content } = model.requests[1]!.messages.at(-1) as { content: string };
  expect(JSON.parse(content)).toEqual({ error: { code: 'OUT_OF_STOCK', message: 'No lamps are left' } });
});

test('a function of a team does the same', async () => {
  const model = scriptedModel([callTools({ name: 'buy', arguments: {} }), 'Sorry, sold out.']);
  const team = await loadTeam(
    { start: 'clerk', agents: { clerk: { system_directives: 'Sell.', functions: [{ name: 'buy' }] } } },
    { models: { default: model }, abilities: [{ buy: soldOut }] },
  );
  const { link } = await serve(new TeamAgent({ team, address: SHOP }));
  await link.call(SHOP, 'start_task', { id: 'c1' });
  expect(await link.call(SHOP, 'run_turn', { args: ['c1', 'A lamp, please'] })).toBe('Sorry, sold out.');
  const { content } = model.requests[1]!.messages.at(-1) as { content: string };
  expect(JSON.parse(content)).toEqual({ error: { code: 'OUT_OF_STOCK', message: 'No lamps are left' } });
});

test('details that JSON cannot represent are left out of a turn, and the conversation continues', async () => {
  const stream = (): never => {
    throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details: { left: 0n } });
  };
  const { link } = await serve(new ChatAgent({ address: SHOP, model: { name: 'own', stream } }));
  await link.call(SHOP, 'start_task', { id: 'c1' });
  for (const turn_id of ['t1', 't2']) {
    const turn = { conversation_id: 'c1', user_message: 'A lamp', turn_id };
    expect(await failureOf(link.call(SHOP, 'run_turn', turn))).toEqual({ ...SOLD_OUT, details: undefined });
  }
});

test('a turn that its model fails with such an error ends with it, for later callers too', async () => {
  const model = { name: 'own', stream: soldOut };
  const { link } = await serve(new ChatAgent({ address: SHOP, model }));
  await link.call(SHOP, 'start_task', { id: 'c1' });
  const turn = { conversation_id: 'c1', user_message: 'A lamp', turn_id: 't1' };
  expect(await failureOf(link.call(SHOP, 'run_turn', turn))).toEqual(SOLD_OUT);
  expect(await failureOf(link.call(SHOP, 'run_turn', turn))).toEqual(SOLD_OUT);
  const report = await link.call(SHOP, 'get_turn', { conversation_id: 'c1', turn_id: 't1' });
  expect(report).toMatchObject({ error: { code: 'OUT_OF_STOCK', message: 'No lamps are left' } });
});
