import { expect, test } from 'vitest';
import { formatTable } from './table.ts';

test('columns are as wide as their widest cell', () => {
  expect(
    formatTable(
      ['NODE', 'STATE'],
      [
        ['/s/agent-1', 'attached'],
        ['/s/2', 'gone'],
      ],
    ),
  ).toBe(['NODE        STATE', '/s/agent-1  attached', '/s/2        gone'].join('\n'));
});

test('a table without rows is its head', () => {
  expect(formatTable(['NODE', 'STATE'], [])).toBe('NODE  STATE');
});

test('a cell breaks neither the table nor the terminal', () => {
  expect(formatTable(['NAME', 'X'], [['a\nb\u001b[2J', 'y']])).toBe('NAME     X\na b␛[2J  y');
});
