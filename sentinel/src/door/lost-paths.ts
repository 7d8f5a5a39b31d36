// Nodes of naylence that attach again. Such a node has no resume token, takes a new instance id for each attach, and keeps the path of its
// first attach in the address of its reply mailbox. With another path, it would get no more answers. So its attach waits for the end of
// its lost session, and a connection that it no longer uses is closed.
import type { Clock, Logger, NodeAttach, Timer } from '@fame-fabric/shared';
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { CLOSE } from '../close-codes.ts';
import type { Session } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';

/** Longest time that an attach waits, in ms: nodes of naylence give up after 10 s. */
const LONGEST_WAIT_MS = 8_000;

/** Time without a message after which a connection counts as unused, in ms: nodes of naylence send a heartbeat every 15 s. */
const UNUSED_AFTER_MS = 20_000;
/** Accuracy of the time of the last message, in ms. */
const CLOCK_STEP_MS = 2_000;

interface Waiting {
  readonly proceed: () => void;
  readonly timer: Timer;
}

/**
 * Returns the session that the node lost, if the node must wait for its path. `sessions` are those with its system id. The path of a lost
 * session stays free for the process that can resume it, so any other node gets it only when the session ends.
 */
export function lostSession(
  { originType, instanceId, capabilities, resumeToken }: NodeAttach,
  principalId: string,
  sessions: Iterable<Session>,
): Session | undefined {
  if (originType !== 'downstream' || resumeToken || capabilities?.includes(CANCEL_CAPABILITY))
    return undefined;
  let lost: Session | undefined;
  for (const session of sessions) {
    const { kind, state, terms } = session;
    if (kind !== 'node' || terms.principal.id !== principalId) continue;
    if (terms.instanceId === instanceId) return undefined;
    if (state === 'detached' && !terms.acceptsCancel) lost ??= session;
  }
  return lost;
}

export interface LostPathsDeps {
  readonly clock: Clock;
  readonly sessions: Sessions;
  readonly log: Logger;
}

export class LostPaths {
  readonly #deps: LostPathsDeps;
  /** One attach for each session: a second copy of the same script gets a path of its own at once. */
  readonly #waiting = new Map<Session, Waiting>();

  constructor(deps: LostPathsDeps) {
    this.#deps = deps;
  }

  /** Calls `proceed` when `session` ends or has a connection again, or after 8 s. Returns `false` if another attach waits for it. */
  wait(session: Session, proceed: () => void): boolean {
    if (this.#waiting.has(session)) return false;
    const timer = this.#deps.clock.after(LONGEST_WAIT_MS, () => this.#proceed(session));
    this.#waiting.set(session, { proceed, timer });
    return true;
  }

  /** Forgets the attach that waits for `session`. */
  cancel(session: Session): void {
    this.#waiting.get(session)?.timer.stop();
    this.#waiting.delete(session);
  }

  /** Lets the attach proceed that waits for `session`, which has ended or has a connection again. */
  settled(session: Session): void {
    if (this.#waiting.has(session)) this.#proceed(session);
  }

  /**
   * Ends the connection of `holder` if it brings no message for 20 s, although it answers pings: its node has opened another one, `next`.
   * Then `next` is closed too, so that the node attaches again and gets the path of `holder`.
   */
  watch(holder: Session, next: Session): void {
    const { clock, log, sessions } = this.#deps;
    clock.after(UNUSED_AFTER_MS, () => {
      const isUnused =
        holder.state === 'attached' && holder.sinceMessageMs >= UNUSED_AFTER_MS - CLOCK_STEP_MS;
      if (!isUnused || next.state !== 'attached') return;
      log.warn('closed a connection that its node no longer uses', { path: holder.path });
      sessions.end(holder, CLOSE.goingAway, 'the node has attached again');
      sessions.end(next, CLOSE.serviceRestart, 'attach again: the former path of the node is free');
    });
  }

  #proceed(session: Session): void {
    const { proceed } = this.#waiting.get(session)!;
    this.cancel(session);
    proceed();
  }
}

/** The sessions that may be other connections of the node at `session`. */
export function* otherConnections(session: Session, sessions: Iterable<Session>): Iterable<Session> {
  const { kind, terms } = session;
  if (kind !== 'node' || terms.acceptsCancel) return;
  for (const other of sessions) {
    const isOther = other !== session && other.kind === 'node' && other.state === 'attached';
    if (isOther && !other.terms.acceptsCancel && other.terms.principal.id === terms.principal.id) yield other;
  }
}
