// Stops reading the socket of a node that sent more messages than it was granted, until its receivers caught up, for two
// seconds at most. Nodes that honor their credit are never paused: their CreditUpdates must not wait behind their messages,
// or two nodes that send to each other would wait forever. Nor are sentinels, which speak for many nodes.
import type { Clock, Logger } from '@fame-fabric/shared';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** Longest pause. Far below the silence after which a node is closed. */
const PAUSE_MS = 2_000;

export interface BrakeDeps {
  clock: Clock;
  sessions: Sessions;
  counters: Counters;
  log: Logger;
}

export class Brake {
  readonly #deps: BrakeDeps;

  constructor(deps: BrakeDeps) {
    this.#deps = deps;
  }

  /** Pauses a node that has overrun its credit. Closes it if its receivers have not caught up when the pause ends. */
  apply(session: Session): void {
    const { outbound, path, transport } = session;
    if (session.isSentinel || transport?.pause === undefined || outbound.onRecovered !== undefined) return;
    if (session.rate?.paused === transport) return;
    const { clock, counters, log, sessions } = this.#deps;
    counters.paused++;
    transport.pause();
    const end = (): void => {
      timer.stop();
      outbound.onRecovered = undefined;
      session.markReceived();
      transport.resume?.();
    };
    const timer = clock.after(PAUSE_MS, () => {
      end();
      if (session.state !== 'attached' || !outbound.hasOverrun) return;
      counters.closedOverrun++;
      log.warn('closed a node that ignores its credit', { path });
      sessions.end(session, CLOSE.slowConsumer, 'sent more messages than it was granted');
    });
    outbound.onRecovered = end;
  }
}
