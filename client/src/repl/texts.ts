// Texts of the prompt about the agent and the conversation. They may contain text of unknown origin, escaped for printing.
import { type ErrorCode, FabricError, isFabricError } from '@fame-fabric/shared';
import { cutText, escapeControls, escapeLine, explainError } from '@fame-fabric/shared/internal';
import type { ChatAgentDescription, ConversationMessage } from '../chat-operations.ts';
import type { TurnUsage } from '../conversation-types.ts';
import type { DoneEvent } from '../turn-event.ts';

/** Explanations for users of the prompt. Those of the error table are for programmers. */
const HINTS: Partial<Record<ErrorCode | (string & {}), string>> = {
  CONVERSATION_UNKNOWN:
    'This conversation was ended or removed, or belongs to another principal. /new starts another.',
  CALL_TIMEOUT:
    'No answer arrived in time. FAME_TURN_TIMEOUT_MS sets how long a turn may take; /agents lists the attached nodes. (CALL_TIMEOUT)',
};

const MAX_TOOL_CHARS = 100;
/** Longest answer of an agent. It cuts up to two characters earlier: for a line break, and not within a surrogate pair. */
const MAX_ANSWER_CHARS = 65_536;
const RESUMED_MESSAGES = 6;
const MAX_RESUMED_CHARS = 1_000;

/** The reason of an agent that refuses a message because of its length. Agents of version 0.1 have no setting for the limit. */
const TOO_LONG =
  /\buser_message: (?:Too big: expected string to have <=(\d+) characters|The message has [\d,]+ characters; ([\d,]+) are allowed)/;

/** The advice of an agent about a conversation that is too long for its model. The prompt has no such setting. */
const SHORTER_HISTORY = /^(The conversation is too long for the model .*): lower max_history_length, or /s;

interface FailureContext {
  /** The user's message, if it was sent. */
  message?: string | undefined;
  /** True if the user can type commands. */
  isInteractive?: boolean | undefined;
}

/** Describes the failure of a turn or a command. */
export function failureText(error: unknown, { message = '', isInteractive }: FailureContext = {}): string {
  if (!isFabricError(error)) return explainError(error);
  if (isInteractive && error.code === 'MODEL_REFUSED' && SHORTER_HISTORY.test(error.message)) {
    const advice = error.message.replace(SHORTER_HISTORY, '$1: /new starts afresh, or ');
    return explainError(new FabricError('MODEL_REFUSED', advice));
  }
  const [isTooLong, fixed, adjustable] = TOO_LONG.exec(error.message) ?? [];
  if (error.code === 'PARAMS_INVALID' && isTooLong !== undefined) {
    const allowed = adjustable ?? count(Number(fixed));
    const hint = adjustable
      ? 'Send it in parts, or raise FAME_MAX_MESSAGE_CHARS of the agent.'
      : 'Send it in parts.';
    return `Your message has ${count(message.length)} characters; ${allowed} are allowed. ${hint}`;
  }
  return HINTS[error.code] ?? explainError(error);
}

const count = (number: number): string => number.toLocaleString('en-US');

const MAX_OPERATIONS = 5;
const MAX_OPERATION_CHARS = 64;

/**
 * Describes the operations of an agent that has no turns. Returns `undefined` if it has turns, or if its description does not list
 * all of its operations. Descriptions of version 0.1 and of other software do not.
 */
export function unfitOperationsText(
  address: string,
  { operations, truncated }: ChatAgentDescription,
): string | undefined {
  if (!Array.isArray(operations) || truncated) return undefined;
  const names = operations.map((one: { name?: unknown } | null) => String(one?.name));
  if (names.some((name) => name === 'run_turn' || name === 'run_turn_stream')) return undefined;
  if (names.length === 0) return '; it has no operations';
  const rest = names.length - MAX_OPERATIONS;
  const more = rest > 0 ? ` and ${rest} more` : '';
  const shown = names.slice(0, MAX_OPERATIONS).map((name) => cutText(name, MAX_OPERATION_CHARS));
  return `; it has ${shown.join(', ')}${more}. \`npx fame-fabric describe ${address}\` shows them`;
}

