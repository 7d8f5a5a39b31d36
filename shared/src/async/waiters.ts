/** Waits for an event that the owner reports with `release`, such as an empty queue. */
export class Waiters {
  #resolves: (() => void)[] = [];

  /** Resolves at the next `release`. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#resolves.push(resolve));
  }

  /** Resolves all pending waits. */
  release(): void {
    if (this.#resolves.length === 0) return;
    for (const resolve of this.#resolves.splice(0)) resolve();
  }
}
