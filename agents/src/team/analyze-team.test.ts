import { describe, expect, it } from 'vitest';
import { scriptedModel } from '../testing/scripted-model.ts';
import { type DiagnosticCode, formatDiagnostic, type TeamConfigError } from '../yaml/diagnostic.ts';
import { analyzeTeam } from './analyze-team.ts';
import { loadTeam } from './load-team.ts';
import type { AgentConfigT, RouteConfig, TeamConfigInput } from './team-config.ts';

const routes = (
  map: Record<string, RouteConfig>,
  more: Partial<AgentConfigT> = {},
): Omit<AgentConfigT, 'name'> => ({
  functions: [
    {
      name: 'route',
      parameters: { type: 'object', properties: { v: { type: 'string', enum: Object.keys(map) }, x: {} } },
    },
  ],
  function_call: { name: 'route' },
  state_map: { function_name: 'route', argument_name: 'v', values_map: map },
  ...more,
});
const agentsOf = (agents: Record<string, Omit<AgentConfigT, 'name'>>): AgentConfigT[] =>
  Object.entries(agents).map(([name, agent]) => ({ name, ...agent }));
const analyze = (
  agents: Record<string, Omit<AgentConfigT, 'name'>>,
  team: Parameters<typeof analyzeTeam>[2] = {},
  start = 'a',
) => analyzeTeam(agentsOf(agents), start, { abilities: new Set(['f']), tokens: new Set(['known']), ...team });
const load = (agents: Record<string, Omit<AgentConfigT, 'name'>>, model = scriptedModel([])) =>
  loadTeam({ start: 'a', agents } as TeamConfigInput, { models: { default: model } }).then(
    () => undefined,
    (error: TeamConfigError) => error,
  );

