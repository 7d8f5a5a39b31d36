// Readers that leave before the end of their turn. A client may only have lost its connection, so the turn continues for a grace period in
// which a repeated request can join it.
import type { Clock } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';

export interface GraceOptions<E> {
  /** Called with each event until the reader leaves. */
  readonly onEvent: (event: E) => void | Promise<void>;
  /** Aborts when the reader leaves. */
  readonly left: AbortSignal;
  /** Ends the reading, and with it the turn if no other call follows it. */
  readonly cancel: () => void;
  readonly graceMs: number;
  readonly clock: Clock;
}

/** Time for which a turn continues without its reader, in ms. */
export const GRACE_MS = 5_000;

/** Reads events to the end. Without a reader, cancels after the grace period. @throws the errors of `events` and of `onEvent` */
export async function readWithGrace<E>(
  events: AsyncIterable<E>,
  { onEvent, left, cancel, graceMs, clock }: GraceOptions<E>,
): Promise<void> {
  let timer: { stop(): void } | undefined;
  const onLeft = (): void => {
    timer = clock.after(graceMs, cancel);
  };
  const stopListening = onAbort(left, onLeft);
  try {
    for await (const event of events) if (!left.aborted) await onEvent(event);
  } finally {
    timer?.stop();
    stopListening();
  }
}

interface Reading {
  readonly cancel: () => Promise<void>;
  hasReader: boolean;
}

/** Time for which a lost answer is remembered, in ms. */
const LOST_MS = 600_000;
/** Maximum number of remembered lost answers. */
const MAX_LOST = 10_000;

/** The turns that this process reads, by conversation, and the requests whose answers did not arrive. */
export class Readings {
  readonly #clock: Clock;
  readonly #readings = new Map<string, Set<Reading>>();
  /** Monotonic time of the loss by key of the request, oldest first. */
  readonly #lost = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Adds a reading. `cancel` ends its turn and resolves when it has ended. */
  add(conversation: string, cancel: () => Promise<void>): { leave(): void; end(): void } {
    const reading: Reading = { cancel, hasReader: true };
    const all = this.#readings.get(conversation) ?? new Set();
    this.#readings.set(conversation, all);
    all.add(reading);
    return {
      leave: () => {
        reading.hasReader = false;
      },
      end: () => {
        all.delete(reading);
        if (all.size === 0 && this.#readings.get(conversation) === all) this.#readings.delete(conversation);
      },
    };
  }

  /** Cancels the turns of a conversation whose readers have left: the client has sent another message. */
  async clear(conversation: string): Promise<void> {
    const all = [...(this.#readings.get(conversation) ?? [])];
    if (all.length === 0 || all.some(({ hasReader }) => hasReader)) return;
    await Promise.all(all.map(({ cancel }) => cancel()));
  }

  /** Remembers that the answer to a request did not arrive, so that the same request joins its turn. */
  lose(key: string): void {
    this.#lost.delete(key);
    this.#lost.set(key, this.#clock.monotonic());
    const [oldest] = this.#lost.keys();
    if (this.#lost.size > MAX_LOST && oldest !== undefined) this.#lost.delete(oldest);
  }

  isLost(key: string): boolean {
    const at = this.#lost.get(key);
    return at !== undefined && this.#clock.monotonic() - at < LOST_MS;
  }

  /** Forgets a loss: the answer has arrived. */
  deliver(key: string): void {
    this.#lost.delete(key);
  }
}
