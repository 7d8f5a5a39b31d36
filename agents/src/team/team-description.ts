// The answer to `describe_team`: the graph of a team, its limits, the findings of its analysis, and the worst case of one message.
// Directives are not part of it. Its size is bounded, so that it fits one envelope.
import { cutText } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { type Operation, operation } from '../agent/operation.ts';
import type { PriceTable } from '../model/budget.ts';
import type { Diagnostic } from '../yaml/diagnostic.ts';
import { type CompiledAgent, hasToRoute } from './compiled-agent.ts';
import type { TeamLimits } from './message-path.ts';
import type { TeamConfigT } from './team-config.ts';
import { teamDiagram } from './team-diagram.ts';
import { agentsWithMessage, type TeamEdge, type TeamGraph } from './team-graph.ts';
import { longestRoute, type TurnBudget, type WorstCase, worstCase } from './worst-case.ts';

const MAX_TEXT_CHARS = 200;
/** Limit on agents, routes and findings together; on the diagram. */
const MAX_BYTES = 131_072;
const MAX_DIAGRAM_BYTES = 65_536;
const MAX_FUNCTIONS = 32;
const DEFAULT_PROMPT_TOKENS = 8_000;

interface DescribedAgent {
  name: string;
  model: string;
  /** Names of its functions, at most 32. */
  functions: string[];
  /** The function whose argument selects the route. */
  routes_by?: string;
  /** Can only choose a route, and never answers by itself. */
  must_route: boolean;
  /** False if no route leads from the first agent to this one. */
  reachable: boolean;
}

interface DescribedRoute {
  from: string;
  to: { kind: TeamEdge['to']['kind']; name: string };
  argument: string;
  /** `null` for `otherwise`. */
  value: string | null;
  with: readonly string[];
  /** Lies on a cycle. */
  is_loop: boolean;
}

/** A description of a team on the wire. */
export interface TeamDescription {
  /** The agent that gets each message first. */
  start: string;
  agents: DescribedAgent[];
  routes: DescribedRoute[];
  /** Cycles of agents, each as a list of names. */
  cycles: (readonly string[])[];
  /** The route with the most agents; `null` if the routes have a cycle. */
  longest_route: readonly string[] | null;
  limits: {
    max_handoffs: number;
    max_visits: number;
    max_model_calls: number;
    max_usd: number | null;
    /** `error`, `ignore`, or the agent that gets the message. */
    on_limit: 'error' | 'ignore' | { agent: string };
  };
  findings: { code: string; level: 'error' | 'warning'; agent?: string; message: string }[];
  worst_case: WorstCase & { assumed_prompt_tokens: number };
  /** A Mermaid state diagram; `null` if it is larger than 64 KiB. */
  diagram: string | null;
  /** Present if agents, routes or findings are left out, because the description would not fit one envelope. */
  truncated?: true;
}

export interface DescribeTeamOptions {
  /** Assumed tokens of the largest prompt. @default 8_000 */
  promptTokens?: number | undefined;
  budget?: TurnBudget | undefined;
  /** @default none */
  prices?: PriceTable | undefined;
  /** Currency of the prices. @default 'USD' */
  currency?: string | undefined;
}

/** The parts of a team that its description needs. */
interface DescribedTeam {
  readonly graph: TeamGraph;
  readonly diagnostics: readonly Diagnostic[];
  readonly config: Pick<TeamConfigT, 'limits' | 'on_limit' | 'defaults'>;
  readonly limits: TeamLimits;
  readonly agents: readonly CompiledAgent[];
  modelNameOf(agent: CompiledAgent): string;
}

