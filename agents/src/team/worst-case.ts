// The worst case of one message in a team: the most handoffs, model calls, tokens and money that its routes and limits permit. All
// figures are upper bounds. Other nodes, to which a route may lead, have limits of their own and are not included.
import { costOf, type PriceTable, priceOf } from '../model/budget.ts';
import type { Cost } from '../model/cost.ts';
import type { TeamLimits } from './message-path.ts';
import type { TeamGraph } from './team-graph.ts';

/** An agent of the team, as far as its model calls matter. */
interface CountedAgent {
  readonly name: string;
  /** Name of its model. */
  readonly model: string;
  /** Most tokens of one reply; `undefined` without a limit. */
  readonly maxTokens: number | undefined;
  /** Has functions, so its model may be called again with their results. */
  readonly hasFunctions: boolean;
  /** Has functions that run here. They may hand the message over to any agent. */
  readonly hasAbilities: boolean;
}

/** Limits of a turn beside those of the team file. */
export interface TurnBudget {
  readonly maxModelCalls?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly maxUsd?: number | undefined;
}

export interface WorstCaseInput {
  readonly graph: TeamGraph;
  /** Agents that can get the message. */
  readonly agents: readonly CountedAgent[];
  readonly limits: TeamLimits;
  /** Receives the message when it reaches a limit; `undefined` if the turn ends there. */
  readonly limitAgent: string | undefined;
  readonly budget: TurnBudget;
  readonly prices: PriceTable;
  readonly currency: string;
  /** Assumed tokens of the largest prompt. */
  readonly promptTokens: number;
}

/** On the wire. */
export interface WorstCase {
  handoffs: number;
  model_calls: number;
  /** Prompts of all calls. */
  prompt_tokens: number;
  /** Replies of all calls; `null` without a limit. */
  completion_tokens: number | null;
  cost: Cost;
  /** Reasons for which a figure has no bound. */
  unbounded: string[];
}

/** Computes the worst case of one message. */
export function worstCase(input: WorstCaseInput): WorstCase {
  const { agents, limits, budget, promptTokens, currency } = input;
  // Without functions there are no routes either: the first agent answers with its first reply.
  const perMessage = agents.some(({ hasFunctions }) => hasFunctions) ? limits.maxModelCalls : 1;
  const calls = Math.min(perMessage, budget.maxModelCalls ?? Number.POSITIVE_INFINITY);
  const maxTokens = budget.maxTokens ?? Number.POSITIVE_INFINITY;
  const unlimited = agents.filter(({ maxTokens }) => maxTokens === undefined);
  const replyTokens = unlimited.length > 0 ? undefined : Math.max(0, ...agents.map((one) => one.maxTokens!));
  const { amount, reasons } = costOfCalls(input, calls);
  const unbounded = unlimited.length > 0 ? [`max_tokens is not set for ${listed(unlimited)}.`] : [];
  return {
    handoffs: handoffsOf(input),
    model_calls: calls,
    prompt_tokens: Math.min(calls * promptTokens, maxTokens),
    // The budget refuses the call after the one that exceeds it.
    completion_tokens:
      replyTokens === undefined ? null : Math.min(calls * replyTokens, maxTokens + replyTokens),
    cost: amount === undefined ? 'unknown' : { amount, currency },
    unbounded: [...unbounded, ...reasons],
  };
}

/**
 * The route with the most agents, by the state maps; `undefined` if there is a cycle, because then only the limits end the route.
 * A remote agent may be the last of it.
 */
export function longestRoute({ start, edges, cycles }: TeamGraph): string[] | undefined {
  if (cycles.length > 0) return undefined;
  const known = new Map<string, string[]>();
  const from = (name: string): string[] => {
    const found = known.get(name);
    if (found) return found;
    const next = edges.flatMap((edge) => {
      if (edge.from !== name) return [];
      if (edge.to.kind === 'agent') return [from(edge.to.name)];
      return edge.to.kind === 'remote' ? [[edge.to.name]] : [];
    });
    const longest = next.reduce((a, b) => (b.length > a.length ? b : a), [] as string[]);
    const route = [name, ...longest];
    known.set(name, route);
    return route;
  };
  return from(start);
}

function handoffsOf({ agents, graph, limits, limitAgent }: WorstCaseInput): number {
  const route = agents.some(({ hasAbilities }) => hasAbilities) ? undefined : longestRoute(graph);
  const visits = agents.length * limits.maxVisits;
  const hasRemote = graph.edges.some((edge) => edge.to.kind === 'remote');
  const byVisits = visits - 1 + (hasRemote ? 1 : 0);
  const byRoutes = route ? route.length - 1 : Number.POSITIVE_INFINITY;
  if (byRoutes <= Math.min(limits.maxHandoffs, byVisits)) return byRoutes;
  return Math.min(limits.maxHandoffs, byVisits) + (limitAgent === undefined ? 0 : 1);
}

/** A limit in USD ends a turn after the call that exceeds it, so one call is added to it. */
function costOfCalls(
  { agents, prices, currency, promptTokens, budget }: WorstCaseInput,
  calls: number,
): { amount?: number; reasons: string[] } {
  const unpriced = agents.filter(({ model }) => priceOf(prices, model) === undefined);
  if (unpriced.length > 0) {
    const models = [...new Set(unpriced.map(({ model }) => model))];
    return { reasons: [`There is no price for ${models.join(', ')}.`] };
  }
  if (agents.some(({ maxTokens }) => maxTokens === undefined)) return { reasons: [] };
  const most = Math.max(
    0,
    ...agents.map(({ model, maxTokens = 0 }) => {
      const usage = { prompt_tokens: promptTokens, completion_tokens: maxTokens };
      return costOf({ ...usage, total_tokens: promptTokens + maxTokens }, priceOf(prices, model)!);
    }),
  );
  const limit =
    budget.maxUsd === undefined || currency !== 'USD' ? Number.POSITIVE_INFINITY : budget.maxUsd + most;
  return { amount: Math.min(calls * most, limit), reasons: [] };
}

const listed = (agents: readonly CountedAgent[]): string => {
  const names = agents.map(({ name }) => name);
  return names.length <= 4
    ? names.join(', ')
    : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
};
