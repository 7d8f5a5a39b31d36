// Splits the `input` of a request, a text or items, into the system messages, the messages before the new input, and the new input of the
// turn: results of calls, and the user messages after them.
import type { ModelMessage, ToolCall, ToolResult } from '@fame-fabric/client';
import type { Fields } from '../fields.ts';
import { invalid } from '../openai-error.ts';
import { summaryOf } from './compaction.ts';

export interface ResponseInput {
  /** The system and developer messages, joined. */
  readonly system: string | undefined;
  /** The messages before the new input, oldest first. */
  readonly before: readonly ModelMessage[];
  /** The new user messages, joined. Empty if there are only results. */
  readonly text: string;
  readonly results: readonly ToolResult[];
}

const MAX_ITEMS = 4_096;

/** Reads `input`. @throws {PARAMS_INVALID} with the path of the item that is at fault */
export function readInput(value: unknown): ResponseInput {
  if (typeof value === 'string' && value.trim() === '') throw invalid('input', 'is empty.');
  if (typeof value === 'string') return { system: undefined, before: [], text: value, results: [] };
  if (value === undefined || value === null) throw invalid('input', 'is required.');
  const items = readItems(value, 'input');
  const system = items.filter(({ role }) => role === 'system').map(({ content }) => content);
  const messages = items.filter(({ role }) => role !== 'system');
  const first = messages.findLastIndex(({ role }) => role === 'assistant') + 1;
  const fresh = messages.slice(first);
  const texts = fresh.filter(({ role }) => role === 'user').map(({ content }) => content);
  const results = fresh.flatMap((message) =>
    message.role === 'tool' ? [{ tool_call_id: message.tool_call_id, content: message.content }] : [],
  );
  if (texts.length + results.length === 0) {
    throw invalid('input', 'must end with a message of the user or with a function_call_output.');
  }
  return {
    system: system.length > 0 ? system.join('\n\n') : undefined,
    before: messages.slice(0, first),
    text: texts.join('\n\n'),
    results,
  };
}

/** Reads items as messages. Calls of one reply become one message. @throws {PARAMS_INVALID} */
export function readItems(value: unknown, at: string): ModelMessage[] {
  if (!Array.isArray(value)) throw invalid(at, 'must be a text or an array of items.');
  if (value.length > MAX_ITEMS) throw invalid(at, `has more than ${MAX_ITEMS} items.`);
  const messages: ModelMessage[] = [];
  for (const [index, item] of value.entries()) addItem(messages, item, `${at}[${index}]`);
  return messages;
}

function addItem(messages: ModelMessage[], item: unknown, at: string): void {
  if (typeof item !== 'object' || item === null || Array.isArray(item))
    throw invalid(at, 'must be an object.');
  const fields = item as Fields;
  const { type } = fields;
  // Ignored: the agent's own steps, and reasoning, which no model accepts from another request.
  if (type === 'reasoning' || (typeof type === 'string' && type.startsWith('fame:'))) return;
  if (type === 'function_call') addCall(messages, callOf(fields, at));
  else if (type === 'function_call_output') messages.push(resultOf(fields, at));
  else if (type === 'compaction') messages.push({ role: 'assistant', content: summaryOf(fields, at) });
  else if (type === 'message' || (type === undefined && 'role' in fields))
    messages.push(messageOf(fields, at));
  else if (type === 'item_reference' || (type === undefined && 'id' in fields)) {
    throw invalid(at, 'is a reference. Send the item itself, or previous_response_id.');
  } else throw invalid(`${at}.type`, `${kindOf(type)} is not supported.`);
}

function addCall(messages: ModelMessage[], call: ToolCall): void {
  const last = messages.at(-1);
  if (last?.role !== 'assistant') messages.push({ role: 'assistant', content: null, tool_calls: [call] });
  else messages[messages.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), call] };
}

function callOf({ call_id: id, name, arguments: args }: Fields, at: string): ToolCall {
  if (typeof id !== 'string' || id === '') throw invalid(`${at}.call_id`, 'is required.');
  if (typeof name !== 'string' || name === '') throw invalid(`${at}.name`, 'is required.');
  if (typeof args !== 'string') throw invalid(`${at}.arguments`, 'must be JSON as a text.');
  return { id, type: 'function', function: { name, arguments: args } };
}

function resultOf({ call_id: id, output }: Fields, at: string): ModelMessage {
  if (typeof id !== 'string' || id === '') throw invalid(`${at}.call_id`, 'is required.');
  return { role: 'tool', tool_call_id: id, content: textOf(output, `${at}.output`) };
}

function messageOf({ role, content }: Fields, at: string): ModelMessage {
  const text = textOf(content, `${at}.content`);
  switch (role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: text };
    case 'user':
    case 'assistant':
      return { role, content: text };
    default:
      throw invalid(`${at}.role`, 'must be user, assistant, system or developer.');
  }
}

/** Joins the text of a content, which is a text or a list of parts. @throws {PARAMS_INVALID} for a part that is not text */
function textOf(content: unknown, at: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw invalid(at, 'must be a text or an array of parts.');
  return content.map((part, i) => partText(part, `${at}[${i}]`)).join('\n');
}

const TEXT_PARTS: ReadonlySet<unknown> = new Set(['input_text', 'output_text', 'text', 'summary_text']);

function partText(part: unknown, at: string): string {
  const { type, text, refusal } = (part ?? {}) as Fields;
  if (type === 'refusal' && typeof refusal === 'string') return refusal;
  if (!TEXT_PARTS.has(type))
    throw invalid(`${at}.type`, `${kindOf(type)} is not supported: agents take text.`);
  if (typeof text !== 'string') throw invalid(`${at}.text`, 'must be a text.');
  return text;
}

const kindOf = (type: unknown): string =>
  typeof type === 'string' ? JSON.stringify(type.slice(0, 40)) : 'An item without a type';
