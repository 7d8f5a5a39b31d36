// A tool of a chat agent calls another agent through a real sentinel. The other agent is a process of its own.
import { ChatAgent, ToolSet, tool } from '@fame-fabric/agents';
import { callTools, scriptedModel } from '@fame-fabric/agents/testing';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

const SHOP = 'shop@fame.fabric';

afterEach(closeLinks);

async function start() {
  const sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '500' } });
  const program = `${import.meta.dirname}/stock-program.ts`;
  const stock = startNode([...fameArgs().slice(0, -1), program], {
    name: 'stock agent',
    env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: sentinel.dataDir },
  });
  const items: unknown[] = [];
  const third = Promise.withResolvers<void>();
  const watch = tool({
    name: 'watch_stock',
    description: 'Watches the stock.',
    parameters: z.object({}),
    async execute(_, { link }) {
      for await (const item of link.stream('stock@fame.fabric', 'watch')) {
        items.push(item);
        if (items.length === 3) third.resolve();
      }
    },
  });
  const call = callTools({ name: 'watch_stock', arguments: {} });
  const model = scriptedModel([call, 'The stock is away.']);
  const [link, client] = await Promise.all([connectLink(sentinel.url), connectLink(sentinel.url)]);
  await new ChatAgent({ address: SHOP, model, tools: new ToolSet([watch]) }).serve(link);
  await stock.waitFor(/stock@fame\.fabric is served/);
  await client.call(SHOP, 'start_task', { id: 'c1' });
  const turn = client.call(SHOP, 'run_turn', { args: ['c1', 'How many lamps?'] });
  turn.catch(() => {});
  await third.promise;
  return { client, stock, model, items, turn };
}

test('the other agent sees the cancellation of a turn in the middle of a stream', async () => {
  const { client, stock, items, turn } = await start();
  expect(await client.call(SHOP, 'cancel_turn', { conversation_id: 'c1' })).toBe(true);
  await expect(turn).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
  await stock.waitFor(/watch was cancelled after 3 items/);
  expect(items).toEqual([1, 2, 3]);
});

test('the model receives an error with a code and a message when the other agent is killed', async () => {
  const { stock, model, turn } = await start();
  await stock.kill();
  expect(await turn).toBe('The stock is away.');
  const { content } = model.requests[1]!.messages.at(-1) as { content: string };
  const { error } = JSON.parse(content) as { error: { code: string; message: string } };
  expect(error.code).toBe('NODE_GONE');
  expect(error.message).toMatch(/has left|is gone/);
});
