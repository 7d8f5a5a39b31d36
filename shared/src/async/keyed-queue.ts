// Starts the jobs of one key in order and runs the jobs of different keys in parallel, with limits on running and waiting jobs.
// Keys take turns: a key with many waiting jobs runs one of them before the next key's turn, so it cannot starve the others.
// A running job may give its place to others while it only waits. It keeps its turn among the jobs of its key.
import { Waiters } from './waiters.ts';

/** A unit of work for a `KeyedQueue`. */
export interface KeyedJob {
  /** Jobs with the same key start in order, by default one after the other. A job without a key is independent of all others. */
  readonly key?: string | undefined;
  /** Its share of `maxRunningWeight`. Must not change. @default 0 */
  readonly weight?: number | undefined;
  /** Does the work. The queue ignores a rejection: the job reports its own failures. */
  run(): Promise<void>;
}

export interface KeyedQueueOptions {
  /** Maximum number of jobs that run at the same time. */
  readonly maxRunning: number;
  /** Maximum sum of the weights of running jobs. A job that is heavier runs alone. @default unlimited */
  readonly maxRunningWeight?: number | undefined;
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
  /** Sum of the weights of running jobs. */
  #weight = 0;
  /** Jobs that have given up their places. */
  readonly #suspended = new Set<Job>();
  /** Suspended jobs that wait for a place, in order, each with the function that resumes it. */
  readonly #returning = new Map<Job, () => void>();
  readonly #idleWaiters = new Waiters();

  constructor(options: KeyedQueueOptions) {
    const { maxRunning, maxRunningWeight, maxRunningPerKey, maxWaiting, maxWaitingPerKey } = options;
    this.#options = {
      maxRunning,
      maxRunningWeight: maxRunningWeight ?? Number.POSITIVE_INFINITY,
      maxRunningPerKey: maxRunningPerKey ?? 1,
      maxWaiting: maxWaiting ?? Number.POSITIVE_INFINITY,
      maxWaitingPerKey: maxWaitingPerKey ?? Number.POSITIVE_INFINITY,
    };
  }

  /** Number of jobs that run and have not given up their places. */
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
    const isNext = this.#readyLanes.size === 0 && this.#returning.size === 0;
    const mayStart = isNext && (!lane || (lane.waiting.size === 0 && this.#hasPlace(lane)));
    if (mayStart && this.#hasRoom(job)) {
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
    // The job may have waited for more room than the next ones need.
    this.#startNext();
    this.#notifyIfIdle();
    return true;
  }

  /** Gives the place of a running job to others until `resume`. The next job of its key does not start. */
  suspend(job: Job): void {
    if (this.#suspended.has(job)) return;
    this.#suspended.add(job);
    this.#leave(job);
    this.#startNext();
  }

  /** Resolves when a suspended job has a place again. Such jobs come before those that have not started. */
  resume(job: Job): Promise<void> {
    if (!this.#suspended.has(job)) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#returning.set(job, resolve);
    this.#startNext();
    return promise;
  }

  /** Resolves when no job is running or waiting. */
  idle(): Promise<void> {
    return this.#isIdle ? Promise.resolve() : this.#idleWaiters.wait();
  }

  #addLane(id: string | Job): Lane<Job> {
    const lane: Lane<Job> = { id, running: new Set(), waiting: new Set() };
    this.#lanes.set(id, lane);
    return lane;
  }

  #start(job: Job, lane: Lane<Job> | undefined): void {
    this.#enter(job);
    lane?.running.add(job);
    const ended = (): void => this.#ended(job, lane);
    job.run().then(ended, ended);
  }

  #ended(job: Job, lane: Lane<Job> | undefined): void {
    this.#returning.delete(job);
    if (!this.#suspended.delete(job)) this.#leave(job);
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
    for (const [job, resume] of this.#returning) {
      if (!this.#hasRoom(job)) return;
      this.#returning.delete(job);
      this.#suspended.delete(job);
      this.#enter(job);
      resume();
    }
    for (const lane of this.#readyLanes) {
      const [job] = lane.waiting;
      if (job && this.#hasPlace(lane) && !this.#hasRoom(job)) return;
      this.#readyLanes.delete(lane);
      if (!job || !this.#hasPlace(lane)) continue;
      lane.waiting.delete(job);
      this.#waiting--;
      this.#start(job, lane);
      // Added at the end: this loop reaches it again after the turns of the other keys.
      if (lane.waiting.size > 0 && this.#hasPlace(lane)) this.#readyLanes.add(lane);
    }
  }

  #enter({ weight = 0 }: Job): void {
    this.#running++;
    this.#weight += weight;
  }

  #leave({ weight = 0 }: Job): void {
    this.#running--;
    this.#weight -= weight;
  }

  #hasRoom({ weight = 0 }: Job): boolean {
    const { maxRunning, maxRunningWeight } = this.#options;
    if (this.#running >= maxRunning) return false;
    return this.#weight === 0 || this.#weight + weight <= maxRunningWeight;
  }

  #hasPlace(lane: Lane<Job>): boolean {
    return lane.running.size < this.#options.maxRunningPerKey;
  }

  #dropIfEmpty(lane: Lane<Job>): void {
    if (lane.running.size > 0 || lane.waiting.size > 0) return;
    this.#lanes.delete(lane.id);
    this.#readyLanes.delete(lane);
  }

  get #isIdle(): boolean {
    return this.#running === 0 && this.#waiting === 0 && this.#suspended.size === 0;
  }

  #notifyIfIdle(): void {
    if (this.#isIdle) this.#idleWaiters.release();
  }
}
