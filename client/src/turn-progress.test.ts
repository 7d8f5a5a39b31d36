// `include` of a turn: reasoning and waits of the agents that send them.
import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Conversation } from './conversation.ts';
import { items, scriptedAgent } from './testing/scripted-agent.ts';
import type { TurnEvent } from './turn-event.ts';

const WAITING = { type: 'waiting', reason: 'rate_limited', retry_in_ms: 3_000, attempt: 2, attempts: 4 };
const ITEMS = [
  WAITING,
  { type: 'reasoning', text: 'Hm' },
  { type: 'text', seq: 1, text: 'Hi' },
  { type: 'done', seq: 2, text: 'Hi' },
];
const collect = async (events: AsyncIterable<TurnEvent>): Promise<TurnEvent[]> => {
  const all: TurnEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
};
/** An agent with this `include` in its description. Refuses others as our agents do. */
const agentWith = (offered: string[] | undefined) =>
  scriptedAgent({
    describe: () => (offered ? { include: offered } : {}),
    run_turn_stream: (params) => {
      const { include = [] } = params as { include?: string[] };
      if (include.some((type) => !offered?.includes(type))) {
        throw new FabricError('PARAMS_INVALID', 'include: no such parameter');
      }
      return items(...ITEMS.filter((event) => 'seq' in event || include.includes(event.type)));
    },
  });

test('events that a turn includes are yielded between the others', async () => {
  const { caller, methods } = agentWith(['reasoning', 'waiting']);
  const chat = new Conversation(caller, 'chat@fame.fabric');
  const include = ['reasoning', 'waiting'] as const;
  expect(await collect(chat.stream('x', { include }))).toEqual(ITEMS);
  expect(await collect(chat.stream('x', { include: ['waiting'] }))).toEqual([WAITING, ...ITEMS.slice(2)]);
  expect(await collect(chat.stream('x'))).toEqual(ITEMS.slice(2));
  expect(await chat.ask('x', { include })).toBe('Hi');
  expect(methods().filter((method) => method === 'describe')).toHaveLength(1);
});

test.each([[undefined], [[]], [['other']]])(
  'an agent that offers %j gets a turn without `include`',
  async (offered) => {
    const { caller, requests } = agentWith(offered);
    const chat = new Conversation(caller, 'chat@fame.fabric');
    const include = ['reasoning', 'waiting'] as const;
    expect(await collect(chat.stream('x', { include }))).toEqual(ITEMS.slice(2));
    expect(requests.at(-1)).toMatchObject({ method: 'run_turn_stream' });
    expect(requests.at(-1)!.params).not.toHaveProperty('include');
  },
);

test('an agent without a description gets a turn without `include`', async () => {
  const { caller } = scriptedAgent({ run_turn_stream: () => items(...ITEMS.slice(2)) });
  const chat = new Conversation(caller, 'chat@fame.fabric');
  expect(await chat.ask('x', { include: ['reasoning'] })).toBe('Hi');
});

test('an unknown type is refused before the agent is asked', async () => {
  const { caller, requests } = agentWith(['reasoning', 'waiting']);
  const chat = new Conversation(caller, 'chat@fame.fabric');
  const include = ['thoughts'] as unknown as ['reasoning'];
  await expect(chat.ask('x', { include })).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: 'include: there are no events "thoughts"; there are: reasoning, waiting',
  });
  expect(requests).toEqual([]);
});

test('the next process of the agent is asked for the following events, with the types that it offers', async () => {
  const attempts = [
    [ITEMS[1], { type: 'text', seq: 1, text: 'Hi' }],
    [
      { type: 'reasoning', text: 'again' },
      { type: 'done', seq: 2, text: 'Hi' },
    ],
  ];
  const descriptions = [{ include: ['reasoning'] }, { include: ['reasoning', 'waiting'] }];
  const { caller, requests } = scriptedAgent({
    describe: () => descriptions.shift(),
    run_turn_stream: () =>
      (async function* () {
        yield* attempts.shift()!;
        if (attempts.length > 0) throw new FabricError('NODE_GONE', 'away');
      })(),
  });
  const clock = new ManualClock();
  const chat = new Conversation(caller, 'chat@fame.fabric', { clock });
  const events = collect(chat.stream('x', { include: ['reasoning', 'waiting'] }));
  await clock.run(5_000);
  expect((await events).map((event) => ('text' in event ? event.text : event.type))).toEqual([
    'Hm',
    'Hi',
    'again',
    'Hi',
  ]);
  const turns = requests.filter(({ method }) => method === 'run_turn_stream').map(({ params }) => params);
  expect(turns).toMatchObject([{ include: ['reasoning'] }, { include: ['reasoning', 'waiting'], after: 1 }]);
});

test('reasoning does not count as an event of a turn that has already ended', async () => {
  const attempts = [
    [{ type: 'text', seq: 1, text: 'Hi' }],
    [{ type: 'reasoning', text: 'late' }],
    [
      { type: 'text', seq: 1, text: 'Hi' },
      { type: 'done', seq: 2, text: 'Hi, whole' },
    ],
  ];
  const { caller } = scriptedAgent({
    describe: () => ({ include: ['reasoning'] }),
    run_turn_stream: () =>
      (async function* () {
        yield* attempts.shift()!;
        if (attempts.length === 2) throw new FabricError('NODE_GONE', 'away');
      })(),
  });
  const clock = new ManualClock();
  const chat = new Conversation(caller, 'chat@fame.fabric', { clock });
  const answer = chat.ask('x', { include: ['reasoning'] });
  await clock.run(5_000);
  expect(await answer).toBe('Hi, whole');
});
