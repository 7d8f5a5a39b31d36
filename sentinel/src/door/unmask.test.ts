import { expect, test } from 'vitest';
import { unmask } from './unmask.ts';

test('unmasks in place, for every length', () => {
  for (let length = 0; length < 200; length++) {
    const clear = Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 255));
    const source = Buffer.from([9, 1, 0x80, 0xff, 0x33, 9]);
    const masked = Buffer.from(clear.map((byte, i) => byte ^ source[1 + (i % 4)]!));
    unmask(masked, source, 1);
    expect(masked).toEqual(clear);
  }
});
