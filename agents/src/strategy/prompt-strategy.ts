// A strategy defines a prompt, its functions, and how a reply changes the state of the conversation. Strategies have no state of
// their own. `defineStrategies` registers them by name, and `execute` runs one by name, typed by that name.
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { closestMatch, cutText } from '@fame-fabric/shared/internal';
import type { z } from 'zod';
import type { AskModel } from '../model/ask-model.ts';
import type { Budget } from '../model/budget.ts';
import type { ChatModel } from '../model/model.ts';
import { type ModelClass, type ModelClasses, modelOf } from '../model/model-classes.ts';
import {
  type Asked,
  askWithRepair,
  type FunctionCall,
  type FunctionCallOf,
  type RetryPolicy,
} from './ask-with-repair.ts';
import type { ChatPrompt, Functions } from './chat-prompt.ts';
import { StrategyError } from './strategy-error.ts';

/** Environment of a prompt. */
export interface StrategyEnv {
  readonly now: Date;
  /** USD; Infinity without a budget. */
  readonly remainingBudget: number;
}

/** `P` is the type that `parse` returns. */
export interface PromptStrategy<N extends string, I, F extends Functions, S = undefined, P = never> {
  readonly name: N;
  readonly modelClass: ModelClass;
  /** Checks the input before the first request. */
  readonly input: z.ZodType<I>;
  readonly temperature?: number | undefined;
  /** Refuses more than one call in a reply. @default false */
  readonly exactlyOne?: boolean | undefined;
  /** Initial state of a conversation. */
  initialState?(): S;
  build(input: I, state: S, env: StrategyEnv): ChatPrompt<F> | Promise<ChatPrompt<F>>;
  /** Checks calls that fit their schemas. Returns an objection for the model, or `undefined`. A second objection throws PROTOCOL. */
  accept?(calls: readonly FunctionCallOf<F>[], state: S): string | undefined;
  /** Returns the state after a call. Pure; called for each call, in order. */
  reduce?(state: S, call: FunctionCallOf<F>): S;
  /**
   * Parses the text of the answer, and returns the value of `parsed`. Synchronous; only for prompts that ask for text. If it throws,
   * the model gets the message of the error and answers once more; a second error throws ANSWER_INVALID.
   */
  parse?(text: string, state: S): P;
}

// biome-ignore lint/suspicious/noExplicitAny: a list of strategies has a different type in each place
export type AnyStrategy = PromptStrategy<any, any, any, any, any>;
export type NameOf<T extends readonly AnyStrategy[]> = T[number]['name'];
type Named<T extends readonly AnyStrategy[], N> = Extract<T[number], { name: N }>;
export type InputOf<T extends readonly AnyStrategy[], N> =
  // biome-ignore lint/suspicious/noExplicitAny: matches any strategy
  Named<T, N> extends PromptStrategy<any, infer I, any, any, any> ? I : never;
type FunctionsOf<T extends readonly AnyStrategy[], N> =
  // biome-ignore lint/suspicious/noExplicitAny: matches any strategy
  Named<T, N> extends PromptStrategy<any, any, infer F, any, any> ? F : never;
export type StateOf<T extends readonly AnyStrategy[], N> =
  // biome-ignore lint/suspicious/noExplicitAny: matches any strategy
  Named<T, N> extends PromptStrategy<any, any, any, infer S, any> ? S : never;

type CallOf<T extends readonly AnyStrategy[], N> = FunctionCallOf<FunctionsOf<T, N>> & FunctionCall;
/** The value of `parse`; without it, the first call. */
export type ParsedOf<T extends readonly AnyStrategy[], N> =
  // biome-ignore lint/suspicious/noExplicitAny: matches any strategy
  Named<T, N> extends PromptStrategy<any, any, any, any, infer P>
    ? [P] extends [never]
      ? CallOf<T, N>
      : P
    : never;

/** Result of a strategy. */
export interface ChatModelResponse<M extends FunctionCall, S, P = M> extends Asked<M> {
  /** The value of the strategy's `parse`; without it, the first call. @throws {NO_FUNCTION_CALL} when there is neither */
  readonly parsed: P;
  /** The state after all calls. */
  readonly state: S;
}

export interface ExecuteOptions<S = unknown> {
  models: ModelClasses;
  /** @default the strategy's initial state */
  state?: S;
  /** Date of the prompt, in ms since the epoch. @default the current time */
  now?: number | undefined;
  budget?: Budget | undefined;
  signal?: AbortSignal | undefined;
  retry?: RetryPolicy | undefined;
  hooks?: ExecuteHooks;
  /** Asks the model. @default askModel */
  askModel?: AskModel | undefined;
  clock?: Clock;
  log?: Logger;
}

/** Each hook runs once in an execution and is awaited. A hook that throws fails the execution. */
export interface ExecuteHooks {
  begin?(run: { strategy: string; model: string }): void | Promise<void>;
  end?(run: { strategy: string; model: string; error?: unknown }): void | Promise<void>;
}

/** Declares a strategy, so that the compiler infers its name, input, functions, state and parsed value. */
export const defineStrategy = <
  const N extends string,
  I,
  const F extends Functions,
  S = undefined,
  P = never,
>(
  strategy: PromptStrategy<N, I, F, S, P>,
): PromptStrategy<N, I, F, S, P> => strategy;

/** Registers strategies by name. @throws {TypeError} when two share a name */
export const defineStrategies = <const T extends readonly AnyStrategy[]>(
  ...strategies: T
): StrategyRegistry<T> => new StrategyRegistry(strategies);

