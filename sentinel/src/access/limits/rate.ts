// A token bucket, counted as a debt: taken units add to it, and time pays it off.

export class Rate {
  /** Units in each ms; infinite without a limit, 0 if every unit is refused. */
  #perMs = Number.POSITIVE_INFINITY;
  #burst = Number.POSITIVE_INFINITY;
  /** Units that were taken and have not been paid off, at `#at`. */
  #debt = 0;
  /** Monotonic, in ms. */
  #at = 0;

  /** Sets the limit, and keeps the debt. `perSecond` may be infinite. 0 refuses everything. */
  limit(perSecond: number, burst: number, now: number): void {
    this.#debt = this.#debtAt(now);
    this.#at = now;
    this.#perMs = perSecond / 1_000;
    this.#burst = Math.max(1, burst);
  }

  get isLimited(): boolean {
    return this.#perMs !== Number.POSITIVE_INFINITY;
  }

  #debtAt(now: number): number {
    return this.#debt === 0 ? 0 : Math.max(0, this.#debt - (now - this.#at) * this.#perMs);
  }

  /** Time until the bucket has a unit again, in ms; negative while it has one. */
  emptyMs(now: number): number {
    if (!this.isLimited) return Number.NEGATIVE_INFINITY;
    if (this.#perMs === 0) return Number.POSITIVE_INFINITY;
    return (this.#debtAt(now) - this.#burst) / this.#perMs;
  }

  /** Takes units, also more than the bucket has. */
  take(units: number, now: number): void {
    if (!this.isLimited || this.#perMs === 0) return;
    this.#debt = this.#debtAt(now) + units;
    this.#at = now;
  }

  isFull(now: number): boolean {
    return this.#debtAt(now) === 0;
  }
}
