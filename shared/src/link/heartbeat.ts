// Keeps one connection alive and detects that it is dead: sends a beat at an interval, and reports a peer that has been
// silent for too long. Independent of links and sessions.
import type { Clock, Timer } from '../async/clock.ts';

export interface HeartbeatDeps {
  readonly clock: Clock;
  /** Sends a beat. */
  readonly beat: () => void;
  /** Called once, after the heartbeat has stopped, with the length of the silence in ms. */
  readonly onSilence: (silentMs: number) => void;
}

export interface HeartbeatOptions {
  /** Time between beats, in ms. */
  readonly intervalMs: number;
  /** Silence after which the peer counts as dead, in ms. Infinity disables the check. */
  readonly silentAfterMs: number;
}

/** The heartbeat of one connection. */
export class Heartbeat {
  readonly #deps: HeartbeatDeps;
  readonly #options: HeartbeatOptions;
  #timer: Timer | undefined;
  #receivedAt = 0;
  #beatAt = 0;

  constructor(deps: HeartbeatDeps, options: HeartbeatOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  start(): void {
    this.stop();
    this.#receivedAt = this.#beatAt = this.#deps.clock.monotonic();
    this.#schedule();
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  /** Records that a message arrived. Any message is a sign of life. */
  received(): void {
    this.#receivedAt = this.#deps.clock.monotonic();
  }

  #schedule(): void {
    const { clock } = this.#deps;
    const { intervalMs, silentAfterMs } = this.#options;
    const due = Math.min(this.#beatAt + intervalMs, this.#receivedAt + silentAfterMs);
    this.#timer = clock.after(Math.max(due - clock.monotonic(), 0), this.#tick);
  }

  readonly #tick = (): void => {
    const { clock, beat, onSilence } = this.#deps;
    const { intervalMs, silentAfterMs } = this.#options;
    const now = clock.monotonic();
    if (now - this.#receivedAt >= silentAfterMs) {
      this.stop();
      onSilence(now - this.#receivedAt);
      return;
    }
    if (now - this.#beatAt >= intervalMs) {
      this.#beatAt = now;
      beat();
    }
    this.#schedule();
  };
}
