// Limits the silence of a model server. The limit starts anew at each read, and a new timer each time would cost as much as the
// parsing of a chunk. So one timer keeps running, and looks at its end if the server was silent.
import type { Clock, Timer } from '@fame-fabric/shared';

export class SilenceTimer {
  readonly #clock: Clock;
  readonly #onSilent: () => void;
  /** Monotonic time at which the server was silent for too long, in ms; `undefined` while nothing is expected from it. */
  #deadline: number | undefined;
  #timer: Timer | undefined;
  /** Monotonic time at which the timer fires. */
  #firesAt = 0;

  constructor(clock: Clock, onSilent: () => void) {
    this.#clock = clock;
    this.#onSilent = onSilent;
  }

  /** Expects something from the server within `ms`. */
  expect(ms: number): void {
    const deadline = this.#clock.monotonic() + ms;
    this.#deadline = deadline;
    if (this.#timer && this.#firesAt <= deadline) return;
    this.#timer?.stop();
    this.#set(deadline, ms);
  }

  /** Ends the expectation: the server has sent something. */
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
