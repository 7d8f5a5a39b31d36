// Bounds how long a turn waits for a lost connection. A connected turn may take its time. Without a connection nothing can
// arrive, so that wait has a deadline of its own, much shorter than the timeout of the turn.
import { type Clock, FabricError, type LinkState, type Timer } from '@fame-fabric/shared';

export interface ReconnectDeadlineOptions {
  connection: {
    readonly state?: LinkState;
    onState?(listener: (state: LinkState) => void): () => void;
  };
  timeoutMs: number;
  clock: Clock;
  /** Called each time that the connection is lost, and at the start if it is lost already. */
  onLost?: (() => void) | undefined;
}

export class ReconnectDeadline {
  readonly #options: ReconnectDeadlineOptions;
  readonly #controller = new AbortController();
  #timer: Timer | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(options: ReconnectDeadlineOptions) {
    this.#options = options;
  }

  /** Aborts with LINK_TIMEOUT when the connection was lost for `timeoutMs` without a break. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(): void {
    const { connection } = this.#options;
    this.#unsubscribe = connection.onState?.((state) => this.#onState(state));
    this.#onState(connection.state);
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#timer?.stop();
  }

  #onState(state: LinkState | undefined): void {
    if (state !== 'reconnecting') {
      this.#timer?.stop();
      this.#timer = undefined;
      return;
    }
    const { clock, timeoutMs, onLost } = this.#options;
    this.#timer ??= clock.after(timeoutMs, () => this.#expire(), { keepAlive: true });
    onLost?.();
  }

  #expire(): void {
    const seconds = Math.round(this.#options.timeoutMs / 1_000);
    const text = `The connection to the sentinel was lost and did not come back within ${seconds} s`;
    this.#controller.abort(new FabricError('LINK_TIMEOUT', text));
  }
}
