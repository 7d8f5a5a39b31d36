// Promises that resolve together at an event which its owner reports, such as the moment when a queue is empty.
export class Waiters {
  #resolves: (() => void)[] = [];

  /** Resolves at the next `release`. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#resolves.push(resolve));
  }

  release(): void {
    if (this.#resolves.length === 0) return;
    for (const resolve of this.#resolves.splice(0)) resolve();
  }
}
