// The messages of a request in the form that servers accept. History keeps the text of the model; servers refuse a request whose
// history has a name or arguments that they do not accept, and some require the fields that they added to a message.
import { cutText } from '@fame-fabric/shared/internal';
import type { AssistantMessage, ModelMessage, ToolCall } from '../model.ts';
import { parseArguments } from '../stream/parse-arguments.ts';

/** Characters of invalid arguments that the model sees again. */
const MAX_RAW_CHARS = 2_000;

/** Longest id of a call that OpenAI accepts. */
const MAX_ID_CHARS = 40;

/** Function name of a call whose own name cannot be sent. */
const NAMELESS = 'unknown_function';

/** Text of a message without text, because some servers refuse an empty one. */
const EMPTY = '(empty)';

/** Returns the messages for a request to `model`. */
export function wireMessages(messages: readonly ModelMessage[], model: string): readonly Json[] {
  // Reasoning goes back within its turn only.
  const turnStart = messages.findLastIndex(({ role }) => role === 'user');
  const sentIds = new Map<string, string>();
  const wire: Json[] = [];
  for (const [i, given] of messages.entries()) {
    const message = withText(given);
    if (message.role === 'tool') {
      const sentId = sentIds.get(message.tool_call_id);
      wire.push(sentId === undefined ? message : { ...message, tool_call_id: sentId });
    } else if (message.role !== 'assistant') add(wire, message);
    else add(wire, wireAssistant(message, { model, isOfThisTurn: i > turnStart, sentIds }));
  }
  return wire;
}

type Json = Readonly<Record<string, unknown>>;

/** Appends a message. Chat templates of some models require alternating roles, so texts of one role in a row become one message. */
function add(wire: Json[], message: Json): void {
  const last = wire.at(-1);
  const { role, content } = message;
  if (!last || last.role !== role || (role !== 'user' && role !== 'assistant') || last.tool_calls)
    wire.push(message);
  else wire[wire.length - 1] = { ...message, content: [last.content, content].filter(Boolean).join('\n\n') };
}

function withText(message: ModelMessage): ModelMessage {
  if (message.role === 'system' || (message.content ?? '').trim() !== '') return message;
  if (message.role !== 'assistant' || !message.tool_calls) return { ...message, content: EMPTY };
  return message.content === null ? message : { ...message, content: null };
}

function wireAssistant(
  { provider, ...message }: AssistantMessage,
  { model, isOfThisTurn, sentIds }: { model: string; isOfThisTurn: boolean; sentIds: Map<string, string> },
): Json {
  const own = provider?.model === model ? provider : undefined;
  const used = new Set<string>();
  const calls = message.tool_calls?.map((call) => {
    const { sentId, fields } = own?.calls?.find((one) => one.id === call.id) ?? {};
    // Servers refuse a message with one id twice, even if they sent it.
    const isUsable = sentId !== undefined && sentId.length <= MAX_ID_CHARS && !used.has(sentId);
    const id = isUsable ? sentId : call.id;
    used.add(id);
    if (isUsable) sentIds.set(call.id, id);
    return { ...fields, ...wireCall(call), id };
  });
  return {
    ...(isOfThisTurn ? own?.message : undefined),
    ...message,
    ...(calls ? { tool_calls: calls } : {}),
  };
}

function wireCall({ id, function: { name, arguments: text } }: ToolCall): ToolCall {
  return { id, type: 'function', function: { name: wireName(name), arguments: wireArguments(text) } };
}

const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

/** Removes the namespace or the special tokens that some models add to a name. */
export function wireName(name: string): string {
  if (NAME.test(name)) return name;
  const bare = name.replace(/<.*$/s, '').trim().split(/[.:/]/).at(-1) ?? '';
  return NAME.test(bare) ? bare : NAMELESS;
}

/** Servers parse the arguments in the history, so they must be one JSON object. */
function wireArguments(text: string): string {
  const parsed = parseArguments(text);
  if (!parsed.ok) {
    const raw = cutText(text, MAX_RAW_CHARS).toWellFormed();
    return raw.trim() === '' ? '{}' : JSON.stringify({ _raw: raw });
  }
  return text.trimStart().startsWith('{') ? text : JSON.stringify(parsed.args);
}
