// A bounded set of recent ids, to recognize resent messages.

export class SeenIds {
  readonly #capacity: number;
  // Two generations: when the young one is full, it replaces the old one. The set always contains the last `capacity` ids.
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param capacity number of recent ids that the set contains at least; it contains at most twice as many */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** True if the id was seen before. */
  has(id: string): boolean {
    return this.#young.has(id) || this.#old.has(id);
  }

  /** Adds an id. Returns false if it was seen before. */
  add(id: string): boolean {
    if (this.has(id)) return false;
    this.#young.add(id);
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}
