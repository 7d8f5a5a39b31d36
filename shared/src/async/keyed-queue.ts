// Runs jobs in order within a key and side by side across keys, with a limit on how many run and how many wait. A key has
// one place in the line however many of its jobs wait, so a busy key cannot crowd out the others.

export interface KeyedJob {
  /** Jobs of one key run one after the other. Jobs without a key depend on no other. */
  readonly key?: string | undefined;
  /** Does the work. The queue ignores a rejection: the job reports its own failures. */
  run(): Promise<void>;
}

export interface KeyedQueueOptions {
  /** Jobs that run at the same time. */
  readonly maxRunning: number;
  /** Jobs that may wait. @default unlimited */
  readonly maxWaiting?: number | undefined;
  /** Jobs that may wait with the same key. @default unlimited */
  readonly maxWaitingPerKey?: number | undefined;
}

/** The jobs of one key, or one job without a key. */
interface Lane<Job> {
  readonly id: string | Job;
  running: Job | undefined;
  readonly waiting: Set<Job>;
}

export class KeyedQueue<Job extends KeyedJob = KeyedJob> {
  readonly #options: Required<{ [Name in keyof KeyedQueueOptions]: number }>;
  readonly #lanes = new Map<string | Job, Lane<Job>>();
  /** Lanes whose next job may run as soon as there is room, in order. */
  readonly #line = new Set<Lane<Job>>();
  #running = 0;
  #waiting = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: KeyedQueueOptions) {
    const { maxRunning, maxWaiting, maxWaitingPerKey } = options;
    this.#options = {
      maxRunning,
      maxWaiting: maxWaiting ?? Number.POSITIVE_INFINITY,
      maxWaitingPerKey: maxWaitingPerKey ?? Number.POSITIVE_INFINITY,
    };
  }

  /** Jobs that run. */
  get running(): number {
    return this.#running;
  }

  /** Jobs that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** True if a job with this key runs or waits. */
  has(key: string): boolean {
    return this.#lanes.has(key);
  }

  /** The job with this key that runs. */
  runningOf(key: string): Job | undefined {
    return this.#lanes.get(key)?.running;
  }

  /** The jobs with this key that wait, in order. */
  waitingOf(key: string): readonly Job[] {
    return [...(this.#lanes.get(key)?.waiting ?? [])];
  }

  /**
   * Takes a job. `running`: it was started. `waiting`: it runs in its turn, unless `remove` takes it back. `full` and
   * `key-full`: too many jobs wait, in all or with its key, and this one was not taken.
   */
  add(job: Job): 'running' | 'waiting' | 'full' | 'key-full' {
    const id = job.key ?? job;
    const lane = this.#lanes.get(id);
    if (!lane && this.#running < this.#options.maxRunning) {
      // A job without a key needs no lane: nothing waits for it.
      this.#start(job, job.key === undefined ? undefined : this.#addLane(id));
      return 'running';
    }
    if (lane && lane.waiting.size >= this.#options.maxWaitingPerKey) return 'key-full';
    if (this.#waiting >= this.#options.maxWaiting) return 'full';
    const target = lane ?? this.#addLane(id);
    target.waiting.add(job);
    this.#waiting++;
    // An existing lane is already in the line, or returns to it when its running job ends.
    if (!lane) this.#line.add(target);
    return 'waiting';
  }

  /** Takes back a job that waits. `false` if it does not: it runs, has run or was never added. */
  remove(job: Job): boolean {
    const lane = this.#lanes.get(job.key ?? job);
    if (!lane?.waiting.delete(job)) return false;
    this.#waiting--;
    this.#dropIfEmpty(lane);
    this.#notifyIfIdle();
    return true;
  }

  /** Resolves when no job runs or waits. */
  idle(): Promise<void> {
    if (this.#running === 0 && this.#waiting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #addLane(id: string | Job): Lane<Job> {
    const lane: Lane<Job> = { id, running: undefined, waiting: new Set() };
    this.#lanes.set(id, lane);
    return lane;
  }

  #start(job: Job, lane: Lane<Job> | undefined): void {
    this.#running++;
    if (lane) lane.running = job;
    const ended = (): void => this.#ended(lane);
    job.run().then(ended, ended);
  }

  #ended(lane: Lane<Job> | undefined): void {
    this.#running--;
    if (lane) {
      lane.running = undefined;
      // At the end of the line, so that other keys get their turn first.
      if (lane.waiting.size > 0) this.#line.add(lane);
      this.#dropIfEmpty(lane);
    }
    this.#startNext();
    this.#notifyIfIdle();
  }

  #startNext(): void {
    for (const lane of this.#line) {
      if (this.#running >= this.#options.maxRunning) return;
      this.#line.delete(lane);
      const [job] = lane.waiting;
      if (!job) continue;
      lane.waiting.delete(job);
      this.#waiting--;
      this.#start(job, lane);
    }
  }

  #dropIfEmpty(lane: Lane<Job>): void {
    if (lane.running || lane.waiting.size > 0) return;
    this.#lanes.delete(lane.id);
    this.#line.delete(lane);
  }

  #notifyIfIdle(): void {
    if (this.#running > 0 || this.#waiting > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
