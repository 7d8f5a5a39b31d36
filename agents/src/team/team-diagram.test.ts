import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AgentConfigT, RouteConfig } from './team-config.ts';
import { teamDiagram } from './team-diagram.ts';
import { isRemote, teamGraph } from './team-graph.ts';

/** Reads the part of Mermaid's state diagrams that we write; throws on a line that Mermaid would not take. */
function parse(text: string) {
  const [head, ...lines] = text.trimEnd().split('\n');
  if (head !== 'stateDiagram-v2') throw new Error(`not a state diagram: ${head}`);
  const names = new Map<string, string>();
  const arrows: { from: string; to: string; label: string | undefined }[] = [];
  const ID = '[A-Za-z]\\w*';
  // Characters that may be in any text as they are, and entities for all others. `test/mermaid` holds it to Mermaid itself.
  const TEXT = "(?:[A-Za-z0-9 =_.,@()?!'/-]|[^\\x00-\\x7f]|#(?:\\d+|quot);)*";
  const SYNTAX = /--|direction (?:TB|BT|LR|RL)/i;
  const decode = (raw: string) =>
    raw.replace(/#(\d+|quot);/g, (_, code: string) =>
      code === 'quot' ? '"' : String.fromCodePoint(Number(code)),
    );
  for (const line of lines) {
    if (/^ {2}direction (?:LR|TB)$/.test(line)) continue;
    const state = new RegExp(`^ {2}state "(${TEXT})" as (${ID})$`).exec(line);
    const arrow = new RegExp(`^ {2}(${ID}|\\[\\*\\]) --> (${ID}|\\[\\*\\])(?: : (${TEXT}))?$`).exec(line);
    if (SYNTAX.test(state?.[1] ?? arrow?.[3] ?? ''))
      throw new Error(`a text that Mermaid takes for syntax: ${line}`);
    if (state) names.set(state[2]!, decode(state[1]!));
    else if (arrow) arrows.push({ from: arrow[1]!, to: arrow[2]!, label: arrow[3] && decode(arrow[3]) });
    else throw new Error(`not a line of a state diagram: ${line}`);
  }
  for (const { from, to } of arrows) {
    for (const id of [from, to]) if (id !== '[*]' && !names.has(id)) throw new Error(`${id} is not declared`);
  }
  return { names, arrows };
}

const agent = (
  name: string,
  values_map: Record<string, RouteConfig>,
  otherwise?: RouteConfig,
): AgentConfigT => ({
  name,
  state_map: { function_name: 'f', argument_name: 'kind', values_map, ...(otherwise ? { otherwise } : {}) },
});

describe('teamDiagram', () => {
  it('TM-27 draws one arrow for each route, for any value', () => {
    const graph = teamGraph(
      [
        agent(
          'front desk',
          {
            'order status': { agent: 'orders' },
            'says "hi"; bye: #1': { agent: 'orders' },
            'Größe – 大きさ': { function: 'size' },
            spam: { ignore: 'spam: ads' },
            far: { agent: 'desk@support.fabric' },
          },
          { agent: 'orders' },
        ),
        { name: 'orders' },
      ],
      { start: 'front desk' },
    );
    const { names, arrows } = parse(teamDiagram(graph));
    const drawn = arrows.map(({ from, to, label }) => [names.get(from) ?? from, names.get(to) ?? to, label]);
    expect(drawn).toEqual([
      ['[*]', 'front desk', undefined],
      ['front desk', 'orders', 'kind = order status'],
      ['front desk', 'orders', 'kind = says "hi"; bye: #1'],
      ['front desk', 'size()', 'kind = Größe – 大きさ'],
      ['front desk', '[*]', 'kind = spam (ignore spam: ads)'],
      ['front desk', 'desk@support.fabric', 'kind = far'],
      ['front desk', 'orders', 'kind otherwise'],
      ['orders', '[*]', 'text'],
      ['size()', '[*]', 'text'],
      ['desk@support.fabric', '[*]', 'text'],
    ]);
    expect(teamDiagram(graph, { direction: 'TB' })).toContain('direction TB');
  });

  it('TM-27 is valid Mermaid for any names and values', () => {
    const syntax = fc.constantFrom(
      'end note',
      '[*]',
      '-->',
      '%%{init: {}}%%',
      '{',
      '<<fork>>',
      'direction LR',
      ':::x',
      '#1;',
    );
    const plain = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
    const word = fc.oneof(
      syntax,
      plain,
      fc.tuple(plain, syntax, plain).map((parts) => parts.join('')),
    );
    // A route to such a name leaves the team, so no agent of a team has one.
    const agentName = word.filter((name) => !isRemote(name));
    fc.assert(
      fc.property(agentName, fc.uniqueArray(word, { minLength: 1, maxLength: 6 }), (name, values) => {
        const map = Object.fromEntries(values.map((value) => [`=${value}`, { agent: name }]));
        const graph = teamGraph([agent(name, map)], { start: name });
        const { names, arrows } = parse(teamDiagram(graph));
        expect([...names.values()]).toEqual([name.replace(/[\s\p{Cc}]+/gu, ' ').trim()]);
        expect(arrows.filter((arrow) => arrow.label !== undefined)).toHaveLength(values.length);
      }),
    );
  });
});
