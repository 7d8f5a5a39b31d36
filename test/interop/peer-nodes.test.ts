// Unmodified agents and clients of the peer on our sentinel: they must work without a change.
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import type { Proc } from '../kit/processes.ts';
import { RawNodes } from '../kit/raw-node.ts';
import { listNodes, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MATH = 'math@fame.fabric';
let sentinel: OurSentinel;
let client: PeerClient;
let receiver: Proc;
let restarted: Promise<unknown>;

beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '500' } });
  const { url } = sentinel;
  const capable = startPeerAgent('capable', { url });
  const rest = ['math', 'work', 'push', 'chat'].map((kind) => startPeerAgent(kind, { url }));
  receiver = await startPeerAgent('receiver', { url });
  [client] = await Promise.all([PeerClient.start({ url }), capable, ...rest]);
  restarted = restartScenario();
  // The last test awaits the outcome and reports a failure.
  restarted.catch(() => {});
}, 120_000);

const nodes = new RawNodes(() => sentinel.url);
afterEach(() => nodes.closeAll());

// Nodes of the peer notice a lost connection only when they send, or at their next heartbeat (15 s). So this runs during the
// other tests, on its own sentinel.
async function restartScenario(): Promise<unknown> {
  const address = 'survivor@fame.fabric';
  const first = await startOurSentinel();
  await startPeerAgent('math', { url: first.url, address });
  const caller = await PeerClient.start(first);
  await caller.call(address, 'add', 1, 2);
  await first.proc.kill();
  await startOurSentinel(first);
  const deadline = Date.now() + 40_000;
  for (;;) {
    const answer = await caller.ask('call', { address, method: 'add', args: [4, 5] }, 40_000);
    if (answer.ok || Date.now() > deadline) return answer.result;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

describe('calls', () => {
  test('positional, named and no parameters arrive as they were written', async () => {
    expect(await client.call(MATH, 'add', 3, 4)).toBe(7);
    expect(await client.call(MATH, 'add', { x: 30, y: 12 })).toBe(42);
    expect(await client.call(MATH, 'echo', [1, [2, { three: null }]])).toEqual([1, [2, { three: null }]]);
    expect(await client.call(MATH, 'echo', 'text')).toBe('text');
  });

  test('an error of the operation reaches the caller, and the agent keeps serving', async () => {
    const answer = await client.ask('call', { address: MATH, method: 'fail', args: ['deliberate'] });
    expect(answer).toMatchObject({ ok: false, error: expect.stringContaining('deliberate') });
    expect(await client.call(MATH, 'add', 1, 1)).toBe(2);
  });

  test('an address that is not served fails at once with NO_ROUTE', async () => {
    const answer = await client.ask('call', { address: 'unserved@fame.fabric', method: 'any' });
    expect(answer.error).toContain("code 'NO_ROUTE'");
    expect(answer.ms).toBeLessThan(1_000);
  });

  test('a plain message to an unserved address does not disturb its sender', async () => {
    await client.do('send', { address: 'unserved@fame.fabric', message: { lost: true } });
    expect(await client.call(MATH, 'add', 2, 2)).toBe(4);
  });

  test('a plain message reaches an agent', async () => {
    await client.do('send', { address: 'receiver@fame.fabric', message: { hello: 'receiver' } });
    await receiver.waitFor(/"event":"message","message":\{"hello":"receiver"\}/);
  });

  test('three turns of a conversation build on each other', async () => {
    const chat = 'chat@fame.fabric';
    const state = await client.do('startTask', {
      address: chat,
      id: 'c1',
      payload: { system_prompt: 'Be brief.' },
    });
    expect(state).toBe('working');
    expect(await client.call(chat, 'run_turn', 'c1', 'one')).toBe('turn 1: you said one');
    expect(await client.call(chat, 'run_turn', 'c1', 'two')).toBe('turn 2: you said one, then two');
    expect(await client.call(chat, 'run_turn', 'c1', 'three')).toBe(
      'turn 3: you said one, then two, then three',
    );
    await client.call(chat, 'end_conversation', 'c1');
    const after = await client.ask('call', { address: chat, method: 'run_turn', args: ['c1', 'four'] });
    expect(after.ok).toBe(false);
  });

  test('by capability, all of them required', async () => {
    const capabilities = ['fame.capability.agent', 'fame.capability.math'];
    const answer = await client.do('call', { capabilities, method: 'whoami' });
    expect(answer).toMatchObject({ address: 'capable@fame.fabric' });
    const refused = await client.ask('call', { capabilities: [...capabilities, 'none'], method: 'whoami' });
    expect(refused.error).toContain("code 'NO_ROUTE'");
  });

  test('Q27: 400 parallel calls of one client are all answered', async () => {
    const burst = await client.do('burst', { address: MATH, count: 400 }, 30_000);
    expect(burst).toEqual({ right: 400, errors: [], failed: 0 });
    expect(await client.call(MATH, 'add', 1, 2)).toBe(3);
  });
});

describe('streams', () => {
  test('items arrive in order, and the stream ends', async () => {
    const items = await client.do('stream', { address: MATH, method: 'fib_stream', args: [10] });
    expect(items).toEqual([0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
  });

  test('2,000 items arrive completely and in order', async () => {
    const stream = { address: MATH, method: 'count', args: [2_000], summary: true };
    expect(await client.do('stream', stream)).toEqual({ count: 2_000, inOrder: true });
  });

  test('a reader that pauses between items gets all of them', async () => {
    const stream = { address: MATH, method: 'count', args: [400], summary: true, slowMs: 5, slowEvery: 4 };
    expect(await client.do('stream', stream)).toEqual({ count: 400, inOrder: true });
  });

  test('Q4: 20,000 items of a source that respects credit arrive completely and in order, in bounded memory of the sentinel', async () => {
    const source = await nodes.attached();
    const address = 'source@fame.fabric';
    await source.serve(address, (request) => void source.answerStream(request, 20_000));
    const before = sentinel.proc.rssBytes();
    const stream = { address, method: 'count', args: [], summary: true };
    expect(await client.do('stream', stream, 60_000)).toEqual({ count: 20_000, inOrder: true });
    expect((sentinel.proc.rssBytes() - before) / 1_048_576).toBeLessThan(64);
  });
});

describe('tasks', () => {
  const address = 'work@fame.fabric';

  test('a subscription delivers every artifact and the end', async () => {
    const task = await client.do('task', { address, id: 't1', payload: { steps: 4 } });
    expect(task).toEqual({
      started: 'working',
      events: ['working', 'artifact', 'artifact', 'artifact', 'artifact', 'completed'],
      final: 'completed',
    });
  });

  test('a task that is cancelled ends its subscription', async () => {
    const payload = { steps: 100, stepMs: 20 };
    const task = await client.do<{ events: string[] }>('task', {
      address,
      id: 't2',
      payload,
      cancelAfter: 2,
    });
    expect(task).toMatchObject({ cancelled: 'canceled', final: 'canceled' });
    expect(task.events.at(-1)).toBe('canceled');
    expect(task.events.filter((event) => event === 'artifact').length).toBeLessThan(20);
  });

  test('a push notification reaches the address that was registered', async () => {
    const url = 'receiver@fame.fabric';
    const pushed = await client.do('push', { address: 'push@fame.fabric', id: 'p1', url });
    expect(pushed).toEqual({ url, sentTo: url });
    for (const n of [1, 2, 3]) await receiver.waitFor(new RegExp(`"task_id":"p1","n":${n}`));
  });
});

describe('node lifecycle', () => {
  test('Q9: two copies of one client script lose no call and do not evict each other', async () => {
    const salt = 'the-same-host';
    const [a, b] = await Promise.all([1, 2].map(() => PeerClient.start({ url: sentinel.url, salt })));
    const bursts = await Promise.all([a!, b!].map((copy) => copy.do('burst', { address: MATH, count: 50 })));
    expect(bursts).toEqual(Array(2).fill({ right: 50, errors: [], failed: 0 }));
    const listed = await listNodes(sentinel);
    const second = listed.find((node) => node.path.endsWith('-2'));
    expect(second).toMatchObject({ state: 'attached' });
    expect(listed.filter((node) => node.id === second?.id)).toHaveLength(2);
    await Promise.all([a!.stop(), b!.stop()]);
  });

  test('Q7, P5: a call to an agent that dies fails within 2 s, and a new process takes over', async () => {
    const options = { url: sentinel.url, address: 'mortal@fame.fabric', salt: 'mortal' };
    const first = await startPeerAgent('math', options);
    const calling = client.ask('call', { address: options.address, method: 'slow', args: [60_000] });
    await first.waitFor(/slow-started/);
    const died = Date.now();
    await first.kill();
    const answer = await calling;
    expect(answer.error).toContain("code 'NODE_GONE'");
    expect(Date.now() - died).toBeLessThan(2_000);
    const second = await startPeerAgent('math', options);
    expect(await client.call(options.address, 'add', 20, 2)).toBe(22);
    await second.kill();
  });

  test('Q7: a stream of an agent that dies ends with an error', async () => {
    const address = 'mortal-stream@fame.fabric';
    const agent = await startPeerAgent('math', { url: sentinel.url, address });
    const reading = client.ask('stream', { address, method: 'drip', args: [1_000] });
    await expect.poll(async () => (await listNodes(sentinel)).some((node) => node.serving === 1)).toBe(true);
    await agent.kill();
    const answer = await reading;
    expect(answer.ok).toBe(false);
  });

  test('Q31: agent and client reconnect after the sentinel is killed and restarted', async () => {
    expect(await restarted).toBe(9);
  });
});
