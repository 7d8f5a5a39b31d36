// The public keys of one trusted issuer, from its key set (JWKS). Each issuer has a cache of its own, so that a key id of one issuer
// never selects a key of another. The URL comes from the configuration.
//
// While the key server does not answer, the cached keys stay in force. A token with another key is refused until it answers again.
import type { Clock, ErrorCode, Logger } from '@fame-fabric/shared';
import { errorMessage, requestIssuer } from '@fame-fabric/shared/internal';
import { FabricError } from '@fame-fabric/shared/router';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';

/** Age after which the key set is requested again, in ms, so that a key that the issuer removed is forgotten. */
const MAX_AGE_MS = 600_000;
/** Minimum time between two requests that unknown key ids cause, in ms: senders of tokens choose the ids. */
const COOLDOWN_MS = 10_000;
/** The same after a request that failed. */
const RETRY_AFTER_MS = 2_000;
const MAX_KEYS = 128;

type KeySet = ReturnType<typeof createLocalJWKSet>;

export interface IssuerKeysDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** @default an HTTP request */
  readonly request?: typeof requestIssuer | undefined;
}

export class IssuerKeys {
  readonly #url: string;
  readonly #deps: IssuerKeysDeps;
  #keys: KeySet | undefined;
  #loadedAt = Number.NEGATIVE_INFINITY;
  #nextRequestAt = Number.NEGATIVE_INFINITY;
  #loading: Promise<void> | undefined;
  /** Why the last request failed. */
  #fault: string | undefined;

  constructor(url: string, deps: IssuerKeysDeps) {
    this.#url = url;
    this.#deps = deps;
  }

  /**
   * Finds the key of a token by the `kid` and `alg` of its header.
   * @throws {AUTH_UNAVAILABLE} if the key is not cached, and the key server does not answer
   * @throws {AUTH_INVALID} if the issuer has no such key
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (this.#deps.clock.monotonic() - this.#loadedAt >= MAX_AGE_MS) await this.#load();
    let key = await this.#cached(header, token);
    if (key === undefined) {
      await this.#load();
      key = await this.#cached(header, token);
    }
    if (key !== undefined) return key;
    throw this.#fault === undefined
      ? fault('AUTH_INVALID', 'The issuer of the token has no such key. Get a new token from it')
      : fault(
          'AUTH_UNAVAILABLE',
          'The token cannot be checked now, because the key server of its issuer does not answer. Try again later',
        );
  };

  async #cached(...[header, token]: Parameters<JWTVerifyGetKey>) {
    try {
      return await this.#keys?.(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return undefined;
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      throw fault('AUTH_INVALID', 'The token does not name its key (kid), and its issuer has several keys');
    }
  }

  // One request at a time, and none during the cooldown. Never rejects.
  async #load(): Promise<void> {
    if (this.#loading === undefined && this.#deps.clock.monotonic() < this.#nextRequestAt) return;
    this.#loading ??= this.#request().finally(() => {
      this.#loading = undefined;
    });
    await this.#loading;
  }

  async #request(): Promise<void> {
    const { clock, log, request = requestIssuer } = this.#deps;
    const url = this.#url;
    try {
      const { status, body } = await request(url);
      if (status !== 200) throw new Error(`HTTP ${status}`);
      this.#keys = createLocalJWKSet(publicKeysOf(body));
      this.#loadedAt = clock.monotonic();
      this.#nextRequestAt = this.#loadedAt + COOLDOWN_MS;
      if (this.#fault !== undefined) log.info('the key server answers again', { url });
      this.#fault = undefined;
    } catch (error) {
      const reason = errorMessage(error);
      // One line for an outage, not one for each attach.
      if (this.#fault === undefined) {
        const effect =
          this.#keys === undefined ? 'no token is accepted' : 'only tokens with cached keys are accepted';
        log.warn('cannot get the keys of a token issuer', { url, reason, effect });
      }
      this.#fault = reason;
      this.#nextRequestAt = clock.monotonic() + RETRY_AFTER_MS;
    }
  }
}

/** Checks a key set, and leaves out symmetric keys: a public document must not contain one. */
function publicKeysOf(body: unknown): JSONWebKeySet {
  const { keys } = (body ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('the answer is not a key set: it has no list `keys`');
  if (keys.length > MAX_KEYS) throw new Error(`the key set has more than ${MAX_KEYS} keys`);
  return { keys: keys.filter((key) => typeof key === 'object' && key !== null && key.kty !== 'oct') };
}

const fault = (code: ErrorCode, message: string): FabricError => new FabricError(code, message);
