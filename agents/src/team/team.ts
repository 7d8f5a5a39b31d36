// A loaded and checked team of specialized agents: it takes a message and returns one reply, or none. It has no state of a turn, so
// it can run any number of turns at once.
import { type Clock, FabricError, type Logger, newId, silentLog, systemClock } from '@fame-fabric/shared';
import { Broadcast } from '@fame-fabric/shared/internal';
import type { Outbound } from '../agent/operation.ts';
import type { HandoffMeta, RemoteCall } from '../handoff/handoff.ts';
import { Budget, type PriceTable } from '../model/budget.ts';
import type { ChatModel, ModelMessage } from '../model/model.ts';
import { type ModelClasses, modelOf } from '../model/model-classes.ts';
import { localDay } from '../strategy/local-day.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import type { RunnerActions } from '../turn/turn.ts';
import { UnrecordedActions } from '../turn/unrecorded-actions.ts';
import type { Diagnostic } from '../yaml/diagnostic.ts';
import type { AbilityDef, AbilityFn } from './ability.ts';
import { compileAgent } from './compiled-agent.ts';
import type { Interpolations } from './interpolation.ts';
import { type AgentConfigT, DEFAULT_LIMITS, type ModelSettings, type TeamConfigT } from './team-config.ts';
import { type DescribeTeamOptions, describeTeam, type TeamDescription } from './team-description.ts';
import { type DiagramOptions, teamDiagram } from './team-diagram.ts';
import type { TeamEvent, TeamResult } from './team-events.ts';
import type { TeamGraph } from './team-graph.ts';
import { TeamRun, type TeamRunDeps } from './team-run.ts';

/** Returns the model of a name; the name is `default` where neither an agent nor the team sets one. */
export type ModelResolver = (name: string) => ChatModel;

export interface TeamDeps {
  /** A model for each class, or a function from a name to its model. */
  models: ModelResolver | ModelClasses;
  /** Values for tokens; they come before those of the team file. */
  interpolations?: Interpolations;
  /** Shared by all turns. */
  budget?: Budget;
  /** Reaches agents on other nodes. */
  remote?: RemoteCall;
  clock?: Clock;
  log?: Logger;
}

export interface TeamRunOptions extends ModelSettings {
  signal?: AbortSignal | undefined;
  /** Values for tokens; they come before all others. */
  interpolations?: Interpolations | undefined;
  /** The agent that gets the message first. @default the team's start */
  start?: string | undefined;
  conversationId?: string | undefined;
  /** Counters of a message from another node. */
  meta?: HandoffMeta | undefined;
  /** Arguments that the previous agent handed over. */
  extras?: JsonObject | undefined;
  /** Id of the turn in its conversation. @default a new one */
  turnId?: string | undefined;
  /** Date of the prompts, in ms since the epoch. @default the current time */
  now?: number | undefined;
  /** Asks models, makes calls and emits text. @default without a journal */
  actions?: RunnerActions | undefined;
  /** Calls other agents for the functions, without `actions`. @default each use fails with LINK_MISSING */
  link?: Outbound | undefined;
  /** Reaches agents on other nodes. @default that of the team */
  remote?: RemoteCall | undefined;
  /** Address of the team. @default that of the team file */
  address?: string | undefined;
}

/** A turn of a team. */
export interface TeamTurn extends AsyncIterable<TeamEvent> {
  /** A rejection is not reported as unhandled. */
  readonly result: Promise<TeamResult>;
}

export interface TeamSource {
  config: TeamConfigT;
  agents: readonly AgentConfigT[];
  abilities: ReadonlyMap<string, AbilityFn | AbilityDef>;
  graph: TeamGraph;
  diagnostics: readonly Diagnostic[];
}

export class Team {
  readonly graph: TeamGraph;
  /** Warnings; a team with errors cannot be loaded. */
  readonly diagnostics: readonly Diagnostic[];
  readonly address: string | undefined;
  readonly description: string | undefined;
  readonly #runDeps: TeamRunDeps;
  readonly #deps: TeamDeps;
  readonly #config: TeamConfigT;

