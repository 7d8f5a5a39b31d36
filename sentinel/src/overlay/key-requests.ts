// Requests for keys that this sentinel passed on, by the corrId of the request that it sent itself.
import type { Clock, EnvelopeHeader } from '@fame-fabric/shared';
import type { Session } from '../session/session.ts';

/** Time for which an answer can be returned to its sender, in ms. */
const EXPIRY_MS = 30_000;
/** Beyond this number the oldest request is dropped. */
const MAX_REQUESTS = 2_048;

/** A request of a node that was passed on to another session. */
export interface PassedRequest {
  readonly from: Session;
  readonly to: Session;
  readonly request: Pick<EnvelopeHeader, 'corrId' | 'traceId'>;
}

export class KeyRequests {
  readonly #clock: Clock;
  /** Oldest first. */
  readonly #passed = new Map<string, PassedRequest & { readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#passed.size;
  }

  add(corrId: string, request: PassedRequest): void {
    const now = this.#clock.monotonic();
    for (const [oldest, { at }] of this.#passed) {
      if (this.#passed.size < MAX_REQUESTS && now - at < EXPIRY_MS) break;
      this.#passed.delete(oldest);
    }
    this.#passed.set(corrId, { ...request, at: now });
  }

  /** Takes the request that `from` answers with this corrId. */
  take(corrId: string, from: Session): PassedRequest | undefined {
    const passed = this.#passed.get(corrId);
    if (passed?.to !== from) return undefined;
    this.#passed.delete(corrId);
    return this.#clock.monotonic() - passed.at < EXPIRY_MS ? passed : undefined;
  }
}
