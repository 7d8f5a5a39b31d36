// Removes expired conversations, and ended ones while the store is nearly full. It logs the number of removed conversations and
// never removes a held one.
import { type Clock, type Logger, silentLog, systemClock, type Timer } from '@fame-fabric/shared';
import { type ConversationStore, isEndedState } from './store.ts';

export interface SweeperOptions {
  /** Retention of a conversation after its last change, in days; 0 keeps it forever. @default 30 */
  ttlDays?: number | undefined;
  /** Size limit of the store, in bytes; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** Interval of sweeps, in ms. @default 600_000 */
  everyMs?: number | undefined;
  clock?: Clock | undefined;
  log?: Logger | undefined;
}

const DAY_MS = 86_400_000;
const PAGE = 200;
/** Fill level at which ended conversations are removed. At `maxBytes` itself the store refuses new turns. */
const HIGH_WATER = 0.9;

export class Sweeper {
  readonly #store: ConversationStore;
  readonly #ttlMs: number;
  readonly #maxBytes: number;
  readonly #everyMs: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #sweeping: Promise<number> | undefined;

  constructor(store: ConversationStore, options: SweeperOptions = {}) {
    this.#store = store;
    this.#ttlMs = (options.ttlDays ?? 30) * DAY_MS;
    this.#maxBytes = (options.maxBytes ?? 0) * HIGH_WATER;
    this.#everyMs = options.everyMs ?? 600_000;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
  }

  /** Sweeps now and then at each interval. */
  start(): void {
    if (this.#timer) return;
    this.#timer = this.#clock.every(this.#everyMs, () => void this.#sweepQuietly());
    void this.#sweepQuietly();
  }

  /** Stops sweeping. Resolves when a running sweep has ended. */
  async stop(): Promise<void> {
    this.#timer?.stop();
    this.#timer = undefined;
    await this.#sweeping?.catch(() => undefined);
  }

  /** Sweeps once. Resolves to the number of removed conversations. @throws the errors of the store */
  sweep(): Promise<number> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweep(): Promise<number> {
    let removed = 0;
    let ended = 0;
    // Sweep page by page, so that turns never wait long for the store.
    for (;;) {
      const report = await this.#store.sweep({
        limit: PAGE,
        expiredBefore: this.#ttlMs > 0 ? this.#clock.now() - this.#ttlMs : undefined,
        maxBytes: this.#maxBytes,
      });
      removed += report.removed.length;
      ended += report.removed.filter(({ state }) => isEndedState(state)).length;
      if (report.removed.length < PAGE) {
        if (removed > 0)
          this.#log.info('conversations removed', { removed, ended, storeBytes: report.bytes });
        else if (this.#maxBytes > 0 && report.bytes > this.#maxBytes) {
          this.#log.warn('the conversation store is nearly full and has no conversation to remove', {
            storeBytes: report.bytes,
          });
        }
        return removed;
      }
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
