// The body of a Chat Completions request in the dialect of its server.
import type { ModelMessage, ModelRequest } from '../model.ts';
import { withoutCalls } from '../plain-messages.ts';
import { isOptional, type Trait } from './dialect.ts';
import { wireMessages } from './message-form.ts';

/** Builds the body of a request to a model with these traits. Replaces lone surrogates, because Python servers fail on them. */
export function requestBody(request: ModelRequest, model: string, traits: ReadonlySet<Trait>) {
  const { tool_choice, response_format, temperature, max_tokens, stop } = request;
  const omitsTools = !request.tools?.length || (traits.has('noTools') && isOptional(tool_choice));
  const omitsChoice = omitsTools || (traits.has('noToolChoice') && isOptional(tool_choice));
  const limit = traits.has('maxCompletionTokens') ? 'max_completion_tokens' : 'max_tokens';
  const messages = traits.has('noSystem') ? withoutSystem(request.messages) : request.messages;
  // Undefined fields do not reach the wire: the body is JSON.
  return wellFormed({
    model: request.model ?? model,
    messages: wireMessages(omitsTools ? withoutCalls(messages) : messages, request.model ?? model),
    stream: true as const,
    stream_options: traits.has('noStreamOptions') ? undefined : { include_usage: true },
    tools: omitsTools ? undefined : request.tools,
    tool_choice: omitsChoice ? undefined : tool_choice,
    response_format,
    stop: traits.has('noStop') ? undefined : stop,
    top_p: request.top_p,
    presence_penalty: request.presence_penalty,
    frequency_penalty: request.frequency_penalty,
    seed: request.seed,
    temperature: traits.has('noTemperature') ? undefined : temperature,
    [limit]: max_tokens,
  });
}

/** Moves the text of system messages to the front of the first user message. */
function withoutSystem(messages: readonly ModelMessage[]): readonly ModelMessage[] {
  const instructions = messages.flatMap((message) => (message.role === 'system' ? [message.content] : []));
  const others = messages.filter(({ role }) => role !== 'system');
  const [first, ...rest] = others;
  const text = instructions.join('\n\n');
  if (text === '') return others;
  return first?.role === 'user'
    ? [{ role: 'user', content: `${text}\n\n${first.content}` }, ...rest]
    : [{ role: 'user', content: text }, ...others];
}

/** Replaces lone surrogates in all texts of a value. Returns the value itself if there are none. */
function wellFormed<T>(value: T): T {
  if (typeof value === 'string') return (value.isWellFormed() ? value : value.toWellFormed()) as T;
  if (typeof value !== 'object' || value === null) return value;
  const changed: [string, unknown][] = [];
  for (const [key, item] of Object.entries(value)) {
    const fit = wellFormed(item);
    if (fit !== item) changed.push([key, fit]);
  }
  if (changed.length === 0) return value;
  const copy: object = Array.isArray(value) ? [...value] : { ...value };
  return Object.assign(copy, Object.fromEntries(changed)) as T;
}
