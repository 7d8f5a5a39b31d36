// The history for a request without tools. Model servers refuse a request that has calls in its messages and no `tools`, and a
// model without tools should not imitate calls.
import type { ModelMessage } from './model.ts';

/** True for a call that the model does not have to see. */
export type IsLeftOut = (call: { name: string; result: string }) => boolean;

/**
 * Returns the messages with calls and their results as text of the user message before them, so that roles still alternate. Returns
 * the same list if there are no calls.
 */
export function withoutCalls(
  messages: readonly ModelMessage[],
  isLeftOut: IsLeftOut = () => false,
): readonly ModelMessage[] {
  if (!messages.some((one) => one.role === 'tool' || (one.role === 'assistant' && one.tool_calls)))
    return messages;
  const plain: ModelMessage[] = [];
  /** Calls of the last assistant message, by id. */
  let open = new Map<string, { name: string; arguments: string }>();
  const addUserText = (content: string): void => {
    const last = plain.at(-1);
    if (last?.role === 'user')
      plain[plain.length - 1] = { ...last, content: `${last.content}\n\n${content}` };
    else plain.push({ role: 'user', content });
  };
  for (const message of messages) {
    if (message.role === 'tool') {
      const call = open.get(message.tool_call_id);
      if (call && isLeftOut({ name: call.name, result: message.content })) continue;
      const made = call ? `${call.name}(${call.arguments})` : 'A call';
      addUserText(`[${made} returned ${message.content}]`);
    } else if (message.role === 'user') {
      addUserText(message.content);
    } else if (message.role === 'assistant' && message.tool_calls) {
      open = new Map(message.tool_calls.map((call) => [call.id, call.function]));
      if (message.content) plain.push({ role: 'assistant', content: message.content });
    } else {
      plain.push(message);
    }
  }
  return plain;
}
