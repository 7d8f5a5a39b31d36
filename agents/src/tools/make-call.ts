// The port between a function call of a model and the function that it runs. `turn/journaled-tools.ts` implements it with a record
// of each call, and returns results of an earlier process without a run.
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';

/** Result of a call, as the model receives it. */
export interface CallResult {
  readonly ok: boolean;
  readonly content: string;
}

/** A call that is about to be made. */
export interface CallToMake {
  readonly call: ParsedToolCall;
  /** False for a call that is refused without running anything. */
  readonly willRun: boolean;
  /** False if the call must not be made again after a crash interrupted it. @default true */
  readonly isIdempotent?: boolean | undefined;
  /** True if a person must approve the call. Not evaluated for a recorded call. @default no approval */
  needsApproval?(): boolean;
  /** Name of the function that runs, for the person who approves the call. @default the name of the call */
  readonly runs?: string | undefined;
  /** Name of the speaker of the function's text. A change of speaker starts a new line. @default none */
  readonly speaker?: string | undefined;
  /** Runs the function. `emit` shows text to the user while it runs. */
  execute(emit: (text: string) => void): Promise<CallResult>;
}

export type MakeCall = (call: CallToMake) => Promise<CallResult>;
