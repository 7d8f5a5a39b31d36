// The words of a conversation: how it is set up, what a turn of it tells its callers, and how a turn ends. Shared by the
// host, the operations and the store; nothing here does anything but check and convert.
import { FabricError, isErrorCode } from '@fame-fabric/shared';
import type { Usage } from '../model/model.ts';
import { MAX_SHOWN_ARGUMENT_CHARS } from '../turn/journaled-tools.ts';
import type { TurnPolicy } from './inbox.ts';

/** Limits on what a caller may hand in or get back, in UTF-16 characters; three bytes each still fit one envelope. */
export const CONVERSATION_LIMITS = Object.freeze({
  maxIdChars: 256,
  maxUserMessageChars: 65_536,
  maxSystemPromptChars: 65_536,
  /** Most turns that `max_history_length` may ask for. */
  maxHistoryLength: 200,
  /** Longest text of one turn; the model is stopped there, as if it had met its own limit. */
  maxTurnChars: 65_536,
  /** Longest piece of text in one event. */
  maxTextEventChars: 16_384,
  /** Longest arguments that a `tool_call` event tells; it leaves out longer ones. */
  maxToolArgsChars: MAX_SHOWN_ARGUMENT_CHARS,
});

/** How a conversation was set up. It never changes. */
export interface ConversationOptions {
  readonly systemPrompt: string;
  /** Turns that the model is shown. */
  readonly maxHistoryLength: number;
  readonly turnPolicy: TurnPolicy;
  /** What an agent of another kind was started with. */
  readonly payload?: Readonly<Record<string, unknown>>;
}

/** What a caller of `run_turn_stream` sees. `seq` is the place in the record of the conversation. */
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
  | { type: 'restart'; seq: number; turn_id: string; keep: number }
  | { type: 'done'; seq: number; turn_id: string; text: string; usage: Usage; model: string }
  | {
      type: 'error';
      seq: number;
      turn_id: string;
      code: string;
      message: string;
      retryable: boolean;
      /** What had been said before. */
      text: string;
    };

/** How a turn ended; the same for whoever asks, whenever. */
export type TurnOutcome =
  | { state: 'completed'; text: string; usage: Usage; model: string }
  | { state: 'failed'; error: TurnFault; text: string; usage: Usage }
  | { state: 'cancelled'; error: TurnFault; text: string; usage: Usage };

/** A FabricError as plain JSON. */
export interface TurnFault {
  code: string;
  message: string;
  retryable: boolean;
  details?: Record<string, unknown>;
}

export const faultOf = (error: FabricError): TurnFault => ({
  code: error.code,
  message: error.message,
  retryable: error.retryable,
  ...(error.details ? { details: error.details } : {}),
});

export const errorOfFault = (fault: TurnFault): FabricError =>
  new FabricError(isErrorCode(fault.code) ? fault.code : 'INTERNAL', fault.message, {
    retryable: fault.retryable,
    ...(fault.details ? { details: fault.details } : {}),
  });

/** The text of a turn. @throws the error it ended with */
export function textOf(outcome: TurnOutcome): string {
  if (outcome.state === 'completed') return outcome.text;
  throw errorOfFault(outcome.error);
}
