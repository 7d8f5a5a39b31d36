// The sessions by the sweep in which each may have been silent for too long. A sweep looks only at those that are due. Looking at
// all sessions would load them into the caches, which costs an idle sentinel more CPU time than everything else.
import type { Session } from './session.ts';

/** Slots: more than the sweeps between two looks at a session. */
const SLOTS = 16;

export class SilenceWheel {
  readonly #slots = Array.from({ length: SLOTS }, (): Session[] => []);
  #now = 0;

  /** Schedules a look at a session in `sweeps` sweeps, from 1 to 15. */
  add(session: Session, sweeps: number): void {
    this.#slots[(this.#now + sweeps) % SLOTS]!.push(session);
  }

  /** Begins the next sweep, and returns the sessions that are due. The caller adds those again that have not ended. */
  advance(): readonly Session[] {
    this.#now = (this.#now + 1) % SLOTS;
    const due = this.#slots[this.#now]!;
    this.#slots[this.#now] = [];
    return due;
  }
}
