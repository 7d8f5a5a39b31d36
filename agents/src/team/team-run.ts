// The path of a message through a team: an agent is asked, its functions run, and its state map selects the next agent, until a
// text, silence or an ignore ends the turn. All state of a turn is in its run, so one team serves any number of turns at once.
// `routing.ts` plans the calls of a reply, `answers.ts` turns them into results, `message-path.ts` enforces the limits, and
// `handoff/handoff.ts` defines the data for another node. The run asks models, makes calls and emits text through `RunnerActions`.
import type { Clock, ErrorCode, Logger } from '@fame-fabric/shared';
import type { HandoffMeta, RemoteCall } from '../handoff/handoff.ts';
import type { Budget } from '../model/budget.ts';
import type { AssistantMessage, ChatModel, ModelMessage, ModelRequest, ToolSpec } from '../model/model.ts';
import { withoutCalls } from '../model/plain-messages.ts';
import { type ParsedToolCall, parseCall } from '../model/stream/parse-arguments.ts';
import { roughUsage } from '../model/usage.ts';
import { askForCall } from '../strategy/ask-with-repair.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { faultOfContent } from '../tools/tool-outcome.ts';
import type { RunnerActions } from '../turn/turn.ts';
import { type AbilityCall, runAbilities } from './ability-calls.ts';
import {
  type Answer,
  type AnswerDeps,
  answerWithoutRun,
  decide,
  isRoutingResult,
  type Next,
  withOneHandoff,
} from './answers.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import { type Interpolations, TokenValues } from './interpolation.ts';
import { MessagePath, type PathExceeded, type TeamLimits } from './message-path.ts';
import { type CallPlan, planCalls } from './routing.ts';
import { type ModelSettings, REQUEST_SETTINGS, type TeamConfigT } from './team-config.ts';
import { TeamError } from './team-error.ts';
import type { TeamEvent, TeamResult } from './team-events.ts';
import { isRemote } from './team-graph.ts';

/** Parts that all runs of a team share. */
export interface TeamRunDeps {
  readonly agents: ReadonlyMap<string, CompiledAgent>;
  readonly start: string;
  readonly limits: TeamLimits;
  readonly onLimit: NonNullable<TeamConfigT['on_limit']>;
  readonly defaults: ModelSettings;
  /** Returns the model of a class or a name; the default one for `undefined`. */
  modelOf(name: string | undefined): ChatModel;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Input of one run. */
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
  readonly meta: HandoffMeta | undefined;
  readonly extras: JsonObject;
  readonly remote: RemoteCall | undefined;
  /** Address of the team; its agents are named by it across nodes. */
  readonly address: string | undefined;
  readonly actions: RunnerActions;
  /** Receives all events but text, which the actions show. */
  readonly emit: (event: TeamEvent) => void;
}

/** Ends a turn without text in the history, because model servers expect an assistant message last. */
const NO_REPLY = '[no reply]';
/** Number of replies in a row with calls of unknown functions after which the turn fails. */
const MAX_UNKNOWN = 3;

export class TeamRun {
  readonly #deps: TeamRunDeps;
  readonly #input: RunInput;
  /** Without system messages. A copy: the caller's list is never changed. */
  readonly #messages: ModelMessage[];
  /** Text of the caller's system messages; for the first agent only. */
  readonly #callerInstructions: string;
  readonly #turnStart: number;
  readonly #path: MessagePath;
  /** Model calls of this run. */
  #step = 0;
  /** Model calls of this run and of the nodes before. */
  #modelCalls: number;
  #isPastLimit = false;
  #model = '';

  constructor(deps: TeamRunDeps, input: RunInput) {
    this.#deps = deps;
    this.#input = input;
    this.#messages = input.messages.filter((message) => message.role !== 'system');
    this.#callerInstructions = input.messages
      .flatMap((one) => (one.role === 'system' ? [one.content] : []))
      .join('\n\n');
    const userAt = this.#messages.findLastIndex((message) => message.role === 'user');
    this.#turnStart = Math.max(0, userAt);
    this.#path = new MessagePath(deps.limits, { start: deps.start, address: input.address }, input.meta);
    this.#modelCalls = input.meta?.modelCalls ?? 0;
  }

  /** The agent that has the message now. */
  get agent(): string {
    return this.#path.here.at(-1) ?? this.#input.start;
  }

