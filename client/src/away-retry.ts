// Decides whether and when a failed read is repeated: while the agent, or the connection to it, is temporarily lost.
import { type Clock, isFabricError } from '@fame-fabric/shared';
import { Backoff, pause } from '@fame-fabric/shared/internal';
import type { Caller } from './chat-operations.ts';
import { isAwayCode } from './turn-event.ts';

export interface AwayRetryOptions {
  connection: Pick<Caller, 'state'>;
  /** True if the agent has answered before. If no node serves its address now, it is expected to return. */
  hasAnswered: () => boolean;
  /** Longest absence of the agent, in ms. */
  reconnectTimeoutMs: number;
  clock: Clock;
  /** Called once each time that a wait for the agent starts. A lost connection to the sentinel is reported by the connection. */
  onAway?: (() => void) | undefined;
}

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;

/** The retries of one read. */
export class AwayRetry {
  readonly #options: AwayRetryOptions;
  readonly #backoff = new Backoff({ minMs: RETRY_MIN_MS, maxMs: RETRY_MAX_MS });
  #awaySince: number | undefined;
  #hasReported = false;

  constructor(options: AwayRetryOptions) {
    this.#options = options;
  }

  /** Repeats `attempt` until it succeeds. @throws its error if another attempt is pointless; the reason of `signal` */
  async until<T>(attempt: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        await this.wait(error, false, signal);
      }
    }
  }

  /**
   * Waits until the next attempt. `hasProgressed` is true if the failed attempt received something.
   * @throws `error` if another attempt is pointless; the reason of `signal`
   */
  async wait(error: unknown, hasProgressed: boolean, signal: AbortSignal | undefined): Promise<void> {
    const { clock, reconnectTimeoutMs, onAway } = this.#options;
    const now = clock.monotonic();
    if (hasProgressed || this.#awaySince === undefined) {
      this.#awaySince = now;
      this.#backoff.reset();
      this.#hasReported = false;
    }
    if (!this.#isAway(error, hasProgressed) || now - this.#awaySince >= reconnectTimeoutMs) throw error;
    if (!this.#hasReported && !isFabricError(error, 'LINK_CLOSED')) {
      this.#hasReported = true;
      onAway?.();
    }
    await pause(clock, this.#backoff.nextDelayMs(), signal);
  }

  #isAway(error: unknown, hasProgressed: boolean): boolean {
    if (!isFabricError(error)) return false;
    const { connection, hasAnswered } = this.#options;
    if (connection.state === 'closed' || connection.state === 'draining') return false;
    if (error.code === 'NO_ROUTE') return hasAnswered();
    // An agent of version 0.1 also reports NODE_BUSY for a reader that is too slow. Another attempt would not make it faster.
    if (error.code === 'NODE_BUSY') return hasAnswered() && !hasProgressed;
    return isAwayCode(error.code);
  }
}
