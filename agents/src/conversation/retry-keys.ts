// Requests with a retry key, in this process. The store decides which of them run a turn and which join one, together with the
// acceptance of the turn. Requests wait here for earlier ones of their key that could be joined: a refused acceptance would stop the
// turns that run in its conversation.
import { isFabricError } from '@fame-fabric/shared';

/** The key of a request, as its caller gives it. */
export interface RetryKey {
  readonly principal: string;
  readonly key: string;
  /** 0 for the first request. A later one joins the latest turn of the key. */
  readonly count: number;
}

interface Request {
  readonly isRetry: boolean;
  /** Resolves when its turn is accepted, or it failed. */
  readonly settled: Promise<void>;
}

/** Times that a request is refused because another process accepted a turn of its key just then. */
const MAX_REFUSALS = 4;

export class RetryKeys {
  readonly #requests = new Map<string, Set<Request>>();

  /** Runs `accept`, which asks the store for a turn to join or accepts one, until the store does not refuse it. */
  async run<T>({ principal, key, count }: RetryKey, accept: () => Promise<T>): Promise<T> {
    const name = JSON.stringify([principal, key]);
    const requests = this.#requests.get(name) ?? new Set();
    this.#requests.set(name, requests);
    const isRetry = count > 0;
    const earlier = [...requests].filter((other) => isRetry || other.isRetry);
    const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
    const request = { isRetry, settled };
    requests.add(request);
    try {
      await Promise.all(earlier.map((other) => other.settled));
      for (let refusals = 0; ; refusals++) {
        try {
          return await accept();
        } catch (error) {
          if (!isRefusedRetry(error) || refusals >= MAX_REFUSALS) throw error;
        }
      }
    } finally {
      settle();
      requests.delete(request);
      if (requests.size === 0) this.#requests.delete(name);
    }
  }
}

/** True if the store refused to accept a turn because its request joins another one. */
const isRefusedRetry = (error: unknown): boolean =>
  isFabricError(error, 'STORE_CONFLICT') && error.details?.isRetry === true;
