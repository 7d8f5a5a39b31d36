// The commander: the root of a task tree and its outside. It runs jobs one after the other and handlers side by side, until it
// is told to exit, until its signal aborts, until an error reaches it, or, with `autoExit`, until nothing is left to do. It may
// run again afterwards. How a node lives and ends is told in `tree-run.ts`.
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { Channel } from '../model/stream/channel.ts';
import type { ErrorMode, HandlerCall, HandlerHandle, JobHandle, JobRef } from './define.ts';
import { Handle } from './node.ts';
import type { ExitReport, NodeEvent, TaskNode } from './task-node.ts';
import { type RunOptions, TreeRun } from './tree-run.ts';

export interface CommanderOptions {
  /** Aborts every run. */
  signal?: AbortSignal;
  /** What an error of a child does, for all nodes that do not say otherwise themselves. @default 'fail-fast' */
  errors?: ErrorMode;
  /** How long cancelled code may go on before it is left behind, in milliseconds. @default 2_000 */
  graceMs?: number;
  /**
   * Most nodes of one run.
   * @default 10_000 for what one job or handler under the commander starts; such rounds may follow one another without end
   */
  maxNodes?: number;
  /** How deep the tree may be, at most MAX_DEPTH. @default 1_000 */
  maxDepth?: number;
  /** A job's body that holds the queue longer than this is named in an event and in the log, in milliseconds. @default 1_000 */
  slowJobMs?: number;
  logger?: Logger;
  clock?: Clock;
}

/** Events that may wait unread before a reader of `events` is cut off. */
const MAX_WAITING_EVENTS = 10_000;

/** Errors and aborts go through the tree in nested calls: deeper trees would exhaust the stack. */
export const MAX_DEPTH = 1_000;

// biome-ignore lint/suspicious/noExplicitAny: the results of first jobs are not the commander's.
type FirstJob = JobRef<any>;

export class Commander<R = unknown> implements AsyncDisposable {
  #run: TreeRun;
  readonly #signal: AbortSignal | undefined;
  readonly #runOptions: RunOptions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #readers = new Set<Channel<NodeEvent>>();

