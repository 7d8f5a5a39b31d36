// `npm run bench-capacity`: the number of conversations that one agent and one sentinel carry. Each conversation always has a turn whose
// model sends 20 chunks/s. The bench searches for the largest number at which the 99th percentile of a chunk's delay stays below 50 ms, then
// holds it for five minutes. Every answer is checked and compared with the journal, and memory must stay flat.
//
//   node bench/capacity.ts --hold 30                        a short form
//   node bench/capacity.ts --conversations 400 --hold 60    without the search
//   node bench/capacity.ts --replicas 3                     two sentinels with NATS, and replicas of the agent over PostgreSQL
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Comparison, SteadyCommand, SteadyWindow } from './app/steady-driver.ts';
import { ApplicationBench } from './application.ts';
import { Child } from './child.ts';
import { cpuUs, rssKb } from './contestants.ts';
import { Histogram } from './histogram.ts';
import { median } from './median.ts';

const { values: flags } = parseArgs({
  options: {
    /** Chunks per second of each conversation. */
    rate: { type: 'string', default: '20' },
    /** Limit of the 99th percentile of a chunk's delay, in ms. */
    delay: { type: 'string', default: '50' },
    /** First number of conversations of the search. */
    from: { type: 'string', default: '200' },
    /** Number of conversations; without it the bench searches for one. */
    conversations: { type: 'string' },
    /** Duration with the number that was found, in seconds. */
    hold: { type: 'string', default: '300' },
    /** Number of replicas of the agent in a cluster. @default one agent and one sentinel, without a cluster */
    replicas: { type: 'string' },
  },
});
const PER_SECOND = Number(flags.rate);
const DELAY_MS = Number(flags.delay);
const HOLD_S = Number(flags.hold);
/** Length of an answer, in seconds. */
const TURN_S = 5;
const WINDOW_MS = 6_000;
/** The search ends when the largest number that held and the smallest that did not differ by less. */
const PRECISION = 1.06;
/** Share of the limit that a number must keep in the search, because a long run has more outliers than a window. */
const SEARCH_SHARE = 0.8;
/** Times that the bench holds a number, each lower than the one before. */
const MAX_HOLDS = 3;
const CORES = availableParallelism();

/** Use of the machine. Shares are of one core. */
interface Load {
  /** CPU time of each kind of process. */
  readonly shares: ReadonlyMap<string, number>;
  /** CPU time of the busiest main thread of each kind. */
  readonly loops: ReadonlyMap<string, number>;
  /** Share of all cores that was busy, from 0 to 1. */
  readonly machine: number;
  /** CPU time of processes that are no part of this bench. */
  readonly others: number;
}

interface Figures {
  readonly conversations: number;
  readonly seconds: number;
  readonly turns: number;
  readonly failures: readonly string[];
  readonly chunksPerSecond: number;
  readonly delayP50: number;
  readonly delayP99: number;
  readonly delayP999: number;
  readonly firstP50: number;
  readonly firstP99: number;
  readonly load: Load;
}

const replicas = flags.replicas === undefined ? undefined : Number(flags.replicas);
const kind = replicas === undefined ? 'fabric' : 'cluster';
const bench = await ApplicationBench.start([kind], { replicas });
const users = new Child<SteadyCommand>(fileURLToPath(new URL('app/steady-driver.ts', import.meta.url)));
const url = bench.urlOf(kind);
const processes = bench.processesOf(kind);
const KINDS: ReadonlyMap<string, readonly number[]> = new Map(
  Object.entries({
    agent: processes.agents,
    sentinel: processes.sentinels,
    NATS: [processes.nats ?? []].flat(),
    PostgreSQL: [processes.postgres ?? []].flat(),
    'model server': [processes.model],
    users: [users.pid],
  }).filter(([, pids]) => pids.length > 0),
);

/** PostgreSQL has a process for each connection. */
const withChildren = (pid: number): number[] => {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...(children === '' ? [] : children.split(' ').map(Number))];
};
const mainThreadUs = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1_000;

/** Returns the busy and the total time of all cores, in ticks. */
function machineTicks(): { busy: number; total: number } {
  const ticks = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, n) => sum + n, 0);
  const [, , , idle, iowait] = ticks;
  return { busy: total - idle! - iowait!, total };
}

/** CPU time of all processes of a kind, and that of each main thread, in us. */
function readCpu(pids: readonly number[]): { all: number; loops: number[] } {
  const all = pids.flatMap(withChildren).reduce((sum, pid) => sum + cpuUs(pid), 0);
  return { all, loops: pids.map(mainThreadUs) };
}

