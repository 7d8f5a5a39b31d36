// The port through which traces and metrics observe turns. `conversation/` and `turn/` call it; `turn-spans.ts` implements it.
// Every argument is an object that the caller has anyway, so a process without observers allocates nothing for it.
//
// Order of the events of a turn: `accepted`, `started`, then model calls, tool calls and journal writes, then `ended`. A turn that is
// cancelled in the inbox, or whose acceptance cannot be written, ends without the others. A turn that this process does not finish
// ends with `isReleased`. Recorded replies and results of a resumed turn cause no events. Implementations must not throw.
import type { Reply } from '../model/ask-model.ts';
import type { Cost } from '../model/cost.ts';
import type { ChatModel, ModelRequest, ModelWait, Usage } from '../model/model.ts';

/** Trace context of a turn as its journal keeps it, in the form of the W3C header `traceparent`. */
export interface RecordedTrace {
  /** Context of the turn itself. */
  readonly turn: string;
  /** Context of the caller. @default the caller sent none */
  readonly caller?: string;
}

/** A turn, as observers see it. */
export interface ObservedTurn {
  readonly id: string;
  /** Address of the agent. */
  readonly agent: string;
  /** Public id of the conversation. */
  readonly conversation: string;
  /** Monotonic time of the acceptance, in ms. */
  readonly acceptedAt: number;
  /** Wall time of the acceptance, in ms since the epoch. */
  readonly date: number;
  /** `traceId` of the call that brought the turn. */
  readonly traceId: string | undefined;
  /** True if an earlier process accepted the turn and this one continues it. */
  readonly isResumed: boolean;
  /** Trace context of the process that accepted the turn. @default it recorded none, or this process accepted the turn */
  readonly recordedTrace: RecordedTrace | undefined;
}

/** A tool call of a turn. */
export interface ObservedCall {
  /** The reply that has the call, counted from 1, and its place in that reply, from 0. */
  readonly step: number;
  readonly index: number;
  readonly callId: string;
  readonly name: string;
}

/** The end of a turn. `error` is present unless the turn was completed. */
export interface ObservedOutcome {
  readonly state: 'completed' | 'failed' | 'cancelled';
  readonly error?: { readonly code: string };
  readonly usage: Usage;
  readonly cost: Cost;
  readonly model: string | null;
  readonly first_token_ms: number | null;
  readonly duration_ms: number | null;
}

/** Observes the turns of the agents of a process. */
export interface TurnObserver {
  /** A turn was accepted, or read from the journal to be continued. */
  accepted(turn: ObservedTurn): TurnObservation;
  /**
   * An append to the journal of a conversation is durable, or has failed.
   * @param ms time from the call to the confirmation
   * @param rows rows that were written
   * @param chars characters of the text among them
   */
  journalWritten(ms: number, rows: number, chars: number, error?: unknown): void;
}

/** Observes one turn. */
export interface TurnObservation {
  /** Trace context that the journal records with the acceptance. @default none */
  readonly trace: RecordedTrace | undefined;
  /** Runs the work of the turn. A tracer makes the span of the turn the active one. */
  run<T>(work: () => T): T;
  /** The turn left the inbox. */
  started(): void;
  /** A request is about to be sent to a model. `step` counts the replies of the turn, from 1. */
  modelCalled(step: number, model: ChatModel, request: ModelRequest): ModelCallObservation;
  /** A tool is about to run. */
  toolStarted(call: ObservedCall, args: unknown): ToolCallObservation;
  /** The turn has ended, or another process will continue it. */
  ended(outcome: ObservedOutcome, isReleased: boolean): void;
}

/** Observes one request to a model. `replied` or `failed` ends it. */
export interface ModelCallObservation {
  /** Runs the request. */
  run<T>(work: () => T): T;
  /** The first text or the first call of the reply has arrived. */
  firstToken(): void;
  /** A failed request will be sent again after a wait. */
  waiting(wait: ModelWait): void;
  replied(reply: Reply): void;
  failed(error: unknown): void;
}

/** Observes one run of a tool. `finished` or `failed` ends it. */
export interface ToolCallObservation {
  /** Runs the tool. */
  run<T>(work: () => T): T;
  finished(result: { readonly ok: boolean; readonly content: string }): void;
  /** The call could not be recorded, or the turn stopped. */
  failed(error: unknown): void;
}

const ignore = (): void => {};
const run = <T>(work: () => T): T => work();

const NO_MODEL_CALL: ModelCallObservation = Object.freeze({
  run,
  firstToken: ignore,
  waiting: ignore,
  replied: ignore,
  failed: ignore,
});
const NO_TOOL_CALL: ToolCallObservation = Object.freeze({ run, finished: ignore, failed: ignore });
/** Observes nothing. */
export const NO_OBSERVATION: TurnObservation = Object.freeze({
  trace: undefined,
  run,
  started: ignore,
  modelCalled: () => NO_MODEL_CALL,
  toolStarted: () => NO_TOOL_CALL,
  ended: ignore,
});
/** Observes nothing. */
export const NO_OBSERVER: TurnObserver = Object.freeze({
  accepted: () => NO_OBSERVATION,
  journalWritten: ignore,
});
