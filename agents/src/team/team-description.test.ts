import { FabricError } from '@fame-fabric/shared';
import { describe, expect, it } from 'vitest';
import { callTools } from '../testing/script.ts';
import { scriptedModel } from '../testing/scripted-model.ts';
import { servedChat } from '../testing/served-chat.ts';
import type { AbilityModule } from './ability.ts';
import { loadTeam } from './load-team.ts';
import { TeamAgent } from './team-agent.ts';
import type { AgentConfigT, RouteConfig, TeamConfigInput } from './team-config.ts';
import type { TeamDescription } from './team-description.ts';

type Agents = Extract<TeamConfigInput['agents'], object>;

const router = (map: Record<string, RouteConfig>, more: Partial<AgentConfigT> = {}): Agents[string] => ({
  functions: [
    {
      name: 'route',
      parameters: { type: 'object', properties: { to: { type: 'string', enum: Object.keys(map) } } },
    },
  ],
  function_call: { name: 'route' },
  state_map: { function_name: 'route', argument_name: 'to', values_map: map },
  ...more,
});
const plain = (more: Partial<AgentConfigT> = {}): Agents[string] => ({ system_directives: 'Hi.', ...more });
const PRICE = { input: 2, output: 10 };

const describeTeam = async (
  agents: Agents,
  more: Partial<TeamConfigInput> = {},
  { abilities, ...options }: { abilities?: AbilityModule[]; [option: string]: unknown } = {},
): Promise<TeamDescription> => {
  const config = { start: Object.keys(agents)[0]!, agents, ...more };
  const deps = { models: () => scriptedModel([]), ...(abilities ? { abilities } : {}) };
  return (await loadTeam(config, deps)).describe(options);
};

describe('describe_team', () => {
  it('has the graph, the limits and the findings, and no directives', async () => {
    const team = await describeTeam({
      desk: router({ order: { agent: 'orders', with: ['to'] }, spam: { ignore: 'spam' } }),
      orders: plain({ system_directives: 'A secret directive.' }),
      lost: plain(),
    });
    expect(team).toMatchObject({
      start: 'desk',
      agents: [
        { name: 'desk', functions: ['route'], routes_by: 'route', must_route: true, reachable: true },
        { name: 'orders', functions: [], must_route: false, reachable: true },
        { name: 'lost', reachable: false },
      ],
      routes: [
        { from: 'desk', to: { kind: 'agent', name: 'orders' }, argument: 'to', value: 'order', with: ['to'] },
        { from: 'desk', to: { kind: 'ignore', name: 'spam' }, value: 'spam', is_loop: false },
      ],
      cycles: [],
      longest_route: ['desk', 'orders'],
      limits: { max_handoffs: 8, max_visits: 2, max_model_calls: 16, max_usd: null, on_limit: 'error' },
      findings: [{ code: 'TEAM_UNREACHABLE', level: 'warning', agent: 'lost' }],
    });
    expect(team.diagram).toMatch(/^stateDiagram-v2\n/);
    expect(JSON.stringify(team)).not.toContain('secret');
    expect(team.truncated).toBeUndefined();
  });

  it('fits one envelope for a team of any size', async () => {
    const map = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, i) => [`${i} ${'x'.repeat(500)}`, { agent: 'b' }]),
    );
    const team = await describeTeam({ a: router(map), b: plain() });
    expect(team.truncated).toBe(true);
    expect(team.diagram).toBeNull();
    expect(team.routes.length).toBeGreaterThan(100);
    expect(Buffer.byteLength(JSON.stringify(team))).toBeLessThan(200_000);
  });

  it('is an operation of team agents, whose budget counts', async () => {
    const agents = { desk: router({ order: { agent: 'orders' } }), orders: plain() };
    const team = await loadTeam({ start: 'desk', agents }, { models: () => scriptedModel([]) });
    const served = await servedChat(new TeamAgent({ team, budget: { turn: { maxModelCalls: 3 } } }));
    const answer = await served.call<TeamDescription>('describe_team', { prompt_tokens: 100 });
    expect(answer.worst_case).toMatchObject({
      model_calls: 3,
      prompt_tokens: 300,
      assumed_prompt_tokens: 100,
    });
    const { operations } = await served.call<{ operations: { name: string }[] }>('describe', {});
    expect(operations.map(({ name }) => name)).toContain('describe_team');
    await expect(served.call('describe_team', { prompt_tokens: 0 })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
    });
    await served.close();
  });
});

