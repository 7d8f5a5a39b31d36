// The addresses that nodes at other sentinels serve, for the lists of agents at the doors. A request to a door requests these lists, at most
// once a second.
import type { Clock } from '@fame-fabric/shared';
import type { ServedAddress } from '@fame-fabric/shared/router';
import type { MemberLists } from './member-lists.ts';

/** Time for which a list is reused, in ms. */
const FRESH_MS = 1_000;
/** Longest wait for a new list if there is an older one, in ms. A frozen sentinel then delays no request to a door by more. */
const REFRESH_MS = 250;

export interface MemberAddressesDeps {
  clock: Clock;
  /** Lists of the addresses at other sentinels, each with the text that changes with each attach of its node. */
  lists: MemberLists;
  /** Ids of the sentinels whose link is up. */
  linked: () => readonly string[];
}

export class MemberAddresses {
  readonly #deps: MemberAddressesDeps;
  #last: readonly ServedAddress[] | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<readonly ServedAddress[]> | undefined;

  constructor(deps: MemberAddressesDeps) {
    this.#deps = deps;
  }

  /** Returns the addresses. Never rejects. */
  async read(): Promise<readonly ServedAddress[]> {
    const { clock } = this.#deps;
    const last = this.#last;
    if (last !== undefined && clock.monotonic() - this.#readAt < FRESH_MS) return last;
    this.#reading ??= this.#request();
    if (last === undefined) return this.#reading;
    const { promise: late, resolve } = Promise.withResolvers<readonly ServedAddress[]>();
    const timer = clock.after(REFRESH_MS, () => resolve(last));
    const read = await Promise.race([this.#reading, late]);
    timer.stop();
    return read;
  }

  async #request(): Promise<readonly ServedAddress[]> {
    const { clock, linked, lists } = this.#deps;
    const found = await lists.of(linked());
    const read = found.flatMap((items) =>
      Array.from(items ?? [], ([address, attach]) => ({ address, attach })),
    );
    this.#last = read;
    this.#readAt = clock.monotonic();
    this.#reading = undefined;
    return read;
  }
}
