// The fabric of the doors over a pool of links. `embedded-source.ts` and `remote-source.ts` identify callers and attach their links.

import type { Client } from '@fame-fabric/client';
import { type Clock, type Logger, newId } from '@fame-fabric/shared';
import type { ServedAddress } from '@fame-fabric/shared/router';
import { Catalogue } from './catalogue.ts';
import type { DoorFabric, Visitor, VisitRequest } from './door-fabric.ts';
import { type Identity, Links, type LinksOptions } from './links.ts';

/** Where the principals and the addresses come from. */
export interface FabricSource {
  /** Verifies the credential of a request, or leaves that to the attach. @throws {AUTH_*} */
  identify(request: VisitRequest): Promise<Identity>;
  /** Releases the resources of the source. */
  close(): Promise<void>;
}

export interface LinkFabricDeps {
  source: FabricSource;
  clock: Clock;
  log: Logger;
}

export class LinkFabric implements DoorFabric {
  readonly #source: FabricSource;
  readonly #links: Links;

  constructor({ source, clock, log }: LinkFabricDeps, options: LinksOptions) {
    this.#source = source;
    this.#links = new Links({ clock, log }, options);
  }

  /** Number of links, for tests. */
  get linkCount(): number {
    return this.#links.size;
  }

  async visit(request: VisitRequest): Promise<Visitor> {
    const identity = await this.#source.identify(request);
    const { client, principal, catalogue, release, hold } = await this.#links.acquire(identity);
    return {
      client,
      principal,
      agents: () => catalogue.list(),
      agent: (name) => catalogue.find(name),
      hold,
      release,
      [Symbol.dispose]: release,
    };
  }

  async close(): Promise<void> {
    await this.#links.close();
    await this.#source.close();
  }
}

/** Creates the catalogue of a link. */
export const catalogueOf = (
  client: Client,
  addresses: () => Iterable<ServedAddress> | Promise<Iterable<ServedAddress>>,
  clock: Clock,
): Catalogue =>
  new Catalogue({
    describe: (address, timeoutMs) => client.call(address, 'describe', {}, { timeoutMs }),
    addresses,
    clock,
  });

/** System id of a new door link. `npx fame-fabric ps` shows it. */
export const doorSystemId = (): string => `door-${newId()}`;
