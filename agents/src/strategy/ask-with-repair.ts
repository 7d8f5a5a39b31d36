// From a prompt to function calls that fit, or to an error that says what was tried. Two things go wrong with a model, each
// with its own rung: it answers without a call (it is asked again, then one function is forced), or its call does not fit
// (it is told what is wrong, once). The state of the climb lives on the stack, so any number of them run side by side.

import type { Budget } from '../model/budget.ts';
import { type CollectedReply, collectReply } from '../model/collect-reply.ts';
import type {
  AssistantMessage,
  ChatModel,
  ModelMessage,
  ModelRequest,
  ToolCall,
  Usage,
} from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import type { CompletionFunction } from '../tools/schema/completion-function.ts';
import { ChatMessage } from './chat-message.ts';
import type { ChatPrompt, Functions } from './chat-prompt.ts';
import { type Attempt, StrategyError } from './strategy-error.ts';

/** One function call of the model, checked and typed. */
export interface Move<N extends string = string, A = unknown> {
  name: N;
  args: A;
  callId: string;
}
export type MoveOf<F extends Functions> = {
  [K in keyof F]: F[K] extends CompletionFunction<infer N, infer A> ? Move<N, A> : never;
}[number];

export interface RetryPolicy {
  /** Further requests after an answer without a call. @default 2 */
  noCall?: number;
  /** Further requests after a call that does not fit. @default 1 */
  invalidArgs?: number;
  /** Answers without a call before a function is forced. @default 1, so the third request forces it */
  forceDefaultAfter?: number;
}

export interface AskOptions {
  model: ChatModel;
  budget?: Budget;
  signal?: AbortSignal;
  retry?: RetryPolicy;
  temperature?: number;
  maxTokens?: number;
  /** Takes no more than one call in an answer. @default false */
  exactlyOne?: boolean;
  /** Gets an answer; give it to watch the requests or to bring back recorded answers. @default collectReply */
  collect?: Collect;
  /** A last word on calls that fit their schema: what is wrong with them, for the model to read. */
  accept?(moves: readonly Move[]): string | undefined;
  /** What is thrown when `accept` refuses again. @default PROTOCOL */
  refusal?: 'PROTOCOL' | 'ARGUMENTS_INVALID';
}

/** Asks a model once. */
export type Collect = (
  model: ChatModel,
  request: ModelRequest,
  signal: AbortSignal | undefined,
) => Promise<CollectedReply>;

export interface Asked<M extends Move = Move> {
  readonly message: AssistantMessage;
  /** The calls in order; empty for a prompt that takes text. */
  readonly moves: readonly M[];
  readonly text: string | null;
  /** Of all attempts. */
  readonly usage: Usage;
  readonly model: string;
  readonly attempts: readonly Attempt[];
}

type Checked = { call: ToolCall; move: Move } | { call: ToolCall; fault: Fault };
interface Fault {
  path: string;
  message: string;
  /** The call fits its schema and comes at the wrong time. */
  isMisplaced?: true;
}

/**
 * Asks until the answer fits.
 * @throws {NO_FUNCTION_CALL} when the model never calls a function
 * @throws {ARGUMENTS_INVALID} when its calls do not fit, also after it was told why
 * @throws {PROTOCOL} when they fit but `accept` refuses them, also after it was told why
 * @throws {BUDGET_EXCEEDED} before a request that the budget does not allow; and what the model throws
 */
