import { expect, test } from 'vitest';
import { EditBuffer } from './edit-buffer.ts';

test('up reaches a first line that is empty, and leaves the buffer from there', () => {
  const buffer = new EditBuffer();
  buffer.set('\nabc');
  expect(buffer.up()).toBe(true);
  expect(buffer.cursor).toBe(0);
  expect(buffer.up()).toBe(false);
  expect(buffer.down()).toBe(true);
  expect(buffer.cursor).toBe(1);
});
