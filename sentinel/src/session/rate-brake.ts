// Pauses nodes that keep sending above the rate of their principal, and closes those that continue: a paused node costs nothing, and
// TCP slows it. Each node gets refusals first, and its messages are read in slices from then on. A child sentinel forwards messages of many nodes, so it is only refused.
import type { Clock, Logger } from '@fame-fabric/shared';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** Messages of a node that are refused before it is paused. */
export const REFUSALS = 32;
/** A larger refused message counts as several of this size, in bytes: it costs as much to read. */
export const REFUSAL_BYTES = 16_384;
/** Shortest time for which it is paused, in ms. Far below the silence after which a node is closed. */
const PAUSE_MS = 2_000;
/**
 * Pauses that begin together end in steps, in ms: a node that continues sends up to 128 KB before the next pause, and many at once
 * would delay all others.
 */
const STEP_MS = 125;
const STEPS = 8;
export const MAX_PAUSE_MS = PAUSE_MS + (STEPS - 1) * STEP_MS;
/** The node is closed instead of paused for this time in a row. */
export const MAX_PAUSES = 5;
/** Pauses with more time without a refusal between them are not in a row, in ms. */
const FORGET_MS = 10_000;

export interface RateBrakeDeps {
  clock: Clock;
  sessions: Sessions;
  counters: Counters;
  log: Logger;
}

export class RateBrake {
  readonly #deps: RateBrakeDeps;
  #step = 0;

  constructor(deps: RateBrakeDeps) {
    this.#deps = deps;
  }

  /**
   * Charges a frame that gets no refusal: a ping, a pong, or credit that adds nothing. Returns `false` if the node is more than two
   * seconds above its rate, and then counts a refusal.
   */
  admits(session: Session, size: number): boolean {
    // A busy node must get its pongs, or it would consider its connection dead.
    if (session.quota?.charge(size, true) === undefined) return true;
    this.refused(session, size);
    return false;
  }

  /** Counts the refusal of a message of `size` bytes above the rate. Call it after the refusal was sent. */
  refused(session: Session, size: number): void {
    const { transport } = session;
    if (session.isSentinel || session.kind !== 'node' || transport?.pause === undefined) return;
    const { clock, counters, log, sessions } = this.#deps;
    session.rate ??= { refusals: 0, pauses: 0, refusedAt: 0, paused: undefined };
    const { rate } = session;
    transport.readInSlices?.();
    // A transport may still deliver received messages after the pause began.
    if (rate.paused === transport || session.outbound.onRecovered !== undefined) return;
    const now = clock.monotonic();
    if (now - rate.refusedAt > FORGET_MS) {
      rate.refusals = 0;
      rate.pauses = 0;
    }
    rate.refusedAt = now;
    rate.refusals += Math.max(1, size / REFUSAL_BYTES);
    if (rate.refusals < REFUSALS) return;
    rate.refusals = 0;
    if (++rate.pauses >= MAX_PAUSES) {
      const { path, terms } = session;
      counters.closedQuota++;
      log.warn('closed a node that keeps sending above its rate', { path, principal: terms.principal.id });
      sessions.end(session, CLOSE.quotaExceeded, 'keeps sending above the rate of its principal');
      // Its messages are not read during the closing handshake.
      transport.pause();
      return;
    }
    counters.quotaPaused++;
    rate.paused = transport;
    transport.pause();
    this.#step = (this.#step + 1) % STEPS;
    clock.after(PAUSE_MS + this.#step * STEP_MS, () => {
      if (rate.paused === transport) rate.paused = undefined;
      session.markReceived();
      transport.resume?.();
    });
  }
}
