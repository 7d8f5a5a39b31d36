// Pings that await their pong.
import type { Clock } from '@fame-fabric/shared';

export class Pings {
  readonly #clock: Clock;
  #waiting: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Count of pings that wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Resolves `true` at the next pong, `false` after `timeoutMs`. */
  wait(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const end = (isAnswered: boolean): void => {
      timer.stop();
      this.#waiting = this.#waiting.filter((other) => other !== answered);
      resolve(isAnswered);
    };
    const answered = (): void => end(true);
    const timer = this.#clock.after(timeoutMs, () => end(false));
    this.#waiting.push(answered);
    return promise;
  }

  /** A pong arrived. */
  pong(): void {
    for (const answered of this.#waiting) answered();
  }
}
