// How long a turn waits for a connection that was lost. While there is one, a turn may take its time; without one nothing can
// arrive, so the wait has a bound of its own, much shorter than that of the turn.
import { type Clock, FabricError, type LinkState, type Timer } from '@fame-fabric/shared';

export interface ConnectionPatienceOptions {
  connection: {
    readonly state?: LinkState;
    onState?(listener: (state: LinkState) => void): () => void;
  };
  patienceMs: number;
  clock: Clock;
  /** Told each time that the connection is lost, and at the start when it is lost already. */
  onLost?: (() => void) | undefined;
}

export class ConnectionPatience {
  readonly #options: ConnectionPatienceOptions;
  readonly #isOver = new AbortController();
  #timer: Timer | undefined;
  #unwatch: (() => void) | undefined;

  constructor(options: ConnectionPatienceOptions) {
    this.#options = options;
  }

  /** Aborts, with LINK_TIMEOUT, when the connection was away for `patienceMs` at a stretch. */
  get signal(): AbortSignal {
    return this.#isOver.signal;
  }

  start(): void {
    const { connection } = this.#options;
    this.#unwatch = connection.onState?.((state) => this.#onState(state));
    this.#onState(connection.state);
  }

  stop(): void {
    this.#unwatch?.();
    this.#timer?.stop();
  }

  #onState(state: LinkState | undefined): void {
    if (state !== 'reconnecting') {
      this.#timer?.stop();
      this.#timer = undefined;
      return;
    }
    const { clock, patienceMs, onLost } = this.#options;
    const seconds = Math.round(patienceMs / 1_000);
    const giveUp = (): void =>
      this.#isOver.abort(
        new FabricError(
          'LINK_TIMEOUT',
          `The connection to the sentinel was lost and did not come back within ${seconds} s`,
        ),
      );
    this.#timer ??= clock.after(patienceMs, giveUp, { keepAlive: true });
    onLost?.();
  }
}
