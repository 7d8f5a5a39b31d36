// Retention: keeps the time of the store, moves expired conversations to the trash, and ended ones while the store is nearly full,
// and deletes what has been in the trash for long enough. It deletes ephemeral conversations soon after their end, and logs its
// actions. After a jump of the wall clock it only keeps time (`store-time.ts`).
import { type Clock, type Logger, silentLog, systemClock, type Timer } from '@fame-fabric/shared';
import { type ConversationStore, isEndedState, type SweepOptions, type SweepReport } from './store.ts';
import { type StoreTime, TRASH_MS, TRASH_RUNNING_MS } from './store-time.ts';

export interface SweeperOptions {
  /** Retention of a conversation after its last change, in days; 0 keeps it forever. @default 30 */
  ttlDays?: number | undefined;
  /** Size limit of the store, in bytes; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** Interval of sweeps and of records of the time, in ms. @default 600_000 */
  everyMs?: number | undefined;
  /** Interval of deletions of ephemeral conversations, in ms. @default 60_000 */
  ephemeralEveryMs?: number | undefined;
  clock?: Clock | undefined;
  log?: Logger | undefined;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** Fill level at which ended conversations are moved to the trash. At `maxBytes` itself the store deletes its trash. */
const HIGH_WATER = 0.9;
/** Time that an ephemeral conversation stays after its end, in ms. */
const EPHEMERAL_MS = 900_000;
/** Pages of one sweep. The next sweep continues. */
const MAX_PAGES = 256;

export class Sweeper {
  readonly #store: ConversationStore;
  readonly #ttlMs: number;
  readonly #maxBytes: number;
  readonly #everyMs: number;
  readonly #ephemeralEveryMs: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Monotonic time up to which the running time is recorded, in ms. */
  #keptUntil: number;
  #timers: readonly Timer[] = [];
  #isStopping = false;
  #sweeping: Promise<number> | undefined;
  #sweepingEphemeral: Promise<void> | undefined;

  constructor(store: ConversationStore, options: SweeperOptions = {}) {
    this.#store = store;
    this.#ttlMs = (options.ttlDays ?? 30) * DAY_MS;
    this.#maxBytes = (options.maxBytes ?? 0) * HIGH_WATER;
    this.#everyMs = options.everyMs ?? 600_000;
    this.#ephemeralEveryMs = options.ephemeralEveryMs ?? 60_000;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.#keptUntil = this.#clock.monotonic();
  }

  /** Sweeps now and then at each interval. */
  start(): void {
    if (this.#timers.length > 0) return;
    this.#timers = [
      this.#clock.every(this.#everyMs, () => void this.#sweepQuietly()),
      this.#clock.every(this.#ephemeralEveryMs, () => void this.#sweepEphemeral()),
    ];
    void this.#sweepQuietly();
  }

  /** Stops sweeping, after the current page of a sweep, and records the running time. */
  async stop(): Promise<void> {
    const isRunning = this.#timers.length > 0;
    this.#isStopping = true;
    for (const timer of this.#timers) timer.stop();
    this.#timers = [];
    await Promise.all([this.#sweeping?.catch(() => undefined), this.#sweepingEphemeral]);
    this.#isStopping = false;
    if (isRunning) await this.#keepTime().catch(() => undefined);
  }

  /** Sweeps once. Resolves to the number of conversations that were moved to the trash. @throws the errors of the store */
  sweep(): Promise<number> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweep(): Promise<number> {
    const time = await this.#keepTime();
    // Another process keeps the time of this store, and sweeps it.
    if (!time) return 0;
    if (time.jumpMs > 0) this.#logHold(time);
    const now = this.#clock.now();
    const options: SweepOptions = { maxBytes: this.#maxBytes };
    const byAge: SweepOptions = {
      expiredBefore: this.#ttlMs > 0 ? now - this.#ttlMs : undefined,
      trashedBefore: { at: now - TRASH_MS, runningMs: time.runningMs - TRASH_RUNNING_MS },
    };
    let pages = 0;
    const isStopping = (): boolean => this.#isStopping || ++pages >= MAX_PAGES;
    const sum = await sweepPages(this.#store, { ...options, ...(time.heldMs > 0 ? {} : byAge) }, isStopping);
    this.#logSweep(sum);
    return sum.trashed;
  }

  async #keepTime(): Promise<StoreTime | undefined> {
    const now = this.#clock.monotonic();
    const elapsedMs = now - this.#keptUntil;
    const time = await this.#store.keepTime(elapsedMs);
    // The time in which another process kept it is not counted twice. A failed record is made up for by the next one.
    this.#keptUntil = now;
    return time;
  }

  #logHold({ jumpMs, heldMs }: StoreTime): void {
    const days = Math.round(jumpMs / DAY_MS);
    this.#log.warn(
      'the clock is far ahead of the last record of this store, so no old conversation is removed for now; run "npx fame-fabric conversations sweep" to remove them at once',
      { jumpDays: days, heldHours: Math.ceil(heldMs / HOUR_MS), store: this.#store.place },
    );
  }

  #logSweep({ trashed, ended, deleted, bytes }: SweepSum): void {
    if (trashed > 0)
      this.#log.info('conversations moved to the trash', { moved: trashed, ended, storeBytes: bytes });
    if (deleted > 0) this.#log.info('conversations removed', { removed: deleted, storeBytes: bytes });
    if (trashed === 0 && deleted === 0 && this.#maxBytes > 0 && bytes > this.#maxBytes) {
      this.#log.warn('the conversation store is nearly full and has no conversation to remove', {
        storeBytes: bytes,
      });
    }
  }

  /** Every process of a store does this, and no jump of the clock holds it, because no list shows these conversations. */
  #sweepEphemeral(): Promise<void> {
    this.#sweepingEphemeral ??= this.#deleteEphemeral().finally(() => {
      this.#sweepingEphemeral = undefined;
    });
    return this.#sweepingEphemeral;
  }

  async #deleteEphemeral(): Promise<void> {
    try {
      const options = { ephemeralMs: EPHEMERAL_MS };
      const { deleted } = await sweepPages(this.#store, options, () => this.#isStopping);
      if (deleted > 0) this.#log.debug('ephemeral conversations removed', { removed: deleted });
    } catch (error) {
      this.#log.warn('cannot sweep the conversation store', { error });
    }
  }

  async #sweepQuietly(): Promise<void> {
    try {
      await this.sweep();
    } catch (error) {
      this.#log.warn('cannot sweep the conversation store', { error });
    }
  }
}

/** Sum of the reports of a sweep. */
export interface SweepSum {
  trashed: number;
  /** Ended conversations among `trashed`. */
  ended: number;
  deleted: number;
  bytes: number;
}

/** Sweeps page by page, so that turns never wait long for the store. `isStopping` ends it early. */
export async function sweepPages(
  store: ConversationStore,
  options: SweepOptions,
  isStopping: () => boolean = () => false,
): Promise<SweepSum> {
  const sum: SweepSum = { trashed: 0, ended: 0, deleted: 0, bytes: 0 };
  for (;;) {
    const report: SweepReport = await store.sweep(options);
    sum.trashed += report.trashed.length;
    sum.ended += report.trashed.filter(({ state }) => isEndedState(state)).length;
    sum.deleted += report.deleted;
    sum.bytes = report.bytes;
    if (report.isDone || isStopping()) return sum;
  }
}
