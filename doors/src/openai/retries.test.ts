// Repeated requests, readers that leave, and sent text that the door cannot withdraw.
import { defineAgent, operation } from '@fame-fabric/agents';
import { type ControlledGate, gate } from '@fame-fabric/agents/testing';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import { assistant, type ChatReply, chat, user } from '../testing/chat-client.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { openAiDoor } from './openai-door.ts';

const ADDRESS = 'chat@fame.fabric';
const KEYED = { 'x-conversation-id': 'c1' };
const again = (count: number) => ({ 'x-stainless-retry-count': String(count) });
const hi = { messages: [user('Hi')] };
const textOf = ({ body }: ChatReply): unknown => body.choices?.[0]?.message.content ?? body;

/** Sends a streamed request whose reader leaves when `leave` is called. */
async function streamed(kit: DoorKit, body: object, headers: object = {}) {
  const response = await kit.inject({
    method: 'POST',
    url: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', ...headers },
    payload: JSON.stringify({ model: 'chat', stream: true, ...body }),
    payloadAsStream: true,
  });
  const stream = response.stream();
  // A connection that the door breaks is an error for its reader.
  stream.on('error', () => {});
  const text = (): Promise<string> =>
    stream.toArray().then(
      (parts) => Buffer.concat(parts).toString(),
      () => '',
    );
  return { response, text, leave: () => response.raw.res.destroy() };
}

describe.each([
  ['without a conversation', {}],
  ['in a kept conversation', KEYED],
])('a request %s', (_name, headers) => {
  test('that the client repeats after a lost response joins its turn', async () => {
    await using kit = await doorKit(openAiDoor, { replies: ['one', 'two'] });
    const first = await chat(kit, hi, { ...headers, ...again(0) });
    const second = await chat(kit, hi, { ...headers, ...again(1) });
    const third = await chat(kit, { ...hi, stream: true }, { ...headers, ...again(2) });
    expect([textOf(first), textOf(second)]).toEqual(['one', 'one']);
    expect(second.headers).toMatchObject({
      'x-turn-id': first.headers['x-turn-id'],
      'x-conversation-id': first.headers['x-conversation-id'],
    });
    expect(kit.model.count).toBe(2); // another body is another request
    expect(third.isDone).toBe(true);
  });

  test('that the client repeats while it runs joins its turn', async () => {
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e']] });
    const first = chat(kit, hi, headers);
    await held.reached;
    const second = chat(kit, hi, { ...headers, ...again(1) });
    held.open();
    expect(textOf(await first)).toBe('one');
    expect(textOf(await second)).toBe('one');
    expect(kit.model.count).toBe(1);
  });

  test('with the same Idempotency-Key joins its turn, and with another body is refused', async () => {
    await using kit = await doorKit(openAiDoor, { replies: ['one', 'two'] });
    const key = { ...headers, 'idempotency-key': 'k1' };
    const first = await chat(kit, hi, key);
    const second = await chat(kit, hi, key);
    expect(second.body.id).toBe(first.body.id);
    // The turn is the same, and the history is not.
    const other = await chat(kit, { messages: [user('Before'), assistant('Yes'), user('Hi')] }, key);
    expect(other).toMatchObject({ status: 409, body: { error: { code: 'TURN_CONFLICT' } } });
    expect(other.headers['x-should-retry']).toBe('false');
    expect(await chat(kit, { messages: [user('Ho')] }, key)).toMatchObject({ status: 409 });
    expect(await chat(kit, hi, { ...headers, 'idempotency-key': 'k2' })).toMatchObject({ status: 200 });
    expect(kit.model.count).toBe(2);
  });

  test('of a client that does not count is a new one', async () => {
    await using kit = await doorKit(openAiDoor, { replies: ['one', 'two'] });
    expect(textOf(await chat(kit, hi, headers))).toBe('one');
    expect(textOf(await chat(kit, hi, headers))).toBe('two');
  });

  test('whose reader leaves is cancelled after 5 s', async () => {
    const clock = new ManualClock();
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e']], clock });
    const { leave } = await streamed(kit, hi, headers);
    await held.reached;
    leave();
    await settle();
    await clock.run(4_999, 1_000);
    expect(kit.model.calls[0]!.state).toBe('streaming');
    await clock.run(2, 1);
    await vi.waitFor(() => expect(kit.model.calls[0]!.state).toBe('aborted'));
  });

  test('whose reader leaves continues for a repeated request', async () => {
    const clock = new ManualClock();
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e']], clock });
    const { leave } = await streamed(kit, hi, headers);
    await held.reached;
    leave();
    await settle();
    const second = await streamed(kit, hi, { ...headers, ...again(1) });
    await clock.run(60_000, 1_000);
    held.open();
    const text = await second.text();
    expect(text).toContain('"content":"on"');
    expect(text).toContain('data: [DONE]');
    expect(kit.model.calls).toMatchObject([{ state: 'ended' }]);
  });

  test('whose reader leaves continues for the same request without a count', async () => {
    const clock = new ManualClock();
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e']], clock });
    const { leave } = await streamed(kit, hi, headers);
    await held.reached;
    leave();
    await settle();
    const second = await streamed(kit, hi, headers);
    held.open();
    expect(await second.text()).toContain('data: [DONE]');
    expect(kit.model.count).toBe(1);
  });

  test('that was cancelled after its reader left can be sent again', async () => {
    const clock = new ManualClock();
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held], 'two'], clock });
    const { leave } = await streamed(kit, hi, headers);
    await held.reached;
    leave();
    await settle();
    await clock.run(6_000, 1_000);
    await vi.waitFor(() => expect(kit.model.calls[0]!.state).toBe('aborted'));
    expect(textOf(await chat(kit, { ...hi, stream: false }, headers))).toBe('two');
  });
});

