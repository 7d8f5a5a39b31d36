// Streams of stored responses: from any event on, while the turn runs, after it has ended, and after a restart of the agent.
import { defineAgent, operation } from '@fame-fabric/agents';
import { gate, reply } from '@fame-fabric/agents/testing';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Door } from '../../door.ts';
import type { FastifyReply } from '../../fastify.ts';
import { type DoorKit, doorKit } from '../../testing/door-kit.ts';
import { eventFaults, readEvents } from '../../testing/openai-exchange.ts';
import { type Answer, get, respond, textOf } from '../../testing/responses-client.ts';
import { openAiDoor } from '../openai-door.ts';

const deltasOf = (events: Answer['events']): string =>
  events.map(({ type, delta }) => (type === 'response.output_text.delta' ? delta : '')).join('');
const others = (events: Answer['events']) =>
  events.filter(({ type }) => type !== 'response.output_text.delta');

/** Starts a stream that can be read as it arrives. */
async function streaming(kit: DoorKit, method: 'GET' | 'POST', url: string, body?: object) {
  const response = await kit.inject({
    method,
    url,
    headers: body ? { 'content-type': 'application/json' } : {},
    ...(body ? { payload: JSON.stringify({ model: 'chat', stream: true, ...body }) } : {}),
    payloadAsStream: true,
  });
  const stream = response.stream();
  stream.on('error', () => {});
  return {
    id: (): string => String(response.headers['x-turn-id']),
    leave: () => response.raw.res.destroy(),
    events: async (): Promise<Answer['events']> => {
      const events = readEvents(Buffer.concat(await stream.toArray()).toString());
      expect(eventFaults(events)).toEqual([]);
      return events.flatMap(({ data }) => (data === '[DONE]' ? [] : [JSON.parse(data)]));
    },
  };
}

describe('starting_after', () => {
  test('continues after each event, with other chunks', async () => {
    const text = 'The quick brown fox jumps over the lazy dog.';
    await using kit = await doorKit(openAiDoor, { replies: [reply(text, { chunkChars: 5 })] });
    const { events } = await respond(kit, { input: 'a', stream: true });
    const url = `/v1/responses/${events[0].response.id}?stream=true`;
    const whole = await get(kit, url);
    expect(others(whole.events)).toMatchObject(others(events).map(({ response: _, ...event }) => event));
    for (const [i, { sequence_number: after }] of events.entries()) {
      const rest = (await get(kit, `${url}&starting_after=${after}`)).events;
      expect(others(rest)).toEqual(others(whole.events).filter((event) => event.sequence_number > after));
      expect(deltasOf(events.slice(0, i + 1)) + deltasOf(rest)).toBe(text);
    }
  });

  test('continues inside of a chunk', async () => {
    await using kit = await doorKit(openAiDoor, { replies: ['abcdef'] });
    const { events } = await respond(kit, { input: 'a', stream: true });
    const delta = events.find(({ type }) => type === 'response.output_text.delta');
    const url = `/v1/responses/${events[0].response.id}?stream=true`;
    for (let read = 0; read <= 6; read++) {
      const after = delta.sequence_number - 8 * (6 - read);
      const rest = await get(kit, `${url}&starting_after=${after}`);
      expect(deltasOf(rest.events)).toBe('abcdef'.slice(read));
    }
  });

  test.each(['-1', 'x', '1.5', '9007199254740993'])('refuses %s', async (after) => {
    await using kit = await doorKit(openAiDoor, { replies: ['a'] });
    const { body } = await respond(kit, { input: 'a' });
    const answer = await get(kit, `/v1/responses/${body.id}?stream=true&starting_after=${after}`);
    expect(answer).toMatchObject({ status: 400, body: { error: { param: 'starting_after' } } });
  });
});

