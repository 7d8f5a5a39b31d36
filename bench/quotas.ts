// `npm run bench-quotas [-- --rounds 4 --ms 2000]`: floods of each kind by one principal, and their effect on the calls of another. Each
// flood runs against our sentinel and against a port that accepts connections and never reads, in turns. The figure is the 99th
// percentile of the time of the other principal's calls during the first, divided by that during the second. It prints both, and fails
// if a ratio is above its gate.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Link } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { Child } from './child.ts';
import { cpuUs, OURS, ROOT, type StartCommand, start } from './contestants.ts';
import type { FloodCommand, FloodKind, FloodResult } from './flooder.ts';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    ms: { type: 'string', default: '2000' },
    kind: { type: 'string', multiple: true, default: [] },
  },
});
const rounds = Number(flags.rounds);
const windowMs = Number(flags.ms);

const KINDS: readonly FloodKind[] = [
  'connections',
  'binds',
  'calls',
  'messages',
  'bytes',
  'streams',
  'bad frames',
];
/** The promise is 1.1. The gate leaves room for the noise of a machine with few cores. */
const GATE = 2;
/** Time between two calls of the other principal, in ms. */
const CALL_EVERY_MS = 4;
/** Time from the start of a flood to the measurement, in ms. */
const BURST_MS = 1_000;
const ADDRESS = 'echo@fame.fabric';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function percentile(numbers: readonly number[], p: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

function addKey(folder: string, name: string, role: string): string {
  const command = [...OURS.command.slice(0, -1), 'key', 'add', name, '--role', role];
  const env = { ...process.env, FAME_DATA_DIR: folder, FAME_KEYS_FILE: join(folder, 'keys') };
  return execFileSync(command[0]!, command.slice(1), {
    cwd: ROOT,
    env,
    encoding: 'utf8',
    stdio: 'pipe',
  }).trim();
}

/** Connects with our own link: it queues the answers to each caller separately, so a slow reader does not delay other callers. */
async function connect(url: string, token: string): Promise<Link> {
  const link = new Link({ url, dial: wsDial, token });
  await link.connect();
  return link;
}

/** Calls the agent at a steady pace until `endAt`. Returns the times in ms. */
async function callUntil(link: Link, endAt: number): Promise<number[]> {
  const times: number[] = [];
  const calls: Promise<void>[] = [];
  for (let at = performance.now(); at < endAt; at += CALL_EVERY_MS) {
    await pause(Math.max(0, at - performance.now()));
    const beganAt = performance.now();
    calls.push(link.call(ADDRESS, 'echo', []).then(() => void times.push(performance.now() - beganAt)));
  }
  await Promise.all(calls);
  return times;
}

const folder = mkdtempSync(join(tmpdir(), 'fame-bench-quotas-'));
const [flood, echoKey, victimKey] = [
  addKey(folder, 'flood', 'client'),
  addKey(folder, 'echo', 'agent'),
  addKey(folder, 'victim', 'agent'),
];
const gated: StartCommand = {
  ...OURS,
  env: { ...OURS.env, FAME_DATA_DIR: folder, FAME_KEYS_FILE: join(folder, 'keys'), FAME_NODE_ID: 'bench' },
  token: echoKey,
};
const program = fileURLToPath(new URL('flooder.ts', import.meta.url));
const sentinel = await start(gated);
const flooder = new Child<FloodCommand>(program);
const unserved = new Child<FloodCommand>(program);
const stop = (): void => {
  for (const process of [flooder, unserved, sentinel]) process.stop();
  rmSync(folder, { recursive: true, force: true });
};

try {
  const unservedPort = await unserved.request<number>({ cmd: 'serve' });
  const servedPort = Number(new URL(sentinel.url).port);
  const echo = await connect(sentinel.url, echoKey);
  await echo.bind(ADDRESS, { onCall: (call) => call.reply(call.params) });
  const victim = await connect(sentinel.url, victimKey);
  await callUntil(victim, performance.now() + 1_000);

  const measure = async (kind: FloodKind, port: number) => {
    await flooder.request({ cmd: 'flood', kind, port, token: flood, to: ADDRESS, sentinelId: 'bench' });
    // Its burst is within the quota, and the agent answers it.
    await pause(BURST_MS);
    const cpu = cpuUs(sentinel.pid);
    const times = await callUntil(victim, performance.now() + windowMs);
    const cpuShare = (cpuUs(sentinel.pid) - cpu) / 1_000 / windowMs;
    const { connections, sentBytes } = await flooder.request<FloodResult>({ cmd: 'stop' });
    // The sessions of the flood end, and its rate recovers.
    await pause(500);
    return { times, cpuShare, connections, sentBytes };
  };
  type Measured = Awaited<ReturnType<typeof measure>>;

  console.log('flood          p99 unserved  p99 sentinel  ratio   sentinel CPU  connections  MB sent');
  let isBroken = false;
  for (const kind of KINDS) {
    if (flags.kind.length > 0 && !flags.kind.includes(kind)) continue;
    const both: [Measured[], Measured[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
        both[side]!.push(await measure(kind, side === 0 ? unservedPort : servedPort));
      }
    }
    const [before, during] = both.map((windows) =>
      percentile(
        windows.flatMap(({ times }) => times),
        0.99,
      ),
    );
    const ratio = during! / before!;
    if (ratio > GATE) isBroken = true;
    const mean = (of: (one: Measured) => number): number =>
      both[1].reduce((sum, one) => sum + of(one), 0) / both[1].length;
    console.log(
      `${kind.padEnd(14)}${before!.toFixed(2).padStart(10)} ms${during!.toFixed(2).padStart(11)} ms${ratio.toFixed(2).padStart(7)}` +
        `${(100 * mean((one) => one.cpuShare)).toFixed(1).padStart(13)} %${mean((one) => one.connections)
          .toFixed(0)
          .padStart(13)}` +
        `${(mean((one) => one.sentBytes) / 1e6).toFixed(1).padStart(9)}`,
    );
  }
  await Promise.all([victim.close(), echo.close()]);
  if (isBroken) process.exitCode = 1;
} finally {
  stop();
}
