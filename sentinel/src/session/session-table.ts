// All sessions, by path and by system id, and the links to the parent and the peers. The router reads it for every
// message; `sessions.ts` alone changes it.
import { isUnder } from '@fame-fabric/shared/router';
import { addTo, removeFrom } from '../set-map.ts';
import type { Session } from './session.ts';
import { SilenceWheel } from './silence-wheel.ts';

export class SessionTable {
  /** Schedule of the silence checks of the sweeper. A new session is checked in the next sweep. */
  readonly silence = new SilenceWheel();
  readonly #byPath = new Map<string, Session>();
  readonly #bySystemId = new Map<string, Set<Session>>();
  readonly #peers = new Set<Session>();
  #members = 0;
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

  /** The session at `path`, else the one of the sentinel that it is below. */
  closest(path: string): Session | undefined {
    for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
      const session = this.#byPath.get(at);
      if (session) return session;
    }
    return undefined;
  }

  /** The parent and the peers. */
  uplinks(): Session[] {
    return this.#parent ? [this.#parent, ...this.#peers] : [...this.#peers];
  }

  /** The sentinel of the cluster, or the peer, whose path contains `path`. */
  peerOf(path: string): Session | undefined {
    if (this.#members > 0) {
      const end = path.indexOf('/', 1);
      const member = this.#byPath.get(end < 0 ? path : path.slice(0, end));
      if (member?.kind === 'member') return member;
    }
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
    this.silence.add(session, 1);
    this.#byPath.set(session.path, session);
    addTo(this.#bySystemId, session.systemId, session);
    if (session.kind === 'peer') this.#peers.add(session);
    if (session.kind === 'member') this.#members++;
    if (session.kind === 'parent') this.#parent = session;
  }

  remove(session: Session): void {
    this.silence.remove(session);
    if (this.#byPath.get(session.path) === session) this.#byPath.delete(session.path);
    if (session.kind === 'member') this.#members--;
    removeFrom(this.#bySystemId, session.systemId, session);
    this.#peers.delete(session);
    if (this.#parent === session) this.#parent = undefined;
  }
}
