// Results of tools: text for the model, and the same data as structured content.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { type CallToolResult, isContentBlock } from './sdk.ts';

/** Keys of our own in `_meta`. */
export const META = {
  agent: 'fame/agent',
  operation: 'fame/operation',
  error: 'fame/error',
  conversationId: 'fame/conversation_id',
  turnId: 'fame/turn_id',
  idempotencyKey: 'fame/idempotency_key',
} as const;

const RESULT_KEYS: readonly string[] = ['content', 'structuredContent', 'isError', '_meta'];

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** True if an answer of an agent already is a tool result of MCP: content blocks, such as images, and no other fields. */
function isToolResult(value: unknown): value is CallToolResult {
  if (!isPlainObject(value) || !Array.isArray(value.content) || value.content.length === 0) return false;
  return Object.keys(value).every((key) => RESULT_KEYS.includes(key)) && value.content.every(isContentBlock);
}

/**
 * Converts the answer of an operation to the result of its tool. The structured content is always an object, because clients before
 * 2026-07-28 require one. Other answers are put into the field `result`.
 */
export function resultOf(answer: unknown): CallToolResult {
  if (isToolResult(answer)) return answer;
  const text = typeof answer === 'string' ? answer : JSON.stringify(answer ?? null);
  return {
    content: [{ type: 'text', text }],
    structuredContent: isPlainObject(answer) ? answer : { result: answer ?? null },
  };
}

/**
 * Converts an error to a result that the model can read. `_meta['fame/error']` has its code.
 * @param hint advice on the next call
 */
export function errorResult(
  error: unknown,
  meta: Record<string, unknown> = {},
  hint?: string,
): CallToolResult {
  const { code, message, retryable, details } = isFabricError(error)
    ? error
    : new FabricError('INTERNAL', 'The request failed because of a fault in the server.');
  const fix = typeof details?.fix === 'string' ? details.fix : undefined;
  const text = [`${code}: ${message}`, fix, hint].filter(Boolean).join(' ');
  return {
    isError: true,
    content: [{ type: 'text', text }],
    _meta: { ...meta, [META.error]: { code, message, retryable } },
  };
}
