// Principals of doors in a separate process. The sentinel verifies each credential at the attach of its link. The key of this process is
// never used for a caller.
//
// Invariant: no map contains the text of a credential. The pool has its digest, and a link keeps the text to attach again.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { type Client, type ConnectOptions, connect } from '@fame-fabric/client';
import { type Clock, type Dial, isFabricError, type Logger } from '@fame-fabric/shared';
import { type NodeSecurityProfile, openLinkSignatures, sidOf } from '@fame-fabric/shared/node';
import { FabricError, type ServedAddress } from '@fame-fabric/shared/router';
import { CardCache } from './card-cache.ts';
import { isRefusedCredential } from './credential-codes.ts';
import type { VisitRequest } from './door-fabric.ts';
import { catalogueOf, doorSystemId, type FabricSource } from './link-fabric.ts';
import type { AttachedLink, Identity } from './links.ts';

const BEARER = /^bearer +([\x21-\x7e]+)$/i;
const KEY_PREFIX = 'fk_';
const CONNECT_TIMEOUT_MS = 5_000;
const ANONYMOUS_KEY = 'anonymous';

export interface RemoteSourceDeps {
  /** Admission URL of the sentinel. */
  url: string;
  dial: Dial;
  /** The addresses that nodes serve now. */
  addresses: () => Promise<Iterable<ServedAddress>>;
  securityProfile?: NodeSecurityProfile | undefined;
  clock: Clock;
  log: Logger;
}

export class RemoteSource implements FabricSource {
  readonly #deps: RemoteSourceDeps;
  readonly #cards = new CardCache();
  /** True once the sentinel has admitted a link without a credential: it is in open mode. */
  #isOpen = false;

  constructor(deps: RemoteSourceDeps) {
    this.#deps = deps;
  }

  /** Finds out whether the sentinel asks for credentials. @throws {LINK_TIMEOUT | LINK_REFUSED} if it cannot be reached */
  async probe(connectTimeoutMs: number): Promise<{ isCredentialNeeded: boolean }> {
    try {
      const client = await this.#attach(undefined, () => {}, connectTimeoutMs);
      await client.close();
      this.#isOpen = true;
      return { isCredentialNeeded: false };
    } catch (error) {
      if (isRefusedCredential(error)) return { isCredentialNeeded: true };
      throw error;
    }
  }

  async identify({ headers }: VisitRequest): Promise<Identity> {
    const token = tokenOf(headers);
    // In open mode, clients send a placeholder, because their libraries require a key. A text with dots may be a real token.
    const isPlaceholder = token !== undefined && !token.startsWith(KEY_PREFIX) && !token.includes('.');
    if (token === undefined || (isPlaceholder && this.#isOpen))
      return this.#identity(ANONYMOUS_KEY, undefined);
    return this.#identity(`token:${digestOf(token)}`, token);
  }

  #identity(key: string, token: string | undefined): Identity {
    return {
      key,
      // The sentinel closes the link of a credential that has ended.
      hasEnded: () => false,
      connect: (onRefused) => this.#connect(key, token, onRefused),
    };
  }

  async #connect(key: string, token: string | undefined, onRefused: () => void): Promise<AttachedLink> {
    const { addresses, clock } = this.#deps;
    const client = await this.#attachAs(token, onRefused);
    return {
      client,
      principal: client.principal?.id ?? key,
      catalogue: catalogueOf(client, addresses, { clock, cards: this.#cards }),
    };
  }

  async #attachAs(token: string | undefined, onRefused: () => void): Promise<Client> {
    try {
      const client = await this.#attach(token, onRefused, CONNECT_TIMEOUT_MS);
      if (token === undefined) this.#isOpen = true;
      return client;
    } catch (error) {
      if (token === undefined) {
        this.#isOpen = false;
        throw error;
      }
      if (token.startsWith(KEY_PREFIX) || !isFabricError(error, 'AUTH_INVALID')) throw error;
      // Attach without it: a sentinel in open mode admits the caller, and another one confirms that the token is wrong.
      try {
        const client = await this.#attach(undefined, onRefused, CONNECT_TIMEOUT_MS);
        this.#isOpen = true;
        return client;
      } catch {
        throw error;
      }
    }
  }

  async #attach(token: string | undefined, onRefused: () => void, connectTimeoutMs: number): Promise<Client> {
    const { url, dial, securityProfile, clock, log } = this.#deps;
    const options: ConnectOptions = {
      url,
      dial,
      token,
      systemId: doorSystemId(),
      signatures: await openLinkSignatures(securityProfile),
      sidOf,
      connectTimeoutMs,
      onAttachFailed: (error) => {
        if (isRefusedCredential(error)) onRefused();
      },
      clock,
      log,
    };
    return connect(options);
  }

  async close(): Promise<void> {
    // The links are closed by their pool.
  }
}

/** @throws {AUTH_INVALID} if the header has another form */
function tokenOf({ authorization, 'x-api-key': apiKey }: IncomingHttpHeaders): string | undefined {
  if (authorization === undefined) return typeof apiKey === 'string' && apiKey !== '' ? apiKey : undefined;
  const token = BEARER.exec(authorization)?.[1];
  if (token !== undefined) return token;
  throw new FabricError('AUTH_INVALID', 'The Authorization header must be "Bearer TOKEN"');
}

const digestOf = (token: string): string => createHash('sha256').update(token).digest('base64url');
