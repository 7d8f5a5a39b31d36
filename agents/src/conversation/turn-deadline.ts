// The time limit of a turn. It stops while the turn waits for a person, and starts anew when the turn continues.
import type { Clock, Timer } from '@fame-fabric/shared';
import type { LiveTurn } from './live-turn.ts';

export class TurnDeadline {
  readonly #turn: LiveTurn;
  readonly #clock: Clock;
  readonly #limitMs: number;
  #timer: Timer | undefined;
  #onTimeout: (() => void) | undefined;

  constructor(turn: LiveTurn, clock: Clock, limitMs: number) {
    this.#turn = turn;
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  start(onTimeout: () => void): void {
    this.#onTimeout = onTimeout;
    this.#wait();
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  /** Gives the turn its whole time limit again. */
  renew(): void {
    this.stop();
    this.#turn.deadline = this.#clock.monotonic() + this.#limitMs;
    this.#wait();
  }

  #wait(): void {
    const left = this.#turn.deadline - this.#clock.monotonic();
    this.#timer = this.#clock.after(Math.max(0, left), () => this.#onTimeout?.());
  }
}
