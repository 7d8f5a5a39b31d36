// R22, P14: nodes and calls that end leave no state behind, and long-lived ones do not grow. Sentinel and links run in this
// process, where objects, listeners and handles can be counted after a garbage collection. The last tests measure processes.
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
import { fetchWithKey, metric, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { startAgent, stopStack } from '../kit/stack.ts';

const CYCLES = 1_000;
/** A leaked session, link or call takes a multiple of this; the heap itself varies by a quarter of a megabyte. */
const BYTES_PER_CYCLE = 512;
const SERVED = 'served@fame.fabric';

const dataDir = temporaryDirectory();
let sentinel: RunningSentinel;
let server: Link;

beforeAll(async () => {
  const env = { FAME_RESUME_WINDOW_MS: '50', FAME_DATA_DIR: dataDir };
  sentinel = await startSentinel({ ...readSentinelConfig(env), port: 0 });
  // It removes the flows of callers that left with its second heartbeat.
  server = new Link({ url: sentinel.url, dial: wsDial, sidOf, heartbeatMs: 200 });
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

type Source = Parameters<typeof fetchWithKey>[0];

const nodes = async (source: Source): Promise<Page['nodes']> =>
  ((await (await fetchWithKey(source, '/fame/v1/nodes', { headers: CLOSE })).json()) as Page).nodes;
const inProcess = (): Source => ({ http: `http://127.0.0.1:${sentinel.port}`, dataDir });

/** Waits until only the server is attached, without open calls, queued messages or flows of callers. */
const settled = (): Promise<void> =>
  eventually(async () => {
    const all = await nodes(inProcess());
    expect(all).toHaveLength(1);
    expect(all[0]).toMatchObject({ openCalls: 0, serving: 0, queuedMessages: 0 });
    expect(server.counts.pairFlows).toBe(0);
  });

// For loops: `expect` keeps some memory for every use, which would be measured too.
function assertSame(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${String(actual)} instead of ${String(expected)}`);
}

/**
 * Growth of the heap by a round, in bytes: the minimum of up to four rounds. Early rounds also compile code and fill pools; a
 * leak shows in every round.
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

/** Attaches a node that makes a call and leaves in one of five ways. */
async function comeAndGo(i: number): Promise<void> {
  if (i % 5 === 4) {
    const raw = await RawNode.attached(sentinel.url);
    raw.socket.terminate(); // without a closing handshake
    await raw.closed;
    return;
  }
  const link = new Link({ url: sentinel.url, dial: wsDial, sidOf });
  await link.connect();
  await link.bind(`cycle-${i}@fame.fabric`, mathService(), { capabilities: ['fame.capability.cycle'] });
  assertSame(await link.call(SERVED, 'echo', { args: [i] }), i);
  if (i % 5 === 1) {
    for await (const item of link.stream(SERVED, 'count', { args: [9] })) if (item === 3) break;
  }
  const open = i % 5 === 2 ? link.call(SERVED, 'wait') : Promise.reject(new Error('none'));
  open.catch(() => {}); // LINK_CLOSED, as expected
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

test('R22: 1,000 nodes that attach and leave do not leave objects, handles or entries in sentinel or link', async () => {
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
      assertSame(await link.call(SERVED, 'echo', { args: [i] }, { signal }), i);
      let last: unknown;
      for await (const item of link.stream(SERVED, 'count', { args: [2] }, { signal })) last = item;
      assertSame(last, 2);
      const late = link.call(SERVED, 'wait', {}, { signal, timeoutMs: 1 });
      assertSame(await late.catch((error: FabricError) => error.code), 'CALL_TIMEOUT');
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

test('P14: the heartbeats of an idle day do not grow the memory of either end', async () => {
  const BEATS_A_DAY = (24 * 3_600) / 15;
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
  await eventually(() => expect(beats).toBeGreaterThan(from + BEATS_A_DAY));
  const grownBytes = (await livingBytes()) - before;
  console.info(`P14: ${beats - from} heartbeats: the heap grew by ${Math.round(grownBytes / 1024)} KB`);
  expect(grownBytes).toBeLessThan(BEATS_A_DAY * 20); // an entry for each would take ten times as much
  expect(links.every((link) => link.state === 'attached')).toBe(true);
  await Promise.all(links.map((link) => link.close()));
  await settled();
});

const files = ({ pid }: Proc): number => readdirSync(`/proc/${pid}/fd`).length;

test.runIf(process.platform === 'linux')(
  'R22: a sentinel process has as many open files after 1,000 connections as before, and its memory is bounded',
  async () => {
    const started = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '50' } });
    const { proc, url } = started;
    const connections = async (count: number): Promise<void> => {
      for (let i = 0; i < count / 20; i++) {
        const raw = await Promise.all(Array.from({ length: 20 }, () => RawNode.attached(url)));
        for (const node of raw) node.socket.terminate();
        await Promise.all(raw.map((node) => node.closed));
      }
      await eventually(async () => expect(await nodes(started)).toEqual([]));
    };
    await connections(1_000);
    const before = { files: files(proc), rss: proc.rssBytes() };
    await connections(CYCLES);
    const grownMb = (proc.rssBytes() - before.rss) / 1_048_576;
    console.info(`R22: sentinel process, ${CYCLES} connections: ${grownMb.toFixed(1)} MB more`);
    await eventually(() => expect(files(proc)).toBeLessThanOrEqual(before.files + 1)); // the connection of the last request
    expect(grownMb).toBeLessThan(64); // uncollected garbage; it does not grow further after 30,000 connections
    for (const gauge of ['fame_sessions', 'fame_open_calls', 'fame_queued_messages', 'fame_queued_bytes']) {
      expect(await metric(started, gauge), gauge).toBe(0);
    }
    expect(await metric(started, 'fame_attached_total')).toBe(2_000);
  },
  60_000,
);

test.runIf(process.platform === 'linux')(
  'P14: an idle sentinel and an idle agent use next to no processor time',
  async () => {
    const WINDOW_MS = 2_000;
    const idle = await startOurSentinel();
    const agent = await startAgent(idle.url);
    await sleep(1_000); // late work of the start, such as compilation, is not idling
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