function meterLoad(): () => Load {
  const read = () => ({
    at: performance.now(),
    cpu: new Map([...KINDS].map(([name, pids]) => [name, readCpu(pids)])),
    machine: machineTicks(),
  });
  const before = read();
  return () => {
    const after = read();
    const us = (after.at - before.at) * 1_000;
    const [shares, loops] = [new Map<string, number>(), new Map<string, number>()];
    for (const [name, cpu] of after.cpu) {
      const earlier = before.cpu.get(name)!;
      shares.set(name, (cpu.all - earlier.all) / us);
      loops.set(name, Math.max(...cpu.loops.map((loop, nth) => (loop - earlier.loops[nth]!) / us)));
    }
    const machine = (after.machine.busy - before.machine.busy) / (after.machine.total - before.machine.total);
    const own = [...shares.values()].reduce((sum, share) => sum + share, 0);
    return { shares, loops, machine, others: Math.max(0, CORES * machine - own) };
  };
}

/** Sets the number of conversations and waits until all have begun and a turn has passed. */
async function resize(conversations: number): Promise<void> {
  const chunks = PER_SECOND * TURN_S;
  await users.request({ cmd: 'resize', url, conversations, chunks, perSecond: PER_SECOND });
  await sleep(TURN_S * 1_000);
  await users.request({ cmd: 'window' });
}

