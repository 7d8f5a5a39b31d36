// The one timer of the sentinel. Every two seconds it advances the coarse clock, pings silent nodes, and closes nodes that
// stay silent, nodes that do not read, nodes whose key was revoked, and connections that never attach. No node has a timer of its own.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import type { Access } from '../access/access.ts';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import type { CoarseClock } from './coarse-clock.ts';
import type { Session } from './session.ts';
import type { SessionTable } from './session-table.ts';
import type { Sessions } from './sessions.ts';

/** The deadlines are many seconds long, and each wake-up of an idle process is costly: its caches are cold. */
const SWEEP_MS = 2_000;
/** Time in which a connection must attach. */
const ATTACH_WITHIN_MS = 5_000;
/** Silence after which a node is pinged. */
const PING_AFTER_MS = 15_000;
/** Silence after which a node is closed. */
const CLOSE_AFTER_MS = 30_000;
/** Time without progress of a queue after which its node is closed. */
const STALLED_MS = 10_000;
/** Time limit of a pong. Silence is measured separately, so this only ends the wait. */
const PONG_MS = 10_000;

export interface SweeperDeps {
  access: Access;
  clock: Clock;
  time: CoarseClock;
  table: SessionTable;
  sessions: Sessions;
  counters: Counters;
  log: Logger;
  /** Closes connections that were opened before `openedBefore` and have not attached. */
  closeUnattached: (openedBefore: number) => void;
}

export class Sweeper {
  readonly #deps: SweeperDeps;
  #timer: Timer | undefined;

  constructor(deps: SweeperDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = this.#deps.clock.every(SWEEP_MS, () => this.sweep());
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  sweep(): void {
    const { access, time, table, closeUnattached } = this.#deps;
    closeUnattached(time.tick() - ATTACH_WITHIN_MS);
    const isRevoked = access.revocations();
    for (const session of table.all()) {
      if (isRevoked(session.terms.principal)) this.#revoke(session);
      this.#check(session);
    }
  }

  // The node may return with the key of now, and resume.
  #revoke(session: Session): void {
    const { log, sessions } = this.#deps;
    const { path, transport } = session;
    if (transport === undefined) return;
    log.warn('closed a node whose key is no longer valid', { path });
    sessions.detach(session, transport);
    transport.onMessage = undefined;
    transport.close(CLOSE.credentialRevoked, 'the key of this node is no longer valid');
  }

  #check(session: Session): void {
    const { counters, log, sessions } = this.#deps;
    const { outbound, path, silentMs, transport } = session;
    if (transport === undefined) return;
    if (outbound.stalledMs >= STALLED_MS || outbound.isSaturated) {
      counters.closedSlow++;
      log.warn('closed a node that does not read', {
        path,
        queuedMessages: outbound.messages,
        queuedBytes: outbound.bytes,
      });
      sessions.end(session, CLOSE.slowConsumer, 'the node does not read');
    } else if (silentMs >= CLOSE_AFTER_MS) {
      log.warn('closed a silent node', { path, silentMs });
      sessions.end(session, CLOSE.goingAway, `no message and no pong for ${silentMs} ms`);
      transport.terminate();
    } else if (silentMs >= PING_AFTER_MS) {
      void session.ping(PONG_MS).then((isAlive) => {
        if (isAlive) session.markReceived();
      });
    }
  }
}
