// State of responses and conversations over a fabric in memory: continuing, forks, owners, storage, cancel and background.
import { gate } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { type DoorKit, type DoorKitOptions, doorKit } from '../../testing/door-kit.ts';
import { get, respond, send, textOf, withoutTimes } from '../../testing/responses-client.ts';
import { openAiDoor } from '../openai-door.ts';

const CHAT = 'chat@fame.fabric';
const ADA = { authorization: 'Bearer fk_ada' };
const BEA = { authorization: 'Bearer fk_bea' };
const open = (options: DoorKitOptions = {}) => doorKit(openAiDoor, { replies: [], ...options });
/** The texts of the messages that the model received last, without the system message. */
const asked = (kit: DoorKit): unknown[] =>
  kit.model.requests.at(-1)!.messages.flatMap(({ role, content }) => (role === 'system' ? [] : [content]));
const systemOf = (kit: DoorKit): unknown => kit.model.requests.at(-1)!.messages[0]!.content;

describe('previous_response_id', () => {
  test('continues the conversation after its last response', async () => {
    await using kit = await open({ replies: ['one', 'two'] });
    const first = await respond(kit, { input: 'a' });
    const second = await respond(kit, { model: undefined, input: 'b', previous_response_id: first.body.id });
    expect(asked(kit)).toEqual(['a', 'one', 'b']);
    expect(second.body).toMatchObject({ previous_response_id: first.body.id, model: CHAT });
    expect(second.headers['x-conversation-id']).toBe(first.headers['x-conversation-id']);
  });

  test('forks the conversation after an earlier response', async () => {
    await using kit = await open({ replies: ['one', 'two', 'three'] });
    const first = await respond(kit, { input: 'a' });
    await respond(kit, { input: 'b', previous_response_id: first.body.id });
    const fork = await respond(kit, { input: 'c', previous_response_id: first.body.id });
    expect(asked(kit)).toEqual(['a', 'one', 'c']);
    expect(fork.headers['x-conversation-id']).not.toBe(first.headers['x-conversation-id']);
    const items = await get(kit, `/v1/responses/${fork.body.id}/input_items`);
    expect(items.body.data).toMatchObject([{ content: [{ text: 'c' }] }]);
  });

  test('several continuations at once are branches', async () => {
    await using kit = await open({ replies: ['one', 'two', 'three', 'four', 'five'] });
    const { body } = await respond(kit, { input: 'a' });
    const next = { input: 'b', previous_response_id: body.id };
    const answers = await Promise.all([respond(kit, next), respond(kit, next), respond(kit, next)]);
    expect(new Set(answers.map(({ headers }) => headers['x-conversation-id'])).size).toBe(3);
    const later = await respond(kit, next);
    expect(answers.map(({ body: { id } }) => id)).not.toContain(later.body.id);
    for (const { messages } of kit.model.requests.slice(1)) expect(messages).toHaveLength(4);
  });

  test('instructions hold for one response, and system messages for all', async () => {
    await using kit = await open({ replies: ['1', '2', '3', '4'] });
    const first = await respond(kit, {
      instructions: 'Be short.',
      input: [
        { role: 'system', content: 'You are a pirate.' },
        { role: 'user', content: 'a' },
      ],
    });
    expect(systemOf(kit)).toBe('Be short.\n\nYou are a pirate.');
    const second = await respond(kit, { input: 'b', previous_response_id: first.body.id });
    expect(systemOf(kit)).toBe('You are a pirate.');
    expect(second.body.instructions).toBeNull();
    await respond(kit, { input: 'c', previous_response_id: second.body.id, instructions: 'Be long.' });
    expect(systemOf(kit)).toBe('Be long.\n\nYou are a pirate.');
    await respond(kit, { input: 'x', instructions: 'Alone.' });
    expect(systemOf(kit)).toBe('Alone.');
  });

  test('with truncation "disabled" a history that would be cut fails', async () => {
    await using kit = await open({ replies: ['1', '2'], chat: { maxWindowTokens: 30 } });
    const first = await respond(kit, { input: 'x'.repeat(200) });
    const continued = { input: 'b', previous_response_id: first.body.id };
    const refused = await respond(kit, { ...continued, truncation: 'disabled' });
    expect(refused).toMatchObject({ status: 400, body: { error: { param: 'truncation' } } });
    expect(await respond(kit, { ...continued, truncation: 'auto' })).toMatchObject({ status: 200 });
    expect(asked(kit)).toEqual(['b']);
  });

  test('an unknown one, one that is not stored, and one of another principal are the same', async () => {
    await using kit = await open({ replies: ['1', '2'] });
    const unstored = await respond(kit, { input: 'a', store: false }, ADA);
    const stored = await respond(kit, { input: 'a' }, ADA);
    for (const [id, headers] of [
      ['resp_nothing', ADA],
      [unstored.body.id, ADA],
      [stored.body.id, BEA],
      [stored.body.id, {}],
    ]) {
      const answer = await respond(kit, { input: 'b', previous_response_id: id }, headers);
      expect(answer.body.error).toMatchObject({
        param: 'previous_response_id',
        code: 'previous_response_not_found',
      });
      expect(answer.status).toBe(400);
      expect(await get(kit, `/v1/responses/${id}`, headers)).toMatchObject({ status: 404 });
    }
    expect(kit.model.count).toBe(2);
  });

  test('one that runs, and one of another agent, are refused', async () => {
    const held = gate();
    await using kit = await open({ replies: [['on', held]] });
    const first = await respond(kit, { input: 'a', background: true });
    const refused = await respond(kit, { input: 'b', previous_response_id: first.body.id });
    expect(refused).toMatchObject({ status: 409, body: { error: { code: 'TURN_IN_PROGRESS' } } });
    expect(
      await respond(kit, { input: 'b', model: 'missing', previous_response_id: first.body.id }),
    ).toMatchObject({ status: 404, body: { error: { code: 'model_not_found' } } });
    held.open();
  });
});

