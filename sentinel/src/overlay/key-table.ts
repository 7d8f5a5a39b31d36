// The public keys of nodes by their ids, each with the session that it belongs to or was announced by. A key verifies messages of
// that session only, and names a path at or below the path of that session.
import type { Clock } from '@fame-fabric/shared';
import { type Jwk, type VerifyKey, verifyKeyOf } from '@fame-fabric/shared/signature';
import { isStranger, type Session } from '../session/session.ts';

/** Keys that one child sentinel, parent or peer may announce. */
const MAX_ANNOUNCED = 65_536;
/** The same for a node without a credential. */
const MAX_ANNOUNCED_BY_STRANGER = 4_096;
/** Time for which the key of a node that has left is still given to the receivers of its last messages, in ms. */
const KEPT_MS = 60_000;
const MAX_DEPARTED = 4_096;

/** A key of a node, as receivers ask for it. */
export interface NodeKey {
  readonly jwk: Jwk;
  /** Path of the node. */
  readonly path: string;
}

interface Entry extends NodeKey {
  readonly session: Session;
  verifyKey: VerifyKey | undefined;
}

export class KeyTable {
  readonly #clock: Clock;
  readonly #byKid = new Map<string, Entry>();
  /** Keys of the node itself. */
  readonly #own = new Map<Session, readonly string[]>();
  /** Keys of other nodes that a session announced, oldest first. */
  readonly #announced = new Map<Session, Set<string>>();
  /** Keys of nodes that have left, oldest first. They verify nothing. */
  readonly #departed = new Map<string, NodeKey & { readonly at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#byKid.size;
  }

  /** The key with this id, also if its node has left within the last minute. */
  find(kid: string): NodeKey | undefined {
    const entry = this.#byKid.get(kid);
    if (entry !== undefined) return entry;
    const departed = this.#departed.get(kid);
    return departed !== undefined && this.#clock.monotonic() - departed.at < KEPT_MS ? departed : undefined;
  }

  /** The key with which messages of `session` may be signed. */
  verifyKey(session: Session, kid: string): VerifyKey | undefined {
    const entry = this.#byKid.get(kid);
    if (entry?.session !== session || entry.jwk.use !== 'sig') return undefined;
    entry.verifyKey ??= verifyKeyOf(entry.jwk, entry.path);
    return entry.verifyKey;
  }

  /** True if the id of a key is that of a node at another path. */
  isTaken(kid: string, path: string): boolean {
    const entry = this.#byKid.get(kid);
    return entry !== undefined && entry.path !== path;
  }

  /** The keys of the node at `session` itself. */
  *ofNode(session: Session): Iterable<NodeKey> {
    for (const kid of this.#own.get(session) ?? []) yield this.#byKid.get(kid)!;
  }

  /** All keys by path. */
  byPath(): Map<string, Jwk[]> {
    const keys = new Map<string, Jwk[]>();
    for (const { jwk, path } of this.#byKid.values()) {
      const ofPath = keys.get(path);
      if (ofPath === undefined) keys.set(path, [jwk]);
      else ofPath.push(jwk);
    }
    return keys;
  }

  /** Replaces the keys of the node at `session`. Ids of other nodes' keys are left out. */
  setOwn(session: Session, jwks: readonly Jwk[]): void {
    for (const kid of this.#own.get(session) ?? []) this.#byKid.delete(kid);
    const { path } = session;
    const added = jwks.filter(({ kid }) => !this.isTaken(kid, path));
    for (const jwk of added) this.#add({ jwk, path, session, verifyKey: undefined });
    this.#own.set(
      session,
      added.map(({ kid }) => kid),
    );
  }

  /** Adds keys that a sentinel announced for a node below it. Ids of other nodes' keys are left out. */
  announce(session: Session, path: string, jwks: readonly Jwk[]): readonly Jwk[] {
    let announced = this.#announced.get(session);
    if (announced === undefined) {
      announced = new Set();
      this.#announced.set(session, announced);
    }
    const limit = isStranger(session) ? MAX_ANNOUNCED_BY_STRANGER : MAX_ANNOUNCED;
    const added = jwks.filter(({ kid }) => !this.isTaken(kid, path));
    for (const jwk of added) {
      announced.delete(jwk.kid);
      if (announced.size >= limit) {
        const oldest = announced.values().next().value!;
        announced.delete(oldest);
        this.#byKid.delete(oldest);
      }
      announced.add(jwk.kid);
      this.#add({ jwk, path, session, verifyKey: undefined });
    }
    return added;
  }

  /** Removes the keys of a session that has ended. */
  remove(session: Session): void {
    const at = this.#clock.monotonic();
    for (const kid of this.#own.get(session) ?? []) {
      const entry = this.#byKid.get(kid);
      // The node has attached again, with the same key and a new session.
      if (entry?.session !== session) continue;
      this.#byKid.delete(kid);
      this.#departed.delete(kid);
      this.#departed.set(kid, { jwk: entry.jwk, path: entry.path, at });
    }
    for (const kid of this.#announced.get(session) ?? []) this.#byKid.delete(kid);
    this.#own.delete(session);
    this.#announced.delete(session);
    for (const [kid, departed] of this.#departed) {
      if (this.#departed.size <= MAX_DEPARTED && at - departed.at < KEPT_MS) break;
      this.#departed.delete(kid);
    }
  }

  #add(entry: Entry): void {
    this.#byKid.set(entry.jwk.kid, entry);
    this.#departed.delete(entry.jwk.kid);
  }
}
