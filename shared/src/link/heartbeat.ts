// The link's pulse: a beat every 15 s, and the end of patience after 30 s without any message from the other side.
import type { Clock, Timer } from '../async/clock.ts';

export interface HeartbeatOptions {
  clock: Clock;
  /** Pause between beats, in ms. */
  everyMs: number;
  /** Silence after which the peer is given up, in ms. */
  silentAfterMs: number;
  beat: () => void;
  giveUp: (silentMs: number) => void;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #timer: Timer | undefined;
  #heardAt = 0;
  #beatAt = 0;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  start(): void {
    this.stop();
    this.#heardAt = this.#beatAt = this.#options.clock.now();
    this.#arm();
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  /** Something arrived: any message is a sign of life. */
  heard(): void {
    this.#heardAt = this.#options.clock.now();
  }

  #arm(): void {
    const { clock, everyMs, silentAfterMs } = this.#options;
    const due = Math.min(this.#beatAt + everyMs, this.#heardAt + silentAfterMs);
    this.#timer = clock.after(Math.max(due - clock.now(), 0), this.#tick);
  }

  readonly #tick = (): void => {
    const { clock, everyMs, silentAfterMs, beat, giveUp } = this.#options;
    const now = clock.now();
    if (now - this.#heardAt >= silentAfterMs) {
      this.stop();
      giveUp(now - this.#heardAt);
      return;
    }
    if (now - this.#beatAt >= everyMs) {
      this.#beatAt = now;
      beat();
    }
    this.#arm();
  };
}