/** Describes an end of a turn that the answer itself does not show; `undefined` if the answer is whole. */
export function finishText({ text, finish, model, ignored }: DoneEvent): string | undefined {
  const isEmpty = text.trim() === '';
  if (isEmpty && ignored !== undefined) return escapeLine(`(no reply: ${ignored})`);
  switch (finish) {
    case 'length':
      if (isEmpty)
        return '(no answer: the model used all its tokens before it; FAME_MAX_ANSWER_TOKENS sets the limit)';
      return text.length >= MAX_ANSWER_CHARS - 2
        ? `(cut off at ${count(MAX_ANSWER_CHARS)} characters)`
        : '(cut off at the limit of tokens; FAME_MAX_ANSWER_TOKENS sets it)';
    case 'content_filter':
      return '(stopped by the content filter)';
    case 'refusal':
      return isEmpty ? '(the model refused to answer)' : '(the model refused)';
    default:
      return isEmpty ? `(no answer${model === 'offline' ? '' : ': the model sent no text'})` : undefined;
  }
}

/** Describes the tokens of turns. */
export const tokensText = ({ prompt_tokens = 0, completion_tokens = 0 }: TurnUsage): string =>
  `${count(prompt_tokens)} tokens in, ${count(completion_tokens)} tokens out`;

/** Describes the model of the agent. */
export function modelText({ model, models = [] }: ChatAgentDescription, chosen?: string): string {
  if (typeof model !== 'string') return 'The agent does not name its model.';
  const others = models.filter((name) => name !== (chosen ?? model));
  const choice = others.length > 0 ? `. /model NAME chooses another: ${others.join(', ')}` : '';
  if (chosen !== undefined || model !== 'offline') return escapeLine(`Model: ${chosen ?? model}${choice}`);
  return 'Model: offline, a small built-in one. For a real one, set OPENAI_API_KEY and restart the agent.';
}

/** A message, with a note about its turn if that did not simply complete. */
export interface ShownMessage extends ConversationMessage {
  note?: string | undefined;
}

/** Lists the end of a resumed conversation: the last three turns, and of long messages the beginning. */
export function resumedText(messages: readonly ShownMessage[]): string {
  const last = messages.slice(-RESUMED_MESSAGES);
  const hasLong = last.some(({ text }) => text.length > MAX_RESUMED_CHARS);
  const shown = historyText(
    last.map((message) => ({ ...message, text: cutText(message.text, MAX_RESUMED_CHARS) })),
  );
  if (!hasLong && last.length === messages.length) return shown;
  const earlier = messages.length - last.length;
  return `${shown}\n(${earlier > 0 ? `${earlier} earlier messages; ` : ''}/history shows all)`;
}

/** Lists the messages of the conversation, each with its note. */
export function historyText(messages: readonly ShownMessage[]): string {
  if (messages.length === 0) return 'This conversation has no messages yet.';
  // Indents all lines but the first, so that no text can look like the next message.
  const indented = (text: string): string => escapeControls(text).replace(/[\n\u2028\u2029]/g, '\n   ');
  return messages
    .map(({ role, text, note }) => {
      const parts = [indented(text), note === undefined ? '' : escapeLine(note)].filter(Boolean);
      return `${role === 'user' ? 'Q>' : 'A>'} ${parts.join('\n   ')}`;
    })
    .join('\n');
}

/** Describes a tool call by the values of its arguments, cut to about a line: `[get_current_weather Paris]`. */
export function toolCallText({ name = 'a tool', args = {} }: { name?: string; args?: object }): string {
  const values = Object.values(args).map((value: unknown) =>
    typeof value === 'string' ? value : JSON.stringify(value),
  );
  const text = escapeLine([name, values.join(', ')].filter(Boolean).join(' '));
  return `[${cutText(text, MAX_TOOL_CHARS)}]`;
}

export const toolFailureText = ({ name = 'a tool' }: { name?: string }): string =>
  escapeLine(`[${name} failed]`);
