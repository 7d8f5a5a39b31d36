// The spans of a sentinel: one for each request of a sampled trace that it forwards. Callers decide which traces are sampled, so the
// number of spans a second is limited. The context in the message is not changed: the node that serves the call is a child of its
// caller, and so is the span of each sentinel between them.
import type { Clock } from '@fame-fabric/shared';
import { ATTRIBUTE, TRACEPARENT_CHARS, type Tracing, traceparentIn } from '@fame-fabric/shared/router';

/** Most spans in one second. The requests above it are forwarded without a span. */
const MAX_SPANS_PER_SECOND = 250;

interface Hop {
  /** Paths of the sender and the receiver. */
  readonly from: string;
  readonly to: string;
  readonly address: string;
}

export class HopSpans {
  readonly #tracing: Tracing;
  readonly #clock: Clock;
  #since = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(tracing: Tracing, clock: Clock) {
    this.#tracing = tracing;
    this.#clock = clock;
  }

  /** Records a forwarded request. `at` is the offset of its trace context in `bytes`. */
  record(bytes: Buffer, at: number, { from, to, address }: Hop): void {
    // The low bit of the last hexadecimal digit is set in a sampled trace. The codes of 1, 3, 5, 7 and 9 are odd, those of b, d and f even.
    const digit = bytes[at + TRACEPARENT_CHARS - 1]!;
    if ((digit & 1) === (digit > 57 ? 1 : 0) || !this.#hasRoom()) return;
    const parent = traceparentIn({ traceparent: bytes.toString('latin1', at, at + TRACEPARENT_CHARS) });
    if (parent === undefined) return;
    const span = this.#tracing.start('route', {
      parent,
      attributes: {
        [ATTRIBUTE.address]: address,
        [ATTRIBUTE.hopSource]: from,
        [ATTRIBUTE.hopTarget]: to,
        [ATTRIBUTE.bytes]: bytes.length,
      },
    });
    span.end();
  }

  #hasRoom(): boolean {
    const now = this.#clock.monotonic();
    if (now - this.#since >= 1_000) {
      this.#since = now;
      this.#count = 0;
    }
    return ++this.#count <= MAX_SPANS_PER_SECOND;
  }
}
