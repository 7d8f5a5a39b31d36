// An unmodified client of the peer and our agents: all forms of calls, streams, background tasks with cancel and notifications,
// and a conversation. N10, N11 and N15.
import { AgentError, defineAgent, operation } from '@fame-fabric/agents';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { fameArgs, type Proc, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MATH = 'math@fame.fabric';
const ECHO = 'echo@fame.fabric';
let sentinel: OurSentinel;
let client: PeerClient;
let receiver: Proc;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  const { url, dataDir } = sentinel;
  const env = { FAME_DIRECT_ADMISSION_URL: url, FAME_DATA_DIR: dataDir };
  const agents = startNode(fameArgs('agent', 'chat', 'echo', 'math'), { name: 'our agents', env });
  [client, receiver] = await Promise.all([
    PeerClient.start({ url }),
    startPeerAgent('receiver', { url }),
    agents.waitFor(/math@fame\.fabric is served/),
  ]);
}, 120_000);

afterAll(closeLinks);

describe('calls', () => {
  test('positional, named and mixed parameters are the same call', async () => {
    expect(await client.call(MATH, 'add', 3, 4)).toBe(7);
    expect(await client.call(MATH, 'add', { x: 30, y: 12 })).toBe(42);
    expect(await client.call(MATH, 'add', 30, { y: 12 })).toBe(42);
  });

  test.each([['text'], [7], [[1, [2, { three: null }]]], [{ a: { b: [] } }], [false]])(
    'echoes %j',
    async (value) => {
      expect(await client.call(ECHO, 'echo', value)).toEqual(value);
    },
  );

  test('by capability', async () => {
    const capabilities = ['fame.capability.agent', 'fame.capability.math'];
    expect(await client.do('call', { capabilities, method: 'multiply', args: [6, 7] })).toBe(42);
  });

  test('an unknown operation and wrong parameters are errors that name the cause', async () => {
    const unknown = await client.ask('call', { address: MATH, method: 'multiplx', args: [1, 2] });
    expect(unknown).toMatchObject({ ok: false, error: expect.stringContaining('did you mean multiply?') });
    const wrong = await client.ask('call', { address: MATH, method: 'add', args: ['one', 2] });
    expect(wrong).toMatchObject({ ok: false, error: expect.stringMatching(/^x: /) });
    expect(await client.call(MATH, 'add', 1, 1)).toBe(2);
  });
});

test('an error with a code of the agent is an error with its message', async () => {
  const link = await connectLink(sentinel.url);
  const run = (): never => {
    throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details: { left: 0 } });
  };
  const agent = defineAgent({ address: 'shop@fame.fabric', operations: { buy: operation({ run }) } });
  await agent.serve(link);
  const sold = await client.ask('call', { address: 'shop@fame.fabric', method: 'buy', args: [] });
  expect(sold).toMatchObject({ ok: false, error: expect.stringContaining('No lamps are left') });
});

test('a stream arrives completely and ends', async () => {
  const stream = { address: MATH, method: 'fib_stream', args: [{ n: 8 }] };
  expect(await client.do('stream', stream)).toEqual([0, 1, 1, 2, 3, 5, 8, 13]);
});

describe('tasks', () => {
  test('runTask waits for the end and gives the result', async () => {
    const payload = { steps: 3, stepMs: 20 };
    expect(await client.do('runTask', { address: MATH, payload })).toBe('Counted 3 steps.');
  });

  test('a subscription sees the state, every artifact and the end', async () => {
    const payload = { steps: 4, stepMs: 20 };
    expect(await client.do('task', { address: MATH, id: 'p1', payload })).toMatchObject({
      started: 'working',
      events: ['working', 'artifact', 'artifact', 'artifact', 'artifact', 'completed'],
      final: 'completed',
    });
  });

  test('a cancelled task ends its subscription', async () => {
    const payload = { steps: 1_000, stepMs: 20 };
    const seen = (await client.do('task', { address: MATH, id: 'p2', payload, cancelAfter: 2 })) as {
      events: string[];
    };
    expect(seen).toMatchObject({ cancelled: 'canceled', final: 'canceled' });
    expect(seen.events.at(-1)).toBe('canceled');
  });

  test('notifications reach an agent of the peer', async () => {
    const payload = { steps: 5, stepMs: 200 };
    expect(await client.do('startTask', { address: MATH, id: 'p3', payload })).toBe('working');
    const pushNotificationConfig = { url: 'receiver@fame.fabric' };
    const set = { id: 'p3', pushNotificationConfig };
    const method = 'registerPushEndpoint';
    expect(await client.do('call', { address: MATH, method, args: [set] })).toMatchObject({
      id: 'p3',
      pushNotificationConfig,
    });
    await receiver.waitFor(/"message":\{"task_id":"p3","message":"Notification #5"/);
    await receiver.waitFor(/"task_id":"p3","status":\{"state":"completed"/);
  });
});

test('a conversation: start, two turns, end', async () => {
  const chat = 'chat@fame.fabric';
  const payload = { system_prompt: 'You are a pirate.', max_history_length: 5 };
  expect(await client.do('startTask', { address: chat, id: 'c1', payload })).toBe('working');
  expect(await client.call(chat, 'run_turn', 'c1', 'My name is Ada.')).toEqual(expect.any(String));
  expect(await client.call(chat, 'run_turn', 'c1', 'What is my name?')).toContain('Ada');
  expect(await client.call(chat, 'end_conversation', 'c1')).toBeNull();
});
