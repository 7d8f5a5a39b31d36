// The one timer of an idle sentinel. Every two seconds it advances the coarse clock, pings silent nodes, ends expired
// calls, and closes nodes that stay silent, nodes that do not read and nodes whose credential expired or was revoked. No node has a
// timer of its own.
//
// The coarse clock stamps a message with the start of its tick, which is up to one tick early. So the limits are odd numbers of
// seconds, between two ticks: silence of 31 s is found at 32 s and is 30 to 32 s, a stall of 9 s is found at 10 s and is 8 to 10 s.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { timeText } from '@fame-fabric/shared/internal';
import type { Access, Revocations } from '../access/access.ts';
import type { PolicyChange } from '../access/policy-change.ts';
import type { Quotas } from '../access/quotas.ts';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import { type CoarseClock, TICK_MS } from './coarse-clock.ts';
import type { QueueBudget } from './queue-budget.ts';
import type { Session } from './session.ts';
import type { SessionTable } from './session-table.ts';
import type { Sessions } from './sessions.ts';

/** Silence after which a node is pinged: longer than the 15 s between heartbeats, so that only nodes that miss one are pinged. */
const PING_AFTER_MS = 17_000;
/** Silence after which a node is closed. */
const CLOSE_AFTER_MS = 31_000;
/** Time without progress of a queue after which its node is closed. */
const STALLED_MS = 9_000;
/** Time limit of a pong. Silence is measured separately, so this only ends the wait. */
const PONG_MS = 10_000;
/**
 * Time after a rotation in which sessions of the old key may still appear: a key is checked when the connection opens, and the node
 * attaches up to 5 s later.
 */
const REVOKE_FOR_MS = 6_000;
/** Closing a node with a smaller queue would free too little memory. */
const MIN_SHED_BYTES = 65_536;

export interface SweeperDeps {
  policyChange: PolicyChange;
  access: Access;
  quotas: Quotas;
  clock: Clock;
  time: CoarseClock;
  table: SessionTable;
  sessions: Sessions;
  budget: QueueBudget;
  memory: MemoryCeiling;
  /** Reads changed TLS files again. @default the port serves plain HTTP */
  tls?: { reload(): void } | undefined;
  counters: Counters;
  log: Logger;
}

export class Sweeper {
  readonly #deps: SweeperDeps;
  #timer: Timer | undefined;
  /** The check of the last sweep. A different one means that a key was rotated. */
  #revocations: Revocations;
  #revokeUntil = Number.NEGATIVE_INFINITY;

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
    this.#revocations = deps.access.revocations();
  }

  start(): void {
    this.#timer = this.#deps.clock.every(TICK_MS, () => this.sweep());
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  sweep(): void {
    const { access, budget, clock, policyChange, quotas, sessions, time, table, tls } = this.#deps;
    time.tick();
    policyChange.check();
    tls?.reload();
    sessions.endExpiredCalls(time.now);
    quotas.sweep();
    const isRevoked = access.revocations();
    if (isRevoked !== this.#revocations) {
      this.#revocations = isRevoked;
      this.#revokeUntil = time.now + REVOKE_FOR_MS;
    }
    // Not in each sweep: it would load the terms of every idle session into the caches.
    if (time.now <= this.#revokeUntil) {
      for (const session of table.all())
        if (isRevoked(session.terms.principal)) this.#endCredential(session, 'was revoked');
    }
    const now = clock.now();
    for (const session of sessions.withExpiry)
      if (now >= session.terms.expiresAt!) this.#endCredential(session, 'has expired');
    if (budget.needsSweep) {
      budget.swept();
      for (const session of table.all()) this.#checkQueue(session);
    }
    for (const session of table.silence.advance()) this.#checkSilence(session);
    this.#shed();
  }

  // The node may return with a valid credential, and resume.
  #endCredential(session: Session, event: 'was revoked' | 'has expired'): void {
    const { log, sessions } = this.#deps;
    const { path, terms, transport } = session;
    if (transport === undefined) return;
    log.warn(`closed a node: its credential ${event}`, { path, principal: terms.principal.id });
    sessions.detach(session, transport, false, 'credential');
    transport.onMessage = undefined;
    transport.close(CLOSE.credentialRevoked, `the credential of this node ${event}`);
  }

  // Closes the nodes with the largest queues while the process is above its ceiling, or the sockets above the budget of the
  // queues. Attaches are refused from the first sweep above the ceiling; nodes are closed from the second.
  #shed(): void {
    const { budget, counters, log, memory, sessions, table } = this.#deps;
    const wasExceeded = memory.isExceeded;
    const excess = Math.max(memory.check(), budget.excessBytes);
    if (memory.isExceeded !== wasExceeded) {
      const { ceilingBytes } = memory;
      if (wasExceeded) log.info('memory is below its ceiling again', { ceilingBytes });
      else log.warn('memory is above its ceiling: attaches are refused', { ceilingBytes });
    }
    if (excess === 0 || (memory.isExceeded && !wasExceeded)) return;
    const heldBytes = ({ outbound, transport }: Session): number =>
      outbound.bytes + (transport?.bufferedBytes ?? 0);
    const largest = [...table.all()]
      .filter((session) => heldBytes(session) >= MIN_SHED_BYTES)
      .sort((a, b) => heldBytes(b) - heldBytes(a));
    let rest = excess;
    for (const session of largest) {
      if (rest <= 0) return;
      const { path, transport } = session;
      const bytes = heldBytes(session);
      rest -= bytes;
      counters.closedShed++;
      log.warn('closed a node with a large queue: short of memory', { path, queuedBytes: bytes });
      sessions.end(session, CLOSE.tryLater, 'the sentinel is short of memory');
      // A close frame would wait behind what the socket holds.
      transport?.terminate();
    }
  }

  #checkQueue(session: Session): void {
    const { counters, log, sessions } = this.#deps;
    const { outbound, path, transport } = session;
    if (transport === undefined && !outbound.isSaturated) return;
    // A transport may report late that its socket has drained.
    outbound.flush();
    // Messages to a sentinel of the cluster wait for credit of its nodes; its links are supervised in `cluster/pair.ts`.
    const isStalled = outbound.stalledMs >= STALLED_MS && session.kind !== 'member';
    if (!isStalled && !outbound.isSaturated) return;
    counters.closedSlow++;
    log.warn('closed a node that does not read', {
      path,
      queuedMessages: outbound.messages,
      queuedBytes: outbound.bytes,
    });
    sessions.end(session, CLOSE.slowConsumer, 'the node does not read');
  }

  #checkSilence(session: Session): void {
    const { log, sessions } = this.#deps;
    const { path, silentMs, state, transport } = session;
    if (state === 'gone') return;
    if (transport !== undefined && silentMs >= CLOSE_AFTER_MS) {
      log.warn('closed a silent node', { path, silentMs });
      sessions.end(session, CLOSE.goingAway, `no message and no pong for ${timeText(silentMs)}`);
      transport.terminate();
      return;
    }
    if (transport !== undefined && silentMs >= PING_AFTER_MS) {
      void session.ping(PONG_MS).then((isAlive) => {
        if (isAlive) session.markAlive();
      });
    }
    this.#watch(session);
  }

  // Schedules the next look at a session: when its silence may reach the limit, or in the next sweep if it has. A session without a
  // connection is not silent, and one that resumes has just sent a message.
  #watch(session: Session): void {
    const silentMs = session.transport === undefined ? 0 : session.silentMs;
    this.#deps.table.silence.add(session, Math.max(1, Math.ceil((PING_AFTER_MS - silentMs) / TICK_MS)));
  }
}