describe('the worst case of a message', () => {
  const priced = { 'scripted*': PRICE };
  const chain = {
    a: router({ b: { agent: 'b' } }, { max_tokens: 100 }),
    b: router({ c: { agent: 'c' } }, { max_tokens: 400 }),
    c: plain({ max_tokens: 50 }),
  };

  it('multiplies the most expensive call by the most calls', async () => {
    const { worst_case } = await describeTeam(chain, {}, { prices: priced, promptTokens: 1_000 });
    expect(worst_case).toEqual({
      handoffs: 2,
      model_calls: 16,
      prompt_tokens: 16_000,
      completion_tokens: 6_400,
      // 16 calls, each with 1,000 tokens at 2 USD and 400 tokens at 10 USD for a million.
      cost: { amount: expect.closeTo(16 * 0.006, 9), currency: 'USD' },
      unbounded: [],
      assumed_prompt_tokens: 1_000,
    });
  });

  it('is one call for an agent without functions', async () => {
    const { worst_case } = await describeTeam({ a: plain({ max_tokens: 10 }) }, {}, { prices: priced });
    expect(worst_case).toMatchObject({ handoffs: 0, model_calls: 1, completion_tokens: 10 });
  });

  it('stops at a limit in USD after the call that exceeds it', async () => {
    const limits = { max_usd: 0.01 };
    const more = { limits, prices: priced };
    const { worst_case } = await describeTeam(chain, more, { prices: priced, promptTokens: 1_000 });
    expect(worst_case.cost).toEqual({ amount: expect.closeTo(0.016, 9), currency: 'USD' });
    const smaller = { prices: priced, promptTokens: 1_000, budget: { maxUsd: 0.001, maxTokens: 2_000 } };
    const limited = (await describeTeam(chain, more, smaller)).worst_case;
    expect(limited.cost).toEqual({ amount: expect.closeTo(0.007, 9), currency: 'USD' });
    expect(limited).toMatchObject({ prompt_tokens: 2_000, completion_tokens: 2_400 });
  });

  it('names the reasons for which there is no bound', async () => {
    const { worst_case } = await describeTeam({
      a: router({ b: { agent: 'b' } }),
      b: plain({ max_tokens: 5 }),
    });
    expect(worst_case).toMatchObject({ completion_tokens: null, cost: 'unknown' });
    expect(worst_case.unbounded).toEqual([
      'max_tokens is not set for a.',
      expect.stringMatching(/^There is no price for /),
    ]);
  });

  it('counts unreachable agents neither for tokens nor for prices', async () => {
    const agents = { a: plain({ max_tokens: 10 }), lost: plain({ model: 'other' }) };
    const { worst_case } = await describeTeam(agents, {}, { prices: priced });
    expect(worst_case).toMatchObject({ completion_tokens: 10, unbounded: [] });
  });

  it('is reached by a message on a cycle', async () => {
    const agents = {
      a: router({ b: { agent: 'b' }, end: { ignore: 'end' } }),
      b: router({ a: { agent: 'a' }, end: { ignore: 'end' } }),
    };
    const replies = Array.from({ length: 8 }, (_, i) =>
      callTools({ name: 'route', arguments: { to: i % 2 === 0 ? 'b' : 'a' } }),
    );
    const config = { start: 'a', agents, limits: { max_hops: 5, max_visits: 2 } };
    const team = await loadTeam(config, { models: { default: scriptedModel(replies) } });
    const { worst_case, longest_route, cycles } = team.describe({});
    expect([longest_route, cycles]).toEqual([null, [['a', 'b']]]);
    const failure = await team.run('Hi').result.catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FabricError);
    const { path } = (failure as FabricError).details as { path: string[] };
    // The path ends with the agent that the message must not reach.
    expect(path.length - 2).toBe(worst_case.handoffs);
    expect(worst_case.handoffs).toBe(3);
  });

  it('does not rely on the routes if functions may hand over', async () => {
    const agents = { a: plain({ functions: [{ name: 'f' }], max_tokens: 5 }), b: plain({ max_tokens: 5 }) };
    const more = { limits: { max_visits: 4 }, on_limit: { agent: 'b' } };
    const { worst_case } = await describeTeam(agents, more, { abilities: [{ f: () => null }] });
    expect(worst_case.handoffs).toBe(8);
    const acyclic = await describeTeam({ ...agents, a: plain({ max_tokens: 5 }) }, more);
    expect(acyclic.worst_case.handoffs).toBe(0);
  });
});
