// The body of a Chat Completions request. Servers of this API accept different fields, so the dialect of a server is learned
// from its refusals.
import type { ModelRequest, ToolChoice } from '../model.ts';
import { wireMessages } from './message-form.ts';

/** The request fields that a server refuses. */
interface Dialect {
  noStreamOptions: boolean;
  noTemperature: boolean;
  /** Requires `max_completion_tokens` in place of `max_tokens`. */
  maxCompletionTokens: boolean;
  /** The model cannot call tools. A request that demands a call still sends them, and is refused. */
  noTools: boolean;
}

export const standardDialect = (): Dialect => ({
  noStreamOptions: false,
  noTemperature: false,
  maxCompletionTokens: false,
  noTools: false,
});

/** Builds the body of a request in the dialect of its server. */
export function requestBody(request: ModelRequest, model: string, dialect: Dialect) {
  const { messages, tool_choice, response_format, temperature, max_tokens, stop } = request;
  const omitsTools = !request.tools?.length || (dialect.noTools && isOptional(tool_choice));
  const limit = dialect.maxCompletionTokens ? 'max_completion_tokens' : 'max_tokens';
  // Undefined fields do not reach the wire: the body is JSON.
  return {
    model: request.model ?? model,
    messages: wireMessages(messages, request.model ?? model),
    stream: true as const,
    stream_options: dialect.noStreamOptions ? undefined : { include_usage: true },
    tools: omitsTools ? undefined : request.tools,
    tool_choice: omitsTools ? undefined : tool_choice,
    response_format,
    stop,
    temperature: dialect.noTemperature ? undefined : temperature,
    [limit]: max_tokens,
  };
}

const isOptional = (choice: ToolChoice | undefined): boolean =>
  choice === undefined || choice === 'auto' || choice === 'none';

/** The refusals of Ollama, llama.cpp, vLLM and OpenRouter for a model that cannot call tools. */
const NO_TOOLS =
  /\bnot support\w* (?:\w+ )?(?:tools?|function.calling)|\btools?\b[^.]{0,40}\bnot supported|enable-auto-tool-choice|no endpoints found that support tool/i;

/** Updates the dialect from a refusal. Returns true if the request is worth sending again in the new dialect. */
export function learnDialect(
  dialect: Dialect,
  thrown: unknown,
  { tools, tool_choice }: ModelRequest,
): boolean {
  const { status, param, message } = (thrown ?? {}) as {
    status?: unknown;
    param?: unknown;
    message?: unknown;
  };
  const refusal = `${String(param)} ${String(message)}`;
  const turnOn = (key: keyof Dialect): boolean => {
    const isNew = !dialect[key];
    dialect[key] = true;
    return isNew;
  };
  if (NO_TOOLS.test(refusal) && tools?.length && isOptional(tool_choice)) return turnOn('noTools');
  if (status !== 400 && status !== 422) return false;
  if (/stream_options|include_usage/.test(refusal)) return turnOn('noStreamOptions');
  if (/max_completion_tokens/.test(refusal)) return turnOn('maxCompletionTokens');
  if (param === 'temperature' && /unsupported|not support/i.test(refusal)) return turnOn('noTemperature');
  return false;
}