/** Describes a team. */
export function describeTeam(team: DescribedTeam, options: DescribeTeamOptions = {}): TeamDescription {
  const { graph, config, limits } = team;
  const { promptTokens = DEFAULT_PROMPT_TOKENS, budget = {}, prices = {}, currency = 'USD' } = options;
  const onLimit = config.on_limit ?? 'error';
  const limitAgent = typeof onLimit === 'object' ? onLimit.agent : undefined;
  const reached = agentsWithMessage(graph, limitAgent);
  const maxUsd = config.limits?.max_usd;
  const usdLimits = [maxUsd, budget.maxUsd].filter((usd) => usd !== undefined);
  const counted = team.agents
    .filter(({ name }) => reached.has(name))
    .map((agent) => ({
      name: agent.name,
      model: team.modelNameOf(agent),
      maxTokens: agent.config.max_tokens ?? config.defaults?.max_tokens,
      hasFunctions: agent.functions.size > 0,
      hasAbilities: agent.abilities.size > 0,
    }));
  const worst = worstCase({
    graph,
    agents: counted,
    limits,
    limitAgent,
    budget: { ...budget, maxUsd: usdLimits.length > 0 ? Math.min(...usdLimits) : undefined },
    prices,
    currency,
    promptTokens,
  });
  const room = new Room(MAX_BYTES);
  const diagram = teamDiagram(graph);
  const description: TeamDescription = {
    start: graph.start,
    agents: room.fill(team.agents, (agent) => describedAgent(agent, team, reached)),
    routes: room.fill(graph.edges, describedRoute),
    cycles: room.fill(graph.cycles, (names) => names),
    longest_route: longestRoute(graph) ?? null,
    limits: {
      max_handoffs: limits.maxHandoffs,
      max_visits: limits.maxVisits,
      max_model_calls: limits.maxModelCalls,
      max_usd: maxUsd ?? null,
      on_limit: onLimit,
    },
    findings: room.fill(team.diagnostics, ({ code, level, agent, message }) => ({
      code,
      level,
      ...(agent === undefined ? {} : { agent }),
      message: cutText(message, MAX_TEXT_CHARS * 2),
    })),
    worst_case: { ...worst, assumed_prompt_tokens: promptTokens },
    diagram: Buffer.byteLength(diagram) <= MAX_DIAGRAM_BYTES ? diagram : null,
  };
  return room.isExceeded ? { ...description, truncated: true } : description;
}

/** Makes the operation `describe_team`. `settings` are those of the agent that serves the team. */
export const describeTeamMethod = (
  team: { describe(options: DescribeTeamOptions): TeamDescription },
  settings: Omit<DescribeTeamOptions, 'promptTokens'>,
): Operation =>
  operation({
    immediate: true,
    description: 'Returns the graph of the team, its limits, and the worst case of one message.',
    params: z.object({
      prompt_tokens: z
        .int()
        .min(1)
        .max(10_000_000)
        .default(DEFAULT_PROMPT_TOKENS)
        .describe('Tokens of the largest prompt, for the worst case.'),
    }),
    run: ({ prompt_tokens: promptTokens }) => team.describe({ ...settings, promptTokens }),
  });

function describedAgent(
  agent: CompiledAgent,
  team: DescribedTeam,
  reached: ReadonlySet<string>,
): DescribedAgent {
  const { state_map: map } = agent.config;
  return {
    name: agent.name,
    model: cutText(team.modelNameOf(agent), MAX_TEXT_CHARS),
    functions: [...agent.functions.keys()].slice(0, MAX_FUNCTIONS),
    ...(map ? { routes_by: map.function_name } : {}),
    must_route: hasToRoute(agent.config),
    reachable: reached.has(agent.name),
  };
}

const describedRoute = ({ from, to, argument, value, with: handed, isLoop }: TeamEdge): DescribedRoute => ({
  from,
  to: { kind: to.kind, name: cutText(to.name, MAX_TEXT_CHARS) },
  argument,
  value: value === null ? null : cutText(value, MAX_TEXT_CHARS),
  with: handed,
  is_loop: isLoop,
});

/** Bytes that the lists of a description share. An item that does not fit ends its list. */
class Room {
  isExceeded = false;
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  fill<T, R>(items: readonly T[], describe: (item: T) => R): R[] {
    const kept: R[] = [];
    for (const item of items) {
      const described = describe(item);
      const bytes = Buffer.byteLength(JSON.stringify(described));
      if (bytes > this.#left) {
        this.isExceeded = true;
        break;
      }
      this.#left -= bytes;
      kept.push(described);
    }
    return kept;
  }
}
