// THE PATH of a message through a team: an agent is asked, its functions run, its state map decides who gets the message
// next, until a text, silence or an ignore ends the turn. All state of a turn lives in its run, so one team serves any
// number of turns at once. How the calls of an answer are read stands in `routing.ts`, what a function may return in
// `ability.ts`, and what goes along to another node in `hand-over.ts`.
import type { Clock, ErrorCode, Logger } from '@fame-fabric/shared';
import type { RecordedStep } from '../conversation-journal.ts';
import type { AssistantMessage, ChatModel, ModelMessage, ModelRequest, ToolSpec } from '../model.ts';
import type { Budget } from '../strategy/budget.ts';
import { roughUsage } from '../strategy/collect-reply.ts';
import type { JsonObject } from '../strategy/json-schema.ts';
import { parseArguments } from '../stream/parse-arguments.ts';
import { type ParsedToolCall, splitToolStream } from '../stream/split-tool-stream.ts';
import type { AbilityOutcome } from './ability.ts';
import { recordedOutcomes, runAbilities } from './ability-calls.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { HandOverMeta, RemoteCall } from './hand-over.ts';
import { type Interpolations, TokenValues } from './interpolation.ts';
import { type CallPlan, planCalls } from './routing.ts';
import type { RouteConfig, TeamConfigT } from './team-config.ts';
import { countsOf, TeamError } from './team-error.ts';
import type { TeamEvent, TeamResult } from './team-events.ts';
import { isRemote } from './team-graph.ts';

export interface TeamLimits {
  /** Hand-overs of one message. */
  readonly maxHops: number;
  /** How often one agent may get the same message. */
  readonly maxVisits: number;
  readonly maxModelCalls: number;
}

/** What a model is asked with, where the agent itself does not say. */
export interface ModelSettings {
  readonly model?: string | undefined;
  readonly temperature?: number | undefined;
  readonly max_tokens?: number | undefined;
}

/** What all runs of a team share. */
export interface TeamParts {
  readonly agents: ReadonlyMap<string, CompiledAgent>;
  readonly start: string;
  readonly limits: TeamLimits;
  readonly onLimit: NonNullable<TeamConfigT['on_limit']>;
  readonly defaults: ModelSettings;
  /** The model behind a class or a name; `undefined`: the default one. */
  modelOf(name: string | undefined): ChatModel;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What one run is given. */
export interface RunInput {
  readonly messages: readonly ModelMessage[];
  readonly start: string;
  readonly signal: AbortSignal;
  readonly interpolations: readonly Interpolations[];
  readonly budget: Budget;
  readonly settings: ModelSettings;
  readonly conversationId: string | undefined;
  readonly turnId: string;
  /** Set when the message comes from another node. */
  readonly meta: HandOverMeta | undefined;
  readonly extras: JsonObject;
  readonly remote: RemoteCall | undefined;
  /** Where the team is reached; its agents are named by it across nodes. */
  readonly address: string | undefined;
  /** What a turn that was cut short had done: its answers and results stand, nothing of it is done again. */
  readonly recorded: readonly RecordedStep[];
}

/** Where the message goes when an agent is done with it. */
type Next =
  | { kind: 'agent'; target: string; value: string; extras: JsonObject }
  | { kind: 'ignored'; reason: string; extras: JsonObject }
  | { kind: 'text' }
  | { kind: 'silent' };

/** A call of an answer and what came of it. */
interface Answer {
  readonly plan: CallPlan;
  readonly effect:
    | { kind: 'text'; text: string }
    | { kind: 'silent' | 'data' | 'error' }
    | Extract<Next, { kind: 'agent' | 'ignored' }>;
  /** What the agent reads. */
  content: string;
}

/** Stands in the history where a turn ended without a word: model servers want the assistant to have the last one. */
export const NO_REPLY = '[no reply]';
/** Answers in a row that call a function that does not exist. */
const MAX_UNKNOWN = 3;

export class TeamRun {
  readonly #parts: TeamParts;
  readonly #input: RunInput;
  /** Without system messages. A list of our own: the caller's is never touched. */
  readonly #messages: ModelMessage[];
  /** What the caller's system messages say; for the first agent only. */
  readonly #note: string;
  readonly #turnStart: number;
  readonly #path: string[] = [];
  /** As `#path`, named across nodes, with those of the nodes before. */
  readonly #visited: string[];
  #hops: number;
  #modelCalls: number;
  #step = 0;
  #isPastLimit = false;
  #model = '';
  #text = '';
  #speaker = '';

