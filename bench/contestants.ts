// The contestants: starts each router, and reads its processor time and memory from /proc.
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from './driver.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
export const ROOT = here('..');

export interface Contestant {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  stop(): void;
}

export interface StartCommand {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

const NODE = process.execPath;

export const OURS: StartCommand = {
  name: 'fame-fabric',
  command: [NODE, 'dist/fame.js', 'sentinel'],
  env: { FAME_MAX_ADDRESSES_PER_NODE: '20000', FAME_DATA_DIR: '.fame/bench', FAME_LOG_LEVEL: 'error' },
};
// The floors are plain `ws`, as npm installs it; `bufferutil` is an optional extra that our packages bring along.
const PLAIN = { WS_NO_BUFFER_UTIL: '1' };
export const B2: StartCommand = { name: 'b2', command: [NODE, here('relays/b2.ts')], env: PLAIN };
export const B2_NATIVE: StartCommand = { name: 'b2+bufferutil', command: [NODE, here('relays/b2.ts')] };
export const B1: StartCommand = { name: 'b1', command: [NODE, here('relays/b1.ts')], env: PLAIN };

/** naylence's own sentinel, when the interop packages are installed. */
export function naylence(): StartCommand | undefined {
  const home = here('../test/interop');
  const script = `${home}/peer/sentinel.mjs`;
  if (!existsSync(`${home}/node_modules/@naylence/runtime`) || !existsSync(script)) return undefined;
  return { name: 'naylence', command: [NODE, script], cwd: home };
}

const freePort = async (): Promise<number> => {
  const { createServer } = await import('node:net');
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
};

/** Starts a Fame sentinel by its command and waits until its port answers; `coldStartMs` is that time. */
export async function start(what: StartCommand): Promise<Contestant & { coldStartMs: number }> {
  const port = await freePort();
  const from = performance.now();
  const child = spawn(what.command[0]!, what.command.slice(1), {
    cwd: what.cwd ?? ROOT,
    env: { ...process.env, FAME_LISTENER_PORT: String(port), ...what.env },
    stdio: ['ignore', 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore'],
  });
  const url = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
  const { attach } = await import('./fame-node.ts');
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${what.name} ended with ${child.exitCode}`);
    try {
      const node = await attach(url, 'probe');
      node.close();
      break;
    } catch (error) {
      if (performance.now() - from > 20_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  return {
    name: what.name,
    url,
    pid: child.pid!,
    coldStartMs: performance.now() - from,
    stop: () => void child.kill('SIGKILL'),
  };
}

/** On-CPU time of all threads of a process, in us. */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // a thread that ended between the two reads
    }
  }
  return ns / 1000;
}

/** Keeps a process on one core, where there are several, and `taskset`. */
export function pin(pid: number, core: number): void {
  if (availableParallelism() < 2) return;
  try {
    execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' });
  } catch {
    // It makes figures steadier, and is not needed for them.
  }
}

/** Resident memory of a process, in KB. */
export const rssKb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);

/** A driver process. */
export class Driver {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #n = 0;

  constructor() {
    this.#child = fork(here('driver.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (message: { n: number; result?: unknown; error?: string }) => {
      const waiter = this.#waiting.get(message.n);
      this.#waiting.delete(message.n);
      if (message.error === undefined) waiter?.resolve(message.result as never);
      else waiter?.reject(new Error(message.error));
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  tell<T = void>(command: Command): Promise<T> {
    const n = this.#n++;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.set(n, { resolve: resolve as never, reject });
    this.#child.send({ n, command });
    return promise;
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}
