// Progress notifications of one call. The number only rises; the message has the text that was added to the reply since the last one.
import type { Clock } from '@fame-fabric/shared';

/** Sends one notification. Resolves when the connection accepts more. */
export type SendProgress = (progress: {
  progress: number;
  total?: number;
  message?: string;
}) => Promise<void>;

/** Least time between two notifications, in ms. */
const INTERVAL_MS = 250;
/** Steps that are reported without that pause. A fast stream of items to a slow reader would otherwise fill the memory. */
const MAX_FAST_STEPS = 100;
const MAX_MESSAGE_CHARS = 4_000;

export class ProgressReporter {
  readonly #send: SendProgress;
  readonly #clock: Clock;
  #last = -1;
  #sentAt = Number.NEGATIVE_INFINITY;
  #text = '';
  #steps = 0;
  #failure: unknown;

  constructor(send: SendProgress, clock: Clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** Adds a piece of the reply. Pieces in quick succession share a notification; the last piece may be left out, because the result has it. */
  text(piece: string): void {
    this.#text = (this.#text + piece).slice(-MAX_MESSAGE_CHARS);
    if (this.#clock.monotonic() - this.#sentAt >= INTERVAL_MS) this.#flush();
  }

  /** Reports a step. Steps in too quick succession are left out. */
  note(message: string): void {
    if (this.#text !== '') this.#flush();
    if (this.#mayStep()) this.#report({ progress: Math.floor(this.#last) + 1, message });
  }

  /** Reports a number from the operation. A number that does not rise, or follows too quickly, is left out. */
  value(progress: number, total: number | undefined, message: string | undefined): void {
    if (progress > this.#last && this.#mayStep())
      this.#report({ progress, ...(total === undefined ? {} : { total }), ...(message ? { message } : {}) });
  }

  #mayStep(): boolean {
    this.#steps++;
    return this.#steps <= MAX_FAST_STEPS || this.#clock.monotonic() - this.#sentAt >= INTERVAL_MS;
  }

  #flush(): void {
    const message = this.#text;
    this.#text = '';
    this.#report({ progress: Math.floor(this.#last) + 1, message });
  }

  #report(progress: Parameters<SendProgress>[0]): void {
    if (this.#failure) return;
    this.#last = progress.progress;
    this.#sentAt = this.#clock.monotonic();
    // The reader has disconnected. The signal of the call reports it.
    this.#send(progress).catch((error: unknown) => {
      this.#failure = error;
    });
  }
}
