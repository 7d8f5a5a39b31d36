// Parses the messages of one request for the rules of the offline model. Keeps nothing between requests.
import type { ModelMessage, ModelRequest } from '../model.ts';

export interface ToolResult {
  readonly name: string;
  readonly args: string;
  readonly content: string;
}

export interface Conversation {
  /** All system messages, joined. */
  readonly system: string;
  /** The user's messages in order, without empty ones. */
  readonly userTexts: readonly string[];
  /** The assistant's texts in order, without empty ones. */
  readonly assistantTexts: readonly string[];
  /** The user message to answer; empty when the assistant opens the conversation. */
  readonly last: string;
  /** The clauses of that message to answer, without a text that is attached to it. */
  readonly lastClauses: readonly string[];
  /** Tool results after that message. */
  readonly results: readonly ToolResult[];
  /** Number of the next tool call: above the numbers of all calls in the messages. */
  readonly nextCall: number;
  /** All texts and call arguments of the assistant, including the questions that it asked. */
  readonly assistantOutput: string;
}

const textOf = (message: ModelMessage): string => {
  // Over HTTP the content may be a list of parts. Only text parts are read.
  const content: unknown = message.content;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: { text?: unknown }) => (typeof part?.text === 'string' ? part.text : ''))
    .join(' ');
};

const OWN_ID = /^call_offline_(\d{1,9})$/;
export const callId = (number: number): string => `call_offline_${number}`;

/** Reads the messages of a request. */
export function readConversation(request: ModelRequest): Conversation {
  const { messages } = request;
  const texts = (role: ModelMessage['role']): string[] =>
    messages
      .filter((message) => message.role === role)
      .map((message) => textOf(message).trim())
      .filter(Boolean);
  const lastUserAt = messages.findLastIndex((message) => message.role === 'user');
  const lastUser = messages[lastUserAt];
  const calls = messages.flatMap((message) =>
    message.role === 'assistant' ? (message.tool_calls ?? []) : [],
  );
  const results = messages.slice(lastUserAt + 1).flatMap((message): ToolResult[] => {
    if (message.role !== 'tool') return [];
    const call = calls.findLast((one) => one.id === message.tool_call_id);
    return [
      {
        name: call?.function.name ?? 'tool',
        args: call?.function.arguments ?? '{}',
        content: textOf(message),
      },
    ];
  });
  const assistantTexts = texts('assistant');
  const last = lastUser ? textOf(lastUser).trim() : '';
  return {
    system: messages
      .filter((message) => message.role === 'system' || (message.role as string) === 'developer')
      .map(textOf)
      .join('\n'),
    userTexts: texts('user'),
    assistantTexts,
    last,
    lastClauses: clauses(withoutAttachment(last)),
    results,
    nextCall: Math.max(0, ...calls.map(({ id }) => Number(OWN_ID.exec(id)?.[1] ?? 0))) + 1,
    assistantOutput: [...assistantTexts, ...calls.map((call) => call.function.arguments)].join('\n'),
  };
}

const MIN_ATTACHED_LINES = 4;

/** Returns the first paragraph of a message if a longer text follows, such as the diff after `chat -m "Describe this change."`. */
function withoutAttachment(text: string): string {
  const [first = '', ...rest] = text.split(/\n[^\S\n]*\n/);
  const lines = rest
    .join('\n')
    .split('\n')
    .filter((line) => line.trim() !== '');
  return lines.length < MIN_ATTACHED_LINES ? text : first;
}

// Every rule is tried on every clause, so their number is limited.
const MAX_CLAUSES = 24;
const MAX_CHARS = 4_000;

/** Splits a message into clauses to answer: its sentences, and questions joined by "and". */
export const clauses = (text: string): string[] =>
  text
    .slice(0, MAX_CHARS)
    .split(/(?<=[.!?])\s+|\n+|,?\s+and\s+(?=(?:what|who|how|where|when|tell|count)\b)/i)
    .map((clause) => clause.trim())
    .filter((clause) => /[\p{L}\p{N}]/u.test(clause))
    .slice(0, MAX_CLAUSES);
