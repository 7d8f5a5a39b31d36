// Epochs of addresses: of two owners of an address, the one with the lower epoch is older. An epoch is the count of a logical clock, because
// the clocks of two machines differ. Each sentinel counts on from the highest epoch that it has received, so an owner that bound an address
// after it received the epoch of another owner is younger.

/**
 * Added to the epoch of an address that was bound while NATS was not connected. Its owner is younger than each one that the cluster has
 * confirmed.
 */
const UNCONFIRMED = 2 ** 52;
/** Higher counts are ignored: a faulty sentinel must not use up the numbers. */
const MAX_COUNT = 2 ** 51;

export class Epochs {
  #last = 0;

  /** The highest epoch of this sentinel or received by it. */
  get last(): number {
    return this.#last;
  }

  /** Returns the epoch of a new claim. `isConfirmed` is false if no other sentinel can object to it. */
  next(isConfirmed: boolean): number {
    this.#last++;
    return isConfirmed ? this.#last : UNCONFIRMED + this.#last;
  }

  /** Counts on from the epoch of another sentinel. */
  receive(epoch: number): void {
    const count = epoch >= UNCONFIRMED ? epoch - UNCONFIRMED : epoch;
    if (Number.isSafeInteger(count) && count > this.#last && count < MAX_COUNT) this.#last = count;
  }
}