describe('analyzeTeam', () => {
  it('TM-22 refuses two agents that can only hand over to each other, before any model call', async () => {
    const model = scriptedModel([]);
    const error = await load(
      { a: routes({ to_b: { agent: 'b' } }), b: routes({ to_a: { agent: 'a' } }) },
      model,
    );
    expect(error?.code).toBe('TEAM_CONFIG');
    expect(error?.diagnostics.map((one) => [one.code, one.message])).toEqual([
      ['TEAM_TRAP', 'nothing leads out of this circle: a →(v = to_b) b →(v = to_a) a'],
    ]);
    expect(model.count).toBe(0);
  });

  it('TM-23 refuses an agent that routes only to itself, a ring of three, and an invalid exit', () => {
    const codes = (agents: Parameters<typeof analyze>[0]) =>
      analyze(agents).diagnostics.map(formatDiagnostic);
    expect(codes({ a: routes({ again: { agent: 'a' } }) })).toEqual([
      'a.state_map.values_map.again error TEAM_TRAP: nothing leads out of this circle: a →(v = again) a',
    ]);
    expect(
      codes({
        a: routes({ n: { agent: 'b' } }),
        b: routes({ n: { agent: 'c' } }),
        c: routes({ n: { agent: 'a' } }),
      }),
    ).toEqual([
      'a.state_map.values_map.n error TEAM_TRAP: nothing leads out of this circle: a →(v = n) b →(v = n) c →(v = n) a',
    ]);
    const { state_map: map, ...rest } = routes({ x: { agent: 'a' } });
    expect(codes({ a: { ...rest, state_map: { ...map!, otherwise: { agent: 'a' } } } })[0]).toContain(
      'TEAM_TRAP',
    );
    expect(codes({ a: routes({ x: { agent: 'a' } }, { function_call: 'required' }) })[0]).toContain(
      'TEAM_TRAP',
    );
  });

  it('TM-23 recognizes every kind of exit', () => {
    const isTrap = (map: Record<string, RouteConfig>, more: Partial<AgentConfigT> = {}) =>
      analyze({ a: routes({ again: { agent: 'a' }, ...map }, more), b: {} }).diagnostics.some(
        (one) => one.code === 'TEAM_TRAP',
      );
    expect(isTrap({})).toBe(true);
    expect(isTrap({ x: { function: 'f' } })).toBe(false);
    expect(isTrap({ x: { ignore: 'spam' } })).toBe(false);
    expect(isTrap({ x: { agent: 'b' } })).toBe(false);
    expect(isTrap({ x: { agent: 'desk@support.fabric' } })).toBe(false);
    expect(isTrap({}, { function_call: 'auto' })).toBe(false);
  });

  it('TM-24 reports a cycle with an exit, by its configured level', async () => {
    const agents = {
      a: routes({ ask: { agent: 'clarify' }, end: { ignore: 'x' } }),
      clarify: routes({ back: { agent: 'a' }, end: { ignore: 'x' } }),
    };
    const way = 'agents can hand over in a circle: a →(v = ask) clarify →(v = back) a';
    const told = (team: object) =>
      analyze(agents, { team }).diagnostics.map((one) => [one.level, one.message]);
    expect(told({})).toEqual([['error', `${way}; list it in allow_cycles, or set limits`]]);
    expect(told({ limits: { max_visits: 3 } })).toEqual([['warning', way]]);
    expect(told({ allow_cycles: [['clarify', 'a']] })).toEqual([]);
    const team = await loadTeam({ start: 'a', agents, allow_cycles: [['a', 'clarify']] } as TeamConfigInput, {
      models: { default: scriptedModel([]) },
    });
    const diagram = team.toMermaid();
    expect(diagram).toContain('a_1 --> a_2 : ↻ v = ask');
    expect(diagram).toContain('a_2 --> a_1 : ↻ v = back');
    expect(diagram).toContain('a_1 --> [*] : v = end (ignore x)');
  });

  const exit = { end: { ignore: 'x' } };
  it.each<[DiagnosticCode, 'error' | 'warning', ReturnType<typeof analyze>]>([
    ['TEAM_TRAP', 'error', analyze({ a: routes({ x: { agent: 'a' } }) })],
    ['TEAM_CYCLE', 'error', analyze({ a: routes({ x: { agent: 'a' }, ...exit }) })],
    ['TEAM_UNKNOWN_AGENT', 'error', analyze({ a: routes({ x: { agent: 'unknown' } }) })],
    ['TEAM_UNKNOWN_AGENT', 'error', analyze({ a: routes({ x: { agent: 'no body@x' } }) })],
    ['TEAM_UNKNOWN_AGENT', 'error', analyze({ a: {} }, {}, 'unknown')],
    ['TEAM_UNKNOWN_AGENT', 'error', analyze({ a: {} }, { team: { on_limit: { agent: 'unknown' } } })],
    ['TEAM_UNKNOWN_AGENT', 'error', analyze({ a: {} }, { team: { allow_cycles: [['a', 'unknown']] } })],
    ['TEAM_UNKNOWN_FUNCTION', 'error', analyze({ a: { functions: [{ name: 'g' }] } })],
    ['TEAM_UNKNOWN_FUNCTION', 'error', analyze({ a: routes({ x: { function: 'g' } }) })],
    [
      'TEAM_UNKNOWN_FUNCTION',
      'error',
      analyze({ a: { state_map: { function_name: 'route', argument_name: 'v', values_map: exit } } }),
    ],
    [
      'TEAM_UNKNOWN_ARGUMENT',
      'error',
      analyze({
        a: routes(exit, { state_map: { function_name: 'route', argument_name: 'w', values_map: exit } }),
      }),
    ],
    ['TEAM_UNKNOWN_ARGUMENT', 'error', analyze({ a: routes({ x: { agent: 'b', with: ['y'] } }), b: {} })],
    [
      'TEAM_UNMAPPED_VALUE',
      'error',
      analyze({
        a: routes(
          { ...exit, more: { ignore: 'y' } },
          { state_map: { function_name: 'route', argument_name: 'v', values_map: exit } },
        ),
      }),
    ],
    [
      'TEAM_EXTRA_ROUTE',
      'warning',
      analyze({
        a: routes(exit, {
          state_map: {
            function_name: 'route',
            argument_name: 'v',
            values_map: { ...exit, more: { ignore: 'y' } },
          },
        }),
      }),
    ],
    ['TEAM_UNREACHABLE', 'warning', analyze({ a: {}, b: {} })],
    [
      'TEAM_REQUIRED_UNDECLARED',
      'warning',
      analyze({
        a: { functions: [{ name: 'f', parameters: { type: 'object', properties: {}, required: ['id'] } }] },
      }),
    ],
    [
      'TEAM_FORCED_UNKNOWN',
      'error',
      analyze({ a: { functions: [{ name: 'f' }], function_call: { name: 'g' } } }),
    ],
    ['TEAM_TOKEN_UNKNOWN', 'error', analyze({ a: { system_directives: 'Hi %{unknown} %{known}' } })],
    ['TEAM_TOKEN_UNKNOWN', 'error', analyze({ a: { system_directives: 'Hi %{handoff.mood}' } })],
  ])('TM-28 finds %s (%s) and nothing else', (code, level, { diagnostics }) => {
    expect(diagnostics.map((one) => [one.code, one.level])).toEqual([[code, level]]);
  });

  it('TM-28 reports nothing for a valid team', () => {
    const { diagnostics, graph } = analyze(
      {
        a: routes({
          b: { agent: 'b', with: ['x'] },
          f: { function: 'f' },
          far: { agent: 'capability:billing' },
          ...exit,
        }),
        b: {
          system_directives: 'Mood: %{handoff.x}, maybe %{later}',
          optional_tokens: ['later'],
          functions: [{ name: 'f' }],
        },
        desk: {},
      },
      { team: { on_limit: { agent: 'desk' } } },
    );
    expect(diagnostics).toEqual([]);
    expect(graph.edges.map((edge) => edge.to.kind)).toEqual(['agent', 'function', 'remote', 'ignore']);
    expect(graph.cycles).toEqual([]);
  });
});
