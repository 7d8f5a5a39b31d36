// At-least-once delivery between two nodes: resends an envelope with the same id until the receiver acknowledges it. The
// receiver recognizes a repeated id (`serving.ts`) and handles each message once.
import { backoffDelayMs } from '../async/backoff.ts';
import type { Clock, Timer } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { type Envelope, RTYPE } from '../protocol/envelope.ts';
import type { Neighbor } from './neighbor.ts';

/** Maximum number of times that a message is resent. */
const MAX_RETRIES = 5;
/** Without jitter, so that the time until the last attempt is fixed. */
const RETRY_DELAYS = Object.freeze({ minMs: 1_000, maxMs: 10_000, jitter: 0 });

/** A message that has not been acknowledged. */
interface Delivery {
  readonly neighbor: Neighbor;
  readonly envelope: Envelope;
  readonly isOver: (() => boolean) | undefined;
  readonly settle: (error?: FabricError) => void;
  attempt: number;
  timer: Timer;
}

export class Deliveries {
  readonly #clock: Clock;
  readonly #open = new Map<string, Delivery>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Number of unacknowledged messages. */
  get size(): number {
    return this.#open.size;
  }

  /** Adds the request for an acknowledgement to an `rtype`. */
  static mark(rtype: number | undefined): number {
    return (rtype ?? 0) | RTYPE.ack;
  }

  /**
   * Resends a message until it is acknowledged or `isOver` returns true, then resolves.
   * @throws {CALL_TIMEOUT} after the last attempt
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
        timer: this.#scheduleResend(envelope.id, 0),
      });
    });
  }

  /** Settles the message with this id. */
  acknowledged(id: string | undefined): void {
    if (id !== undefined) this.#open.get(id)?.settle();
  }

  closeAll(error: FabricError): void {
    for (const { settle } of [...this.#open.values()]) settle(error);
  }

  #scheduleResend(id: string, attempt: number): Timer {
    return this.#clock.after(backoffDelayMs(attempt, RETRY_DELAYS), () => this.#resend(id));
  }

  #resend(id: string): void {
    const delivery = this.#open.get(id);
    if (!delivery) return;
    const { neighbor, envelope, isOver, settle } = delivery;
    if (isOver?.()) {
      settle();
      return;
    }
    if (delivery.attempt >= MAX_RETRIES) {
      settle(
        new FabricError(
          'CALL_TIMEOUT',
          `The message was sent ${delivery.attempt + 1} times and not acknowledged`,
        ),
      );
      return;
    }
    delivery.attempt++;
    try {
      neighbor.resend(envelope);
    } catch {
      // The queue is full. The next attempt may find room.
    }
    delivery.timer = this.#scheduleResend(id, delivery.attempt);
  }
}
