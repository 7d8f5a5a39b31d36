import { expect, it } from 'vitest';
import { newId } from './ids.ts';

it('newId returns 16 letters and digits, different each time', () => {
  const ids = Array.from({ length: 10_000 }, newId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-zA-Z]{16}$/);
  expect(new Set(ids).size).toBe(10_000);
  expect(new Set(ids.join('')).size).toBe(62);
});
