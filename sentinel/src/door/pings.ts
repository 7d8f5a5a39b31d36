// Pings that await their pong.
import type { Clock } from '@fame-fabric/shared';

export class Pings {
  readonly #clock: Clock;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves `true` at the next pong, `false` after `timeoutMs`. */
  wait(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = this.#clock.after(timeoutMs, () => resolve(false));
    this.#waiting.push(() => {
      timer.stop();
      resolve(true);
    });
    return promise;
  }

  /** A pong arrived. */
  pong(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