export async function ask<F extends Functions>(
  prompt: ChatPrompt<F>,
  options: AskOptions,
): Promise<Asked<MoveOf<F> & Move>> {
  const { model, budget, signal, collect = collectReply } = options;
  const { noCall = 2, invalidArgs = 1, forceDefaultAfter = 1 } = options.retry ?? {};
  const messages = prompt.raw();
  const attempts: Attempt[] = [];
  const usage = noUsage();
  let choice = prompt.choice;
  let silences = 0;
  let faults = 0;

  for (;;) {
    signal?.throwIfAborted();
    budget?.check(model.name);
    const reply = await collect(
      model,
      {
        messages: [...messages],
        ...(prompt.functions.length > 0 ? { tools: prompt.specs() } : {}),
        ...(choice ? { tool_choice: choice } : {}),
        ...(options.temperature === undefined ? {} : { temperature: options.temperature }),
        ...(options.maxTokens === undefined ? {} : { max_tokens: options.maxTokens }),
      },
      signal,
    );
    budget?.charge(model.name, reply.usage);
    addUsage(usage, reply.usage);
    const { message } = reply;
    const calls = message.tool_calls ?? [];
    const note = (outcome: Attempt['outcome']): void => {
      const attempt: Attempt = {
        outcome,
        text: message.content,
        calls: calls.map((call) => call.function),
        usage: reply.usage,
      };
      attempts.push(attempt);
    };
    const asked = (moves: readonly Move[]): Asked<MoveOf<F> & Move> => ({
      message,
      moves: moves as readonly (MoveOf<F> & Move)[],
      text: message.content,
      usage,
      model: model.name,
      attempts,
    });

    if (calls.length === 0) {
      if (prompt.takesText) {
        note('ok');
        return asked([]);
      }
      note('no_call');
      silences += 1;
      if (silences > noCall) throw noFunctionCall(attempts);
      if (silences > forceDefaultAfter) choice = prompt.insistence;
      continue;
    }

    const checked = check(calls, reply.behind, prompt.functions, options);
    const wrong = checked.filter((one) => 'fault' in one);
    if (wrong.length === 0) {
      note('ok');
      return asked(checked.map((one) => (one as { move: Move }).move));
    }
    note('invalid_call');
    faults += 1;
    if (faults > invalidArgs) throw doesNotFit(wrong, attempts);
    messages.push(message, ...repairMessages(checked));
  }
}

function check(
  calls: readonly ToolCall[],
  behind: ReadonlyMap<string, string>,
  functions: Functions,
  options: AskOptions,
): Checked[] {
  const checked = calls.map((call, i): Checked => {
    const fn = functions.find((one) => one.name === call.function.name);
    if (!fn) {
      const known = functions.map((one) => one.name).join(', ') || 'none';
      return {
        call,
        fault: { path: call.function.name, message: `there is no such function; there are: ${known}` },
      };
    }
    if (options.exactlyOne && i > 0) {
      return { call, fault: { path: fn.name, message: 'make one call only' } };
    }
    const parsed = fn.parse(call.function.arguments + (behind.get(call.id) ?? ''));
    if (parsed.ok) return { call, move: { name: fn.name, args: parsed.value, callId: call.id } };
    const [issue] = parsed.error.issues;
    const path = [fn.name, issue?.path].filter(Boolean).join('.');
    return { call, fault: { path, message: parsed.error.message } };
  });
  if (checked.some((one) => 'fault' in one)) return checked;
  const objection = options.accept?.(checked.map((one) => (one as { move: Move }).move));
  if (objection === undefined) return checked;
  return checked.map(({ call }) => ({
    call,
    fault: {
      path: call.function.name,
      message: objection,
      ...(options.refusal === 'ARGUMENTS_INVALID' ? {} : { isMisplaced: true as const }),
    },
  }));
}

/** Every call gets its answer, as model servers demand; the calls that fit are told that they have not run. */
const repairMessages = (checked: readonly Checked[]): ModelMessage[] =>
  checked.map((one) => {
    const error =
      'fault' in one
        ? { code: 'invalid_args', message: one.fault.message, hint: 'Correct it and call again.' }
        : {
            code: 'not_run',
            message: 'Another call of this answer was not valid. Make all of the calls again.',
          };
    return ChatMessage.tool(one.call.id, JSON.stringify({ error }));
  });

const noFunctionCall = (attempts: readonly Attempt[]): StrategyError =>
  new StrategyError('NO_FUNCTION_CALL', `The model made no function call in ${attempts.length} answers`, {
    attempts,
    details: { attempts: attempts.length },
  });

const doesNotFit = (wrong: readonly Checked[], attempts: readonly Attempt[]): StrategyError => {
  const faults = wrong.flatMap((one) => ('fault' in one ? [one.fault] : []));
  const { path, message, isMisplaced } = faults[0]!;
  if (isMisplaced) {
    return new StrategyError('PROTOCOL', `The model called ${path} out of turn: ${message}`, { attempts });
  }
  return new StrategyError('ARGUMENTS_INVALID', `The call of the model does not fit: ${path}: ${message}`, {
    attempts,
    details: { issues: faults.map((fault) => ({ path: fault.path, message: fault.message })) },
  });
};