describe('a turn that runs', () => {
  test('is streamed to every reader', async () => {
    const held = gate();
    await using kit = await doorKit(openAiDoor, { replies: [['Hel', held, 'lo']] });
    const { body } = await respond(kit, { input: 'a', background: true });
    await held.reached;
    const url = `/v1/responses/${body.id}?stream=true`;
    const readers = await Promise.all([streaming(kit, 'GET', url), streaming(kit, 'GET', url)]);
    held.open();
    for (const reader of readers) expect(deltasOf(await reader.events())).toBe('Hello');
  });

  test('ends after the grace when its reader has left before the first event', async () => {
    const held = gate();
    const clock = new ManualClock();
    const replies: FastifyReply[] = [];
    const door: Door = {
      ...openAiDoor,
      plugin: (deps) => async (app, options) => {
        app.addHook('onRequest', async (_request, reply) => void replies.push(reply));
        await openAiDoor.plugin(deps)(app, options);
      },
    };
    await using kit = await doorKit(door, { replies: [[held, 'Hello']], clock });
    streaming(kit, 'POST', '/v1/responses', { input: 'a' }).catch(() => {});
    await held.reached;
    replies[0]!.raw.destroy();
    await clock.run(250, 50);
    const conversations = kit.client.conversations('chat@fame.fabric');
    const [listed] = (await conversations.list()).conversations;
    const events = await conversations.readEvents(listed!.id, {});
    const turn = events.events.find(({ type }) => type === 'turn');
    await clock.run(6_000, 100);
    await expect
      .poll(async () => (await conversations.turn(listed!.id, String(Object(turn).turn_id))).state)
      .toBe('cancelled');
  });

  test('ends after the grace when its reader has left', async () => {
    const held = gate();
    const clock = new ManualClock();
    await using kit = await doorKit(openAiDoor, { replies: [['Hel', held, 'lo']], clock });
    const reading = streaming(kit, 'POST', '/v1/responses', { input: 'a' });
    await held.reached;
    await clock.run(300, 50);
    const reader = await reading;
    reader.leave();
    const [listed] = (await kit.client.conversations('chat@fame.fabric').list()).conversations;
    const turn = () => kit.client.conversations('chat@fame.fabric').turn(listed!.id, reader.id());
    await clock.run(4_900, 100);
    expect(await turn()).toMatchObject({ state: 'open' });
    await clock.run(400, 100);
    await expect.poll(async () => (await turn()).state).toBe('cancelled');
  });

  test('continues in the background when its reader has left', async () => {
    const held = gate();
    const clock = new ManualClock();
    await using kit = await doorKit(openAiDoor, { replies: [['Hel', held, 'lo']], clock });
    const reading = streaming(kit, 'POST', '/v1/responses', { input: 'a', background: true });
    await held.reached;
    await clock.run(300, 50);
    const reader = await reading;
    reader.leave();
    await clock.run(20_000, 1_000);
    held.open();
    const [listed] = (await kit.client.conversations('chat@fame.fabric').list()).conversations;
    const turn = () => kit.client.conversations('chat@fame.fabric').turn(listed!.id, reader.id());
    await expect.poll(async () => (await turn()).state).toBe('completed');
  });
});

describe('a restart of the agent', () => {
  const FIRST = 2 ** 33;
  /** An agent whose process ended after "Hello", of which only "Hel" was in its journal. */
  const restarted = () => {
    let turn = '';
    const text = (cursor: number, piece: string) => ({
      type: 'text',
      seq: FIRST + cursor,
      turn_id: turn,
      text: piece,
    });
    const later = () => [
      { type: 'restart', seq: FIRST + 500, turn_id: turn, keep: 3 },
      text(502, 'p!'),
      { type: 'done', seq: FIRST + 600, turn_id: turn, text: 'Help!', finish: 'stop' },
    ];
    const at = new Date(0).toISOString();
    const called = z.looseObject({ turn_id: z.string().optional(), after: z.number().optional() });
    return defineAgent({
      address: 'chat@fame.fabric',
      operations: {
        run_turn_stream: operation({
          params: called,
          async *run(params) {
            turn = params.turn_id!;
            yield text(104, 'Hell');
            yield text(105, 'o');
            yield* later();
          },
        }),
        get_turn: operation({
          params: called,
          run: ({ turn_id }) => {
            if (turn_id !== turn) throw new Error('unknown turn');
            return {
              state: 'completed',
              accepted_at: at,
              ended_at: at,
              accepted_seq: FIRST + 90,
              seq: FIRST + 600,
              turn_id: turn,
            };
          },
        }),
        read_events: operation({
          params: called,
          run: ({ after = 0 }) => {
            const events = [
              { type: 'turn', seq: FIRST + 90, turn_id: turn, user_message: 'a' },
              text(103, 'Hel'),
              ...later(),
            ].filter(({ seq }) => seq > after);
            return { events: events.map((event) => ({ ...event, at })), next: events.at(-1)?.seq ?? after };
          },
        }),
      },
    });
  };

  test('that takes text back ends the stream, and the stored response is whole', async () => {
    await using kit = await doorKit(openAiDoor, { agents: [restarted()] });
    const { events } = await respond(kit, { input: 'a', conversation: 'c', stream: true });
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      error: { code: 'NODE_GONE', type: 'server_error' },
    });
    expect(deltasOf(events)).toBe('Hello');
    const { id } = events[0].response;
    const stored = await get(kit, `/v1/responses/${id}`);
    expect(textOf(stored.body)).toBe('Help!');
    const url = `/v1/responses/${id}?stream=true`;
    expect(deltasOf((await get(kit, url)).events)).toBe('Help!');
    const numbers = events.flatMap(({ type, sequence_number }) =>
      type === 'response.output_text.delta' ? [sequence_number] : [],
    );
    // First a reader of "Hello", which was withdrawn, then a reader of "Hel".
    const behind = await get(kit, `${url}&starting_after=${numbers.at(-1)}`);
    expect(behind.events).toMatchObject([{ type: 'error', error: { code: 'NODE_GONE' } }]);
    const same = await get(kit, `${url}&starting_after=${(FIRST + 103) * 8}`);
    expect(deltasOf(same.events)).toBe('p!');
  });

  test('changes nothing in a response that is not streamed', async () => {
    await using kit = await doorKit(openAiDoor, { agents: [restarted()] });
    expect(textOf((await respond(kit, { input: 'a', conversation: 'c' })).body)).toBe('Help!');
  });
});
