// Detects changes of a principal's tools while a client listens for them. Agents do not notify callers when they attach or leave, so the
// list is compared at an interval.
import { createHash } from 'node:crypto';
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Visitor } from '../fabric/door-fabric.ts';

const INTERVAL_MS = 5_000;
/** Maximum number of listeners of one principal. */
export const MAX_LISTENERS = 64;

interface Watch {
  readonly visitor: Visitor;
  readonly letGo: () => void;
  readonly listeners: Set<() => void>;
  timer: Timer | undefined;
  digest: string | undefined;
  isBusy: boolean;
}

export class ListWatch {
  readonly #clock: Clock;
  readonly #watches = new Map<string, Watch>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True if the principal has the maximum number of listeners. */
  isFull(principal: string): boolean {
    return (this.#watches.get(principal)?.listeners.size ?? 0) >= MAX_LISTENERS;
  }

  /** Calls `onChange` after each change of the tools of the visitor's principal. Returns a function that ends the watch. */
  listen(visitor: Visitor, onChange: () => void): () => void {
    const watch = this.#watchOf(visitor);
    watch.listeners.add(onChange);
    return () => {
      watch.listeners.delete(onChange);
      if (watch.listeners.size > 0 || this.#watches.get(visitor.principal) !== watch) return;
      watch.timer?.stop();
      watch.letGo();
      this.#watches.delete(visitor.principal);
    };
  }

  #watchOf(visitor: Visitor): Watch {
    const known = this.#watches.get(visitor.principal);
    if (known) return known;
    const watch: Watch = {
      visitor,
      letGo: visitor.hold(),
      listeners: new Set(),
      timer: undefined,
      digest: undefined,
      isBusy: false,
    };
    watch.timer = this.#clock.every(INTERVAL_MS, () => void this.#check(watch));
    this.#watches.set(visitor.principal, watch);
    void this.#check(watch);
    return watch;
  }

  async #check(watch: Watch): Promise<void> {
    if (watch.isBusy) return;
    watch.isBusy = true;
    try {
      const digest = await digestOf(watch.visitor);
      const hasChanged = watch.digest !== undefined && watch.digest !== digest;
      watch.digest = digest;
      if (hasChanged) for (const listener of watch.listeners) listener();
    } catch {
      // The link is lost: the next check compares with the same list.
    } finally {
      watch.isBusy = false;
    }
  }
}

async function digestOf(visitor: Visitor): Promise<string> {
  const cards = await visitor.agents();
  const shown = cards.map(({ address, operations }) => [address, operations]);
  return createHash('sha256').update(JSON.stringify(shown)).digest('base64');
}
