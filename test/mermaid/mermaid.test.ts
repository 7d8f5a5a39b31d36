// Our diagrams, parsed by Mermaid itself. The unit tests of `teamDiagram` and `workflowToMermaid` use strict parsers of their own;
// this test shows that Mermaid reads the same from any diagram.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { teamDiagram } from '@fame-fabric/agents/internal';
import {
  addConditionalEdge,
  addEdge,
  defineHandler,
  defineJob,
  workflowToMermaid,
} from '@fame-fabric/agents/workflow';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadMermaid, type ParsedDiagram } from '../kit/mermaid.ts';
import { ROOT } from '../kit/processes.ts';

let parse: (source: string) => Promise<ParsedDiagram>;
beforeAll(async () => {
  parse = await loadMermaid();
});

/** Texts that are syntax somewhere in a diagram. */
const syntax = fc.constantFrom(
  ...[
    'end',
    'end note',
    '[*]',
    '-->',
    '==>',
    '--',
    '%%{init: {}}%%',
    '{',
    '}',
    '<<fork>>',
    'direction LR',
    ':::x',
  ],
  ...[
    '#1;',
    '#quot;',
    '"',
    '`',
    '|',
    'a|b',
    '<b>',
    '&amp;',
    'state',
    'note',
    'graph',
    'subgraph',
    'click',
    '\\',
  ],
);
const plain = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const name = fc.oneof(
  syntax,
  plain,
  fc.tuple(plain, syntax, plain).map((parts) => parts.join('')),
);
const shown = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();

test('an invalid diagram is rejected', async () => {
  await expect(parse('stateDiagram-v2\n  a --> --> b')).rejects.toThrow('Parse error');
  await expect(parse('flowchart TD\n  a[no end')).rejects.toThrow('Parse error');
});

describe('teamDiagram', () => {
  /** A team file with a blank name is refused. */
  const agentName = name.filter((text) => shown(text) !== '');
  const edge = (from: string, value: string | null, to: string) =>
    ({ from, argument: 'kind', value, to: { kind: 'agent', name: to }, isLoop: false }) as const;

  test('TM-27 Mermaid reads one arrow for each route, with any names and values', async () => {
    await fc.assert(
      fc.asyncProperty(
        agentName,
        agentName,
        fc.uniqueArray(name, { minLength: 1, maxLength: 6 }),
        async (one, two, values) => {
          fc.pre(one !== two);
          const edges = values.map((value) => edge(one, value, two));
          const { type, nodes, arrows } = await parse(
            teamDiagram({ start: one, agents: [one, two], edges } as never),
          );
          expect(type).toBe('stateDiagram');
          expect([nodes.get('a_1'), nodes.get('a_2')]).toEqual([shown(one), shown(two)]);
          const labels = arrows
            .filter(({ from, to }) => from === 'a_1' && to === 'a_2')
            .map(({ label }) => label);
          expect(labels).toEqual(values.map((value) => shown(`kind = ${value}`)));
          expect(arrows).toHaveLength(values.length + 2);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('workflowToMermaid', () => {
  test('AG-24 Mermaid reads nodes and conditions with any names', async () => {
    await fc.assert(
      fc.asyncProperty(name, name, name, async (one, two, condition) => {
        const first = defineJob<void, unknown>(one, () => undefined)();
        const second = defineHandler<[], unknown>(two, async () => undefined)();
        addConditionalEdge(first, { [condition]: second });
        addEdge(second, first);
        const { type, nodes, arrows } = await parse(workflowToMermaid(first));
        expect(type).toMatch(/^flowchart/);
        const readable = (text: string): string => text.replace(/[\u0000-\u001f]+/g, ' ').trim();
        expect([...nodes]).toEqual([
          ['n1', readable(one)],
          ['n2', readable(two)],
        ]);
        expect(arrows).toEqual([
          { from: 'n1', to: 'n2', label: readable(condition) },
          { from: 'n2', to: 'n1', label: '' },
        ]);
      }),
      { numRuns: 100 },
    );
  });
});

const drawings = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT }).flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^```mermaid\n([\s\S]*?)^```/gm)].map(
    ([, source], n) => [`${file}, ${n + 1}`, source!] as const,
  ),
);

test.each(drawings)('the diagram in %s is valid', async (_name, source) => {
  expect((await parse(source)).type).toMatch(/^(?:flowchart|stateDiagram|sequence)/);
});
