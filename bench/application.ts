// The application bench: whole chat turns through our fabric (sentinel, chat agent with a journal on disk, clients over the wire)
// beside a plain server that keeps its histories in a Map. Both run at the same time, use one model server, and take turns.
// Run: node bench/application.ts [--quick]
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AppCommand, RunFigures } from './app/app-driver.ts';
import type { ModelCommand } from './app/model-server.ts';
import { Child } from './child.ts';
import { type Contestant, cpuUs, freePort, OURS, ROOT, rssKb, start } from './contestants.ts';
import { median } from './median.ts';

const program = (name: string): string => fileURLToPath(new URL(`app/${name}.ts`, import.meta.url));

export interface AppCell {
  readonly conversations: number;
  readonly chunks: number;
  /** 0 for as fast as the model server can. */
  readonly perSecond: number;
  readonly turnsEach: number;
  /** Time over which the conversations begin their turns, in ms. */
  readonly spreadMs: number;
  /** True if no turn ends before all have begun. @default false */
  readonly isTogether?: boolean;
  /** Number of runs of each contestant. */
  readonly alternations: number;
}

export interface AppRow extends RunFigures {
  /** CPU time of all server processes per turn, in us. */
  readonly cpuUs: number;
  /** Resident memory of all server processes after the run, in MB. */
  readonly rssMb: number;
  /** The part of `rssMb` that is not mapped from files. Most of the rest is the binary of Node, which the processes share. */
  readonly anonMb: number;
  /** The sentinel's share of CPU time and memory; 0 for plain. */
  readonly sentinelCpuUs: number;
  readonly sentinelRssMb: number;
  /** Maximum number of requests that were open at the model server at once. */
  readonly peak: number;
}

/**
 * `plain` is the plain server, `fabric` our client library, `door` the OpenAI door of the same sentinel, and `remote door` that of
 * `fame doors`, in a separate process.
 */
export type AppKind = 'plain' | 'fabric' | 'door' | 'remote door';

/** The rows of each contestant; those with the same index belong to one alternation. */
export type AppRows = Record<AppKind, AppRow[]>;

/** A contestant: its server processes and its users. */
interface Server {
  readonly kind: AppKind;
  readonly url: string;
  /** The server processes; the sentinel is the last one. */
  readonly pids: readonly number[];
  readonly users: Child<AppCommand>;
}

/** The contestants and their model server. Close it with `stop`. */
export class ApplicationBench {
  readonly #model = new Child<ModelCommand>(program('model-server'));
  readonly #children: { stop(): void }[] = [this.#model];
  readonly #directory: string;
  #servers: readonly Server[] = [];
  #agentExit: Promise<unknown> | undefined;

  private constructor() {
    mkdirSync(join(ROOT, '.fame'), { recursive: true });
    this.#directory = mkdtempSync(join(ROOT, '.fame/bench-app-'));
  }

