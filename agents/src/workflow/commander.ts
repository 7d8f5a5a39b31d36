// The commander: the root of a task tree and its public interface. It runs jobs one after the other and handlers side by side,
// until an exit is requested, its signal aborts, an error reaches it, or, with `autoExit`, no work is left. It may run again
// afterwards. `tree-run.ts` has the life cycle of a node.
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { Channel, onAbort } from '@fame-fabric/shared/internal';
import { Handle } from './handle.ts';
import { isInside } from './stages.ts';
import type {
  ErrorMode,
  ExitReport,
  HandlerCall,
  HandlerHandle,
  JobHandle,
  JobRef,
  NodeEvent,
  TaskNode,
  TreeCommander,
} from './task-node.ts';
import { type RunOptions, TreeRun } from './tree-run.ts';

export interface CommanderOptions {
  /** Aborts every run. */
  signal?: AbortSignal | undefined;
  /** Effect of a child's error, for all nodes without a mode of their own. @default 'fail-fast' */
  errors?: ErrorMode | undefined;
  /** Time that cancelled code has to end before it is abandoned, in ms. @default 2_000 */
  graceMs?: number | undefined;
  /**
   * Node limit of one run.
   * @default 10_000 below each job or handler under the commander; any number of those may follow one another
   */
  maxNodes?: number | undefined;
  /** Depth limit of the tree, at most MAX_DEPTH. @default 1_000 */
  maxDepth?: number | undefined;
  /** Time after which a job's body that holds the queue is reported in an event and in the log, in ms. @default 1_000 */
  slowJobMs?: number | undefined;
  logger?: Logger | undefined;
  clock?: Clock | undefined;
}

/** Unread events at which the stream of a reader of `events` fails. */
const MAX_UNREAD_EVENTS = 10_000;

/** Errors and aborts pass through the tree in nested calls. Deeper trees would exhaust the stack. */
const MAX_DEPTH = 1_000;

// biome-ignore lint/suspicious/noExplicitAny: the results of first jobs are not the commander's.
type FirstJob = JobRef<any>;

export class Commander<R = unknown> implements TreeCommander, AsyncDisposable {
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

  /** The commander's own node, of the current run or else of the last one. Its callbacks apply to all runs. */
  get root(): TaskNode {
    return this.#run.root;
  }

  get running(): boolean {
    return this.#run.state !== 'idle' && this.#run.state !== 'ended';
  }

  /** Number of nodes below the commander that have not ended. */
  get liveNodes(): number {
    return this.#run.liveNodes;
  }

  /** Nodes that the last exit ended early. */
  get exitReport(): ExitReport {
    return this.#run.report;
  }

  /** True while no work is queued or running. */
  isEmpty(): boolean {
    return this.#run.isEmpty;
  }

  /** State changes, slow jobs and unresponsive nodes, from now until the end of the run. Each reader receives all of them. */
  get events(): AsyncIterable<NodeEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const reader: Channel<NodeEvent> = new Channel({
          limit: MAX_UNREAD_EVENTS,
          name: 'the events of the commander',
          onLeave: () => this.#readers.delete(reader),
        });
        this.#readers.add(reader);
        return reader[Symbol.asyncIterator]();
      },
    };
  }

  /**
   * Runs the jobs and all work that follows from them. Resolves with the value of the exit, or undefined after `autoExit`.
   * @throws the error that reached the commander, or the reason of the signal
   * @throws {COMMANDER_RUNNING} while it runs
   */
  async run(
    job: FirstJob | readonly FirstJob[] = [],
    options: { autoExit?: boolean | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<R | undefined> {
    if (this.running) throw new FabricError('COMMANDER_RUNNING', 'The commander is running; use submit()');
    const signals = [this.#signal, options.signal].filter((signal) => signal !== undefined);
    for (const signal of signals) signal.throwIfAborted();
    if (this.#run.state === 'ended') this.#run = this.#newRun(this.#run);
    const run = this.#run;
    const listeners = signals.map((signal) =>
      onAbort(signal, () => run.requestEnd({ error: signal.reason }, signal.reason)),
    );
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

  /** Runs the jobs until no work is left. If the commander runs already, submits them and returns at once. */
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

  /** Requests that the run end with this result; safe from inside bodies and callbacks. The first request counts. */
  requestExit(result?: R): void {
    this.#run.requestEnd({ value: result }, new FabricError('ABORTED', 'The commander exits'));
  }

  /**
   * Ends the run with this result and waits until it has ended.
   * @throws {WOULD_DEADLOCK} from inside a body or callback of this commander
   */
  async exit(result?: R): Promise<ExitReport> {
    const run = this.#run;
    this.#refuseInside('exit');
    if (!this.running) return { cancelled: [], discarded: [], unresponsive: [] };
    this.requestExit(result);
    await run.ended;
    return run.report;
  }

  /**
   * Waits for the end of the run. Resolves with its value, or undefined if the commander has never run.
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

  #refuseInside(method: string): void {
    if (!this.running || !isInside(this.#run.root)) return;
    throw new FabricError(
      'WOULD_DEADLOCK',
      `${method}() from inside the tree would wait for itself; use requestExit()`,
    );
  }
}

function resultOf<R>(run: TreeRun): R | undefined {
  if (run.failure) throw run.failure.error;
  return run.value as R | undefined;
}
