// The processes of the turn benchmarks: whole chat turns through our fabric (sentinel, chat agent with a journal on disk, clients over the
// wire), through a plain server, and through other servers. All run at the same time, use one model server, and take turns.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AppCommand, RunFigures } from './app/app-driver.ts';
import type { ChatProtocol } from './app/chats.ts';
import type { ModelCommand } from './app/model-server.ts';
import { Child } from './child.ts';
import { type Contestant, cpuUs, freePort, naylence, OURS, ROOT, rssKb, start } from './contestants.ts';
import { startNats, startPostgres } from './kit.ts';

const program = (name: string): string => fileURLToPath(new URL(`${name}.ts`, import.meta.url));

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
  /** Maximum resident memory of all server processes during the run, in MB. */
  readonly rssMb: number;
  /** The same, with the pages that are mapped from files counted for one process only: most are the binary of Node, which they share. */
  readonly sharedOnceMb: number;
  /** The sentinel's share of CPU time and memory; 0 for plain. */
  readonly sentinelCpuUs: number;
  readonly sentinelRssMb: number;
  /** CPU time per turn of the users and of the model server, in us. They share the machine with the servers. */
  readonly usersCpuUs: number;
  readonly modelCpuUs: number;
  /** Maximum number of requests that were open at the model server at once. */
  readonly peak: number;
}

/**
 * - `plain`: the plain server.
 * - `relay`: a plain server behind a TCP relay in a second process. `relay+journal`: the plain server writes a journal, too.
 * - `fabric`: our fabric, through our client library. `other`: that of another build.
 * - `door`: the OpenAI door of the sentinel of `fabric`. `remote door`: that of `fame doors`, in a separate process.
 * - `cluster`: two sentinels with NATS, and replicas of the agent over PostgreSQL.
 * - `naylence`: sentinel and agent on the packages of naylence, through our client library.
 */
export type AppKind = (typeof APP_KINDS)[number];
export const APP_KINDS = [
  'plain',
  'relay',
  'relay+journal',
  'fabric',
  'other',
  'door',
  'remote door',
  'cluster',
  'naylence',
] as const;

/** The rows of each contestant; those with the same index belong to one alternation. */
export type AppRows = Record<AppKind, AppRow[]>;

/** Processes of one program and its users. */
interface Server {
  readonly kind: AppKind;
  readonly protocol: ChatProtocol;
  readonly url: string;
  /** The server processes; the sentinel or relay is the last one. */
  readonly pids: readonly number[];
  /** Process ids by kind. Only for the fabric and the cluster. */
  readonly processes?: Processes;
  readonly users: Child<AppCommand>;
}

/** Process ids of a fabric. */
export interface Processes {
  readonly agents: readonly number[];
  readonly sentinels: readonly number[];
  readonly nats?: number | undefined;
  readonly postgres?: number | undefined;
}

export interface ApplicationOptions {
  /** Directory of the checkout whose build is `other`. */
  readonly other?: string | undefined;
  /** Number of replicas of the agent of `cluster`. @default 1 */
  readonly replicas?: number | undefined;
}

const MEMORY_EVERY_MS = 100;

/** The contestants and their model server. Close it with `stop`. */
export class ApplicationBench {
  readonly #model = new Child<ModelCommand>(program('app/model-server'));
  readonly #children: { stop(): void }[] = [this.#model];
  /** Settle when the processes that write a profile at their end have ended. */
  readonly #exits: Promise<unknown>[] = [];
  /** End the servers of other projects, after all processes of ours. */
  readonly #closers: (() => Promise<unknown>)[] = [];
  readonly #directory: string;
  #servers: readonly Server[] = [];
  readonly #onSignal = (): void => void this.stop().finally(() => process.exit(1));

  private constructor() {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, this.#onSignal);
    mkdirSync(join(ROOT, '.fame'), { recursive: true });
    this.#directory = mkdtempSync(join(ROOT, '.fame/bench-app-'));
  }

  /** @param kinds the contestants; the doors need `fabric` */
  static async start(
    kinds: readonly AppKind[],
    { other = ROOT, replicas = 1 }: ApplicationOptions = {},
  ): Promise<ApplicationBench> {
    const bench = new ApplicationBench();
    try {
      const modelUrl = await bench.#model.request<string>({ cmd: 'url' });
      const servers = new Map<AppKind, Server>();
      const fabric = (): Server => servers.get('fabric')!;
      const starts: Record<AppKind, () => Promise<Server>> = {
        plain: () => bench.#startPlain('plain', modelUrl),
        relay: () => bench.#startRelay('relay', modelUrl),
        'relay+journal': () => bench.#startRelay('relay+journal', modelUrl),
        fabric: () => bench.#startFabric('fabric', modelUrl, ROOT),
        other: () => bench.#startFabric('other', modelUrl, other),
        door: async () => bench.#doorOf(fabric()),
        'remote door': () => bench.#startDoors(fabric()),
        cluster: () => bench.#startCluster(modelUrl, replicas),
        naylence: () => bench.#startNaylence(modelUrl),
      };
      for (const kind of APP_KINDS) if (kinds.includes(kind)) servers.set(kind, await starts[kind]());
      bench.#servers = [...servers.values()];
      return bench;
    } catch (error) {
      await bench.stop();
      throw error;
    }
  }

