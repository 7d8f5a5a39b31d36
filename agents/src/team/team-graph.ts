// The graph of a team. Its nodes are agents, functions and ignores; its edges are the routes of the state maps. Checks and diagrams of
// a team use this graph.
import { tryParseAddress } from '@fame-fabric/shared';
import { CAPABILITY_PREFIX } from '../handoff/handoff.ts';
import type { AgentConfigT, RouteConfig, TeamConfigT } from './team-config.ts';

type TargetKind = 'agent' | 'remote' | 'function' | 'ignore';
interface TeamNode {
  readonly kind: TargetKind;
  /** Of the agent or function; the address or capability of a remote one; the reason of an ignore. */
  readonly name: string;
}
export interface TeamEdge {
  /** The agent that routes. */
  readonly from: string;
  readonly to: TeamNode;
  readonly argument: string;
  /** The value of the map; `null` for `otherwise`. */
  readonly value: string | null;
  /** Names of the arguments that the next agent gets. */
  readonly with: readonly string[];
  /** Lies on a cycle. */
  readonly isLoop: boolean;
}
export interface TeamGraph {
  readonly start: string;
  readonly agents: readonly string[];
  readonly edges: readonly TeamEdge[];
  /** Cycles of agents, each as a set of names that can all reach one another. */
  readonly cycles: readonly (readonly string[])[];
}

/** True if a target is on another node: an address, or `capability:` and a name. */
export const isRemote = (target: string): boolean =>
  target.startsWith(CAPABILITY_PREFIX) || target.includes('@');

/** Returns the fault of a remote target, if it has one. */
export const remoteFault = (target: string): string | undefined => {
  if (target.startsWith(CAPABILITY_PREFIX)) {
    return target.length > CAPABILITY_PREFIX.length ? undefined : '"capability:" names no capability';
  }
  return tryParseAddress(target) ? undefined : `"${target}" is not an address, such as orders@support.fabric`;
};

/** Returns the target of a route. */
function targetOf(route: RouteConfig): TeamNode {
  if (route.agent !== undefined)
    return { kind: isRemote(route.agent) ? 'remote' : 'agent', name: route.agent };
  if (route.function !== undefined) return { kind: 'function', name: route.function };
  return { kind: 'ignore', name: route.ignore ?? '' };
}

/** Builds the graph of a team. Unknown names stay in the edges; the analysis reports them. */
export function teamGraph(agents: readonly AgentConfigT[], team: Pick<TeamConfigT, 'start'>): TeamGraph {
  const edges = agents.flatMap((agent) => {
    const map = agent.state_map;
    if (!map) return [];
    const routes: [string | null, RouteConfig][] = Object.entries(map.values_map);
    if (map.otherwise) routes.push([null, map.otherwise]);
    return routes.map(([value, route]) => ({
      from: agent.name,
      to: targetOf(route),
      argument: map.argument_name,
      value,
      with: route.with ?? [],
    }));
  });
  const names = agents.map((agent) => agent.name);
  const cycles = cyclesOf(names, edges);
  const groupOf = new Map(cycles.flatMap((group, i) => group.map((name) => [name, i] as const)));
  const isLoop = (edge: Omit<TeamEdge, 'isLoop'>): boolean =>
    edge.to.kind === 'agent' &&
    groupOf.has(edge.from) &&
    groupOf.get(edge.from) === groupOf.get(edge.to.name);
  return {
    start: team.start,
    agents: names,
    edges: edges.map((edge) => ({ ...edge, isLoop: isLoop(edge) })),
    cycles,
  };
}

type Link = Pick<TeamEdge, 'from' | 'to'>;

/** Returns the agents reachable from `from`; itself only if it is on a cycle. */
function reachable(from: string, edges: readonly Link[]): Set<string> {
  const seen = new Set<string>();
  const open = [from];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const edge of edges) {
      if (edge.from !== name || edge.to.kind !== 'agent' || seen.has(edge.to.name)) continue;
      seen.add(edge.to.name);
      open.push(edge.to.name);
    }
  }
  return seen;
}

/** Returns the agents that can get the message: by a route, or at a limit. */
export function agentsWithMessage(
  { start, edges }: Pick<TeamGraph, 'start' | 'edges'>,
  limitAgent: string | undefined,
): Set<string> {
  const seen = reachable(start, edges).add(start);
  if (limitAgent === undefined) return seen;
  for (const name of reachable(limitAgent, edges).add(limitAgent)) seen.add(name);
  return seen;
}

// Groups whose members reach one another; teams are small, so plain reachability is fast enough.
function cyclesOf(names: readonly string[], edges: readonly Link[]): string[][] {
  const reach = new Map(names.map((name) => [name, reachable(name, edges)]));
  const placed = new Set<string>();
  const groups: string[][] = [];
  for (const name of names) {
    if (placed.has(name) || !reach.get(name)?.has(name)) continue;
    const group = names.filter((other) => reach.get(name)?.has(other) && reach.get(other)?.has(name));
    for (const member of group) placed.add(member);
    groups.push(group);
  }
  return groups;
}

/** Returns a shortest cycle from the first member back to it. */
export function wayRound(cycle: readonly string[], edges: readonly TeamEdge[]): TeamEdge[] {
  const [start] = cycle;
  const inside = edges.filter((edge) => cycle.includes(edge.from) && cycle.includes(edge.to.name));
  const open: TeamEdge[][] = inside.filter((edge) => edge.from === start).map((edge) => [edge]);
  const seen = new Set<string>();
  for (let way = open.shift(); way; way = open.shift()) {
    const at = way.at(-1)!.to.name;
    if (at === start) return way;
    if (seen.has(at)) continue;
    seen.add(at);
    for (const edge of inside) if (edge.from === at) open.push([...way, edge]);
  }
  return [];
}