  constructor(options: CommanderOptions = {}) {
    this.#signal = options.signal;
    this.#logger = options.logger ?? silentLog;
    this.#clock = options.clock ?? systemClock;
    this.#runOptions = {
      isolates: options.errors === 'isolate',
      graceMs: options.graceMs ?? 2_000,
      maxNodes: options.maxNodes,
      maxDepth: Math.min(options.maxDepth ?? MAX_DEPTH, MAX_DEPTH),
      slowJobMs: options.slowJobMs ?? 1_000,
    };
    this.#run = this.#newRun();
  }

  /** The commander's own node: of the run that is going on, else of the last one. What is registered on it holds for all runs. */
  get root(): TaskNode {
    return this.#run.root;
  }

  get running(): boolean {
    return this.#run.state === 'running' || this.#run.state === 'ending';
  }

  /** How many nodes live below the commander. */
  get liveNodes(): number {
    return this.#run.liveNodes;
  }

  /** What the last exit cut off. */
  get exitReport(): ExitReport {
    return this.#run.report;
  }

  /** Whether no work is queued or going on. */
  isEmpty(): boolean {
    return this.#run.isEmpty;
  }

  /** State changes, slow jobs and stubborn nodes, from now until the end of the run. Each reader gets all of them. */
  get events(): AsyncIterable<NodeEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const reader: Channel<NodeEvent> = new Channel({
          limit: MAX_WAITING_EVENTS,
          name: 'the events of the commander',
          onLeave: () => this.#readers.delete(reader),
        });
        this.#readers.add(reader);
        return reader[Symbol.asyncIterator]();
      },
    };
  }

  /**
   * Runs the jobs and whatever follows from them. Resolves with the value of the exit, or undefined after `autoExit`.
   * @throws the error that reached the commander, or the reason of the signal
   * @throws {COMMANDER_RUNNING} while it runs
   */
  async run(
    job: FirstJob | readonly FirstJob[] = [],
    options: { autoExit?: boolean; signal?: AbortSignal } = {},
  ): Promise<R | undefined> {
    if (this.running) throw new FabricError('COMMANDER_RUNNING', 'The commander is running; use submit()');
    const signals = [this.#signal, options.signal].filter((signal) => signal !== undefined);
    for (const signal of signals) signal.throwIfAborted();
    if (this.#run.state === 'ended') this.#run = this.#newRun(this.#run);
    const run = this.#run;
    const listeners = signals.map((signal) => {
      const listener = (): void => run.leave({ error: signal.reason }, signal.reason);
      signal.addEventListener('abort', listener, { once: true });
      return () => signal.removeEventListener('abort', listener);
    });
    try {
      run.start(Array.isArray(job) ? job : [job as FirstJob], options.autoExit ?? false);
      await run.ended;
    } finally {
      for (const remove of listeners) remove();
      for (const reader of this.#readers) reader.end();
      this.#readers.clear();
    }
    return resultOf<R>(run);
  }

  /** Runs the jobs until nothing is left to do; if the commander runs already, hands them to it and returns at once. */
  async runAuto(job: FirstJob | readonly FirstJob[]): Promise<{ started: boolean; result?: R }> {
    if (this.running) {
      for (const one of Array.isArray(job) ? job : [job as FirstJob]) this.submit(one);
      return { started: false };
    }
    const result = await this.run(job, { autoExit: true });
    return result === undefined ? { started: true } : { started: true, result };
  }

  /** Queues a job under the commander. @throws {COMMANDER_STOPPED | WORKFLOW_LIMIT} */
  submit<T>(job: JobRef<T>): JobHandle<T> {
    return new Handle<T>(this.#run.add(this.#run.root, job));
  }

  /** Starts a handler under the commander. @throws {COMMANDER_STOPPED | WORKFLOW_LIMIT} */
  call<T>(handler: HandlerCall<T>): HandlerHandle<T> {
    return new Handle<T>(this.#run.add(this.#run.root, handler));
  }

  /** Asks the run to end with this result; safe from inside bodies and callbacks. The first request counts. */
  requestExit(result?: R): void {
    this.#run.leave({ value: result }, new FabricError('ABORTED', 'The commander exits'));
  }

  /**
   * Ends the run with this result and waits until it has ended.
   * @throws {WOULD_DEADLOCK} from inside a body or callback of this commander
   */
  async exit(result?: R): Promise<ExitReport> {
    const run = this.#run;
    this.#refuseInside('exit');
    if (!this.running) return { cancelled: [], discarded: [], stubborn: [] };
    this.requestExit(result);
    await run.ended;
    return run.report;
  }

  /**
   * Waits for the end of the run; its value, or undefined if the commander has never run.
   * @throws the error of the run
   * @throws {WOULD_DEADLOCK} from inside a body or callback of this commander
   */
  async waitForExit(): Promise<R | undefined> {
    const run = this.#run;
    this.#refuseInside('waitForExit');
    if (run.state === 'idle') return undefined;
    await run.ended;
    return resultOf<R>(run);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exit();
  }

  #newRun(previous?: TreeRun): TreeRun {
    const emit = (event: NodeEvent): void => {
      for (const reader of this.#readers) reader.push(event);
    };
    return new TreeRun(this, { clock: this.#clock, logger: this.#logger, emit }, this.#runOptions, previous);
  }

  #refuseInside(what: string): void {
    if (!this.running || !this.#run.isInside()) return;
    throw new FabricError(
      'WOULD_DEADLOCK',
      `${what}() from inside the tree would wait for itself; use requestExit()`,
    );
  }
}

function resultOf<R>(run: TreeRun): R | undefined {
  if (run.failure) throw run.failure.error;
  return run.value as R | undefined;
}
