// The responses that a request in this process is about to continue. Two requests may continue the same response at once; the journal shows the
// turn of the first one only after the agent has accepted it, and without a claim both would run in one conversation.
import type { Retry } from '../../shared/retry-key.ts';

export class Continuations {
  /** The key of the request that holds the claim, by response. */
  readonly #claims = new Map<string, string>();

  /**
   * Claims the end of a response. Returns a function that ends the claim, or undefined if another request has it. A repeated request shares
   * the claim of the first one, whose turn it joins.
   */
  claim(response: string, { key, count }: Pick<Retry, 'key' | 'count'>): (() => void) | undefined {
    const holder = this.#claims.get(response);
    if (holder !== undefined) return holder === key && count > 0 ? () => {} : undefined;
    this.#claims.set(response, key);
    let isHeld = true;
    return () => {
      if (isHeld) this.#claims.delete(response);
      isHeld = false;
    };
  }
}