test('a response that is not stored leaves no conversation', async () => {
  await using kit = await open({ replies: ['1'] });
  const { body } = await respond(kit, { input: 'a', store: false });
  expect(body).toMatchObject({ status: 'completed', store: false });
  expect(await get(kit, `/v1/responses/${body.id}`)).toMatchObject({ status: 404 });
  expect(await kit.client.conversations(CHAT).list()).toMatchObject({ conversations: [] });
});

test('a response that continues another one and is not stored leaves the conversation as it was', async () => {
  await using kit = await open({ replies: ['1', '2', '3'] });
  const first = await respond(kit, { input: 'a' });
  await respond(kit, { input: 'b', previous_response_id: first.body.id, store: false });
  expect(asked(kit)).toEqual(['a', '1', 'b']);
  const { conversations } = await kit.client.conversations(CHAT).list();
  expect(conversations).toMatchObject([{ turns: 1 }]);
  await respond(kit, { input: 'c', previous_response_id: first.body.id });
  expect(asked(kit)).toEqual(['a', '1', 'c']);
});

describe('conversations', () => {
  test('keep the items of their responses', async () => {
    await using kit = await open({ replies: ['one', 'two'] });
    const items = [
      { type: 'message', role: 'user', content: 'Hi' },
      { type: 'message', role: 'assistant', content: 'Hello' },
    ];
    const created = await send(kit, 'POST', '/v1/conversations', {
      body: { items, metadata: { topic: 'tea' } },
    });
    expect(created.body).toMatchObject({ object: 'conversation', metadata: { topic: 'tea' } });
    const { id } = created.body;
    expect(await get(kit, `/v1/conversations/${id}`)).toMatchObject({ body: created.body });
    const first = await respond(kit, { model: undefined, input: 'a', conversation: id });
    expect(first.body.conversation).toEqual({ id });
    await respond(kit, { input: 'b', conversation: { id } });
    expect(asked(kit)).toEqual(['Hi', 'Hello', 'a', 'one', 'b']);
    const all = await get(kit, `/v1/conversations/${id}/items?order=asc`);
    const texts = all.body.data.map(({ content }: { content: { text: string }[] }) => content[0]!.text);
    expect(texts).toEqual(['Hi', 'Hello', 'a', 'one', 'b', 'two']);
    const page = await get(kit, `/v1/conversations/${id}/items?limit=2`);
    expect(page.body).toMatchObject({ has_more: true, first_id: all.body.data[5].id });
    const next = await get(kit, `/v1/conversations/${id}/items?limit=10&after=${page.body.last_id}`);
    expect(next.body.data).toEqual(all.body.data.slice(0, 4).reverse());
    const [, , item] = all.body.data;
    expect(await get(kit, `/v1/conversations/${id}/items/${item.id}`)).toMatchObject({ body: item });
    expect(await get(kit, `/v1/conversations/${id}/items/none`)).toMatchObject({ status: 404 });
    for (const query of ['limit=0', 'limit=x', 'order=up', 'after=none']) {
      expect(await get(kit, `/v1/conversations/${id}/items?${query}`)).toMatchObject({ status: 400 });
    }
  });

  test('of another door have their own id', async () => {
    await using kit = await open({ replies: ['one', 'two'] });
    const native = kit.client.conversation(CHAT, { share: ['*'] });
    await native.ask('a');
    const { body } = await respond(kit, { input: 'b', conversation: native.id });
    expect(asked(kit)).toEqual(['a', 'one', 'b']);
    expect(textOf(body)).toBe('two');
  });

  test('belong to their principal', async () => {
    await using kit = await open();
    const { id } = (await send(kit, 'POST', '/v1/conversations', { headers: ADA })).body;
    for (const [one, headers] of [
      [id, BEA],
      ['conv_nothing', ADA],
    ]) {
      expect(await get(kit, `/v1/conversations/${one}`, headers)).toMatchObject({ status: 404 });
      expect(await get(kit, `/v1/conversations/${one}/items`, headers)).toMatchObject({ status: 404 });
      expect(await respond(kit, { input: 'x', conversation: one }, headers)).toMatchObject({ status: 404 });
      expect(await send(kit, 'DELETE', `/v1/conversations/${one}`, { headers })).toMatchObject({
        status: 404,
      });
    }
  });

  test('an operation that agents lack is 501 with the reason', async () => {
    await using kit = await open({ replies: ['1'] });
    const { id } = (await send(kit, 'POST', '/v1/conversations')).body;
    const response = await respond(kit, { input: 'x' });
    for (const [method, url] of [
      ['POST', `/v1/conversations/${id}`],
      ['DELETE', `/v1/conversations/${id}`],
      ['POST', `/v1/conversations/${id}/items`],
      ['DELETE', `/v1/conversations/${id}/items/msg_x`],
      ['DELETE', `/v1/responses/${response.body.id}`],
    ] as const) {
      const answer = await send(kit, method, url, { body: {} });
      expect(answer).toMatchObject({ status: 501, body: { error: { code: 'OPERATION_UNSUPPORTED' } } });
    }
  });
});

