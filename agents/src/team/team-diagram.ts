// Draws a team as a Mermaid state diagram. Ids are generated, names are quoted aliases, and characters of Mermaid's syntax are escaped,
// so any name and any value can be drawn.
import type { TeamEdge, TeamGraph } from './team-graph.ts';

export interface DiagramOptions {
  /** @default LR */
  direction?: 'LR' | 'TB';
}

// Of ASCII only what Mermaid reads as plain text stays; `--`, `:::` and the like are syntax in some places, and a line that
// holds `direction LR` anywhere is taken for one that sets the direction.
const UNSAFE = /[^A-Za-z0-9 =_.,@()?!'/\u0080-\u{10ffff}-]|(?<=-)-|d(?=irection (?:TB|BT|LR|RL))/giu;
const escaped = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .replace(UNSAFE, (character) => (character === '"' ? '#quot;' : `#${character.codePointAt(0)};`));

/** Draws the diagram: one arrow for each route. Arrows on a cycle are marked with ↻. */
export function teamDiagram(graph: TeamGraph, options: DiagramOptions = {}): string {
  const ids = new Map<string, string>();
  const states: string[] = [];
  const idOf = (kind: 'a' | 'r' | 'f', name: string): string => {
    const key = `${kind} ${name}`;
    let id = ids.get(key);
    if (!id) {
      id = `${kind}_${[...ids.keys()].filter((other) => other.startsWith(kind)).length + 1}`;
      ids.set(key, id);
      states.push(`  state "${escaped(kind === 'f' ? `${name}()` : name)}" as ${id}`);
    }
    return id;
  };
  const labelOf = (edge: TeamEdge): string => {
    const value = edge.value === null ? `${edge.argument} otherwise` : `${edge.argument} = ${edge.value}`;
    const ignored = edge.to.kind === 'ignore' ? ` (ignore ${edge.to.name})` : '';
    return escaped(`${edge.isLoop ? '↻ ' : ''}${value}${ignored}`);
  };
  for (const name of graph.agents) idOf('a', name);
  const arrows = graph.edges.map((edge) => {
    const to = { agent: 'a', remote: 'r', function: 'f' } as const;
    const target = edge.to.kind === 'ignore' ? '[*]' : idOf(to[edge.to.kind], edge.to.name);
    return `  ${idOf('a', edge.from)} --> ${target} : ${labelOf(edge)}`;
  });
  const ends = [...ids]
    .filter(([key, id]) => !id.startsWith('a') || !graph.edges.some((edge) => `a ${edge.from}` === key))
    .map(([, id]) => `  ${id} --> [*] : text`);
  return [
    'stateDiagram-v2',
    `  direction ${options.direction ?? 'LR'}`,
    ...states,
    `  [*] --> ${idOf('a', graph.start)}`,
    ...arrows,
    ...ends,
    '',
  ].join('\n');
}
