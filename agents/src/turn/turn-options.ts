// Parameters of one turn beside its message: options for the requests to the model, results of calls that the caller made, and the
// reason why a turn finished.
import type { FinishReason, ResponseFormat, ToolChoice, ToolSpec } from '../model/model.ts';

/** Reason why a completed turn finished. `tool_calls`: the caller has to make the calls of the outcome. */
export type TurnFinish = 'stop' | 'length' | 'content_filter' | 'tool_calls' | 'refusal';

/** Options of a turn for the requests to its model. Keys are those of the wire, because the journal stores them. */
export interface TurnOptions {
  /** Tools of the caller. The model may call them; the turn then ends, and the caller makes the calls. */
  readonly tools?: readonly ToolSpec[] | undefined;
  /** Applies to the first reply of the turn if it demands a call, otherwise to all. */
  readonly tool_choice?: ToolChoice | undefined;
  readonly response_format?: ResponseFormat | undefined;
  readonly temperature?: number | undefined;
  /** Maximum tokens of one reply; never more than the agent's own limit. */
  readonly max_tokens?: number | undefined;
  /** Texts that end a reply. */
  readonly stop?: string | readonly string[] | undefined;
  /** Name of the model, out of the agent's list. */
  readonly model?: string | undefined;
  /** System message of this turn, in place of the conversation's system prompt. */
  readonly instructions?: string | undefined;
  /** With `disabled`, the turn fails with PARAMS_INVALID if the model would not receive the whole history. @default 'auto' */
  readonly truncation?: 'auto' | 'disabled' | undefined;
  /** Labels of the caller. They are recorded with the turn; the model does not receive them. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** The options of a turn, with `model` if they name none. */
export const withModel = (options: TurnOptions, model: string | undefined): TurnOptions =>
  model === undefined || options.model !== undefined ? options : { ...options, model };

/** Result of a call that the caller made. */
export interface ToolResult {
  readonly tool_call_id: string;
  readonly content: string;
}

/** The finish of a turn whose last reply finished for `reason`, and whose calls were all made. */
export const finishOf = (reason: FinishReason | undefined): TurnFinish =>
  reason === 'length' || reason === 'content_filter' || reason === 'refusal' ? reason : 'stop';
