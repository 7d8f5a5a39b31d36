// Limits failed sign-ins of each client network. Codes and keys have 256 bits, so this does not protect them from guesses: it bounds
// the work and the log lines that a client can cause.
import type { Clock } from '@fame-fabric/shared';
import { clientNetwork } from '@fame-fabric/shared/router';

/** Failed sign-ins of one network in a window, after which all further ones are refused until its end. */
const MAX_FAILURES = 10;
const WINDOW_MS = 60_000;
/** Networks that are counted. A new one replaces the oldest. */
const MAX_NETWORKS = 1_000;

export class SignInLimit {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** By network, oldest first. */
  readonly #failures = new Map<string, { readonly from: number; count: number }>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Time until the address may try again, in ms. Undefined if it may try now. */
  waitMs(address: string): number | undefined {
    const failures = this.#failures.get(clientNetwork(address));
    if (failures === undefined || failures.count < MAX_FAILURES) return undefined;
    const waitMs = failures.from + WINDOW_MS - this.#clock.monotonic();
    return waitMs > 0 ? waitMs : undefined;
  }

  /** Counts a failed sign-in. */
  failed(address: string): void {
    const network = clientNetwork(address);
    const now = this.#clock.monotonic();
    const failures = this.#failures.get(network);
    if (failures !== undefined && now - failures.from < WINDOW_MS) {
      failures.count++;
      return;
    }
    this.#failures.delete(network);
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size < MAX_NETWORKS) break;
      this.#failures.delete(oldest);
    }
    this.#failures.set(network, { from: now, count: 1 });
  }
}
