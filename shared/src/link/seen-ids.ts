// A bounded set of recent ids, to recognize messages that are sent again.

export class SeenIds {
  readonly #capacity: number;
  // Two generations: when the young one is full, it replaces the old one. At least the last `capacity` ids are known.
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param capacity number of recent ids that are always known; up to twice as many are kept */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Adds an id. Returns false if it was seen before. */
  add(id: string): boolean {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    this.#young.add(id);
    if (this.#young.size >= this.#capacity) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return true;
  }
}