  async #startPlain(kind: AppKind, modelUrl: string): Promise<Server> {
    const journal = kind === 'relay+journal' ? [join(this.#directory, 'plain-journal')] : [];
    const server = this.#child(new Child<'url'>(program('app/plain-server'), [modelUrl, ...journal]));
    const url = await server.request<string>('url');
    return { kind, protocol: 'plain', url, pids: [server.pid], users: this.#users() };
  }

  async #startRelay(kind: AppKind, modelUrl: string): Promise<Server> {
    const plain = await this.#startPlain(kind, modelUrl);
    const url = new URL(plain.url);
    const relay = this.#child(new Child<'port'>(program('relays/tcp'), [url.port]));
    url.port = String(await relay.request<number>('port'));
    return { ...plain, url: url.href, pids: [...plain.pids, relay.pid] };
  }

  async #startFabric(kind: AppKind, modelUrl: string, root: string): Promise<Server> {
    const env = { ...OURS.env, FAME_DATA_DIR: join(this.#directory, kind) };
    const command = [process.execPath, ...profileFlags(`${kind}-sentinel`), 'dist/fame.js', 'sentinel'];
    const sentinel = await start({ name: kind, command, env, cwd: root });
    this.#owned(sentinel);
    const { url } = sentinel;
    const pid = this.#spawn([...profileFlags(`${kind}-agent`), 'dist/fame.js', 'agent', 'chat'], root, {
      ...env,
      ...modelEnv(modelUrl),
      FAME_DIRECT_ADMISSION_URL: url,
      FAME_TOOLS: 'none',
    });
    const users = this.#users();
    await untilAttached(users, 'fabric', url);
    const pids = [pid, sentinel.pid];
    return {
      kind,
      protocol: 'fabric',
      url,
      pids,
      processes: { agents: [pid], sentinels: [sentinel.pid] },
      users,
    };
  }

  async #startCluster(modelUrl: string, replicas: number): Promise<Server> {
    const nats = await startNats({ hasJetStream: true });
    this.#closers.push(() => nats.kill());
    const postgres = await startPostgres();
    if (postgres === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql');
    this.#closers.push(() => postgres.close());
    const env = { ...OURS.env, FAME_DATA_DIR: join(this.#directory, 'cluster') };
    const members: Contestant[] = [];
    for (const id of ['one', 'two']) {
      const cluster = { FAME_NODE_ID: id, FAME_CLUSTER: 'bench', FAME_CLUSTER_NATS: nats.url };
      members.push(await start({ ...OURS, name: id, env: { ...env, ...cluster } }));
    }
    for (const member of members) this.#owned(member);
    const urls = members.map(({ url }) => url);
    const agents = Array.from({ length: replicas }, (_, nth) =>
      this.#spawn(['dist/fame.js', 'agent', 'chat'], ROOT, {
        ...env,
        ...modelEnv(modelUrl),
        FAME_DIRECT_ADMISSION_URL: (nth % 2 === 0 ? urls : urls.toReversed()).join(','),
        FAME_STORE_URL: postgres.url,
        FAME_CHAT_ADDRESS: 'chat@*.fame.fabric',
        FAME_TOOLS: 'none',
      }),
    );
    const users = this.#users();
    for (const url of urls) await untilAttached(users, 'fabric', url);
    const sentinels = members.map(({ pid }) => pid);
    return {
      kind: 'cluster',
      protocol: 'fabric',
      url: urls.join(','),
      pids: [...agents, ...sentinels],
      processes: { agents, sentinels, nats: nats.pid, postgres: postgres.pid },
      users,
    };
  }

  #doorOf({ url, pids }: Server): Server {
    const { host } = new URL(url);
    const doorUrl = `http://${host}/v1/chat/completions`;
    return { kind: 'door', protocol: 'door', url: doorUrl, pids, users: this.#users() };
  }

