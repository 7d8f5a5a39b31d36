// Builds the messages of a prompt by role. They are the wire messages of `model.ts`; only the old role `function` is translated to
// `tool`.
import type {
  AssistantMessage,
  ModelMessage,
  SystemMessage,
  ToolMessage,
  UserMessage,
} from '../model/model.ts';

/** The roles of messages. `function` is the old name of `tool`. */
export const Role = Object.freeze({
  SYSTEM: 'system',
  USER: 'user',
  ASSISTANT: 'assistant',
  TOOL: 'tool',
  FUNCTION: 'function',
});
export type Role = (typeof Role)[keyof typeof Role];

/** Input of `ChatMessage.of`. `id` is the call that a tool message answers. */
export interface MessageInput {
  role: Role;
  content: string;
  /** Required for `tool` and `function`. */
  id?: string;
}

export const ChatMessage = Object.freeze({
  user: (content: string): UserMessage => ({ role: 'user', content }),
  system: (content: string): SystemMessage => ({ role: 'system', content }),
  assistant: (content: string): AssistantMessage => ({ role: 'assistant', content }),
  tool: (id: string, content: string): ToolMessage => ({ role: 'tool', tool_call_id: id, content }),
  /** @throws {TypeError} when a tool message names no call */
  of({ role, content, id }: MessageInput): ModelMessage {
    if (role !== 'tool' && role !== 'function') return { role, content };
    if (!id) throw new TypeError(`A message of the role "${role}" needs the id of the call that it answers`);
    return ChatMessage.tool(id, content);
  },
});

/** Text of a message, with tool calls as `name(arguments)`. */
export const textOf = (message: ModelMessage): string => {
  const calls = message.role === 'assistant' ? (message.tool_calls ?? []) : [];
  const lines = calls.map((call) => `${call.function.name}(${call.function.arguments})`);
  return [...(message.content ? [message.content] : []), ...lines].join('\n');
};
