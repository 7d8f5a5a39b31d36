// Limits the silence of a model server. The limit restarts with each read, and a new timer for each read would cost as much as
// parsing a chunk. So one timer keeps running and checks the deadline when it fires.
import type { Clock, Timer } from '@fame-fabric/shared';

export class SilenceTimer {
  readonly #clock: Clock;
  readonly #onSilent: () => void;
  /** Monotonic time by which the server must send something, in ms; `undefined` while nothing is expected. */
  #deadline: number | undefined;
  #timer: Timer | undefined;
  /** Monotonic time at which the timer fires, in ms. */
  #firesAt = 0;

  constructor(clock: Clock, onSilent: () => void) {
    this.#clock = clock;
    this.#onSilent = onSilent;
  }

  /** Starts the limit: the server must send something within `ms`. */
  expect(ms: number): void {
    const deadline = this.#clock.monotonic() + ms;
    this.#deadline = deadline;
    if (this.#timer && this.#firesAt <= deadline) return;
    this.#timer?.stop();
    this.#set(deadline, ms);
  }

  /** Ends the limit, because the server has sent something. */
  received(): void {
    this.#deadline = undefined;
  }

  stop(): void {
    this.#deadline = undefined;
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #set(firesAt: number, ms: number): void {
    this.#firesAt = firesAt;
    this.#timer = this.#clock.after(ms, () => this.#fired(), { keepAlive: true });
  }

  #fired(): void {
    this.#timer = undefined;
    if (this.#deadline === undefined) return;
    const ms = this.#deadline - this.#clock.monotonic();
    if (ms > 0) this.#set(this.#deadline, ms);
    else {
      this.#deadline = undefined;
      this.#onSilent();
    }
  }
}
