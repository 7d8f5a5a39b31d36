// Checks a team before it runs: unknown names, values without a route, unreachable agents, and cycles. A cycle without an exit would
// call models for ever, so it is an error.
import { mistypedEnums, tidySchema, undeclaredRequired, zodOfSchema } from '../tools/schema/json-schema.ts';
import type { ConfigPath, Diagnostic, DiagnosticCode } from '../yaml/diagnostic.ts';
import { hasToRoute } from './compiled-agent.ts';
import { HANDOFF_PREFIX, tokensIn } from './interpolation.ts';
import type { AgentConfigT, FunctionConfig, RouteConfig, TeamConfigT } from './team-config.ts';
import {
  agentsWithMessage,
  isRemote,
  remoteFault,
  type TeamEdge,
  type TeamGraph,
  teamGraph,
  wayRound,
} from './team-graph.ts';

export interface AnalyzeOptions {
  /** The team file without its agents. */
  team?: Pick<Partial<TeamConfigT>, 'limits' | 'on_limit' | 'allow_cycles'>;
  /** Names of the abilities that exist; functions are not checked without it. */
  abilities?: ReadonlySet<string>;
  /** Tokens that have a value; tokens are not checked without it. */
  tokens?: ReadonlySet<string>;
}

/** The graph of a team and everything that is wrong with it. */
export function analyzeTeam(
  agents: readonly AgentConfigT[],
  start: string,
  options: AnalyzeOptions = {},
): { graph: TeamGraph; diagnostics: Diagnostic[] } {
  const graph = teamGraph(agents, { start });
  const analysis = new Analysis(agents, graph, options);
  return { graph, diagnostics: analysis.run() };
}

class Analysis {
  readonly #agents: ReadonlyMap<string, AgentConfigT>;
  readonly #graph: TeamGraph;
  readonly #options: AnalyzeOptions;
  readonly #found: Diagnostic[] = [];

  constructor(agents: readonly AgentConfigT[], graph: TeamGraph, options: AnalyzeOptions) {
    this.#agents = new Map(agents.map((agent) => [agent.name, agent]));
    this.#graph = graph;
    this.#options = options;
  }

  run(): Diagnostic[] {
    for (const agent of this.#agents.values()) {
      this.#name(agent);
      this.#functions(agent);
      this.#stateMap(agent);
      this.#tokens(agent);
    }
    this.#team();
    this.#reach();
    for (const cycle of this.#graph.cycles) this.#cycle(cycle);
    return this.#found;
  }

  #report(
    code: DiagnosticCode,
    level: Diagnostic['level'],
    agent: string | undefined,
    path: ConfigPath,
    message: string,
  ): void {
    this.#found.push({ code, level, message, path, ...(agent === undefined ? {} : { agent }) });
  }

