import { expect, test } from 'vitest';
import { openFileLimit, openFilesIn } from './open-files.ts';

test('O9: the soft limit of open files is read; without a line or with no limit it is infinite', () => {
  const limits = (soft: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units\nMax processes             100                  100                  processes\nMax open files            ${soft}                 4096                 files\n`;
  expect(openFilesIn(limits('48'))).toBe(48);
  expect(openFilesIn(limits('unlimited'))).toBe(Number.POSITIVE_INFINITY);
  expect(openFilesIn('')).toBe(Number.POSITIVE_INFINITY);
  expect(openFileLimit()).toBeGreaterThan(0);
});
