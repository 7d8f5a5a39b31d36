// The messages that a caller starts a conversation with, checked as a model server would check them. They may end with open calls.
import { z } from 'zod';
import type { ModelMessage } from '../../model/model.ts';

/** Limits on the messages of one start. */
const START_MESSAGES = Object.freeze({
  max: 400,
  /** Of all messages as JSON. A caller on the fabric is limited by its envelope first. */
  maxBytes: 1_048_576,
  maxCalls: 128,
  /** Limit of the OpenAI API. */
  maxCallIdChars: 40,
});

const callId = z.string().min(1).max(START_MESSAGES.maxCallIdChars);
const call = z.object({
  id: callId,
  type: z.literal('function'),
  function: z.object({
    name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must match ^[A-Za-z0-9_-]{1,64}$'),
    arguments: z.string().refine(isJson, 'must be JSON as a text'),
  }),
});
const content = z.string();
const message = z.discriminatedUnion(
  'role',
  [
    z.object({ role: z.literal('user'), content }),
    z.object({
      role: z.literal('assistant'),
      content: content.nullish(),
      tool_calls: z.array(call).min(1).max(START_MESSAGES.maxCalls).nullish(),
    }),
    z.object({ role: z.literal('tool'), tool_call_id: callId, content }),
  ],
  { error: 'must be a message with the role user, assistant or tool; the system prompt is `system_prompt`' },
);
type GivenMessage = z.output<typeof message>;

/** Parameter `messages` of `start_task`. `messagesOf` converts its value. */
export const startMessages = z
  .array(message)
  .max(START_MESSAGES.max)
  .superRefine((messages, context) => {
    if (Buffer.byteLength(JSON.stringify(messages)) > START_MESSAGES.maxBytes) {
      context.addIssue({
        code: 'custom',
        message: `must be at most ${START_MESSAGES.maxBytes} bytes of JSON`,
      });
      return;
    }
    const fault = orderFault(messages);
    if (fault) context.addIssue({ code: 'custom', path: [fault.index], message: fault.message });
  });

/** Returns the messages without absent fields. */
export const messagesOf = (given: readonly GivenMessage[]): ModelMessage[] =>
  given.map((one) =>
    one.role === 'assistant'
      ? {
          role: one.role,
          content: one.content ?? null,
          ...(one.tool_calls ? { tool_calls: one.tool_calls } : {}),
        }
      : one,
  );

/** The first message that a model server would refuse in its position. */
function orderFault(messages: readonly GivenMessage[]): { index: number; message: string } | undefined {
  let open = new Set<string>();
  for (const [index, one] of messages.entries()) {
    const fault = (message: string) => ({ index, message });
    if (one.role === 'tool') {
      if (!open.delete(one.tool_call_id)) return fault('answers no open call of the message before it');
      continue;
    }
    if (open.size > 0) return fault(`comes before the answer to the call ${[...open][0]}`);
    if (one.role === 'user') continue;
    const calls = one.tool_calls ?? [];
    open = new Set(calls.map(({ id }) => id));
    if (open.size < calls.length) return fault('uses a call id twice');
    if (calls.length === 0 && typeof one.content !== 'string')
      return fault('must have content or tool_calls');
  }
  const index = messages.length - 1;
  // The first turn brings the results of open calls.
  if (open.size > 0) return undefined;
  if (index >= 0 && messages[index]!.role !== 'assistant')
    return { index, message: 'must be of the assistant, or leave a call open, because it is the last one' };
  return undefined;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