  #name({ name }: AgentConfigT): void {
    if (!isRemote(name)) return;
    const message = `an agent of the team must not be named "${name}": routes to that name leave the team`;
    this.#report('TEAM_VALUE', 'error', name, [], message);
  }

  #functions(agent: AgentConfigT): void {
    const { name, functions = [], function_call: call, state_map: map } = agent;
    const names = functions.map((fn) => fn.name);
    for (const [i, fn] of functions.entries()) {
      const path: ConfigPath = ['functions', i];
      if (names.indexOf(fn.name) !== i) {
        this.#report('TEAM_VALUE', 'error', name, path, `two functions are called "${fn.name}"`);
      }
      this.#parameters(name, fn, [...path, 'parameters']);
      if (fn.name !== map?.function_name) this.#ability(name, fn.name, [...path, 'name']);
    }
    if (typeof call === 'object' && !names.includes(call.name)) {
      const message = `the forced function "${call.name}" is not among the functions`;
      this.#report('TEAM_FORCED_UNKNOWN', 'error', name, ['function_call', 'name'], message);
    }
  }

  #parameters(agent: string, fn: FunctionConfig, path: ConfigPath): void {
    if (!fn.parameters) return;
    for (const missing of undeclaredRequired(fn.parameters)) {
      const message = `"${fn.name}" requires "${missing}", which is not among its properties; it is left out`;
      this.#report('TEAM_REQUIRED_UNDECLARED', 'warning', agent, [...path, 'required'], message);
    }
    const schema = tidySchema(fn.parameters);
    for (const { path: keys, value, type } of mistypedEnums(schema)) {
      const message = `the enum of "${keys.join('.')}" has the ${typeof value} ${JSON.stringify(value)}, but its type is ${type}`;
      const advice = type === 'string' ? '; put the value in quotes' : '';
      const inner = keys.flatMap((key) => ['properties', key]);
      this.#report('TEAM_VALUE', 'error', agent, [...path, ...inner, 'enum'], message + advice);
    }
    try {
      zodOfSchema(fn.name, schema);
    } catch (error) {
      this.#report('TEAM_VALUE', 'error', agent, path, (error as Error).message);
    }
  }

  #ability(agent: string, fn: string, path: ConfigPath): void {
    const { abilities } = this.#options;
    if (!abilities || abilities.has(fn)) return;
    this.#report('TEAM_UNKNOWN_FUNCTION', 'error', agent, path, `no ability module has a function "${fn}"`);
  }

  #stateMap(agent: AgentConfigT): void {
    const { name, state_map: map } = agent;
    if (!map) return;
    const fn = agent.functions?.find((one) => one.name === map.function_name);
    if (!fn) {
      const message = `the state map reads "${map.function_name}", which is not among the functions`;
      this.#report('TEAM_UNKNOWN_FUNCTION', 'error', name, ['state_map', 'function_name'], message);
    }
    for (const [value, route] of Object.entries(map.values_map)) {
      this.#route(name, fn, route, ['state_map', 'values_map', value]);
    }
    if (map.otherwise) this.#route(name, fn, map.otherwise, ['state_map', 'otherwise']);
    if (!fn) return;
    const argument = fn.parameters?.properties[map.argument_name];
    if (!argument) {
      const message = `"${fn.name}" has no argument "${map.argument_name}"`;
      this.#report('TEAM_UNKNOWN_ARGUMENT', 'error', name, ['state_map', 'argument_name'], message);
      return;
    }
    if (!Array.isArray(argument.enum)) return;
    const values = argument.enum.map(String);
    for (const value of values) {
      if (Object.hasOwn(map.values_map, value) || map.otherwise) continue;
      const message = `the value "${value}" of "${map.argument_name}" has no route`;
      this.#report('TEAM_UNMAPPED_VALUE', 'error', name, ['state_map', 'values_map'], message);
    }
    for (const value of Object.keys(map.values_map)) {
      if (values.includes(value)) continue;
      const message = `"${map.argument_name}" cannot be "${value}"`;
      this.#report('TEAM_EXTRA_ROUTE', 'warning', name, ['state_map', 'values_map', value], message);
    }
  }

  #route(agent: string, fn: FunctionConfig | undefined, route: RouteConfig, path: ConfigPath): void {
    if (route.agent !== undefined) this.#target(agent, route.agent, [...path, 'agent']);
    if (route.function !== undefined) this.#ability(agent, route.function, [...path, 'function']);
    for (const [i, argument] of (route.with ?? []).entries()) {
      if (!fn || fn.parameters?.properties[argument]) continue;
      const message = `"${fn.name}" has no argument "${argument}" to hand over`;
      this.#report('TEAM_UNKNOWN_ARGUMENT', 'error', agent, [...path, 'with', i], message);
    }
  }

  #target(agent: string | undefined, target: string, path: ConfigPath): void {
    const fault = isRemote(target)
      ? remoteFault(target)
      : this.#agents.has(target)
        ? undefined
        : `there is no agent "${target}"`;
    if (fault) this.#report('TEAM_UNKNOWN_AGENT', 'error', agent, path, fault);
  }

  #tokens(agent: AgentConfigT): void {
    const { tokens } = this.#options;
    if (!tokens) return;
    const optional = new Set(agent.optional_tokens ?? []);
    const incoming = this.#graph.edges.filter(
      (edge) => edge.to.kind === 'agent' && edge.to.name === agent.name,
    );
    const handed = new Set(
      incoming.flatMap((edge) => edge.with.map((argument) => HANDOFF_PREFIX + argument)),
    );
    const check = (text: string | undefined, path: ConfigPath): void => {
      for (const token of tokensIn(text ?? '')) {
        if (tokens.has(token) || optional.has(token) || handed.has(token)) continue;
        const part = `%{${token}}`;
        const message = `nothing fills ${part}; set it in interpolations, or list it in optional_tokens`;
        this.#found.push({
          code: 'TEAM_TOKEN_UNKNOWN',
          level: 'error',
          agent: agent.name,
          path,
          part,
          message,
        });
      }
    };
    check(agent.system_directives, ['system_directives']);
    for (const [i, fn] of (agent.functions ?? []).entries())
      check(fn.description, ['functions', i, 'description']);
  }

  #team(): void {
    const { team } = this.#options;
    if (!this.#agents.has(this.#graph.start)) {
      const message = `the team starts with "${this.#graph.start}", and there is no such agent`;
      this.#report('TEAM_UNKNOWN_AGENT', 'error', undefined, ['start'], message);
    }
    if (typeof team?.on_limit === 'object')
      this.#target(undefined, team.on_limit.agent, ['on_limit', 'agent']);
    for (const [i, names] of (team?.allow_cycles ?? []).entries()) {
      for (const [k, name] of names.entries()) {
        if (this.#agents.has(name)) continue;
        this.#report(
          'TEAM_UNKNOWN_AGENT',
          'error',
          undefined,
          ['allow_cycles', i, k],
          `there is no agent "${name}"`,
        );
      }
    }
  }

  #reach(): void {
    const { start } = this.#graph;
    if (!this.#agents.has(start)) return;
    const limit = this.#options.team?.on_limit;
    const seen = agentsWithMessage(this.#graph, typeof limit === 'object' ? limit.agent : undefined);
    for (const name of this.#agents.keys()) {
      if (seen.has(name)) continue;
      this.#report('TEAM_UNREACHABLE', 'warning', name, [], `no route leads from "${start}" to "${name}"`);
    }
  }

  #cycle(cycle: readonly string[]): void {
    const { edges } = this.#graph;
    const [first] = wayRound(cycle, edges);
    if (!first) return;
    const way = describe(wayRound(cycle, edges));
    const path: ConfigPath =
      first.value === null ? ['state_map', 'otherwise'] : ['state_map', 'values_map', first.value];
    if (cycle.every((name) => this.#isCaught(name, cycle))) {
      this.#report('TEAM_TRAP', 'error', first.from, path, `nothing leads out of this circle: ${way}`);
      return;
    }
    const { allow_cycles: allowed = [], limits } = this.#options.team ?? {};
    if (allowed.some((names) => cycle.every((name) => names.includes(name)))) return;
    const level = limits ? 'warning' : 'error';
    const hint = limits ? '' : '; list it in allow_cycles, or set limits';
    this.#report('TEAM_CYCLE', level, first.from, path, `agents can hand over in a circle: ${way}${hint}`);
  }

  /** True if the agent has to route and all of its routes stay in the cycle. */
  #isCaught(name: string, cycle: readonly string[]): boolean {
    const agent = this.#agents.get(name);
    const routes = this.#graph.edges.filter((edge) => edge.from === name);
    if (!agent || !hasToRoute(agent)) return false;
    return routes.every((edge) => edge.to.kind === 'agent' && cycle.includes(edge.to.name));
  }
}

/** `a → b → a` with the values on the way. */
const describe = (way: readonly TeamEdge[]): string =>
  way.reduce(
    (text, edge) =>
      `${text} →(${edge.argument} ${edge.value === null ? 'otherwise' : `= ${edge.value}`}) ${edge.to.name}`,
    way[0]?.from ?? '',
  );
