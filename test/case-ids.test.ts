// `case-ids.json` names each case of the guarantees of a turn, and `report-ids.json` each public report of a fault in other programs
// that ours must not have. Each must have at least one test whose title begins with its id and that is not skipped.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
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

const SOURCES = ['*/{src,examples}/**/*.{test,conformance}.ts', 'test/**/*.test.ts'];
const files = globSync(SOURCES, { cwd: ROOT, exclude: ['**/node_modules/**'] });
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

describe('public reports', () => {
  const REPORTS = JSON.parse(readFileSync(join(ROOT, 'test/report-ids.json'), 'utf8')) as Record<
    string,
    string
  >;
  const REPORT_ID = '[abc]\\d\\d';
  /** The ids at the start of a title, such as `c80, c81: ...` or `FB-5, c98: ...`. */
  const IDS = `((?:(?:[A-Z]+-?\\d+|${REPORT_ID})(?:, |(?=[ :'"\`])))+)`;
  const TITLE = new RegExp(
    `\\b(?:it|test)((?:\\.\\w+)*)(?:\\((?:[^()]|\\([^()]*\\))*\\))?\\(\\s*['"\`]${IDS}`,
    'g',
  );
  /** The first column of a table, whose text begins the title. */
  const FIRST_COLUMN = new RegExp(`\\[\\s*['"\`]${IDS}`, 'g');

  const reportsOf = (file: string, text: string): string[] => {
    const titles = [...text.matchAll(TITLE)]
      .filter(([, more = '']) => !/skip|todo|fails/.test(more))
      .map(([, , ids]) => ids!);
    const rows = /cases\.test\.ts$/.test(file) ? [...text.matchAll(FIRST_COLUMN)].map(([, ids]) => ids!) : [];
    return [...titles, ...rows].flatMap((ids) => ids.match(new RegExp(`\\b${REPORT_ID}\\b`, 'g')) ?? []);
  };
  const all = globSync(['bin/**/*.test.ts', ...SOURCES], { cwd: ROOT, exclude: ['**/node_modules/**'] });
  const withTests = new Set(all.flatMap((file) => reportsOf(file, readFileSync(join(ROOT, file), 'utf8'))));

  test('every report has a test that is named after it', () => {
    expect(Object.keys(REPORTS)).toHaveLength(132);
    expect(Object.entries(REPORTS).filter(([id]) => !withTests.has(id))).toEqual([]);
  });

  test('no test is named after a report that does not exist', () => {
    expect([...withTests].filter((id) => !Object.hasOwn(REPORTS, id))).toEqual([]);
  });

  test('titles and rows count, skipped tests and other lists do not', () => {
    expect(reportsOf('x.test.ts', "test('c80, c81: below', f)\nit('FB-5, c98: keeps', f)")).toEqual([
      'c80',
      'c81',
      'c98',
    ]);
    expect(reportsOf('cases.test.ts', "test.each([['a01 no index', f], [\n 'a02']])('%s', f)")).toEqual([
      'a01',
      'a02',
    ]);
    expect(reportsOf('x.test.ts', "test.skip('a03 x', f)\nexpect(all).toEqual(['a04'])")).toEqual([]);
  });
});