describe('requests in one conversation at the same time', () => {
  const ho = { messages: [user('Ho')] };

  test('another message is refused until the turn has ended', async () => {
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e'], 'two'] });
    const first = chat(kit, hi, KEYED);
    await held.reached;
    const second = await chat(kit, ho, KEYED);
    expect(second).toMatchObject({
      status: 409,
      body: { error: { type: 'invalid_request_error', param: null, code: 'TURN_IN_PROGRESS' } },
    });
    expect(second.headers['x-should-retry']).toBe('true');
    held.open();
    await first;
    expect(textOf(await chat(kit, ho, { ...KEYED, ...again(1) }))).toBe('two');
  });

  test('many messages at once: one runs, and the others are refused', async () => {
    await using kit = await doorKit(openAiDoor, { replies: ['one', ...Array(20).fill('more')] });
    await chat(kit, hi, KEYED);
    const all = await Promise.all(
      Array.from({ length: 10 }, (_, i) => chat(kit, { messages: [user(`Message ${i}`)] }, KEYED)),
    );
    const done = all.filter(({ status }) => status === 200);
    expect(done.length).toBeGreaterThan(0);
    for (const { status, body } of all) {
      if (status !== 200) expect([status, body.error?.code]).toEqual([409, 'TURN_IN_PROGRESS']);
    }
    const { conversations } = await kit.client.conversations(ADDRESS).list();
    expect(conversations).toMatchObject([{ id: 'c1', turns: 1 + done.length }]);
  });

  test('the same request at once is one turn', async () => {
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held, 'e']] });
    const first = await streamed(kit, hi, KEYED);
    await held.reached;
    const second = await streamed(kit, hi, KEYED);
    held.open();
    for (const { text } of [first, second]) expect(await text()).toContain('data: [DONE]');
    expect(kit.model.count).toBe(1);
  });

  test('another message cancels a turn whose reader has left', async () => {
    const clock = new ManualClock();
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['on', held], 'two'], clock });
    const { leave } = await streamed(kit, hi, KEYED);
    await held.reached;
    leave();
    await settle();
    expect(textOf(await chat(kit, ho, KEYED))).toBe('two');
    expect(kit.model.calls[0]!.state).toBe('aborted');
  });
});

const any = z.looseObject({});

