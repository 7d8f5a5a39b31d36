// The contestants: starts routers, and reads their CPU time and memory from /proc.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child } from './child.ts';
import type { Command } from './driver.ts';
import { attach } from './fame-node.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
export const ROOT = here('..');

export interface Contestant {
  readonly name: string;
  /** Key of its nodes. @default none */
  readonly token?: string | undefined;
  readonly url: string;
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly exited: Promise<unknown>;
  /** @param signal @default SIGKILL */
  stop(signal?: NodeJS.Signals): void;
}

export interface StartCommand {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Record<string, string>;
  /** Key of its nodes. @default none */
  readonly token?: string;
  readonly cwd?: string;
}

const NODE = process.execPath;

export const OURS: StartCommand = {
  name: 'fame-fabric',
  command: [NODE, 'dist/fame.js', 'sentinel'],
  env: { FAME_MAX_ADDRESSES_PER_NODE: '20000', FAME_DATA_DIR: '.fame/bench', FAME_LOG_LEVEL: 'error' },
};

/**
 * Our sentinel with a key and a policy of 100 rules, the last of which allows what the nodes of the benchmark do. The others are of
 * the usual kinds, and match none of their requests.
 */
export function gatedSentinel(): StartCommand {
  const folder = mkdtempSync(join(tmpdir(), 'fame-bench-gate-'));
  const rules = Array.from({ length: 99 }, (_, nth) => [
    `  - { effect: allow, action: Call, principal: 'team${nth}', address: ['echo@*.fabric', 'svc${nth}@**'] }`,
    `  - { effect: deny, action: Call, address: 'private${nth}*@**' }`,
    `  - { effect: allow, action: [Connect, Call], scope: { any_of: [team${nth}, '**.trusted'] } }`,
  ]).map((kinds, nth) => kinds[nth % kinds.length]);
  const policy = [
    'rules:',
    ...rules,
    '  - { effect: allow, action: [Connect, Bind, Call], role: agent }',
    'limits:',
    // Rates are counted, and never reached.
    '  - { messages_per_second: 100000000, bytes_per_second: 100000000000 }',
    '',
  ];
  writeFileSync(join(folder, 'policy.yaml'), policy.join('\n'));
  const env = {
    ...OURS.env,
    FAME_DATA_DIR: folder,
    FAME_KEYS_FILE: join(folder, 'keys'),
    FAME_AUTH_POLICY_PATH: join(folder, 'policy.yaml'),
  };
  const command = [...OURS.command.slice(0, -1), 'key', 'add', 'bench', '--role', 'agent'];
  const options = { cwd: ROOT, env: { ...process.env, ...env }, encoding: 'utf8', stdio: 'pipe' } as const;
  const token = execFileSync(command[0]!, command.slice(1), options).trim();
  return { ...OURS, name: 'gated', env, token };
}

// The baselines use plain `ws`, as npm installs it, without the optional `bufferutil` that our packages include.
const PLAIN = { WS_NO_BUFFER_UTIL: '1' };
export const B2: StartCommand = { name: 'b2', command: [NODE, here('relays/b2.ts')], env: PLAIN };
export const B2_NATIVE: StartCommand = { name: 'b2+bufferutil', command: [NODE, here('relays/b2.ts')] };
export const B1: StartCommand = { name: 'b1', command: [NODE, here('relays/b1.ts')], env: PLAIN };

/** The sentinel of naylence; `undefined` if the packages of `test/interop` are not installed. */
export function naylence(): StartCommand | undefined {
  const home = here('../test/interop');
  const script = `${home}/peer/sentinel.mjs`;
  if (!existsSync(`${home}/node_modules/@naylence/runtime`) || !existsSync(script)) return undefined;
  return { name: 'naylence', command: [NODE, script], cwd: home };
}

export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Starts a Fame sentinel and waits until a node can attach; `coldStartMs` is the time that this took. */
export async function start(contestant: StartCommand): Promise<Contestant & { coldStartMs: number }> {
  const port = await freePort();
  const from = performance.now();
  const { name, command, cwd = ROOT, env, token } = contestant;
  const child = spawn(command[0]!, command.slice(1), {
    cwd,
    env: { ...process.env, FAME_LISTENER_PORT: String(port), ...env },
    stdio: ['ignore', 'ignore', process.env.BENCH_STDERR ? 'inherit' : 'ignore'],
  });
  const exited = once(child, 'exit');
  const url = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;

  for (;;) {
    if (child.exitCode !== null)
      throw new Error(`${name} exited with code ${child.exitCode} while it was starting`);
    try {
      const node = await attach(url, 'probe', { token });
      node.close();
      break;
    } catch (error) {
      if (performance.now() - from > 20_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
  return {
    name,
    token,
    url,
    pid: child.pid!,
    coldStartMs: performance.now() - from,
    exited,
    stop: (signal = 'SIGKILL') => void child.kill(signal),
  };
}

/** Returns the CPU time of all threads of a process, in us. */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // The thread ended between the two reads.
    }
  }
  return ns / 1000;
}

/** Pins a process to one core, if the machine has several cores and `taskset`. */
export function pin(pid: number, core: number): void {
  if (availableParallelism() < 2) return;
  try {
    execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' });
  } catch {
    // Pinning only reduces noise.
  }
}

/** Returns the resident memory of a process, or the part of it that is not mapped from files, in KB. */
export const rssKb = (pid: number, part: 'VmRSS' | 'RssAnon' = 'VmRSS'): number =>
  Number(new RegExp(`${part}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);

/** A process that runs `driver.ts`. */
export class Driver extends Child<Command> {
  constructor() {
    super(here('driver.ts'));
  }
}
