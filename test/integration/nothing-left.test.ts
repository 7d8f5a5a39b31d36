// R22, P14: what comes and goes leaves nothing behind, and what stays does not grow. Sentinel and links run in this process,
// where objects, listeners and handles can be counted after a garbage collection; the last tests look at real processes.
import { getEventListeners } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningSentinel, readSentinelConfig, startSentinel } from '@fame-fabric/sentinel';
import { type FabricError, Link } from '@fame-fabric/shared';
import { sidOf, wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { livingBytes, openSockets } from '../kit/heap.ts';
import { mathService, serviceOf } from '../kit/our-node.ts';
import type { Proc } from '../kit/processes.ts';
import { RawNode } from '../kit/raw-node.ts';
import { startOurSentinel } from '../kit/sentinel.ts';
import { startAgent, stopStack } from '../kit/stack.ts';

const CYCLES = 1_000;
/** A forgotten session, link or call would be a multiple of this; the heap itself moves by a quarter of a megabyte. */
const BYTES_PER_CYCLE = 512;
const SERVED = 'served@fame.fabric';

let sentinel: RunningSentinel;
let server: Link;

beforeAll(async () => {
  sentinel = await startSentinel({ ...readSentinelConfig({ FAME_RESUME_WINDOW_MS: '50' }), port: 0 });
  server = new Link({ url: sentinel.url, dial: wsDial, sidOf });
  await server.connect();
  await server.bind(SERVED, {
    ...mathService(),
    ...serviceOf({ wait: () => new Promise(() => {}), echo: ([x]) => x, count }),
  });
});
afterAll(async () => {
  await server.close();
  await sentinel.close();
  await stopStack();
});

async function* count([n]: readonly unknown[]): AsyncGenerator<number> {
  for (let i = 1; i <= (n as number); i++) yield i;
}

/** Closes the sockets of this test's own requests, which would be counted. */
const CLOSE = { connection: 'close' };

interface Page {
  nodes: { openCalls: number; serving: number; queuedMessages: number }[];
}

const nodes = async (origin: string): Promise<Page['nodes']> =>
  ((await (await fetch(`${origin}/fame/v1/nodes`, { headers: CLOSE })).json()) as Page).nodes;
const origin = (): string => `http://127.0.0.1:${sentinel.port}`;

/** Waits until only the server is there and nothing is open. */
const settled = (): Promise<void> =>
  eventually(async () => {
    const all = await nodes(origin());
    expect(all).toHaveLength(1);
    expect(all[0]).toMatchObject({ openCalls: 0, serving: 0, queuedMessages: 0 });
  });

// In the loops: `expect` keeps something of every use, which would be measured too.
function same(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${String(actual)} instead of ${String(expected)}`);
}

/**
 * By how much a round lets the heap grow, in bytes: the least of up to four rounds. Early rounds also compile code and fill
 * pools, which ends; what is forgotten is forgotten in every round.
 */
async function leastGrowth(round: () => Promise<void>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  let bytes = await livingBytes();
  for (let i = 0; i < 4 && least >= CYCLES * BYTES_PER_CYCLE; i++) {
    await round();
    const after = await livingBytes();
    least = Math.min(least, after - bytes);
    bytes = after;
  }
  return least;
}

/** One node that comes, does something, and leaves in one of several ways. */
async function comeAndGo(i: number): Promise<void> {
  if (i % 5 === 4) {
    const raw = await RawNode.attached(sentinel.url);
    raw.socket.terminate(); // without a goodbye
    await raw.closed;
    return;
  }
  const link = new Link({ url: sentinel.url, dial: wsDial, sidOf });
  await link.connect();
  await link.bind(`cycle-${i}@fame.fabric`, mathService(), { capabilities: ['fame.capability.cycle'] });
  same(await link.call(SERVED, 'echo', { args: [i] }), i);
  if (i % 5 === 1) {
    for await (const item of link.stream(SERVED, 'count', { args: [9] })) if (item === 3) break;
  }
  const open = i % 5 === 2 ? link.call(SERVED, 'wait') : Promise.reject(new Error('none'));
  open.catch(() => {}); // LINK_CLOSED, as it must be
  if (i % 5 === 3) await link.drain(1_000);
  else await link.close();
}

async function cycles(count: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, i) => i).values();
  const worker = async (): Promise<void> => {
    for (const i of numbers) await comeAndGo(i);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  await settled();
}

test('R22: 1,000 nodes that come and go leave no objects, handles or entries, in the sentinel and in the link', async () => {
  await cycles(200);
  const grownBytes = await leastGrowth(() => cycles(CYCLES));
  console.info(`R22: ${CYCLES} cycles: the heap grew by ${Math.round(grownBytes / 1024)} KB`);
  expect(grownBytes).toBeLessThan(CYCLES * BYTES_PER_CYCLE);
  await eventually(() => expect(openSockets()).toBe(2)); // the two ends of the server's connection
  expect(server.state).toBe('attached');
});

test('R22: 1,000 calls and streams with one long-lived signal leave no listener on it', async () => {
  const link = new Link({ url: sentinel.url, dial: wsDial, sidOf });
  await link.connect();
  const { signal } = new AbortController();
  const round = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      same(await link.call(SERVED, 'echo', { args: [i] }, { signal }), i);
      let last: unknown;
      for await (const item of link.stream(SERVED, 'count', { args: [2] }, { signal })) last = item;
      same(last, 2);
      const late = link.call(SERVED, 'wait', {}, { signal, timeoutMs: 1 });
      same(await late.catch((error: FabricError) => error.code), 'CALL_TIMEOUT');
    }
  };
  await round(200);
  const grownBytes = await leastGrowth(() => round(CYCLES));
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  console.info(
    `R22: ${CYCLES} calls, streams and timeouts: the heap grew by ${Math.round(grownBytes / 1024)} KB`,
  );
  expect(grownBytes).toBeLessThan(CYCLES * BYTES_PER_CYCLE);
  await link.close();
  await settled();
});

test('P14: as many heartbeats as an idle day has leave nothing behind, at both ends', async () => {
  const DAY = (24 * 3_600) / 15;
  let beats = 0;
  const links = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const link = new Link({
        url: sentinel.url,
        dial: wsDial,
        sidOf,
        heartbeatMs: 5,
        trace: (_, { frame }) => {
          if (frame.type === 'NodeHeartbeatAck') beats++;
        },
      });
      await link.connect();
      return link;
    }),
  );
  await eventually(() => expect(beats).toBeGreaterThan(500));
  const before = await livingBytes();
  const from = beats;
  await eventually(() => expect(beats).toBeGreaterThan(from + DAY));
  const grownBytes = (await livingBytes()) - before;
  console.info(`P14: ${beats - from} heartbeats: the heap grew by ${Math.round(grownBytes / 1024)} KB`);
  expect(grownBytes).toBeLessThan(DAY * 20); // an entry for each would be ten times as much
  expect(links.every((link) => link.state === 'attached')).toBe(true);
  await Promise.all(links.map((link) => link.close()));
  await settled();
});

const files = ({ pid }: Proc): number => readdirSync(`/proc/${pid}/fd`).length;

test.runIf(process.platform === 'linux')(
  'R22: a sentinel process has as many open files after 1,000 connections as before, and its memory is bounded',
  async () => {
    const { proc, url, http } = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '50' } });
    const connections = async (count: number): Promise<void> => {
      for (let i = 0; i < count / 20; i++) {
        const raw = await Promise.all(Array.from({ length: 20 }, () => RawNode.attached(url)));
        for (const node of raw) node.socket.terminate();
        await Promise.all(raw.map((node) => node.closed));
      }
      await eventually(async () => expect(await nodes(http)).toEqual([]));
    };
    await connections(1_000);
    const before = { files: files(proc), rss: proc.rssBytes() };
    await connections(CYCLES);
    const grownMb = (proc.rssBytes() - before.rss) / 1_048_576;
    console.info(`R22: sentinel process, ${CYCLES} connections: ${grownMb.toFixed(1)} MB more`);
    await eventually(() => expect(files(proc)).toBeLessThanOrEqual(before.files + 1)); // the request that asks
    expect(grownMb).toBeLessThan(64); // garbage that was not worth collecting yet; after 30,000 it stays the same
    const metrics = await (await fetch(`${http}/metrics`)).text();
    for (const gauge of ['fame_sessions', 'fame_open_calls', 'fame_queued_messages', 'fame_queued_bytes']) {
      expect(metrics).toMatch(new RegExp(`^${gauge} 0$`, 'm'));
    }
    expect(metrics).toMatch(/^fame_attached_total 2000$/m);
  },
  60_000,
);

test.runIf(process.platform === 'linux')(
  'P14: an idle sentinel and an idle agent use next to no processor time',
  async () => {
    const WINDOW_MS = 2_000;
    const idle = await startOurSentinel();
    const agent = await startAgent(idle.url);
    await sleep(1_000); // what starts late, such as compiling, is not idling
    const before = [idle.proc.cpuMs(), agent.cpuMs()];
    await sleep(WINDOW_MS);
    const shares = [idle.proc.cpuMs(), agent.cpuMs()].map((ms, i) => (100 * (ms - before[i]!)) / WINDOW_MS);
    console.info(
      `P14: idle: sentinel ${shares[0]!.toFixed(1)} %, agent ${shares[1]!.toFixed(1)} % of a core`,
    );
    for (const share of shares) expect(share).toBeLessThanOrEqual(2);
  },
  30_000,
);