  constructor(parts: TeamParts, input: RunInput) {
    this.#parts = parts;
    this.#input = input;
    this.#messages = input.messages.filter((message) => message.role !== 'system');
    this.#note = input.messages.flatMap((one) => (one.role === 'system' ? [one.content] : [])).join('\n\n');
    this.#turnStart = Math.max(
      0,
      this.#messages.findLastIndex((message) => message.role === 'user'),
    );
    this.#visited = [...(input.meta?.visited ?? [])];
    this.#hops = input.meta?.hops ?? 0;
    this.#modelCalls = input.meta?.modelCalls ?? 0;
  }

  async *run(): AsyncGenerator<TeamEvent, TeamResult, void> {
    let { start: target, extras } = this.#input;
    for (;;) {
      this.#input.signal.throwIfAborted();
      const limit = this.#limitBefore(target);
      if (limit) {
        const { onLimit } = this.#parts;
        if (onLimit === 'error' || this.#isPastLimit) throw limit;
        if (onLimit === 'ignore')
          return yield* this.#end({ kind: 'ignored', reason: 'handoff limit', extras: {} });
        this.#isPastLimit = true;
        target = onLimit.agent;
        extras = {};
      }
      this.#path.push(target);
      if (isRemote(target)) return yield* this.#askRemote(target, extras);
      this.#visited.push(this.#nameAcross(target));
      yield { type: 'agent', name: target, hop: this.#hops };
      const next = yield* this.#askAgent(this.#parts.agents.get(target)!, extras);
      if (next.kind !== 'agent') return yield* this.#end(next);
      yield { type: 'handoff', from: target, to: next.target, value: next.value, extras: next.extras };
      this.#hops += 1;
      ({ target, extras } = next);
    }
  }

  // One agent has the message: ask it, run what it calls, ask it again with the results, until it lets go of the message.
  async *#askAgent(agent: CompiledAgent, extras: JsonObject): AsyncGenerator<TeamEvent, Next, void> {
    const { directive, tools } = await this.#prompt(agent, extras);
    const model = this.#parts.modelOf(this.#setting(agent, 'model'));
    let hasData = false;
    let mayRepair = true;
    let unknown = 0;

    for (;;) {
      // What was forced has been done once there is data: now the agent may say something about it.
      const choice = hasData ? 'auto' : agent.choice;
      const isForced = agent.isForced && !hasData;
      const { message, calls } = yield* this.#askModel(agent, model, isForced, {
        messages: [
          ...(directive ? [{ role: 'system' as const, content: directive }] : []),
          ...this.#messages,
        ],
        ...(tools.length > 0 ? { tools } : {}),
        ...(choice ? { tool_choice: choice } : {}),
      });
      if (calls.length === 0) {
        if (!isForced) {
          this.#messages.push({ role: 'assistant', content: message.content || NO_REPLY });
          return { kind: 'text' };
        }
        // An answer without the call that was demanded says nothing that anybody should see.
        if (!mayRepair) return this.#nextOf(this.#otherwise(agent), 'otherwise', {});
        mayRepair = false;
        continue;
      }

      unknown = calls.some((call) => !agent.functions.has(call.name)) ? unknown + 1 : 0;
      if (unknown >= MAX_UNKNOWN) {
        throw this.#error(
          'TOOL_UNKNOWN',
          `"${agent.name}" calls functions again and again that do not exist`,
        );
      }
      const plans = planCalls(agent, calls, mayRepair);
      if (!Array.isArray(plans)) throw this.#noRoute(agent, plans.value);
      if (plans.some((plan) => plan.kind === 'refuse' && plan.isRouting)) mayRepair = false;

