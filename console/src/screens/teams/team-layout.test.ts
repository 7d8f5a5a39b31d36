import { expect, test } from 'vitest';
import type { TeamDescription, TeamRoute } from './team.ts';
import { layoutTeam, NODE_HEIGHT, nodeId } from './team-layout.ts';

type Target = readonly [from: string, value: string | null, kind: TeamRoute['to']['kind'], to: string];

/** A team with these routes. */
export const teamOf = (targets: readonly Target[], more: Partial<TeamDescription> = {}): TeamDescription => {
  const names = new Set([
    'a',
    ...targets.flatMap(([from, , kind, to]) => (kind === 'agent' ? [from, to] : [from])),
  ]);
  return {
    start: 'a',
    agents: [...names].map((name) => ({
      name,
      model: 'm',
      functions: ['route'],
      routes_by: 'route',
      must_route: true,
      reachable: true,
    })),
    routes: targets.map(([from, value, kind, name]) => ({
      from,
      to: { kind, name },
      argument: 'topic',
      value,
      is_loop: false,
    })),
    cycles: [],
    longest_route: null,
    limits: { max_handoffs: 8, max_visits: 2, max_model_calls: 16, max_usd: null, on_limit: 'error' },
    findings: [],
    worst_case: {
      handoffs: 1,
      model_calls: 1,
      prompt_tokens: 1,
      completion_tokens: null,
      cost: 'unknown',
      unbounded: [],
      assumed_prompt_tokens: 1,
    },
    diagram: null,
    ...more,
  };
};
const columnsOf = (team: TeamDescription): string[][] => {
  const columns = new Map<number, string[]>();
  for (const { x, text } of layoutTeam(team).nodes) columns.set(x, [...(columns.get(x) ?? []), text]);
  return [...columns].sort(([a], [b]) => a - b).map(([, names]) => names.sort());
};

test('each node is right of the nodes that route to it', () => {
  const team = teamOf([
    ['a', 'x', 'agent', 'b'],
    ['a', 'y', 'agent', 'c'],
    ['b', 'z', 'agent', 'c'],
    ['c', 'f', 'function', 'send'],
    ['a', 'spam', 'ignore', 'spam'],
    ['c', null, 'remote', 'desk@other.fabric'],
  ]);
  expect(columnsOf(team)).toEqual([['a'], ['b', 'ignore: spam'], ['c'], ['desk@other.fabric', 'send()']]);
});

test('no two nodes overlap, and everything is inside the drawing', () => {
  const { nodes, edges, width, height } = layoutTeam(
    teamOf(Array.from({ length: 60 }, (_, i): Target => ['a', `v${i}`, 'agent', `agent ${i % 30}`])),
  );
  expect([nodes.length, edges.length]).toEqual([31, 30]);
  for (const [i, one] of nodes.entries()) {
    expect(one.x + one.width).toBeLessThan(width);
    expect(one.y + NODE_HEIGHT).toBeLessThan(height);
    for (const other of nodes.slice(i + 1))
      expect(other.x !== one.x || Math.abs(other.y - one.y) > NODE_HEIGHT).toBe(true);
  }
});

test('routes with the same ends are one line with all values', () => {
  const { edges } = layoutTeam(
    teamOf([
      ['a', 'x', 'agent', 'b'],
      ['a', null, 'agent', 'b'],
    ]),
  );
  expect(edges).toMatchObject([{ label: 'x | otherwise', title: 'topic = x, topic otherwise' }]);
});

test('loops lead back below the nodes, also an agent that routes to itself', () => {
  const { nodes, edges, height } = layoutTeam(
    teamOf([
      ['a', 'x', 'agent', 'b'],
      ['b', 'y', 'agent', 'a'],
      ['b', 'z', 'agent', 'b'],
    ]),
  );
  const lowest = Math.max(...nodes.map(({ y }) => y + NODE_HEIGHT));
  expect(edges.map(({ labelY }) => labelY > lowest)).toEqual([false, true, true]);
  expect(height).toBeGreaterThan(lowest + 40);
});

test('a team may be empty or have 2,000 agents in a row', () => {
  expect(layoutTeam({ ...teamOf([]), agents: [], routes: [] })).toMatchObject({ nodes: [], edges: [] });
  const row = Array.from(
    { length: 2_000 },
    (_, i): Target => [i === 0 ? 'a' : `n${i}`, 'x', 'agent', `n${i + 1}`],
  );
  const { nodes } = layoutTeam(teamOf(row));
  expect(nodes.find(({ id }) => id === nodeId('agent', 'n2000'))!.x).toBe(
    Math.max(...nodes.map(({ x }) => x)),
  );
});