/** A chat agent that takes text back, as one does that crashed during its answer. */
function restartingAgent(keep: number, held: ControlledGate) {
  let runs = 0;
  const turns = new Map<string, string>();
  const agent = defineAgent({
    address: ADDRESS,
    operations: {
      describe: operation({
        run: () => ({
          operations: ['run_turn_stream', 'read_events', 'start_task'].map((name) => ({ name })),
          options: [],
        }),
      }),
      start_task: operation({ params: any, run: () => ({}) }),
      end_conversation: operation({ params: any, run: () => null }),
      cancel_turn: operation({ params: any, run: () => true }),
      run_turn_stream: operation({
        params: any,
        async *run(params) {
          const { turn_id: id, retry_key: key, retry_count: count } = params as Record<string, string>;
          const joined = Number(count) > 0 ? turns.get(key!) : undefined;
          const turn_id = joined ?? id!;
          if (joined === undefined) {
            runs++;
            turns.set(key!, turn_id);
            yield { type: 'text', turn_id, text: 'Hello A' };
            held.arrive?.();
            await held.wait;
            yield { type: 'restart', turn_id, keep };
            yield { type: 'text', turn_id, text: 'Hello Bob'.slice(keep) };
          }
          yield { type: 'done', turn_id, text: 'Hello Bob' };
        },
      }),
    },
  });
  return { agent, runs: () => runs };
}

describe('a request that forks', () => {
  const one = [user('one')];
  const two = [...one, assistant('1'), user('two')];
  const forks: [string, { messages: unknown[] }][] = [
    ['an edited message', { messages: [...one, assistant('1'), user('two, edited')] }],
    ['another answer', { messages: two }],
    ['an edited message before others', { messages: [user('ONE'), assistant('1'), user('two')] }],
  ];
  const prepared = async (kit: DoorKit): Promise<void> => {
    await chat(kit, { messages: one }, KEYED);
    await chat(kit, { messages: two }, KEYED);
  };
  const replies = ['1', '2', '3', '4'];

  test.each(forks)('%s: after lost responses it is one fork with one turn', async (_what, body) => {
    await using kit = await doorKit(openAiDoor, { replies });
    await prepared(kit);
    const answers = [];
    for (const count of [0, 1, 2]) answers.push(await chat(kit, body, { ...KEYED, ...again(count) }));
    expect(answers.map(textOf)).toEqual(['3', '3', '3']);
    expect(new Set(answers.map(({ headers }) => headers['x-conversation-id'])).size).toBe(1);
    const { conversations } = await kit.client.conversations(ADDRESS).list();
    expect(conversations.map(({ turns }) => turns).sort()).toEqual([1, 2]);
    expect(kit.model.count).toBe(3);
  });

  test.each(forks)('%s: many at once with one Idempotency-Key are one turn', async (_what, body) => {
    await using kit = await doorKit(openAiDoor, { replies });
    await prepared(kit);
    const headers = { ...KEYED, 'idempotency-key': 'k' };
    const answers = await Promise.all(Array.from({ length: 8 }, () => chat(kit, body, headers)));
    expect(answers.map(textOf)).toEqual(Array(8).fill('3'));
    expect(kit.model.count).toBe(3);
  });
});

describe('withdrawn text', () => {
  test('breaks the stream, and the request joins the turn when it is repeated', async () => {
    const held = gate();
    const { agent, runs } = restartingAgent(6, held);
    await using kit = await doorKit(openAiDoor, { agents: [agent] });
    const first = await streamed(kit, hi);
    await held.reached;
    const text = first.text();
    held.open();
    expect(await text).not.toContain('[DONE]');
    const second = await chat(kit, { ...hi, stream: true });
    expect(second.chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('')).toBe('Hello Bob');
    expect(second.isDone).toBe(true);
    expect(runs()).toBe(1);
  });

  test('that was not sent yet does not break the connection', async () => {
    const held = gate();
    held.open();
    const { agent } = restartingAgent(7, held);
    await using kit = await doorKit(openAiDoor, { agents: [agent] });
    const { chunks, isDone } = await chat(kit, { ...hi, stream: true });
    expect(chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('')).toBe('Hello Aob');
    expect(isDone).toBe(true);
  });

  test('does not affect a whole answer', async () => {
    const held = gate();
    held.open();
    const { agent } = restartingAgent(6, held);
    await using kit = await doorKit(openAiDoor, { agents: [agent] });
    expect(textOf(await chat(kit, hi))).toBe('Hello Bob');
  });
});
