// Turns over plain HTTP: conversations, retries, streams that are resumed, and cancels.
import { gate } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';
import { type DoorKit, type DoorKitOptions, doorKit } from '../testing/door-kit.ts';
import { eventsIn, streamText } from '../testing/sse-events.ts';
import { httpDoor } from './http-door.ts';

const kitWith = (replies: DoorKitOptions['replies']): Promise<DoorKit> => doorKit(httpDoor, { replies });
const RUN = '/agents/chat/run_turn';
const EVENTS = { accept: 'text/event-stream' };
const turn = (payload: object, headers: Record<string, string> = {}) =>
  ({ method: 'POST', url: RUN, payload, headers }) as const;

test('a turn begins a conversation and names it, and the next one continues it', async () => {
  await using kit = await kitWith(['Hello Ada', 'Still here']);
  const first = await kit.inject(turn({ user_message: 'I am Ada' }));
  const { conversation_id, turn_id, text, finish } = first.json();
  expect({ text, finish }).toEqual({ text: 'Hello Ada', finish: 'stop' });
  expect([first.headers['x-conversation-id'], first.headers['x-turn-id']]).toEqual([
    conversation_id,
    turn_id,
  ]);
  const second = await kit.inject(turn({ conversation_id, user_message: 'Who am I?' }));
  expect(second.json()).toMatchObject({ conversation_id, text: 'Still here' });
  expect(kit.model.requests[1]!.messages.map(({ content }) => content).slice(1)).toEqual([
    'I am Ada',
    'Hello Ada',
    'Who am I?',
  ]);
  const report = await kit.inject({ url: String(first.headers.location) });
  expect(report.json()).toMatchObject({ turn_id, state: 'completed', text: 'Hello Ada' });
});

test('a conversation that the caller names is started, also in the header', async () => {
  await using kit = await kitWith(['one', 'two']);
  await kit.inject(turn({ user_message: 'a', conversation_id: 'mine' }));
  const second = await kit.inject(turn({ user_message: 'b' }, { 'x-conversation-id': 'mine' }));
  expect(second.json()).toMatchObject({ conversation_id: 'mine', text: 'two' });
  expect(kit.model.requests[1]!.messages).toHaveLength(4);
});

test('an id of any characters survives the headers', async () => {
  await using kit = await kitWith(['one', 'two']);
  const first = await kit.inject(turn({ user_message: 'a', conversation_id: 'größe/1 %' }));
  const header = String(first.headers['x-conversation-id']);
  const second = await kit.inject(turn({ user_message: 'b' }, { 'x-conversation-id': header }));
  expect(second.json().conversation_id).toBe('größe/1 %');
  expect((await kit.inject({ url: String(first.headers.location) })).json()).toMatchObject({ text: 'one' });
});

test('a request with the same Idempotency-Key runs one turn, and with another message it is a conflict', async () => {
  await using kit = await kitWith(['once']);
  const key = { 'idempotency-key': 'k1', 'x-conversation-id': 'c' };
  const [first, again] = await Promise.all([1, 2].map(() => kit.inject(turn({ user_message: 'a' }, key))));
  expect([first!.json().text, again!.json().text]).toEqual(['once', 'once']);
  expect(kit.model.count).toBe(1);
  const other = await kit.inject(turn({ user_message: 'b' }, key));
  expect([other.statusCode, other.json().error.code]).toEqual([409, 'TURN_CONFLICT']);
});

test('the events of a turn have cursors, and a reader continues after one', async () => {
  const half = gate();
  await using kit = await kitWith([['Hello ', half, 'Ada']]);
  const ids = { conversation_id: 'c', turn_id: 't' };
  const first = await kit.inject({ ...turn({ ...ids, user_message: 'Hi' }, EVENTS), payloadAsStream: true });
  expect(first.headers).toMatchObject({ 'x-conversation-id': 'c', 'x-turn-id': 't' });
  const chunk = await new Promise<string>((resolve) =>
    first.stream().once('data', (bytes) => resolve(String(bytes))),
  );
  const [seen] = eventsIn(chunk);
  expect(seen).toMatchObject({ event: 'text', data: { type: 'text', text: 'Hello ' } });
  // The reader leaves, and the turn continues.
  first.raw.res.destroy();
  half.open();
  const rest = await kit.inject({
    ...turn({ ...ids, user_message: 'Hi' }, { ...EVENTS, 'last-event-id': seen!.id! }),
    payloadAsStream: true,
  });
  const events = eventsIn(await streamText(rest));
  expect(events.at(-1)).toMatchObject({ event: 'done', data: { text: 'Hello Ada' } });
  const texts = events.flatMap(({ event, data }) =>
    event === 'text' ? (data as { text: string }).text : [],
  );
  expect(texts.join('')).toBe('Ada');
  expect(kit.model.count).toBe(1);
});

