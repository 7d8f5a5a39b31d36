// A sentinel that reads and writes through the public interface of `ws` alone: the fallback for a changed `ws`. Nodes observe the
// same behaviour; Autobahn tests the framing (`autobahn.test.ts`).
import { type RunningSentinel, readSentinelConfig, startSentinel } from '@fame-fabric/sentinel';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { RawNodes } from '../kit/raw-node.ts';

let sentinel: RunningSentinel;
const nodes = new RawNodes(() => sentinel.url);
beforeAll(async () => {
  const config = readSentinelConfig({ FAME_RESUME_WINDOW_MS: '0' });
  sentinel = await startSentinel({ ...config, dataDir: undefined, port: 0, usesPlainWs: true });
});
afterEach(() => nodes.closeAll());
afterAll(() => sentinel.close());

test('calls of every size are answered, in order', async () => {
  await nodes.echo('echo@fame.fabric');
  const caller = await nodes.attached();
  for (const size of [0, 1, 125, 126, 65_535, 65_536, 200_000]) {
    const text = 'x'.repeat(size);
    const answer = await caller.call('echo@fame.fabric', 'echo', { text });
    expect(answer.frame.payload.result.text).toHaveLength(size);
  }
  const calls = Array.from({ length: 50 }, (_, n) => caller.call('echo@fame.fabric', 'echo', { n }));
  const results = (await Promise.all(calls)).map(({ frame }) => frame.payload.result.n);
  expect(results).toEqual(results.map((_, n) => n));
});

test('a text message is routed, and a ping is answered', async () => {
  await nodes.echo('echo@fame.fabric');
  const caller = await nodes.attached({ text: true });
  expect((await caller.call('echo@fame.fabric', 'echo', { n: 1 })).frame.payload.result).toEqual({ n: 1 });
  const pong = new Promise((resolve) => caller.socket.once('pong', resolve));
  caller.socket.ping('are you there');
  expect(String(await pong)).toBe('are you there');
});

test('callers of a node that disconnects receive NODE_GONE', async () => {
  const agent = await nodes.attached();
  await agent.serve('slow@fame.fabric');
  const caller = await nodes.attached();
  const { corrId } = caller.sendCall('slow@fame.fabric', 'wait');
  await agent.next(({ frame }) => frame.payload?.method === 'wait');
  await agent.cut();
  expect((await caller.next((message) => message.corrId === corrId)).frame.code).toBe('NODE_GONE');
});

test('a first message above 64 KiB closes the connection with 1009', async () => {
  const node = await nodes.open();
  node.raw('x'.repeat(70_000));
  expect((await node.closed).code).toBe(1009);
});

test('bad frames close the connection with 4400', async () => {
  const node = await nodes.attached();
  for (let count = 0; count < 5; count++) node.raw('null');
  expect((await node.closed).code).toBe(4400);
});
