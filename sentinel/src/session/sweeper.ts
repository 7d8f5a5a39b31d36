// The one timer of the sentinel: every two seconds it moves the coarse clock, asks silent nodes for a sign of life, closes
// those that stay silent, those that do not read, and connections that never attach. No node has a timer of its own.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../http/metrics.ts';
import type { Session, Ticker } from './session.ts';
import type { Sessions } from './sessions.ts';

/** What it looks after is counted in many seconds, and a process that wakes up has lost its caches. */
export const SWEEP_MS = 2_000;
/** How long a connection may take to attach. */
const ATTACH_WITHIN_MS = 5_000;
/** A node that was silent for so long is pinged. */
const PING_AFTER_MS = 15_000;
/** A node that stays silent for so long is given up. */
const GIVE_UP_AFTER_MS = 30_000;
/** A queue that did not move for so long closes its node. */
const STUCK_MS = 10_000;
/** How long the answer to a ping may take; silence is judged by what was heard, so this only frees the question. */
const PONG_MS = 10_000;

export interface SweeperParts {
  clock: Clock;
  ticker: Ticker;
  sessions: Sessions;
  counters: Counters;
  log: Logger;
  /** Closes connections that were opened before `olderThan` and have not attached. */
  closeUnattached: (olderThan: number) => void;
}

export class Sweeper {
  readonly #parts: SweeperParts;
  #timer: Timer | undefined;

  constructor(parts: SweeperParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = this.#parts.clock.every(SWEEP_MS, () => this.sweep());
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  sweep(): void {
    const { clock, ticker, sessions, closeUnattached } = this.#parts;
    ticker.now = clock.now();
    closeUnattached(ticker.now - ATTACH_WITHIN_MS);
    for (const session of sessions.all()) this.#look(session, ticker.now);
  }

  #look(session: Session, now: number): void {
    const { counters, log, sessions } = this.#parts;
    if (session.state !== 'attached') return;
    const isStuck = session.queuedMessages > 0 && now - session.movedAt >= STUCK_MS;
    if (isStuck || session.isDeaf) {
      counters.closedSlow++;
      log.warn('closed a node that does not read', {
        path: session.path,
        queuedMessages: session.queuedMessages,
        queuedBytes: session.queuedBytes,
      });
      sessions.end(session, CLOSE.slowConsumer, 'the node does not read');
      return;
    }
    const silentMs = now - session.heardAt;
    if (silentMs >= GIVE_UP_AFTER_MS) {
      log.warn('gave up a silent node', { path: session.path, silentMs });
      const { wire } = session;
      sessions.end(session, CLOSE.goingAway, 'silent');
      wire?.terminate();
    } else if (silentMs >= PING_AFTER_MS) {
      void session.ping(PONG_MS).then((isAlive) => {
        if (isAlive) session.heardAt = this.#parts.ticker.now;
      });
    }
  }
}
