// Parameters of a turn on the wire, with their limits.
import { z } from 'zod';
import { responseFormat } from '../../model/response-format.ts';
import { CONVERSATION_LIMITS } from '../conversation.ts';
import { PROGRESS_KINDS } from '../turn-progress.ts';
import { conversationId, owner } from './task-view.ts';

const {
  maxIdChars,
  maxTools,
  maxToolsChars,
  maxToolResultChars,
  maxToolResultsChars,
  maxFormatChars,
  maxSystemPromptChars,
  maxRetryKeyChars,
} = CONVERSATION_LIMITS;

/** Limits the size of a value as JSON. */
const maxJson = (limit: number) => ({
  check: (value: unknown) => JSON.stringify(value).length <= limit,
  error: `Longer than ${limit} characters as JSON.`,
});
const toolsSize = maxJson(maxToolsChars);
const formatSize = maxJson(maxFormatChars);

const toolName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'Use 1 to 64 letters, digits, "_" and "-".');
const objectSchema = z.looseObject({ type: z.literal('object') });

const tools = z
  .array(
    z.strictObject({
      type: z.literal('function'),
      function: z.strictObject({
        name: toolName,
        description: z.string().optional(),
        parameters: objectSchema.default({ type: 'object', properties: {} }),
        strict: z.boolean().nullish(),
      }),
    }),
  )
  .max(maxTools)
  .refine(toolsSize.check, toolsSize.error)
  .refine(
    (all) => new Set(all.map((tool) => tool.function.name)).size === all.length,
    'Two tools have the same name.',
  );

const stopText = z.string().min(1).max(256);

const options = z.strictObject({
  tools: tools.optional(),
  tool_choice: z
    .union([
      z.enum(['auto', 'none', 'required']),
      z.strictObject({ type: z.literal('function'), function: z.strictObject({ name: toolName }) }),
    ])
    .optional(),
  response_format: responseFormat.refine(formatSize.check, formatSize.error).optional(),
  temperature: z.number().min(0).max(2).optional(),
  max_tokens: z.int().min(1).max(1_000_000).optional(),
  stop: z.union([stopText, z.array(stopText).min(1).max(4)]).optional(),
  model: z.string().min(1).max(maxIdChars).optional(),
  instructions: z.string().max(maxSystemPromptChars).optional(),
  truncation: z.enum(['auto', 'disabled']).optional(),
  metadata: z
    .record(z.string().min(1).max(64), z.string().max(512))
    .refine((all) => Object.keys(all).length <= 16, 'At most 16 pairs are allowed.')
    .optional(),
});

const toolResults = z
  .array(
    z.strictObject({
      tool_call_id: z.string().min(1).max(maxIdChars),
      content: z.string().max(maxToolResultChars),
    }),
  )
  .max(maxTools)
  .refine(
    (all) => all.reduce((sum, { content }) => sum + content.length, 0) <= maxToolResultsChars,
    `Longer than ${maxToolResultsChars} characters together.`,
  );

export const turnId = z.string().min(1).max(maxIdChars);

const count = (number: number): string => number.toLocaleString('en-US');

/** Message of a user of at most `max` characters. */
const userMessage = (max: number) =>
  z.string().max(max, {
    error: ({ input }) =>
      `The message has ${count(String(input).length)} characters; ${count(max)} are allowed. FAME_MAX_MESSAGE_CHARS (maxMessageChars in a program) sets the limit.`,
  });

/** Parameters that `run_turn` and `run_turn_stream` share. */
export const turnParamsOf = (maxMessageChars: number) =>
  z.object({
    conversation_id: conversationId,
    user_message: userMessage(maxMessageChars).default(''),
    turn_id: turnId.optional(),
    options: options.optional(),
    tool_results: toolResults.optional(),
    /** Key with which the caller repeats a turn whose outcome it does not know. */
    retry_key: z.string().min(1).max(maxRetryKeyChars).optional(),
    /** 0 runs a turn. A larger number joins the latest turn of the key, if that is at most 24 hours old. */
    retry_count: z.int().min(0).max(1_000_000).default(0),
  });

/** Events that `run_turn_stream` adds for callers that ask for them. */
export const include = z.array(z.enum(PROGRESS_KINDS)).max(PROGRESS_KINDS.length);
/** Parameters of `fork`. */
export const forkParams = z.object({
  conversation_id: conversationId,
  at: turnId,
  id: conversationId.nullish(),
  model: z.string().min(1).max(maxIdChars).nullish(),
  ephemeral: z.boolean().nullish(),
  owner,
});
export type TurnParams = z.output<ReturnType<typeof turnParamsOf>>;
