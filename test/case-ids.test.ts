// `case-ids.json` names each case of the guarantees of a turn. Each must have at least one test whose title begins with its id and
// that is not skipped.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';

const CASES = JSON.parse(readFileSync(join(ROOT, 'test/case-ids.json'), 'utf8')) as Record<string, string>;
const ID = '(?:AG|DS|TL|HI|FB|TM|ST)-\\d+';
/** `it('AG-1 ...`, also after `.each(...)`; the first group is the modifiers in between. */
const NAMED = new RegExp(
  `\\b(?:it|test)((?:\\.\\w+)*)(?:\\((?:[^()]|\\([^()]*\\))*\\))?\\(\\s*['"\`](${ID})\\b`,
  'g',
);
/** A table whose rows have ids, and the test whose title contains them. */
const ROW = new RegExp(`\\bid: '(${ID})'`, 'g');
const NAMED_BY_ROW = /\b(?:it|test)\(`\$\{id\} /;

const files = globSync(['*/{src,examples}/**/*.{test,conformance}.ts', 'test/**/*.test.ts'], {
  cwd: ROOT,
  exclude: ['**/node_modules/**'],
});
const idsOf = (text: string): string[] => [
  ...[...text.matchAll(NAMED)]
    .filter(([, more = '']) => !/skip|todo|fails/.test(more))
    .map(([, , id]) => id!),
  ...(NAMED_BY_ROW.test(text) ? [...text.matchAll(ROW)].map(([, id]) => id!) : []),
];
const tested = new Set(files.flatMap((file) => idsOf(readFileSync(join(ROOT, file), 'utf8'))));

test('every case has a test that is named after it', () => {
  expect(Object.keys(CASES)).toHaveLength(162);
  expect(Object.entries(CASES).filter(([id]) => !tested.has(id))).toEqual([]);
});

test('no test is named after a case that does not exist', () => {
  expect([...tested].filter((id) => !Object.hasOwn(CASES, id))).toEqual([]);
});

test('a skipped test does not count', () => {
  expect(idsOf("it('AG-1 works', () => {})")).toEqual(['AG-1']);
  expect(idsOf("it.each([[f(1)]])('AG-2 %s', () => {})")).toEqual(['AG-2']);
  expect(idsOf("it.skip('AG-3 waits', () => {})\nit.todo('AG-4')")).toEqual([]);
});
