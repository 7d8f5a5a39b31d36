// Admission of an agent's work: a limit on how many jobs run, order within a key, and a bounded queue for the rest. A waiting job
// leaves the queue when its signal aborts.
import { KeyedQueue, onAbort } from '@fame-fabric/shared/internal';

export interface Job {
  /** Jobs of one key start in order, by default one after the other. */
  readonly key?: string | undefined;
  /** Its signal is read only if the job must wait, and removes it from the queue. A running job handles its signal itself. */
  readonly scope: { readonly signal: AbortSignal };
  /** Never rejects. */
  run(): Promise<void>;
  /** Called instead of `run` if the signal aborts while the job waits. */
  abandon(): void;
}

interface SchedulerOptions {
  /** Limit of running jobs. */
  readonly maxConcurrent: number;
  /** Limit of running jobs with the same key. @default 1 */
  readonly maxConcurrentPerKey?: number | undefined;
  /** Limit of waiting jobs. */
  readonly maxWaiting: number;
  /** Limit of waiting jobs with the same key. @default unlimited */
  readonly maxWaitingPerKey?: number | undefined;
}

export class Scheduler {
  readonly #queue: KeyedQueue;

  constructor({ maxConcurrent, maxConcurrentPerKey, maxWaiting, maxWaitingPerKey }: SchedulerOptions) {
    this.#queue = new KeyedQueue({
      maxRunning: maxConcurrent,
      maxRunningPerKey: maxConcurrentPerKey,
      maxWaiting,
      maxWaitingPerKey,
    });
  }

  get running(): number {
    return this.#queue.running;
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /** Runs the job now or later. Returns `false` and drops the job if too many jobs wait. */
  submit(job: Job): boolean {
    let stopListening: (() => void) | undefined;
    const queued = {
      key: job.key,
      run: (): Promise<void> => {
        stopListening?.();
        return job.run();
      },
    };
    const outcome = this.#queue.add(queued);
    if (outcome !== 'waiting') return outcome === 'running';
    stopListening = onAbort(job.scope.signal, () => {
      if (this.#queue.remove(queued)) job.abandon();
    });
    return true;
  }

  /** Resolves when no job runs or waits. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }
}