  async #startDoors({ url: sentinelUrl, pids }: Server): Promise<Server> {
    const port = await freePort();
    const pid = this.#spawn(['dist/fame.js', 'doors'], ROOT, {
      ...OURS.env,
      FAME_DATA_DIR: join(this.#directory, 'fabric'),
      FAME_DIRECT_ADMISSION_URL: sentinelUrl,
      FAME_DOORS_PORT: String(port),
    });
    await untilServed(`http://127.0.0.1:${port}/v1/models`);
    const url = `http://127.0.0.1:${port}/v1/chat/completions`;
    return { kind: 'remote door', protocol: 'door', url, pids: [pid, ...pids], users: this.#users() };
  }

  async #startNaylence(modelUrl: string): Promise<Server> {
    const command = naylence();
    if (command === undefined) throw new Error('naylence is not installed: npm ci --prefix test/interop');
    const sentinel = await start(command);
    this.#owned(sentinel);
    const { url } = sentinel;
    const pid = this.#spawn(['peer/model-chat.mjs'], command.cwd!, {
      ...modelEnv(modelUrl),
      FAME_DIRECT_ADMISSION_URL: url,
    });
    const users = this.#users();
    await untilAttached(users, 'naylence', url);
    return { kind: 'naylence', protocol: 'naylence', url, pids: [pid, sentinel.pid], users };
  }

  /** URL to which the users of a contestant connect. */
  urlOf(kind: AppKind): string {
    return this.#servers.find((server) => server.kind === kind)!.url;
  }

  /** Process ids of the fabric or the cluster, and of the model server. */
  processesOf(kind: 'fabric' | 'cluster'): Processes & { readonly model: number } {
    const { processes } = this.#servers.find((server) => server.kind === kind)!;
    return { ...processes!, model: this.#model.pid };
  }

  /** Starts a program of Node and returns its process id. */
  #spawn(args: readonly string[], cwd: string, env: Record<string, string>): number {
    const child = spawn(process.execPath, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore'],
    });
    this.#owned({ exited: once(child, 'exit'), stop: (signal) => void child.kill(signal) });
    return child.pid!;
  }

  #owned({ exited, stop }: Pick<Contestant, 'exited' | 'stop'>): void {
    this.#exits.push(exited);
    // Node writes a profile only at a graceful exit.
    this.#children.push({ stop: () => stop(process.env.BENCH_PROFILE ? 'SIGTERM' : 'SIGKILL') });
  }

  #users(): Child<AppCommand> {
    return this.#child(new Child<AppCommand>(program('app/app-driver')));
  }

  #child<T extends { stop(): void }>(child: T): T {
    this.#children.push(child);
    return child;
  }

  /** Runs a cell with contestants in turn. @param kinds @default all */
  async run(cell: AppCell, kinds: readonly AppKind[] = APP_KINDS): Promise<AppRows> {
    const rows = Object.fromEntries(APP_KINDS.map((kind) => [kind, [] as AppRow[]])) as AppRows;
    const servers = this.#servers.filter(({ kind }) => kinds.includes(kind));
    for (let round = 0; round < cell.alternations; round++) {
      for (const server of round % 2 === 0 ? servers : servers.toReversed()) {
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
    { protocol, url, pids, users }: Server,
    { conversations, isTogether, chunks, perSecond, turnsEach, spreadMs }: Omit<AppCell, 'alternations'>,
  ): Promise<AppRow> {
    const together = isTogether ? conversations : 1;
    await users.request({ cmd: 'open', protocol, url, conversations });
    await this.#model.request({ cmd: 'resetPeak' });
    const all = [...pids, users.pid, this.#model.pid];
    const before = all.map((pid) => cpuUs(pid));
    const rss = pids.map(() => 0);
    let sharedOnceMb = 0;
    const readMemory = (): void => {
      const now = pids.map((pid) => rssKb(pid) / 1_024);
      const anonymous = pids.map((pid) => rssKb(pid, 'RssAnon') / 1_024);
      for (const [i, mb] of now.entries()) rss[i] = Math.max(rss[i]!, mb);
      const files = Math.max(...now.map((mb, i) => mb - anonymous[i]!));
      sharedOnceMb = Math.max(sharedOnceMb, sum(anonymous) + files);
    };
    const memoryTimer = setInterval(readMemory, MEMORY_EVERY_MS);
    const run = { cmd: 'run', chunks, perSecond, turnsEach, spreadMs, together } as const;
    const figures = await users.request<RunFigures>(run).finally(() => clearInterval(memoryTimer));
    readMemory();
    const cpu = all.map((pid, i) => (cpuUs(pid) - before[i]!) / Math.max(1, figures.turns));
    const peak = await this.#model.request<number>({ cmd: 'peak' });
    await users.request({ cmd: 'close' });
    return {
      ...figures,
      cpuUs: sum(cpu.slice(0, pids.length)),
      rssMb: sum(rss),
      sharedOnceMb,
      sentinelCpuUs: sum(cpu.slice(1, pids.length)),
      sentinelRssMb: sum(rss.slice(1)),
      usersCpuUs: cpu.at(-2)!,
      modelCpuUs: cpu.at(-1)!,
      peak,
    };
  }

  async stop(): Promise<void> {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, this.#onSignal);
    for (const child of this.#children.toReversed()) child.stop();
    await Promise.all(this.#exits);
    await Promise.all(this.#closers.map((close) => close()));
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** `BENCH_PROFILE=DIRECTORY` writes a CPU profile of each process of the fabric there. */
const profileFlags = (name: string): string[] => {
  const directory = process.env.BENCH_PROFILE;
  if (!directory) return [];
  return ['--cpu-prof', `--cpu-prof-dir=${directory}`, `--cpu-prof-name=${name}.cpuprofile`];
};

const modelEnv = (modelUrl: string): Record<string, string> => ({
  OPENAI_API_KEY: 'none',
  OPENAI_BASE_URL: modelUrl,
  MODEL_NAME: 'bench',
});

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Waits until the agent serves its address. */
async function untilAttached(users: Child<AppCommand>, protocol: ChatProtocol, url: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    try {
      await users.request({ cmd: 'open', protocol, url, conversations: 1 });
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
