// Outcomes of tool calls and the tool messages made of them. Every call gets exactly one outcome and one message, on success, error,
// timeout and abort alike, so that the history stays valid for the next request.
import { cutText } from '@fame-fabric/shared/internal';
import type { ToolMessage } from '../model/model.ts';
import type { CallResult } from './make-call.ts';
import type { JsonValue } from './schema/json-schema.ts';

/** Reason why a call has no result. Shared by the tools of a chat agent and the functions of a team or a strategy. */
export type ToolFaultCode =
  /** There is no function of that name. */
  | 'unknown_tool'
  /** The arguments are not JSON. */
  | 'invalid_json'
  /** The arguments do not match the schema. */
  | 'invalid_args'
  /** The arguments exceed their limit. */
  | 'too_large'
  | 'timeout'
  /** The turn ended first, or a crash interrupted a call that must not be repeated. */
  | 'aborted'
  | 'failed'
  /** The function returned a value that JSON cannot represent. */
  | 'not_json'
  /** Another call of the reply was invalid, so none of them ran. */
  | 'not_run'
  /** A person refused the call. */
  | 'refused'
  /** Another call of the reply hands the message over already. */
  | 'only_one_handoff';

export interface ToolFault {
  /** The code of the FabricError that the function threw, if it threw one, such as `NODE_GONE` or a code of its own. */
  code: ToolFaultCode | (string & {});
  /** Safe to show to the model and to people: no stack. */
  message: string;
  /** Advice for the model. */
  hint?: string;
}

/** Content of a tool message that reports a fault. */
export const faultContent = (error: ToolFault): string => JSON.stringify({ error });

/** Fault of a call that a crash interrupted and that must not be made again. */
export const INTERRUPTED: ToolFault = Object.freeze({
  code: 'aborted',
  message: 'The call was interrupted. It is not known whether it had an effect.',
});

/** Fault of a call that needs approval outside a conversation. */
export const APPROVAL_UNAVAILABLE: ToolFault = Object.freeze({
  code: 'refused',
  message: 'The call needs the approval of a person, and only a conversation can ask for it.',
});

/** Fault of a call that a person refused. */
export const refused = (note: string | undefined): ToolFault => ({
  code: 'refused',
  message: note ? `A person refused this call: ${note}` : 'A person refused this call.',
});

/** Reads the fault out of the content of a tool message; `undefined` if it reports none. */
export function faultOfContent(content: string): ToolFault | undefined {
  try {
    const { error } = JSON.parse(content) as { error?: Partial<ToolFault> };
    return typeof error?.code === 'string' && typeof error.message === 'string'
      ? (error as ToolFault)
      : undefined;
  } catch {
    return undefined;
  }
}

export type ToolOutcome = {
  index: number;
  callId: string;
  name: string;
  /** From the start of the call, in milliseconds; 0 if it never started. */
  ms: number;
} & (
  | {
      ok: true;
      value: JsonValue;
      /** Set if the result was longer than allowed and cut. */
      truncated?: true;
    }
  | { ok: false; error: ToolFault }
);

/** Content of the tool message: a string unchanged, any other value as JSON, an error as `{"error": …}`. */
export function outcomeContent(outcome: ToolOutcome): string {
  if (!outcome.ok) return faultContent(outcome.error);
  return typeof outcome.value === 'string' ? outcome.value : JSON.stringify(outcome.value);
}

/** Builds the outcome of a call whose result comes from a record. */
export function outcomeOfResult(
  call: { index: number; id: string; name: string },
  { ok, content }: CallResult,
): ToolOutcome {
  const common = { index: call.index, callId: call.id, name: call.name, ms: 0 };
  if (ok) return { ...common, ok, value: content };
  return { ...common, ok, error: faultOfContent(content) ?? { code: 'failed', message: content } };
}

export const toolMessage = (outcome: ToolOutcome): ToolMessage => ({
  role: 'tool',
  tool_call_id: outcome.callId,
  content: outcomeContent(outcome),
});

const MAX_MESSAGE_CHARS = 500;

/** Describes an error in one line of bounded length that is fit for the model. */
export function safeText(error: unknown): string {
  const text = error instanceof Error ? error.message : typeof error === 'string' ? error : '';
  const line = text.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim();
  if (line === '') return 'The tool failed without an error message';
  return cutText(line, MAX_MESSAGE_CHARS);
}

/** Converts a tool's return value to plain JSON. @throws {TypeError} for values that JSON cannot represent */
export function asJson(value: unknown): { text: string; value: JsonValue } {
  if (value === undefined || value === null) return { text: 'null', value: null };
  if (typeof value === 'string') return { text: value, value };
  const text = JSON.stringify(value, (_key, part: unknown) => {
    // JSON.stringify would omit these or write them as {}, and the model would take the gap for the result.
    if (
      typeof part === 'function' ||
      typeof part === 'symbol' ||
      part instanceof Map ||
      part instanceof Set
    ) {
      throw new TypeError('The result contains a value that JSON cannot represent');
    }
    return part;
  });
  if (text === undefined) throw new TypeError('The result is not JSON');
  return { text, value: JSON.parse(text) as JsonValue };
}

/** Cuts a result that is too long and marks the cut. */
export function cutResult(text: string, maxChars: number): string {
  const marker = `… [cut: ${maxChars} of ${text.length} characters]`;
  return cutText(text, Math.max(0, maxChars - marker.length), marker);
}
