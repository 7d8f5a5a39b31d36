// Runs one file of `fame dev` in a separate process, and restarts the process when a file that it imports changes. A process that ends
// by itself is restarted at the next change.
import { type ChildProcess, spawn } from 'node:child_process';
import { relative } from 'node:path';
import { type Clock, systemClock } from '@fame-fabric/shared';
import { type Environment, onAbort } from '@fame-fabric/shared/internal';
import { type DevMessage, isDevMessage, type ServedAgent } from './dev-message.ts';
import { FileWatch } from './file-watch.ts';
import { commonJsAdvice } from './module-type.ts';

/** Drain time of a restart. A running call delays the reload that its author waits for. */
const DRAIN_MS = 2_000;
/** Time that a process has to end after its drain time, before it is killed. */
const KILL_AFTER_MS = 7_000;

const PRELOAD = new URL(import.meta.url.endsWith('.ts') ? './preload.ts' : './preload.js', import.meta.url)
  .href;

export interface DevAgentOptions {
  /** Absolute path. */
  file: string;
  env: Environment;
  /** Writes one line for the author. */
  note: (line: string) => void;
  /** Called when the agents of the file are served for the first time. */
  onServed: (agents: readonly ServedAgent[]) => void;
  clock?: Clock | undefined;
}

interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
  readonly startedAt: number;
}

export class DevAgent {
  readonly #options: DevAgentOptions;
  readonly #clock: Clock;
  readonly #env: Record<string, string | undefined>;
  readonly #name: string;
  readonly #watch: FileWatch;
  /** Resolves with the next change of a file. */
  #change = Promise.withResolvers<string>();
  #child: ChildProcess | undefined;
  #hasServed = false;

  constructor(options: DevAgentOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#env = { ...options.env, FAME_DRAIN_MS: options.env.FAME_DRAIN_MS?.trim() || String(DRAIN_MS) };
    this.#name = relative('', options.file);
    this.#watch = new FileWatch({
      onChange: (path) => this.#change.resolve(path),
      onError: ({ message }) => options.note(`Changes of ${this.#name} may go unnoticed: ${message}`),
    });
  }

  /** Runs until `stop` aborts. Then the process has ended. */
  async run(stop: AbortSignal): Promise<void> {
    const { file, note } = this.#options;
    const stopped = new Promise<void>((resolve) => void onAbort(stop, resolve));
    this.#watch.add(file);
    try {
      while (!stop.aborted) {
        this.#change = Promise.withResolvers();
        this.#watch.renew();
        const changed = this.#change.promise;
        const run = this.#start();
        const outcome = await Promise.race([run.ended, changed.then(() => undefined), stopped]);
        if (outcome !== undefined && !stop.aborted) {
          const advice = this.#hasServed ? undefined : commonJsAdvice(file);
          if (advice !== undefined) note(advice);
          note(`${this.#name} ${outcome}. Waiting for a change of its files.`);
          await Promise.race([changed, stopped]);
        }
        if (!stop.aborted) note(`${relative('', await changed)} has changed: restarting ${this.#name}`);
        await this.#end(run);
      }
    } finally {
      this.#watch.close();
    }
  }

  /** Kills the process at once. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  #start(): Run {
    // Its own process group: Ctrl-C in the terminal must reach it once, through this process.
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        '--disable-warning=ExperimentalWarning',
        `--import=${PRELOAD}${this.#hasServed ? '?restart' : ''}`,
        this.#options.file,
      ],
      {
        env: this.#env as NodeJS.ProcessEnv,
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        detached: true,
        windowsHide: true,
      },
    );
    this.#child = child;
    const startedAt = this.#clock.monotonic();
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`cannot be started: ${error.message}`));
      child.once('exit', (code, signal) =>
        resolve(signal ? `was ended by ${signal}` : `ended with exit code ${code}`),
      );
    });
    const run = { child, ended, startedAt };
    child.on('message', (message) => {
      if (isDevMessage(message)) this.#receive(message, run);
    });
    return run;
  }

  #receive(message: DevMessage, { startedAt }: Run): void {
    if (message.type === 'file') {
      this.#watch.add(message.path);
      return;
    }
    if (!this.#hasServed) this.#options.onServed(message.agents);
    else
      this.#options.note(`Restarted ${this.#name} in ${Math.round(this.#clock.monotonic() - startedAt)} ms`);
    this.#hasServed = true;
  }

  /** Lets the process drain, and kills it if it does not end. */
  async #end({ child, ended }: Run): Promise<void> {
    child.kill('SIGTERM');
    const limitMs = (Number(this.#env.FAME_DRAIN_MS) || 0) + KILL_AFTER_MS;
    const timer = this.#clock.after(limitMs, () => child.kill('SIGKILL'));
    await ended;
    timer.stop();
  }
}