describe('background', () => {
  test('a response runs on, and becomes whole', async () => {
    const held = gate();
    await using kit = await open({ replies: [['Hel', held, 'lo']] });
    const { body } = await respond(kit, { input: 'a', background: true });
    expect(body).toMatchObject({ status: 'in_progress', background: true, completed_at: null, usage: null });
    await held.reached;
    held.open();
    const now = () => get(kit, `/v1/responses/${body.id}`).then((answer) => answer.body);
    await expect.poll(async () => (await now()).status).toBe('completed');
    expect(textOf(await now())).toBe('Hello');
  });

  test('a turn that is refused has its status', async () => {
    await using kit = await open();
    const answer = await respond(kit, { input: 'x'.repeat(70_000), background: true });
    expect(answer).toMatchObject({ status: 400, body: { error: { param: 'input' } } });
  });
});

describe('cancel', () => {
  test('ends a response, once', async () => {
    const held = gate();
    await using kit = await open({ replies: [['Hel', held]] });
    const { body } = await respond(kit, { input: 'a', background: true }, ADA);
    await held.reached;
    const url = `/v1/responses/${body.id}/cancel`;
    expect(await send(kit, 'POST', url, { headers: BEA })).toMatchObject({ status: 404 });
    const cancelled = await send(kit, 'POST', url, { headers: ADA });
    expect(cancelled.body).toMatchObject({ status: 'cancelled', output: [{ status: 'incomplete' }] });
    const again = { ...ADA, 'content-type': 'application/json' };
    expect(await send(kit, 'POST', url, { headers: again })).toMatchObject({
      body: withoutTimes(cancelled.body),
    });
    const { events } = await get(kit, `/v1/responses/${body.id}?stream=true`, ADA);
    expect(events.at(-1)).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled' } });
  });

  test('a request that waits gets the cancelled response', async () => {
    const held = gate();
    await using kit = await open({ replies: [['Hel', held]] });
    const waiting = respond(kit, { input: 'a' });
    await held.reached;
    const [listed] = (await kit.client.conversations(CHAT).list()).conversations;
    await kit.client.conversation(CHAT, { id: listed!.id, isResumed: true }).cancel();
    expect(await waiting).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  });
});

describe('repeated requests', () => {
  const again = { 'x-stainless-retry-count': '1' };

  test.each([false, true])('join the turn of the first one; stream: %s', async (stream) => {
    await using kit = await open({ replies: ['one', 'two'] });
    const first = await respond(kit, { input: 'a', stream });
    const second = await respond(kit, { input: 'a', stream }, again);
    const idOf = ({ body, events }: typeof first): string => body?.id ?? events[0].response.id;
    expect(idOf(second)).toBe(idOf(first));
    expect(kit.model.count).toBe(1);
    const third = await respond(kit, { input: 'a', stream });
    expect(idOf(third)).not.toBe(idOf(first));
  });

  test('join a turn that continued another response, and make no fork', async () => {
    await using kit = await open({ replies: ['one', 'two'] });
    const first = await respond(kit, { input: 'a' });
    const body = { input: 'b', previous_response_id: first.body.id };
    const second = await respond(kit, body);
    expect(await respond(kit, body, again)).toMatchObject({ body: { id: second.body.id } });
    expect((await kit.client.conversations(CHAT).list()).conversations).toHaveLength(1);
  });

  test('with one Idempotency-Key are one turn, and another body is refused', async () => {
    await using kit = await open({ replies: ['one', 'two'] });
    const key = { 'idempotency-key': 'k1' };
    const first = await respond(kit, { input: 'a' }, key);
    expect(await respond(kit, { input: 'a' }, key)).toMatchObject({ body: { id: first.body.id } });
    expect(await respond(kit, { input: 'b' }, key)).toMatchObject({ status: 409 });
    expect(kit.model.count).toBe(1);
  });
});
