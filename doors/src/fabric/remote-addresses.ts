// Addresses of a fabric for doors in a separate process: from the sentinel's list of nodes if the key of the process may read it,
// otherwise from the configuration.
import { type Clock, isFabricError, type Logger } from '@fame-fabric/shared';
import type { ServedAddress } from '@fame-fabric/shared/router';
import { isRefusedCredential } from './credential-codes.ts';

/** Time for which a list is reused, in ms. */
const FRESH_MS = 1_000;
/** Time after which configured addresses are queried again, and the list of nodes is requested again, in ms. */
const RETRY_MS = 30_000;

export interface RemoteAddressesDeps {
  /** Requests the list of nodes. @throws {AUTH_*} if the key may not read it */
  list: () => Promise<Iterable<ServedAddress>>;
  /** Addresses of the configuration. */
  configured: readonly string[];
  clock: Clock;
  log: Logger;
}

export class RemoteAddresses {
  readonly #deps: RemoteAddressesDeps;
  #listed: Promise<readonly ServedAddress[]> | undefined;
  #listedAt = Number.NEGATIVE_INFINITY;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #hasWarned = false;

  constructor(deps: RemoteAddressesDeps) {
    this.#deps = deps;
  }

  /** Returns the addresses. If the sentinel does not answer, returns those of the configuration. */
  readonly read = async (): Promise<readonly ServedAddress[]> => {
    const now = this.#deps.clock.monotonic();
    if (now - this.#refusedAt < RETRY_MS) return this.#configured(now);
    if (this.#listed === undefined || now - this.#listedAt >= FRESH_MS) {
      this.#listedAt = now;
      this.#listed = this.#list(now);
    }
    return this.#listed;
  };

  async #list(now: number): Promise<readonly ServedAddress[]> {
    try {
      return [...(await this.#deps.list())];
    } catch (error) {
      if (!isFabricError(error)) throw error;
      if (isRefusedCredential(error)) {
        this.#refusedAt = now;
        this.#warn();
      }
      return this.#configured(now);
    }
  }

  #configured(now: number): readonly ServedAddress[] {
    const attach = `configured-${Math.floor(now / RETRY_MS)}`;
    return this.#deps.configured.map((address) => ({ address, attach }));
  }

  #warn(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#deps.log.warn(
      'the key of this process may not read the list of nodes; listing the agents of the configuration',
      {
        agents: this.#deps.configured,
        fix: 'Set FAME_ADMISSION_TOKEN_FILE to a key with the role door: npx fame-fabric key add doors --role door',
      },
    );
  }
}
