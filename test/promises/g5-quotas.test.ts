// G5: a principal that floods a sentinel is slowed, refused and closed with these codes, while others are served.
// `npm run bench-quotas` measures how much others are slowed.

import { KeysChange } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { type Json, RawNodes, type RawOptions } from '../kit/raw-node.ts';
import {
  fetchWithKey,
  metric,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';

let sentinel: OurSentinel;
const tokens: Record<string, string> = {};
const nodes = new RawNodes(() => sentinel.url);
beforeAll(async () => {
  const dataDir = temporaryDirectory();
  const keys = new KeysChange(`${dataDir}/keys`, systemClock);
  for (const [name, role] of [
    ['echo', 'agent'],
    ['ada', 'client'],
    ['bea', 'client'],
    ['eve', 'client'],
    ['kim', 'client'],
  ] as const)
    tokens[name] = (await keys.add({ name, role })).token;
  sentinel = await startOurSentinel({ dataDir });
});
afterEach(async () => {
  await closeLinks();
  await nodes.closeAll();
});
afterAll(() => sentinel.proc.stop());

const bearer = (token: string): RawOptions => ({ ws: { headers: { authorization: `Bearer ${token}` } } });
const echo = () => nodes.echo('echo@fame.fabric', bearer(tokens.echo!));

test('a flood of calls by a node of other software is refused above its rate, and others are served', async () => {
  await echo();
  const [greedy, other] = [
    await nodes.attached(bearer(tokens.eve!)),
    await nodes.attached(bearer(tokens.ada!)),
  ];
  for (let n = 0; n < 600; n++) greedy.sendCall('echo@fame.fabric', 'echo', [n]);
  const seen: Json[] = [];
  // Others are refused because 256 calls are open.
  const isRefused = ({ frame }: Json): boolean =>
    frame.code === 'QUOTA_EXCEEDED' && frame.reason.includes('a second');
  greedy.socket.on('message', (bytes) => seen.push(JSON.parse(String(bytes))));
  await expect.poll(() => seen.filter(isRefused).length).toBeGreaterThanOrEqual(32);
  const refused = seen.find(isRefused);
  expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false });
  expect(refused.frame.reason).toMatch(/^eve may send 200 messages a second\. Try again in/);
  expect(refused.frame).not.toHaveProperty('retryAfterMs');
  expect((await other.call('echo@fame.fabric', 'echo', ['hi'])).frame.payload.result).toEqual(['hi']);
  // The sentinel has paused reading from the node, but the node still receives its answers.
  await expect
    .poll(() => seen.filter(({ frame }) => frame.payload?.result).length)
    .toBeGreaterThanOrEqual(200);
  expect(await metric(sentinel, 'fame_quota_paused_total')).toBeGreaterThan(0);
});

test('a link of ours that sends above its rate is slowed, and none of its calls is refused', async () => {
  await echo();
  const link = await connectLink(sentinel.url, { token: tokens.bea! });
  const before = await metric(sentinel, 'fame_quota_exceeded_total');
  const began = performance.now();
  const calls = Array.from({ length: 700 }, (_, n) => link.call('echo@fame.fabric', 'echo', [n]));
  expect(await Promise.all(calls)).toHaveLength(700);
  // 400 at once and 200 in each second, less the two seconds that credit covers.
  expect(performance.now() - began).toBeGreaterThan(500);
  expect(await metric(sentinel, 'fame_quota_slowed_total')).toBeGreaterThan(0);
  expect(await metric(sentinel, 'fame_quota_exceeded_total')).toBe(before);
});

test.each([
  ['pings', 'ping'],
  ['credit that adds nothing', 'credit'],
])('a node that floods %s is paused, and others are served', async (_, kind) => {
  await echo();
  const [greedy, other] = [
    await nodes.attached(bearer(tokens.kim!)),
    await nodes.attached(bearer(tokens.ada!)),
  ];
  const before = await metric(sentinel, 'fame_quota_paused_total');
  let pongs = 0;
  greedy.socket.on('pong', () => pongs++);
  const update = JSON.stringify({
    version: '1.0',
    id: 'c',
    frame: { type: 'CreditUpdate', flowId: 'x', credits: 1 },
  });
  for (let n = 0; n < 3_000; n++) {
    if (kind === 'ping') greedy.socket.ping('x');
    else greedy.socket.send(Buffer.from(update));
  }
  await expect.poll(() => metric(sentinel, 'fame_quota_paused_total')).toBeGreaterThan(before);
  expect((await other.call('echo@fame.fabric', 'echo', ['hi'])).frame.payload.result).toEqual(['hi']);
  // 400 at once, and those of two seconds above the rate.
  if (kind === 'ping') expect(pongs).toBeLessThan(1_500);
  expect(greedy.isClosed).toBe(false);
});

test('sessions: one more is refused with QUOTA_EXCEEDED and 4429, and a flood of attaches with HTTP 429', async () => {
  const open = () => nodes.open(bearer(tokens.ada!));
  await Promise.all(Array.from({ length: 100 }, () => nodes.attached(bearer(tokens.ada!))));
  const extra = await open();
  await expect(extra.attach()).rejects.toThrow('QUOTA_EXCEEDED Session limit of ada reached (100)');
  expect((await extra.closed).code).toBe(4429);
  const attempts = await Promise.allSettled(Array.from({ length: 200 }, open));
  const refused = attempts.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []));
  expect(refused.length).toBeGreaterThan(50);
  expect(new Set(refused)).toEqual(new Set(['Error: upgrade refused with 429']));
  // Another principal is not affected.
  await nodes.attached(bearer(tokens.bea!));
});

test('the metrics count by kind, and name no principal', async () => {
  const text = await (await fetchWithKey(sentinel, '/metrics')).text();
  expect(text).toMatch(/^fame_quota_exceeded_total\{kind="messages"\} \d+$/m);
  expect(text).toMatch(/^fame_quota_exceeded_total\{kind="sessions"\} 1$/m);
  expect(text).toMatch(/^fame_quota_exceeded_total\{kind="attaches"\} \d+$/m);
  expect(text).not.toMatch(/\b(?:ada|bea|eve)\b/);
});

test('behind a trusted proxy, the connections of each client are bounded until they attach', async () => {
  const proxied = await startOurSentinel({
    env: { FAME_TRUSTED_PROXIES: '127.0.0.1', FAME_MAX_CONNECTIONS_PER_IP: '2' },
  });
  const clients = new RawNodes(() => proxied.url);
  const from = (forwarded: string): RawOptions => ({ ws: { headers: { 'x-forwarded-for': forwarded } } });
  try {
    const [first] = [
      await clients.open(from('198.51.100.7')),
      // The client wrote the first address itself.
      await clients.open(from('203.0.113.1, 198.51.100.7')),
    ];
    await expect(clients.open(from('198.51.100.7'))).rejects.toThrow('429');
    await clients.open(from('198.51.100.8'));
    await first.attach();
    await clients.open(from('198.51.100.7'));
    await expect(clients.open(from('198.51.100.7'))).rejects.toThrow('429');
    // Loopback has no limit.
    for (let n = 0; n < 5; n++) await clients.open();
    expect(proxied.proc.output).toContain('198.51.100.7');
  } finally {
    await clients.closeAll();
    await proxied.proc.stop();
  }
});
