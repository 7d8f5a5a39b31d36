// Size of messages: a rough token count that needs no tokenizer, and their characters.
import type { ModelMessage } from './model.ts';

export type TokenCounter = (message: ModelMessage) => number;

/** Estimates the tokens of a message: four characters a token, and four tokens for the message itself. */
export const roughTokens: TokenCounter = (message) => 4 + Math.ceil(charsOf([message]) / 4);

/** Counts the characters of contents and calls. */
export function charsOf(messages: readonly ModelMessage[]): number {
  let chars = 0;
  for (const message of messages) {
    chars += message.content?.length ?? 0;
    if (message.role !== 'assistant') continue;
    for (const call of message.tool_calls ?? []) {
      chars += call.function.name.length + call.function.arguments.length;
    }
  }
  return chars;
}
