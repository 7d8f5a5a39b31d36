// Real processes for tests: started on a free port, awaited by their output or health page, and ended with the test that
// started them. Every process is ended by its own pid. If a wait fails, the error contains the last output.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WAIT_LIMIT_MS } from './wait-limit.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface StartOptions {
  /** Shown in errors. @default the command's last argument */
  name?: string;
  cwd?: string;
  /** Added to a clean environment: nothing that begins with FAME_ or OPENAI_ is inherited. */
  env?: Record<string, string>;
}

const running = new Set<Proc>();

/** Signals by which the system or Node itself ends a process. No test sends them. */
const FAULTS: readonly (NodeJS.Signals | null)[] = [
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGILL',
  'SIGSEGV',
  'SIGTRAP',
];
const aborted: Error[] = [];
process.once('exit', () => {
  for (const proc of running) proc.child.kill('SIGKILL');
  // Only scripts, such as the kill storm, have any left here. In test files, `clean-up.ts` has already taken them.
  for (const { message } of aborted) {
    console.error(message);
    process.exitCode = 1;
  }
});

/** The environment of this process without the variables that configure a node or a model. */
export function cleanEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(FAME|OPENAI|MODEL|VITEST|NODE_OPTIONS)/.test(name),
  );
  return { ...Object.fromEntries(inherited), NO_COLOR: '1', ...extra };
}

/** One started process. */
export class Proc {
  readonly child: ChildProcess;
  readonly name: string;
  readonly exited: Promise<Exit>;
  /** Last 512 KiB of standard output and standard error. */
  output = '';
  #waiters = new Set<() => void>();
  #lineReaders = new Set<(line: string) => void>();
  #partial = '';

  constructor(command: string, args: readonly string[], options: StartOptions = {}) {
    this.name = options.name ?? args.at(-1) ?? command;
    this.child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      env: cleanEnv(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    running.add(this);
    this.exited = new Promise((resolve) => {
      this.child.once('error', (error) => this.#take(`${error.message}\n`));
      this.child.once('close', (code, signal) => {
        running.delete(this);
        if (FAULTS.includes(signal)) aborted.push(this.failure(`was ended by ${signal}`));
        resolve({ code, signal });
        this.#wake();
      });
    });
    // A write to a process that has just died fails; the wait for its answer reports that.
    this.child.stdin?.on('error', () => {});
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#take(text);
      this.#split(text);
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
  }

  get pid(): number {
    return this.child.pid!;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined;
  }

  /** Resident memory in bytes, as the kernel counts it. */
  rssBytes(): number {
    const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1];
    return Number(kib) * 1024;
  }

  /** Processor time used so far, in ms. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  /** Reads standard output line by line until the returned function is called. */
  onLine(read: (line: string) => void): () => void {
    this.#lineReaders.add(read);
    return () => this.#lineReaders.delete(read);
  }

  write(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Waits until the output matches. Rejects with the last output if the process exits or `timeoutMs` pass before. */
  async waitFor(pattern: RegExp, timeoutMs = WAIT_LIMIT_MS): Promise<RegExpMatchArray> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.output.match(pattern);
      if (found) return found;
      if (!this.alive) throw this.failure(`exited before it printed ${pattern}`);
      const left = deadline - Date.now();
      if (left <= 0) throw this.failure(`did not print ${pattern} within ${timeoutMs} ms`);
      await this.#change(left);
    }
  }

  /** Sends the signal, and SIGKILL after `graceMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 5_000): Promise<Exit> {
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends SIGKILL and waits for the exit. */
  kill(): Promise<Exit> {
    this.child.kill('SIGKILL');
    return this.exited;
  }

  failure(what: string): Error {
    const tail = this.output.split('\n').slice(-40).join('\n');
    return new Error(`${this.name} (pid ${this.pid}) ${what}; its last output:\n${tail}`);
  }

  #take(text: string): void {
    this.output = (this.output + text).slice(-524_288);
    this.#wake();
  }

  #split(text: string): void {
    if (this.#lineReaders.size === 0) return;
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) for (const read of this.#lineReaders) read(line);
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
  }

  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#waiters.add(done);
    });
  }
}

/** Starts the version of `node` that runs the tests. */
export const startNode = (args: readonly string[], options: StartOptions = {}): Proc =>
  new Proc(process.execPath, args, options);

/** Takes the errors of the processes that a fault has ended since the last call. Each has the last output of its process. */
export const takeAborted = (): Error[] => aborted.splice(0);

/** Ends every process that is still running, by pid. After each test file `clean-up.ts` calls it. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((proc) => proc.kill()));
}

/** The ports below those that the kernel uses for outgoing connections. Each of four workers of the test runner has a quarter of them. */
const ALL_PORTS = { first: 10_000, count: 20_000 };
const PORTS = portsOf(process.env.VITEST_POOL_ID);
const handedOut = new Set<number>();

/** The ports of a worker; all of them for a script. Workers are counted from 1. */
function portsOf(worker: string | undefined): typeof ALL_PORTS {
  if (worker === undefined) return ALL_PORTS;
  const count = ALL_PORTS.count / 4;
  return { first: ALL_PORTS.first + ((Number(worker) - 1) % 4) * count, count };
}

/**
 * Finds a free port. It stays free until the caller uses it, also while a process of the caller restarts: up to four workers of one test
 * run have ports of their own, and a file gets no port twice.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** Polls `url` until it answers 2xx. */
export async function healthy(url: string, proc: Proc, timeoutMs = WAIT_LIMIT_MS): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (proc.alive) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    if (Date.now() > deadline) throw proc.failure(`was not healthy at ${url} within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw proc.failure(`exited before ${url} was healthy`);
}

/**
 * Arguments for `node` that run the `fame` command: from the sources, so that a test never runs a stale build, or with
 * FAME_TEST_FROM=dist from the build that ships.
 */
export const fameArgs = (...args: readonly string[]): string[] =>
  process.env.FAME_TEST_FROM === 'dist'
    ? [join(ROOT, 'dist/fame.js'), ...args]
    : [
        '--conditions=fame-source',
        '--disable-warning=ExperimentalWarning',
        join(ROOT, 'bin/fame.ts'),
        ...args,
      ];
