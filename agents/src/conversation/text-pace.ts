// The minimum time between two events with text of one turn. Each event costs the agent, the sentinel and the reader more than the
// agent's read of a piece from the model. All turns of a process share one pace.
import type { Clock } from '@fame-fabric/shared';

/** Gap of a process that is not busy, in ms. Models that send up to 200 pieces a second never reach it. */
const MIN_GAP_MS = 5;
const MAX_GAP_MS = 40;
/** Gap in iterations of the event loop. A busy process sends fewer and longer events, which makes its iterations shorter. */
const GAP_ITERATIONS = 2;

export class TextPace {
  static readonly #ofClock = new WeakMap<Clock, TextPace>();
  readonly #clock: Clock;
  /** Monotonic time of the first text in this iteration of the event loop, in ms. */
  #firstAt: number | undefined;
  /** Time that the latest iterations spent on the texts of all turns, in ms. */
  #busyMs = 0;

  private constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Returns the pace of the process that has this clock. */
  static of(clock: Clock): TextPace {
    let pace = TextPace.#ofClock.get(clock);
    if (!pace) {
      pace = new TextPace(clock);
      TextPace.#ofClock.set(clock, pace);
    }
    return pace;
  }

  /** The minimum time now, in ms. */
  get gapMs(): number {
    return Math.min(MAX_GAP_MS, Math.max(MIN_GAP_MS, Math.ceil(GAP_ITERATIONS * this.#busyMs)));
  }

  /** Call it for each text. Returns the monotonic time, in ms. */
  received(): number {
    const now = this.#clock.monotonic();
    if (this.#firstAt === undefined) {
      this.#firstAt = now;
      setImmediate(this.#iterationEnded);
    }
    return now;
  }

  readonly #iterationEnded = (): void => {
    const busyMs = this.#clock.monotonic() - this.#firstAt!;
    this.#firstAt = undefined;
    this.#busyMs += (busyMs - this.#busyMs) / 4;
  };
}
