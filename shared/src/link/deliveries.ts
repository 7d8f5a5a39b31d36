// At-least-once delivery between two nodes: what was sent is sent again, the same envelope with the same id, until the other
// end acknowledges it. The other end tells a repeat by that id (`serving.ts`), so nothing is handled twice.
import { backoffDelayMs } from '../async/backoff.ts';
import type { Clock, Timer } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { type Envelope, RTYPE } from '../protocol/envelope.ts';
import type { Neighbor } from './neighbor.ts';

/** Times that a message is sent again. */
const MAX_RETRIES = 5;
/** No jitter: each message has its own delays already, and guarantees name them. */
const RETRY_DELAYS = Object.freeze({ minMs: 1_000, maxMs: 10_000, jitter: 0 });

interface Open {
  readonly neighbor: Neighbor;
  readonly envelope: Envelope;
  readonly isOver: (() => boolean) | undefined;
  readonly settle: (error?: FabricError) => void;
  attempt: number;
  timer: Timer;
}

export class Deliveries {
  readonly #clock: Clock;
  readonly #open = new Map<string, Open>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Messages without an acknowledgement yet. */
  get size(): number {
    return this.#open.size;
  }

  /** `rtype` of a message that is to be acknowledged. */
  static mark(rtype: number | undefined): number {
    return (rtype ?? 0) | RTYPE.ack;
  }

  /**
   * Watches over a message that was sent: resolves when it is acknowledged, or when `isOver` says that nobody needs to know
   * any more. Rejects with CALL_TIMEOUT when it was sent as often as it may be.
   */
  watch(neighbor: Neighbor, envelope: Envelope, isOver?: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: FabricError): void => {
        this.#open.get(envelope.id)?.timer.stop();
        this.#open.delete(envelope.id);
        if (error) reject(error);
        else resolve();
      };
      this.#open.set(envelope.id, {
        neighbor,
        envelope,
        isOver,
        settle,
        attempt: 0,
        timer: this.#next(envelope.id, 0),
      });
    });
  }

  /** The other end has it. */
  acknowledged(id: string | undefined): void {
    if (id !== undefined) this.#open.get(id)?.settle();
  }

  closeAll(error: FabricError): void {
    for (const { settle } of [...this.#open.values()]) settle(error);
  }

  #next(id: string, attempt: number): Timer {
    return this.#clock.after(backoffDelayMs(attempt, RETRY_DELAYS), () => this.#resend(id));
  }

  #resend(id: string): void {
    const open = this.#open.get(id);
    if (!open) return;
    const { neighbor, envelope, isOver, settle } = open;
    if (isOver?.()) {
      settle();
      return;
    }
    if (open.attempt >= MAX_RETRIES) {
      settle(
        new FabricError('CALL_TIMEOUT', `The message was not acknowledged, sent ${open.attempt + 1} times`),
      );
      return;
    }
    open.attempt++;
    try {
      neighbor.send(neighbor.main, envelope);
    } catch {
      // No room now; the next attempt may find some.
    }
    open.timer = this.#next(id, open.attempt);
  }
}
