// The links of the principals that use the doors: one for each principal, so that agents see the caller and not the door.
//
// Invariants: I1 a link is used only for the principal and the rights that it attached with. I2 a link in use is closed only when its
// credential ends, or with the pool. I3 there are never more than `maxLinks` links.
import type { Client } from '@fame-fabric/client';
import { type Clock, FabricError, isFabricError, type Logger, type Timer } from '@fame-fabric/shared';
import type { Catalogue } from './catalogue.ts';

/** Time limit of an attach, in ms. */
const ATTACH_MS = 5_000;

/** Maximum number of links that attach at the same time. In a separate process, each wrong credential costs an attach. */
const MAX_ATTACHING = 64;

/** A caller whose credential was accepted. */
export interface Identity {
  /** Distinguishes principals and their rights. It contains no secret. */
  readonly key: string;
  /** Wall time in ms since the epoch at which the credential expires. @default it does not expire */
  readonly expiresAt?: number | undefined;
  /** True if the credential expired or was revoked. */
  hasEnded(): boolean;
  /**
   * Attaches. `onRefused` is called when the credential is refused at a later attach.
   * @throws the errors of `connect`
   */
  connect(onRefused: () => void): Promise<AttachedLink>;
}

export interface AttachedLink {
  readonly client: Client;
  /** Distinguishes principals. */
  readonly principal: string;
  readonly catalogue: Catalogue;
}

export interface LinksDeps {
  clock: Clock;
  log: Logger;
}

export interface LinksOptions {
  readonly maxLinks: number;
  readonly idleMs: number;
}

/** One link and its users. */
class PooledLink {
  readonly identity: Identity;
  readonly attached: Promise<AttachedLink>;
  uses = 0;
  /** Runs while the link is not in use. */
  idleTimer: Timer | undefined;
  /** True if new requests must not use the link. */
  isRetired = false;

  constructor(identity: Identity, attached: Promise<AttachedLink>) {
    this.identity = identity;
    this.attached = attached;
  }
}

export class Links {
  readonly #deps: LinksDeps;
  readonly #options: LinksOptions;
  /** By key; the least recently used one first. */
  readonly #byKey = new Map<string, PooledLink>();
  readonly #all = new Set<PooledLink>();
  #attaching = 0;
  #isClosed = false;

  constructor(deps: LinksDeps, options: LinksOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Number of links, for tests. */
  get size(): number {
    return this.#all.size;
  }

  /** Returns the link of a caller, and counts the use until `release`. @throws the errors of `DoorFabric.visit` */
  async acquire(identity: Identity): Promise<AttachedLink & { release(): void; hold(): () => void }> {
    if (this.#isClosed) throw new FabricError('LINK_CLOSED', 'The doors are closing');
    const link = this.#current(identity) ?? this.#open(identity);
    const release = this.#use(link);
    try {
      const attached = await link.attached;
      await this.#whenAttached(attached.client);
      return { ...attached, release, hold: () => this.#use(link) };
    } catch (error) {
      release();
      throw error;
    }
  }

  #current({ key, expiresAt = Number.POSITIVE_INFINITY }: Identity): PooledLink | undefined {
    const link = this.#byKey.get(key);
    if (link === undefined) return undefined;
    const { identity } = link;
    // A renewed credential is valid for longer than the link of the earlier one.
    const isShorter = (identity.expiresAt ?? Number.POSITIVE_INFINITY) < expiresAt;
    if (!isShorter && !identity.hasEnded()) {
      this.#byKey.delete(key);
      this.#byKey.set(key, link);
      return link;
    }
    this.#retire(link);
    return undefined;
  }

  #open(identity: Identity): PooledLink {
    if (this.#attaching >= MAX_ATTACHING) throw busy('Too many callers attach at the same time');
    this.#makeRoom();
    this.#attaching++;
    const connecting = Promise.withResolvers<AttachedLink>();
    const link = new PooledLink(identity, connecting.promise);
    this.#byKey.set(identity.key, link);
    this.#all.add(link);
    identity
      .connect(() => this.#close(link))
      .then(
        (attached) => {
          connecting.resolve(attached);
          attached.client.onState((state) => {
            if (state === 'closed') this.#close(link);
          });
        },
        (error: unknown) => {
          connecting.reject(attachError(error));
          this.#close(link);
        },
      )
      .finally(() => {
        this.#attaching--;
      });
    // Each caller waits for the promise too.
    connecting.promise.catch(() => {});
    return link;
  }

  #makeRoom(): void {
    const { maxLinks } = this.#options;
    if (this.#all.size < maxLinks) return;
    for (const link of this.#byKey.values()) {
      if (link.uses > 0) continue;
      this.#close(link);
      return;
    }
    throw busy(`The doors serve ${maxLinks} principals at the same time already`);
  }

  #use(link: PooledLink): () => void {
    link.uses++;
    link.idleTimer?.stop();
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      link.uses--;
      if (link.uses > 0 || !this.#all.has(link)) return;
      if (link.isRetired) this.#close(link);
      else link.idleTimer = this.#deps.clock.after(this.#options.idleMs, () => this.#close(link));
    };
  }

  /** Gives the link to no new requests. Current requests finish on it. */
  #retire(link: PooledLink): void {
    link.isRetired = true;
    if (this.#byKey.get(link.identity.key) === link) this.#byKey.delete(link.identity.key);
    if (link.uses === 0 || link.identity.hasEnded()) this.#close(link);
  }

  #close(link: PooledLink): void {
    if (!this.#all.delete(link)) return;
    link.isRetired = true;
    link.idleTimer?.stop();
    if (this.#byKey.get(link.identity.key) === link) this.#byKey.delete(link.identity.key);
    link.attached.then(
      ({ client }) => void client.close(),
      () => {},
    );
  }

  // A link reconnects by itself. Requests wait for it briefly and then fail, so that clients learn of the loss.
  #whenAttached(client: Client): Promise<void> | undefined {
    if (client.state === 'attached') return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stop = client.onState((state) => {
      if (state === 'attached') resolve();
      if (state === 'closed') reject(new FabricError('LINK_CLOSED', 'The connection to the sentinel ended'));
    });
    const timer = this.#deps.clock.after(ATTACH_MS, () =>
      reject(new FabricError('LINK_TIMEOUT', 'The connection to the sentinel was lost')),
    );
    return promise.finally(() => {
      stop();
      timer.stop();
    });
  }

  /** Closes all links. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const clients = [...this.#all].map(({ attached }) =>
      attached.then(
        ({ client }) => client.close(),
        () => {},
      ),
    );
    for (const link of this.#all) this.#close(link);
    await Promise.all(clients);
  }
}

const busy = (message: string): FabricError =>
  new FabricError('QUOTA_EXCEEDED', message, { details: { retryAfterMs: 1_000 } });

/** The details of a refused attach have the code of the reason, such as an exceeded quota. */
function attachError(error: unknown): unknown {
  if (!isFabricError(error, 'LINK_REFUSED') || error.details?.code !== 'QUOTA_EXCEEDED') return error;
  return new FabricError('QUOTA_EXCEEDED', error.message, { details: error.details, cause: error });
}
