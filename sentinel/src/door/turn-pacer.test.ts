import { describe, expect, it } from 'vitest';
import { PACED_RATE, TurnPacer } from './turn-pacer.ts';

/** Turns of a router whose nodes send at a fixed rate. Times are in ms, CPU times in µs. */
class Load {
  now = 0;
  cpuUs = 0;
  sleeps = 0;
  rate: number;
  readonly #turnUs: number;
  readonly #arrives: boolean;
  readonly #pacer: TurnPacer;

  /**
   * @param rate messages per ms
   * @param turnUs CPU time of a turn without its messages
   * @param arrives true if messages arrive during a sleep
   */
  constructor(rate: number, turnUs = 8, arrives = true) {
    this.rate = rate;
    this.#turnUs = turnUs;
    this.#arrives = arrives;
    this.#pacer = new TurnPacer({
      now: () => this.now,
      cpuUs: () => this.cpuUs,
      sleep: () => {
        this.now += 0.06;
        this.cpuUs += 12;
        this.sleeps++;
      },
    });
  }

  /** Runs turns for `ms`; returns the count of sleeps. */
  run(ms: number): number {
    const end = this.now + ms;
    const before = this.sleeps;
    let sleptBefore = 0;
    while (this.now < end) {
      const messages = 1 + (this.#arrives ? Math.round(sleptBefore * this.rate) : 0);
      this.now += 1 / this.rate;
      this.cpuUs += this.#turnUs + 2 * messages;
      const endedAt = this.now;
      this.#pacer.endTurn(messages);
      sleptBefore = this.now - endedAt;
    }
    return this.sleeps - before;
  }
}

describe('the pace of turns', () => {
  it('sleeps after turns at a high rate, if that saves CPU time', () => {
    const load = new Load(100);
    load.run(50);
    expect(load.run(100)).toBeGreaterThan(1_000);
  });

  it('never sleeps below the rate', () => {
    const load = new Load(PACED_RATE - 1);
    expect(load.run(10_000)).toBe(0);
  });

  it('stops sleeping if no messages arrive meanwhile, and tries it less and less often', () => {
    const load = new Load(100, 8, false);
    const first = load.run(1_000);
    expect(first).toBeGreaterThan(0);
    load.run(10_000);
    expect(load.run(1_000)).toBeLessThan(first);
    expect(load.run(10_000)).toBeLessThan(4 * first);
  });

  it('stops sleeping if a turn costs less than a sleep', () => {
    const load = new Load(100, 0.1);
    load.run(50);
    expect(load.run(150)).toBe(0);
  });

  it('stops sleeping when the rate falls', () => {
    const load = new Load(100);
    load.run(50);
    load.rate = 1;
    load.run(100);
    expect(load.run(1_000)).toBe(0);
  });

  it('compares again after a second', () => {
    const load = new Load(100);
    load.run(50);
    const pacedTurns = load.run(900);
    const turnsWithComparison = load.run(900);
    expect(turnsWithComparison).toBeLessThan(pacedTurns);
    expect(turnsWithComparison).toBeGreaterThan(0.9 * pacedTurns);
  });
});
