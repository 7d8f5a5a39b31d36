// Texts of the prompt about the agent and the conversation. They may contain text of unknown origin, escaped for printing.
import { type ErrorCode, isFabricError } from '@fame-fabric/shared';
import { cutText, escapeControls, escapeLine, explainError } from '@fame-fabric/shared/internal';
import type { ChatAgentDescription, ConversationMessage } from '../chat-operations.ts';

/** Explanations for users of the prompt. Those of the error table are for programmers. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  CONVERSATION_UNKNOWN: 'This conversation was ended or removed. /new starts another.',
  CALL_TIMEOUT:
    'No answer arrived in time. FAME_TURN_TIMEOUT_MS sets how long a turn may take; /agents lists the attached nodes. (CALL_TIMEOUT)',
};

const MAX_TOOL_CHARS = 100;

/** Describes the failure of a turn or a command. */
export const failureText = (error: unknown): string =>
  (isFabricError(error) && HINTS[error.code]) || explainError(error);

/** Describes the model of the agent. */
export function modelText({ model }: ChatAgentDescription): string {
  if (typeof model !== 'string') return 'The agent does not name its model.';
  if (model !== 'offline') return escapeLine(`Model: ${model}`);
  return 'Model: offline, a small built-in one. For a real one, set OPENAI_API_KEY and restart the agent.';
}

/** Lists the messages of the conversation. */
export function historyText(messages: readonly ConversationMessage[]): string {
  if (messages.length === 0) return 'This conversation has no messages yet.';
  // Indents all lines but the first, so that no text can look like the next message.
  const indented = (text: string): string => escapeControls(text).replace(/[\n\u2028\u2029]/g, '\n   ');
  return messages.map(({ role, text }) => `${role === 'user' ? 'Q>' : 'A>'} ${indented(text)}`).join('\n');
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
