// At-least-once delivery between two nodes: resends an envelope with the same id until the receiver acknowledges it. The
// receiver recognizes a repeated id (`serving.ts`) and handles each message once.
import { backoffDelayMs } from '../async/backoff.ts';
import type { Clock, Timer } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { type Envelope, RTYPE } from '../protocol/envelope.ts';
import { timeText } from '../text/time-text.ts';
import { type Nack, nackError } from './nack-error.ts';
import type { Neighbor } from './neighbor.ts';

/** Maximum number of times that a message without a time limit is resent. */
const MAX_RETRIES = 5;
/** Without jitter, so that the time until the last attempt is fixed. */
const RETRY_DELAYS = Object.freeze({ minMs: 1_000, maxMs: 10_000, jitter: 0 });

export interface WatchOptions {
  /** True if the message is no longer needed. */
  isOver?: (() => boolean) | undefined;
  /** Time limit for the acknowledgement, in ms. Without one, the number of attempts is limited. */
  timeoutMs?: number | undefined;
  /** Called before each resend, to update the header after the path of this node has changed. */
  onResend?: ((envelope: Envelope) => void) | undefined;
  /** True if a refusal rejects. Otherwise it settles the message: the call that it belongs to handles the refusal. */
  rejectsRefusal?: boolean | undefined;
}

/** A message that has not been acknowledged. */
interface Delivery {
  readonly neighbor: Neighbor;
  readonly envelope: Envelope;
  readonly options: WatchOptions;
  readonly settle: (error?: unknown) => void;
  /** Monotonic, in ms. */
  readonly due: number;
  attempt: number;
  timer: Timer;
  /** The last refusal by a busy node. */
  refusal: FabricError | undefined;
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
   * @throws {CALL_TIMEOUT} after the last attempt, or after `timeoutMs`
   */
  watch(neighbor: Neighbor, envelope: Envelope, options: WatchOptions = {}): Promise<void> {
    const { id } = envelope;
    const due = this.#clock.monotonic() + (options.timeoutMs ?? Number.POSITIVE_INFINITY);
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown): void => {
        this.#open.get(id)?.timer.stop();
        this.#open.delete(id);
        if (error) reject(error);
        else resolve();
      };
      this.#open.set(id, {
        neighbor,
        envelope,
        options,
        settle,
        due,
        attempt: 0,
        timer: this.#scheduleResend(id, 0, due),
        refusal: undefined,
      });
    });
  }

  /** Settles the message with this id. */
  acknowledged(id: string | undefined): void {
    if (id !== undefined) this.#open.get(id)?.settle();
  }

  /** Handles the refusal of the message with this id. A busy receiver gets it again. */
  refused(id: string | undefined, nack: Nack): void {
    const delivery = id === undefined ? undefined : this.#open.get(id);
    if (!delivery) return;
    if (!delivery.options.rejectsRefusal) {
      delivery.settle();
      return;
    }
    const error = nackError(nack, receiverOf(delivery.envelope));
    if (error.code === 'NODE_BUSY') delivery.refusal = error;
    else delivery.settle(error);
  }

  /** Ends the resending of a message with an error. */
  abandon(id: string, error: unknown): void {
    this.#open.get(id)?.settle(error);
  }

  closeAll(error: FabricError): void {
    for (const { settle } of [...this.#open.values()]) settle(error);
  }

  #scheduleResend(id: string, attempt: number, due: number): Timer {
    const leftMs = Math.max(0, due - this.#clock.monotonic());
    return this.#clock.after(Math.min(backoffDelayMs(attempt, RETRY_DELAYS), leftMs), () => this.#resend(id));
  }

  #resend(id: string): void {
    const delivery = this.#open.get(id);
    if (!delivery) return;
    const { neighbor, envelope, options, settle, due } = delivery;
    if (options.isOver?.()) {
      settle();
      return;
    }
    const isLate = this.#clock.monotonic() >= due;
    if (isLate || (options.timeoutMs === undefined && delivery.attempt >= MAX_RETRIES)) {
      settle(delivery.refusal ?? timeoutError(delivery));
      return;
    }
    delivery.attempt++;
    options.onResend?.(envelope);
    try {
      neighbor.resend(envelope);
    } catch {
      // The queue is full. The next attempt may find room.
    }
    delivery.timer = this.#scheduleResend(id, delivery.attempt, due);
  }
}

const receiverOf = ({ to, capabilities }: Envelope): string => to ?? `[${capabilities?.join(', ') ?? ''}]`;

function timeoutError({ attempt, envelope, options: { timeoutMs } }: Delivery): FabricError {
  const times = `was sent ${attempt + 1} ${attempt === 0 ? 'time' : 'times'}`;
  const within = timeoutMs === undefined ? '' : ` within ${timeText(timeoutMs)}`;
  return new FabricError(
    'CALL_TIMEOUT',
    `The message to ${receiverOf(envelope)} ${times} and not acknowledged${within}`,
  );
}
