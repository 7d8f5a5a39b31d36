// Principals of doors in the process of a sentinel. The sentinel verifies each request, and links attach without a socket.
import { connect } from '@fame-fabric/client';
import { openLinkSignatures, sidOf } from '@fame-fabric/shared/node';
import type { DoorGrant, DoorHost } from '@fame-fabric/shared/router';
import { CardCache } from './card-cache.ts';
import { isRefusedCredential } from './credential-codes.ts';
import { catalogueOf, doorSystemId, type FabricSource } from './link-fabric.ts';
import type { AttachedLink, Identity } from './links.ts';

const URL_IN_MEMORY = 'memory://sentinel';
const CONNECT_TIMEOUT_MS = 5_000;

export class EmbeddedSource implements FabricSource {
  readonly #host: DoorHost;
  readonly #cards = new CardCache();

  constructor(host: DoorHost) {
    this.#host = host;
  }

  async identify(request: Parameters<DoorHost['authenticate']>[0]): Promise<Identity> {
    const host = this.#host;
    const grant = await host.authenticate(request);
    return {
      key: keyOf(grant),
      expiresAt: grant.expiresAt,
      hasEnded: () => host.hasEnded(grant),
      connect: (onRefused) => this.#connect(grant, onRefused),
    };
  }

  async #connect(grant: DoorGrant, onRefused: () => void): Promise<AttachedLink> {
    const host = this.#host;
    const { clock, log } = host;
    const client = await connect({
      url: URL_IN_MEMORY,
      dial: host.dial(grant),
      systemId: doorSystemId(),
      signatures: host.isSigned ? await openLinkSignatures('overlay') : undefined,
      sidOf,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      onAttachFailed: (error) => {
        if (isRefusedCredential(error)) onRefused();
      },
      clock,
      log,
    });
    return {
      client,
      principal: grant.principal.id,
      catalogue: catalogueOf(client, () => host.addresses(), { clock, cards: this.#cards }),
    };
  }

  async close(): Promise<void> {
    // The sentinel owns the connections.
  }
}

// Tokens of one principal may have different scopes, and a link has the scopes of its attach.
const keyOf = ({ principal }: DoorGrant): string => {
  const { id, roles, scopes, claims, rights, allow } = principal;
  return JSON.stringify([id, roles, scopes, claims, rights, allow]);
};
