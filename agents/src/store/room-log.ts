// Logs the conversations that a full store removes. A full store makes room often, so the reports of ten seconds share one line.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import type { RoomReport } from './store.ts';

const WINDOW_MS = 10_000;

export class RoomLog {
  readonly #log: Logger;
  readonly #clock: Clock;
  #sum: RoomReport | undefined;
  #window: Timer | undefined;

  constructor({ log, clock }: { log: Logger; clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Logs a report at once, or with the others of the current window at its end. */
  add({ ended, idle, deleted, bytes }: RoomReport): void {
    const sum = this.#sum ?? { ended: 0, idle: 0, deleted: 0 };
    this.#sum = {
      ended: sum.ended + ended,
      idle: sum.idle + idle,
      deleted: sum.deleted + deleted,
      bytes,
    };
    if (!this.#window) this.#openWindow();
  }

  /** Logs what was not logged yet. */
  flush(): void {
    this.#window?.stop();
    this.#window = undefined;
    this.#write();
  }

  #openWindow(): void {
    this.#write();
    this.#window = this.#clock.after(WINDOW_MS, () => {
      this.#window = undefined;
      if (this.#sum) this.#openWindow();
    });
  }

  #write(): void {
    if (!this.#sum) return;
    const { ended, idle, deleted, bytes } = this.#sum;
    this.#sum = undefined;
    this.#log.warn(
      'the conversation store is full and made room; raise FAME_STORE_MAX_BYTES or free disk space to keep more',
      { movedEnded: ended, movedIdle: idle, removed: deleted, storeBytes: bytes },
    );
  }
}
