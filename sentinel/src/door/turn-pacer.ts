// Spaces the turns of the event loop at high message rates. A router that is faster than its nodes wakes up for every one or two
// messages, and spends more CPU time on wake-ups, reads and writes than on routing. If it sleeps for a moment after each turn,
// more messages arrive in the meantime, and one read and one write serve all of them (docs/decisions/0070).
//
// A sleep also costs CPU time, and it is useless to a caller that waits for each answer. So the pacer compares the CPU time per
// message with and without sleeps, and sleeps only while that saves a tenth of it and slows no message rate.

/** Rate from which turns are paced, in messages per ms. A slower router leaves most of a core idle. */
export const PACED_RATE = 25;
/** Turns after which the clock is read. */
const CHECK_TURNS = 32;
/** Shortest time over which the CPU time is measured, in ms. */
const WINDOW_MS = 8;
/** Largest CPU time per message with sleeps, relative to that without. */
const WORTHWHILE = 0.9;
/** Lowest message rate with sleeps, relative to that without. */
const HARMLESS = 0.8;
/** Time after which a worthwhile pace is measured again, in ms. */
const PACED_MS = 1_000;
/** Time before the next trial after a useless one, in ms. It doubles with each useless trial, up to the maximum. */
const RETRY_MS = 250;
const MAX_RETRY_MS = 4_000;
/** Length of a sleep in ms. The system adds about 0.05 ms to it. */
const SLEEP_MS = 0.01;

/** The functions of the system that the pacer uses. */
export interface PacerSystem {
  /** Monotonic time in ms, with fractions. */
  now(): number;
  /** CPU time of this thread in µs. */
  cpuUs(): number;
  /** Blocks the thread for `ms` milliseconds. */
  sleep(ms: number): void;
}

const cell = new Int32Array(new SharedArrayBuffer(4));

const system: PacerSystem = {
  now: () => performance.now(),
  cpuUs: () => {
    const { system, user } = process.threadCpuUsage();
    return system + user;
  },
  sleep: (ms) => void Atomics.wait(cell, 0, 0, ms),
};

export class TurnPacer {
  readonly #system: PacerSystem;
  #phase: 'free' | 'trial' | 'paced' = 'free';
  #turns = 0;
  #messages = 0;
  /** Turns at which the clock is read next. */
  #checkAt = CHECK_TURNS;
  #startedAt: number;
  #cpuUs: number;
  /** CPU time per message of the window before the trial, in µs. */
  #freeCost = 0;
  /** Messages per ms in that window. */
  #freeRate = 0;
  /** End of the pace, or of the wait for the next trial: monotonic, in ms. */
  #endsAt = 0;
  #retryMs = RETRY_MS;

  constructor(used: PacerSystem = system) {
    this.#system = used;
    this.#startedAt = used.now();
    this.#cpuUs = used.cpuUs();
  }

  /** Ends a turn in which `messages` were written. Sleeps if that saves CPU time. */
  endTurn(messages: number): void {
    this.#messages += messages;
    if (++this.#turns >= this.#checkAt) this.#check();
    if (this.#phase !== 'free') this.#system.sleep(SLEEP_MS);
  }

  #check(): void {
    const now = this.#system.now();
    const ms = now - this.#startedAt;
    if (ms < WINDOW_MS) {
      this.#checkAt = this.#turns + CHECK_TURNS;
      return;
    }
    const cpuUs = this.#system.cpuUs();
    this.#endWindow((cpuUs - this.#cpuUs) / this.#messages, this.#messages / ms, now);
    this.#startedAt = now;
    this.#cpuUs = cpuUs;
    this.#turns = 0;
    this.#messages = 0;
    this.#checkAt = CHECK_TURNS;
  }

  // Ends a window, with its CPU time per message in µs and its messages per ms.
  #endWindow(cost: number, rate: number, now: number): void {
    const isFast = rate >= PACED_RATE;
    if (this.#phase === 'trial') {
      const isWorthwhile = isFast && cost <= WORTHWHILE * this.#freeCost && rate >= HARMLESS * this.#freeRate;
      this.#phase = isWorthwhile ? 'paced' : 'free';
      this.#endsAt = now + (isWorthwhile ? PACED_MS : this.#retryMs);
      this.#retryMs = isWorthwhile ? RETRY_MS : Math.min(MAX_RETRY_MS, 2 * this.#retryMs);
    } else if (this.#phase === 'paced') {
      if (!isFast || now >= this.#endsAt) this.#phase = 'free';
    } else if (isFast && now >= this.#endsAt) {
      this.#freeCost = cost;
      this.#freeRate = rate;
      this.#phase = 'trial';
    }
  }
}
