// The fabric of the doors over a pool of links. `embedded-source.ts` and `remote-source.ts` identify callers and attach their links.

import type { Client } from '@fame-fabric/client';
import { type Clock, type Logger, newId, type Timer } from '@fame-fabric/shared';
import { LONGEST_TIMER_MS } from '@fame-fabric/shared/internal';
import type { ServedAddress } from '@fame-fabric/shared/router';
import type { CardCache } from './card-cache.ts';
import { Catalogue } from './catalogue.ts';
import type { DoorFabric, Visitor, VisitRequest } from './door-fabric.ts';
import { type Identity, Links, type LinksOptions } from './links.ts';

/** Time between the end of a link and the end of its responses, in ms, in which they can report the error. */
const REPORT_MS = 1_000;
/** Time after the expiry of a credential in which its link normally ends by itself and reports the error, in ms. */
const EXPIRY_MS = 4_000;

/** Source of the principals and the addresses. */
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
  readonly #clock: Clock;

  constructor({ source, clock, log }: LinkFabricDeps, options: LinksOptions) {
    this.#source = source;
    this.#clock = clock;
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
      onEnd: (run) => this.#onEnd(client, identity, run),
      release,
      [Symbol.dispose]: release,
    };
  }

  // The link may have attached with a credential that is valid for longer than the one of the request.
  #onEnd(client: Client, { expiresAt }: Identity, run: () => void): () => void {
    const timers: Timer[] = [];
    const after = (ms: number): void => {
      if (ms <= LONGEST_TIMER_MS) timers.push(this.#clock.after(ms, run));
    };
    const stopListening = client.onState((state) => {
      if (state === 'closed') after(REPORT_MS);
    });
    if (client.state === 'closed') after(REPORT_MS);
    if (expiresAt !== undefined) after(Math.max(0, expiresAt - this.#clock.now()) + EXPIRY_MS);
    return () => {
      stopListening();
      for (const timer of timers) timer.stop();
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
  { clock, cards }: { clock: Clock; cards: CardCache },
): Catalogue =>
  new Catalogue({
    describe: (address, timeoutMs) => client.call(address, 'describe', {}, { timeoutMs }),
    addresses,
    readCard: cards.read,
    clock,
  });

/** System id of a new door link. `npx fame-fabric ps` shows it. */
export const doorSystemId = (): string => `door-${newId()}`;
