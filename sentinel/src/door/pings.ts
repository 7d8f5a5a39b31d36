// Pings that await their pong.

export class Pings {
  #waiting: (() => void)[] = [];

  /** Resolves `true` at the next pong, `false` after `timeoutMs`. */
  wait(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs).unref();
    this.#waiting.push(() => {
      clearTimeout(timer);
      resolve(true);
    });
    return promise;
  }

  /** A pong arrived. */
  pong(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
