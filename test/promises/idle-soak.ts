// P14, by hand: `npm run idle-soak -- --minutes 10 --nodes 30`. Runs a sentinel, our agent and idle nodes that only send
// heartbeats. Measures the slopes of memory and processor time, and the delay of the event loop, of sentinel and agent. Exits
// with 1 if one is over its limit. It is not part of the test command: slow growth takes minutes to show.
import { parseArgs } from 'node:util';
import { percentile } from '../kit/percentile.ts';
import { fameArgs, freePort, healthy, type Proc, ROOT, startNode, stopAll } from '../kit/processes.ts';
import { RawNode } from '../kit/raw-node.ts';
import { admissionUrl, temporaryDirectory } from '../kit/sentinel.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    nodes: { type: 'string', default: '30' },
  },
});
const minutes = Number(values.minutes);
const nodeCount = Number(values.nodes);
if (!(minutes > 0) || !(nodeCount >= 0)) throw new Error('usage: idle-soak [--minutes N] [--nodes N]');

const HEARTBEAT_MS = 15_000;
/** A sentinel closes the oldest unattached connections when there are too many. */
const ATTACHED_AT_ONCE = 200;
/** A run has 120 samples, 20 of them after a garbage collection. */
const SAMPLE_MS = (minutes * 60_000) / 120;
const HOUR_MS = 3_600_000;
const LIMITS = { heldMbPerHour: 1, cpuPointsPerHour: 0.1, loopP99Ms: 20 };

/** One line of `vitals.mjs`, with its arrival time and the resident memory. */
interface Sample {
  atMs: number;
  rssBytes: number;
  cpuMs: number;
  loopP99Ms: number;
  heldBytes?: number;
}

/** Starts a `fame` command that loads the vitals module. */
function startObserved(name: string, env: Record<string, string>): Proc {
  const observed = ['--expose-gc', '--import', `${ROOT}test/promises/vitals.mjs`];
  const vitals = { VITALS_MS: String(SAMPLE_MS), FAME_LOG_LEVEL: 'warn' };
  return startNode([...observed, ...fameArgs(name)], {
    name,
    env: { ...vitals, FAME_DATA_DIR: temporaryDirectory(), ...env },
  });
}

/** Collects the vitals that a process prints from now on. */
function observe(proc: Proc): Sample[] {
  const samples: Sample[] = [];
  const began = Date.now();
  proc.child.stderr?.on('data', (text: string) => {
    for (const [, json] of text.matchAll(/vitals (\{.*\})\n/g)) {
      const vitals = JSON.parse(json!) as Omit<Sample, 'atMs' | 'rssBytes'>;
      samples.push({ atMs: Date.now() - began, rssBytes: proc.rssBytes(), ...vitals });
    }
  });
  return samples;
}

/** Slope of the least squares line through the points. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (pick: (p: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)];
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
}

/** Share of one core between samples, in points, at the middle of each interval. */
const cpuPoints = (samples: readonly Sample[]): [number, number][] =>
  samples.slice(1).map((now, n) => {
    const before = samples[n]!;
    const points = (100 * (now.cpuMs - before.cpuMs)) / (now.atMs - before.atMs);
    return [(now.atMs + before.atMs) / 2, points];
  });

function judge(name: string, all: readonly Sample[]): boolean {
  // The first third is warm-up: compiled code, caches, first connections.
  const samples = all.slice(Math.floor(all.length / 3));
  const collected = samples.flatMap((s) =>
    s.heldBytes === undefined ? [] : [[s.atMs, s.heldBytes] as const],
  );
  const held = (slope(collected) * HOUR_MS) / 1_048_576;
  const rss = (slope(samples.map((s) => [s.atMs, s.rssBytes])) * HOUR_MS) / 1_048_576;
  const points = cpuPoints(samples);
  const cpu = slope(points) * HOUR_MS;
  const mean = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  // The median: a moment in which other programs were busy must not count.
  const loop = percentile(
    samples.map((s) => s.loopP99Ms),
    0.5,
  );
  // The growth within the run must also exceed the noise of the collector, a tenth of a megabyte.
  const grownMb = (held * minutes) / 60;
  const grownPoints = (cpu * minutes) / 60;
  const memoryGrows = held > LIMITS.heldMbPerHour && grownMb > 0.25;
  const cpuGrows = cpu > LIMITS.cpuPointsPerHour && grownPoints > 0.25;
  const isSlow = loop > LIMITS.loopP99Ms;
  console.log(
    `${name}: held ${(collected.at(-1)![1] / 1_048_576).toFixed(1)} MB (${held.toFixed(2)} MB/h), ` +
      `RSS ${(samples.at(-1)!.rssBytes / 1_048_576).toFixed(0)} MB (${rss.toFixed(1)} MB/h), ` +
      `CPU ${mean.toFixed(2)} % (${cpu.toFixed(2)} points/h), event loop p99 ${loop.toFixed(1)} ms` +
      `${memoryGrows ? '  MEMORY GROWS' : ''}${cpuGrows ? '  CPU GROWS' : ''}${isSlow ? '  EVENT LOOP SLOW' : ''}`,
  );
  return !(memoryGrows || cpuGrows || isSlow);
}

async function main(): Promise<number> {
  const port = await freePort();
  const url = admissionUrl(port);
  const sentinel = startObserved('sentinel', { FAME_LISTENER_PORT: String(port) });
  await healthy(`http://127.0.0.1:${port}/readyz`, sentinel);
  const agent = startObserved('agent', { FAME_DIRECT_ADMISSION_URL: url });
  await agent.waitFor(/ is served through /);
  const nodes: RawNode[] = [];
  while (nodes.length < nodeCount) {
    const length = Math.min(ATTACHED_AT_ONCE, nodeCount - nodes.length);
    nodes.push(...(await Promise.all(Array.from({ length }, () => RawNode.attached(url)))));
  }
  const beats = nodes.map((node, n) =>
    setTimeout(
      () => {
        beats[n] = setInterval(() => void node.heartbeatWithin(HEARTBEAT_MS), HEARTBEAT_MS);
      },
      (HEARTBEAT_MS * n) / nodes.length,
    ),
  );

  console.log(
    `${nodeCount} idle nodes for ${minutes} minutes, a sample every ${(SAMPLE_MS / 1000).toFixed(1)} s`,
  );
  const observed = { sentinel: observe(sentinel), agent: observe(agent) };
  await new Promise((resolve) => setTimeout(resolve, minutes * 60_000));
  for (const beat of beats) clearInterval(beat);
  const lost = nodes.filter((node) => node.isClosed).length;
  if (lost > 0) console.log(`${lost} nodes lost their connection`);
  const results = [judge('sentinel', observed.sentinel), judge('agent', observed.agent)];
  await Promise.all(nodes.map((node) => node.cut()));
  return lost === 0 && results.every((isFine) => isFine) ? 0 : 1;
}

try {
  process.exitCode = await main();
} finally {
  await stopAll();
}
