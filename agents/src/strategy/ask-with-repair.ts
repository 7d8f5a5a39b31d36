// Asks a model until its reply fits. Two faults have a remedy each. After a reply without a call the model is asked again, and then
// one function is forced. A call or a text that does not fit is answered with its fault, once. The team uses the first part, `askForCall`,
// for agents that have to route.
import { type AskModel, askModel, type Reply } from '../model/ask-model.ts';
import type { Budget } from '../model/budget.ts';
import type {
  AssistantMessage,
  ChatModel,
  ModelMessage,
  ModelRequest,
  ToolCall,
  ToolChoice,
  Usage,
} from '../model/model.ts';
import { addUsage, noUsage, roughUsage } from '../model/usage.ts';
import type { CompletionFunction } from '../tools/schema/completion-function.ts';
import { faultContent, type ToolFault } from '../tools/tool-outcome.ts';
import { ChatMessage } from './chat-message.ts';
import type { ChatPrompt, Functions } from './chat-prompt.ts';
import { type Attempt, StrategyError } from './strategy-error.ts';

/** A function call of the model, checked and typed. */
export interface FunctionCall<N extends string = string, A = unknown> {
  name: N;
  args: A;
  callId: string;
}
export type FunctionCallOf<F extends Functions> = {
  [K in keyof F]: F[K] extends CompletionFunction<infer N, infer A> ? FunctionCall<N, A> : never;
}[number];

export interface RetryPolicy {
  /** Further requests after a reply without a call. @default 2 */
  noCall?: number;
  /** Further requests after a call or a text that does not fit. @default 1 */
  invalidArgs?: number;
  /** Replies without a call before a function is forced. @default 1, so the third request forces it */
  forceDefaultAfter?: number;
}

export interface AskOptions {
  model: ChatModel;
  budget?: Budget | undefined;
  signal?: AbortSignal | undefined;
  retry?: RetryPolicy | undefined;
  temperature?: number | undefined;
  maxTokens?: number | undefined;
  /** Refuses more than one call in a reply. @default false */
  exactlyOne?: boolean | undefined;
  /** Asks the model. @default askModel */
  askModel?: AskModel | undefined;
  /** Name of the asker; see `AskModelOptions`. */
  scope?: string | undefined;
  /** Checks calls that fit their schema. Returns an objection for the model, or `undefined`. */
  accept?: ((calls: readonly FunctionCall[]) => string | undefined) | undefined;
  /** Checks the text of a reply, for a prompt that takes text. Returns an objection for the model, or `undefined`. */
  acceptText?: ((text: string) => string | undefined) | undefined;
  /** Code of the error when `accept` objects a second time. @default PROTOCOL */
  refusal?: 'PROTOCOL' | 'ARGUMENTS_INVALID';
}

export interface Asked<C extends FunctionCall = FunctionCall> {
  readonly message: AssistantMessage;
  /** In order; empty for a prompt that takes text. */
  readonly calls: readonly C[];
  readonly text: string | null;
  /** Of all attempts. */
  readonly usage: Usage;
  readonly model: string;
  readonly attempts: readonly Attempt[];
}

type Checked = { call: ToolCall; made: FunctionCall } | { call: ToolCall; fault: Fault };
interface Fault {
  path: string;
  message: string;
  /** The call fits its schema but comes at the wrong time. */
  isMisplaced?: true;
}

/** Count of replies without a call, and the number that is tolerated. */
export interface RepliesWithoutCall {
  count: number;
  readonly most: number;
}

/**
 * Asks until a reply makes a call. Returns `undefined` after more than `withoutCall.most` replies without one. The caller keeps
 * the count, because it may ask again later.
 */
export async function askForCall<R extends Pick<Reply, 'message'>>(
  withoutCall: RepliesWithoutCall,
  ask: (countWithoutCall: number) => Promise<R>,
): Promise<R | undefined> {
  for (;;) {
    const reply = await ask(withoutCall.count);
    if (reply.message.tool_calls?.length) return reply;
    withoutCall.count += 1;
    if (withoutCall.count > withoutCall.most) return undefined;
  }
}

/**
 * Asks until the reply fits.
 * @throws {NO_FUNCTION_CALL} when the model never calls a function
 * @throws {ARGUMENTS_INVALID} when its calls do not fit, also after a repair
 * @throws {PROTOCOL} when they fit but `accept` objects, also after a repair
 * @throws {ANSWER_INVALID} when `acceptText` objects to the text, also after a repair
 * @throws {BUDGET_EXCEEDED} before a request that the budget does not allow; and what the model throws
 */