test('a page follows a turn with GET until no more events follow', async () => {
  await using kit = await kitWith([['Hello ', 'Ada']]);
  const { headers } = await kit.inject(turn({ user_message: 'Hi' }));
  const url = String(headers.location);
  const followed = eventsIn(
    await streamText(await kit.inject({ url, headers: EVENTS, payloadAsStream: true })),
  );
  expect(followed.at(-1)).toMatchObject({ event: 'done' });
  const after = { ...EVENTS, 'last-event-id': followed.at(-1)!.id! };
  expect((await kit.inject({ url, headers: after })).statusCode).toBe(204);
});

test('DELETE cancels a turn, and a reader of its events gets the error', async () => {
  const never = gate();
  await using kit = await kitWith([['Hello ', never, 'Ada']]);
  const ids = { conversation_id: 'c', turn_id: 't' };
  const reading = await kit.inject({
    ...turn({ ...ids, user_message: 'Hi' }, EVENTS),
    payloadAsStream: true,
  });
  const text = streamText(reading);
  const url = '/agents/chat/turns/t?conversation_id=c';
  await expect.poll(async () => (await kit.inject({ url })).statusCode).toBe(200);
  const cancelled = await kit.inject({ method: 'DELETE', url });
  expect(cancelled.json()).toEqual({ conversation_id: 'c', turn_id: 't', state: 'cancelled' });
  expect(eventsIn(await text).at(-1)).toMatchObject({
    event: 'error',
    data: { error: { code: 'TURN_CANCELLED' }, conversation_id: 'c', turn_id: 't' },
  });
  const unknown = await kit.inject({ method: 'DELETE', url: '/agents/chat/turns/u?conversation_id=c' });
  expect([unknown.statusCode, unknown.json().error.code]).toEqual([404, 'TURN_UNKNOWN']);
});

test('a turn of another principal cannot be read or cancelled', async () => {
  await using kit = await kitWith(['secret']);
  const ada = { authorization: 'Bearer fk_ada' };
  const { headers } = await kit.inject(turn({ user_message: 'Hi' }, ada));
  for (const method of ['GET', 'DELETE'] as const) {
    const url = String(headers.location);
    expect((await kit.inject({ method, url, headers: ada })).statusCode).toBe(200);
    const refused = await kit.inject({ method, url, headers: { authorization: 'Bearer fk_bea' } });
    expect([refused.statusCode, refused.json().error.code]).toEqual([404, 'CONVERSATION_UNKNOWN']);
  }
});

test.each<[object, Record<string, string>, string]>([
  [{}, {}, 'REQUEST_INVALID'],
  [{ user_message: 7 }, {}, 'REQUEST_INVALID'],
  [{ user_message: 'a', conversation_id: '\ud800' }, {}, 'REQUEST_INVALID'],
  [{ user_message: 'a', turn_id: 'x'.repeat(129) }, {}, 'REQUEST_INVALID'],
  [{ user_message: 'a' }, { 'last-event-id': '5' }, 'REQUEST_INVALID'],
  [{ user_message: 'a', turn_id: 't' }, { 'last-event-id': 'x' }, 'REQUEST_INVALID'],
  [{ user_message: 'a', options: { temperature: 9 } }, {}, 'PARAMS_INVALID'],
  [{ user_message: 'a', options: { temperature: 9 } }, EVENTS, 'PARAMS_INVALID'],
])('the turn %j with %j is refused with 400', async (payload, headers, code) => {
  await using kit = await kitWith([]);
  const response = await kit.inject(turn(payload, headers));
  expect([response.statusCode, response.json().error.code]).toEqual([400, code]);
});

test('the example of a turn is a request that works', async () => {
  await using kit = await doorKit(httpDoor, { replies: ['Hi'] });
  const { operations } = (await kit.inject({ url: '/agents/chat' })).json();
  const { example } = operations.find(({ name }: { name: string }) => name === 'run_turn');
  const [, payload] = /-d '(.*)'$/.exec(example) ?? [];
  const refused = await kit.inject({ method: 'POST', url: '/agents/chat/run_turn', payload: '{}' });
  expect(refused.json().error.example).toBe(example);
  const answer = await kit.inject({ method: 'POST', url: '/agents/chat/run_turn', payload: payload ?? '' });
  expect(answer.json()).toMatchObject({ text: 'Hi' });
});
