import { expect, it } from 'vitest';
import { newId } from './ids.ts';

it('newId gives 16 letters and digits, never the same twice', () => {
  const ids = Array.from({ length: 10_000 }, newId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-zA-Z]{16}$/);
  expect(new Set(ids).size).toBe(10_000);
  expect(new Set(ids.join('')).size).toBe(62);
});
