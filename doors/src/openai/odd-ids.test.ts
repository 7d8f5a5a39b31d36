// Ids with characters that no header can have: other doors accept them, and a client can write them into an id of its own.
import { expect, test } from 'vitest';
import { encodeId } from '../shared/opaque-id.ts';
import { doorKit } from '../testing/door-kit.ts';
import { get, respond, textOf } from '../testing/responses-client.ts';
import { openAiDoor } from './openai-door.ts';

const agent = 'chat@fame.fabric';

test.each(['Gespräch', 'a\r\nb: c', '€'])('a conversation %j continues as a response', async (id) => {
  await using kit = await doorKit(openAiDoor, { replies: ['one', 'two'] });
  using visitor = await kit.fabric.visit({ headers: {} } as Parameters<typeof kit.fabric.visit>[0]);
  await visitor.client.conversation(agent, { id }).runTurn('a');
  const conversation = encodeId('conv_', { agent, conversation: id });
  const created = await respond(kit, { input: 'b', conversation });
  expect([created.status, textOf(created.body)]).toEqual([200, 'two']);
  expect(created.headers['x-conversation-id']).toBe(encodeURIComponent(id));
  const stored = await get(kit, `/v1/responses/${created.body.id}`);
  expect(stored.headers['x-conversation-id']).toBe(encodeURIComponent(id));
});

test.each(['€', '\r\n', '\ud800'])('a forged id with %j is unknown', async (part) => {
  await using kit = await doorKit(openAiDoor, { replies: [] });
  const fields = [agent, part, part];
  const id = `resp_${Buffer.from(JSON.stringify(fields)).toString('base64url')}`;
  const { status, body } = await get(kit, `/v1/responses/${id}`);
  expect([status, body.error.type]).toEqual([404, 'invalid_request_error']);
});
