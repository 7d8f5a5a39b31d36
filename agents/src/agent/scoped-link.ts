// The link of one call. Calls made through it carry the remaining hops and time of that call. So a circle of agents that call each
// other ends, and no agent works longer than its caller waits.
import type { CallOptions, CallTarget } from '@fame-fabric/shared';
import { CALL_TIMEOUT_MS } from '@fame-fabric/shared/link';
import type { Outbound } from './operation.ts';

/** Hops of a call that has no parent call, or whose parent call does not count its hops. */
export const FIRST_TTL = 8;

export class ScopedLink implements Outbound {
  readonly #link: Outbound;
  readonly #ttl: number;
  readonly #leftMs: () => number;

  /** `receivedTtl` is that of the message that the calls belong to; `leftMs` is its remaining time. */
  constructor(
    link: Outbound,
    receivedTtl?: number | undefined,
    leftMs: () => number = () => Number.POSITIVE_INFINITY,
  ) {
    this.#link = link;
    this.#ttl = receivedTtl === undefined ? FIRST_TTL : Math.max(0, receivedTtl - 1);
    this.#leftMs = leftMs;
  }

  call(target: CallTarget, method: string, params?: unknown, options: CallOptions = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    return this.#link.call(target, method, params, this.#optionsOf(options, timeoutMs));
  }

  stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): AsyncIterable<unknown> {
    return this.#link.stream(target, method, params, this.#optionsOf(options, Number.POSITIVE_INFINITY));
  }

  send(to: string, payload: unknown, options: { corrId?: string | undefined } = {}): void {
    this.#link.send(to, payload, { ttl: this.#ttl, ...options });
  }

  /** The same hops without the time limit, for work that outlives its call. */
  detached(): ScopedLink {
    return new ScopedLink(this.#link, this.#ttl + 1);
  }

  #optionsOf(options: CallOptions, timeoutMs: number): CallOptions {
    const leftMs = Math.max(1, this.#leftMs());
    const deadlineMs = Math.min(leftMs, timeoutMs, options.deadlineMs ?? Number.POSITIVE_INFINITY);
    const ttl = Math.min(this.#ttl, options.ttl ?? this.#ttl);
    return Number.isFinite(deadlineMs) ? { ...options, ttl, deadlineMs } : { ...options, ttl };
  }
}
