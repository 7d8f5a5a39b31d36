// The events of turns and conversations, and the errors after which a turn may still run.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type {
  ConversationState,
  Cost,
  FinishReason,
  ForkOrigin,
  ModelMessage,
  ModelOptions,
  ToolCall,
  ToolResult,
  TurnUsage,
} from './conversation-types.ts';

/** The end of a turn that completed. */
export interface DoneEvent {
  type: 'done';
  /** The whole answer. */
  text: string;
  usage?: TurnUsage;
  model?: string;
  finish?: FinishReason;
  /** With `finish: 'tool_calls'`: calls of the caller's tools. The next turn must bring a result for each. */
  tool_calls?: ToolCall[];
  /** Reason for which a team ignored the message. The text is empty then. */
  ignored?: string;
  /** From the acceptance of the turn to the first text or call of a model, in ms. */
  first_token_ms?: number | null;
  /** From the acceptance of the turn to its end, in ms. */
  duration_ms?: number | null;
  cost?: Cost;
  seq?: number;
}

/** The turn waits for a person. Answer with `Conversation.answerApproval(event.id, ...)`. */
export interface ApprovalEvent {
  type: 'approval';
  id: string;
  /** `tool`: `args` are the arguments of the call. `budget`: `args` has the used-up limit. */
  kind: 'tool' | 'budget';
  name: string;
  args?: Record<string, unknown>;
  seq?: number;
}

export interface ApprovalAnswerEvent {
  type: 'approval_answer';
  id: string;
  approve: boolean;
  note?: string;
  seq?: number;
}

/** A piece of the model's reasoning. It is not part of the answer. A slow reader misses reasoning, because the agent keeps little of it. */
export interface ReasoningEvent {
  type: 'reasoning';
  text: string;
  seq?: undefined;
}

/** The model server did not answer a request. The agent waits, and then sends the request again. */
export interface WaitingEvent {
  type: 'waiting';
  /** Other versions of the agent may have further reasons. */
  reason: 'rate_limited' | 'server_failed' | 'timed_out' | 'unreachable';
  /** Duration of the wait, in ms. */
  retry_in_ms: number;
  /** Number of the next attempt, from 2. */
  attempt: number;
  /** Maximum number of attempts. */
  attempts: number;
  /** The server's own reason in one line of at most 200 characters. */
  message?: string;
  seq?: undefined;
}

/** An event that only a turn with its type in `include` yields. It has no cursor, because the agent does not record it. */
export type ProgressEvent = ReasoningEvent | WaitingEvent;

const PROGRESS_TYPES: readonly string[] = ['reasoning', 'waiting'] satisfies ProgressEvent['type'][];

/** True for an event that only a turn with its type in `include` yields. */
export const isProgress = ({ type }: { readonly type?: unknown }): boolean =>
  typeof type === 'string' && PROGRESS_TYPES.includes(type);

/** Checks the `include` of a turn. @throws {PARAMS_INVALID} */
export function checkInclude(include: readonly string[]): void {
  const unknown = include.find((type) => !PROGRESS_TYPES.includes(type));
  if (unknown === undefined) return;
  const known = PROGRESS_TYPES.join(', ');
  throw new FabricError('PARAMS_INVALID', `include: there are no events "${unknown}"; there are: ${known}`);
}

/**
 * An event of a streamed turn: pieces of text as they arrive, and at the end `done` with the whole text. `seq` is the cursor of
 * the event: a number that rises over the events of a conversation, for agents that keep a journal.
 */
export type TurnEvent = RecordedTurnEvent | ProgressEvent;

type RecordedTurnEvent =
  | { type: 'text'; text: string; seq?: number }
  | { type: 'tool_call'; id?: string; name?: string; args?: Record<string, unknown>; seq?: number }
  | { type: 'tool_result'; id?: string; name?: string; ok?: boolean; seq?: number }
  /** The agent restarts its answer; only the first `keep` characters of the text so far remain valid. */
  | { type: 'restart'; keep: number; seq?: number }
  | ApprovalEvent
  | ApprovalAnswerEvent
  | DoneEvent;

/** Fields of every event of a conversation. `at` is ISO 8601. */
interface Recorded {
  seq: number;
  at: string;
}

/** A model was called. */
export interface ModelCallEvent {
  type: 'model_call';
  turn_id: string;
  /** From 1. A call that failed is repeated with the same number. */
  step: number;
  model: string;
  /** Member of a team that called; absent for a chat agent. */
  agent?: string;
  /** Number of messages in the request. */
  messages: number;
  /** From the acceptance of the turn to its start, in ms; in the first call of the turn only. */
  waited_ms?: number;
}

/** A model replied. */
export interface ModelReplyEvent {
  type: 'model_reply';
  turn_id: string;
  step: number;
  model: string;
  finish: string;
  usage: TurnUsage | null;
  cost: Cost;
  /** From the request to its first text or call, in ms. */
  first_token_ms?: number;
  /** Duration of the write to the journal before the request, in ms. */
  journal_ms?: number;
}

/** A turn failed or was cancelled. */
export interface ErrorEvent {
  type: 'error';
  turn_id: string;
  code: string;
  message: string;
  retryable?: boolean;
  /** The text before the error. */
  text?: string;
  usage?: TurnUsage;
  cost?: Cost;
  model?: string | null;
  first_token_ms?: number | null;
  duration_ms?: number | null;
}

/** Fields that events of a turn have in `read_events` only. */
interface EventDetails {
  /** Of `tool_result`: the result that the model receives, cut after 4,096 characters. */
  content?: string;
  /** Of `tool_result`: number of characters that were cut. */
  left_out?: number;
  /** Of `restart`: number of resumes without progress, from 1; 0 if the turn differed from its record. */
  attempt?: number;
  /** Of `done` and `error`: from the acceptance of the turn to its start, in ms. */
  waited_ms?: number;
  /** Of `done` and `error`: time that the journal took for the entries of the turn, in ms. */
  journal_ms?: number;
}

/** An event of a conversation: those of its turns, with the id of the turn, and its start and end. */
export type ConversationEvent = Recorded &
  (
    | {
        type: 'started';
        /** Messages that the conversation began with. */
        messages?: ModelMessage[];
        forked_from?: ForkOrigin;
        [field: string]: unknown;
      }
    | {
        type: 'turn';
        turn_id: string;
        /** Id of the call that started the turn. Agents before 0.3 leave it out. */
        corr_id?: string;
        user_message: string;
        tool_results?: ToolResult[];
        /** The options of the turn. Agents of version 0.1 leave them out. */
        options?: ModelOptions;
      }
    | (RecordedTurnEvent & EventDetails & { turn_id: string })
    | ModelCallEvent
    | ModelReplyEvent
    | (ErrorEvent & EventDetails)
    | { type: 'ended'; state: ConversationState }
  );

/** A page of events. `next` is the `after` of the following page. */
export interface EventPage {
  events: ConversationEvent[];
  next: number;
}

/** Codes for a temporarily lost agent or connection: the same request may succeed later. */
const AWAY: ReadonlySet<string> = new Set(['NODE_GONE', 'LINK_CLOSED', 'LINK_DRAINING', 'STORE_CONFLICT']);

/** True if `code` means that the agent, or the connection to it, is temporarily lost. */
export const isAwayCode = (code: string): boolean => AWAY.has(code);

/** True if a turn that failed with `error` may still run at the agent. The same turn id then continues the same turn. */
export const isUndecided = (error: unknown): boolean =>
  isFabricError(error) &&
  (isAwayCode(error.code) || error.code === 'NO_ROUTE' || error.code === 'LINK_TIMEOUT');
