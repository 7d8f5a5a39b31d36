// Limits the time that a turn waits for a lost connection. Without a connection no event can arrive, so this limit is separate
// from the timeout of the turn, and much shorter.
import { type Clock, FabricError, type LinkState, type Timer } from '@fame-fabric/shared';

export interface ReconnectDeadlineOptions {
  connection: {
    readonly state?: LinkState;
    onState?(listener: (state: LinkState) => void): () => void;
  };
  timeoutMs: number;
  clock: Clock;
  /** Called each time that the connection is lost, and at `start` if it is already lost. */
  onLost?: (() => void) | undefined;
}

/** The deadline of one turn for the return of its connection. */
export class ReconnectDeadline {
  readonly #options: ReconnectDeadlineOptions;
  readonly #controller = new AbortController();
  #timer: Timer | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(options: ReconnectDeadlineOptions) {
    this.#options = options;
  }

  /** Aborts with LINK_TIMEOUT when the connection has been lost for `timeoutMs` without interruption. */
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
    const text = `The connection to the sentinel was lost and did not return within ${seconds} s`;
    this.#controller.abort(new FabricError('LINK_TIMEOUT', text));
  }
}
