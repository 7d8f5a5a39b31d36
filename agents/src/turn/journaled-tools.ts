// Makes the calls of a turn through its journal. A finished call is not made again: its result and its text come from the
// record. A call that was started and not finished is made again, unless its function is not idempotent: then its result is the
// fault `aborted`.
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';
import type { CallResult, CallToMake, MakeCall } from '../tools/make-call.ts';
import { faultContent, INTERRUPTED } from '../tools/tool-outcome.ts';
import type { TurnDraft } from './history.ts';
import type { Steps } from './steps.ts';
import type { RunnerActions, TextSource } from './turn.ts';

/** Maximum length of the arguments in the entry of a started call, in characters. Longer ones are left out. */
export const MAX_SHOWN_ARGUMENT_CHARS = 1_024;

/** A call in the journal. */
export interface CallEntry {
  readonly step: number;
  readonly index: number;
  readonly callId: string;
  readonly name: string;
}

/** Where the calls of a turn are recorded. Each method resolves when its entry is durable. */
export interface ToolJournal {
  toolStarted(call: CallEntry, args: Readonly<Record<string, unknown>> | undefined): Promise<unknown>;
  toolFinished(call: CallEntry, result: CallResult): Promise<unknown>;
}

export interface JournaledToolsDeps {
  steps: Steps;
  journal: ToolJournal;
  draft: TurnDraft;
  emitText: RunnerActions['emitText'];
}

export class JournaledTools {
  readonly #deps: JournaledToolsDeps;

  constructor(deps: JournaledToolsDeps) {
    this.#deps = deps;
  }

  readonly makeCall: MakeCall = async ({ call, willRun, isIdempotent, speaker, execute }: CallToMake) => {
    const { steps, journal, emitText } = this.#deps;
    const recorded = steps.request(call.id);
    const step = steps.number;
    const entry: CallEntry = { step, index: call.index, callId: call.id, name: call.name };
    const source: TextSource = { from: 'tool', step, index: call.index, speaker };
    if (recorded?.result) {
      await emitText(recorded.text, source);
      return recorded.result;
    }
    if (recorded && isIdempotent === false) {
      await emitText(recorded.text, source);
      return this.#finished(entry, { ok: false, content: faultContent(INTERRUPTED) });
    }
    if (willRun) await journal.toolStarted(entry, shownArguments(call));
    let written: Promise<void> | undefined;
    const result = await execute((text) => {
      written = emitText(text, source) ?? written;
    });
    await written;
    // An eager tool may finish before its reply is recorded.
    await steps.whenReplied();
    return this.#finished(entry, result);
  };

  async #finished(entry: CallEntry, result: CallResult): Promise<CallResult> {
    const { journal, draft } = this.#deps;
    draft.tool(entry.callId, result.content);
    await journal.toolFinished(entry, result);
    return result;
  }
}

const shownArguments = (call: ParsedToolCall): Readonly<Record<string, unknown>> | undefined =>
  call.ok && call.rawArguments.length <= MAX_SHOWN_ARGUMENT_CHARS ? call.args : undefined;
