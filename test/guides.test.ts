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
const MAX_LINES = 30;

test('there is a guide for each style of agents, and for pages', () => {
  expect(GUIDES.map((file) => file.slice('docs/guides/'.length))).toEqual([
    'approval.md',
    'conversation.md',
    'strategies.md',
    'task-tree.md',
    'teams.md',
    'typed-calls.md',
    'web.md',
  ]);
});

/** The programs of this guide are pages, which `browser/pages.test.ts` runs. */
const PAGES = 'docs/guides/web.md';

test.each(GUIDES.filter((file) => file !== PAGES))(
  '%s has a program of less than 30 lines with its output',
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

test('the guide on web pages lists the events that there are', () => {
  const [, types] = /^export type TurnEvent =([\s\S]*)/m.exec(read('client/src/turn-event.ts'))!;
  const named = [...types!.matchAll(/\btype: '(\w+)'/g)].map(([, type]) => type!);
  const events = [...named, 'approval', 'approval_answer', 'done'];
  const [, section] = read(PAGES).split('\n## Events of a turn\n');
  const rows = [...section!.matchAll(/^\| `(\w+)` \| `/gm)].map(([, type]) => type!);
  expect(rows.toSorted()).toEqual([...new Set(events)].toSorted());
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