export class StrategyRegistry<T extends readonly AnyStrategy[]> {
  readonly #strategies = new Map<string, AnyStrategy>();

  constructor(strategies: T) {
    for (const strategy of strategies) {
      const name = strategy.name as string;
      if (this.#strategies.has(name))
        throw new TypeError(`Two strategies are named "${name}". Rename one of them.`);
      this.#strategies.set(name, strategy);
    }
  }

  get names(): readonly NameOf<T>[] {
    return [...this.#strategies.keys()] as NameOf<T>[];
  }

  /**
   * Builds the prompt of a strategy, asks the model of its class, and returns the checked calls or the parsed text, and the state.
   * @throws {STRATEGY_UNKNOWN} before any model call
   * @throws {PARAMS_INVALID} when the input does not fit
   * @throws {TypeError} when the strategy has `parse` and its prompt demands a call
   * @throws what `askWithRepair` throws
   */
  execute<const N extends NameOf<T>>(
    name: N,
    input: InputOf<T, N>,
    options: ExecuteOptions<StateOf<T, N>>,
  ): Promise<ChatModelResponse<CallOf<T, N>, StateOf<T, N>, ParsedOf<T, N>>>;
  execute(
    name: string,
    input: unknown,
    options: ExecuteOptions,
  ): Promise<ChatModelResponse<FunctionCall, unknown, unknown>>;
  async execute(
    name: string,
    input: unknown,
    options: ExecuteOptions<never>,
  ): Promise<ChatModelResponse<FunctionCall, unknown, unknown>> {
    const strategy = this.#find(name);
    const { hooks, log = silentLog } = options;
    const model = modelOf(options.models, strategy.modelClass, log);
    const run = { strategy: name, model: model.name };
    await hooks?.begin?.(run);
    let response: ChatModelResponse<FunctionCall, unknown, unknown>;
    try {
      response = await this.#run(strategy, model, input, options);
    } catch (error) {
      try {
        await hooks?.end?.({ ...run, error });
      } catch (hookError) {
        // The error of the run itself is thrown, so this one is logged.
        log.error('the end hook of a failed strategy failed', { strategy: name, err: hookError });
      }
      throw error;
    }
    await hooks?.end?.(run);
    return response;
  }

  #find(name: string): AnyStrategy {
    const strategy = this.#strategies.get(name);
    if (strategy) return strategy;
    const near = closestMatch(name, this.#strategies.keys());
    throw new FabricError(
      'STRATEGY_UNKNOWN',
      `There is no strategy "${name}"${near ? `; did you mean "${near}"?` : ''} Known: ${this.names.join(', ')}`,
      { details: { known: this.names } },
    );
  }

  async #run(
    strategy: AnyStrategy,
    model: ChatModel,
    given: unknown,
    options: ExecuteOptions<never>,
  ): Promise<ChatModelResponse<FunctionCall, unknown, unknown>> {
    const { budget, signal, retry, askModel, clock = systemClock, now = clock.now() } = options;
    const checked = strategy.input.safeParse(given);
    if (!checked.success) {
      const issue = checked.error.issues[0]!;
      const where = [strategy.name, ...issue.path].join('.');
      throw new FabricError('PARAMS_INVALID', `${where}: ${issue.message}`);
    }
    let state: unknown = options.state === undefined ? strategy.initialState?.() : options.state;
    const env = {
      now: new Date(now),
      remainingBudget: budget?.remaining ?? Number.POSITIVE_INFINITY,
    };
    const prompt: ChatPrompt = await strategy.build(checked.data, state, env);
    if (strategy.parse && !prompt.takesText) {
      throw new TypeError(
        `The strategy "${strategy.name}" parses text, but its prompt demands a call. Set functionCall to "none".`,
      );
    }
    const parsing = strategy.parse && new TextParsing((text) => strategy.parse?.(text, state));
    const asked = await askWithRepair(prompt, {
      model,
      budget,
      signal,
      retry,
      askModel,
      scope: strategy.name,
      temperature: strategy.temperature,
      exactlyOne: strategy.exactlyOne,
      accept: (calls) => strategy.accept?.(calls, state),
      acceptText: parsing && ((text) => parsing.objectionTo(text)),
    });
    if (strategy.reduce) for (const call of asked.calls) state = strategy.reduce(state, call);
    return {
      ...asked,
      state,
      get parsed(): unknown {
        if (parsing) return parsing.value;
        const first = asked.calls[0];
        if (first) return first;
        throw new StrategyError('NO_FUNCTION_CALL', 'The prompt asked for text, so the reply has no call.', {
          attempts: asked.attempts,
        });
      },
    };
  }
}

/** Maximum characters of a parser's error in the request for a repair. */
const MAX_OBJECTION = 1_000;

/** Parses texts with the strategy's `parse`, and keeps the value of the last text that could be parsed. */
class TextParsing {
  readonly #parse: (text: string) => unknown;
  value: unknown;

  constructor(parse: (text: string) => unknown) {
    this.#parse = parse;
  }

  /** Parses `text`. Returns the message of the error that the parser throws, or `undefined`. */
  objectionTo(text: string): string | undefined {
    try {
      this.value = this.#parse(text);
      return undefined;
    } catch (error) {
      return cutText(error instanceof Error ? error.message : String(error), MAX_OBJECTION);
    }
  }
}
