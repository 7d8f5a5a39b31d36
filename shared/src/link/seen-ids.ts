// The last ids that were seen, within a bound: what tells a message that was sent again from a new one.

export class SeenIds {
  readonly #capacity: number;
  // Two generations: when the young one is full the old one is forgotten, so never fewer than `capacity` are known.
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param capacity ids that are surely known; at most twice as many are kept */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Notes an id. `false` when it was seen before. */
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
