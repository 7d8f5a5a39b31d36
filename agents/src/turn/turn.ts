// The port between a conversation and the runner of its turns. The conversation room implements `TurnContext`
// (`conversation/turn-run.ts`); `ChatTurns`, `TeamTurns` and `RefineTurns` implement `TurnRunner`. A runner asks models, makes
// calls and emits text through its context only, and the context records all three. After a crash the runner starts again from
// the beginning, and the context answers from the record.
import type { Outbound } from '../agent/operation.ts';
import type { AskModel } from '../model/ask-model.ts';
import type { ModelMessage, ToolCall, Usage } from '../model/model.ts';
import type { MakeCall } from '../tools/make-call.ts';
import type { OptionBounds } from './option-bounds.ts';
import type { TurnFinish, TurnOptions } from './turn-options.ts';

/** Runs the turns of a conversation. */
export interface TurnRunner {
  /** The model that `describe` names. */
  readonly modelName: string;
  /** Options of turns that it takes. @default none */
  readonly accepts?: OptionBounds | undefined;
  /** Runs one turn. Given the same context it must ask the same models in the same order. */
  run(turn: TurnContext): Promise<TurnResult>;
}

/** Origin of a text. A change of speaker starts a new line; a text without a speaker does not. */
export type TextSource =
  | { readonly from: 'model' | 'runner'; readonly speaker?: string | undefined }
  | {
      readonly from: 'tool';
      readonly step: number;
      readonly index: number;
      readonly speaker?: string | undefined;
    };

/** Actions of a runner. */
export interface RunnerActions {
  /** Asks a model. A recorded reply comes back without a request; of the callbacks only `onCall` runs for it. */
  readonly ask: AskModel;
  /** Makes a call of the last reply. A recorded result comes back without a run. */
  readonly makeCall: MakeCall;
  /** Emits text to the user. If it returns a promise, await it before emitting more. */
  emitText(text: string, source: TextSource): Promise<void> | undefined;
  /**
   * Call it before an effect that is not recorded, such as a call of another agent. Throws in a replay that only rebuilds the
   * messages of a model call.
   */
  assertLive(): void;
  /**
   * Calls other agents for the functions that `makeCall` runs. The calls carry the trace id, the remaining hops and the remaining
   * time of the turn, and are cancelled with it.
   */
  readonly link: Outbound;
  /** The text of the turn so far, line breaks included. */
  readonly text: string;
}

export interface TurnContext extends RunnerActions {
  readonly conversationId: string;
  readonly turnId: string;
  /** Text of the caller, unchanged. May be empty. */
  readonly userMessage: string;
  /** The system message, the remembered turns and the user's message. */
  readonly messages: readonly ModelMessage[];
  /** The `state` of the last turn's result. */
  readonly state: unknown;
  /** Options of this turn, checked and within the bounds of the agent. */
  readonly options: TurnOptions;
  /** Time of the acceptance, in ms since the epoch. Prompts take their date from it, so that a resumed turn builds the same ones. */
  readonly acceptedAt: number;
  /** Start parameters beyond the settings that all conversations have. */
  readonly payload: Readonly<Record<string, unknown>>;
  /** Aborts when the turn is cancelled, exceeds its time limit, or is released to another process. */
  readonly signal: AbortSignal;
}

export interface TurnResult {
  usage: Usage;
  /** The model that answered. */
  model: string;
  /** The messages of the turn for the history. @default the user's message, then the replies and the results of their calls, or the text where there are none */
  messages?: readonly ModelMessage[];
  /** Passed as `state` to the next turn of the conversation. Plain JSON. */
  state?: unknown;
  /** @default the finish of the last reply; `stop` for one whose calls were all made */
  finish?: TurnFinish;
  /** Calls that the caller has to make. Their results come with the next turn. */
  toolCalls?: readonly ToolCall[];
  /** The reason why a team ignored the message, if it did. Then the text is empty. */
  ignored?: string;
  /** State of the conversation's task from now on. @default 'working' */
  taskState?: 'working' | 'input-required' | 'completed';
}
