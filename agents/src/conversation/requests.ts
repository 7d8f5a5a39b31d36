// Requests to the host of conversations, and the address of an answer that outlives its process.
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import type { ModelMessage } from '../model/model.ts';
import type { ToolResult, TurnOptions } from '../turn/turn-options.ts';
import type { ConversationOptions, TurnOutcome } from './conversation.ts';
import type { RetryKey } from './retry-keys.ts';

export interface StartRequest {
  /** Its public id. */
  id: string;
  options: ConversationOptions;
  /** Id of the call. A repeated call gets the same answer. */
  callId: string;
  /** Id of the principal that starts it and owns it. @default 'local' */
  principal?: string | undefined;
  /** Principals that may use it beside the owner; `*` is every principal. @default none */
  sharedWith?: readonly string[] | undefined;
  /** Messages that the history begins with. @default none */
  messages?: readonly ModelMessage[] | undefined;
  /** True to leave it out of lists and delete it 15 minutes after its end. @default false */
  isEphemeral?: boolean | undefined;
}

export interface ForkRequest extends Omit<StartRequest, 'options' | 'messages' | 'sharedWith'> {
  /** Id of the origin in the store. */
  conversationId: string;
  /** Id of the last turn to copy. The turn must have ended. */
  at: string;
  /** Model of the turns that name none. @default that of the origin */
  model?: string | undefined;
}

export interface TurnRequest {
  /** Id in the store. */
  conversationId: string;
  /** Id of the principal that calls. @default the owner of the conversation */
  principal?: string | undefined;
  /** Limits of its turns, as its sentinel stated them. */
  limits?: SpendingLimits | undefined;
  userMessage: string;
  /** A repeated id is the same turn. */
  turnId: string;
  /** Key of the request, if it may be a retry of another one. */
  retry?: RetryKey | undefined;
  options?: TurnOptions | undefined;
  /** Results of the calls that the previous turn handed to the caller. */
  toolResults?: readonly ToolResult[] | undefined;
  /** Cursor from which the caller will follow the turn. @default 0 */
  after?: number | undefined;
  /** Trace id and remaining hops of the call, for the calls of the turn's tools. */
  traceId?: string | undefined;
  ttl?: number | undefined;
  /** Receiver of the answer if this process dies first. */
  answerTo?: AnswerTo;
}

/** Form of an answer, if it is not the text of the turn. `outcome` is the report of the turn. */
export type Answer = 'outcome';

interface AnswerTo {
  replyTo: string;
  callId: string;
  isStream: boolean;
  answer?: Answer;
}

export interface RecoveredTurn {
  conversationId: string;
  turnId: string;
  answerTo: AnswerTo;
  outcome: TurnOutcome;
}
