// Lifecycle of sessions: attached, detached for the resume window, gone. The consequences of an end are handled only here:
// its addresses are removed, callers and callees are notified.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import type { Quotas } from '../access/quotas.ts';
import type { Bindings, RemovedBindings } from '../bindings.ts';
import { CLOSE, detachReasonOf } from '../close-codes.ts';
import type { Counters, DetachReason } from '../counters.ts';
import type { Identity } from '../identity.ts';
import type { OpenCall, OpenCalls } from '../open-calls.ts';
import { cancelNotice, nack } from '../replies.ts';
import type { CoarseClock } from './coarse-clock.ts';
import type { NodeTransport } from './node-transport.ts';
import type { QueueBudget } from './queue-budget.ts';
import { type AttachTerms, type Renewal, Session, type SessionIdentity } from './session.ts';
import type { SessionTable } from './session-table.ts';

/** Minimum time that a resumed node has to bind its addresses again, in ms. */
const SETTLE_MS = 5_000;

export interface SessionsDeps {
  identity: Identity;
  clock: Clock;
  time: CoarseClock;
  budget: QueueBudget;
  table: SessionTable;
  bindings: Bindings;
  calls: OpenCalls;
  listener: SessionListener;
  quotas: Quotas;
  counters: Counters;
  log: Logger;
}

/** Receives the events that concern the bindings of nodes. */
export interface SessionListener {
  /** A node lost its connection. */
  lost(session: Session): void;
  /**
   * These addresses and capabilities of a node, which no other node serves, were removed. With `isFree` its key does not keep them.
   * @default false
   */
  removed(session: Session, removed: RemovedBindings, isFree?: boolean): void;
}

export class Sessions {
  readonly #deps: SessionsDeps;
  readonly #resumeWindowMs: number;
  /** Ends of the resume windows of sessions without a connection, oldest first. */
  readonly #expiry = new Map<Session, Timer>();
  /** Times at which resumed sessions lose the bindings that they have not repeated. */
  readonly #settling = new Map<Session, Timer>();
  readonly #orphanTimers = new Set<Timer>();
  /** Sessions whose credential expires. */
  readonly #withExpiry = new Set<Session>();

  constructor(deps: SessionsDeps, options: { resumeWindowMs: number }) {
    this.#deps = deps;
    this.#resumeWindowMs = options.resumeWindowMs;
  }

  /** Begins a session with its first connection. */
  open(identity: SessionIdentity, transport: NodeTransport, terms: AttachTerms): Session {
    const { budget, clock, time } = this.#deps;
    const session = new Session(identity, transport, terms, { time, budget, startedAt: clock.now() });
    this.#deps.table.add(session);
    session.quota = this.#deps.quotas.open(session);
    this.#trackCredential(session);
    return session;
  }

  /** Sessions whose credential expires, so that a sweep need not look at all sessions. */
  get withExpiry(): Iterable<Session> {
    return this.#withExpiry;
  }

  /** Count of the sessions with a connection. */
  get attachedCount(): number {
    return this.#deps.table.size - this.#expiry.size;
  }

