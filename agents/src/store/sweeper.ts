// Removes conversations that nobody needs any more: those that did not change for the time they are kept, and, while the
// store is larger than it may be, those that have ended. It says what it did; it never touches one that is worked on.
import { type Clock, type Logger, silentLog, systemClock, type Timer } from '@fame-fabric/shared';
import type { ConversationStore } from './store.ts';

export interface SweeperOptions {
  /** How long a conversation is kept after its last change, in days; 0 keeps for ever. @default 30 */
  ttlDays?: number;
  /** The size above which ended conversations are removed, in bytes; 0 for no limit. @default 0 */
  maxBytes?: number;
  /** Pause between two sweeps, in ms. @default 600_000 */
  everyMs?: number;
  clock?: Clock;
  log?: Logger;
}

const DAY_MS = 86_400_000;
const PAGE = 200;
/** Room is made before the store refuses new turns, which it does at `maxBytes`. */
const ROOM = 0.9;

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
    this.#maxBytes = (options.maxBytes ?? 0) * ROOM;
    this.#everyMs = options.everyMs ?? 600_000;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
  }

  /** Sweeps now and from then on. */
  start(): void {
    if (this.#timer) return;
    this.#timer = this.#clock.every(this.#everyMs, () => void this.#sweepQuietly());
    void this.#sweepQuietly();
  }

  /** Sweeps no more; resolves when a sweep that runs has ended. */
  async stop(): Promise<void> {
    this.#timer?.stop();
    this.#timer = undefined;
    await this.#sweeping?.catch(() => undefined);
  }

  /** Sweeps once and tells how many conversations were removed. @throws what the store throws */
  sweep(): Promise<number> {
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  async #sweep(): Promise<number> {
    let removed = 0;
    let ended = 0;
    // A page at a time, so that the turns of the meantime never wait for long.
    for (;;) {
      const report = await this.#store.sweep({
        limit: PAGE,
        ...(this.#ttlMs > 0 ? { expiredBefore: this.#clock.now() - this.#ttlMs } : {}),
        ...(this.#maxBytes > 0 ? { maxBytes: this.#maxBytes } : {}),
      });
      removed += report.removed.length;
      ended += report.removed.filter(({ state }) => state === 'completed' || state === 'canceled').length;
      if (report.removed.length < PAGE) {
        if (removed > 0)
          this.#log.info('conversations removed', { removed, ended, storeBytes: report.bytes });
        else if (this.#maxBytes > 0 && report.bytes > this.#maxBytes) {
          this.#log.warn('the store is nearly full, and no conversation may be removed', {
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
      this.#log.warn('the store could not be swept', { error });
    }
  }
}
