// Watches the holder of a conversation while a call that was passed to it waits: a process that was killed or is frozen, or that lost its
// connection, may leave its callers without an error for long. The store knows sooner, because its lease expires.
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Placement } from './placement.ts';

/** Pause between two checks of a silent call, in ms. */
const CHECK_MS = 1_000;
/** Pause before a missing lease is checked again, in ms. An answer that releases the lease may be on its way. */
const AGAIN_MS = 300;

export interface HolderWatchDeps {
  readonly placement: Placement;
  readonly clock: Clock;
  /** Called once with the id of the writer that holds the conversation instead, if there is one. */
  onLost(current: string | undefined): void;
}

export interface WatchedHolder {
  /** Id in the store. */
  readonly conversation: string;
  readonly holder: string;
  /** True if the conversation need not be held, because its reader waits for later events. */
  readonly isReader: boolean;
}

export class HolderWatch {
  readonly #deps: HolderWatchDeps;
  readonly #watched: WatchedHolder;
  #timer: Timer | undefined;
  #hasReceived = false;
  #misses = 0;

  constructor(deps: HolderWatchDeps, watched: WatchedHolder) {
    this.#deps = deps;
    this.#watched = watched;
    this.#schedule(CHECK_MS);
  }

  /** Call it with each item of the call: the holder is alive. */
  received(): void {
    this.#hasReceived = true;
    this.#misses = 0;
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #schedule(ms: number): void {
    this.#timer = this.#deps.clock.after(ms, () => void this.#check());
  }

  async #check(): Promise<void> {
    if (this.#hasReceived) {
      this.#hasReceived = false;
      this.#schedule(CHECK_MS);
      return;
    }
    const { placement, onLost } = this.#deps;
    const { conversation, holder, isReader } = this.#watched;
    const timer = this.#timer;
    let current: string | undefined = holder;
    try {
      current = await placement.holderOf(conversation);
    } catch {
      // The store does not answer. The call itself continues.
    }
    // Stopped meanwhile.
    if (this.#timer !== timer || timer === undefined) return;
    if (current === holder || (current === undefined && isReader)) {
      this.#misses = 0;
      this.#schedule(CHECK_MS);
      return;
    }
    this.#misses += 1;
    // Another holder is certain.
    if (current !== undefined || this.#misses > 1) onLost(current === placement.own ? undefined : current);
    else this.#schedule(AGAIN_MS);
  }
}
