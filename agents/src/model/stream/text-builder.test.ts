import { expect, it } from 'vitest';
import { TextBuilder } from './text-builder.ts';

it('returns the joined pieces, small or large, at any time', () => {
  const built = new TextBuilder('begin ');
  let expected = 'begin ';
  for (let n = 0; n < 3_000; n++) {
    const piece = n % 500 === 499 ? 'x'.repeat(5_000) : `${n}é😀`.slice(0, n % 6);
    built.add(piece);
    expected += piece;
    expect(built.length).toBe(expected.length);
    if (n % 700 === 0) expect(built.toString()).toBe(expected);
  }
  expect(built.toString()).toBe(expected);
});