  /** Use `loadTeam`, which checks the source. */
  constructor(source: TeamSource, deps: TeamDeps) {
    const { config, agents, abilities } = source;
    this.graph = source.graph;
    this.diagnostics = source.diagnostics;
    this.address = config.address;
    this.description = config.description;
    this.#deps = deps;
    this.#config = config;
    const {
      max_hops: maxHandoffs,
      max_visits: maxVisits,
      max_model_calls: maxModelCalls,
    } = config.limits ?? {};
    this.#runDeps = {
      agents: new Map(agents.map((agent) => [agent.name, compileAgent(agent, abilities)])),
      start: config.start,
      limits: {
        maxHandoffs: maxHandoffs ?? DEFAULT_LIMITS.max_hops,
        maxVisits: maxVisits ?? DEFAULT_LIMITS.max_visits,
        maxModelCalls: maxModelCalls ?? DEFAULT_LIMITS.max_model_calls,
      },
      onLimit: config.on_limit ?? 'error',
      defaults: config.defaults ?? {},
      modelOf: (name) => this.#model(name),
      clock: deps.clock ?? systemClock,
      log: deps.log ?? silentLog,
    };
  }

  /**
   * Runs a turn. It starts at once and continues whether or not its events are read; `signal` ends it. The result rejects with
   * ROUTE_UNKNOWN, HANDOFF_LIMIT, MODEL_CALL_LIMIT, BUDGET_EXCEEDED, TOOL_UNKNOWN, TOOL_FAILED, or what a model throws.
   */
  run(input: string | readonly ModelMessage[], options: TeamRunOptions = {}): TeamTurn {
    const { start = this.#config.start, signal, interpolations, conversationId, meta, extras } = options;
    if (!this.#runDeps.agents.has(start)) {
      throw new FabricError(
        'PARAMS_INVALID',
        `The team has no agent "${start}". Its agents: ${[...this.#runDeps.agents.keys()].join(', ')}`,
      );
    }
    const events = new Broadcast<TeamEvent>();
    const run: TeamRun = new TeamRun(this.#runDeps, {
      messages: typeof input === 'string' ? [{ role: 'user', content: input }] : input,
      start,
      signal: signal ?? new AbortController().signal,
      interpolations: [
        interpolations ?? {},
        this.#deps.interpolations ?? {},
        this.#config.interpolations ?? {},
        { today: () => localDay(new Date(options.now ?? this.#runDeps.clock.now())) },
      ],
      budget: this.#budget(meta?.budgetUsd),
      settings: options,
      conversationId,
      turnId: options.turnId ?? newId(),
      meta,
      extras: extras ?? {},
      remote: options.remote ?? this.#deps.remote,
      address: options.address ?? this.address,
      actions:
        options.actions ??
        new UnrecordedActions(
          (text) => events.publish({ type: 'text', text, agent: run.agent }),
          options.link,
        ),
      emit: (event) => events.publish(event),
    });
    const result = run.run();
    result.then(
      () => events.end(),
      (error: unknown) => events.fail(error),
    );
    return { result, [Symbol.asyncIterator]: () => events.follow() };
  }

  /** Draws the state diagram of the team, for Mermaid. */
  toMermaid(options?: DiagramOptions): string {
    return teamDiagram(this.graph, options);
  }

  /** The graph with its analysis, as agents of the fabric describe it. */
  describe(options: DescribeTeamOptions): TeamDescription {
    return describeTeam(
      {
        graph: this.graph,
        diagnostics: this.diagnostics,
        config: this.#config,
        limits: this.#runDeps.limits,
        agents: [...this.#runDeps.agents.values()],
        modelNameOf: (agent) => this.#model(agent.config.model ?? this.#config.defaults?.model).name,
      },
      options,
    );
  }

  /** Model of agents that set none. */
  get defaultModel(): ChatModel {
    return this.#model(this.#config.defaults?.model);
  }

  #model(name: string | undefined): ChatModel {
    const { models, log } = this.#deps;
    const wanted = name ?? 'default';
    const mapped = this.#config.models;
    const id = mapped && Object.hasOwn(mapped, wanted) ? mapped[wanted]! : wanted;
    if (typeof models === 'function') return models(id);
    return Object.hasOwn(models, wanted) ? modelOf(models, wanted, log) : modelOf(models, id, log);
  }

  /** The prices in the team file; `undefined` without any. */
  get prices(): PriceTable | undefined {
    return this.#config.prices && pricesOf(this.#config);
  }

  /** The smaller of the team's limit for a turn and the remaining budget of the node before. */
  #budget(handedUsd: number | undefined): Budget {
    const limits = [this.#config.limits?.max_usd, handedUsd].filter((usd) => usd !== undefined);
    const limitUsd = limits.length > 0 ? Math.min(...limits) : undefined;
    const prices: PriceTable = { offline: { input: 0, output: 0 }, ...pricesOf(this.#config) };
    const limit = limitUsd === undefined ? {} : { limitUsd };
    const { budget } = this.#deps;
    if (!budget) return new Budget({ prices, ...limit });
    return budget.child(this.#config.prices ? { prices, ...limit } : limit);
  }
}

const pricesOf = ({ prices = {} }: TeamConfigT): PriceTable =>
  Object.fromEntries(
    Object.entries(prices).map(([name, { input, output, cached_input }]) => [
      name,
      { input, output, ...(cached_input === undefined ? {} : { cached_input }) },
    ]),
  );
