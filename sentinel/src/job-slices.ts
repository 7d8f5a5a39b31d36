// Runs jobs a few at a time, and lets the event loop read its sockets in between. One chunk of a socket may have hundreds of messages for
// the doors, and each of them costs more than its way through the router. Without slices, the calls of native nodes would wait for all.
import { Fifo } from '@fame-fabric/shared/internal';

/** Jobs in one turn of the event loop: less than a millisecond for items of streams. */
export const JOBS_PER_TURN = 16;

export class JobSlices {
  readonly #jobs = new Fifo<() => void>();
  #isScheduled = false;

  /** Runs a job in a later turn of the event loop, after the jobs before it. */
  readonly run = (job: () => void): void => {
    this.#jobs.push(job);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(this.#runSlice);
  };

  readonly #runSlice = (): void => {
    // Before the jobs, so that one that throws does not stop the others.
    const last = Math.min(this.#jobs.size, JOBS_PER_TURN);
    this.#isScheduled = this.#jobs.size > last;
    if (this.#isScheduled) setImmediate(this.#runSlice);
    for (let n = 0; n < last; n++) this.#jobs.shift()!();
  };
}