export async function askWithRepair<F extends Functions>(
  prompt: ChatPrompt<F>,
  options: AskOptions,
): Promise<Asked<FunctionCallOf<F> & FunctionCall>> {
  const { model, budget, signal, scope, temperature } = options;
  const { noCall = 2, invalidArgs = 1, forceDefaultAfter = 1 } = options.retry ?? {};
  const ask = options.askModel ?? askModel;
  const messages = prompt.raw();
  const attempts: Attempt[] = [];
  const usage = noUsage();

  const once = async (choice: ToolChoice | undefined): Promise<Reply> => {
    signal?.throwIfAborted();
    const request: ModelRequest = {
      messages: [...messages],
      ...(prompt.functions.length > 0 ? { tools: prompt.specs() } : {}),
      ...(choice ? { tool_choice: choice } : {}),
      ...(temperature === undefined ? {} : { temperature }),
      ...(options.maxTokens === undefined ? {} : { max_tokens: options.maxTokens }),
    };
    const reply = await ask(model, request, { signal, scope, check: () => budget?.check(model.name) });
    const { message } = reply;
    const cost = reply.usage ?? roughUsage(request, message);
    budget?.charge(model.name, cost);
    addUsage(usage, cost);
    const calls = message.tool_calls ?? [];
    const outcome = calls.length > 0 || prompt.takesText ? 'ok' : 'no_call';
    attempts.push({ outcome, text: message.content, calls: calls.map((call) => call.function), usage: cost });
    return reply;
  };
  const asked = (
    { message }: Reply,
    calls: readonly FunctionCall[],
  ): Asked<FunctionCallOf<F> & FunctionCall> => ({
    message,
    calls: calls as readonly (FunctionCallOf<F> & FunctionCall)[],
    text: message.content,
    usage,
    model: model.name,
    attempts,
  });

  const withoutCall: RepliesWithoutCall = { count: 0, most: noCall };
  const askAgain = (count: number): Promise<Reply> =>
    once(count > forceDefaultAfter ? prompt.insistence : prompt.choice);
  for (let faults = 0; ; ) {
    const reply = prompt.takesText ? await once(prompt.choice) : await askForCall(withoutCall, askAgain);
    if (!reply) throw noFunctionCall(attempts);
    const { tool_calls: calls = [] } = reply.message;
    const checked = check(calls, reply.trailing, prompt.functions, options);
    const wrong = checked.filter((one) => 'fault' in one);
    const objection = prompt.takesText ? options.acceptText?.(reply.message.content ?? '') : undefined;
    if (wrong.length === 0 && objection === undefined)
      return asked(
        reply,
        checked.map((one) => (one as { made: FunctionCall }).made),
      );
    const outcome = wrong.length > 0 ? 'invalid_call' : 'invalid_text';
    attempts.push({ ...attempts.pop()!, outcome, ...(objection === undefined ? {} : { fault: objection }) });
    faults += 1;
    if (faults > invalidArgs) throw wrong.length > 0 ? doesNotFit(wrong, attempts) : textDoesNotFit(attempts);
    // Some model servers refuse an assistant message without content and calls.
    if (calls.length > 0 || reply.message.content) messages.push(reply.message);
    messages.push(...repairMessages(checked));
    if (wrong.length === 0) {
      messages.push(ChatMessage.user(`Your answer is not valid: ${objection}\nCorrect it and answer again.`));
    }
  }
}

function check(
  calls: readonly ToolCall[],
  trailing: ReadonlyMap<string, string> | undefined,
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
    const parsed = fn.parse(call.function.arguments + (trailing?.get(call.id) ?? ''));
    if (parsed.ok) return { call, made: { name: fn.name, args: parsed.value, callId: call.id } };
    const [issue] = parsed.error.issues;
    const path = [fn.name, issue?.path].filter(Boolean).join('.');
    return { call, fault: { path, message: parsed.error.message } };
  });
  if (checked.some((one) => 'fault' in one)) return checked;
  const objection = options.accept?.(checked.map((one) => (one as { made: FunctionCall }).made));
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

/** Answers every call, as model servers demand; also calls that fit, because none of them ran. */
const repairMessages = (checked: readonly Checked[]): ModelMessage[] =>
  checked.map((one) => {
    const fault: ToolFault =
      'fault' in one
        ? { code: 'invalid_args', message: one.fault.message, hint: 'Correct it and call again.' }
        : {
            code: 'not_run',
            message: 'Another call of this reply was not valid. Make all of the calls again.',
          };
    return ChatMessage.tool(one.call.id, faultContent(fault));
  });

const noFunctionCall = (attempts: readonly Attempt[]): StrategyError =>
  new StrategyError('NO_FUNCTION_CALL', `The model made no function call in ${attempts.length} replies.`, {
    attempts,
    details: { attempts: attempts.length },
  });

/** The message does not contain the objection, because parsers quote the text that they cannot parse. */
const textDoesNotFit = (attempts: readonly Attempt[]): StrategyError =>
  new StrategyError('ANSWER_INVALID', 'The answer of the model could not be parsed. See error.attempts.', {
    attempts,
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
