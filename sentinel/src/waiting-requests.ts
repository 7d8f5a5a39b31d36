// Requests of nodes whose ack waits, each for one address or capability. A request is attempted again when that changes, and
// answered at its time limit in any case.
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Session } from './session/session.ts';

/** Answers a request and returns true, or returns false if it must wait on. It must answer if `isLast` is true. */
export type Attempt = (isLast: boolean) => boolean;

interface Waiting {
  readonly session: Session;
  readonly attempt: Attempt;
  readonly timer: Timer;
}

export class WaitingRequests {
  readonly #clock: Clock;
  /** By address or capability, oldest first. */
  readonly #byKey = new Map<string, Set<Waiting>>();
  readonly #keysOf = new Map<Session, Set<string>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Addresses and capabilities that requests of this node wait for. */
  countOf(session: Session): number {
    return this.#keysOf.get(session)?.size ?? 0;
  }

  isWaiting(key: string, session: Session): boolean {
    return this.#keysOf.get(session)?.has(key) ?? false;
  }

  hasKey(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** The nodes whose requests wait for this key. */
  *sessionsAt(key: string): Iterable<Session> {
    for (const { session } of this.#byKey.get(key) ?? []) yield session;
  }

  add(key: string, session: Session, attempt: Attempt, limitMs: number): void {
    const waiting: Waiting = {
      session,
      attempt,
      timer: this.#clock.after(limitMs, () => {
        if (this.#remove(key, waiting)) attempt(true);
      }),
    };
    this.#insert(key, waiting);
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
  end(key: string, session: Session): void {
    for (const waiting of [...(this.#byKey.get(key) ?? [])]) {
      if (waiting.session !== session || !this.#remove(key, waiting)) continue;
      waiting.timer.stop();
      waiting.attempt(true);
    }
  }

  /** Forgets the requests of a node that lost its connection: it sends them again when it returns. */
  drop(session: Session): void {
    for (const key of [...(this.#keysOf.get(session) ?? [])]) {
      for (const waiting of [...(this.#byKey.get(key) ?? [])]) {
        if (waiting.session === session && this.#remove(key, waiting)) waiting.timer.stop();
      }
    }
  }

  #insert(key: string, waiting: Waiting): void {
    const all = this.#byKey.get(key);
    if (all) all.add(waiting);
    else this.#byKey.set(key, new Set([waiting]));
    const keys = this.#keysOf.get(waiting.session);
    if (keys) keys.add(key);
    else this.#keysOf.set(waiting.session, new Set([key]));
  }

  #remove(key: string, waiting: Waiting): boolean {
    const all = this.#byKey.get(key);
    if (!all?.delete(waiting)) return false;
    if (all.size === 0) this.#byKey.delete(key);
    for (const { session } of all) if (session === waiting.session) return true;
    const keys = this.#keysOf.get(waiting.session);
    keys?.delete(key);
    if (keys?.size === 0) this.#keysOf.delete(waiting.session);
    return true;
  }
}
