import { equal } from 'node:assert/strict';
import { test } from 'node:test';
import { callTools, scriptedModel, testFabric } from '@fame-fabric/agents/testing';
import { Client } from '@fame-fabric/client';
import { supportTeam } from './agent.ts';

test('the switchboard passes a question about an order to the agent for orders', async () => {
  const model = scriptedModel([
    callTools({ name: 'route', arguments: { topic: 'order status' } }),
    callTools({ name: 'order_status', arguments: { order_id: '1042' } }),
    'It is on its way.',
  ]);
  await using fabric = await testFabric([await supportTeam(model)]);
  const conversation = new Client(fabric.link).conversation('support@fame.fabric');

  equal(await conversation.ask('Where is my order 1042?'), 'It is on its way.');
  equal(model.requests.length, 3);
});

test('thanks are answered without a further model call', async () => {
  const model = scriptedModel([callTools({ name: 'route', arguments: { topic: 'say thanks' } })]);
  await using fabric = await testFabric([await supportTeam(model)]);
  const conversation = new Client(fabric.link).conversation('support@fame.fabric');

  equal(await conversation.ask('Thank you!'), 'You are welcome!');
});
