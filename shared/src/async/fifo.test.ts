import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fifo } from './fifo.ts';

describe('Fifo', () => {
  it('behaves as an array does under any order of push, shift, peek and clear', () => {
    const steps = fc.array(
      fc.oneof({ weight: 3, arbitrary: fc.integer() }, fc.constantFrom('shift', 'peek', 'clear')),
    );
    fc.assert(
      fc.property(steps, (list) => {
        const fifo = new Fifo<number>();
        const array: number[] = [];
        for (const step of list) {
          if (typeof step === 'number') {
            fifo.push(step);
            array.push(step);
          } else if (step === 'shift') expect(fifo.shift()).toBe(array.shift());
          else if (step === 'peek') expect(fifo.peek()).toBe(array[0]);
          else {
            fifo.clear();
            array.length = 0;
          }
          expect(fifo.size).toBe(array.length);
          expect([...fifo]).toEqual(array);
        }
      }),
    );
  });

  it('keeps its order while it is long and both ends move', () => {
    const fifo = new Fifo<number>();
    let [pushed, shifted] = [0, 0];
    for (let round = 0; round < 5_000; round++) {
      fifo.push(pushed++);
      fifo.push(pushed++);
      expect(fifo.shift()).toBe(shifted++);
    }
    while (fifo.size > 0) expect(fifo.shift()).toBe(shifted++);
    expect(shifted).toBe(pushed);
    expect(fifo.shift()).toBeUndefined();
  });
});
