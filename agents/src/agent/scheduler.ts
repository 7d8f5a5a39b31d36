// Who may run when: at most so many jobs at once, those of one key strictly in the order they came, the rest waiting in
// a bounded line. A job that is taken back while it waits leaves no trace. It knows nothing of calls or agents.

export interface Job {
  /** Jobs of one key run one after the other. */
  readonly key?: string | undefined;
  /** Its signal, asked for when the job must wait, takes it out of the line; a running job minds it by itself. */
  readonly scope: { readonly signal: AbortSignal };
  /** Never rejects. */
  run(): Promise<void>;
  /** Called instead of `run` when the job was taken back before its turn. */
  abandon(): void;
}

export interface SchedulerOptions {
  /** Jobs that run at once. */
  maxConcurrent: number;
  /** Jobs that may wait. */
  maxWaiting: number;
}

interface Ticket {
  readonly job: Job;
  readonly onAbort: () => void;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #ready = new Set<Ticket>();
  // A key stands here while a job of it is ready or runs; its set holds those behind.
  readonly #behind = new Map<string, Set<Ticket>>();
  #running = 0;
  #waiting = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Runs the job now or in its turn. `false` when too many wait already; then nothing of it is kept. */
  submit(job: Job): boolean {
    const mustWait =
      this.#running >= this.#options.maxConcurrent || (job.key !== undefined && this.#behind.has(job.key));
    if (mustWait && this.#waiting >= this.#options.maxWaiting) return false;
    if (!mustWait) {
      if (job.key !== undefined) this.#behind.set(job.key, new Set());
      this.#start(job);
      return true;
    }
    const ticket: Ticket = { job, onAbort: () => this.#takeBack(ticket) };
    const behind = job.key === undefined ? undefined : this.#behind.get(job.key);
    if (behind) behind.add(ticket);
    else {
      if (job.key !== undefined) this.#behind.set(job.key, new Set());
      this.#ready.add(ticket);
    }
    this.#waiting++;
    const { signal } = job.scope;
    if (signal.aborted) this.#takeBack(ticket);
    else signal.addEventListener('abort', ticket.onAbort, { once: true });
    return true;
  }

  /** Resolves when nothing runs and nothing waits. */
  idle(): Promise<void> {
    if (this.#running === 0 && this.#waiting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #startReady(): void {
    for (const ticket of this.#ready) {
      if (this.#running >= this.#options.maxConcurrent) return;
      this.#ready.delete(ticket);
      this.#waiting--;
      ticket.job.scope.signal.removeEventListener('abort', ticket.onAbort);
      this.#start(ticket.job);
    }
  }

  #start(job: Job): void {
    this.#running++;
    void job.run().then(() => {
      this.#running--;
      this.#release(job.key);
      this.#startReady();
      this.#tellIdle();
    });
  }

  // The next job of the key goes to the end of the line: a busy key does not push in front of the others.
  #release(key: string | undefined): void {
    if (key === undefined) return;
    const behind = this.#behind.get(key)!;
    const [next] = behind;
    if (!next) this.#behind.delete(key);
    else {
      behind.delete(next);
      this.#ready.add(next);
    }
  }

  #takeBack(ticket: Ticket): void {
    const { key } = ticket.job;
    if (this.#ready.delete(ticket)) this.#release(key);
    else if (key !== undefined) this.#behind.get(key)?.delete(ticket);
    this.#waiting--;
    ticket.job.abandon();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#running > 0 || this.#waiting > 0) return;
    const waiters = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiters) resolve();
  }
}
