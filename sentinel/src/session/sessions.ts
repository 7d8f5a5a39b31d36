// All sessions and their lives: attached, detached for the resume window, gone. What the end of a session means for
// others happens here, once: its addresses go, its callers are told, its callees are told.
import { type Clock, isUnder, type Logger, type Timer } from '@fame-fabric/shared';
import type { Bindings } from '../bindings.ts';
import type { Counters } from '../http/metrics.ts';
import type { OpenCall, OpenCalls } from '../open-calls.ts';
import { cancelNotice, type Identity, nack } from '../replies.ts';
import type { Session } from './session.ts';
import type { Wire } from './wire.ts';

export interface SessionsParts {
  self: Identity;
  clock: Clock;
  bindings: Bindings;
  calls: OpenCalls;
  counters: Counters;
  log: Logger;
}

/** What uplinks want to know when a node's addresses go. */
export type Unbound = (session: Session, left: { addresses: string[]; capabilities: string[] }) => void;

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #resumeWindowMs: number;
  readonly #byPath = new Map<string, Session>();
  readonly #bySystemId = new Map<string, Set<Session>>();
  readonly #expiry = new Map<Session, Timer>();
  readonly #orphanTimers = new Set<Timer>();
  readonly #peers = new Set<Session>();
  /** The link to the parent sentinel while there is one. */
  parent: Session | undefined;
  /** Told whenever addresses went with their node. */
  onUnbound: Unbound = () => {};
  /** Told after a call was opened or closed by the end of a session; drain waits on it. */
  onEnded: () => void = () => {};

  constructor(parts: SessionsParts, options: { resumeWindowMs: number }) {
    this.#parts = parts;
    this.#resumeWindowMs = options.resumeWindowMs;
  }

  get size(): number {
    return this.#byPath.size;
  }

  byPath(path: string): Session | undefined {
    return this.#byPath.get(path);
  }

  /** The peer that `path` lies with. */
  peerOf(path: string): Session | undefined {
    for (const peer of this.#peers) if (isUnder(path, peer.path)) return peer;
    return undefined;
  }

  get peers(): ReadonlySet<Session> {
    return this.#peers;
  }

  /** Sessions of nodes that call themselves so; copies of one script share a systemId. */
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
    if (session.kind === 'parent') this.parent = session;
  }

  /** The connection of a session ended: it may come back within the resume window, unless it said goodbye (`hasLeft`). */
  detach(session: Session, wire: Wire, hasLeft = false): void {
    // A session that another connection has picked up already is not touched by the end of the old one.
    if (session.wire !== wire || session.state !== 'attached') return;
    const { bindings, clock, counters } = this.#parts;
    counters.detached++;
    session.detach();
    this.#unbind(session, bindings);
    if (hasLeft || session.kind !== 'node' || this.#resumeWindowMs === 0) {
      this.#dispose(session);
      return;
    }
    this.#expiry.set(
      session,
      clock.after(this.#resumeWindowMs, () => this.#dispose(session)),
    );
  }

  /**
   * A connection picks a detached or displaced session up. Another instance of the program knows nothing of the calls of
   * the one before it: what that one asked is given up, what it was asked is answered within the resume window (a journal
   * may still know it) or its callers are told.
   */
  resume(session: Session, wire: Wire, instanceId: string): void {
    const { calls, clock } = this.#parts;
    this.#expiry.get(session)?.stop();
    this.#expiry.delete(session);
    if (instanceId !== session.instanceId) {
      session.instanceId = instanceId;
      for (const call of calls.takeMadeBy(session)) this.tellCallee(call, 'caller-gone');
      const orphans = calls.servedBy(session, this.#byPath.values());
      if (orphans.length > 0) this.#answerOrphans(orphans, clock);
    }
    session.resume(wire);
  }

  #answerOrphans(orphans: readonly OpenCall[], clock: Clock): void {
    const timer = clock.after(this.#resumeWindowMs, () => {
      this.#orphanTimers.delete(timer);
      this.#endCalls(orphans);
    });
    this.#orphanTimers.add(timer);
  }

  // Tells the callers of those calls that are still open.
  #endCalls(ended: readonly OpenCall[]): void {
    const { calls } = this.#parts;
    for (const call of ended) {
      if (!calls.isOpen(call)) continue;
      calls.close(call);
      this.#tellCaller(call);
    }
    this.onEnded();
  }

  /** Closes the connection of a session and ends it at once, without a resume window. */
  end(session: Session, code: number, reason: string): void {
    const { wire } = session;
    if (session.state === 'gone') return;
    if (session.state === 'attached') this.#parts.counters.detached++;
    this.#unbind(session, this.#parts.bindings);
    this.#dispose(session);
    wire?.close(code, reason);
  }

  #unbind(session: Session, bindings: Bindings): void {
    const left = bindings.removeAll(session);
    if (left.addresses.length > 0 || left.capabilities.length > 0) this.onUnbound(session, left);
  }

  #dispose(session: Session): void {
    if (session.state === 'gone') return;
    this.#expiry.get(session)?.stop();
    this.#expiry.delete(session);
    session.dispose();
    if (this.#byPath.get(session.path) === session) this.#byPath.delete(session.path);
    const copies = this.#bySystemId.get(session.systemId);
    copies?.delete(session);
    if (copies?.size === 0) this.#bySystemId.delete(session.systemId);
    this.#peers.delete(session);
    if (this.parent === session) this.parent = undefined;

    const { calls } = this.#parts;
    for (const call of calls.takeMadeBy(session)) this.tellCallee(call, 'caller-gone');
    this.#endCalls(calls.servedBy(session, this.#byPath.values()));
  }

  #tellCaller(call: OpenCall): void {
    const reason = 'The node that was handling the call has left';
    call.caller.sendControl(nack(this.#parts.self, call, 'NODE_GONE', reason));
  }

  /** Hands a cancel on to the callee, if it takes them. */
  tellCallee(call: OpenCall, reason: string): void {
    if (!call.callee.takesCancel) return;
    call.callee.sendControl(cancelNotice(this.#parts.self, call.corrId, call.replyTo, reason));
  }

  /** Stops the timers of all resume windows. */
  stop(): void {
    for (const timer of [...this.#expiry.values(), ...this.#orphanTimers]) timer.stop();
    this.#expiry.clear();
    this.#orphanTimers.clear();
  }
}
