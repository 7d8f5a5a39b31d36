// `npm run bench-quotas [-- --rounds 5 --ms 3000 --kind calls]`: floods of each kind by one principal, and their effect on the calls of
// another. The figure is the 99th percentile of the time of these calls while the flood goes to the sentinel, divided by that while the
// same flood goes to a port that accepts connections and never reads (`unserved`): goal G5. A run fails if it is above the gate.
//
// A flood of connections costs more than that on any server: it must accept each one and read the request, which names the principal.
// Bad frames close their connection, so they are a flood of connections too. For these two kinds the figure is also divided by that
// of a port that answers every request with a fixed HTTP 429 (`refusing`).
//
// These rules make the figures comparable:
// - All sides of a kind take turns in one run, and the order rotates. The ratio is the median over the rounds.
// - The flood opens connections at the same pace on all sides, and its principal is new for each kind.
// - The flood calls an agent in a separate process. Its permitted calls would otherwise delay the agent of the other principal, which no
//   sentinel can prevent.
// - Each window has 500 calls per second, so its 99th percentile is that of 15 calls or more.
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
import type { FloodCommand, FloodKind, FloodResult, Service } from './flooder.ts';
import { median, percentile } from './median.ts';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '3000' },
    kind: { type: 'string', multiple: true, default: [] },
  },
});
const rounds = Number(flags.rounds);
const windowMs = Number(flags.ms);

/** The promise is 1.1. The gate leaves room for the noise of a machine with few cores. */
const GATE = 2;
/** Time between two calls of the other principal, in ms. */
const CALL_EVERY_MS = 2;
/** Time from the start of a flood to the measurement, in ms. */
const BURST_MS = 1_000;
const ADDRESS = 'echo@fame.fabric';
const FLOODED = 'flooded@fame.fabric';

type Side = Service | 'sentinel';
const SIDES: Readonly<Record<FloodKind, readonly Side[]>> = {
  connections: ['unserved', 'refusing', 'sentinel'],
  binds: ['unserved', 'sentinel'],
  calls: ['unserved', 'sentinel'],
  messages: ['unserved', 'sentinel'],
  bytes: ['unserved', 'sentinel'],
  streams: ['unserved', 'sentinel'],
  'bad frames': ['unserved', 'refusing', 'sentinel'],
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

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
const kinds = (Object.keys(SIDES) as FloodKind[]).filter(
  (kind) => flags.kind.length === 0 || flags.kind.includes(kind),
);
const agentKey = addKey(folder, 'agents', 'agent');
const floodKeys = new Map(
  kinds.map((kind) => [kind, addKey(folder, `flood-${kind.split(' ')[0]}`, 'client')]),
);
const gated: StartCommand = {
  ...OURS,
  env: { ...OURS.env, FAME_DATA_DIR: folder, FAME_KEYS_FILE: join(folder, 'keys'), FAME_NODE_ID: 'bench' },
  token: agentKey,
};
const program = fileURLToPath(new URL('flooder.ts', import.meta.url));
const sentinel = await start(gated);
const children = Array.from({ length: 3 }, () => new Child<FloodCommand>(program));
const [flooder, servers, flooded] = children as [
  Child<FloodCommand>,
  Child<FloodCommand>,
  Child<FloodCommand>,
];
const stop = (): void => {
  for (const process of [...children, sentinel]) process.stop();
  rmSync(folder, { recursive: true, force: true });
};

/** The calls of the other principal during one flood. */
interface Measured {
  readonly p99: number;
  readonly cpuShare: number;
  readonly connections: number;
  readonly sentBytes: number;
}

try {
  const ports: Readonly<Record<Side, number>> = {
    unserved: await servers.request<number>({ cmd: 'serve', how: 'unserved' }),
    refusing: await servers.request<number>({ cmd: 'serve', how: 'refusing' }),
    sentinel: Number(new URL(sentinel.url).port),
  };
  await flooded.request({ cmd: 'agent', url: sentinel.url, token: agentKey, address: FLOODED });
  const echo = await connect(sentinel.url, agentKey);
  await echo.bind(ADDRESS, { onCall: (call) => call.reply(call.params) });
  const caller = await connect(sentinel.url, agentKey);
  await callUntil(caller, performance.now() + 2_000);

  const measure = async (kind: FloodKind, side: Side): Promise<Measured> => {
    const token = floodKeys.get(kind)!;
    await flooder.request({ cmd: 'flood', kind, port: ports[side], token, to: FLOODED, sentinelId: 'bench' });
    // Its burst is within the quota, and the agent answers it.
    await pause(BURST_MS);
    const cpu = cpuUs(sentinel.pid);
    const times = await callUntil(caller, performance.now() + windowMs);
    const cpuShare = (cpuUs(sentinel.pid) - cpu) / 1_000 / windowMs;
    const { connections, sentBytes } = await flooder.request<FloodResult>({ cmd: 'stop' });
    // The sessions of the flood end, and its rate recovers.
    await pause(500);
    return { p99: percentile(times, 0.99), cpuShare, connections, sentBytes };
  };

  console.log(
    'flood         side          p99   to unserved  to refusing  sentinel CPU  connections  MB sent',
  );
  let isBroken = false;
  for (const kind of kinds) {
    const sides = SIDES[kind];
    const rows = new Map<Side, Measured[]>(sides.map((side) => [side, []]));
    for (let round = 0; round < rounds; round++) {
      for (let n = 0; n < sides.length; n++) {
        const side = sides[(n + round) % sides.length]!;
        rows.get(side)!.push(await measure(kind, side));
      }
    }
    const ratio = (side: Side, to: Side): number =>
      median(rows.get(side)!.map(({ p99 }, round) => p99 / (rows.get(to)?.[round]?.p99 ?? Number.NaN)));
    for (const [side, windows] of rows) {
      const mid = (of: (one: Measured) => number): number => median(windows.map(of));
      const ratios = [side === 'unserved' ? Number.NaN : ratio(side, 'unserved')];
      ratios.push(side === 'sentinel' ? ratio(side, 'refusing') : Number.NaN);
      if (side === 'sentinel' && ratios[0]! > GATE) isBroken = true;
      console.log(
        kind.padEnd(14) +
          side.padEnd(9) +
          `${mid(({ p99 }) => p99).toFixed(2)} ms`.padStart(9) +
          ratios.map((one) => (Number.isNaN(one) ? '' : one.toFixed(2)).padStart(13)).join('') +
          `${(100 * mid(({ cpuShare }) => cpuShare)).toFixed(1)} %`.padStart(14) +
          mid(({ connections }) => connections)
            .toFixed(0)
            .padStart(13) +
          (mid(({ sentBytes }) => sentBytes) / 1e6).toFixed(1).padStart(9),
      );
    }
  }
  await Promise.all([caller.close(), echo.close()]);
  if (isBroken) process.exitCode = 1;
} finally {
  stop();
}
