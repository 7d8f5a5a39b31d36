// Starts the jobs of one key in order and runs the jobs of different keys in parallel, with limits on running and waiting jobs.
// Keys take turns: a key with many waiting jobs runs one of them before the next key's turn, so it cannot starve the others.
import { Waiters } from './waiters.ts';

/** A unit of work for a `KeyedQueue`. */
export interface KeyedJob {
  /** Jobs with the same key start in order, by default one after the other. A job without a key is independent of all others. */
  readonly key?: string | undefined;
  /** Does the work. The queue ignores a rejection: the job reports its own failures. */
  run(): Promise<void>;
}

export interface KeyedQueueOptions {
  /** Maximum number of jobs that run at the same time. */
  readonly maxRunning: number;
  /** Maximum number of jobs with the same key that run at the same time. @default 1 */
  readonly maxRunningPerKey?: number | undefined;
  /** Maximum number of waiting jobs. @default unlimited */
  readonly maxWaiting?: number | undefined;
  /** Maximum number of waiting jobs with the same key. @default unlimited */
  readonly maxWaitingPerKey?: number | undefined;
}

/** The jobs of one key, or one job without a key. */
interface Lane<Job> {
  readonly id: string | Job;
  readonly running: Set<Job>;
  readonly waiting: Set<Job>;
}

/** A job queue with one lane per key. */
export class KeyedQueue<Job extends KeyedJob = KeyedJob> {
  readonly #options: Required<{ [Name in keyof KeyedQueueOptions]: number }>;
  readonly #lanes = new Map<string | Job, Lane<Job>>();
  /** Lanes that may start a waiting job, in the order of their turns. */
  readonly #readyLanes = new Set<Lane<Job>>();
  #running = 0;
  #waiting = 0;
  readonly #idleWaiters = new Waiters();

  constructor(options: KeyedQueueOptions) {
    const { maxRunning, maxRunningPerKey, maxWaiting, maxWaitingPerKey } = options;
    this.#options = {
      maxRunning,
      maxRunningPerKey: maxRunningPerKey ?? 1,
      maxWaiting: maxWaiting ?? Number.POSITIVE_INFINITY,
      maxWaitingPerKey: maxWaitingPerKey ?? Number.POSITIVE_INFINITY,
    };
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** True if a job with this key runs or waits. */
  has(key: string): boolean {
    return this.#lanes.has(key);
  }

  /** The running job with this key, or the first of them. */
  runningOf(key: string): Job | undefined {
    const [first] = this.#lanes.get(key)?.running ?? [];
    return first;
  }

  /** The waiting jobs with this key, in order. */
  waitingOf(key: string): readonly Job[] {
    return [...(this.#lanes.get(key)?.waiting ?? [])];
  }

  /**
   * Adds a job. `running`: it was started. `waiting`: it runs in its turn, unless `remove` removes it first. `full` and
   * `key-full`: the job was refused, because too many jobs wait in all, or with its key.
   */
  add(job: Job): 'running' | 'waiting' | 'full' | 'key-full' {
    const id = job.key ?? job;
    const lane = this.#lanes.get(id);
    const mayStart = !lane || (lane.waiting.size === 0 && this.#hasPlace(lane));
    if (mayStart && this.#running < this.#options.maxRunning) {
      // A job without a key needs no lane: no other job waits for it.
      this.#start(job, job.key === undefined ? undefined : (lane ?? this.#addLane(id)));
      return 'running';
    }
    if (lane && lane.waiting.size >= this.#options.maxWaitingPerKey) return 'key-full';
    if (this.#waiting >= this.#options.maxWaiting) return 'full';
    const target = lane ?? this.#addLane(id);
    target.waiting.add(job);
    this.#waiting++;
    // A lane without a place becomes ready when one of its running jobs ends.
    if (this.#hasPlace(target)) this.#readyLanes.add(target);
    return 'waiting';
  }

  /** Removes a waiting job. Returns false if it is not waiting: it runs, has run or was never added. */
  remove(job: Job): boolean {
    const lane = this.#lanes.get(job.key ?? job);
    if (!lane?.waiting.delete(job)) return false;
    this.#waiting--;
    this.#dropIfEmpty(lane);
    this.#notifyIfIdle();
    return true;
  }

  /** Resolves when no job is running or waiting. */
  idle(): Promise<void> {
    return this.#running === 0 && this.#waiting === 0 ? Promise.resolve() : this.#idleWaiters.wait();
  }

  #addLane(id: string | Job): Lane<Job> {
    const lane: Lane<Job> = { id, running: new Set(), waiting: new Set() };
    this.#lanes.set(id, lane);
    return lane;
  }

  #start(job: Job, lane: Lane<Job> | undefined): void {
    this.#running++;
    lane?.running.add(job);
    const ended = (): void => this.#ended(job, lane);
    job.run().then(ended, ended);
  }

  #ended(job: Job, lane: Lane<Job> | undefined): void {
    this.#running--;
    if (lane) {
      lane.running.delete(job);
      // Added at the end, so that other keys get their turn first.
      if (lane.waiting.size > 0) this.#readyLanes.add(lane);
      this.#dropIfEmpty(lane);
    }
    this.#startNext();
    this.#notifyIfIdle();
  }

  #startNext(): void {
    for (const lane of this.#readyLanes) {
      if (this.#running >= this.#options.maxRunning) return;
      this.#readyLanes.delete(lane);
      const [job] = lane.waiting;
      if (!job || !this.#hasPlace(lane)) continue;
      lane.waiting.delete(job);
      this.#waiting--;
      this.#start(job, lane);
      // Added at the end: this loop reaches it again after the turns of the other keys.
      if (lane.waiting.size > 0 && this.#hasPlace(lane)) this.#readyLanes.add(lane);
    }
  }

  #hasPlace(lane: Lane<Job>): boolean {
    return lane.running.size < this.#options.maxRunningPerKey;
  }

  #dropIfEmpty(lane: Lane<Job>): void {
    if (lane.running.size > 0 || lane.waiting.size > 0) return;
    this.#lanes.delete(lane.id);
    this.#readyLanes.delete(lane);
  }

  #notifyIfIdle(): void {
    if (this.#running === 0 && this.#waiting === 0) this.#idleWaiters.release();
  }
}
