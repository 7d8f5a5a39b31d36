// A connection that is opened when it is needed, and again after it was lost: the server restarted, or another one took over.
import { type Clock, isFabricError } from '@fame-fabric/shared';
import { backoffDelayMs, pause } from '@fame-fabric/shared/internal';
import type { Connection } from './connection.ts';
import { isLost } from './faults.ts';

/** Time after which a server that does not answer counts as lost, in ms. */
const ANSWER_MS = 6_000;
const BACKOFF = { minMs: 20, maxMs: 500 };

export interface ReconnectingOptions {
  readonly clock: Clock;
  /** `isAgain` is true after a connection was lost. */
  connect(isAgain: boolean): Promise<Connection>;
}

export class Reconnecting {
  readonly #options: ReconnectingOptions;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;

  constructor(options: ReconnectingOptions) {
    this.#options = options;
  }

  /** Runs `work`, and runs it again on a new connection if one is lost, until `until` in monotonic ms. @throws the last error */
  async use<T>(until: number, work: (connection: Connection) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    for (;;) {
      const connection = await this.#connected(until);
      const limit = clock.after(ANSWER_MS, () => connection.destroy());
      try {
        return await work(connection);
      } catch (error) {
        if (!isLost(error) && !connection.isLost) throw error;
        connection.destroy();
        if (clock.monotonic() >= until) throw error;
      } finally {
        limit.stop();
      }
    }
  }

  async close(): Promise<void> {
    await this.#connection?.close();
  }

  /** Returns the connection, a new one if necessary. Tries until `until`, at least once. */
  async #connected(until: number): Promise<Connection> {
    const { clock } = this.#options;
    for (let attempt = 0; ; attempt++) {
      if (this.#connection && !this.#connection.isLost) return this.#connection;
      try {
        this.#connecting ??= this.#connect();
        return await this.#connecting;
      } catch (error) {
        if (isFabricError(error) || clock.monotonic() >= until) throw error;
        await pause(clock, backoffDelayMs(attempt, BACKOFF));
      }
    }
  }

  async #connect(): Promise<Connection> {
    try {
      this.#connection = await this.#options.connect(this.#connection !== undefined);
      return this.#connection;
    } finally {
      this.#connecting = undefined;
    }
  }
}
