// THE PATH of a message through a team: an agent is asked, its functions run, its state map decides who gets the message
// next, until a text, silence or an ignore ends the turn. All state of a turn lives in its run, so one team serves any
// number of turns at once. How the calls of an answer are read stands in `routing.ts`, what comes of them in `answers.ts`,
// the limits in `message-path.ts`, and what goes along to another node in `hand-over.ts`.
import type { Clock, ErrorCode, Logger } from '@fame-fabric/shared';
import type { RecordedStep } from '../conversation/journal.ts';
import type { HandOverMeta, RemoteCall } from '../handoff/hand-over.ts';
import type { Budget } from '../model/budget.ts';
import type { AssistantMessage, ChatModel, ModelMessage, ModelRequest, ToolSpec } from '../model/model.ts';
import { parseArguments } from '../model/stream/parse-arguments.ts';
import { type ParsedToolCall, splitToolStream } from '../model/stream/split-tool-stream.ts';
import { roughUsage } from '../model/usage.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { type AbilityCall, recordedOutcomes, runAbilities } from './ability-calls.ts';
import {
  type Answer,
  type AnswerDeps,
  answerAfterRun,
  answerWithoutRun,
  decide,
  type Next,
  withOneHandOver,
} from './answers.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import { type Interpolations, TokenValues } from './interpolation.ts';
import { MessagePath, type PathExceeded, type TeamLimits } from './message-path.ts';
import { type CallPlan, planCalls } from './routing.ts';
import type { TeamConfigT } from './team-config.ts';
import { TeamError } from './team-error.ts';
import type { TeamEvent, TeamResult } from './team-events.ts';
import { isRemote } from './team-graph.ts';

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
  readonly #path: MessagePath;
  /** Model calls of this run, and with those of the nodes before. */
  #step = 0;
  #modelCalls: number;
  #isPastLimit = false;
  #model = '';
  #text = '';
  #speaker = '';

  constructor(parts: TeamParts, input: RunInput) {
    this.#parts = parts;
    this.#input = input;
    this.#messages = input.messages.filter((message) => message.role !== 'system');
    this.#note = input.messages.flatMap((one) => (one.role === 'system' ? [one.content] : [])).join('\n\n');
    const userAt = this.#messages.findLastIndex((message) => message.role === 'user');
    this.#turnStart = Math.max(0, userAt);
    this.#path = new MessagePath(parts.limits, { start: parts.start, address: input.address }, input.meta);
    this.#modelCalls = input.meta?.modelCalls ?? 0;
  }

  async *run(): AsyncGenerator<TeamEvent, TeamResult, void> {
    const path = this.#path;
    let { start: target, extras } = this.#input;
    for (;;) {
      this.#input.signal.throwIfAborted();
      const limit = this.#isPastLimit ? path.afterLimit(target) : path.limitBefore(target);
      if (limit) {
        const { onLimit } = this.#parts;
        if (onLimit === 'error' || this.#isPastLimit) throw this.#limitError(limit);
        if (onLimit === 'ignore') {
          return yield* this.#end({ kind: 'ignored', reason: 'handoff limit', extras: {} });
        }
        this.#isPastLimit = true;
        target = onLimit.agent;
        extras = {};
      }
      path.enter(target);
      yield { type: 'agent', name: target, hop: path.hops };
      if (isRemote(target)) return yield* this.#askRemote(target, extras);
      const next = yield* this.#askAgent(this.#parts.agents.get(target)!, extras);
      if (next.kind !== 'agent') return yield* this.#end(next);
      yield { type: 'handoff', from: target, to: next.target, value: next.value, extras: next.extras };
      path.hops += 1;
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
      const mustRoute = agent.mustRoute && !hasData;
      const system = directive ? [{ role: 'system' as const, content: directive }] : [];
      let { message, calls } = yield* this.#askModel(agent, model, mustRoute, {
        messages: [...system, ...this.#messages],
        ...(tools.length > 0 ? { tools } : {}),
        ...(choice ? { tool_choice: choice } : {}),
      });
      if (calls.length === 0 && !mustRoute) {
        this.#messages.push({ role: 'assistant', content: message.content || NO_REPLY });
        return { kind: 'text' };
      }
      if (calls.length === 0) {
        // An answer without the call that was demanded says nothing that anybody should see.
        if (mayRepair) {
          mayRepair = false;
          continue;
        }
        message = emptyCall(agent, this.#step);
        calls = callsOf(message);
      }

      unknown = calls.some((call) => !agent.functions.has(call.name)) ? unknown + 1 : 0;
      if (unknown >= MAX_UNKNOWN) {
        const what = `"${agent.name}" calls functions again and again that do not exist`;
        throw this.#error('TOOL_UNKNOWN', what);
      }
      const plans = planCalls(agent, calls, mayRepair);
      if (!Array.isArray(plans)) throw this.#noRoute(agent, plans.value);
      if (plans.some((plan) => plan.kind === 'refuse' && plan.isRouting)) mayRepair = false;

      const answers = yield* this.#carryOut(agent, plans);
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
    const context = { agent: agent.name, hop: this.#path.hops, conversationId, signal };
    const values = new TokenValues(interpolations, extras, context);
    const system = await values.fill(agent.config.system_directives ?? '');
    const note = this.#path.here.length === 1 ? this.#note : '';
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

  // One answer of the model. `holdText`: nobody sees its text before it has made the call that is demanded of it.
  async *#askModel(
    agent: CompiledAgent,
    model: ChatModel,
    holdText: boolean,
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

    const speaker = `answer ${this.#step}`;
    const held: string[] = [];
    const calls: ParsedToolCall[] = [];
    const stream = splitToolStream(model.stream(request, { signal }), { toUserKey: null, signal });
    try {
      for await (const { text } of stream.toUser) {
        if (holdText) held.push(text);
        else yield* this.#say(text, agent.name, speaker);
      }
      for await (const call of stream.toolCalls) calls.push(call);
      const { message, finish, usage: reported } = await stream.done;
      const usage = reported ?? roughUsage(request, message);
      budget.charge(model.name, usage, agent.name);
      yield { type: 'usage', agent: agent.name, model: model.name, usage };
      if (calls.length > 0) for (const text of held) yield* this.#say(text, agent.name, speaker);
      yield { type: 'model_replied', ...about, message, finish, usage, isRecorded: false };
      return { message, calls };
    } finally {
      await stream.cancel();
    }
  }

  /** An answer that was given before the turn was cut short. Its text has been shown. */
  *#askAgain(
    about: { agent: string; model: string; step: number },
    { message, finish, text, usage: reported }: RecordedStep,
  ): Generator<TeamEvent, { message: AssistantMessage; calls: ParsedToolCall[] }, void> {
    const usage = reported ?? roughUsage({ messages: this.#messages }, message);
    this.#input.budget.charge(about.model, usage, about.agent);
    this.#text += text;
    this.#speaker = `answer ${this.#step}`;
    yield { type: 'model_replied', ...about, message, finish, usage, isRecorded: true };
    return { message, calls: callsOf(message) };
  }

  // Does what is planned: functions that the agent called, side by side, then the one that the state map names.
  async *#carryOut(
    agent: CompiledAgent,
    plans: readonly CallPlan[],
  ): AsyncGenerator<TeamEvent, Answer[], void> {
    const { clock, log, agents } = this.#parts;
    const { signal, conversationId } = this.#input;
    const recorded = this.#input.recorded[this.#step - 1];
    const deps: AnswerDeps = {
      log,
      knows: (name) => agents.has(name),
      failure: (message, cause) => this.#error('TOOL_FAILED', message, {}, cause),
    };
    const answers = new Map<CallPlan, Answer>();
    const told = (answer: Answer): TeamEvent => {
      const { plan, effect, content } = answer;
      answers.set(plan, answer);
      const { id, name } = plan.call;
      const isRecorded = recorded?.finished.has(id) ?? false;
      return {
        type: 'tool_result',
        agent: agent.name,
        id,
        name,
        ok: effect.kind !== 'error',
        content,
        isRecorded,
      };
    };

    for (const { call } of plans) {
      const isRecorded = recorded?.started.has(call.id) ?? false;
      yield { type: 'tool_call', agent: agent.name, call, isRecorded };
    }
    for (const plan of plans) {
      const answer = answerWithoutRun(plan);
      if (answer) yield told(answer);
    }
    for (const group of groupsOf(plans)) {
      const known = recordedOutcomes(agent, group, recorded);
      for (const [plan, outcome] of known) yield told(answerAfterRun(agent, plan, outcome, deps));
      const open = group.filter(({ plan }) => !known.has(plan));
      for await (const event of runAbilities(agent, open, { clock, log, signal, conversationId })) {
        const { plan } = event;
        if (event.type === 'text') yield* this.#say(event.text, agent.name, `${plan.call.id} says`);
        else if (!signal.aborted) yield told(answerAfterRun(agent, plan, event.outcome, deps));
      }
      signal.throwIfAborted();
    }
    return withOneHandOver(plans.map((plan) => answers.get(plan)!));
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

  // An agent on another node has the last word.
  async *#askRemote(target: string, extras: JsonObject): AsyncGenerator<TeamEvent, TeamResult, void> {
    const { remote, conversationId = '', turnId, budget, signal } = this.#input;
    if (!remote) {
      const what = `The message goes to ${target}, and this team cannot reach other nodes`;
      throw this.#error('ROUTE_UNKNOWN', what);
    }
    const { hops, visited } = this.#path;
    const userAt = this.#messages.findLastIndex((message) => message.role === 'user');
    const budgetUsd = Number.isFinite(budget.remaining) ? { budgetUsd: budget.remaining } : {};
    const events = remote({
      id: `${conversationId}/${turnId}/${hops}`,
      target,
      userMessage: this.#messages[userAt]?.content ?? '',
      history: this.#messages.slice(0, Math.max(0, userAt)),
      extras,
      meta: { hops, visited, modelCalls: this.#modelCalls, ...budgetUsd },
      signal,
    });
    let text = '';
    for await (const event of events) {
      if (event.type === 'done') {
        const { usage, model = target } = event;
        this.#model = model;
        if (usage) {
          budget.charge(model, usage, target);
          yield { type: 'usage', agent: target, model, usage };
        }
        // A node that does not stream says everything at its end.
        if (text !== '') continue;
      }
      text += event.text;
      yield* this.#say(event.text, target, target);
    }
    this.#messages.push({ role: 'assistant', content: text || NO_REPLY });
    return yield* this.#end(text ? { kind: 'text' } : { kind: 'silent' });
  }

  async *#end(end: Exclude<Next, { kind: 'agent' }>): AsyncGenerator<TeamEvent, TeamResult, void> {
    const { here } = this.#path;
    const agent = here.at(-1) ?? this.#input.start;
    if (this.#messages.at(-1)?.role !== 'assistant') {
      this.#messages.push({ role: 'assistant', content: NO_REPLY });
    }
    const common = {
      agent,
      path: [...here],
      usage: this.#input.budget.spent,
      history: [...this.#messages],
      turn: this.#messages.slice(this.#turnStart),
      model: this.#model,
    };
    if (end.kind === 'ignored') yield { type: 'ignored', reason: end.reason, agent };
    const result: TeamResult =
      end.kind === 'text' || this.#text !== ''
        ? { ...common, kind: 'text', text: this.#text }
        : { ...common, ...end };
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

  #limitError({ message, path, counts }: PathExceeded): TeamError {
    return this.#error('HANDOFF_LIMIT', message, { counts }, undefined, path);
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
    path: readonly string[] = this.#path.visited,
  ): TeamError {
    return new TeamError(code, message, { path: [...path], usage: this.#input.budget.spent }, details, cause);
  }
}

/** Functions that the agent called first, then the one that the state map names. */
function groupsOf(plans: readonly CallPlan[]): AbilityCall[][] {
  const called = plans.flatMap((plan) =>
    plan.kind === 'run' ? [{ plan, name: plan.call.name, args: plan.args }] : [],
  );
  const mapped = plans.flatMap((plan) =>
    plan.kind === 'route' && plan.route.function !== undefined
      ? [{ plan, name: plan.route.function, args: plan.extras }]
      : [],
  );
  return [called, mapped];
}

/** The calls of an answer that is not streamed any more. */
const callsOf = (message: AssistantMessage): ParsedToolCall[] =>
  (message.tool_calls ?? []).map(({ id, function: { name, arguments: rawArguments } }, index) => {
    const parsed = parseArguments(rawArguments);
    const common = { index, id, name, rawArguments };
    return parsed.ok
      ? { ok: true, ...common, args: parsed.args }
      : { ok: false, ...common, error: parsed.error };
  });

/** Stands for the answer of an agent that does not route although it has to: it chose nothing. */
const emptyCall = (agent: CompiledAgent, step: number): AssistantMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: [
    {
      id: `no_choice_${step}`,
      type: 'function',
      function: { name: agent.config.state_map?.function_name ?? '', arguments: '{}' },
    },
  ],
});
