import { createStyle } from '@fame-fabric/shared/internal';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AnswerText } from './answer-text.ts';

/** Writes the text in pieces, and applies what moves words. */
function screen(text: string, { columns = 20, colours = true, size = text.length } = {}): string {
  const answer = new AnswerText({ columns: () => columns, style: createStyle(colours), column: 0 });
  let output = '';
  for (let at = 0; at < text.length; at += size) output += answer.add(text.slice(at, at + size));
  output += answer.flush();
  return joined(applied(output));
}

/** Joins adjacent texts of one style. */
const joined = (text: string): string =>
  text
    .replaceAll('\u001b[22m\u001b[1m', '')
    .replaceAll('\u001b[22m\u001b[2m', '')
    .replaceAll('\u001b[39m\u001b[36m', '');

// Interprets "cursor back" and "clear to the end of the row", which the output has only directly after the word that moves.
function applied(output: string): string {
  const move = /\u001b\[(\d+)D\u001b\[K/;
  let text = output;
  for (let found = move.exec(text); found; found = move.exec(text)) {
    let before = text.slice(0, found.index);
    for (let left = Number(found[1]); left > 0; ) {
      const style = /\u001b\[\d+m$/.exec(before)?.[0];
      before = before.slice(0, style ? -style.length : -1);
      if (!style) left--;
    }
    text = before + text.slice(found.index + found[0].length);
  }
  return text;
}
const unstyled = (text: string): string => text.replace(/\u001b\[\d+m/g, '');

test.each([1, 2, 3, 100])('breaks rows between words, in pieces of %i', (size) => {
  const text = 'Set OPENAI_API_KEY and restart the agent.\nThen go on.';
  const rows = screen(text, { size, colours: false }).split('\n');
  expect(rows.map((row) => row.trimEnd())).toEqual([
    'Set OPENAI_API_KEY',
    'and restart the',
    'agent.',
    'Then go on.',
  ]);
});

test('a word that is longer than a row is broken', () => {
  expect(screen('a '.concat('x'.repeat(45)), { colours: false })).toBe(
    `a \n${'x'.repeat(19)}\n${'x'.repeat(19)}\n${'x'.repeat(7)}`,
  );
});

test('rows of wide characters are full', () => {
  expect(screen('你好'.repeat(8), { colours: false })).toBe(`${'你好'.repeat(4)}你\n${'好你'.repeat(3)}好`);
});

describe('Markdown', () => {
  const style = createStyle(true);
  test.each([
    ['**bold** and `code`', `${style.bold('bold')} and ${style.cyan('code')}`],
    ['# Head', style.bold('Head')],
    ['- one\n  * two\n3. three', '• one\n  • two\n3. three'],
    ['> said', `${style.dim('│ ')}said`],
    [
      '```ts\n- **x** `y`\n```\nend',
      `${style.dim('```ts')}\n${style.cyan('- **x** `y`')}\n${style.dim('```')}\nend`,
    ],
    ['| a | **b** |', '| a | **b** |'],
    // No Markdown:
    ['2**3 is 8', '2**3 is 8'],
    ['2 ** 3 * 4', '2 ** 3 * 4'],
    ['f(**kwargs)', 'f(**kwargs)'],
    ['it`s', 'it`s'],
    ['**open', '**open'],
    ['#tag -1 1.5', '#tag -1 1.5'],
    ['-', '-'],
    ['***', '***'],
  ])('%j', (text, expected) => {
    for (const size of [1, 2, 100]) expect(screen(text, { columns: 80, size })).toBe(joined(expected));
  });

  test('the rows of a list item are indented', () => {
    expect(
      screen('- one two three four five')
        .split('\n')
        .map((row) => row.trimEnd()),
    ).toEqual(['• one two three', '  four five']);
  });

  test('without colours the text stays as it is', () => {
    expect(screen('# **a** `b`\n- c', { colours: false })).toBe('# **a** `b`\n- c');
  });
});

test('no letter is lost, wherever the stream is cut', () => {
  const pieces = fc.constantFrom(
    'word',
    ' ',
    '\n',
    '**',
    '*',
    '`',
    '```',
    '# ',
    '- ',
    '> ',
    '1. ',
    '|',
    '你',
    'x'.repeat(30),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (parts, size) => {
      const text = parts.join('');
      const letters = (shown: string): string => unstyled(shown).replace(/[^a-z你]/gu, '');
      for (const colours of [true, false]) {
        expect(letters(screen(text, { size, colours }))).toBe(letters(text));
      }
      const rows = screen(text.replaceAll('|', '').replaceAll('`', ''), { size }).split('\n');
      for (const row of rows) expect(Array.from(unstyled(row)).length).toBeLessThan(60);
    }),
    { numRuns: 300 },
  );
});
