import { deepEqual, equal } from 'node:assert/strict';
import { test } from 'node:test';
import { callTools, scriptedModel, testFabric } from '@fame-fabric/agents/testing';
import { Client } from '@fame-fabric/client';
import { shopAgent } from './agent.ts';

test('looks an order up before it answers', async () => {
  const model = scriptedModel([
    callTools({ name: 'order_status', arguments: { order_id: '1042' } }),
    'It is on its way.',
  ]);
  await using fabric = await testFabric([shopAgent(model)]);
  const conversation = new Client(fabric.link).conversation('shop@fame.fabric');

  equal(await conversation.ask('Where is my order 1042?'), 'It is on its way.');

  const result = model.requests.at(-1)?.messages.at(-1);
  deepEqual(JSON.parse(String(result?.content)), { order_id: '1042', status: 'on its way' });
});
