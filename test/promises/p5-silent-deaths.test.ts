// P5 for nodes that die silently: a silent node is closed, one that sends heartbeats stays. The sentinel runs in this process on
// a manual clock; the connections are real.
import type { RunningSentinel } from '@fame-fabric/sentinel';
import { ManualClock } from '@fame-fabric/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import type { Json } from '../kit/raw-node.ts';
import { findNode, temporaryDirectory } from '../kit/sentinel.ts';

const { start, nodes } = embeddedSentinels();
let clock: ManualClock;
let sentinel: RunningSentinel;
let dataDir: string;
beforeEach(async () => {
  clock = new ManualClock(Date.now());
  dataDir = temporaryDirectory();
  sentinel = await start({ clock, dataDir });
});

const goneFor =
  (corrId: string) =>
  (m: Json): boolean =>
    m.corrId === corrId && m.frame.code === 'NODE_GONE';

test('P5: an agent that dies silently is closed after 30 to 32 s, and its caller is notified', async () => {
  const callee = await nodes.attached();
  await callee.serve('silent@fame.fabric');
  const caller = await nodes.attached();
  const sent = caller.sendCall('silent@fame.fabric', 'work');
  await callee.next((m) => m.id === sent.id);
  callee.stall();
  for (let second = 0; second < 32; second++) {
    clock.advance(1_000);
    await caller.heartbeat();
  }
  expect((await caller.next(goneFor(sent.corrId))).frame.ok).toBe(false);
});

test('P5: callers of a disconnected agent are notified at the end of the resume window, and not before', async () => {
  const callee = await nodes.attached();
  await callee.serve('cut@fame.fabric');
  const caller = await nodes.attached();
  const sent = caller.sendCall('cut@fame.fabric', 'work');
  await callee.next((m) => m.id === sent.id);
  await callee.cut();
  await expect
    .poll(async () => (await findNode({ http: `http://127.0.0.1:${sentinel.port}`, dataDir }, callee))?.state)
    .toBe('detached');
  clock.advance(4_900);
  expect(await caller.silent(goneFor(sent.corrId))).toBe(true);
  clock.advance(200);
  expect((await caller.next(goneFor(sent.corrId))).frame.ok).toBe(false);
});

test('S9, N5: a node that only sends a heartbeat every 15 s stays attached for an hour', async () => {
  const node = await nodes.attached();
  for (let beat = 0; beat < 240; beat++) {
    for (let second = 0; second < 15; second++) clock.advance(1_000);
    expect((await node.heartbeat()).frame.ok).toBe(true);
  }
  expect(node.isClosed).toBe(false);
});

test('S3, S10: a silent node is pinged after 17 s, and stays attached while it answers', async () => {
  const node = await nodes.attached();
  for (let half = 0; half < 4; half++) {
    const pinged = new Promise((resolve) => node.socket.once('ping', resolve));
    for (let second = 0; second < 18; second++) clock.advance(1_000);
    await pinged;
    const other = await nodes.attached();
    await other.heartbeat();
  }
  expect(node.isClosed).toBe(false);
});

test('a connection that never attaches is closed once 5 s have passed', async () => {
  const node = await nodes.open();
  clock.advance(7_000);
  expect((await node.closed).code).toBe(4408);
});