/** Measures for `ms`, in windows. Ends early after a failed turn, or if `goesOn`, which receives all delays so far, returns false. */
async function measure(
  conversations: number,
  ms: number,
  goesOn: (delays: Histogram) => boolean = () => true,
): Promise<Figures> {
  const [delays, firsts] = [new Histogram(), new Histogram()];
  const failures: string[] = [];
  const loadOf = meterLoad();
  const from = performance.now();
  let turns = 0;
  for (let isOn = true; isOn && performance.now() - from < ms; ) {
    await sleep(Math.min(WINDOW_MS, Math.max(0, ms - (performance.now() - from))));
    const window = await users.request<SteadyWindow>({ cmd: 'window' });
    delays.merge(window.delays);
    firsts.merge(window.firsts);
    failures.push(...window.failures);
    turns += window.turns;
    isOn = failures.length === 0 && goesOn(delays);
  }
  const seconds = (performance.now() - from) / 1_000;
  return {
    conversations,
    seconds,
    turns,
    failures,
    chunksPerSecond: delays.total / seconds,
    delayP50: delays.percentile(0.5),
    delayP99: delays.percentile(0.99),
    delayP999: delays.percentile(0.999),
    firstP50: firsts.percentile(0.5),
    firstP99: firsts.percentile(0.99),
    load: loadOf(),
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
const ms = (value: number): string => `${value.toFixed(1)} ms`;
const sharesText = ({ shares, others }: Load): string =>
  [...shares, ['others', others] as const].map(([name, share]) => `${name} ${percent(share)}`).join(', ');

function printFigures(figures: Figures): void {
  const { conversations, chunksPerSecond, delayP50, delayP99, firstP50, firstP99, failures, load } = figures;
  console.log(
    [
      `${String(conversations).padStart(5)} conversations, ${chunksPerSecond.toFixed(0)} chunks/s`,
      `chunk ${ms(delayP50)}, p99 ${ms(delayP99)}`,
      `first chunk ${ms(firstP50)}, p99 ${ms(firstP99)}`,
      `${failures.length} failed`,
      `of a core: ${sharesText(load)}; machine ${percent(load.machine)}`,
    ].join(' | '),
  );
  for (const failure of failures.slice(0, 3)) console.log(`      ${failure}`);
}

const passes = ({ failures, delayP99 }: Figures): boolean =>
  failures.length === 0 && delayP99 < SEARCH_SHARE * DELAY_MS;

/** Searches for the largest number of conversations that stays below the limit in a short window. Returns also the figures above it. */
async function search(): Promise<{ conversations: number; above: Figures }> {
  let good = 0;
  let above: Figures | undefined;
  let next = Number(flags.from);
  while (above === undefined || above.conversations / good > PRECISION) {
    await resize(next);
    let figures = await measure(next, WINDOW_MS);
    printFigures(figures);
    if (!passes(figures)) {
      // A window may contain a disturbance of the machine, so a number fails only if a second one misses the limit, too.
      figures = await measure(next, WINDOW_MS);
      printFigures(figures);
    }
    if (passes(figures)) good = next;
    else above = figures;
    if (above !== undefined && above.conversations <= 8)
      throw new Error('Even 8 conversations miss the limit.');
    next = above === undefined ? Math.round(good * 1.5) : Math.round((good + above.conversations) / 2);
  }
  return { conversations: good, above };
}

/** Names the resource that is used up. */
function limitOf(load: Load): string {
  const { machine, loops } = load;
  if (machine >= 0.9)
    return `the machine: its ${CORES} cores are ${percent(machine)} busy (of a core: ${sharesText(load)})`;
  const [name, share] = [...loops].toSorted((a, b) => b[1] - a[1])[0]!;
  if (share >= 0.85) return `the event loop of the ${name}, ${percent(share)} busy`;
  return `the delay itself: no event loop and no core is full (of a core: ${sharesText(load)})`;
}

/** Memory of a kind of process, without mapped files, in MB. */
const memoryOf = (name: string): number =>
  (KINDS.get(name) ?? []).flatMap(withChildren).reduce((sum, pid) => sum + rssKb(pid, 'RssAnon') / 1_024, 0);

/** Memory of the agents and the sentinels. */
const memoryMb = (): number => memoryOf('agent') + memoryOf('sentinel');

interface Held {
  readonly figures: Figures;
  readonly startMb: number;
  readonly endMb: number;
}

/** Holds a number of conversations; gives up after a minute above the limit. Histories have their full length after the first fifth. */
async function hold(conversations: number): Promise<Held> {
  await resize(conversations);
  const memory: number[] = [];
  const from = performance.now();
  const figures = await measure(conversations, HOLD_S * 1_000, (delays) => {
    memory.push(memoryMb());
    return performance.now() - from < 60_000 || delays.percentile(0.99) < DELAY_MS;
  });
  const fifth = Math.max(1, Math.floor(memory.length / 5));
  return {
    figures,
    startMb: median(memory.slice(fifth, 2 * fifth)),
    endMb: median(memory.slice(-fifth)),
  };
}

const isHeld = ({ failures, delayP99 }: Figures): boolean => failures.length === 0 && delayP99 < DELAY_MS;

async function run(): Promise<boolean> {
  const fabric =
    replicas === undefined
      ? 'one agent and one sentinel'
      : `${replicas} replicas of an agent, two sentinels, NATS and PostgreSQL`;
  console.log(`${fabric}, ${PER_SECOND} chunks/s in each conversation, ${CORES} cores`);
  const given = flags.conversations === undefined ? undefined : Number(flags.conversations);
  const found = given === undefined ? await search() : undefined;
  let conversations = given ?? found!.conversations;
  let above = found?.above;
  let held = await hold(conversations);
  printFigures(held.figures);
  for (let nth = 1; nth < MAX_HOLDS && given === undefined && !isHeld(held.figures); nth += 1) {
    above = held.figures;
    conversations = Math.round(conversations * 0.9);
    held = await hold(conversations);
    printFigures(held.figures);
  }
  const memory = [...KINDS.keys()].map((name) => `${name} ${memoryOf(name).toFixed(0)} MB`);
  const { turns, different } = await users.request<Comparison>({ cmd: 'finish' });
  const { figures, startMb, endMb } = held;
  const isFlat = endMb <= startMb * 1.1 + 10;
  console.log(
    `${conversations} conversations at ${PER_SECOND} chunks/s for ${figures.seconds.toFixed(0)} s: ${figures.turns} turns, ${figures.failures.length} failed, chunk p50 ${ms(figures.delayP50)}, p99 ${ms(figures.delayP99)} (limit ${DELAY_MS} ms), p99.9 ${ms(figures.delayP999)}`,
  );
  console.log(
    `memory of agent and sentinel without mapped files: ${startMb.toFixed(0)} MB, at the end ${endMb.toFixed(0)} MB`,
  );
  console.log(`memory at the end: ${memory.join(', ')}`);
  console.log(`${turns} answers compared with the journal: ${different} conversations differ`);
  if (above !== undefined)
    console.log(`limit: at ${above.conversations} conversations ${limitOf(above.load)}`);
  return isHeld(figures) && isFlat && different === 0;
}

let isMet = false;
try {
  isMet = await run();
} finally {
  users.stop();
  await bench.stop();
}
process.exit(isMet ? 0 : 1);