      const recorded = this.#input.recorded[this.#step - 1];
      for (const call of calls) {
        const isRecorded = recorded?.started.has(call.id) ?? false;
        yield { type: 'tool_call', agent: agent.name, call, isRecorded };
      }
      const answers = yield* this.#carryOut(agent, plans);
      for (const { plan, effect, content } of answers) {
        const { id, name } = plan.call;
        const isRecorded = recorded?.finished.has(id) ?? false;
        yield {
          type: 'tool_result',
          agent: agent.name,
          id,
          name,
          ok: effect.kind !== 'error',
          content,
          isRecorded,
        };
      }
      const next = decide(answers);
      this.#record(agent, message, answers, next);
      // Texts that the next recorded answer knows of have been shown.
      const isShown = this.#step < this.#input.recorded.length;
      for (const { plan, effect } of answers) {
        if (effect.kind === 'text' && !isShown) yield* this.#say(effect.text, agent.name, plan.call.id);
      }
      if (next !== 'again') return next;
      hasData ||= answers.some((answer) => answer.effect.kind === 'data');
    }
  }

  async #prompt(agent: CompiledAgent, extras: JsonObject): Promise<{ directive: string; tools: ToolSpec[] }> {
    const { interpolations, conversationId, signal } = this.#input;
    const context = { agent: agent.name, hop: this.#hops, conversationId, signal };
    const values = new TokenValues(interpolations, extras, context);
    const system = await values.fill(agent.config.system_directives ?? '');
    const note = this.#path.length === 1 ? this.#note : '';
    const tools = [...agent.functions.values()].map(async ({ spec }): Promise<ToolSpec> => {
      const { description } = spec.function;
      if (description === undefined) return spec;
      return { ...spec, function: { ...spec.function, description: await values.fill(description) } };
    });
    return {
      directive: [system, note].filter((text) => text !== '').join('\n\n'),
      tools: await Promise.all(tools),
    };
  }

  async *#askModel(
    agent: CompiledAgent,
    model: ChatModel,
    isForced: boolean,
    asked: Pick<ModelRequest, 'messages' | 'tools' | 'tool_choice'>,
  ): AsyncGenerator<TeamEvent, { message: AssistantMessage; calls: ParsedToolCall[] }, void> {
    const { signal, budget } = this.#input;
    const { maxModelCalls } = this.#parts.limits;
    if (this.#modelCalls >= maxModelCalls) {
      throw this.#error('MODEL_CALL_LIMIT', `The team called models ${maxModelCalls} times in this turn`);
    }
    const recorded = this.#input.recorded[this.#step];
    this.#step += 1;
    this.#modelCalls += 1;
    this.#model = model.name;
    const about = { agent: agent.name, model: model.name, step: this.#step };
    if (recorded) return yield* this.#askAgain(about, recorded);
    budget.check(model.name);
    const temperature = this.#setting(agent, 'temperature');
    const max_tokens = this.#setting(agent, 'max_tokens');
    const request: ModelRequest = {
      ...asked,
      ...(temperature === undefined ? {} : { temperature }),
      ...(max_tokens === undefined ? {} : { max_tokens }),
    };
    yield { type: 'model_called', ...about, messages: request.messages };

    const speaker = `answer ${this.#modelCalls}`;
    const held: string[] = [];
    const calls: ParsedToolCall[] = [];
    const stream = splitToolStream(model.stream(request, { signal }), { toUserKey: null, signal });
    try {
      for await (const { text } of stream.toUser) {
        if (isForced) held.push(text);
        else yield* this.#say(text, agent.name, speaker);
      }
      for await (const call of stream.toolCalls) calls.push(call);
      const { message, finish, usage: reported } = await stream.done;
      const usage = reported ?? roughUsage(request, { message, finish });
      budget.charge(model.name, usage, agent.name);
      yield { type: 'usage', agent: agent.name, model: model.name, usage };
      yield { type: 'model_replied', ...about, message, finish, usage, isRecorded: false };
      if (calls.length > 0) for (const text of held) yield* this.#say(text, agent.name, speaker);
      return { message, calls };
    } finally {
      await stream.cancel();
    }
  }

  /** An answer that was given before the turn was cut short. Its text has been shown. */
  *#askAgain(
    about: { agent: string; model: string; step: number },
    recorded: RecordedStep,
  ): Generator<TeamEvent, { message: AssistantMessage; calls: ParsedToolCall[] }, void> {
    const { message, finish, text } = recorded;
    const usage = recorded.usage ?? roughUsage({ messages: this.#messages }, { message, finish });
    this.#input.budget.charge(about.model, usage, about.agent);
    this.#text += text;
    this.#speaker = `answer ${this.#modelCalls}`;
    yield { type: 'model_replied', ...about, message, finish, usage, isRecorded: true };
    return { message, calls: callsOf(message) };
  }

  // Runs what the calls ask for: functions of the agent first, side by side, then the one that the state map names.
  async *#carryOut(
    agent: CompiledAgent,
    plans: readonly CallPlan[],
  ): AsyncGenerator<TeamEvent, Answer[], void> {
    const direct = plans.flatMap((plan) =>
      plan.kind === 'run' ? [{ call: plan.call, name: plan.call.name, args: plan.args }] : [],
    );
    const mapped = plans.flatMap((plan) =>
      plan.kind === 'route' && plan.route.function !== undefined
        ? [{ call: plan.call, name: plan.route.function, args: plan.extras }]
        : [],
    );
    const recorded = this.#input.recorded[this.#step - 1];
    const outcomes = recorded ? recordedOutcomes(agent, recorded) : new Map<string, AbilityOutcome>();
    const { clock, log } = this.#parts;
    const { signal, conversationId } = this.#input;
    for (const group of [direct, mapped]) {
      const open = group.filter(({ call }) => !outcomes.has(call.id));
      const running = runAbilities(agent, open, { clock, log, signal, conversationId });
      for await (const said of running.texts) yield* this.#say(said.text, agent.name, `${said.callId} says`);
      for (const [id, outcome] of await running.outcomes) outcomes.set(id, outcome);
      signal.throwIfAborted();
    }
    const answers = plans.map((plan) => this.#answer(agent, plan, outcomes.get(plan.call.id)));
    let first = true;
    return answers.map((answer) => {
      if (answer.effect.kind !== 'agent') return answer;
      if (first) {
        first = false;
        return answer;
      }
      const message = 'another call of this answer decides already where the message goes';
      return { ...answer, effect: { kind: 'error' }, content: errorText('only_one_handoff', message) };
    });
  }

  #answer(agent: CompiledAgent, plan: CallPlan, outcome: AbilityOutcome | undefined): Answer {
    if (plan.kind === 'refuse') {
      return { plan, effect: { kind: 'error' }, content: errorText(plan.fault.code, plan.fault.message) };
    }
    if (plan.kind === 'route' && plan.route.function === undefined) {
      const { route, value, extras } = plan;
      const next = this.#nextOf(route, value ?? 'otherwise', extras);
      const content =
        next.kind === 'agent' ? { handed_over_to: next.target } : { ignored: route.ignore ?? '' };
      return { plan, effect: next, content: JSON.stringify(content) };
    }
    if (outcome) return this.#answerOf(agent, plan, outcome);
    return { plan, effect: { kind: 'error' }, content: errorText('failed', 'the function does not exist') };
  }

  #answerOf(agent: CompiledAgent, plan: CallPlan, outcome: AbilityOutcome): Answer {
    switch (outcome.kind) {
      case 'text':
        return { plan, effect: outcome, content: JSON.stringify({ shown_to_user: outcome.text }) };
      case 'silent':
        return { plan, effect: outcome, content: JSON.stringify({ done: true }) };
      case 'data':
        return { plan, effect: { kind: 'data' }, content: outcome.json };
      case 'handoff': {
        const target = outcome.agent;
        if (!isRemote(target) && !this.#parts.agents.has(target)) {
          const content = errorText('failed', 'the function named an agent that does not exist');
          return { plan, effect: { kind: 'error' }, content };
        }
        const effect = { kind: 'agent' as const, target, value: plan.call.name, extras: {} };
        return { plan, effect, content: JSON.stringify({ handed_over_to: target }) };
      }
      case 'error': {
        const { code, message, cause } = outcome;
        const { name } = plan.call;
        this.#parts.log.warn('ability failed', {
          agent: agent.name,
          ability: name,
          reason: code,
          error: cause,
        });
        const rule = agent.config.on_ability_error ?? 'model';
        if (rule === 'throw')
          throw this.#error('TOOL_FAILED', `"${name}" of "${agent.name}": ${message}`, {}, cause);
        const content = errorText(code, message);
        if (rule === 'model') return { plan, effect: { kind: 'error' }, content };
        return { plan, effect: { kind: 'text', text: `This did not work: ${message}.` }, content };
      }
    }
  }

  #record(
    agent: CompiledAgent,
    message: AssistantMessage,
    answers: readonly Answer[],
    next: Next | 'again',
  ): void {
    const isHandOver = next !== 'again' && next.kind === 'agent';
    const leaveOut = isHandOver && agent.config.record_routing === false;
    const kept = leaveOut ? answers.filter(({ plan }) => plan.kind !== 'route') : answers;
    const ids = new Set(kept.map(({ plan }) => plan.call.id));
    const tool_calls = (message.tool_calls ?? []).filter((call) => ids.has(call.id));
    if (tool_calls.length > 0) this.#messages.push({ ...message, tool_calls });
    else if (message.content) this.#messages.push({ role: 'assistant', content: message.content });
    for (const { plan, content } of kept) {
      this.#messages.push({ role: 'tool', tool_call_id: plan.call.id, content });
    }
    if (next === 'again' || isHandOver) return;
    const texts = answers.flatMap(({ effect }) =>
      effect.kind === 'text' && effect.text ? [effect.text] : [],
    );
    this.#messages.push({ role: 'assistant', content: texts.join('\n') || NO_REPLY });
  }

  // ---- other nodes ----

  async *#askRemote(target: string, extras: JsonObject): AsyncGenerator<TeamEvent, TeamResult, void> {
    const { remote, conversationId, turnId } = this.#input;
    if (!remote) {
      throw this.#error(
        'ROUTE_UNKNOWN',
        `The message goes to ${target}, and this team cannot reach other nodes`,
      );
    }
    const { budget, signal } = this.#input;
    const userAt = this.#messages.findLastIndex((message) => message.role === 'user');
    yield { type: 'agent', name: target, hop: this.#hops };
    let text = '';
    const events = remote({
      id: `${conversationId ?? ''}/${turnId}/${this.#hops}`,
      target,
      userMessage: this.#messages[userAt]?.content ?? '',
      history: this.#messages.slice(0, Math.max(0, userAt)),
      extras,
      meta: {
        hops: this.#hops,
        visited: this.#visited,
        modelCalls: this.#modelCalls,
        ...(Number.isFinite(budget.remaining) ? { budgetUsd: budget.remaining } : {}),
      },
      signal,
    });
    for await (const event of events) {
      if (event.type === 'text') {
        text += event.text;
        yield* this.#say(event.text, target, target);
        continue;
      }
      const { usage, model = target } = event;
      this.#model = model;
      if (usage) {
        budget.charge(model, usage, target);
        yield { type: 'usage', agent: target, model, usage };
      }
      // A node that does not stream says everything at its end.
      if (text === '' && event.text !== '') {
        text = event.text;
        yield* this.#say(text, target, target);
      }
    }
    this.#messages.push({ role: 'assistant', content: text || NO_REPLY });
    return yield* this.#end(text ? { kind: 'text' } : { kind: 'silent' });
  }

  // ---- ends ----

  async *#end(end: Exclude<Next, { kind: 'agent' }>): AsyncGenerator<TeamEvent, TeamResult, void> {
    const agent = this.#path.at(-1) ?? this.#input.start;
    if (this.#messages.at(-1)?.role !== 'assistant') {
      this.#messages.push({ role: 'assistant', content: NO_REPLY });
    }
    const common = {
      agent,
      path: [...this.#path],
      usage: this.#input.budget.spent,
      history: [...this.#messages],
      turn: this.#messages.slice(this.#turnStart),
      model: this.#model,
    };
    if (end.kind === 'ignored') yield { type: 'ignored', reason: end.reason, agent };
    const result: TeamResult =
      end.kind === 'text' || this.#text !== ''
        ? { ...common, kind: 'text', text: this.#text }
        : end.kind === 'silent'
          ? { ...common, kind: 'silent' }
          : { ...common, kind: 'ignored', reason: end.reason, extras: end.extras };
    yield { type: 'done', result };
    return result;
  }

  /** Shows a text. Texts of different origin are set apart by a line break, which is part of the text. */
  *#say(text: string, agent: string, speaker: string): Generator<TeamEvent, void, void> {
    if (text === '') return;
    const isApart = this.#text !== '' && this.#speaker !== speaker && !this.#text.endsWith('\n');
    const shown = isApart ? `\n${text}` : text;
    this.#speaker = speaker;
    this.#text += shown;
    yield { type: 'text', text: shown, agent };
  }

  #setting<K extends keyof ModelSettings>(agent: CompiledAgent, key: K): ModelSettings[K] {
    const { [key]: own } = agent.config as ModelSettings;
    return this.#input.settings[key] ?? own ?? this.#parts.defaults[key];
  }

  #nextOf(
    route: RouteConfig,
    value: string,
    extras: JsonObject,
  ): Extract<Next, { kind: 'agent' | 'ignored' }> {
    if (route.agent === undefined) return { kind: 'ignored', reason: route.ignore ?? '', extras };
    const handed = Object.fromEntries(Object.entries(extras).filter(([name]) => route.with?.includes(name)));
    return { kind: 'agent', target: route.agent, value, extras: handed };
  }

  #otherwise(agent: CompiledAgent): RouteConfig {
    const route = agent.config.state_map?.otherwise;
    if (route) return route;
    throw this.#noRoute(agent, null);
  }

  #nameAcross(agent: string): string {
    const { start } = this.#parts;
    const { address } = this.#input;
    if (address === undefined) return agent;
    return agent === start ? address : `${agent}:${address}`;
  }

  #limitBefore(target: string): TeamError | undefined {
    const { maxHops, maxVisits } = this.#parts.limits;
    const name = isRemote(target) ? target : this.#nameAcross(target);
    const visits = this.#visited.filter((one) => one === name).length;
    const path = [...this.#visited, name];
    if (this.#isPastLimit) return this.#limit('The message was handed on after its limit', path);
    if (this.#hops > maxHops)
      return this.#limit(`The message was handed over more than ${maxHops} times`, path);
    if (visits < maxVisits) return undefined;
    return this.#limit(`"${name}" had the message ${visits} times already`, path);
  }

  #limit(what: string, path: readonly string[]): TeamError {
    return this.#error(
      'HANDOFF_LIMIT',
      `${what}: ${path.join(' → ')}`,
      { counts: countsOf(path) },
      undefined,
      path,
    );
  }

  #noRoute(agent: CompiledAgent, value: string | null): TeamError {
    const known = Object.keys(agent.config.state_map?.values_map ?? {});
    const chosen = value === null ? 'did not choose' : `chose "${value.slice(0, 100)}"`;
    const message = `"${agent.name}" ${chosen}, and there are routes for: ${known.join(', ')}`;
    return this.#error('ROUTE_UNKNOWN', message, { agent: agent.name, value, known });
  }

  #error(
    code: ErrorCode,
    message: string,
    details: Record<string, unknown> = {},
    cause?: unknown,
    path: readonly string[] = this.#visited,
  ): TeamError {
    return new TeamError(code, message, { path: [...path], usage: this.#input.budget.spent }, details, cause);
  }
}

const callsOf = (message: AssistantMessage): ParsedToolCall[] =>
  (message.tool_calls ?? []).map(({ id, function: { name, arguments: rawArguments } }, index) => {
    const parsed = parseArguments(rawArguments);
    const common = { index, id, name, rawArguments };
    return parsed.ok
      ? { ok: true, ...common, args: parsed.args }
      : { ok: false, ...common, error: parsed.error };
  });

const errorText = (code: string, message: string): string => JSON.stringify({ error: { code, message } });

/** What the answers to all calls of a reply come to: a hand-over, data for the agent, an ignore, or an end. */
function decide(answers: readonly Answer[]): Next | 'again' {
  const effects = answers.map((answer) => answer.effect);
  const handOver = effects.find((effect) => effect.kind === 'agent');
  if (handOver) return handOver;
  if (effects.some((effect) => effect.kind === 'data' || effect.kind === 'error')) return 'again';
  if (effects.some((effect) => effect.kind === 'text')) return { kind: 'text' };
  return effects.find((effect) => effect.kind === 'ignored') ?? { kind: 'silent' };
}
