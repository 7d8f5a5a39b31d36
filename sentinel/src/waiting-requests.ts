// Node requests whose ack waits, each for one address or capability. A request is attempted again when its address or capability
// changes. At its time limit it is answered in any case.
import type { Clock, Timer } from '@fame-fabric/shared';
import { isKeyed } from './access/access.ts';
import type { Session } from './session/session.ts';
import { addTo, removeFrom } from './set-map.ts';

/** Answers a request and returns true, or returns false if it must keep waiting. It must answer if `isLast` is true. */
export type Attempt = (isLast: boolean) => boolean;

/** The part of a session that a request needs. Another sentinel of the cluster requests for its nodes. */
export type Requester = Pick<Session, 'path'> & { readonly terms: Pick<Session['terms'], 'principal'> };

interface Waiting {
  readonly session: Requester;
  readonly attempt: Attempt;
  readonly timer: Timer;
}

/** Requests of one node for one key. Some nodes send each request twice; beyond this number the oldest is answered. */
const MAX_PER_NODE = 4;
/** Requests of all nodes without a key. Beyond this number a request is answered at once. */
export const MAX_ANONYMOUS = 16_384;

export class WaitingRequests {
  readonly #clock: Clock;
  /** By address or capability, oldest first. */
  readonly #byKey = new Map<string, Set<Waiting>>();
  readonly #bySession = new Map<Requester, Map<string, Set<Waiting>>>();
  /** Count of the requests of nodes without a key. */
  #anonymous = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Keys that requests of this node wait for. */
  countOf(session: Requester): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  isWaiting(key: string, session: Requester): boolean {
    return this.#bySession.get(session)?.has(key) ?? false;
  }

  hasKey(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** The nodes whose requests wait for this key. */
  *sessionsAt(key: string): Iterable<Requester> {
    for (const { session } of this.#byKey.get(key) ?? []) yield session;
  }

  add(key: string, session: Requester, attempt: Attempt, limitMs: number): void {
    if (this.#anonymous >= MAX_ANONYMOUS && !isKeyed(session.terms.principal)) {
      attempt(true);
      return;
    }
    const waiting: Waiting = {
      session,
      attempt,
      timer: this.#clock.after(limitMs, () => this.#end(key, waiting)),
    };
    this.#insert(key, waiting);
    const same = this.#bySession.get(session)!.get(key)!;
    if (same.size > MAX_PER_NODE) this.#end(key, same.values().next().value!);
  }

  /** Attempts the requests for this key again; answers all of them if `isLast` is true. */
  retry(key: string, isLast = false): void {
    for (const waiting of [...(this.#byKey.get(key) ?? [])]) {
      // An attempt may bind the address, and so lead to this function: it must not find the request again.
      if (!this.#remove(key, waiting)) continue;
      if (waiting.attempt(isLast)) waiting.timer.stop();
      else this.#insert(key, waiting);
    }
  }

  /** Answers the requests of one node for this key. */
  end(key: string, session: Requester): void {
    for (const waiting of [...(this.#bySession.get(session)?.get(key) ?? [])]) this.#end(key, waiting);
  }

  /** Drops the requests of a node that lost its connection. The node sends them again when it returns. */
  drop(session: Requester): void {
    for (const [key, waiting] of [...(this.#bySession.get(session) ?? [])]) {
      for (const each of [...waiting]) if (this.#remove(key, each)) each.timer.stop();
    }
  }

  #end(key: string, waiting: Waiting): void {
    if (!this.#remove(key, waiting)) return;
    waiting.timer.stop();
    waiting.attempt(true);
  }

  #insert(key: string, waiting: Waiting): void {
    addTo(this.#byKey, key, waiting);
    if (!isKeyed(waiting.session.terms.principal)) this.#anonymous++;
    let ofSession = this.#bySession.get(waiting.session);
    if (ofSession === undefined) {
      ofSession = new Map();
      this.#bySession.set(waiting.session, ofSession);
    }
    addTo(ofSession, key, waiting);
  }

  #remove(key: string, waiting: Waiting): boolean {
    if (!removeFrom(this.#byKey, key, waiting)) return false;
    if (!isKeyed(waiting.session.terms.principal)) this.#anonymous--;
    const ofSession = this.#bySession.get(waiting.session)!;
    removeFrom(ofSession, key, waiting);
    if (ofSession.size === 0) this.#bySession.delete(waiting.session);
    return true;
  }
}
