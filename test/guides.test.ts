// Compares the guides and the reference of team files with the code: every key and every fault has a row, programs are short, and
// diagrams are those of the command. `integration/examples.test.ts` runs the commands in the guides.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentKeysAt, refineKeysAt, teamDiagram, teamKeysAt } from '@fame-fabric/agents/internal';
import { readTeam } from '@fame-fabric/agents/team';
import { describe, expect, test } from 'vitest';
import { ROOT } from './kit/processes.ts';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const GUIDES = globSync('docs/guides/*.md', { cwd: ROOT }).sort();
const PAGES = globSync('docs/coming-from/*.md', { cwd: ROOT }).sort();
const MAX_LINES = 30;

/**
 * Guides whose programs run elsewhere: those in Python in `npm run interop-python`, projects in `packaging/create-app.test.ts`, pages in
 * `browser/pages.test.ts`, those of OpenAI clients in `doors/openai/guide.test.ts`, settings of editors in `integration/acp.test.ts`, the cluster in
 * `crash/cluster-guide.test.ts`. The guide of the MCP door has commands only.
 */
const OTHER_GUIDES = [
  'docs/guides/python.md',
  'docs/guides/project.md',
  'docs/guides/web.md',
  'docs/guides/http.md',
  'docs/guides/mcp.md',
  'docs/guides/openai.md',
  'docs/guides/responses.md',
  'docs/guides/editors.md',
  'docs/guides/cluster.md',
];

test('there is a guide for each style of agents', () => {
  const names = GUIDES.map((file) => file.slice('docs/guides/'.length));
  for (const style of ['approval', 'conversation', 'strategies', 'task-tree', 'teams']) {
    expect(names).toContain(`${style}.md`);
  }
});

test.each(GUIDES.filter((file) => !OTHER_GUIDES.includes(file)))(
  '%s has programs of less than 30 lines with their output',
  (file) => {
    const text = read(file);
    const programs = [...text.matchAll(/^```ts (\S+)\n/gm)].map(([, path]) => path!);
    expect(programs.length).toBeGreaterThan(0);
    for (const path of programs) {
      expect(read(path).trim().split('\n').length, path).toBeLessThan(MAX_LINES);
      expect(text).toContain(`\n$ npx node ${path}`);
    }
  },
);

test('the README links every guide', () => {
  const readme = read('README.md');
  for (const file of [...GUIDES, ...PAGES]) expect(readme).toContain(`](${file})`);
});

test('the guide on web pages lists the events that there are', () => {
  const [, types] = /^export type TurnEvent =([\s\S]*)/m.exec(read('client/src/turn-event.ts'))!;
  const named = [...types!.matchAll(/\btype: '(\w+)'/g)].map(([, type]) => type!);
  const events = [...named, 'approval', 'approval_answer', 'done'];
  const [, section] = read('docs/guides/web.md').split('\n## Events of a turn\n');
  const rows = [...section!.matchAll(/^\| `(\w+)` \| `/gm)].map(([, type]) => type!);
  expect(rows.toSorted()).toEqual([...new Set(events)].toSorted());
});

