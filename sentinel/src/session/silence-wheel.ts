// A timer wheel of sessions: each one is in the slot of the sweep in which it may have been silent for too long. A sweep looks only at the
// sessions that are due. A look at all of them would load them into the caches of the processor, which costs an idle sentinel more CPU time
// than everything else.
import type { Session } from './session.ts';

/** Slots: more than the sweeps between two looks at a session. */
const SLOTS = 16;

export class SilenceWheel {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Session>());
  #now = 0;

  /** Schedules a look at a session in `sweeps` sweeps, from 1 to 15. */
  add(session: Session, sweeps: number): void {
    this.#slots[(this.#now + sweeps) % SLOTS]!.add(session);
  }

  /** Removes a session that has ended, so that the wheel does not keep it in memory until it is due. */
  remove(session: Session): void {
    for (const slot of this.#slots) if (slot.delete(session)) return;
  }

  /** Begins the next sweep, and returns the sessions that are due. The caller adds those again that have not ended. */
  advance(): Iterable<Session> {
    this.#now = (this.#now + 1) % SLOTS;
    const due = this.#slots[this.#now]!;
    this.#slots[this.#now] = new Set();
    return due;
  }
}
