// Renews the token of a connection before it expires. The timer fires after 70 to 80 % of the time that the sentinel stated, then
// the new token travels in a NodeAttach on the same connection. So calls continue, and many nodes do not renew together.
import { Backoff, backoffDelayMs } from '../async/backoff.ts';
import { type Clock, LONGEST_TIMER_MS, type Timer } from '../async/clock.ts';
import { errorMessage } from '../errors/error-message.ts';
import type { Logger } from '../log.ts';
import type { TokenSource } from './transport.ts';

/** Latest time of the renewal, as a share of the life of the token; jitter makes it earlier by up to an eighth. */
const LATEST_SHARE = 0.8;
const JITTER = 0.125;

/** The answer of a sentinel to a renewal. */
export interface RenewalAnswer {
  readonly ok: boolean;
  readonly code?: string | undefined;
  readonly reason?: string | undefined;
  /** Time until the new token expires, in ms. */
  readonly expiresInMs?: number | undefined;
}

export interface TokenRenewalDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly token: string | TokenSource | undefined;
  /** Sends a new token on the current connection. */
  readonly send: (token: string) => Promise<RenewalAnswer>;
}

export class TokenRenewal {
  readonly #deps: TokenRenewalDeps;
  readonly #backoff = new Backoff({ minMs: 1_000, maxMs: 30_000 });
  #timer: Timer | undefined;
  /** Changes with each start and stop, so that a renewal of an earlier connection has no effect. */
  #run = 0;

  constructor(deps: TokenRenewalDeps) {
    this.#deps = deps;
  }

  /** Begins with a connection whose token expires after `expiresInMs`; undefined if it does not expire. */
  start(expiresInMs: number | undefined): void {
    this.stop();
    this.#backoff.reset();
    const { token } = this.#deps;
    if (expiresInMs === undefined || typeof token !== 'object' || token.renew === undefined) return;
    const latestMs = Math.max(0, expiresInMs) * LATEST_SHARE;
    this.#after(
      backoffDelayMs(0, { minMs: latestMs, maxMs: latestMs, jitter: JITTER }),
      token.renew.bind(token),
    );
  }

  stop(): void {
    this.#run++;
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #after(ms: number, renew: () => Promise<string>): void {
    this.#timer = this.#deps.clock.after(Math.min(ms, LONGEST_TIMER_MS), () => void this.#renew(renew));
  }

  async #renew(renew: () => Promise<string>): Promise<void> {
    const { log, send } = this.#deps;
    const run = this.#run;
    let reason: string;
    try {
      const token = await renew();
      if (run !== this.#run) return;
      const answer = await send(token);
      if (run !== this.#run) return;
      if (answer.ok) {
        log.debug('renewed the token of the connection', { expiresInMs: answer.expiresInMs });
        this.start(answer.expiresInMs);
        return;
      }
      reason = answer.reason || answer.code || 'no reason given';
    } catch (error) {
      reason = errorMessage(error);
    }
    if (run !== this.#run) return;
    if (this.#backoff.attempt === 0)
      log.warn('cannot renew the token of the connection, retrying', { reason });
    this.#after(this.#backoff.nextDelayMs(), renew);
  }
}
