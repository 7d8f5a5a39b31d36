import { expect, test } from 'vitest';
import { isJsonLog, lifeLine, textOfLogLine } from './log-format.ts';

test('O6, A11: auto is text on a terminal and JSON elsewhere', () => {
  expect([isJsonLog('auto', true), isJsonLog('auto', false)]).toEqual([false, true]);
  expect([isJsonLog('json', true), isJsonLog('text', false)]).toEqual([true, false]);
});

test('O6: a line about the start of a process has a time and a level, and no control character', () => {
  expect(lifeLine('agents', 'a\u001b is served', false)).toBe('a␛ is served\n');
  const line = lifeLine('agents', 'a\u001b\u009b is served', true);
  expect(line).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  expect(JSON.parse(line)).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    name: 'agents',
    pid: process.pid,
    msg: expect.stringContaining('is served'),
  });
});

test('A11: the text of a log line has its time, level, message and fields, and no stack', () => {
  const line = JSON.stringify({
    level: 'warn',
    time: '2026-01-02T03:04:05.678Z',
    name: 'agents',
    pid: 1,
    url: 'ws://x',
    count: 2,
    reason: 'two words\u001b[2J',
    error: { name: 'Error', message: 'no', stack: 'Error: no\n    at x' },
    msg: 'cannot reattach',
  });
  expect(textOfLogLine('    at main (agent.ts:1)\u001b[2J')).toBe('    at main (agent.ts:1)␛[2J\n');
  expect(textOfLogLine('{"a":1}')).toBe('{"a":1}\n');
  expect(textOfLogLine(line)).toBe(
    '03:04:05.678 WARN  cannot reattach url=ws://x count=2 reason="two words\\u001b[2J" error="no"\n',
  );
});
