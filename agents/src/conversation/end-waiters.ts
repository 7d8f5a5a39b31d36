// Callers that wait for the end of a conversation, by its id.
export class EndWaiters {
  readonly #waiters = new Map<string, Set<(hasEnded: boolean) => void>>();

  /**
   * Waits for `notify`; resolves with false if `signal` aborts first. `check` runs after the wait has begun, so that no end is
   * missed between the two. It returns the result, or `undefined` to wait.
   */
  async wait(id: string, signal: AbortSignal, check: () => Promise<boolean | undefined>): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const onAbort = (): void => resolve(false);
    this.#of(id).add(resolve);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return (await check()) ?? (await promise);
    } finally {
      signal.removeEventListener('abort', onAbort);
      const waiters = this.#of(id);
      waiters.delete(resolve);
      if (waiters.size === 0) this.#waiters.delete(id);
    }
  }

  /** Ends the waits for a conversation; they resolve with `hasEnded`. */
  notify(id: string, hasEnded: boolean): void {
    const waiters = this.#waiters.get(id);
    this.#waiters.delete(id);
    for (const resolve of waiters ?? []) resolve(hasEnded);
  }

  /** Ends all waits with false: this process has seen none of these conversations end. */
  close(): void {
    for (const id of [...this.#waiters.keys()]) this.notify(id, false);
  }

  #of(id: string): Set<(hasEnded: boolean) => void> {
    let waiters = this.#waiters.get(id);
    if (!waiters) {
      waiters = new Set();
      this.#waiters.set(id, waiters);
    }
    return waiters;
  }
}
