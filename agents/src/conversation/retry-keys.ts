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

/** The requests of one key that wait or are being accepted. A promise resolves when its request is accepted, or has failed. */
interface Requests {
  open: number;
  /** The latest retry, which waited for all requests before it. */
  retry: Promise<void> | undefined;
  /** The first requests since then. */
  readonly firsts: Set<Promise<void>>;
}

/** Maximum refusals of one request, each because another process accepted a turn of its key in the meantime. */
const MAX_REFUSALS = 4;

export class RetryKeys {
  readonly #requests = new Map<string, Requests>();

  /** Runs `accept`, which asks the store for a turn to join or accepts one, until the store does not refuse it. */
  async run<T>({ principal, key, count }: RetryKey, accept: () => Promise<T>): Promise<T> {
    const name = JSON.stringify([principal, key]);
    const requests = this.#requests.get(name) ?? { open: 0, retry: undefined, firsts: new Set() };
    this.#requests.set(name, requests);
    requests.open += 1;
    const { promise: settled, resolve: settle } = Promise.withResolvers<void>();
    const earlier = [requests.retry];
    if (count > 0) {
      earlier.push(...requests.firsts);
      requests.firsts.clear();
      requests.retry = settled;
    } else {
      requests.firsts.add(settled);
    }
    try {
      await Promise.all(earlier);
      for (let refusals = 0; ; refusals++) {
        try {
          return await accept();
        } catch (error) {
          if (!isRefusedRetry(error) || refusals >= MAX_REFUSALS) throw error;
        }
      }
    } finally {
      settle();
      requests.firsts.delete(settled);
      requests.open -= 1;
      if (requests.open === 0) this.#requests.delete(name);
    }
  }
}

/** True if the store refused to accept a turn because its request joins another one. */
const isRefusedRetry = (error: unknown): boolean =>
  isFabricError(error, 'STORE_CONFLICT') && error.details?.isRetry === true;