  #trackCredential(session: Session): void {
    session.quota?.use(session.terms.principal);
    if (session.terms.expiresAt === undefined) this.#withExpiry.delete(session);
    else this.#withExpiry.add(session);
  }

  /** Continues a connection with a renewed credential of the same principal. */
  renew(session: Session, credential: Renewal): void {
    session.renew(credential);
    this.#trackCredential(session);
  }

  /**
   * Continues a session on a new connection, in place of a lost or an older one. Another instance of the program does not know
   * the calls of its predecessor. Calls that the predecessor made are cancelled. Calls that it served may still be answered
   * within the resume window, from a journal; then their callers are notified.
   */
  resume(session: Session, transport: NodeTransport, terms: AttachTerms): void {
    const { bindings, calls, clock, listener } = this.#deps;
    const replaced = session.transport;
    this.#stopTimers(session);
    if (bindings.reserve(session)) {
      this.#settling.set(
        session,
        clock.after(Math.max(this.#resumeWindowMs, SETTLE_MS), () => {
          this.#settling.delete(session);
          listener.removed(session, bindings.removeReserved(session));
        }),
      );
    }
    if (terms.instanceId !== session.terms.instanceId) {
      for (const call of calls.takeMadeBy(session)) this.cancelAtCallee(call, 'caller-gone');
      const orphans = calls.servedBy(session).filter(({ state }) => state === 'awaited');
      this.#expireOrphans(orphans);
      session.isDraining = false;
    }
    // Install the new connection before closing the old one, so that the old close handler sees it was replaced.
    session.resume(transport, terms);
    this.#trackCredential(session);
    replaced?.close(CLOSE.normal, 'replaced by a newer connection of the same node');
  }

  /** Handles the end of a connection. The node may resume within the window, unless it closed normally (`hasLeft`). */
  detach(
    session: Session,
    transport: NodeTransport,
    hasLeft = false,
    reason: DetachReason = hasLeft ? 'left' : 'lost',
  ): void {
    if (session.transport !== transport) return;
    const { bindings, clock, counters, listener } = this.#deps;
    counters.detach(reason);
    session.detach();
    listener.lost(session);
    this.#stopTimers(session);
    if (hasLeft || session.kind !== 'node' || this.#resumeWindowMs === 0) {
      this.#dispose(session);
      return;
    }
    bindings.reserve(session);
    session.resumeEndsAt = clock.monotonic() + this.#resumeWindowMs;
    this.#expiry.set(
      session,
      clock.after(this.#resumeWindowMs, () => this.#dispose(session)),
    );
  }

  /** Ends a session at once, without a resume window, and closes its connection. */
  end(session: Session, code: number, reason: string): void {
    if (session.state === 'gone') return;
    const { counters, listener } = this.#deps;
    const { transport } = session;
    if (transport !== undefined) counters.detach(detachReasonOf(code));
    listener.lost(session);
    this.#dispose(session);
    transport?.close(code, reason);
  }

  /**
   * Ends the oldest session without a connection of those that `mayEnd` admits, one without addresses if there is one. Returns
   * `false` if there is none.
   */
  endOldestDetached(mayEnd: (session: Session) => boolean): boolean {
    const { bindings } = this.#deps;
    let oldest: Session | undefined;
    for (const session of this.#expiry.keys()) {
      if (!mayEnd(session)) continue;
      oldest ??= session;
      if (bindings.addressesOf(session)?.size) continue;
      oldest = session;
      break;
    }
    if (oldest !== undefined) this.#dispose(oldest);
    return oldest !== undefined;
  }

  /** Ends the sessions of all nodes, so that they attach again. */
  endNodes(code: number, reason: string): void {
    for (const session of [...this.#deps.table.all()]) {
      if (session.kind === 'node') this.end(session, code, reason);
    }
  }

  /** Forwards the cancel of a call to its callee, if the callee accepts cancels. */
  cancelAtCallee({ callee, corrId, replyTo }: OpenCall, reason: string): void {
    if (!callee.terms.acceptsCancel) return;
    callee.outbound.sendControl(cancelNotice(this.#deps.identity, corrId, replyTo, reason));
  }

  /** Stops all timers. */
  stop(): void {
    const timers = [...this.#expiry.values(), ...this.#settling.values(), ...this.#orphanTimers];
    for (const timer of timers) timer.stop();
    this.#expiry.clear();
    this.#settling.clear();
    this.#orphanTimers.clear();
  }

  #stopTimers(session: Session): void {
    for (const timers of [this.#expiry, this.#settling]) {
      timers.get(session)?.stop();
      timers.delete(session);
    }
  }

  // Fails the calls after a resume window. Until then another process of their callee may answer them.
  #expireOrphans(orphans: readonly OpenCall[]): void {
    if (orphans.length === 0) return;
    const timer = this.#deps.clock.after(this.#resumeWindowMs, () => {
      this.#orphanTimers.delete(timer);
      this.#failCalls(orphans);
    });
    this.#orphanTimers.add(timer);
  }

  // True if the caller sends the request again until it is acknowledged, and the address has a new holder, who waited for it.
  #reachesSuccessor({ state, to, wantsAck, callee }: OpenCall): boolean {
    if (state !== 'awaited' || !wantsAck) return false;
    const successor = this.#deps.bindings.ownOwner(to);
    return successor?.state === 'attached' && successor.terms.principal.id === callee.terms.principal.id;
  }

  // Closes these entries and notifies the callers of those that are still open.
  #failCalls(failed: readonly OpenCall[]): void {
    const { calls, identity } = this.#deps;
    for (const call of failed) {
      const isAwaited = call.state === 'awaited';
      calls.close(call);
      if (!isAwaited) continue;
      const reason = 'The node that was handling the call has left';
      call.caller.outbound.sendControl(nack(identity, call, 'NODE_GONE', reason));
    }
  }

  /** Ends expired calls: their callers receive CALL_TIMEOUT, their callees a cancel. */
  endExpiredCalls(now: number): void {
    const { calls, identity } = this.#deps;
    for (const call of calls.takeExpired(now)) {
      const reason =
        'The sentinel ended the call: its deadline has passed, or it had no answer for 15 minutes';
      call.caller.outbound.sendControl(nack(identity, call, 'CALL_TIMEOUT', reason));
      this.cancelAtCallee(call, 'timeout');
    }
  }

  /** Ends an entry to make room for another one of its caller. Both ends of an open call are notified. */
  replaceCall(call: OpenCall): void {
    const { calls, identity } = this.#deps;
    const isAwaited = call.state === 'awaited';
    calls.close(call);
    if (!isAwaited) return;
    const reason = `The node reached its limit of open calls (${calls.maxOf(call.caller)}), and this call was idle for the longest time`;
    call.caller.outbound.sendControl(nack(identity, call, 'QUOTA_EXCEEDED', reason));
    this.cancelAtCallee(call, 'replaced');
  }

  #dispose(session: Session): void {
    if (session.state === 'gone') return;
    const { bindings, calls, listener, table } = this.#deps;
    this.#stopTimers(session);
    session.dispose();
    table.remove(session);
    this.#withExpiry.delete(session);
    listener.removed(session, bindings.removeAll(session));
    for (const call of calls.takeMadeBy(session)) this.cancelAtCallee(call, 'caller-gone');
    const served = calls.servedBy(session);
    this.#expireOrphans(served.filter((call) => this.#reachesSuccessor(call)));
    this.#failCalls(served.filter((call) => !this.#reachesSuccessor(call)));
    calls.forget(session);
    this.#deps.quotas.close(session);
  }
}