describe('pages for users of other frameworks', () => {
  test.each(PAGES)('%s shows lines of programs that run', (file) => {
    const text = read(file);
    const programs = [...text.matchAll(/\]\(\.\.\/\.\.\/(agents\/examples\/[\w/-]+\.ts)\)|^```ts (\S+)\n/gm)];
    const lines = new Set(
      programs.flatMap(([, linked, shown]) => read(linked ?? shown!).split('\n')).map((line) => line.trim()),
    );
    const shown = [...text.matchAll(/^\| .+ \| .+ \| (`{1,2}) ?(.+?) ?\1 \|$/gm)].map(([, , line]) =>
      line!.replaceAll('\\|', '|'),
    );
    expect(shown.length).toBeGreaterThan(5);
    for (const line of shown) expect(lines).toContain(line);
    // `integration/examples.test.ts` runs the programs.
    for (const [, path] of text.matchAll(/^```ts (\S+)\n/gm)) expect(text).toContain(`\n$ npx node ${path}`);
  });
});

describe('docs/team-configuration.md', () => {
  const text = read('docs/team-configuration.md');
  const keysIn = (heading: string): string[] => {
    const at = text.indexOf(`\n## ${heading}\n`);
    if (at < 0) throw new Error(`there is no "${heading}"`);
    const end = text.indexOf('\n## ', at + 4);
    const rows = text.slice(at, end < 0 ? undefined : end).matchAll(/^\| `(\w+)` \|/gm);
    return [...rows].map(([, key]) => key!).sort();
  };
  const known = (keys: readonly string[]): string[] => [...keys].sort();

  test.each([
    ['A team', teamKeysAt([])],
    ['Limits', teamKeysAt(['limits'])],
    ['Prices', teamKeysAt(['prices', 'any'])],
    ['An agent', agentKeysAt([])],
    ['A function', agentKeysAt(['functions', 0])],
    ['A state map', agentKeysAt(['state_map'])],
    ['A route', agentKeysAt(['state_map', 'otherwise'])],
    ['A refining dialogue', refineKeysAt([])],
  ])('%s: lists the keys that are read, and no others', (heading, keys) => {
    expect(keysIn(heading)).toEqual(known(keys));
  });

  test('names the keys inside of others', () => {
    for (const key of teamKeysAt(['defaults'])) expect(text).toContain(`\`${key}\``);
    const inner = [...refineKeysAt(['then']), ...refineKeysAt(['budget'])];
    for (const key of inner) expect(text).toMatch(new RegExp(`\`\\{[^\`]*\\b${key}\\b[^\`]*\\}\``));
  });

  test('lists the faults that there are', () => {
    const codes = read('agents/src/yaml/diagnostic.ts').matchAll(/^ {2}\| '(TEAM_\w+)'/gm);
    expect(keysIn('Faults')).toEqual(known([...codes].map(([, code]) => code!)));
  });
});

test('the diagram in the guide is that of the command', async () => {
  const { graph } = await readTeam(join(ROOT, 'agents/examples/support-team/team.yaml'));
  const [, drawing] = /```mermaid\n([\s\S]*?)```/.exec(read('docs/guides/teams.md'))!;
  expect(drawing).toBe(teamDiagram(graph));
});

// Each row of `docs/seeds.md` names a line of the code and the title of a test.

/** `` `text` in [name](../path) ``; a text with backticks is in two of them. */
const NAMED = String.raw`(\`{1,2}) ?(.+?) ?\KIND in \[[^\]]+\]\(\.\./([^)]+)\)`;
const ROW = new RegExp(`^\\| (.+?) \\| ${NAMED.replace('KIND', '2')} \\| ${NAMED.replace('KIND', '5')} \\|$`);

interface Statement {
  statement: string;
  line: string;
  file: string;
  title: string;
  testFile: string;
}

const statements: Statement[] = read('docs/seeds.md')
  .split('\n')
  .filter((row) => /^\| (?!Statement)/.test(row))
  .map((row) => {
    const [, statement, , line, file, , title, testFile] = ROW.exec(row) ?? [];
    if (!statement || !line || !file || !title || !testFile)
      throw new Error(`not a row of a statement: ${row}`);
    const plain = (text: string): string => text.replaceAll('\\|', '|');
    return { statement, line: plain(line), file, title: plain(title), testFile };
  });

/** Titles of the tests in a file, without those that are skipped. */
function titlesOf(text: string): string[] {
  const calls = text.matchAll(
    /\b(?:it|test)((?:\.\w+)*)(?:<[^(]*>)?(?:\((?:[^()]|\([^()]*\))*\))?\(\s*(['"`])((?:(?!\2).)*)\2/g,
  );
  return [...calls].flatMap(([, more = '', , title]) => (/skip|todo|fails/.test(more) ? [] : [title!]));
}

test('docs/seeds.md: the four texts have their statements', () => {
  expect(read('docs/seeds.md').match(/^## .+$/gm)).toHaveLength(4);
  expect(statements.length).toBeGreaterThan(70);
  expect(new Set(statements.map(({ statement }) => statement)).size).toBe(statements.length);
});

test.each(statements)(
  'docs/seeds.md, $statement: the line and the test exist',
  ({ line, file, title, testFile }) => {
    const lines = read(file)
      .split('\n')
      .map((one) => one.trim());
    expect(lines).toContain(line);
    expect(titlesOf(read(testFile))).toContain(title);
  },
);

test('docs/seeds.md: a title of a skipped test, or of none, is not found', () => {
  expect(
    titlesOf("it('a', f); test.each<number>([1])('b', f); it.skip('c', f); test.todo('d'); // 'e'"),
  ).toEqual(['a', 'b']);
});
