// All sessions, by path and by system id, and the links to the parent and the peers. The router reads it for every
// message; `sessions.ts` alone changes it.
import { isUnder } from '@fame-fabric/shared/router';
import type { Session } from './session.ts';

export class SessionTable {
  readonly #byPath = new Map<string, Session>();
  readonly #bySystemId = new Map<string, Set<Session>>();
  readonly #peers = new Set<Session>();
  #parent: Session | undefined;

  get size(): number {
    return this.#byPath.size;
  }

  /** The link to the parent sentinel, while there is one. */
  get parent(): Session | undefined {
    return this.#parent;
  }

  get peers(): ReadonlySet<Session> {
    return this.#peers;
  }

  byPath(path: string): Session | undefined {
    return this.#byPath.get(path);
  }

  /** The peer whose path contains `path`. */
  peerOf(path: string): Session | undefined {
    for (const peer of this.#peers) if (isUnder(path, peer.path)) return peer;
    return undefined;
  }

  /** Sessions with this system id; copies of one script share it. */
  ofSystem(systemId: string): Iterable<Session> {
    return this.#bySystemId.get(systemId) ?? [];
  }

  all(): IterableIterator<Session> {
    return this.#byPath.values();
  }

  add(session: Session): void {
    this.#byPath.set(session.path, session);
    const copies = this.#bySystemId.get(session.systemId);
    if (copies) copies.add(session);
    else this.#bySystemId.set(session.systemId, new Set([session]));
    if (session.kind === 'peer') this.#peers.add(session);
    if (session.kind === 'parent') this.#parent = session;
  }

  remove(session: Session): void {
    if (this.#byPath.get(session.path) === session) this.#byPath.delete(session.path);
    const copies = this.#bySystemId.get(session.systemId);
    copies?.delete(session);
    if (copies?.size === 0) this.#bySystemId.delete(session.systemId);
    this.#peers.delete(session);
    if (this.#parent === session) this.#parent = undefined;
  }
}
