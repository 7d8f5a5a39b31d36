// Types of a conversation that the host, the operations and other rooms share: its options, the events that callers see, and the
// outcome of a turn.
import type { FabricError } from '@fame-fabric/shared';
import { errorOfCode } from '@fame-fabric/shared/internal';
import type { Cost } from '../model/cost.ts';
import type { ToolCall, Usage } from '../model/model.ts';
import { MAX_APPROVABLE_BYTES } from '../turn/approval.ts';
import { MAX_SHOWN_ARGUMENT_CHARS } from '../turn/journaled-tools.ts';
import type { TurnFinish } from '../turn/turn-options.ts';
import type { TurnPolicy } from './inbox.ts';

/** Limits on input and output of callers, in UTF-16 code units; at three bytes each they still fit one envelope. */
export const CONVERSATION_LIMITS = Object.freeze({
  maxIdChars: 256,
  /** Id of a principal. */
  maxPrincipalChars: 512,
  /** Principals in a share. */
  maxShares: 64,
  maxRetryKeyChars: 128,
  maxSearchChars: 200,
  /** Conversations in one page of a list. */
  maxListed: 200,
  /** Events in one page of a conversation. */
  maxEvents: 500,
  /** Longest message of a user, unless the agent has another limit. */
  maxUserMessageChars: 65_536,
  /** Largest limit that an agent may have. A message of ASCII characters of that length fits one envelope. */
  maxUserMessageLimit: 200_000,
  maxSystemPromptChars: 65_536,
  /** Maximum of `max_history_length`, in turns. */
  maxHistoryLength: 200,
  /** Longest text of one turn. A reply is stopped there, with the finish reason `length`. */
  maxTurnChars: 65_536,
  /** Longest piece of text in one event. */
  maxTextEventChars: 16_384,
  /** Maximum number of tools of the caller in one turn, of their calls and of results. */
  maxTools: 128,
  /** Maximum size of the tools of the caller as JSON. */
  maxToolsChars: 65_536,
  /** Maximum size of `response_format` as JSON. */
  maxFormatChars: 65_536,
  /** Longest result of a call of the caller, and of all results of a turn together. */
  maxToolResultChars: 65_536,
  maxToolResultsChars: 196_608,
  /** Longest arguments in a `tool_call` event; longer ones are left out. */
  maxToolArgsChars: MAX_SHOWN_ARGUMENT_CHARS,
  /** Longest arguments in an `approval` event, in bytes of JSON; calls with longer ones are refused. */
  maxApprovalArgsBytes: MAX_APPROVABLE_BYTES,
  /** Longest note of an answer to an approval. */
  maxNoteChars: 2_000,
});

/** Settings of a conversation. They never change. */
export interface ConversationOptions {
  readonly systemPrompt: string;
  /** Number of turns that the model receives. */
  readonly maxHistoryLength: number;
  readonly turnPolicy: TurnPolicy;
  /** Action when a budget is used up: fail the turn, or ask a person. @default 'fail' */
  readonly onBudget?: 'fail' | 'ask';
  /** Model of the turns that name none. @default the agent's own */
  readonly model?: string;
  /** Further start parameters, for agents of other kinds. */
  readonly payload?: Readonly<Record<string, unknown>>;
}

/** An event of `run_turn_stream`. `seq` is its place in the journal of the conversation. */
export type ConversationEvent =
  | { type: 'text'; seq: number; turn_id: string; text: string }
  | {
      type: 'tool_call';
      seq: number;
      turn_id: string;
      id: string;
      name: string;
      args?: Readonly<Record<string, unknown>>;
    }
  | { type: 'tool_result'; seq: number; turn_id: string; id: string; name: string; ok: boolean }
  | {
      /** The turn waits for `answer_approval` with this `id`, which the `approval_answer` event reports. */
      type: 'approval';
      seq: number;
      turn_id: string;
      id: string;
      kind: 'tool' | 'budget';
      /** Name of the tool, or `budget`. */
      name: string;
      args?: Readonly<Record<string, unknown>>;
    }
  | { type: 'approval_answer'; seq: number; turn_id: string; id: string; approve: boolean; note?: string }
  | { type: 'restart'; seq: number; turn_id: string; keep: number }
  | (CompletedFigures & { type: 'done'; seq: number; turn_id: string; text: string })
  | (TurnFigures & {
      type: 'error';
      seq: number;
      turn_id: string;
      code: string;
      message: string;
      retryable: boolean;
      /** The text before the error. */
      text: string;
    });

/** Outcome of a turn. Every caller gets the same one, at any time. */
export type TurnOutcome =
  | (CompletedFigures & { state: 'completed'; text: string })
  | (TurnFigures & { state: 'failed' | 'cancelled'; error: OutcomeFault; text: string });

/** Figures of a turn that has ended. */
export interface TurnFigures {
  usage: Usage;
  /** Cost of the answered model calls. */
  cost: Cost;
  /** The model that answered, or was asked last; `null` if none was. */
  model: string | null;
  /** From the acceptance of the turn to the first text or call of a model, in ms; `null` without one. */
  first_token_ms: number | null;
  /** From the acceptance of the turn to its end, in ms; `null` in journals of 0.1.0. */
  duration_ms: number | null;
}

export interface CompletedFigures extends TurnFigures {
  model: string;
  finish: TurnFinish;
  /** Calls that the caller has to make, where `finish` is `tool_calls`. */
  tool_calls?: readonly ToolCall[];
  /** The reason why a team ignored the message, if it did. */
  ignored?: string;
}

/** A FabricError as plain JSON. */
export interface OutcomeFault {
  code: string;
  message: string;
  retryable: boolean;
  details?: Record<string, unknown>;
}

export const faultOf = (error: FabricError): OutcomeFault => ({
  code: error.code,
  message: error.message,
  retryable: error.retryable,
  ...plainDetails(error),
});

/** The journal takes JSON only: details that JSON cannot represent are left out, so that they cannot stop the conversation. */
function plainDetails({ details }: FabricError): Pick<OutcomeFault, 'details'> {
  if (!details) return {};
  try {
    return { details: JSON.parse(JSON.stringify(details)) };
  } catch {
    return {};
  }
}

export const errorOfFault = (fault: OutcomeFault): FabricError =>
  errorOfCode(fault.code, fault.message, {
    retryable: fault.retryable,
    ...(fault.details ? { details: fault.details } : {}),
  });

/** The text of a turn. @throws the error it ended with */
export function textOf(outcome: TurnOutcome): string {
  if (outcome.state === 'completed') return outcome.text;
  throw errorOfFault(outcome.error);
}
