import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LinkState } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HealthFile } from './health-file.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-health-'));
  path = join(directory, 'healthy');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('the file is written again while the link is attached, and removed at the end', () => {
  const clock = new ManualClock();
  const link = { state: 'attached' as LinkState };
  const file = new HealthFile(path, { link, log: new CaptureLog(), clock });
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
  const isWritten = (): boolean => {
    utimesSync(path, 1, 1);
    clock.advance(5_000);
    return statSync(path).mtimeMs > 1_000;
  };
  expect(isWritten()).toBe(true);
  link.state = 'reconnecting';
  expect(isWritten()).toBe(false);
  link.state = 'attached';
  expect(isWritten()).toBe(true);
  file.remove();
  clock.advance(60_000);
  expect(existsSync(path)).toBe(false);
});

test('a file that cannot be written is logged once', () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const file = new HealthFile(join(directory, 'none', 'healthy'), {
    link: { state: 'attached' },
    log,
    clock,
  });
  clock.advance(20_000);
  expect(log.messages('warn')).toEqual(['cannot write the health file (FAME_HEALTH_FILE)']);
  file.remove();
});

test('a file that cannot be removed is logged, and the process still drains', () => {
  const log = new CaptureLog();
  const file = new HealthFile(path, { link: { state: 'reconnecting' }, log, clock: new ManualClock() });
  mkdirSync(path);
  file.remove();
  expect(log.messages('warn')).toEqual(['cannot remove the health file (FAME_HEALTH_FILE)']);
});
