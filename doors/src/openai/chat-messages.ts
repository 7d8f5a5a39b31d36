// Splits the messages of a Chat Completions request into the system prompt, the messages before the new input, and the new input: all
// messages after the last one of the assistant.
import type { ModelMessage, ToolCall, ToolResult } from '@fame-fabric/client';
import type { Fields } from './fields.ts';
import { invalid } from './openai-error.ts';

export interface SentMessages {
  /** The messages of the system and the developer, joined. */
  readonly systemPrompt: string | undefined;
  /** The runs of user messages before the new input, oldest first. */
  readonly runs: readonly SentRun[];
  /** The user messages of the new input. The journal may have the earlier ones, if their turns failed. */
  readonly texts: readonly string[];
  /** Results of calls in the new input. */
  readonly results: readonly ToolResult[];
  /** The messages before the new input, with their position in the request. */
  readonly before: readonly PlacedMessage[];
}

/** User messages without an answer between them, and the answer that follows. */
export interface SentRun {
  readonly texts: readonly string[];
  /** The last text of the assistant before the next user message. */
  readonly answer: string | undefined;
}

interface PlacedMessage {
  readonly index: number;
  readonly message: ModelMessage;
}

/** Maximum messages that a conversation starts with, from the agent. */
const MAX_MESSAGES = 4_096;

/** Reads `messages`. @throws {PARAMS_INVALID} with the `param` that is at fault */
export function readMessages(value: unknown): SentMessages {
  if (!Array.isArray(value)) throw invalid('messages', 'is required and must be an array.');
  if (value.length === 0) throw invalid('messages', 'is empty. Send at least one message.');
  if (value.length > MAX_MESSAGES) throw invalid('messages', `has more than ${MAX_MESSAGES} messages.`);
  const system: string[] = [];
  const placed: PlacedMessage[] = [];
  for (const [index, one] of value.entries()) {
    const message = messageOf(one, `messages[${index}]`);
    if (message.role === 'system') system.push(message.content);
    else placed.push({ index, message });
  }
  const first = placed.findLastIndex(({ message }) => message.role === 'assistant') + 1;
  const fresh = placed.slice(first);
  const texts = fresh.flatMap(({ message }) => (isQuestion(message) ? [message.content] : []));
  const results = fresh.flatMap(({ message }) =>
    message.role === 'tool' ? [{ tool_call_id: message.tool_call_id, content: message.content }] : [],
  );
  if (texts.length === 0 && results.length === 0) {
    throw invalid('messages', 'must end with a message of the user that has text, or of a tool.');
  }
  const before = placed.slice(0, first);
  return {
    systemPrompt: system.length > 0 ? system.join('\n\n') : undefined,
    runs: runsOf(before),
    texts,
    results,
    before,
  };
}

function messageOf(value: unknown, at: string): ModelMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(at, 'must be an object.');
  const fields = value as Fields;
  switch (fields.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: textOf(fields.content, `${at}.content`) };
    case 'user':
      return { role: 'user', content: textOf(fields.content, `${at}.content`) };
    case 'assistant':
      return assistantOf(fields, at);
    case 'tool': {
      const { tool_call_id: id } = fields;
      if (typeof id !== 'string' || id === '') throw invalid(`${at}.tool_call_id`, 'is required.');
      return { role: 'tool', tool_call_id: id, content: textOf(fields.content, `${at}.content`) };
    }
    case 'function':
      throw invalid(
        `${at}.role`,
        'function is deprecated and not supported. Send the result with the role tool.',
      );
    default:
      throw invalid(`${at}.role`, 'must be system, developer, user, assistant or tool.');
  }
}

function assistantOf(fields: Fields, at: string): ModelMessage {
  const { content, refusal, tool_calls: calls, audio } = fields;
  if (audio !== undefined && audio !== null) throw invalid(`${at}.audio`, 'is not supported. Send text.');
  const isText = content !== undefined && content !== null;
  const text = isText ? textOf(content, `${at}.content`) : typeof refusal === 'string' ? refusal : undefined;
  if (calls === undefined || calls === null) return { role: 'assistant', content: text ?? '' };
  if (!Array.isArray(calls)) throw invalid(`${at}.tool_calls`, 'must be an array.');
  if (calls.length === 0) return { role: 'assistant', content: text ?? '' };
  return {
    role: 'assistant',
    content: text ?? null,
    tool_calls: calls.map((call, i) => callOf(call, `${at}.tool_calls[${i}]`)),
  };
}

function callOf(value: unknown, at: string): ToolCall {
  const { id, type = 'function', function: called } = (value ?? {}) as Fields;
  const { name, arguments: args } = (called ?? {}) as Fields;
  if (typeof id !== 'string' || id === '') throw invalid(`${at}.id`, 'is required.');
  if (type !== 'function') throw invalid(`${at}.type`, 'must be function.');
  if (typeof name !== 'string') throw invalid(`${at}.function.name`, 'is required.');
  if (typeof args !== 'string') throw invalid(`${at}.function.arguments`, 'must be JSON as a text.');
  return { id, type, function: { name, arguments: args } };
}

/** Joins the text of a content, which is a text or a list of parts. @throws {PARAMS_INVALID} for a part that is not text */
function textOf(content: unknown, at: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw invalid(at, 'must be a text or an array of parts.');
  return content.map((part, i) => partText(part, `${at}[${i}]`)).join('\n');
}

function partText(part: unknown, at: string): string {
  const { type, text, refusal } = (part ?? {}) as Fields;
  if (type === 'text' && typeof text === 'string') return text;
  if (type === 'refusal' && typeof refusal === 'string') return refusal;
  if (type === 'text') throw invalid(`${at}.text`, 'must be a text.');
  const kind = typeof type === 'string' ? type.slice(0, 40) : 'without a type';
  throw invalid(`${at}.type`, `must be text: parts of the type ${kind} are not supported.`);
}

/** True for a message of the user with text. Agents treat an empty message as a request to open the conversation. */
const isQuestion = (message: ModelMessage): message is Extract<ModelMessage, { role: 'user' }> =>
  message.role === 'user' && message.content.trim() !== '';

function runsOf(before: readonly PlacedMessage[]): SentRun[] {
  const runs: { texts: string[]; answer: string | undefined }[] = [];
  let isOpen = false;
  for (const { message } of before) {
    if (message.role === 'user') {
      if (!isQuestion(message)) continue;
      if (isOpen) runs.at(-1)!.texts.push(message.content);
      else runs.push({ texts: [message.content], answer: undefined });
      isOpen = true;
    } else {
      isOpen = false;
      const last = runs.at(-1);
      if (last && message.role === 'assistant' && message.content) last.answer = message.content;
    }
  }
  return runs;
}

/**
 * Returns the messages that a new conversation starts with.
 * @throws {PARAMS_INVALID} if calls and results do not match, as a model server would
 */
export function startMessages({ before }: Pick<SentMessages, 'before'>): readonly ModelMessage[] {
  let open = new Set<string>();
  for (const { index, message } of before) {
    const at = `messages[${index}]`;
    if (message.role === 'tool') {
      if (!open.delete(message.tool_call_id))
        throw invalid(`${at}.tool_call_id`, 'answers no call of the assistant message before it.');
      continue;
    }
    if (open.size > 0) {
      const [missing] = open;
      throw invalid(at, `comes before the result of the call ${missing}.`);
    }
    if (message.role === 'assistant') open = new Set(message.tool_calls?.map(({ id }) => id));
  }
  return before.map(({ message }) => message);
}