  async run(): Promise<TeamResult> {
    const path = this.#path;
    let { start: target, extras } = this.#input;
    for (;;) {
      this.#input.signal.throwIfAborted();
      const limit = this.#isPastLimit ? path.afterLimit(target) : path.limitBefore(target);
      if (limit) {
        const { onLimit } = this.#deps;
        if (onLimit === 'error' || this.#isPastLimit) throw this.#limitError(limit);
        if (onLimit === 'ignore') return this.#end({ kind: 'ignored', reason: 'handoff limit', extras: {} });
        this.#isPastLimit = true;
        target = onLimit.agent;
        extras = {};
      }
      path.enter(target);
      this.#input.emit({ type: 'agent', name: target, hop: path.handoffs });
      if (isRemote(target)) return this.#askRemote(target, extras);
      const next = await this.#askAgent(this.#deps.agents.get(target)!, extras);
      if (next.kind !== 'agent') return this.#end(next);
      this.#input.emit({
        type: 'handoff',
        from: target,
        to: next.target,
        value: next.value,
        extras: next.extras,
      });
      path.handoffs += 1;
      ({ target, extras } = next);
    }
  }

  // Asks the agent, runs its calls, and asks again with the results, until it ends the turn or hands the message over.
  async #askAgent(agent: CompiledAgent, extras: JsonObject): Promise<Next> {
    const { directive, tools } = await this.#prompt(agent, extras);
    const model = this.#deps.modelOf(this.#setting(agent, 'model'));
    const system = directive ? [{ role: 'system' as const, content: directive }] : [];
    let hasData = false;
    // One repair for an agent that makes no call or routes to an unknown value.
    const withoutCall = { count: 0, most: 1 };
    let unknown = 0;

    for (;;) {
      // Once there is data, the forced call has been made, and the agent may reply with text.
      const choice = hasData ? 'auto' : agent.choice;
      const mustRoute = agent.mustRoute && !hasData;
      const ask = (): Promise<{ message: AssistantMessage }> =>
        this.#askModel(agent, model, mustRoute, {
          messages: [...system, ...(tools.length > 0 ? this.#messages : this.#plainMessages())],
          ...(tools.length > 0 ? { tools } : {}),
          ...(choice ? { tool_choice: choice } : {}),
        });
      const { message } = mustRoute
        ? ((await askForCall(withoutCall, ask)) ?? { message: emptyCall(agent, this.#step) })
        : await ask();
      const calls = callsOf(message);
      if (calls.length === 0) {
        this.#messages.push({ role: 'assistant', content: message.content || NO_REPLY });
        return { kind: 'text' };
      }

      unknown = calls.some((call) => !agent.functions.has(call.name)) ? unknown + 1 : 0;
      if (unknown >= MAX_UNKNOWN) {
        const what = `"${agent.name}" called functions that do not exist in ${MAX_UNKNOWN} replies in a row`;
        throw this.#error('TOOL_UNKNOWN', what);
      }
      const plans = planCalls(agent, calls, withoutCall.count < withoutCall.most);
      if (!Array.isArray(plans)) throw this.#noRoute(agent, plans.value);
      if (plans.some((plan) => plan.kind === 'refuse' && plan.isRouting))
        withoutCall.count = Math.max(withoutCall.count, withoutCall.most);

      const answers = await this.#carryOut(agent, plans);
      const next = decide(answers);
      this.#addToHistory(agent, message, answers, next);
      for (const { plan, effect } of answers) {
        if (effect.kind === 'text') await this.#emitText(effect.text, plan.call.id);
      }
      if (next !== 'again') return next;
      hasData ||= answers.some((answer) => answer.effect.kind === 'data');
    }
  }

  // The history for an agent without functions: with the results of functions, without the routing.
  #plainMessages(): readonly ModelMessage[] {
    const routing = new Set<string>();
    for (const { config } of this.#deps.agents.values()) {
      if (config.state_map) routing.add(config.state_map.function_name);
    }
    return withoutCalls(
      this.#messages,
      ({ name, result }) =>
        isRoutingResult(result) || (routing.has(name) && faultOfContent(result) !== undefined),
    );
  }

  async #prompt(agent: CompiledAgent, extras: JsonObject): Promise<{ directive: string; tools: ToolSpec[] }> {
    const { interpolations, conversationId, signal } = this.#input;
    const context = { agent: agent.name, hop: this.#path.handoffs, conversationId, signal };
    const values = new TokenValues(interpolations, extras, context);
    const system = await values.fill(agent.config.system_directives ?? '');
    const instructions = this.#path.here.length === 1 ? this.#callerInstructions : '';
    const tools = [...agent.functions.values()].map(async ({ spec }): Promise<ToolSpec> => {
      const { description } = spec.function;
      if (description === undefined) return spec;
      return { ...spec, function: { ...spec.function, description: await values.fill(description) } };
    });
    return {
      directive: [system, instructions].filter((text) => text !== '').join('\n\n'),
      tools: await Promise.all(tools),
    };
  }

  // Asks the model once. With `holdText` its text is shown only if the reply makes the call that is demanded.
  async #askModel(
    agent: CompiledAgent,
    model: ChatModel,
    holdText: boolean,
    asked: Pick<ModelRequest, 'messages' | 'tools' | 'tool_choice'>,
  ) {
    const { signal, budget, actions, emit } = this.#input;
    const { maxModelCalls } = this.#deps.limits;
    if (this.#modelCalls >= maxModelCalls) {
      throw this.#error('MODEL_CALL_LIMIT', `The team called models ${maxModelCalls} times in this turn`);
    }
    this.#step += 1;
    this.#modelCalls += 1;
    this.#model = model.name;
    const about = { agent: agent.name, model: model.name, step: this.#step };
    const settings = REQUEST_SETTINGS.map((key) => [key, this.#setting(agent, key)] as const);
    const request: ModelRequest = {
      ...asked,
      ...Object.fromEntries(settings.filter(([, value]) => value !== undefined)),
    };
    const source = { from: 'model', speaker: `reply ${this.#step}` } as const;
    const held: string[] = [];
    const reply = await actions.ask(model, request, {
      signal,
      scope: agent.name,
      check: () => {
        budget.check(model.name);
        emit({ type: 'model_called', ...about, messages: request.messages });
      },
      onText: (text) => {
        if (!holdText) return actions.emitText(text, source);
        held.push(text);
        return undefined;
      },
      onReply: ({ message }) => {
        if (message.tool_calls?.length) void actions.emitText(held.join(''), source);
      },
    });
    const { message, finish } = reply;
    const usage = reply.usage ?? roughUsage(request, message);
    budget.charge(model.name, usage, agent.name);
    emit({ type: 'usage', agent: agent.name, model: model.name, usage });
    emit({ type: 'model_replied', ...about, message, finish, usage });
    return reply;
  }

  // Carries the plans out: functions that the agent called, side by side, then the one that the state map names.
  async #carryOut(agent: CompiledAgent, plans: readonly CallPlan[]): Promise<Answer[]> {
    const { clock, log, agents } = this.#deps;
    const { signal, conversationId, actions, emit } = this.#input;
    const deps: AnswerDeps = {
      log,
      knows: (name) => agents.has(name),
      failure: (message, cause) => this.#error('TOOL_FAILED', message, {}, cause),
    };
    const answers = new Map<CallPlan, Answer>();
    const started = ({ call }: CallPlan): void => emit({ type: 'tool_call', agent: agent.name, call });
    const answered = (answer: Answer): void => {
      const { plan, effect, content } = answer;
      answers.set(plan, answer);
      const { id, name } = plan.call;
      emit({ type: 'tool_result', agent: agent.name, id, name, ok: effect.kind !== 'error', content });
    };

    for (const plan of plans) {
      const answer = answerWithoutRun(plan);
      if (!answer) continue;
      started(plan);
      const ok = answer.effect.kind !== 'error';
      const { content } = await actions.makeCall({
        call: plan.call,
        willRun: true,
        execute: async () => ({ ok, content: answer.content }),
      });
      answered({ ...answer, content });
    }
    for (const group of groupsOf(plans)) {
      await runAbilities(agent, group, {
        clock,
        log,
        signal,
        conversationId,
        makeCall: actions.makeCall,
        link: actions.link,
        answers: deps,
        onStart: started,
        onAnswer: answered,
      });
      signal.throwIfAborted();
    }
    return withOneHandoff(plans.map((plan) => answers.get(plan)!));
  }

  #addToHistory(
    agent: CompiledAgent,
    message: AssistantMessage,
    answers: readonly Answer[],
    next: Next | 'again',
  ): void {
    const isHandoff = next !== 'again' && next.kind === 'agent';
    const leaveOut = isHandoff && agent.config.record_routing === false;
    const kept = leaveOut ? answers.filter(({ plan }) => plan.kind !== 'route') : answers;
    const ids = new Set(kept.map(({ plan }) => plan.call.id));
    const tool_calls = (message.tool_calls ?? []).filter((call) => ids.has(call.id));
    if (tool_calls.length > 0) this.#messages.push({ ...message, tool_calls });
    else if (message.content) this.#messages.push({ role: 'assistant', content: message.content });
    for (const { plan, content } of kept) {
      this.#messages.push({ role: 'tool', tool_call_id: plan.call.id, content });
    }
    if (next === 'again' || isHandoff) return;
    const texts = answers.flatMap(({ effect }) =>
      effect.kind === 'text' && effect.text ? [effect.text] : [],
    );
    this.#messages.push({ role: 'assistant', content: texts.join('\n') || NO_REPLY });
  }

  // The answer of an agent on another node ends the turn.
  async #askRemote(target: string, extras: JsonObject): Promise<TeamResult> {
    const { remote, conversationId = '', turnId, budget, signal, actions, emit } = this.#input;
    actions.assertLive();
    if (!remote) {
      const what = `The route leads to ${target}, and this team cannot reach other nodes. Serve it with a link or set \`remote\`.`;
      throw this.#error('ROUTE_UNKNOWN', what);
    }
    const { handoffs, visited } = this.#path;
    const userAt = this.#messages.findLastIndex((message) => message.role === 'user');
    const budgetUsd = Number.isFinite(budget.remaining) ? { budgetUsd: budget.remaining } : {};
    const events = remote({
      id: `${conversationId}/${turnId}/${handoffs}`,
      target,
      userMessage: this.#messages[userAt]?.content ?? '',
      history: this.#messages.slice(0, Math.max(0, userAt)),
      extras,
      meta: { handoffs, visited, modelCalls: this.#modelCalls, ...budgetUsd },
      signal,
    });
    let text = '';
    for await (const event of events) {
      if (event.type === 'done') {
        const { usage, model = target } = event;
        this.#model = model;
        if (usage) {
          budget.charge(model, usage, target);
          emit({ type: 'usage', agent: target, model, usage });
        }
        // A node that does not stream sends the whole text at the end.
        if (text !== '') continue;
      }
      text += event.text;
      await this.#emitText(event.text, target);
    }
    this.#messages.push({ role: 'assistant', content: text || NO_REPLY });
    return this.#end(text ? { kind: 'text' } : { kind: 'silent' });
  }

  #end(end: Exclude<Next, { kind: 'agent' }>): TeamResult {
    const { actions, budget, emit } = this.#input;
    const { agent } = this;
    if (this.#messages.at(-1)?.role !== 'assistant') {
      this.#messages.push({ role: 'assistant', content: NO_REPLY });
    }
    const common = {
      agent,
      path: [...this.#path.here],
      usage: budget.spent,
      history: [...this.#messages],
      turn: this.#messages.slice(this.#turnStart),
      model: this.#model,
    };
    if (end.kind === 'ignored') emit({ type: 'ignored', reason: end.reason, agent });
    const { text } = actions;
    const result: TeamResult =
      end.kind === 'text' || text !== '' ? { ...common, kind: 'text', text } : { ...common, ...end };
    emit({ type: 'done', result });
    return result;
  }

  #emitText(text: string, speaker: string): Promise<void> | undefined {
    return this.#input.actions.emitText(text, { from: 'runner', speaker });
  }

  #setting<K extends keyof ModelSettings>(agent: CompiledAgent, key: K): ModelSettings[K] {
    return this.#input.settings[key] ?? agent.config[key] ?? this.#deps.defaults[key];
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

const callsOf = ({ tool_calls: calls = [] }: AssistantMessage): ParsedToolCall[] =>
  calls.map((call, index) => parseCall(call, index));

/** Stands in for the reply of an agent that had to route and made no call. */
const emptyCall = (agent: CompiledAgent, step: number): AssistantMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: [
    {
      // Every model server accepts an id of nine letters and digits.
      id: `none${String(step).padStart(5, '0')}`,
      type: 'function',
      function: { name: agent.config.state_map?.function_name ?? '', arguments: '{}' },
    },
  ],
});