  /** @param kinds the contestants; the doors need `fabric` */
  static async start(kinds: readonly AppKind[]): Promise<ApplicationBench> {
    const bench = new ApplicationBench();
    try {
      const modelUrl = await bench.#model.request<string>({ cmd: 'url' });
      const servers: Server[] = [];
      if (kinds.includes('plain')) servers.push(await bench.#startPlain(modelUrl));
      if (kinds.includes('fabric')) servers.push(await bench.#startFabric(modelUrl));
      const fabric = servers.at(-1);
      if (kinds.includes('door') && fabric !== undefined) servers.push(bench.#doorOf(fabric));
      if (kinds.includes('remote door') && fabric !== undefined)
        servers.push(await bench.#startDoors(fabric));
      bench.#servers = servers;
      return bench;
    } catch (error) {
      await bench.stop();
      throw error;
    }
  }

  async #startPlain(modelUrl: string): Promise<Server> {
    const server = this.#child(new Child<'url'>(program('plain-server'), [modelUrl]));
    return {
      kind: 'plain',
      url: await server.request<string>('url'),
      pids: [server.pid],
      users: this.#users(),
    };
  }

  async #startFabric(modelUrl: string): Promise<Server> {
    const env = { ...OURS.env, FAME_DATA_DIR: this.#directory };
    const sentinel: Contestant = this.#child(await start({ ...OURS, env }));
    const { url } = sentinel;
    const agent: ChildProcess = spawn(process.execPath, [...agentFlags(), 'dist/fame.js', 'agent', 'chat'], {
      cwd: ROOT,
      env: {
        ...process.env,
        ...env,
        FAME_DIRECT_ADMISSION_URL: url,
        FAME_TOOLS: 'none',
        OPENAI_API_KEY: 'none',
        OPENAI_BASE_URL: modelUrl,
        MODEL_NAME: 'bench',
      },
      stdio: ['ignore', 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore'],
    });
    this.#agentExit = once(agent, 'exit');
    // Node writes the profile only at a graceful exit.
    this.#children.push({ stop: () => void agent.kill(process.env.BENCH_PROFILE ? 'SIGTERM' : 'SIGKILL') });
    const users = this.#users();
    await untilAttached(users, url);
    return { kind: 'fabric', url, pids: [agent.pid!, sentinel.pid], users };
  }

  #doorOf({ url, pids }: Server): Server {
    const { host } = new URL(url);
    return { kind: 'door', url: `http://${host}/v1/chat/completions`, pids, users: this.#users() };
  }

  async #startDoors({ url: sentinelUrl, pids }: Server): Promise<Server> {
    const port = await freePort();
    const doors = spawn(process.execPath, ['dist/fame.js', 'doors'], {
      cwd: ROOT,
      env: {
        ...process.env,
        ...OURS.env,
        FAME_DATA_DIR: this.#directory,
        FAME_DIRECT_ADMISSION_URL: sentinelUrl,
        FAME_DOORS_PORT: String(port),
      },
      stdio: ['ignore', 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore'],
    });
    this.#children.push({ stop: () => void doors.kill('SIGKILL') });
    await untilServed(`http://127.0.0.1:${port}/v1/models`);
    const url = `http://127.0.0.1:${port}/v1/chat/completions`;
    return { kind: 'remote door', url, pids: [doors.pid!, ...pids], users: this.#users() };
  }

  /** URL to which the users of a contestant connect. */
  urlOf(kind: AppKind): string {
    return this.#servers.find((server) => server.kind === kind)!.url;
  }

  #users(): Child<AppCommand> {
    return this.#child(new Child<AppCommand>(program('app-driver')));
  }

  #child<T extends { stop(): void }>(child: T): T {
    this.#children.push(child);
    return child;
  }

  /** Runs a cell with all contestants in turn. */
  async run(cell: AppCell): Promise<AppRows> {
    const rows: AppRows = { plain: [], fabric: [], door: [], 'remote door': [] };
    for (let round = 0; round < cell.alternations; round++) {
      for (const server of round % 2 === 0 ? this.#servers : this.#servers.toReversed()) {
        rows[server.kind].push(await this.#measure(server, cell));
      }
    }
    return rows;
  }

  /** Runs a cell once with one contestant. */
  runOnce(kind: AppKind, cell: Omit<AppCell, 'alternations'>): Promise<AppRow> {
    return this.#measure(this.#servers.find((server) => server.kind === kind)!, cell);
  }

  async #measure(
    { kind, url, pids, users }: Server,
    { conversations, isTogether, ...turns }: Omit<AppCell, 'alternations'>,
  ): Promise<AppRow> {
    const together = isTogether ? conversations : 1;
    await users.request({ cmd: 'open', kind, url, conversations });
    await this.#model.request({ cmd: 'resetPeak' });
    const before = pids.map((pid) => cpuUs(pid));
    const figures = await users.request<RunFigures>({ cmd: 'run', together, ...turns });
    const cpu = pids.map((pid, i) => (cpuUs(pid) - before[i]!) / Math.max(1, figures.turns));
    const rss = pids.map((pid) => rssKb(pid) / 1_024);
    const anonMb = sum(pids.map((pid) => rssKb(pid, 'RssAnon') / 1_024));
    const peak = await this.#model.request<number>({ cmd: 'peak' });
    await users.request({ cmd: 'close' });
    return {
      ...figures,
      cpuUs: sum(cpu),
      rssMb: sum(rss),
      anonMb,
      sentinelCpuUs: sum(cpu.slice(1)),
      sentinelRssMb: sum(rss.slice(1)),
      peak,
    };
  }

  async stop(): Promise<void> {
    for (const child of this.#children.toReversed()) child.stop();
    await this.#agentExit;
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** `BENCH_PROFILE=DIRECTORY` writes a CPU profile of the agent there. */
const agentFlags = (): string[] =>
  process.env.BENCH_PROFILE ? ['--cpu-prof', `--cpu-prof-dir=${process.env.BENCH_PROFILE}`] : [];

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Waits until the agent serves its address. */
async function untilAttached(users: Child<AppCommand>, url: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      await users.request({ cmd: 'open', kind: 'fabric', url, conversations: 1 });
      await users.request({ cmd: 'close' });
      return;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function untilServed(url: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      if ((await fetch(url)).ok) return;
      throw new Error(`${url} is not served`);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Median of the ratios of fabric to plain, paired within one alternation. */
const ratioOf = ({ plain, fabric }: AppRows, figure: keyof AppRow): number =>
  median(fabric.map((row, i) => row[figure] / plain[i]![figure]));
/** Median of the differences of fabric and plain, paired within one alternation. */
const addedOf = ({ plain, fabric }: AppRows, figure: keyof AppRow): number =>
  median(fabric.map((row, i) => row[figure] - plain[i]![figure]));
const medianOf = (rows: readonly AppRow[], figure: keyof AppRow): number =>
  median(rows.map((row) => row[figure]));

/** Receives the figures. */
interface Report {
  print(line: string): void;
  goal(number: number, label: string, value: number, limit: number, unit: string, gate: number): void;
}

const PER_SECOND = 50;
/** Goal 18: a model that sends 50 chunks/s, with the limit of the CPU time to plain. */
const PACED_CELLS = [
  { conversations: 1, chunks: 75, spreadMs: 0, alternations: 3, limit: 1.6 },
  { conversations: 10, chunks: 75, spreadMs: 200, alternations: 4, limit: 1.4 },
  { conversations: 100, chunks: 75, spreadMs: 1_000, alternations: 3, limit: 1 },
  { conversations: 400, chunks: 125, spreadMs: 1_500, alternations: 2, limit: 0.9 },
] as const;
/** The short form of goals 18b and 19. */
const QUICK_CELLS = [
  { conversations: 10, chunks: 50, spreadMs: 200, alternations: 2, limit: 1.4 },
  { conversations: 400, chunks: 75, spreadMs: 750, alternations: 1, limit: 0.9 },
] as const;
/** Goal 18b: the number of turns that an agent runs at once by default. */
const MANY = {
  conversations: 2_000,
  chunks: 24,
  perSecond: 4,
  turnsEach: 1,
  spreadMs: 3_000,
  isTogether: true,
  alternations: 1,
};
/** Goal 17: a model at full speed, with the limit of the CPU time to plain. */
const FAST_CELLS = [
  { conversations: 1, turnsEach: 40, limit: 1.2 },
  { conversations: 16, turnsEach: 8, limit: 0.8 },
  { conversations: 128, turnsEach: 2, limit: 0.7 },
] as const;
const FAST = { chunks: 200, perSecond: 0, spreadMs: 0, alternations: 5 };

/** Measures goals 17 to 19, or briefly 18b and 19. Goals 17, 18 and 18c are only printed: they do not count yet. */
export async function measureApplication(report: Report, quick: boolean): Promise<Record<string, AppRows>> {
  const bench = await ApplicationBench.start(['plain', 'fabric']);
  const results: Record<string, AppRows> = {};
  const run = async (name: string, cell: AppCell): Promise<AppRows> => {
    const rows = await bench.run(cell);
    results[name] = rows;
    printCell(report, name, rows);
    return rows;
  };
  try {
    // A warm-up round, so that the code of all processes is compiled.
    await bench.run({ ...FAST, conversations: 16, turnsEach: quick ? 4 : 10, alternations: 1 });
    for (const { limit, ...cell } of quick ? QUICK_CELLS : PACED_CELLS) {
      const { conversations } = cell;
      const name = `${conversations} at ${PER_SECOND}/s`;
      const rows = await run(name, { ...cell, perSecond: PER_SECOND, turnsEach: 1, isTogether: true });
      printFigure(report, `18   CPU, ${name}, to plain`, ratioOf(rows, 'cpuUs'), limit);
      if (conversations === 10) recordDelay(report, rows);
      if (conversations < 400) continue;
      printFigure(report, `18c  memory, ${name}, to plain`, ratioOf(rows, 'rssMb'), 1.2);
      recordPlaces(report, rows, conversations);
      printFigure(report, `18b  p50 of the first chunk, ${name}, to plain`, ratioOf(rows, 'firstP50'), 2);
    }
    if (quick) return results;
    const many = `${MANY.conversations} at ${MANY.perSecond}/s`;
    const rows = await run(many, MANY);
    recordPlaces(report, rows, MANY.conversations);
    // 400 conversations at 50 chunks/s use all of a machine of two cores, so only this figure counts.
    report.goal(18, `18b: p50 of the first chunk, ${many}, to plain`, ratioOf(rows, 'firstP50'), 2, 'x', 8);
    for (const { limit, ...cell } of FAST_CELLS) {
      const name = `${cell.conversations} at any speed`;
      const rows = await run(name, { ...FAST, ...cell });
      printFigure(report, `17   CPU of a turn, ${name}, to plain`, ratioOf(rows, 'cpuUs'), limit);
      if (cell.conversations === 1) {
        printFigure(report, `17   p50 of a turn, ${name}, beyond plain`, addedOf(rows, 'turnP50'), 2, 'ms');
      }
    }
    return results;
  } finally {
    await bench.stop();
  }
}

function printCell({ print }: Report, name: string, rows: AppRows): void {
  for (const kind of ['plain', 'fabric'] as const) {
    const at = (figure: keyof AppRow, digits = 0): string => medianOf(rows[kind], figure).toFixed(digits);
    const ms = (figure: keyof AppRow): string => `${at(figure, 1)} ms`;
    const part = (figure: keyof AppRow): string => (kind === 'plain' ? '' : ` (sentinel ${at(figure)})`);
    print(
      [
        `${(kind === 'plain' ? `turns, ${name}` : '').padEnd(22)} ${kind.padEnd(6)} CPU ${at('cpuUs')} us/turn${part('sentinelCpuUs')}`,
        `turn ${ms('turnP50')}`,
        `first chunk ${ms('firstP50')}, p99 ${ms('firstP99')}`,
        `chunk ${ms('delayP50')}, p99 ${ms('delayP99')}`,
        `${at('events')} events`,
        `${at('peak')} at once`,
        `${at('rssMb')} MB${part('sentinelRssMb')}, ${at('anonMb')} MB without files`,
      ].join(' | '),
    );
  }
}

/** Prints a figure whose goal does not count yet. */
function printFigure({ print }: Report, label: string, value: number, limit: number, unit = 'x'): void {
  print(`  figure   ${label.padEnd(57)} ${value.toFixed(2).padStart(9)}${unit}  (goal <= ${limit}${unit})`);
}

/** Goal 19. */
function recordDelay({ goal }: Report, rows: AppRows): void {
  goal(19, 'delay added to a chunk, p50, 10 at 50/s', addedOf(rows, 'delayP50'), 3, 'ms', 12);
  goal(19, 'delay added to a chunk, p99, 10 at 50/s', addedOf(rows, 'delayP99'), 15, 'ms', 40);
  goal(19, 'delay added to the first chunk, p50, 10 at 50/s', addedOf(rows, 'firstP50'), 5, 'ms', 15);
}

/** Goal 18b. */
function recordPlaces({ goal }: Report, { fabric }: AppRows, conversations: number): void {
  const failed = fabric.reduce((sum, row) => sum + row.failed, 0);
  goal(18, `18b: failed turns, ${conversations} at once`, failed, 0, '', 0);
  const waiting = Math.max(...fabric.map(({ peak }) => conversations - peak));
  goal(18, `18b: turns that wait for a place, ${conversations} at once`, waiting, 0, '', 0);
}

if (import.meta.main) {
  const from = performance.now();
  const goal: Report['goal'] = (number, label, value, limit, unit) =>
    console.log(
      `  goal ${number}  ${label.padEnd(58)} ${value.toFixed(2).padStart(8)}${unit}  (<= ${limit}${unit}) ${value <= limit ? 'met' : 'MISSED'}`,
    );
  await measureApplication({ print: console.log, goal }, process.argv.includes('--quick'));
  console.log(`in ${((performance.now() - from) / 1_000).toFixed(0)} s`);
}
